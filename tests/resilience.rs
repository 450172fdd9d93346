//! Leaders, missing CRDs, and policies that cannot be read: nothing is lost, nothing is written twice, and applications run on.
//! Each test has a control plane of its own, or an operator that others do not see. Faults are in `tests/faults.rs`.

#![allow(clippy::unwrap_used, reason = "clippy's exception for tests does not reach their helpers")]

mod fixtures;
mod support;

use std::time::Duration;

use fixtures::{
    KINDS, SOON, World, condition, condition_of, documents, file, held, install_crds, lines, managed, policy, shared,
    text, traced, value, wait_for_crds, workload,
};
use serde_json::{Value, json};
use support::{ControlPlane, Operator, consistently, eventually};

/// Longer than a Lease holds.
const FAILOVER: Duration = Duration::from_secs(45);

#[tokio::test]
async fn only_the_leader_writes_and_another_takes_over() {
    let world = World::new(shared().await, "leader").await;
    for (kind, _) in KINDS {
        world.apply(&workload(kind, &kind.to_lowercase(), &json!([])));
    }
    let mut expected: Vec<String> =
        KINDS.iter().map(|(kind, resource)| format!("patch {resource}/{} 200", kind.to_lowercase())).collect();
    expected.sort();
    world.apply(&policy("all", &traced(0.5)));
    let mark = world.plane.audit_mark();
    let first = world.operator(&["--leader-elect=true"]).await;
    world.settled("all", "True/Ready", "matched=4 injected=4").await;
    let second = world.operator(&["--leader-elect=true"]).await;
    world.apply(&policy("all", &traced(0.25)));
    world.settled("all", "True/Ready", "matched=4 injected=4").await;
    eventually("both changes are written", SOON, async || {
        let counted = world.counted(mark);
        (counted.len() == 8).then_some(()).ok_or_else(|| format!("{counted:#?}"))
    })
    .await;
    let wrote = |operator: &Operator| operator.logs().contains(r#""message":"written""#);
    assert!(wrote(&first) && !wrote(&second), "the first leads");
    let lease = world.plane.kubectl(&["get", "lease", "tracesteward", "-n", &world.home, "-o", "json"]).success();
    let lease: Value = serde_json::from_str(&lease).unwrap();
    assert!(text(&lease["spec"]["holderIdentity"]).starts_with("operator-"), "{lease:#}");

    // Killed: nobody gives the Lease back, it has to run out. The new leader finds everything in place.
    let mark = world.plane.audit_mark();
    first.kill9();
    eventually("the second leads", FAILOVER, async || {
        second.logs().contains(r#""leads":true"#).then_some(()).ok_or_else(|| "it does not".to_owned())
    })
    .await;
    world.apply(&policy("all", &traced(0.125)));
    eventually("the second writes", SOON, async || {
        let counted = world.counted(mark);
        (counted == expected).then_some(()).ok_or_else(|| format!("{counted:#?}"))
    })
    .await;
    assert!(wrote(&second));
    world.settled("all", "True/Ready", "matched=4 injected=4").await;
    assert_eq!(value(&world.get("CronJob", "cronjob").await, "OTEL_TRACES_SAMPLER_ARG"), Some("0.125"));
    assert_eq!(world.counted(mark), expected, "a change of leaders is no reason to write");
}

#[tokio::test]
async fn a_leader_that_has_not_heard_of_everything_withdraws_nothing() {
    let world = World::new(shared().await, "early").await;
    for (kind, _) in KINDS {
        world.apply(&workload(kind, &kind.to_lowercase(), &json!([])));
    }
    world.apply(&policy("all", &traced(0.5)));
    let operator = world.operator(&["--leader-elect=true"]).await;
    world.settled("all", "True/Ready", "matched=4 injected=4").await;
    assert!(operator.stop().success());

    // Policies can no longer be listed: they look as if there were none.
    let role = format!("{}-tracesteward", world.home);
    let resources = |value: &Value| {
        let patch = json!([{"op": "replace", "path": "/rules/0/resources", "value": value}]).to_string();
        world.plane.kubectl(&["patch", "role", &role, "-n", &world.namespace, "--type=json", "-p", &patch]).success();
    };
    resources(&json!(["tracingcollectors"]));
    let mark = world.plane.audit_mark();
    let mut operator = world.spawn(&["--leader-elect=true"]);
    eventually("it leads", FAILOVER, async || {
        operator.logs().contains(r#""leads":true"#).then_some(()).ok_or_else(|| "it does not".to_owned())
    })
    .await;
    consistently("nothing is written", Duration::from_secs(5), async || {
        let counted = world.counted(mark);
        counted.is_empty().then_some(()).ok_or_else(|| format!("{counted:#?}"))
    })
    .await;
    assert_eq!(operator.get("/readyz").unwrap().status, 503, "it waits for the policies");
    resources(&json!(["tracingpolicies", "tracingcollectors"]));
    operator.wait_ready().await;
    world.apply(&policy("all", &traced(0.25)));
    eventually("it goes on", SOON, async || {
        let counted = world.counted(mark);
        (counted.len() == 4).then_some(()).ok_or_else(|| format!("{counted:#?}"))
    })
    .await;
    world.settled("all", "True/Ready", "matched=4 injected=4").await;
}

#[tokio::test]
async fn without_the_crd_it_waits_and_says_so_and_never_touches_the_systems_namespaces() {
    let plane = ControlPlane::start().await;
    let world = World::cluster_wide(&plane, "team").await;
    world.apply(&workload("Deployment", "web", &json!([])));
    let mark = plane.audit_mark();
    let mut operator = world.spawn(&[]);
    eventually("it waits for the CRDs alone", SOON, async || {
        let answer = operator.get("/readyz")?;
        let body: Value = serde_json::from_str(&answer.body).map_err(|error| error.to_string())?;
        let caches = body["probes"].as_array().and_then(|probes| probes.iter().find(|probe| probe["name"] == "caches"));
        let said = caches.map(|probe| text(&probe["message"]).to_owned()).unwrap_or_default();
        let expected = "waiting for tracingpolicies.tracesteward.io, clustertracingpolicies.tracesteward.io, tracingcollectors.tracesteward.io";
        (answer.status == 503 && said == expected).then_some(()).ok_or(answer.body)
    })
    .await;
    assert_eq!(operator.get("/healthz").unwrap().status, 200);
    assert_eq!(world.counted(mark), [""; 0]);
    install_crds(&plane);
    operator.wait_ready().await;
    let ready: Value = serde_json::from_str(&operator.get("/readyz").unwrap().body).unwrap();
    assert_eq!(ready["ready"], true);

    let namespaces = ["kube-system", "kube-public", support::operator::NAMESPACE];
    let in_namespace = |args: &[&str], namespace: &str, input: &str| {
        let mut all = vec!["--namespace", namespace];
        all.extend(args);
        plane.kubectl_stdin(&all, input).success()
    };
    for namespace in namespaces {
        in_namespace(&["apply", "-f", "-"], namespace, &workload("Deployment", "web", &json!([])).to_string());
        in_namespace(&["apply", "-f", "-"], namespace, &policy("all", &traced(0.5)).to_string());
    }
    world.apply(&policy("all", &traced(0.5)));
    world.settled("all", "True/Ready", "matched=1 injected=1").await;
    for namespace in namespaces {
        let get = |kind: &str, name: &str| -> Value {
            serde_json::from_str(&in_namespace(
                &["get", kind, name, "-o", "json", "--show-managed-fields"],
                namespace,
                "",
            ))
            .unwrap()
        };
        let refused = eventually("the policy is refused", SOON, async || {
            let policy = get("trp", "all");
            let seen = condition(&policy, "Ready");
            (seen == "False/NamespaceExcluded").then_some(policy).ok_or(seen)
        })
        .await;
        assert_eq!(condition(&refused, "Accepted"), "False/NamespaceExcluded", "{namespace}");
        assert_eq!(condition(&refused, "Stalled"), "True/NamespaceExcluded", "{namespace}");
        assert_eq!(managed(&get("deployment", "web")), None, "{namespace}");
    }
    let counted = plane.writes_since(mark, Some(&world.user()), None).counted();
    assert_eq!(lines(&counted), ["patch deployments/web 200"]);
    assert_eq!(counted[0].namespace, world.namespace);
    // Who applies a policy to the operator's own namespace later, while it runs, and removes it again: nothing happens.
    for namespace in namespaces {
        in_namespace(&["delete", "trp", "all"], namespace, "");
    }
    consistently("nothing is written", Duration::from_secs(2), async || {
        let counted = world.counted(mark);
        (counted.len() == 1).then_some(()).ok_or_else(|| format!("{counted:#?}"))
    })
    .await;
}

/// The CRD without its schema: what an older or a newer version may have stored.
fn crd_without_a_schema() -> Value {
    let mut crd = documents(&file("crds/tracesteward.io_tracingpolicies.yaml")).remove(0);
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"] =
        json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    crd
}

#[tokio::test]
async fn a_policy_that_cannot_be_read_stops_no_other_and_its_workloads_stay() {
    let plane = ControlPlane::start().await;
    plane.kubectl_stdin(&["apply", "-f", "-"], &crd_without_a_schema().to_string()).success();
    for other in ["tracingcollectors", "clustertracingpolicies"] {
        plane.kubectl_stdin(&["apply", "-f", "-"], &file(&format!("crds/tracesteward.io_{other}.yaml"))).success();
    }
    wait_for_crds(&plane);
    let world = World::new(&plane, "broken").await;
    for name in ["good", "broken", "invalid"] {
        world.apply(&workload("Deployment", name, &json!([])));
    }
    let on = |name: &str, more: Value| {
        let mut spec = traced(0.5);
        spec["targets"] = json!([{"kind": "Deployment", "name": name}]);
        more.as_object().unwrap().iter().for_each(|(key, value)| spec[key] = value.clone());
        policy(name, &spec)
    };
    for name in ["good", "broken", "invalid"] {
        world.apply(&on(name, json!({})));
    }
    let operator = world.operator(&[]).await;
    for name in ["good", "broken", "invalid"] {
        world.settled(name, "True/Ready", "matched=1 injected=1").await;
    }
    let carries =
        async |name: &str| value(&world.get("Deployment", name).await, "OTEL_TRACES_SAMPLER_ARG").map(str::to_owned);

    let mark = plane.audit_mark();
    world.apply(&on("broken", json!({"enabled": "maybe", "sampling": {"ratio": 0.9}})));
    world.apply(&on("invalid", json!({"sampling": {"ratio": 1.5}})));
    for (name, code) in [("broken", "TRC0112"), ("invalid", "TRC0105")] {
        let status = world.settled(name, "False/Invalid", "matched=1 injected=1").await;
        assert_eq!(
            (condition(&status, "Accepted"), condition(&status, "Stalled")),
            ("False/Invalid".into(), "True/Invalid".into())
        );
        let message = text(&condition_of(&status, "Accepted").unwrap()["message"]);
        assert!(message.starts_with(&format!("{code}: ")), "{message}");
        assert_eq!(carries(name).await.as_deref(), Some("0.5"), "{name}");
    }
    // Targets that cannot be read may mean anything: what no other policy is about stays as it is.
    world.apply(&workload("Deployment", "new", &json!([])));
    world.apply(&policy(
        "targets",
        &json!({"enabled": true, "targets": 7, "export": {"endpoint": "http://collector:4317"}}),
    ));
    let status = world.settled("targets", "False/Invalid", "matched=4 superseded=3").await;
    assert!(text(&condition_of(&status, "Accepted").unwrap()["message"]).contains("spec.targets"), "{status:#}");
    world.apply(&policy("nothing", &json!({})));
    world
        .kubectl_stdin(
            &["apply", "-f", "-"],
            &json!({
                "apiVersion": "tracesteward.io/v1alpha1", "kind": "TracingPolicy", "metadata": {"name": "no-spec"},
            })
            .to_string(),
        )
        .success();
    assert_eq!(world.counted(mark), [""; 0]);

    // The good one is heard, also after a restart, and the others stay as they are.
    world.apply(&on("good", json!({"sampling": {"ratio": 0.25}})));
    world
        .until("the good one is written", "Deployment", "good", |live| {
            let seen = value(live, "OTEL_TRACES_SAMPLER_ARG");
            (seen == Some("0.25")).then_some(()).ok_or_else(|| format!("{seen:?}"))
        })
        .await;
    assert!(operator.stop().success());
    let _operator = world.operator(&[]).await;
    world.apply(&on("good", json!({"sampling": {"ratio": 0.75}})));
    world
        .until("the good one is written", "Deployment", "good", |live| {
            let seen = value(live, "OTEL_TRACES_SAMPLER_ARG");
            (seen == Some("0.75")).then_some(()).ok_or_else(|| format!("{seen:?}"))
        })
        .await;
    assert_eq!((carries("broken").await.as_deref(), carries("invalid").await.as_deref()), (Some("0.5"), Some("0.5")));
    assert_eq!(held(&world.get("Deployment", "new").await, "app"), [""; 0]);
    assert_eq!(world.counted(mark), ["patch deployments/good 200"; 2]);

    // Mended, disabled and deleted they are heard again.
    world.apply(&on("broken", json!({"sampling": {"ratio": 0.125}})));
    let mended = world.settled("broken", "True/Ready", "matched=1 injected=1").await;
    assert_eq!(condition(&mended, "Stalled"), "");
    assert_eq!(carries("broken").await.as_deref(), Some("0.125"));
    world.kubectl(&["delete", "trp", "targets", "nothing", "no-spec", "invalid"]).success();
    world
        .until("what the invalid one had set is withdrawn", "Deployment", "invalid", |live| {
            managed(live).map_or(Ok(()), |fields| Err(fields.to_string()))
        })
        .await;
}
