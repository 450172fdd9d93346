//! A configuration whose pods do not become ready is taken back, with their own words in the status.

use std::time::Duration;

use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::common::{Kubelet, LAST_WORDS, cannot_be_pulled, collector, hash, message};
use crate::fixtures::{SOON, World, condition, shared, text};
use crate::support::{consistently, eventually};

/// How long new pods have in these tests.
const TIMEOUT: &[&str] = &["--collector-ready-timeout", "4s"];

fn with_image(image: &str) -> Value {
    collector("gw", &json!({"image": format!("registry.example/{image}")}))
}

/// Waits until a configuration was taken back, and the old one serves.
async fn taken_back(world: &World<'_>, desired: impl Fn(&str) -> bool) -> Value {
    world
        .until("it was taken back", "TracingCollector", "gw", |object| {
            let is_other = desired(&hash(object, "desired"));
            let is_back = condition(object, "Ready") == "False/ConfigurationRefused";
            (is_other && is_back).then_some(()).ok_or_else(|| format!("{:#}", object["status"]))
        })
        .await
}

/// The hash that the pods are to run, by the workload itself.
async fn template(world: &World<'_>, kind: &str) -> String {
    let workload = world.get(kind, "gw-collector").await;
    let volumes = workload["spec"]["template"]["spec"]["volumes"].as_array().cloned().unwrap_or_default();
    let names: Vec<_> = volumes.iter().map(|volume| text(&volume["configMap"]["name"]).to_owned()).collect();
    let name = names.iter().find(|name| !name.is_empty()).cloned().unwrap_or_default();
    name.trim_start_matches("gw-collector-").to_owned()
}

#[tokio::test]
async fn what_does_not_become_ready_is_taken_back_and_the_next_edit_is_tried_afresh() {
    let world = World::new(shared().await, "rollback").await;
    let _kubelet = Kubelet::start(&world);
    world.apply(&with_image("good:1"));
    let operator = world.operator(TIMEOUT).await;
    let good = hash(&world.collector_is_live("gw").await, "live");

    world.apply(&with_image("broken:1"));
    let refused = taken_back(&world, |desired| desired != good).await;
    let broken = hash(&refused, "desired");
    assert_eq!((hash(&refused, "live"), hash(&refused, "refused")), (good.clone(), broken.clone()), "{refused:#}");
    assert!(message(&refused, "Ready").contains(LAST_WORDS), "{refused:#}");
    assert!(message(&refused, "Programmed").contains(&format!("still serving with {good}")), "{refused:#}");
    assert_eq!(condition(&refused, "Stalled"), "True/ConfigurationRefused");
    assert_eq!(condition(&refused, "Accepted"), "True/Accepted");
    assert_eq!(template(&world, "Deployment").await, good);
    // The words stay, although the pods that said them are gone, and the operator that heard them.
    let mark = world.plane.audit_mark();
    assert!(operator.stop().success());
    let _operator = world.operator(TIMEOUT).await;
    consistently("it stays with the last good one", Duration::from_secs(8), async || {
        let live = world.get("TracingCollector", "gw").await;
        let counted = world.counted(mark);
        (live["status"] == refused["status"] && counted.is_empty())
            .then_some(())
            .ok_or_else(|| format!("{counted:?} {:#}", live["status"]))
    })
    .await;
    let events = world.events().await;
    let said =
        |reason: &str| events.iter().any(|(object, known, _)| object == "TracingCollector/gw" && known == reason);
    assert!(said("ConfigurationRefused") && said("Ready"), "{events:?}");

    // Without the label by which it is watched, the workload still says what was refused.
    let mark = world.plane.audit_mark();
    world.kubectl(&["label", "deployment", "gw-collector", "app.kubernetes.io/managed-by-"]).success();
    let repaired = world
        .until("the label is back", "Deployment", "gw-collector", |live| {
            let label = &live["metadata"]["labels"]["app.kubernetes.io/managed-by"];
            label.is_string().then_some(()).ok_or_else(|| label.to_string())
        })
        .await;
    assert_eq!(repaired["metadata"]["annotations"]["tracesteward.io/refused"], json!(broken));
    assert_eq!(template(&world, "Deployment").await, good);
    taken_back(&world, |desired| desired == broken).await;
    assert_eq!(world.counted(mark), ["patch deployments/gw-collector 200"]);

    // What is desired next is tried, and what was refused too once something else was desired.
    world.apply(&with_image("broken:2"));
    let second = taken_back(&world, |desired| desired != broken).await;
    assert_eq!(hash(&second, "live"), good);
    world.apply(&with_image("good:2"));
    let live = world.collector_is_live("gw").await;
    let newest = hash(&live, "live");
    assert!(newest != good && condition(&live, "Stalled").is_empty(), "{live:#}");
    assert_eq!(template(&world, "Deployment").await, newest);
    world.apply(&with_image("broken:1"));
    let third = taken_back(&world, |desired| desired == broken).await;
    assert_eq!(hash(&third, "live"), newest);
    // The old intent again: nothing is refused any more.
    world.apply(&with_image("good:2"));
    world.collector_is_live("gw").await;
}

#[tokio::test]
async fn an_operator_that_is_killed_in_the_middle_takes_it_back_all_the_same() {
    let world = World::new(shared().await, "middle").await;
    let _kubelet = Kubelet::start(&world);
    world.apply(&with_image("good:1"));
    let operator = world.operator(TIMEOUT).await;
    let good = hash(&world.collector_is_live("gw").await, "live");
    world.apply(&with_image("broken:1"));
    eventually("it is on its way", SOON, async || {
        let now = template(&world, "Deployment").await;
        (now != good).then_some(()).ok_or(now)
    })
    .await;
    let mark = world.plane.audit_mark();
    operator.kill9();
    let operator = world.operator(TIMEOUT).await;
    let refused = taken_back(&world, |desired| desired != good).await;
    assert_eq!(hash(&refused, "live"), good);
    assert!(message(&refused, "Ready").contains(LAST_WORDS), "{refused:#}");
    assert_eq!(world.counted(mark), ["patch deployments/gw-collector 200"], "one write takes it back");
    // A slow one, and the operator away for longer than it may take: ready when it comes back, it stays.
    world.apply(&with_image("slow:1"));
    let slow = eventually("it is on its way", SOON, async || {
        let now = template(&world, "Deployment").await;
        (now != good).then_some(now.clone()).ok_or(now)
    })
    .await;
    operator.kill9();
    tokio::time::sleep(Duration::from_secs(5)).await;
    all_pods_ready(&world, &slow).await;
    let _operator = world.operator(TIMEOUT).await;
    let live = world.collector_is_live("gw").await;
    assert_eq!(hash(&live, "live"), slow);
}

/// Says of the pods with this configuration that they are ready, and waits until the Deployment knows.
async fn all_pods_ready(world: &World<'_>, hash: &str) {
    eventually("all pods are ready", SOON, async || {
        let pods = world.api("Pod").list(&ListParams::default()).await.map_err(|error| error.to_string())?;
        for pod in pods.items.iter().filter(|pod| pod.data.to_string().contains(hash)) {
            let now = "2026-01-01T00:00:00Z";
            let conditions: Vec<_> = ["Ready", "ContainersReady"]
                .map(|kind| json!({"type": kind, "status": "True", "lastTransitionTime": now}))
                .to_vec();
            let patch = Patch::Merge(json!({"status": {"phase": "Running", "conditions": conditions}}));
            let name = pod.metadata.name.clone().unwrap_or_default();
            drop(world.api("Pod").patch_status(&name, &PatchParams::default(), &patch).await);
        }
        let status = world.get("Deployment", "gw-collector").await["status"].clone();
        let is_done = status["updatedReplicas"] == 1 && status["readyReplicas"] == 1 && status["replicas"] == 1;
        is_done.then_some(()).ok_or_else(|| status.to_string())
    })
    .await;
}

#[tokio::test]
async fn a_first_start_waits_and_says_why() {
    let world = World::new(shared().await, "first").await;
    let _kubelet = Kubelet::start(&world);
    world.apply(&with_image("broken:1"));
    let _operator = world.operator(TIMEOUT).await;
    let waiting = world
        .until("it says why", "TracingCollector", "gw", |object| {
            message(object, "Ready").contains(LAST_WORDS).then_some(()).ok_or_else(|| format!("{:#}", object["status"]))
        })
        .await;
    assert_eq!(condition(&waiting, "Programmed"), "Unknown/RollingOut");
    assert_eq!((condition(&waiting, "Stalled"), hash(&waiting, "refused")), (String::new(), String::new()));
    let broken = hash(&waiting, "desired");
    consistently("there is nothing to go back to", Duration::from_secs(6), async || {
        let now = template(&world, "Deployment").await;
        (now == broken).then_some(()).ok_or(now)
    })
    .await;
    world.apply(&with_image("good:1"));
    world.collector_is_live("gw").await;
}

#[tokio::test]
async fn what_pods_say_is_heard_while_they_are_waited_for() {
    let world = World::new(shared().await, "heard").await;
    let kubelet = Kubelet::start(&world);
    world.apply(&with_image("good:1"));
    let _operator = world.operator(&["--collector-ready-timeout", "10m"]).await;
    let good = hash(&world.collector_rests("gw").await, "live");
    drop(kubelet);
    world.apply(&with_image("slow:1"));
    eventually("it is on its way", SOON, async || {
        let now = template(&world, "Deployment").await;
        (now != good).then_some(()).ok_or(now)
    })
    .await;
    world.collector_is("gw", "Unknown/RollingOut").await;
    // The workload says no more from now on: that a pod crashes is no event of it.
    tokio::time::sleep(Duration::from_secs(3)).await;
    cannot_be_pulled(&world, "slow").await;
    world
        .until("it says why", "TracingCollector", "gw", |object| {
            message(object, "Ready").contains("ErrImagePull").then_some(()).ok_or_else(|| message(object, "Ready"))
        })
        .await;
}

#[tokio::test]
async fn a_statefulset_is_taken_back_too() {
    let world = World::new(shared().await, "stateful").await;
    let _kubelet = Kubelet::start(&world);
    let with_image = |image: &str| {
        let storage = json!({"storage": {"size": "1Gi"}});
        collector("gw", &json!({"image": format!("registry.example/{image}"), "queue": storage}))
    };
    world.apply(&with_image("good:1"));
    let _operator = world.operator(TIMEOUT).await;
    let good = hash(&world.collector_is_live("gw").await, "live");
    world.apply(&with_image("broken:1"));
    let refused = taken_back(&world, |desired| desired != good).await;
    assert_eq!((hash(&refused, "live"), template(&world, "StatefulSet").await), (good.clone(), good));
    assert!(message(&refused, "Ready").contains(LAST_WORDS), "{refused:#}");
    world
        .until("its pods are ready again", "StatefulSet", "gw-collector", |live| {
            let status = &live["status"];
            (status["readyReplicas"] == 1 && status["updatedReplicas"] == 1)
                .then_some(())
                .ok_or_else(|| status.to_string())
        })
        .await;
}

#[tokio::test]
async fn without_the_last_good_configuration_there_is_no_way_back() {
    let world = World::new(shared().await, "noway").await;
    let _kubelet = Kubelet::start(&world);
    world.apply(&with_image("good:1"));
    let _operator = world.operator(TIMEOUT).await;
    let good = hash(&world.collector_is_live("gw").await, "live");
    world.apply(&with_image("slow:1"));
    eventually("it is on its way", SOON, async || {
        let now = template(&world, "Deployment").await;
        (now != good).then_some(()).ok_or(now)
    })
    .await;
    world.kubectl(&["delete", "configmap", &format!("gw-collector-{good}")]).success();
    world.collector_is("gw", "Unknown/RollingOut").await;
    consistently("it stays on its way", Duration::from_secs(8), async || {
        let live = world.get("TracingCollector", "gw").await;
        let seen = condition(&live, "Ready");
        (template(&world, "Deployment").await != good && seen == "Unknown/RollingOut").then_some(()).ok_or(seen)
    })
    .await;
}
