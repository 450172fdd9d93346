//! What the operator keeps in the cluster: written once, mended when somebody changes it, gone when the operator goes.

use std::time::Duration;

use serde_json::{Value, json};

use super::common::{IMPATIENT, ROLE, SECRET, configuration, decoded, find, operator, plane, trusted, until_asked};
use crate::fixtures::{SOON, World};
use crate::support::process::free_port;
use crate::support::{Mark, consistently, eventually};

fn secret(world: &World<'_>) -> Option<Value> {
    let args = ["get", "secret", SECRET, "-n", &world.home, "-o", "json", "--ignore-not-found"];
    serde_json::from_str(&world.plane.kubectl(&args).success()).ok()
}

/// Waits until the configuration is as `probe` wants it.
async fn until(world: &World<'_>, what: &str, probe: impl Fn(&Value) -> bool) {
    eventually(what, SOON, async || {
        let found = configuration(world).await.unwrap_or_default();
        probe(&found).then_some(()).ok_or_else(|| found.to_string())
    })
    .await;
}

async fn nothing_is_written(world: &World<'_>, mark: Mark) {
    consistently("nothing is written", Duration::from_secs(4), async || {
        let written = world.counted(mark);
        if written.is_empty() { Ok(()) } else { Err(written.join("\n")) }
    })
    .await;
}

#[tokio::test]
async fn everything_is_written_once_and_mended() {
    let plane = plane().await;
    let world = World::cluster_wide(&plane, "kept").await;
    let (port, start) = (free_port(), plane.audit_mark());
    let running = operator(&world, port, &[IMPATIENT]).await;
    until_asked(&world).await;
    eventually("everything is there", SOON, async || {
        let found = find(&world, "MutatingAdmissionPolicyBinding", "tracesteward-repair").await;
        found.map(|_| ()).ok_or_else(|| running.logs())
    })
    .await;
    let written: Vec<_> = world.writes(start).counted().iter().map(|write| write.resource.clone()).collect();
    let expected =
        ["secrets", "validatingwebhookconfigurations", "mutatingadmissionpolicies", "mutatingadmissionpolicybindings"];
    assert_eq!(written, expected, "each once");
    let made = configuration(&world).await.unwrap();
    assert_eq!(made["metadata"]["ownerReferences"][0]["name"], ROLE);
    assert_eq!(
        (&made["webhooks"][0]["failurePolicy"], &made["webhooks"][0]["timeoutSeconds"]),
        (&json!("Ignore"), &json!(5))
    );
    assert!(find(&world, "MutatingWebhookConfiguration", "tracesteward").await.is_none(), "the policy is enough");

    let mark = plane.audit_mark();
    nothing_is_written(&world, mark).await;
    running.stop();
    let running = operator(&world, port, &[IMPATIENT]).await;
    until_asked(&world).await;
    nothing_is_written(&world, mark).await;

    // Somebody changes it.
    let patch = |patch: &str| {
        plane
            .kubectl(&["patch", "validatingwebhookconfiguration", "tracesteward", "--type=json", "-p", patch])
            .success();
    };
    for (path, value, right) in [
        ("failurePolicy", json!("Fail"), json!("Ignore")),
        ("timeoutSeconds", json!(30), json!(5)),
        ("namespaceSelector", json!({"matchLabels": {"a": "b"}}), json!({})),
        ("objectSelector", json!({"matchLabels": {"a": "b"}}), json!({})),
        ("rules", json!([]), made["webhooks"][0]["rules"].clone()),
    ] {
        patch(&json!([{"op": "replace", "path": format!("/webhooks/0/{path}"), "value": value}]).to_string());
        until(&world, path, |found| found["webhooks"][0][path] == right).await;
    }
    patch(r#"[{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}]"#);
    until_asked(&world).await;
    plane.kubectl(&["delete", "validatingwebhookconfiguration", "tracesteward"]).success();
    until_asked(&world).await;

    // The authority is deleted, or replaced by something that is none.
    let before = trusted(&world).await;
    plane.kubectl(&["delete", "secret", SECRET, "-n", &world.home]).success();
    until(&world, "a new authority", |found| decoded(&found["webhooks"][0]["clientConfig"]["caBundle"]) != before)
        .await;
    until_asked(&world).await;
    for (key, value) in [("tls.crt", "aGVsbG8="), ("tls.key", "aGVsbG8="), ("ca.crt", "aGVsbG8=")] {
        let patch = json!({"data": {key: value}}).to_string();
        plane.kubectl(&["patch", "secret", SECRET, "-n", &world.home, "--type=merge", "-p", &patch]).success();
        eventually("the Secret is mended", SOON, async || {
            let found = secret(&world).unwrap_or_default();
            (found["data"][key] != value).then_some(()).ok_or_else(|| key.to_owned())
        })
        .await;
        until_asked(&world).await;
    }
    let found = secret(&world).unwrap();
    assert_eq!(found["type"], "kubernetes.io/tls");
    assert_eq!(decoded(&found["data"]["ca.crt"]), trusted(&world).await);
    let logs = running.logs();
    let key = decoded(&found["data"]["tls.key"]);
    assert!(!logs.contains("PRIVATE KEY") && !logs.contains(key.lines().nth(1).unwrap()), "keys are not logged");

    // Without its webhook the operator does not leave a closed door behind.
    running.stop();
    let running = world.operator(&["--manage-admission", &format!("--admission-owner={ROLE}")]).await;
    eventually("the configuration goes", SOON, async || {
        configuration(&world).await.map_or(Ok(()), |found| Err(found.to_string()))
    })
    .await;
    running.stop();

    // What somebody else has made is left alone.
    let foreign = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "tracesteward"},
    });
    plane.kubectl_stdin(&["create", "-f", "-"], &foreign.to_string()).success();
    let mark = plane.audit_mark();
    let running = operator(&world, port, &[IMPATIENT]).await;
    eventually("it is said", SOON, async || {
        running.logs().contains("exists already").then_some(()).ok_or_else(|| running.logs())
    })
    .await;
    assert_eq!(world.counted(mark), [""; 0]);
    assert!(configuration(&world).await.unwrap().get("webhooks").is_none());
    running.stop();

    // With the release everything goes.
    plane.kubectl(&["delete", "clusterrole", ROLE]).success();
    for (kind, name) in
        [("MutatingAdmissionPolicy", "tracesteward-repair"), ("MutatingAdmissionPolicyBinding", "tracesteward-repair")]
    {
        eventually("it goes with the release", Duration::from_secs(60), async || {
            find(&world, kind, name).await.map_or(Ok(()), |found| Err(found["metadata"].to_string()))
        })
        .await;
    }
}
