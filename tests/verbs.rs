//! The operator uses every right that the chart gives it: one life with a bit of everything, on an API server that logs each request.
#![allow(clippy::unwrap_used, reason = "clippy's exception for tests does not reach their helpers")]

mod fixtures;
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use fixtures::{SOON, World, condition, documents, env, install_crds, policy, workload};
use serde_json::{Value, json};
use support::kwok::has_env_value;
use support::process::free_port;
use support::{ControlPlane, Operator, Shape, eventually};

const ACCOUNT: &str = "system:serviceaccount:tracesteward-system:tracesteward";
const ROLE: &str = "tracesteward-system-tracesteward";
/// Longer than a few rollouts take.
const LONG: Duration = Duration::from_secs(90);

/// Group, resource with subresource, name or nothing, verb.
type Right = [String; 4];

fn strings(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Every right of the operator: of its ClusterRole, and of the Roles in its own namespace.
fn granted(chart: &str) -> BTreeSet<Right> {
    let objects = documents(chart);
    let is_own = |object: &&Value| object["kind"] == "Role" || object["metadata"]["name"] == ROLE;
    let roles: Vec<_> = objects.iter().filter(is_own).filter(|object| object["rules"].is_array()).collect();
    assert_eq!(roles.len(), 3);
    let mut all = BTreeSet::new();
    for rule in roles.into_iter().flat_map(|role| role["rules"].as_array().unwrap()) {
        let mut names = strings(&rule["resourceNames"]);
        names.extend(names.is_empty().then(String::new));
        for group in strings(&rule["apiGroups"]) {
            for resource in strings(&rule["resources"]) {
                for (name, verb) in names
                    .iter()
                    .flat_map(|name| strings(&rule["verbs"]).into_iter().map(move |verb| (name.clone(), verb)))
                {
                    all.insert([group.clone(), resource.clone(), name, verb]);
                }
            }
        }
    }
    assert!(all.len() > 60);
    all
}

/// Every right that was used so far, with and without the name.
fn used(log: &Path) -> BTreeSet<Right> {
    let mut all = BTreeSet::new();
    let text = fs::read_to_string(log).unwrap();
    for event in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let field = |name: &str| event["objectRef"][name].as_str().unwrap_or_default().to_owned();
        let resource = match field("subresource") {
            sub if sub.is_empty() => field("resource"),
            sub => format!("{}/{sub}", field("resource")),
        };
        let mut verbs = vec![event["verb"].as_str().unwrap_or_default().to_owned()];
        let code = event["responseStatus"]["code"].as_u64().unwrap_or_default();
        assert_ne!(code, 403, "a right is missing: {event}");
        // Server-side apply makes what is not there, which needs both rights; and a binding needs the right to its role.
        if code == 201 {
            verbs.push("create".to_owned());
            if resource == "clusterrolebindings" {
                let role = event["objectRef"]["name"].as_str().unwrap_or_default().to_owned();
                all.insert([field("apiGroup"), "clusterroles".to_owned(), role, "bind".to_owned()]);
            }
        }
        for name in [String::new(), field("name")] {
            for verb in &verbs {
                all.insert([field("apiGroup"), resource.clone(), name.clone(), verb.clone()]);
            }
        }
    }
    all
}

/// A control plane that logs every request of the operator.
async fn plane(folder: &Path) -> ControlPlane {
    let policy = folder.join("audit.yaml");
    let rules = json!([{"level": "Metadata", "users": [ACCOUNT]}, {"level": "None"}]);
    let content =
        json!({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"], "rules": rules});
    fs::write(&policy, content.to_string()).unwrap();
    let flag = format!("--audit-policy-file={}", policy.display());
    let plane = ControlPlane::start_as(Shape { apiserver: vec![flag], ..Shape::default() }).await;
    install_crds(&plane);
    plane
}

fn operator(world: &World<'_>, port: u16, extra: &[&str]) -> Operator {
    let webhook = Operator::webhook_args(port);
    let owner = format!("--admission-owner={ROLE}");
    let args: Vec<&str> = webhook
        .iter()
        .map(String::as_str)
        .chain([owner.as_str(), "--webhook-cert-lifetime=12s", "--leader-elect=true"])
        .chain(extra.iter().copied())
        .collect();
    world.spawn(&args)
}

fn collector(more: &Value) -> Value {
    let mut spec = json!({"backends": [{"name": "tempo", "endpoint": "http://tempo:4317"}]});
    more.as_object().unwrap().iter().for_each(|(key, value)| spec[key] = value.clone());
    let metadata = json!({"name": "gw"});
    json!({"apiVersion": "tracesteward.io/v1alpha1", "kind": "TracingCollector", "metadata": metadata, "spec": spec})
}

/// Gives the collector these settings, and waits until they are live.
async fn collect(world: &World<'_>, more: &Value) {
    world.apply(&collector(more));
    let generation = world.get("TracingCollector", "gw").await["metadata"]["generation"].clone();
    eventually(&format!("the collector with {more}"), LONG, async || {
        let live = world.get("TracingCollector", "gw").await;
        let is_seen = live["status"]["observedGeneration"] == generation;
        if is_seen && condition(&live, "Ready").starts_with("True") { Ok(()) } else { Err(live["status"].to_string()) }
    })
    .await;
}

async fn workloads_come_and_break(world: &World<'_>) {
    for (kind, name) in [("Deployment", "web"), ("StatefulSet", "db"), ("DaemonSet", "agent"), ("CronJob", "nightly")] {
        let mut object = workload(kind, name, &json!([]));
        if ["Deployment", "StatefulSet"].contains(&kind) {
            object["spec"]["replicas"] = json!(2);
        }
        world.apply(&object);
    }
    eventually("the StatefulSet runs", LONG, async || {
        let live = world.get("StatefulSet", "db").await;
        (live["status"]["readyReplicas"] == 2).then_some(()).ok_or_else(|| live["status"].to_string())
    })
    .await;
    let export = json!({"endpoint": "http://collector:4317", "headersSecretRef": {"name": "headers"}});
    world.apply(&policy("all", &json!({"enabled": true, "export": export})));
    eventually("what breaks is taken back", LONG, async || {
        let live = world.get("StatefulSet", "db").await;
        let is_refused = live["metadata"]["annotations"]["tracesteward.io/refused"].is_string();
        let is_whole = live["status"]["readyReplicas"] == 2
            && !env(&live, "app").iter().any(|own| own["name"] == "OTEL_SERVICE_NAME");
        if is_refused && is_whole { Ok(()) } else { Err(live.to_string()) }
    })
    .await;
}

async fn a_collector_has_everything_once(world: &World<'_>) {
    let whole = json!({"identity": "Connection", "podDisruptionBudget": {"maxUnavailable": 1}, "networkPolicy": {"enabled": true}});
    collect(world, &whole).await;
    collect(world, &json!({"replicas": 2})).await;
    collect(world, &json!({"queue": {"storage": {"size": "1Gi"}}})).await;
    for wait in ["1s", "2s", "3s", "4s"] {
        collect(world, &json!({"sampling": {"decisionWait": wait}})).await;
    }
    world.apply(&collector(&json!({"management": "ConfigOnly"})));
    eventually("nothing runs the collector", LONG, async || {
        let left =
            world.kubectl(&["get", "serviceaccounts", "gw-collector", "--ignore-not-found", "-o", "name"]).success();
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
    world.kubectl(&["delete", "tracingcollectors.tracesteward.io", "gw"]).success();
}

/// Waits until exactly these are there, of what the operator keeps for admission.
async fn kept(world: &World<'_>, wanted: &[&str]) {
    let kinds = "validatingwebhookconfigurations,mutatingwebhookconfigurations,mutatingadmissionpolicies";
    eventually(&format!("kept for admission: {wanted:?}"), LONG, async || {
        let there =
            world.kubectl(&["get", kinds, "-o", "name", "-l", "app.kubernetes.io/managed-by=tracesteward"]).success();
        let there: Vec<_> =
            there.lines().filter_map(|name| name.split_once(".admissionregistration.k8s.io/")).collect();
        let there: Vec<_> = there.into_iter().map(|(kind, name)| format!("{kind}/{name}")).collect();
        if there == wanted { Ok(()) } else { Err(format!("{there:?}")) }
    })
    .await;
}

const VALIDATING: &str = "validatingwebhookconfiguration/tracesteward";
const PODS: &str = "mutatingwebhookconfiguration/tracesteward-pods";
const REPAIR: &str = "mutatingadmissionpolicy/tracesteward-repair";
const REPAIR_WEBHOOK: &str = "mutatingwebhookconfiguration/tracesteward";

/// Each time another operator: what it finds is not what it would have made.
async fn admission_changes(world: &World<'_>, mut running: Operator) {
    kept(world, &[VALIDATING, PODS, REPAIR]).await;
    world.kubectl(&["delete", "tracingpolicies.tracesteward.io", "all"]).success();
    kept(world, &[VALIDATING, REPAIR]).await;
    let steps: [(&str, &[&str]); 3] = [
        ("--admission-policy=webhook", &[VALIDATING, REPAIR_WEBHOOK]),
        ("--admission-policy=auto", &[VALIDATING, REPAIR]),
        ("--webhook-address=", &[REPAIR]),
    ];
    for (flag, wanted) in steps {
        assert!(running.stop().success());
        running = operator(world, free_port(), &[flag]);
        kept(world, wanted).await;
    }
}

#[tokio::test]
async fn every_right_of_the_operator_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let plane = plane(folder.path()).await;
    let mut kwok = plane.simulate_pods().await;
    for name in ["db", "agent"] {
        kwok.crash_where(&has_env_value("OTEL_SERVICE_NAME", name), "boom");
    }
    let world = World::cluster_wide(&plane, "verbs").await;
    let mut running = operator(&world, free_port(), &[]);
    running.wait_ready().await;
    let platform = json!({
        "apiVersion": "tracesteward.io/v1alpha1", "kind": "ClusterTracingPolicy", "metadata": {"name": "platform"},
        "spec": {"overrides": {"allowedEndpointHosts": ["collector"]}},
    });
    plane.kubectl_stdin(&["apply", "-f", "-"], &platform.to_string()).success();
    workloads_come_and_break(&world).await;
    a_collector_has_everything_once(&world).await;
    admission_changes(&world, running).await;

    let log = plane.folder().join("audit.log");
    let chart = fixtures::chart(&plane, "tracesteward-system", &[]);
    let unused = || -> Vec<String> {
        let used = used(&log);
        let unused = granted(&chart).into_iter().filter(|right| !used.contains(right));
        unused.map(|right| right.join(" ")).collect()
    };
    eventually("every right is used", SOON, async || {
        let unused = unused();
        if unused.is_empty() { Ok(()) } else { Err(format!("{unused:#?}")) }
    })
    .await;
}
