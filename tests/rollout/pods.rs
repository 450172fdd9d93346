//! Pod mode: pods that are older than their settings are restarted where the policy asks for it, in waves.

use serde_json::{Value, json};
use tracesteward::api::{CONFIGURATION_ANNOTATION, REFUSED_ANNOTATION, RESTARTED_FOR_ANNOTATION};

use super::common::{ROLLED_OUT, plane, pods, running, traced, until_complete};
use crate::fixtures::{World, condition, counts_of, policy};
use crate::support::kwok::has_env;
use crate::support::process::free_port;
use crate::support::{Operator, consistently, eventually};

fn at_pods(port: u16, rollout: &Value) -> Value {
    let mut spec = traced(port, rollout);
    spec["injection"] = json!({"mode": "Pod"});
    spec
}

async fn operator(world: &World<'_>) -> Operator {
    let flags = Operator::webhook_args(free_port());
    let owner = "--admission-owner=tracesteward-system-tracesteward";
    world.operator(&flags.iter().map(String::as_str).chain([owner]).collect::<Vec<_>>()).await
}

fn restarted_for(object: &Value) -> Option<&str> {
    object["spec"]["template"]["metadata"]["annotations"][RESTARTED_FOR_ANNOTATION].as_str()
}

/// The settings that the pods of a workload were given.
fn given(world: &World<'_>, app: &str) -> Vec<Option<String>> {
    let listed = world.kubectl(&["get", "pods", "-l", &format!("app={app}"), "-o", "json"]).success();
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let all = listed["items"].as_array().unwrap().iter();
    let staying = all.filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    staying.map(|pod| pod["metadata"]["annotations"][CONFIGURATION_ANNOTATION].as_str().map(str::to_owned)).collect()
}

async fn until_counts(world: &World<'_>, counts: &str) -> Value {
    eventually(counts, ROLLED_OUT, async || {
        let seen = world.get("TracingPolicy", "p").await;
        let current = seen["metadata"]["generation"] == seen["status"]["observedGeneration"];
        let is = current && counts_of(&seen) == counts && condition(&seen, "Ready") == "True/Ready";
        if is { Ok(seen) } else { Err(seen["status"].to_string()) }
    })
    .await
}

#[tokio::test]
async fn stale_pods_are_counted_and_restarted_only_where_asked_for() {
    let plane = plane().await;
    let world = World::cluster_wide(&plane, "stale").await;
    let _kwok = plane.simulate_pods().await;
    let all = [("Deployment", "web"), ("StatefulSet", "db"), ("DaemonSet", "agent")];
    for (kind, name) in all {
        world.apply(&running(kind, name, &json!([])));
        until_complete(&world, kind, name).await;
    }
    let _operator = operator(&world).await;
    let mark = plane.audit_mark();
    let written = || -> Vec<String> {
        let lines = world.counted(mark);
        lines
            .into_iter()
            .filter(|line| !line.contains("webhookconfigurations") && !line.contains("admissionpolic"))
            .collect()
    };
    world.apply(&policy("p", &at_pods(4317, &json!({}))));
    until_counts(&world, "matched=3 stale=3").await;
    consistently("nothing is restarted", std::time::Duration::from_secs(2), async || {
        written().is_empty().then_some(()).ok_or_else(|| format!("{:?}", written()))
    })
    .await;

    world.apply(&policy("p", &at_pods(4317, &json!({"restartStalePods": true, "maxConcurrent": 1}))));
    until_counts(&world, "matched=3 injected=3").await;
    let once = ["patch daemonsets/agent 200", "patch deployments/web 200", "patch statefulsets/db 200"];
    assert_eq!(written(), once);
    for (kind, name) in all {
        let live = until_complete(&world, kind, name).await;
        let configuration = restarted_for(&live).unwrap().to_owned();
        assert!(given(&world, name).iter().all(|given| given.as_deref() == Some(&*configuration)), "{kind}");
        assert_eq!(live["metadata"]["annotations"][REFUSED_ANNOTATION], Value::Null);
    }
    // Switched off again nothing happens: taking the note away would be another restart.
    world.apply(&policy("p", &at_pods(4317, &json!({}))));
    until_counts(&world, "matched=3 injected=3").await;
    assert_eq!(written(), once);
    world.kubectl(&["delete", "tracingpolicies.tracesteward.io", "p"]).success();
    for (kind, name) in all {
        eventually("the settings are gone, and with them the pods that had them", ROLLED_OUT, async || {
            let live = world.get(kind, name).await;
            let clean = restarted_for(&live).is_none() && given(&world, name).iter().all(Option::is_none);
            clean.then_some(()).ok_or_else(|| live["spec"]["template"].to_string())
        })
        .await;
    }
}

#[tokio::test]
async fn a_restart_that_breaks_pods_is_taken_back_and_new_pods_get_nothing() {
    let plane = plane().await;
    let world = World::cluster_wide(&plane, "restart").await;
    let mut kwok = plane.simulate_pods().await;
    world.apply(&running("Deployment", "web", &json!([])));
    until_complete(&world, "Deployment", "web").await;
    let before = pods(&world, "web").await;
    kwok.crash_where(&has_env("OTEL_SERVICE_NAME"), "boom");
    let _operator = operator(&world).await;
    world.apply(&policy("p", &at_pods(4317, &json!({"restartStalePods": true}))));
    eventually("it is taken back", ROLLED_OUT, async || {
        let live = world.get("Deployment", "web").await;
        let refused = live["metadata"]["annotations"][REFUSED_ANNOTATION].is_string();
        (refused && restarted_for(&live).is_none()).then_some(()).ok_or_else(|| live.to_string())
    })
    .await;
    until_complete(&world, "Deployment", "web").await;
    assert_eq!(pods(&world, "web").await, before, "the pods that ran run on");
    // The user's own rollout brings new pods: what broke them is not given to them.
    world.kubectl(&["rollout", "restart", "deployment/web"]).success();
    until_complete(&world, "Deployment", "web").await;
    assert_ne!(pods(&world, "web").await, before);
    assert!(given(&world, "web").iter().all(Option::is_none));
    let seen = world.get("TracingPolicy", "p").await;
    assert_eq!(
        (condition(&seen, "Ready").as_str(), counts_of(&seen).as_str()),
        ("False/RolloutHalted", "matched=1 reverted=1")
    );
}
