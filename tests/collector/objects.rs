//! The objects of a collector: made once, kept as they should be, removed.

use std::time::Duration;

use kube::api::ListParams;
use serde_json::{Value, json};

use crate::common::{Kubelet, collector, exporting, hash, message};
use crate::fixtures::{SOON, World, condition, lines, policy, shared, text, workload};
use crate::support::{Mark, consistently, eventually};

/// How long nothing may be written.
const REST: Duration = Duration::from_secs(20);

/// What is written for a new collector that becomes ready.
fn first_writes(configuration: &str) -> Vec<String> {
    let mut lines = vec![
        format!("patch configmaps/{configuration} 201"),
        "patch deployments/gw-collector 201".to_owned(),
        // That it was good is remembered.
        "patch deployments/gw-collector 200".to_owned(),
        "patch serviceaccounts/gw-collector 201".to_owned(),
        "patch services/gw-collector 201".to_owned(),
    ];
    lines.sort();
    lines
}

async fn nothing_is_written(world: &World<'_>, mark: Mark) {
    consistently("nothing is written", REST, async || {
        let writes = world.writes(mark).only(|write| write.resource != "leases" && write.resource != "events");
        writes.is_empty().then_some(()).ok_or_else(|| format!("{:#?}", lines(&writes)))
    })
    .await;
}

#[tokio::test]
async fn they_appear_with_one_write_each_and_rest_then() {
    let world = World::new(shared().await, "made").await;
    let _kubelet = Kubelet::start(&world);
    let mark = world.plane.audit_mark();
    world.apply(&collector("gw", &json!({})));
    let operator = world.operator(&[]).await;
    let live = world.collector_is_live("gw").await;
    let configuration = format!("gw-collector-{}", hash(&live, "live"));
    world.has_written(mark, &first_writes(&configuration)).await;
    for (kind, name) in [
        ("ServiceAccount", "gw-collector"),
        ("ConfigMap", configuration.as_str()),
        ("Service", "gw-collector"),
        ("Deployment", "gw-collector"),
    ] {
        let object = world.get(kind, name).await;
        let owner = &object["metadata"]["ownerReferences"][0];
        assert_eq!((&owner["kind"], &owner["uid"]), (&json!("TracingCollector"), &live["metadata"]["uid"]), "{kind}");
        assert_eq!(owner["controller"], true, "{kind}");
    }
    let status = &live["status"];
    assert_eq!(status["replicas"], json!({"desired": 1, "ready": 1}), "{status:#}");
    let endpoints = json!({
        "grpc": format!("http://gw-collector.{}.svc:4317", world.namespace),
        "http": format!("http://gw-collector.{}.svc:4318", world.namespace),
    });
    assert_eq!(status["endpoints"], endpoints);
    assert_eq!((&status["policies"], &status["services"]), (&json!(0), &json!(0)));
    world.until_events(1).await;

    let mark = world.plane.audit_mark();
    nothing_is_written(&world, mark).await;
    assert!(operator.stop().success());
    let operator = world.operator(&[]).await;
    nothing_is_written(&world, mark).await;
    operator.kill9();
    let _operator = world.operator(&[]).await;
    nothing_is_written(&world, mark).await;
}

#[tokio::test]
async fn policies_that_arrive_together_make_one_rollout_and_three_configurations_are_kept() {
    let world = World::new(shared().await, "policies").await;
    let _kubelet = Kubelet::start(&world);
    for name in ["a", "b", "c"] {
        world.apply(&workload("Deployment", name, &json!([])));
    }
    world.apply(&collector("gw", &json!({})));
    let _operator = world.operator(&[]).await;
    world.collector_rests("gw").await;
    let deployments = |mark: Mark| -> Vec<String> {
        let counted = world.counted(mark).into_iter();
        counted.filter(|line| line.contains("gw-collector") || line.contains("configmaps")).collect()
    };
    let mark = world.plane.audit_mark();
    let all: Vec<Value> = ["a", "b", "c"]
        .map(|name| {
            let mut spec = exporting(&json!({"name": "gw"}), 0.5);
            spec["targets"] = json!([{"kind": "Deployment", "name": name}]);
            policy(name, &spec)
        })
        .to_vec();
    world.apply(&json!({"apiVersion": "v1", "kind": "List", "items": all}));
    let live = eventually("three services have rules", SOON, async || {
        let live = world.get("TracingCollector", "gw").await;
        let status = &live["status"];
        let is_live = condition(&live, "Ready") == "True/Ready"
            && status["configuration"]["desired"] == status["configuration"]["live"];
        (is_live && status["policies"] == 3 && status["services"] == 3)
            .then_some(live.clone())
            .ok_or_else(|| status.to_string())
    })
    .await;
    let configuration = format!("patch configmaps/gw-collector-{} 201", hash(&live, "live"));
    let once = ["patch deployments/gw-collector 200".to_owned(), "patch deployments/gw-collector 200".to_owned()];
    let expected: Vec<String> = std::iter::once(configuration).chain(once).collect();
    eventually("one new ConfigMap, one rollout, one note that it was good", SOON, async || {
        let seen = deployments(mark);
        (seen == expected).then_some(()).ok_or_else(|| format!("{seen:#?}"))
    })
    .await;

    let mut last = Vec::new();
    for ratio in [0.25, 0.125, 0.0625, 0.03125] {
        let mut spec = exporting(&json!({"name": "gw"}), ratio);
        spec["targets"] = json!([{"kind": "Deployment", "name": "a"}]);
        let before = hash(&world.get("TracingCollector", "gw").await, "desired");
        world.apply(&policy("a", &spec));
        let live = eventually("it is live", SOON, async || {
            let live = world.collector_is_live("gw").await;
            (hash(&live, "live") != before).then_some(live).ok_or_else(|| "not yet".to_owned())
        })
        .await;
        last.push(format!("gw-collector-{}", hash(&live, "live")));
    }
    last.sort();
    eventually("three are kept", SOON, async || {
        let kept = world.configurations("gw").await;
        let newest: Vec<_> = kept.iter().filter(|name| last.contains(name)).collect();
        (kept.len() == 3 && newest.len() == 3).then_some(()).ok_or_else(|| format!("{kept:?}, of {last:?}"))
    })
    .await;
    // A policy whose intent is the same for the collector makes nothing new.
    let mark = world.plane.audit_mark();
    let mut spec = exporting(&json!({"name": "gw"}), 0.03125);
    spec["targets"] = json!([{"kind": "Deployment", "name": "a"}]);
    spec["limits"] = json!({"spanAttributes": 64});
    world.apply(&policy("a", &spec));
    eventually("the workload is written", SOON, async || {
        let counted = world.counted(mark);
        (counted == ["patch deployments/a 200"]).then_some(()).ok_or_else(|| format!("{counted:#?}"))
    })
    .await;
    consistently("the collector is not", Duration::from_secs(3), async || {
        let counted = world.counted(mark);
        (counted == ["patch deployments/a 200"]).then_some(()).ok_or_else(|| format!("{counted:#?}"))
    })
    .await;
}

#[tokio::test]
async fn what_others_change_is_repaired_once() {
    let world = World::new(shared().await, "repair").await;
    let _kubelet = Kubelet::start(&world);
    world.apply(&collector("gw", &json!({})));
    let _operator = world.operator(&[]).await;
    let live = world.collector_is_live("gw").await;
    let configuration = format!("gw-collector-{}", hash(&live, "live"));
    world.has_written(Mark::default(), &first_writes(&configuration)).await;

    let mark = world.plane.audit_mark();
    let selector = r#"{"spec": {"selector": {"app.kubernetes.io/component": "other"}}}"#;
    world.kubectl(&["patch", "service", "gw-collector", "-p", selector]).success();
    world.has_written(mark, &["patch services/gw-collector 200".to_owned()]).await;
    let repaired = world.get("Service", "gw-collector").await;
    assert_eq!(repaired["spec"]["selector"]["app.kubernetes.io/component"], "collector");

    // The number of a port is its key: server-side apply alone would be refused for ever.
    let mark = world.plane.audit_mark();
    let ports = r#"[{"op": "replace", "path": "/spec/ports/0/port", "value": 9999}]"#;
    world.kubectl(&["patch", "service", "gw-collector", "--type=json", "-p", ports]).success();
    world
        .until("the ports are repaired", "Service", "gw-collector", |live| {
            let ports = &live["spec"]["ports"];
            (ports == &repaired["spec"]["ports"]).then_some(()).ok_or_else(|| ports.to_string())
        })
        .await;
    // The apply is refused, the ports are replaced, and then the whole is applied.
    let repair = [200, 200, 422].map(|code| format!("patch services/gw-collector {code}"));
    world.has_written(mark, &repair).await;
    let mark = world.plane.audit_mark();
    nothing_is_written(&world, mark).await;
    world.collector_is_live("gw").await;
    // A later change of a port goes through all the same.
    world.apply(&collector("gw", &json!({"receivers": {"grpcPort": 14317}})));
    world
        .until("the port is another", "Service", "gw-collector", |live| {
            let ports = &live["spec"]["ports"];
            let all = ports.to_string();
            (all.contains("14317") && !all.contains(":4317")).then_some(()).ok_or(all)
        })
        .await;
    let configuration = eventually("it is live", SOON, async || {
        let live = world.collector_is_live("gw").await;
        let name = format!("gw-collector-{}", hash(&live, "live"));
        let noted = world
            .get("Deployment", "gw-collector")
            .await
            .to_string()
            .contains(&format!("last-good\":\"{}", hash(&live, "live")));
        (name != configuration && noted).then_some(name).ok_or_else(|| "not yet".to_owned())
    })
    .await;

    let mark = world.plane.audit_mark();
    world.kubectl(&["label", "service", "gw-collector", "app.kubernetes.io/managed-by-"]).success();
    world.has_written(mark, &["patch services/gw-collector 200".to_owned()]).await;

    let mark = world.plane.audit_mark();
    world.kubectl(&["delete", "configmap", &configuration]).success();
    world.has_written(mark, &[format!("patch configmaps/{configuration} 201")]).await;

    // What they add is theirs.
    let mark = world.plane.audit_mark();
    world.kubectl(&["annotate", "service", "gw-collector", "example.com/note=mine"]).success();
    nothing_is_written(&world, mark).await;
    let service = world.get("Service", "gw-collector").await;
    assert_eq!(service["metadata"]["annotations"]["example.com/note"], "mine");
}

#[tokio::test]
async fn a_foreign_object_of_the_same_name_is_left_alone() {
    let world = World::new(shared().await, "foreign").await;
    let _kubelet = Kubelet::start(&world);
    let foreign = |labels: &Value| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "gw-collector", "labels": labels},
            "spec": {"selector": {"app": "mine"}, "ports": [{"port": 80}]}})
    };
    let ours = json!({"app.kubernetes.io/managed-by": "tracesteward", "app.kubernetes.io/instance": "gw"});
    // Without our labels, and with them.
    for labels in [json!({}), ours] {
        world.apply(&foreign(&labels));
        let before = world.get("Service", "gw-collector").await;
        world.apply(&collector("gw", &json!({})));
        let operator = world.operator(&[]).await;
        let status = world.collector_is("gw", "False/NameTaken").await;
        assert_eq!(condition(&status, "Programmed"), "False/NameTaken");
        assert!(message(&status, "Ready").contains("Service gw-collector"), "{status:#}");
        assert_eq!(world.get("Service", "gw-collector").await, before);
        world
            .until("the rest is made", "Deployment", "gw-collector", |live| {
                live.is_object().then_some(()).ok_or_else(|| "no".to_owned())
            })
            .await;
        world.kubectl(&["delete", "service", "gw-collector"]).success();
        world.collector_is_live("gw").await;
        world.kubectl(&["delete", "trc", "gw"]).success();
        gone(&world).await;
        assert!(operator.stop().success());
    }
}

/// The garbage collector hears of a new kind within half a minute.
const COLLECTED: Duration = Duration::from_secs(90);

/// Waits until nothing of a collector is left.
async fn gone(world: &World<'_>) {
    eventually("nothing is left", COLLECTED, async || {
        let mut left = Vec::new();
        for kind in ["ServiceAccount", "ConfigMap", "Service", "Deployment", "StatefulSet", "Pod"] {
            let of = ListParams::default().labels("app.kubernetes.io/instance=gw");
            let listed = world.api(kind).list(&of).await.map_err(|error| error.to_string())?;
            left.extend(
                listed.items.into_iter().map(|object| format!("{kind}/{}", object.metadata.name.unwrap_or_default())),
            );
        }
        left.is_empty().then_some(()).ok_or_else(|| format!("{left:?}"))
    })
    .await;
}

#[tokio::test]
async fn deletion_leaves_nothing_and_a_new_one_starts_over() {
    let world = World::new(shared().await, "deleted").await;
    let _kubelet = Kubelet::start(&world);
    world.apply(&collector("gw", &json!({})));
    let _operator = world.operator(&[]).await;
    let first = world.collector_rests("gw").await;
    let mark = world.plane.audit_mark();
    world.kubectl(&["delete", "trc", "gw"]).success();
    gone(&world).await;
    assert_eq!(world.counted(mark), [""; 0], "the garbage collector removes it");
    // Deleted and made again at once: the objects of the first are not taken over.
    world.apply(&collector("gw", &json!({})));
    world.collector_is_live("gw").await;
    world.kubectl(&["delete", "trc", "gw", "--wait=false"]).success();
    world.apply(&collector("gw", &json!({})));
    let again = world.collector_is_live("gw").await;
    assert_ne!(first["metadata"]["uid"], again["metadata"]["uid"]);
    let deployment = world.get("Deployment", "gw-collector").await;
    assert_eq!(deployment["metadata"]["ownerReferences"][0]["uid"], again["metadata"]["uid"]);
}

#[tokio::test]
async fn storage_makes_it_a_statefulset_and_the_old_pods_serve_until_then() {
    let world = World::new(shared().await, "storage").await;
    let kubelet = Kubelet::start(&world);
    world.apply(&collector("gw", &json!({})));
    let _operator = world.operator(&[]).await;
    world.collector_is_live("gw").await;
    drop(kubelet);
    world.apply(&collector("gw", &json!({"queue": {"storage": {"size": "1Gi"}}})));
    world
        .until("the StatefulSet is there", "StatefulSet", "gw-collector", |live| {
            live.is_object().then_some(()).ok_or_else(|| "no".to_owned())
        })
        .await;
    world.collector_is("gw", "Unknown/RollingOut").await;
    assert_eq!(world.get("Deployment", "gw-collector").await["status"]["readyReplicas"], 1);
    let _kubelet = Kubelet::start(&world);
    world.collector_is_live("gw").await;
    world
        .until("the Deployment is gone", "Deployment", "gw-collector", |live| {
            live.is_null().then_some(()).ok_or_else(|| "there".to_owned())
        })
        .await;
    // And back.
    world.apply(&collector("gw", &json!({})));
    world.collector_is_live("gw").await;
    world
        .until("the StatefulSet is gone", "StatefulSet", "gw-collector", |live| {
            live.is_null().then_some(()).ok_or_else(|| "there".to_owned())
        })
        .await;
}

#[tokio::test]
async fn config_only_is_a_configmap_and_nothing_else() {
    let world = World::new(shared().await, "configonly").await;
    let _kubelet = Kubelet::start(&world);
    let mark = world.plane.audit_mark();
    world.apply(&collector("gw", &json!({"management": "ConfigOnly"})));
    world.apply(&workload("Deployment", "web", &json!([])));
    world.apply(&policy("all", &exporting(&json!({"name": "gw"}), 0.5)));
    let _operator = world.operator(&[]).await;
    let live = world.collector_is_live("gw").await;
    assert_eq!(live["status"]["replicas"], Value::Null, "{live:#}");
    world.settled("all", "True/Ready", "matched=1 injected=1").await;
    let expected = ["patch configmaps/gw-collector 201", "patch deployments/web 200"].map(str::to_owned);
    world.has_written(mark, &expected).await;
    let mark = world.plane.audit_mark();
    world.apply(&policy("all", &exporting(&json!({"name": "gw"}), 0.25)));
    world.has_written(mark, &["patch configmaps/gw-collector 200".to_owned()]).await;
    assert_eq!(text(&world.get("ConfigMap", "gw-collector").await["metadata"]["name"]), "gw-collector");
    // Sealed by somebody, it can only be made anew.
    let sealed = r#"{"immutable": true}"#;
    world.kubectl(&["patch", "configmap", "gw-collector", "-p", sealed]).success();
    let sealed = world.get("ConfigMap", "gw-collector").await;
    world.apply(&policy("all", &exporting(&json!({"name": "gw"}), 0.125)));
    world
        .until("it is made anew", "ConfigMap", "gw-collector", |live| {
            let is_other = live["metadata"]["uid"].is_string() && live["metadata"]["uid"] != sealed["metadata"]["uid"];
            (is_other && live["data"] != sealed["data"]).then_some(()).ok_or_else(|| live.to_string())
        })
        .await;
    world.collector_is_live("gw").await;
    // From then on run by the operator, and back again.
    world.apply(&collector("gw", &json!({})));
    world.collector_is_live("gw").await;
    world.apply(&collector("gw", &json!({"management": "ConfigOnly"})));
    world
        .until("the Deployment is gone", "Deployment", "gw-collector", |live| {
            live.is_null().then_some(()).ok_or_else(|| "there".to_owned())
        })
        .await;
    world.collector_is_live("gw").await;
}
