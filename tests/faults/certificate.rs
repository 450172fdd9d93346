//! The webhook's certificate, and its authority, have expired: applications' pods are created all the same, and the operator
//! serves new ones as soon as it knows. What expires is made by an operator whose clock was behind.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tracesteward::api::CONFIGURATION_ANNOTATION;

use super::common::{RECOVERY, row};
use crate::fixtures::{SOON, World, container, install_crds, policy};
use crate::support::operator::Operator;
use crate::support::process::free_port;
use crate::support::{Clock, ControlPlane, eventually};

const MINUTE: i64 = 60;

/// Certificates last for seconds, so that the operator looks each second; their authority for an hour.
const LIFETIMES: [&str; 2] = ["--webhook-cert-lifetime=12s", "--webhook-ca-lifetime=1h"];

/// What a new authority is written to.
const AUTHORITY: [&str; 3] = [
    "patch mutatingwebhookconfigurations/tracesteward-pods 200",
    "patch secrets/tracesteward-webhook-ca 200",
    "patch validatingwebhookconfigurations/tracesteward 200",
];

fn pod(name: &str) -> Value {
    let spec =
        json!({"restartPolicy": "Never", "containers": [container("app", &json!([{"name": "OWN", "value": "1"}]))]});
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "job"}}, "spec": spec})
}

/// Creates a pod, which always works; says whether the webhook has had its part in it.
async fn created(world: &World<'_>, name: &str) -> bool {
    let start = Instant::now();
    world.kubectl_stdin(&["create", "-f", "-"], &pod(name).to_string()).success();
    assert!(start.elapsed() < Duration::from_secs(10), "applications do not wait: {:?}", start.elapsed());
    let live = world.get("Pod", name).await;
    assert_eq!(live["spec"]["containers"][0]["env"][0]["name"], "OWN");
    live["metadata"]["annotations"][CONFIGURATION_ANNOTATION].is_string()
}

/// Creates pods until one is, or is not, injected; says how many were needed.
async fn until_injected(world: &World<'_>, prefix: &str, wanted: bool) -> usize {
    let count = std::cell::Cell::new(0);
    eventually(&format!("{prefix}: injected: {wanted}"), RECOVERY, async || {
        count.set(count.get() + 1);
        let is_injected = created(world, &format!("{prefix}-{}", count.get())).await;
        (is_injected == wanted).then_some(()).ok_or_else(|| format!("{is_injected}"))
    })
    .await;
    count.get()
}

#[tokio::test]
async fn pods_are_created_while_the_certificate_has_expired() {
    let plane = ControlPlane::start().await;
    install_crds(&plane);
    let world = World::cluster_wide(&plane, "expired").await;
    let clock = Clock::new(plane.folder());
    let webhook = Operator::webhook_args(free_port());
    let args: Vec<&str> = webhook.iter().map(String::as_str).chain(LIFETIMES).collect();
    let mut operator = world.spawn_by(&clock, &args);
    operator.wait_ready().await;
    world.apply(&policy(
        "all",
        &json!({"enabled": true, "export": {"endpoint": "http://c:4317"}, "targets": [{"kind": "Pod"}]}),
    ));
    until_injected(&world, "at-first", true).await;

    let (mut recovered, mut writes) = (Duration::ZERO, 0);
    // Ten minutes ago an authority was made that is still valid, and it has signed what is not.
    for (behind, what) in [(10 * MINUTE, "leaf"), (120 * MINUTE, "authority")] {
        clock.set(-behind);
        until_injected(&world, &format!("expired-{what}"), false).await;
        assert!(!created(&world, &format!("still-{what}")).await, "nobody trusts what has expired");
        assert_eq!(operator.get("/healthz").unwrap().status, 200);
        let mark = plane.audit_mark();
        clock.set(0);
        let since = Instant::now();
        until_injected(&world, &format!("renewed-{what}"), true).await;
        recovered = recovered.max(since.elapsed());
        let written = world.counted(mark);
        // A certificate is nobody's business but the operator's; a new authority is made known to whoever has to trust it.
        let expected: &[&str] = if what == "leaf" { &[] } else { &AUTHORITY };
        assert_eq!(written, expected, "{what}");
        writes += written.len();
    }
    eventually("it is ready", SOON, async || {
        let answer = operator.get("/readyz")?;
        (answer.status == 200).then_some(()).ok_or(answer.body)
    })
    .await;
    operator.assert_alive();
    row("webhook certificate and authority expired", recovered, writes, 0, AUTHORITY.len());
}
