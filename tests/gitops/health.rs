//! The health checks of docs/gitops.md, evaluated for statuses that the operator has written: Lua by Lua, CEL by the API
//! server, kstatus by Helm.

use std::process::Command;

use kube::api::{Api, DynamicObject, PostParams};
use serde_json::{Value, json};

use super::common::{answer, bare};
use crate::fixtures::{SOON, World, condition, documents, file, install_crds, policy, shared, text, traced, workload};
use crate::support::eventually;
use crate::support::kubectl::run;
use crate::support::tools::tool;

/// The block of YAML in docs/gitops.md that holds this word.
fn block(word: &str) -> String {
    let page = file("docs/gitops.md");
    let blocks = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let found: Vec<_> = blocks.filter(|block| block.contains(word)).collect();
    assert_eq!(found.len(), 1, "{word}");
    found[0].to_owned()
}

const KINDS: [&str; 3] = ["TracingPolicy", "ClusterTracingPolicy", "TracingCollector"];

/// An object, and what the table on the page says of it.
struct Case {
    name: &'static str,
    object: Value,
    argo: &'static str,
    flux: &'static str,
    kstatus: &'static str,
}

/// Statuses of the operator, and what objects look like before it has seen them.
async fn captured() -> Vec<Case> {
    let world = World::new(shared().await, "health").await;
    let excluded = World::new(shared().await, "kube-health").await;
    let only = |name: &str| json!([{"kind": "Deployment", "name": name}]);
    for name in ["web", "secret"] {
        world.apply(&workload("Deployment", name, &json!([])));
    }
    let on = |name: &str, key: &str, value: Value| {
        let mut spec = traced(0.5);
        spec["targets"] = only(name);
        spec[key] = value;
        policy(name, &spec)
    };
    world.apply(&on("web", "priority", json!(1)));
    let export = json!({"endpoint": "http://collector:4317", "headersSecretRef": {"name": "nowhere"}});
    world.apply(&on("secret", "export", export));
    world.apply(&policy("off", &json!({"enabled": false, "targets": [{"kind": "CronJob"}]})));
    excluded.apply(&policy("stalled", &traced(0.5)));
    let fresh = world.get("TracingPolicy", "web").await;
    let backends = json!([{"name": "tempo", "endpoint": "http://tempo:4317"}]);
    for (name, management) in [("only", "ConfigOnly"), ("managed", "Managed")] {
        world.apply(&json!({
            "apiVersion": "tracesteward.io/v1alpha1", "kind": "TracingCollector", "metadata": {"name": name},
            "spec": {"management": management, "backends": backends},
        }));
    }
    let _operators = (world.operator(&[]).await, excluded.operator(&[]).await);
    let ready = async |world: &World<'_>, kind: &str, name: &str, ready: &str| {
        world
            .until(&format!("{name} is {ready}"), kind, name, |object| {
                let seen = condition(object, "Ready");
                seen.starts_with(ready).then_some(()).ok_or_else(|| object["status"].to_string())
            })
            .await
    };
    let good = ready(&world, "TracingPolicy", "web", "True/Ready").await;
    let mut edited = good.clone();
    edited["metadata"]["generation"] = json!(2);
    let case = |name, object, argo, flux, kstatus| Case { name, object, argo, flux, kstatus };
    let stalled = ready(&excluded, "TracingPolicy", "stalled", "False/NamespaceExcluded").await;
    excluded.kubectl(&["wait", "--for=condition=Stalled", "--timeout=10s", "trp/stalled"]).success();
    excluded.kubectl(&["wait", "--for=condition=Ready", "--timeout=1s", "trp/stalled"]).failure();
    world.kubectl(&["wait", "--for=condition=Ready", "--timeout=10s", "trp/web", "trp/off"]).success();
    vec![
        case("ready", good, "Healthy", "current", "Current"),
        case("disabled", ready(&world, "TracingPolicy", "off", "True/Disabled").await, "Healthy", "current", "Current"),
        case(
            "a collector that is ready",
            ready(&world, "TracingCollector", "only", "True/").await,
            "Healthy",
            "current",
            "Current",
        ),
        case("no status", fresh, "Progressing", "error", "Current"),
        case("edited", edited, "Progressing", "none", "InProgress"),
        case(
            "a collector without pods",
            ready(&world, "TracingCollector", "managed", "Unknown/").await,
            "Progressing",
            "none",
            "InProgress",
        ),
        case(
            "no Secret",
            ready(&world, "TracingPolicy", "secret", "False/SecretNotFound").await,
            "Degraded",
            "none",
            "InProgress",
        ),
        case("stalled", stalled, "Degraded", "failed", "Failed"),
    ]
}

/// Runs tests/gitops/snippets.py.
fn python(job: &Value) -> Vec<Value> {
    let mut command = Command::new(tool("../python/bin/python"));
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gitops/snippets.py");
    let printed = run(command.arg(script), &job.to_string()).success();
    serde_json::from_str(&printed).unwrap()
}

/// What kstatus says, in the order of its rules (facts/gitops.md, section 9).
fn kstatus(object: &Value) -> &'static str {
    let is_true = |kind: &str| condition(object, kind).starts_with("True/");
    let observed = &object["status"]["observedGeneration"];
    if !observed.is_null() && *observed != object["metadata"]["generation"] || is_true("Reconciling") {
        "InProgress"
    } else if is_true("Stalled") {
        "Failed"
    } else if is_true("Ready") || condition(object, "Ready").is_empty() {
        "Current"
    } else {
        "InProgress"
    }
}

#[tokio::test]
async fn the_health_checks_say_what_the_page_says() {
    let cases = captured().await;
    let objects: Vec<_> = cases.iter().map(|case| case.object.clone()).collect();
    for case in &cases {
        assert_eq!(kstatus(&case.object), case.kstatus, "{}: {}", case.name, case.object["status"]);
    }
    let config = documents(&block("resource.customizations.health")).remove(0);
    for kind in KINDS {
        let lua = text(&config["data"][format!("resource.customizations.health.tracesteward.io_{kind}")]).to_owned();
        let answers = python(&json!({"lua": lua, "objects": objects}));
        for (case, answer) in cases.iter().zip(&answers) {
            assert_eq!(answer["status"], case.argo, "{kind}: {}", case.name);
            let ready = crate::fixtures::condition_of(&case.object, "Ready").map(|ready| ready["message"].clone());
            let waits = ready.is_none() || case.name == "edited";
            assert!(
                if waits {
                    answer["message"] == "Waiting for the operator"
                } else {
                    Some(&answer["message"]) == ready.as_ref()
                },
                "{answer}"
            );
        }
    }
    let kustomization = documents(&block("healthCheckExprs")).remove(0);
    let checks = kustomization["spec"]["healthCheckExprs"].as_array().unwrap();
    assert_eq!(
        checks.iter().map(|check| text(&check["kind"])).collect::<std::collections::BTreeSet<_>>(),
        KINDS.into_iter().collect()
    );
    for check in checks {
        assert_eq!((&check["current"], &check["failed"]), (&checks[0]["current"], &checks[0]["failed"]));
    }
    for (case, seen) in cases.iter().zip(evaluated(&checks[0], &objects).await) {
        assert_eq!(seen, case.flux, "{}", case.name);
    }
}

/// What Flux would say of objects: the expressions run in the API server, as a ValidatingAdmissionPolicy that refuses every
/// status and says why.
async fn evaluated(check: &Value, objects: &[Value]) -> Vec<String> {
    let plane = bare().await;
    install_crds(plane);
    let world = World::new(plane, "cel").await;
    let [current, failed] = ["current", "failed"].map(|name| of_object(text(&check[name])));
    let rule = |kind: &str, spec: Value| json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": "health"}, "spec": spec});
    let resources = json!([{"apiGroups": ["tracesteward.io"], "apiVersions": ["v1alpha1"], "operations": ["UPDATE"], "resources": ["*/status"]}]);
    let said = format!("({failed}) ? 'failed' : ({current}) ? 'current' : 'none'");
    world.apply(&rule(
        "ValidatingAdmissionPolicy",
        json!({"matchConstraints": {"resourceRules": resources},
            "validations": [{"expression": "false", "message": "error", "messageExpression": said}]}),
    ));
    world.apply(&rule(
        "ValidatingAdmissionPolicyBinding",
        json!({"policyName": "health", "validationActions": ["Deny"]}),
    ));
    world.apply(&policy("probe", &traced(0.5)));
    let api: Api<DynamicObject> = world.api("TracingPolicy");
    let probe = world.get("TracingPolicy", "probe").await;
    let mut answers = Vec::new();
    for object in objects {
        let mut sent = probe.clone();
        if let Some(status) = object.get("status") {
            let is_current = status["observedGeneration"] == object["metadata"]["generation"];
            sent["status"] = json!({"conditions": status["conditions"], "observedGeneration": i32::from(is_current)});
        }
        let sent: DynamicObject = serde_json::from_value(sent).unwrap();
        let params = PostParams { dry_run: true, ..PostParams::default() };
        let said = eventually("the rule is in force", SOON, async || {
            match answer(api.replace_status("probe", &params, &sent).await) {
                Ok(object) => Err(object["status"].to_string()),
                Err(said) => Ok(said),
            }
        })
        .await;
        answers.push(said.rsplit(": ").next().unwrap().to_owned());
    }
    answers
}

/// An expression about `status` and `metadata` as one about `object`.
fn of_object(expression: &str) -> String {
    let mut all = String::new();
    let mut before = ' ';
    for (at, letter) in expression.char_indices() {
        let (_, rest) = expression.split_at(at);
        let is_root = rest.starts_with("status.") || rest.starts_with("metadata.");
        if is_root && !before.is_ascii_alphanumeric() && before != '.' {
            all.push_str("object.");
        }
        all.push(letter);
        before = letter;
    }
    all
}

#[tokio::test]
async fn helm_waits_for_policies() {
    let world = World::new(shared().await, "wait").await;
    let excluded = World::new(shared().await, "kube-wait").await;
    let _operators = (world.operator(&[]).await, excluded.operator(&[]).await);
    let chart = |name: &str, spec: &Value| {
        let chart = world.plane.folder().join(format!("{}-{name}-policy", world.namespace));
        std::fs::create_dir_all(chart.join("templates")).unwrap();
        std::fs::write(chart.join("Chart.yaml"), "{apiVersion: v2, name: policy, version: 1.0.0}").unwrap();
        std::fs::write(chart.join("templates/policy.yaml"), policy(name, spec).to_string()).unwrap();
        chart.to_string_lossy().into_owned()
    };
    let install = |world: &World<'_>, name: &str, spec: &Value, more: &[&str]| {
        let mut command = world.plane.command("helm", &world.plane.admin_kubeconfig());
        command.args(["upgrade", "--install", name, &chart(name, spec), "-n", &world.namespace]);
        run(command.args(more), "")
    };
    let settled = async |world: &World<'_>, name: &str, ready: &str| {
        world
            .until("the operator has seen it", "TracingPolicy", name, |object| {
                let seen = condition(object, "Ready");
                (seen == ready).then_some(()).ok_or(seen)
            })
            .await
    };
    world.apply(&workload("Deployment", "web", &json!([])));
    let mut missing = traced(0.5);
    missing["export"]["headersSecretRef"] = json!({"name": "nowhere"});
    for (world, name, spec, expected) in [
        (&world, "good", &traced(0.5), "True/Ready"),
        (&world, "missing", &missing, "False/SecretNotFound"),
        (&excluded, "stalled", &traced(0.5), "False/NamespaceExcluded"),
    ] {
        // What the operator has not seen yet has no status, and kstatus calls that current.
        install(world, name, spec, &[]).success();
        settled(world, name, expected).await;
        let output = install(world, name, spec, &["--wait", "--timeout", "4s"]);
        assert_eq!(output.status.success(), name == "good", "{name}: {}", output.stderr);
    }
}

#[tokio::test]
async fn what_is_ignored_in_argo_cd_is_ours_alone() {
    let world = World::new(shared().await, "ignore").await;
    let own = json!([{"name": "MODE", "value": "fast"}, {"name": "OTHER_OTEL_", "value": "x"}]);
    world.apply(&workload("Deployment", "web", &own));
    let before = world.get("Deployment", "web").await;
    world.apply(&policy("all", &traced(0.5)));
    let _operator = world.operator(&[]).await;
    world.settled("all", "True/Ready", "matched=1 injected=1").await;
    let live = world.get("Deployment", "web").await;
    let application = documents(&block("ignoreDifferences")).remove(0);
    let path = text(&application["ignoreDifferences"][0]["jqPathExpressions"][0]).to_owned();
    let none = json!({"spec": {"template": {"spec": {"containers": [{"name": "app"}]}}}});
    let objects = json!([live["spec"], before["spec"]])
        .as_array()
        .unwrap()
        .iter()
        .map(|spec| json!({"spec": spec}))
        .chain([none.clone()])
        .collect::<Vec<_>>();
    let left = python(&json!({"jq": path, "objects": objects}));
    assert_ne!(live["spec"], before["spec"]);
    assert_eq!((&left[0], &left[1], &left[2]), (&objects[1], &objects[1], &none));
}
