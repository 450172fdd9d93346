//! Which policies, workloads and containers are meant.

use serde_json::{Value, json};

use crate::fixtures::{
    World, attention, condition, condition_of, container, env, held, managed, names, policy, shared, text, traced,
    value, workload, workload_of,
};

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

fn to(endpoint: &str, targets: &Value) -> Value {
    json!({"enabled": true, "targets": targets, "export": {"endpoint": format!("http://{endpoint}:4317")}})
}

#[tokio::test]
async fn known_sidecars_are_left_alone() {
    let world = World::new(shared().await, "sidecar").await;
    let none = json!([]);
    let containers = json!([container("istio-proxy", &none), container("app", &none), container("cache", &none)]);
    let mut object = workload_of("Deployment", "web", &containers);
    object["spec"]["template"]["spec"]["initContainers"] = json!([container("setup", &none)]);
    world.apply(&object);
    world.apply(&policy("all", &traced(1.0)));
    let _operator = world.operator(&[]).await;
    world.settled("all", "True/Ready", "matched=1 injected=1").await;
    let live = world.get("Deployment", "web").await;
    assert_eq!((env(&live, "istio-proxy").len(), held(&live, "istio-proxy").len()), (0, 0));
    assert!(held(&live, "app").contains(&ENDPOINT) && held(&live, "cache").contains(&ENDPOINT));
    assert_eq!(live["spec"]["template"]["spec"]["initContainers"][0].get("env"), None);
    let order: Vec<_> = live["spec"]["template"]["spec"]["containers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| text(&one["name"]))
        .collect();
    assert_eq!(order, ["istio-proxy", "app", "cache"]);
}

#[tokio::test]
async fn named_containers_and_no_others_are_injected() {
    let world = World::new(shared().await, "containers").await;
    let none = json!([]);
    world.apply(&workload_of("Deployment", "web", &json!([container("app", &none), container("istio-proxy", &none)])));
    world.apply(&workload_of("DaemonSet", "agent", &json!([container("agent", &none)])));
    let mut spec = traced(1.0);
    spec["containers"] = json!(["istio-proxy"]);
    world.apply(&policy("all", &spec));
    let _operator = world.operator(&[]).await;
    let status = world.settled("all", "True/Ready", "matched=2 injected=1").await;
    let live = world.get("Deployment", "web").await;
    assert!(held(&live, "istio-proxy").contains(&ENDPOINT), "a sidecar that is named");
    assert_eq!((names(&live, "app").len(), managed(&world.get("DaemonSet", "agent").await)), (0, None));
    assert_eq!(attention(&status), ["DaemonSet/agent NoContainerSelected: None of its containers is selected."]);

    spec["containers"] = json!(["app"]);
    world.apply(&policy("all", &spec));
    eventually_moved(&world).await;

    spec["containers"] = json!(["nobody"]);
    world.apply(&policy("all", &spec));
    let status = world.settled("all", "False/NoContainerSelected", "matched=2").await;
    let attention = attention(&status);
    assert_eq!(attention.len(), 3, "{attention:#?}");
    assert!(
        attention
            .iter()
            .any(|line| line.starts_with("TracingPolicy/all ContainerNotFound: ") && line.contains("nobody"))
    );
    assert_eq!(managed(&world.get("Deployment", "web").await), None);
}

async fn eventually_moved(world: &World<'_>) {
    let live = world
        .until("the other container is injected", "Deployment", "web", |live| {
            held(live, "app").contains(&ENDPOINT).then_some(()).ok_or_else(|| live["spec"].to_string())
        })
        .await;
    assert_eq!(names(&live, "istio-proxy").len(), 0);
}

#[tokio::test]
async fn the_more_specific_policy_wins_and_hands_over() {
    let world = World::new(shared().await, "superseded").await;
    for name in ["web", "api"] {
        world.apply(&workload("Deployment", name, &json!([])));
    }
    world.apply(&policy("all", &to("wide", &json!([]))));
    let mut labelled = to("labels", &json!([{"kind": "Deployment", "selector": {"matchLabels": {"app": "web"}}}]));
    labelled["priority"] = json!(100);
    world.apply(&policy("labelled", &labelled));
    world.apply(&policy("named", &to("name", &json!([{"kind": "Deployment", "name": "web"}]))));
    let _operator = world.operator(&[]).await;
    world.settled("all", "True/Ready", "matched=2 injected=1 superseded=1").await;
    world.settled("labelled", "True/Superseded", "matched=1 superseded=1").await;
    world.settled("named", "True/Ready", "matched=1 injected=1").await;
    let endpoint = async |name: &str| value(&world.get("Deployment", name).await, ENDPOINT).map(str::to_owned);
    assert_eq!(endpoint("web").await.as_deref(), Some("http://name:4317"));
    assert_eq!(endpoint("api").await.as_deref(), Some("http://wide:4317"));

    let mark = world.plane.audit_mark();
    world.kubectl(&["delete", "tracingpolicies.tracesteward.io", "named"]).success();
    world.settled("labelled", "True/Ready", "matched=1 injected=1").await;
    assert_eq!(endpoint("web").await.as_deref(), Some("http://labels:4317"));
    // Disabled, and still the one that decides: the wide policy does not come through.
    labelled["enabled"] = json!(false);
    world.apply(&policy("labelled", &labelled));
    world.settled("labelled", "True/Disabled", "matched=1").await;
    assert_eq!(endpoint("web").await, None);
    world.kubectl(&["delete", "tracingpolicies.tracesteward.io", "labelled"]).success();
    world.settled("all", "True/Ready", "matched=2 injected=2").await;
    assert_eq!(endpoint("web").await.as_deref(), Some("http://wide:4317"));
    assert_eq!(world.counted(mark), ["patch deployments/web 200"; 3]);
}

#[tokio::test]
async fn among_equals_priority_wins_then_age() {
    let world = World::new(shared().await, "priority").await;
    world.apply(&workload("Deployment", "web", &json!([])));
    world.apply(&policy("z-older", &to("older", &json!([]))));
    // Ages are whole seconds.
    let created = world.get("TracingPolicy", "z-older").await["metadata"]["creationTimestamp"].clone();
    crate::support::eventually("a second has passed", crate::fixtures::SOON, async || {
        world.kubectl(&["delete", "tracingpolicies.tracesteward.io", "a-younger", "--ignore-not-found"]).success();
        world.apply(&policy("a-younger", &to("younger", &json!([]))));
        let now = world.get("TracingPolicy", "a-younger").await["metadata"]["creationTimestamp"].clone();
        (now != created).then_some(()).ok_or_else(|| now.to_string())
    })
    .await;
    let _operator = world.operator(&[]).await;
    world.settled("z-older", "True/Ready", "matched=1 injected=1").await;
    world.settled("a-younger", "True/Superseded", "matched=1 superseded=1").await;
    let mut spec = to("younger", &json!([]));
    spec["priority"] = json!(1);
    world.apply(&policy("a-younger", &spec));
    world.settled("a-younger", "True/Ready", "matched=1 injected=1").await;
    world.settled("z-older", "True/Superseded", "matched=1 superseded=1").await;
    assert_eq!(value(&world.get("Deployment", "web").await, ENDPOINT), Some("http://younger:4317"));
}

#[tokio::test]
async fn an_export_that_cannot_be_found_changes_nothing_and_says_why() {
    let world = World::new(shared().await, "unresolved").await;
    world.apply(&workload("Deployment", "web", &json!([])));
    world.apply(&policy("all", &traced(0.5)));
    let _operator = world.operator(&[]).await;
    world.settled("all", "True/Ready", "matched=1 injected=1").await;
    let before = world.get("Deployment", "web").await;
    let mark = world.plane.audit_mark();
    for (export, reason, why) in [
        (json!({"inherit": true}), "NothingToInherit", "No ClusterTracingPolicy"),
        (
            json!({"collectorRef": {"name": "gateway", "namespace": "observability"}}),
            "CollectorNotFound",
            "observability/gateway does not exist",
        ),
    ] {
        world.apply(&policy("all", &json!({"enabled": true, "export": export, "sampling": {"ratio": 0.9}})));
        let ready = format!("False/{reason}");
        let status = world.settled("all", &ready, "matched=1 injected=1").await;
        assert_eq!((condition(&status, "ResolvedRefs"), condition(&status, "Programmed")), (ready.clone(), ready));
        assert_eq!(
            (condition(&status, "Accepted"), condition(&status, "Stalled")),
            ("True/Accepted".into(), String::new())
        );
        let message = text(&condition_of(&status, "Ready").unwrap()["message"]);
        assert!(message.contains(why), "{message}");
        let accepted = text(&condition_of(&status, "Accepted").unwrap()["message"]);
        assert!(!accepted.contains("Without effect"), "{accepted}");
    }
    world.apply(&workload("Deployment", "new", &json!([])));
    world.settled("all", "False/CollectorNotFound", "matched=2 injected=1").await;
    assert_eq!(managed(&world.get("Deployment", "new").await), None);
    assert_eq!(world.get("Deployment", "web").await["spec"], before["spec"]);
    assert_eq!(world.counted(mark), [""; 0]);
    // Disabling is heard all the same.
    world.apply(&policy("all", &json!({"enabled": false})));
    world.settled("all", "True/Disabled", "matched=2").await;
    assert_eq!(managed(&world.get("Deployment", "web").await), None);
}

#[tokio::test]
async fn other_namespaces_are_none_of_its_business() {
    let world = World::new(shared().await, "mine").await;
    let other = World::new(shared().await, "theirs").await;
    for world in [&world, &other] {
        world.apply(&workload("Deployment", "web", &json!([])));
        world.apply(&policy("all", &traced(1.0)));
    }
    let _operator = world.operator(&[]).await;
    world.settled("all", "True/Ready", "matched=1 injected=1").await;
    assert_eq!(managed(&other.get("Deployment", "web").await), None);
    assert_eq!(other.get("TracingPolicy", "all").await.get("status"), None);
}
