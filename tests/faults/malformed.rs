//! Objects that no validation would let in, as an old version of the CRDs may have stored them, and odd workloads: they hold up
//! nothing else, and nothing that is there is taken away.

use std::time::Instant;

use serde_json::{Value, json};

use super::common::Ground;
use crate::fixtures::{World, condition, container, documents, file, text, wait_for_crds, workload, workload_of};
use crate::support::{ControlPlane, eventually};

/// The CRDs without their schema, statuses included.
fn install_crds_without_schemas(plane: &ControlPlane) {
    for name in ["tracingpolicies", "clustertracingpolicies", "tracingcollectors"] {
        let mut crd = documents(&file(&format!("crds/tracesteward.io_{name}.yaml"))).remove(0);
        let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = anything;
        plane.kubectl_stdin(&["apply", "-f", "-"], &crd.to_string()).success();
    }
    wait_for_crds(plane);
}

/// What is in no schema, of each kind. Second, what may be about every workload: whom a policy of the cluster means that cannot
/// be read, nobody knows.
fn malformed() -> (Vec<Value>, Vec<Value>) {
    let specs = [
        ("nothing", json!(null)),
        ("number", json!(7)),
        ("list", json!([1, "two", null])),
        (
            "words",
            json!({"enabled": "maybe", "export": "there", "sampling": [], "defaults": "all", "overrides": 3, "backends": {}}),
        ),
        (
            "deep",
            json!({"overrides": {"enabled": "yes", "allowedEndpointHosts": {"a": 1}}, "namespaceSelector": [],
            "targets": [{"kind": "Deployment", "name": "none"}, 7, null], "export": {"endpoint": 9}, "replicas": -3, "sampling": {"tail": "x"}}),
        ),
        (
            "old",
            json!({"version": 1, "collector": {"url": "http://c:4317"}, "sampler": "ratio=0.5", "exporter": {"kind": "jaeger"}}),
        ),
    ];
    let object = |kind: &str, name: &str, spec: &Value| json!({"apiVersion": "tracesteward.io/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec});
    let objects =
        |kind: &'static str| specs.iter().map(move |(name, spec)| object(kind, name, spec)).collect::<Vec<_>>();
    let invalid = json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "elsewhere"}},
        "overrides": {"enabled": false, "sampling": {"ratio": 7}}});
    let invalid = object("ClusterTracingPolicy", "invalid-elsewhere", &invalid);
    let others = [objects("TracingPolicy"), objects("TracingCollector"), vec![invalid]].concat();
    (others, objects("ClusterTracingPolicy"))
}

/// Workloads that the API server lets in and nobody expects.
fn odd() -> Vec<Value> {
    let annotated = |name: &str, of: Value, template: Value| {
        let mut object = workload("Deployment", name, &json!([]));
        object["metadata"]["annotations"] = of;
        object["spec"]["template"]["metadata"]["annotations"] = template;
        object
    };
    let long = "\u{7f}é\n\"'$(X)${Y}%zz".repeat(2_000);
    let refusals = json!({"tracesteward.io/refused": "%%%", "tracesteward.io/refused-because": long});
    let empty = json!({"tracesteward.io/refused": "", "tracesteward.io/refused-because": "", "tracesteward.io/ignore": ";;,TRC9999 \n"});
    let attributes = json!({"resource.opentelemetry.io/a.b": long, "resource.opentelemetry.io/service.name": "\u{0}x\n=,",
        "tracesteward.io/configuration": "x", "tracesteward.io/injected-containers": ",,app,app", "instrumentation.opentelemetry.io/inject-java": "perhaps"});
    let twice =
        json!([{"name": "A", "value": "1"}, {"name": "A", "value": "2"}, {"name": "B", "value": "$(A)$(NONE)$("}]);
    let mut many = Vec::new();
    for number in 0..40 {
        many.push(container(&format!("c{number}"), &json!([])));
    }
    vec![
        annotated("refused-with-nonsense", refusals.clone(), refusals),
        annotated("refused-with-nothing", empty.clone(), empty),
        annotated("odd-attributes", attributes.clone(), attributes),
        workload("Deployment", "twice", &twice),
        workload_of(
            "StatefulSet",
            "many-containers",
            &Value::from([vec![container("app", &json!([]))], many].concat()),
        ),
    ]
}

/// Waits until the object says that it is not accepted.
async fn is_told(ground: &Ground<'_>, object: &Value) {
    let (kind, name) = (text(&object["kind"]), text(&object["metadata"]["name"]));
    let what = format!("{kind} {name} is told that it is not valid");
    let probe = |live: &Value| {
        let accepted = condition(live, "Accepted");
        accepted.starts_with("False/").then_some(()).ok_or_else(|| format!("{accepted} {}", live["status"]))
    };
    ground.world.until(&what, kind, name, probe).await;
}

#[tokio::test]
async fn malformed_objects_and_odd_workloads_hold_up_nothing() {
    let plane = ControlPlane::start().await;
    install_crds_without_schemas(&plane);
    let world = World::cluster_wide(&plane, "malformed").await;
    let mut ground = Ground::with(world, 10, 0).await;
    ground.add(&odd()).await;
    let mut operator = ground.world.operator(&[]).await;
    ground.change();
    ground.converged().await;

    let (objects, about_all) = malformed();
    for object in &objects {
        ground.world.apply(object);
    }
    ground.change();
    ground.converged().await;
    for object in &objects {
        is_told(&ground, object).await;
    }
    // A status that nobody could have written is written anew.
    let nonsense =
        r#"{"status": {"observedGeneration": "x", "workloads": "many", "conditions": {"Ready": 1}, "attention": 7}}"#;
    ground.world.kubectl(&["patch", "trp", "all", "--subresource=status", "--type=merge", "-p", nonsense]).success();
    ground.converged().await;
    // Limits of the platform that cannot be read: what is there stays until they can be.
    for object in &about_all {
        ground.world.apply(object);
    }
    for object in &about_all {
        is_told(&ground, object).await;
    }
    let mark = ground.world.plane.audit_mark();
    ground.change();
    ground.world.settled("all", "False/PolicyInvalid", &format!("matched={0} injected={0}", ground.count())).await;
    assert_eq!((ground.reached().await, ground.world.counted(mark).len()), (0, 0), "nothing is written");
    let names: Vec<_> = about_all.iter().map(|object| object["metadata"]["name"].as_str().unwrap()).collect();
    ground.world.kubectl(&[&["delete", "clustertracingpolicies.tracesteward.io"], names.as_slice()].concat()).success();
    ground.converged().await;
    operator.assert_alive();
    // Nor is anything of it in the way of an operator that starts.
    assert!(operator.stop().success());
    let since = Instant::now();
    let mut operator = ground.world.operator(&[]).await;
    ground.change();
    ground.converged().await;
    eventually("it is ready", super::common::RECOVERY, async || {
        let answer = operator.get("/readyz")?;
        (answer.status == 200).then_some(()).ok_or(answer.body)
    })
    .await;
    ground.finish("malformed objects, odd workloads", since, &mut [&mut operator]).await;
}
