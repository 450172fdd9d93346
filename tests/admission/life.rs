//! What users see with the webhook, and without it.

use serde_json::json;

use super::common::{asked, operator, plane, spawn, trusted, until_asked};
use crate::fixtures::{SOON, World, policy};
use crate::support::eventually;
use crate::support::https::Caller;
use crate::support::process::free_port;

#[tokio::test]
async fn users_are_warned_and_refused_and_never_stopped_by_a_dead_operator() {
    let plane = plane().await;
    let world = World::cluster_wide(&plane, "life").await;
    let odd = policy("odd", &json!({"enabled": true, "export": {"endpoint": "http://c:4318", "protocol": "grpc"}}));
    let excluded = policy("excluded", &json!({"enabled": false}));
    let system = ["-n", "kube-system"];
    let in_system = |args: &[&str], input: &str| plane.kubectl_stdin(&[&system, args].concat(), input);
    // Let in before there was a webhook.
    in_system(&["create", "-f", "-"], &excluded.to_string()).success();
    in_system(
        &["patch", "trp", "excluded", "--type=merge", "-p", r#"{"metadata":{"finalizers":["test.io/hold"]}}"#],
        "",
    )
    .success();

    let port = free_port();
    let operator_ = operator(&world, port, &[]).await;
    until_asked(&world).await;
    let shown = world.kubectl_stdin(&["create", "-f", "-"], &odd.to_string());
    assert!(
        shown.stderr.contains("Warning: TRC0120: ") && shown.stderr.contains("(spec.export.endpoint)"),
        "{shown:?}"
    );
    shown.success();
    let own = plane.kubectl_stdin(&["create", "-n", &world.home, "-f", "-"], &excluded.to_string()).failure();
    assert!(own.contains("TRC0127: "), "the operator's own namespace: {own}");

    // What is there can be labelled, and go; only its specification cannot be changed to something that is refused.
    in_system(&["label", "trp", "excluded", "a=b"], "").success();
    let edit = ["patch", "trp", "excluded", "--type=merge", "-p", r#"{"spec":{"priority":7}}"#];
    assert!(in_system(&edit, "").failure().contains("TRC0127: "));
    in_system(&["delete", "trp", "excluded", "--wait=false"], "").success();
    in_system(&edit, "").success();
    in_system(&["patch", "trp", "excluded", "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#], "").success();

    // Both replicas serve; one of them leads.
    let second = free_port();
    let other = ["--leader-elect=true"];
    operator_.stop();
    let (mut one, mut two) = (spawn(&world, port, &other), spawn(&world, second, &other));
    one.wait_ready().await;
    two.wait_ready().await;
    let bundle = trusted(&world).await;
    for port in [port, second] {
        let said = Caller::new(port, &bundle).review(&policy("a", &json!({"enabled": true})), "team").unwrap();
        assert_eq!(said["allowed"], false, "{said}");
    }
    let ready = two.get("/readyz").unwrap().body;
    assert!(ready.contains("\"webhook-certificate\"") && ready.contains("loaded"), "{ready}");

    one.kill9();
    two.kill9();
    asked(&world).await.unwrap_err();
    world.kubectl_stdin(&["create", "-f", "-"], &policy("new", &json!({"enabled": false})).to_string()).success();
    world.kubectl(&["patch", "trp", "new", "--type=merge", "-p", r#"{"spec":{"priority":7}}"#]).success();
    let said =
        world.kubectl_stdin(&["create", "-f", "-"], &policy("bad", &json!({"enabled": true})).to_string()).failure();
    assert!(said.contains("TRC0101: "), "the CRD needs nobody: {said}");
}

#[tokio::test]
async fn a_replica_that_does_not_lead_is_ready_before_the_leader_knows_the_webhook() {
    let plane = plane().await;
    let world = World::cluster_wide(&plane, "upgrade").await;
    let leader = world.operator(&["--leader-elect=true"]).await;
    eventually("the first one leads", SOON, async || {
        leader.logs().contains("\"leads\":true").then_some(()).ok_or_else(|| "not yet".to_owned())
    })
    .await;
    let port = free_port();
    let second = operator(&world, port, &["--leader-elect=true"]).await;
    assert!(second.get("/readyz").unwrap().body.contains("the leader has not made the authority yet"));
    leader.stop();
    until_asked(&world).await;
    assert!(second.get("/readyz").unwrap().body.contains("loaded"));
}
