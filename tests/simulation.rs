//! Pods that kwok plays: workloads become available with them, and fail as a test says.
#![allow(clippy::unwrap_used, reason = "clippy's exception for tests does not reach their helpers")]

mod fixtures;
mod support;

use std::time::{Duration, Instant};

use fixtures::{SOON, World, shared, text, workload};
use futures::future::join_all;
use kube::api::{ListParams, PostParams};
use serde_json::{Value, json};
use support::kwok::{has_annotation, has_env, has_label};
use support::{ControlPlane, eventually};

/// A workload that wants pods.
fn wanted(kind: &str, name: &str, replicas: u32, env: &Value) -> Value {
    let mut object = workload(kind, name, env);
    if kind != "DaemonSet" {
        object["spec"]["replicas"] = json!(replicas);
    }
    object
}

/// How many pods of a workload are available.
fn available(object: &Value) -> i64 {
    let status = &object["status"];
    let counts = ["availableReplicas", "numberAvailable"];
    counts.iter().find_map(|count| status[*count].as_i64()).unwrap_or_default()
}

async fn until_available(world: &World<'_>, kind: &str, name: &str, count: i64) {
    world
        .until(&format!("{kind} {name} has {count} pods"), kind, name, |live| {
            let is_seen = live["status"]["observedGeneration"] == live["metadata"]["generation"];
            (is_seen && available(live) == count).then_some(()).ok_or_else(|| live["status"].to_string())
        })
        .await;
}

/// The first container's status of the pod of a workload, once it waits for this reason.
async fn waiting(world: &World<'_>, app: &str, reason: &str) -> Value {
    eventually(&format!("{app}: {reason}"), SOON, async || {
        let pods = world.api("Pod").list(&ListParams::default().labels(&format!("app={app}"))).await.unwrap();
        let statuses = pods.items.iter().map(|pod| pod.data["status"]["containerStatuses"][0].clone());
        let found = statuses.clone().find(|status| status["state"]["waiting"]["reason"] == reason);
        found.ok_or_else(|| statuses.map(|status| status.to_string()).collect::<Vec<_>>().join("\n"))
    })
    .await
}

#[tokio::test]
async fn workloads_become_available_and_fail_as_the_test_says() {
    let plane = shared().await;
    let world = World::new(plane, "simulated").await;
    let mut kwok = plane.simulate_pods().await;
    for (kind, count) in [("Deployment", 2), ("StatefulSet", 2), ("DaemonSet", 1)] {
        world.apply(&wanted(kind, &kind.to_lowercase(), 2, &json!([])));
        until_available(&world, kind, &kind.to_lowercase(), count).await;
    }

    // By a variable: a rollout that does not come to its end.
    kwok.crash_where(&has_env("BAD"), "Error: it isn't there");
    world.apply(&wanted("Deployment", "deployment", 2, &json!([{"name": "BAD", "value": "1"}])));
    let status = waiting(&world, "deployment", "CrashLoopBackOff").await;
    assert_eq!(status["lastState"]["terminated"]["message"], "Error: it isn't there", "{status:#}");
    assert_eq!((&status["restartCount"], &status["ready"]), (&json!(3), &json!(false)));
    let live = world.get("Deployment", "deployment").await;
    assert_eq!(available(&live), 2, "the old pods serve: {:#}", live["status"]);

    // By an annotation and a label of the pod; the others are as they were.
    kwok.pull_fails_where(&has_annotation("test/unknown-image"), "no such image");
    let mut unknown = wanted("StatefulSet", "unknown", 1, &json!([]));
    unknown["spec"]["template"]["metadata"]["annotations"] = json!({"test/unknown-image": "true"});
    world.apply(&unknown);
    let status = waiting(&world, "unknown", "ImagePullBackOff").await;
    assert_eq!(text(&status["state"]["waiting"]["message"]), "no such image");
    until_available(&world, "StatefulSet", "statefulset", 2).await;
    kwok.crash_where(&has_label("app", "daemonset"), "later");
    until_available(&world, "DaemonSet", "daemonset", 0).await;

    kwok.heal();
    until_available(&world, "Deployment", "deployment", 2).await;
    until_available(&world, "StatefulSet", "unknown", 1).await;
    until_available(&world, "DaemonSet", "daemonset", 1).await;
}

#[tokio::test]
async fn three_hundred_deployments_become_available() {
    const COUNT: usize = 300;
    let plane = ControlPlane::start().await;
    fixtures::install_crds(&plane);
    let world = World::new(&plane, "many").await;
    let _kwok = plane.simulate_pods().await;
    let (api, parameters) = (world.api("Deployment"), PostParams::default());
    let objects: Vec<_> = (0..COUNT)
        .map(|number| wanted("Deployment", &format!("web-{number}"), 1, &json!([])))
        .map(|object| serde_json::from_value(object).unwrap())
        .collect();
    let start = Instant::now();
    for created in join_all(objects.iter().map(|object| api.create(&parameters, object))).await {
        created.unwrap();
    }
    let created = start.elapsed();
    eventually("all are available", Duration::from_secs(120), async || {
        let live = api.list(&ListParams::default()).await.unwrap();
        let ready = live.iter().filter(|object| object.data["status"]["availableReplicas"] == 1).count();
        (ready == COUNT).then_some(()).ok_or_else(|| format!("{ready} of {COUNT}"))
    })
    .await;
    eprintln!("{COUNT} Deployments: created in {created:?}, available after {:?}", start.elapsed());
}
