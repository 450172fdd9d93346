//! One write for each workload and change, and none otherwise: counted in the audit log.

use std::time::Duration;

use serde_json::json;

use crate::fixtures::{KINDS, SOON, World, lines, managed, policy, shared, traced, value, workload};
use crate::support::{consistently, eventually};

/// How long nothing may be written.
const REST: Duration = Duration::from_secs(60);

/// One write for each of the workloads of [`two_of_each`].
fn one_each() -> Vec<String> {
    let mut lines: Vec<_> = KINDS
        .iter()
        .flat_map(|(kind, resource)| {
            [0, 1].map(|number| format!("patch {resource}/{}-{number} 200", kind.to_lowercase()))
        })
        .collect();
    lines.sort();
    lines
}

fn two_of_each(world: &World<'_>) {
    for (kind, _) in KINDS {
        for number in [0, 1] {
            world.apply(&workload(kind, &format!("{}-{number}", kind.to_lowercase()), &json!([])));
        }
    }
}

#[tokio::test]
async fn each_change_is_one_write_and_then_there_is_rest() {
    let world = World::new(shared().await, "rest").await;
    two_of_each(&world);
    world.apply(&policy("all", &traced(0.5)));
    let mark = world.plane.audit_mark();
    let operator = world.operator(&[]).await;
    world.settled("all", "True/Ready", "matched=8 injected=8").await;
    world.until_events(9).await;
    assert_eq!(world.counted(mark), one_each());
    let mark = world.plane.audit_mark();
    world.apply(&policy("all", &traced(0.25)));
    let live = world
        .until("the change is there", "CronJob", "cronjob-1", |live| {
            let seen = value(live, "OTEL_TRACES_SAMPLER_ARG");
            (seen == Some("0.25")).then_some(()).ok_or_else(|| format!("{seen:?}"))
        })
        .await;
    assert!(managed(&live).is_some());
    world.settled("all", "True/Ready", "matched=8 injected=8").await;
    eventually("each workload has its Event of the change", SOON, async || {
        let events = world.events().await;
        let times: i64 = events.iter().filter(|event| event.1 == "TracingInjected").map(|event| event.2).sum();
        (times == 16).then_some(()).ok_or_else(|| format!("{events:?}"))
    })
    .await;
    assert_eq!(world.counted(mark), one_each());

    let mark = world.plane.audit_mark();
    consistently("nothing is written at rest, no status and no Event either", REST, async || {
        let writes = lines(&world.writes(mark));
        writes.is_empty().then_some(()).ok_or_else(|| format!("{writes:#?}"))
    })
    .await;
    assert!(operator.stop().success());
    let mark = world.plane.audit_mark();
    let _operator = world.operator(&[]).await;
    consistently("nothing is written after a restart", Duration::from_secs(5), async || {
        let writes = lines(&world.writes(mark));
        writes.is_empty().then_some(()).ok_or_else(|| format!("{writes:#?}"))
    })
    .await;
}

#[tokio::test]
async fn what_others_change_is_no_reason_to_write() {
    let world = World::new(shared().await, "others").await;
    two_of_each(&world);
    world.apply(&policy("all", &traced(0.5)));
    let _operator = world.operator(&[]).await;
    world.settled("all", "True/Ready", "matched=8 injected=8").await;
    world.until_events(9).await;
    let mark = world.plane.audit_mark();
    for (kind, resource) in KINDS {
        let name = format!("{}-0", kind.to_lowercase());
        world.kubectl(&["annotate", resource, &name, "a=b"]).success();
        world.kubectl(&["label", resource, &name, "a=b"]).success();
        match kind {
            "Deployment" | "StatefulSet" => world.kubectl(&["scale", resource, &name, "--replicas=1"]).success(),
            "CronJob" => world.kubectl(&["patch", resource, &name, "-p", r#"{"spec":{"suspend":true}}"#]).success(),
            _ => world.kubectl(&["rollout", "restart", resource, &name]).success(),
        };
        let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "registry.example/app:2"}]}}}});
        if kind != "CronJob" {
            world.kubectl(&["patch", resource, &name, "-p", &image.to_string()]).success();
            let status = json!({"status": {"observedGeneration": 1}}).to_string();
            world.kubectl(&["patch", resource, &name, "--subresource=status", "--type=merge", "-p", &status]).success();
        }
    }
    world.kubectl(&["annotate", "tracingpolicies.tracesteward.io", "all", "a=b"]).success();
    world.kubectl(&["create", "configmap", "unrelated"]).success();
    // A bare pod would be a workload of the policy.
    world.kubectl(&["create", "secret", "generic", "unrelated"]).success();
    consistently("nothing is written", Duration::from_secs(5), async || {
        let writes = lines(&world.writes(mark));
        writes.is_empty().then_some(()).ok_or_else(|| format!("{writes:#?}"))
    })
    .await;
    let live = world.get("Deployment", "deployment-0").await;
    assert_eq!(value(&live, "OTEL_TRACES_SAMPLER_ARG"), Some("0.5"));
}

#[tokio::test]
async fn a_status_that_somebody_breaks_is_mended_once() {
    let world = World::new(shared().await, "mended").await;
    world.apply(&workload("Deployment", "web", &json!([])));
    world.apply(&policy("all", &traced(0.5)));
    let _operator = world.operator(&[]).await;
    let before = world.settled("all", "True/Ready", "matched=1 injected=1").await;
    world.until_events(2).await;
    let mark = world.plane.audit_mark();
    let broken = json!({"status": {"workloads": {"injected": 99}}}).to_string();
    world.kubectl(&["patch", "trp", "all", "--subresource=status", "--type=merge", "-p", &broken]).success();
    eventually("the status is mended", SOON, async || {
        let policy = world.get("TracingPolicy", "all").await;
        let is_same = policy["status"] == before["status"];
        (is_same && !world.writes(mark).is_empty()).then_some(()).ok_or_else(|| policy["status"].to_string())
    })
    .await;
    consistently("once", Duration::from_secs(3), async || {
        let writes = lines(&world.writes(mark));
        (writes == ["patch tracingpolicies/all/status 200"]).then_some(()).ok_or_else(|| format!("{writes:#?}"))
    })
    .await;
}
