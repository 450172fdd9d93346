//! At most so many workloads of a policy replace their pods at one time.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use futures::{StreamExt, pin_mut};
use kube::api::{ListParams, WatchEvent, WatchParams};
use serde_json::{Value, json};

use super::common::{ROLLED_OUT, is_complete, is_injected, plane, running, traced, until_complete};
use crate::fixtures::{SOON, World, attention, counts_of, policy};
use crate::support::{Process, Scrape, eventually};

/// Follows the Deployments until all are injected and complete; says how many were under way at the most.
async fn most_under_way(world: &World<'_>, count: usize) -> usize {
    let api = world.api("Deployment");
    let listed = api.list(&ListParams::default()).await.unwrap();
    let version = listed.metadata.resource_version.clone().unwrap();
    let value = |object: &kube::api::DynamicObject| serde_json::to_value(object).unwrap();
    let mut known: BTreeMap<String, Value> =
        listed.iter().map(|object| (object.metadata.name.clone().unwrap(), value(object))).collect();
    let events = api.watch(&WatchParams::default(), &version).await.unwrap();
    pin_mut!(events);
    let mut most = 0;
    let follow = async {
        while let Some(event) = events.next().await {
            let (WatchEvent::Added(object) | WatchEvent::Modified(object)) = event.unwrap() else { continue };
            known.insert(object.metadata.name.clone().unwrap(), value(&object));
            most = most.max(known.values().filter(|object| is_injected(object) && !is_complete(object)).count());
            if known.len() == count && known.values().all(|object| is_injected(object) && is_complete(object)) {
                return;
            }
        }
        panic!("the watch has ended");
    };
    tokio::time::timeout(ROLLED_OUT, follow).await.expect("all are rolled out in time");
    most
}

#[tokio::test]
async fn a_wave_is_bounded_and_every_workload_is_written_once() {
    let plane = plane().await;
    let world = World::new(&plane, "waves").await;
    let _kwok = plane.simulate_pods().await;
    for number in 0..9 {
        world.apply(&running("Deployment", &format!("web-{number}"), &json!([])));
    }
    for number in 0..9 {
        until_complete(&world, "Deployment", &format!("web-{number}")).await;
    }
    let operator = world.operator(&[]).await;
    let log = plane.folder().join("status.log");
    let mut status = Command::new(env!("CARGO_BIN_EXE_tracesteward"));
    status
        .args(["status", "--watch", "-o", "json", "-n", &world.namespace])
        .env("KUBECONFIG", plane.admin_kubeconfig());
    let _watching = Process::start("status --watch", &status, &log);
    let shown = || -> Vec<Value> {
        let log = fs::read_to_string(&log).unwrap_or_default();
        log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    };
    eventually("the status is shown", SOON, async || shown().pop().ok_or_else(String::new)).await;
    let mark = plane.audit_mark();
    let watched = async { most_under_way(&world, 9).await };
    let measured = async {
        world.apply(&policy("p", &traced(4317, &json!({"maxConcurrent": 2}))));
        eventually("the metrics show the wave", SOON, async || {
            let now = Scrape::parse(&operator.get("/metrics")?.body)?;
            let in_progress = now.sum("tracesteward_workloads_in_progress", &[]);
            let pending = now.sum("tracesteward_workloads", &[("state", "pending")]);
            (in_progress > 0.0 && in_progress < 3.0 && pending > 0.0)
                .then_some(())
                .ok_or_else(|| format!("{in_progress} {pending}"))
        })
        .await;
    };
    let (most, ()) = tokio::join!(watched, measured);
    assert_eq!(most, 2, "two at a time, and never one alone");
    let is_wave = |shown: &Value| {
        let home = &shown["namespaces"][0];
        home["pending"].as_u64() > Some(0) && home["restarting"].as_u64() > Some(0)
    };
    assert!(shown().iter().any(is_wave), "status --watch shows the wave: {:#?}", shown());
    world.settled("p", "True/Ready", "matched=9 injected=9").await;
    let expected: Vec<String> = (0..9).map(|number| format!("patch deployments/web-{number} 200")).collect();
    assert_eq!(world.counted(mark), expected);
    eventually("nothing is in progress any more", SOON, async || {
        let value = Scrape::parse(&operator.get("/metrics")?.body)?.sum("tracesteward_workloads_in_progress", &[]);
        (value == 0.0).then_some(()).ok_or_else(|| format!("{value:?}"))
    })
    .await;
}

#[tokio::test]
async fn paused_and_rolling_workloads_wait_and_the_policy_says_so() {
    let plane = plane().await;
    let world = World::new(&plane, "waiting").await;
    let mut kwok = plane.simulate_pods().await;
    for name in ["paused", "rolling", "well"] {
        world.apply(&running("Deployment", name, &json!([])));
        until_complete(&world, "Deployment", name).await;
    }
    world.kubectl(&["rollout", "pause", "deployment/paused"]).success();
    // A rollout of the user's own that does not come to its end for now.
    kwok.fail_where(&crate::support::kwok::has_env("SLOW"), crate::support::kwok::Failure::NeverReady);
    world.apply(&running("Deployment", "rolling", &json!([{"name": "SLOW", "value": "1"}])));
    world
        .until("it is under way", "Deployment", "rolling", |live| {
            (!is_complete(live)).then_some(()).ok_or_else(|| live["status"].to_string())
        })
        .await;
    world.apply(&policy("p", &traced(4317, &json!({}))));
    let _operator = world.operator(&[]).await;
    let seen = world.settled("p", "Unknown/Reconciling", "matched=3 injected=1 pending=2").await;
    let said = attention(&seen);
    assert!(said[0].starts_with("Deployment/paused Paused: "), "{said:?}");
    assert!(said[1].starts_with("Deployment/rolling RolloutUnderWay: "), "{said:?}");
    assert!(is_injected(&world.get("Deployment", "well").await));
    kwok.heal();
    world.settled("p", "Unknown/Reconciling", "matched=3 injected=2 pending=1").await;
    world.kubectl(&["rollout", "resume", "deployment/paused"]).success();
    let seen = world.settled("p", "True/Ready", "matched=3 injected=3").await;
    assert_eq!((attention(&seen), counts_of(&seen).as_str()), (Vec::new(), "matched=3 injected=3"));
}

#[tokio::test]
async fn what_does_not_run_is_injected_last_and_blocks_nobody() {
    let plane = plane().await;
    let world = World::new(&plane, "unhealthy").await;
    let mut kwok = plane.simulate_pods().await;
    for name in ["a-broken", "b-well", "c-well"] {
        world.apply(&running("Deployment", name, &json!([])));
        until_complete(&world, "Deployment", name).await;
    }
    kwok.crash_where(&crate::support::kwok::has_label("app", "a-broken"), "no database");
    world
        .until("it is broken", "Deployment", "a-broken", |live| {
            (!is_complete(live)).then_some(()).ok_or_else(|| live["status"].to_string())
        })
        .await;
    let operator = world.operator(&[]).await;
    world.apply(&policy("p", &traced(4317, &json!({"maxConcurrent": 1}))));
    world.settled("p", "True/Ready", "matched=3 injected=3").await;
    let logs = operator.logs();
    let order: Vec<&str> = logs
        .lines()
        .filter(|line| line.contains(r#""message":"written""#))
        .filter_map(|line| ["a-broken", "b-well", "c-well"].into_iter().find(|name| line.contains(name)))
        .collect();
    assert_eq!(order, ["b-well", "c-well", "a-broken"]);
}

#[tokio::test]
async fn another_replica_goes_on_where_the_wave_was() {
    const COUNT: usize = 6;
    let plane = plane().await;
    let world = World::new(&plane, "handed").await;
    let _kwok = plane.simulate_pods().await;
    for number in 0..COUNT {
        world.apply(&running("Deployment", &format!("web-{number}"), &json!([])));
    }
    for number in 0..COUNT {
        until_complete(&world, "Deployment", &format!("web-{number}")).await;
    }
    let first = world.operator(&["--leader-elect=true"]).await;
    let mut second = world.spawn(&["--leader-elect=true"]);
    second.wait_ready().await;
    let mark = plane.audit_mark();
    let watched = async { most_under_way(&world, COUNT).await };
    let handed_over = async {
        world.apply(&policy("p", &traced(4317, &json!({"maxConcurrent": 1}))));
        world
            .until("the wave has begun", "Deployment", "web-1", |live| {
                is_injected(live).then_some(()).ok_or_else(|| live["spec"].to_string())
            })
            .await;
        first.kill9();
        let written = world.counted(mark).len();
        assert!(written < COUNT, "it was faster than the test");
    };
    let (most, ()) = tokio::join!(watched, handed_over);
    assert_eq!(most, 1);
    world.settled("p", "True/Ready", "matched=6 injected=6").await;
    let expected: Vec<String> = (0..COUNT).map(|number| format!("patch deployments/web-{number} 200")).collect();
    assert_eq!(world.counted(mark), expected);
    second.assert_alive();
}
