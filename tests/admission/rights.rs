//! Without the rights that admission needs, everything else works.

use std::time::Duration;

use serde_json::json;

use super::common::spawn;
use crate::fixtures::{SOON, World, policy, shared, traced, workload};
use crate::support::process::free_port;
use crate::support::{consistently, eventually};

#[tokio::test]
async fn a_missing_right_is_said_once_and_hurts_nothing_else() {
    let plane = shared().await;
    // With watched namespaces the chart gives no right to anything of admission.
    let world = World::new(plane, "rights").await;
    let mark = plane.audit_mark();
    let operator = spawn(&world, free_port(), &["--webhook-cert-lifetime=12s"]);
    world.apply(&workload("Deployment", "web", &json!([])));
    world.apply(&policy("all", &traced(1.0)));
    let counts = "matched 1, injected 1";
    eventually("it is injected", SOON, async || {
        let live = world.get("TracingPolicy", "all").await;
        (live["status"]["workloads"]["injected"] == 1).then_some(()).ok_or_else(|| format!("{counts}: {live}"))
    })
    .await;
    let ready = operator.get("/readyz").unwrap();
    assert_eq!(ready.status, 200, "nobody waits for a right: {}", ready.body);
    let named = ["webhook-certificate", "tracesteward-webhook-ca", "forbidden"];
    assert!(named.iter().all(|part| ready.body.contains(part)), "what is missing is named: {}", ready.body);
    let said = || operator.logs().matches("a right is missing").count();
    consistently(
        "it is said once",
        Duration::from_secs(3),
        async || {
            if said() <= 1 { Ok(()) } else { Err(operator.logs()) }
        },
    )
    .await;
    assert_eq!(said(), 1);
    let refused = world.writes(mark).only(|write| write.code == 403);
    assert!(refused.is_empty(), "{refused:#?}");

    // Who may look and not write lacks a right as well.
    plane.kubectl(&["create", "role", "look", "-n", &world.home, "--verb=get", "--resource=secrets"]).success();
    let account = format!("--serviceaccount={}:tracesteward", world.home);
    plane.kubectl(&["create", "rolebinding", "look", "-n", &world.home, "--role=look", &account]).success();
    eventually("the leader says what it lacks", Duration::from_secs(60), async || {
        let ready = operator.get("/readyz").unwrap();
        assert_eq!(ready.status, 200, "{}", ready.body);
        ready.body.contains("cannot patch resource").then_some(()).ok_or(ready.body)
    })
    .await;
}
