//! A headers Secret that is missing, incomplete, or not to be looked at.

use std::time::Duration;

use serde_json::{Value, json};

use crate::fixtures::{World, condition, condition_of, env, policy, shared, text, workload};
use crate::support::eventually;

/// The Secret is looked at again every 30 s.
const RECHECK: Duration = Duration::from_secs(40);
const VALUE: &str = "authorization=Bearer-1f9c0e";
const VALUE_IN_BASE64: &str = "YXV0aG9yaXphdGlvbj1CZWFyZXItMWY5YzBl";

fn with_headers() -> Value {
    json!({"enabled": true, "export": {"endpoint": "http://collector:4317", "headersSecretRef": {"name": "otel-headers"}}})
}

fn secret(key: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "otel-headers"}, "stringData": {key: VALUE}})
}

fn reference() -> Value {
    let source = json!({"name": "otel-headers", "key": "OTEL_EXPORTER_OTLP_HEADERS", "optional": true});
    json!({"name": "OTEL_EXPORTER_OTLP_HEADERS", "valueFrom": {"secretKeyRef": source}})
}

#[tokio::test]
async fn a_missing_secret_is_reported_until_it_is_there() {
    let world = World::new(shared().await, "secret").await;
    world.apply(&workload("Deployment", "web", &json!([])));
    world.apply(&policy("all", &with_headers()));
    let mark = world.plane.audit_mark();
    let operator = world.operator(&["--log-level", "debug"]).await;
    let missing = world.settled("all", "False/SecretNotFound", "matched=1 injected=1").await;
    assert_eq!(condition(&missing, "ResolvedRefs"), "False/SecretNotFound");
    assert_eq!(condition(&missing, "Programmed"), "True/Programmed");
    assert_eq!((condition(&missing, "Stalled"), condition(&missing, "Reconciling")), (String::new(), String::new()));
    let message = text(&condition_of(&missing, "Ready").unwrap()["message"]).to_owned();
    assert!(message.contains("Secret otel-headers does not exist"), "{message}");
    let live = world.get("Deployment", "web").await;
    assert!(env(&live, "app").contains(&reference()), "pods start without it: {live:#}");

    let ready = async |expected: &str| {
        eventually(expected, RECHECK, async || {
            let policy = world.get("TracingPolicy", "all").await;
            let seen = condition(&policy, "Ready");
            (seen == expected).then_some(policy).ok_or(seen)
        })
        .await
    };
    world.apply(&secret("SOMETHING_ELSE"));
    let incomplete = ready("False/SecretKeyMissing").await;
    assert_eq!(condition(&incomplete, "ResolvedRefs"), "False/SecretKeyMissing");
    assert_eq!(condition(&incomplete, "Programmed"), "True/Programmed");

    world.apply(&secret("OTEL_EXPORTER_OTLP_HEADERS"));
    let complete = ready("True/Ready").await;
    assert_eq!(condition(&complete, "ResolvedRefs"), "True/ResolvedRefs");
    assert_eq!(world.counted(mark), ["patch deployments/web 200"], "no pod restarts for it");
    for said in [
        operator.logs(),
        complete.to_string(),
        incomplete.to_string(),
        world.get("Deployment", "web").await.to_string(),
    ] {
        assert!(!said.contains(VALUE) && !said.contains("Bearer-1f9c0e") && !said.contains(VALUE_IN_BASE64), "{said}");
    }
}

#[tokio::test]
async fn without_the_right_to_secrets_the_reference_is_not_verified() {
    let world = World::with(shared().await, "unverified", &["rbac.secrets.verify=false"]).await;
    world.apply(&workload("Deployment", "web", &json!([])));
    world.apply(&secret("OTEL_EXPORTER_OTLP_HEADERS"));
    world.apply(&policy("all", &with_headers()));
    let may = world.kubectl(&["auth", "can-i", "get", "secrets", "--as", &world.user()]);
    assert_eq!(may.stdout.trim(), "no");
    for told in ["--secrets-verify=false", "--secrets-verify=true"] {
        world.kubectl(&["delete", "tracingpolicies.tracesteward.io", "all"]).success();
        world.apply(&policy("all", &with_headers()));
        let _operator = world.operator(&[told]).await;
        let status = world.settled("all", "True/Ready", "matched=1 injected=1").await;
        assert_eq!(condition(&status, "ResolvedRefs"), "Unknown/SecretNotVerified", "{told}");
        assert_eq!((condition(&status, "Stalled"), condition(&status, "Reconciling")), (String::new(), String::new()));
        assert!(env(&world.get("Deployment", "web").await, "app").contains(&reference()), "{told}");
    }
}

#[tokio::test]
async fn who_is_told_not_to_look_does_not_look() {
    // With the right to, and a Secret that is not there: only not looking gives this answer.
    let world = World::new(shared().await, "told").await;
    world.apply(&workload("Deployment", "web", &json!([])));
    world.apply(&policy("all", &with_headers()));
    let may = world.kubectl(&["auth", "can-i", "get", "secrets", "--as", &world.user()]);
    assert_eq!(may.stdout.trim(), "yes");
    let _operator = world.operator(&["--secrets-verify=false"]).await;
    let status = world.settled("all", "True/Ready", "matched=1 injected=1").await;
    assert_eq!(condition(&status, "ResolvedRefs"), "Unknown/SecretNotVerified");
}
