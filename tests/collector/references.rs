//! What refers to what: policies to collectors, collectors to Secrets.

use std::time::Duration;

use serde_json::{Value, json};

use crate::common::{Kubelet, collector, exporting, hash, message};
use crate::fixtures::{SOON, World, condition, install_crds, managed, policy, shared, text, value, workload};
use crate::support::{ControlPlane, consistently, eventually};

/// Secrets are looked at again every 30 s.
const RECHECK: Duration = Duration::from_secs(45);
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

impl World<'_> {
    /// Waits until the workload has this endpoint.
    async fn endpoint_is(&self, expected: &str) {
        self.until(expected, "Deployment", "web", |live| {
            let seen = value(live, ENDPOINT);
            (seen == Some(expected)).then_some(()).ok_or_else(|| format!("{seen:?}"))
        })
        .await;
    }

    /// Waits until the policy says this.
    async fn policy_is(&self, name: &str, kind: &str, expected: &str) -> Value {
        self.until(&format!("{kind} {expected}"), "TracingPolicy", name, |object| {
            let seen = condition(object, kind);
            (seen == expected).then_some(()).ok_or_else(|| format!("{seen} {:#}", object["status"]))
        })
        .await
    }
}

#[tokio::test]
async fn the_endpoint_of_a_policy_follows_its_collector() {
    let world = World::new(shared().await, "endpoint").await;
    world.apply(&workload("Deployment", "web", &json!([])));
    world.apply(&policy("all", &exporting(&json!({"name": "gw"}), 0.5)));
    let _operator = world.operator(&[]).await;
    // No collector yet: nothing is injected, and it recovers by itself.
    let missing = world.policy_is("all", "Ready", "False/CollectorNotFound").await;
    assert_eq!(condition(&missing, "ResolvedRefs"), "False/CollectorNotFound");
    assert_eq!(managed(&world.get("Deployment", "web").await), None);
    world.apply(&collector("gw", &json!({})));
    world.endpoint_is(&format!("http://gw-collector.{}.svc:4317", world.namespace)).await;
    let waiting = world.policy_is("all", "Programmed", "Unknown/CollectorNotReady").await;
    assert_eq!(condition(&waiting, "Ready"), "Unknown/CollectorNotReady");
    let mark = world.plane.audit_mark();
    let kubelet = Kubelet::start(&world);
    world.settled("all", "True/Ready", "matched=1 injected=1").await;
    let touched = world.counted(mark).into_iter().filter(|line| line.contains("/web")).count();
    assert_eq!(touched, 0, "readiness is no reason to write a workload");
    drop(kubelet);

    let mut http = exporting(&json!({"name": "gw"}), 0.5);
    http["export"]["protocol"] = json!("http/protobuf");
    world.apply(&policy("all", &http));
    world.endpoint_is(&format!("http://gw-collector.{}.svc:4318", world.namespace)).await;
    world.apply(&policy("all", &exporting(&json!({"name": "gw"}), 0.5)));
    world.endpoint_is(&format!("http://gw-collector.{}.svc:4317", world.namespace)).await;
    world.apply(&collector("gw", &json!({"receivers": {"grpcPort": 14317}})));
    world.endpoint_is(&format!("http://gw-collector.{}.svc:14317", world.namespace)).await;

    // The collector gone: what is injected stays.
    let mark = world.plane.audit_mark();
    world.kubectl(&["delete", "trc", "gw"]).success();
    world.policy_is("all", "Ready", "False/CollectorNotFound").await;
    world.endpoint_is(&format!("http://gw-collector.{}.svc:14317", world.namespace)).await;
    // The collector's own objects may still be on their way to the port before.
    let touched = world.counted(mark).into_iter().filter(|line| line.contains("/web")).count();
    assert_eq!(touched, 0);
}

#[tokio::test]
async fn who_may_use_a_collector_is_decided_by_its_owner_at_any_time() {
    let plane = ControlPlane::start().await;
    install_crds(&plane);
    let world = World::cluster_wide(&plane, "team").await;
    let platform = plane.namespace("platform").await;
    let in_platform = |object: &Value| {
        plane.kubectl_stdin(&["-n", &platform, "apply", "-f", "-"], &object.to_string()).success();
    };
    let _operator = world.operator(&[]).await;
    world.apply(&workload("Deployment", "web", &json!([])));
    world.apply(&policy("all", &exporting(&json!({"name": "gw", "namespace": platform}), 0.5)));
    in_platform(&collector("gw", &json!({})));
    let refused = world.policy_is("all", "Ready", "False/CollectorNotPermitted").await;
    assert_eq!(condition(&refused, "ResolvedRefs"), "False/CollectorNotPermitted");
    assert_eq!(managed(&world.get("Deployment", "web").await), None);

    let labels = json!({"from": "Selector", "selector": {"matchLabels": {"tracing": "true"}}});
    in_platform(&collector("gw", &json!({"allowedNamespaces": labels})));
    world.policy_is("all", "Ready", "False/CollectorNotPermitted").await;
    let served = async |expected: i64| {
        eventually("the collector counts its policies", SOON, async || {
            let text = plane.kubectl(&["-n", &platform, "get", "trc", "gw", "-o", "json"]).success();
            let live: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
            (live["status"]["policies"] == expected).then_some(()).ok_or_else(|| live["status"].to_string())
        })
        .await;
    };
    served(0).await;
    plane.kubectl(&["label", "namespace", &world.namespace, "tracing=true"]).success();
    let endpoint = format!("http://gw-collector.{platform}.svc:4317");
    world.endpoint_is(&endpoint).await;
    world.policy_is("all", "ResolvedRefs", "True/ResolvedRefs").await;
    served(1).await;

    // Revoked: nothing new, and what is injected stays.
    let mark = plane.audit_mark();
    plane.kubectl(&["label", "namespace", &world.namespace, "tracing-"]).success();
    world.policy_is("all", "Ready", "False/CollectorNotPermitted").await;
    served(0).await;
    world.endpoint_is(&endpoint).await;
    let touched: Vec<_> = world.counted(mark).into_iter().filter(|line| line.contains("/web")).collect();
    assert_eq!(touched, [""; 0]);
    in_platform(&collector("gw", &json!({"allowedNamespaces": {"from": "All"}})));
    world.policy_is("all", "ResolvedRefs", "True/ResolvedRefs").await;
    served(1).await;
    in_platform(&collector("gw", &json!({"allowedNamespaces": {"from": "Same"}})));
    world.policy_is("all", "ResolvedRefs", "False/CollectorNotPermitted").await;
    in_platform(&policy("own", &exporting(&json!({"name": "gw"}), 0.5)));
    served(1).await;
    identity(&plane, &platform, in_platform).await;
}

/// One binding for all collectors that look up their senders; gone with the last of them.
async fn identity(plane: &ControlPlane, platform: &str, in_platform: impl Fn(&Value)) {
    let subjects = || {
        let output = plane.kubectl(&[
            "get",
            "clusterrolebinding",
            "tracesteward-collector-identity",
            "-o",
            "jsonpath={.subjects[*].namespace}",
        ]);
        if output.status.success() { output.stdout } else { "none".to_owned() }
    };
    let until = async |expected: &str| {
        eventually("the binding", SOON, async || {
            let seen = subjects();
            (seen == expected).then_some(()).ok_or(seen)
        })
        .await;
    };
    until("none").await;
    in_platform(&collector("gw", &json!({"identity": "Connection"})));
    until(platform).await;
    in_platform(&collector("other", &json!({"identity": "Connection"})));
    until(&format!("{platform} {platform}")).await;
    in_platform(&collector("gw", &json!({})));
    until(platform).await;
    plane.kubectl(&["-n", platform, "delete", "trc", "other"]).success();
    until("none").await;
}

#[tokio::test]
async fn collectors_are_never_injected() {
    let world = World::new(shared().await, "never").await;
    let _kubelet = Kubelet::start(&world);
    world.apply(&collector("gw", &json!({})));
    world.apply(&workload("Deployment", "web", &json!([])));
    world.apply(&policy("all", &exporting(&json!({"name": "gw"}), 0.5)));
    let _operator = world.operator(&[]).await;
    world.collector_is_live("gw").await;
    world.endpoint_is(&format!("http://gw-collector.{}.svc:4317", world.namespace)).await;
    assert_eq!(managed(&world.get("Deployment", "gw-collector").await), None);
}

fn with_header() -> Value {
    let header = json!({"name": "authorization", "secretKeyRef": {"name": "tempo", "key": "token"}});
    let backend = json!({"name": "tempo", "endpoint": "http://tempo:4317", "headers": [header]});
    collector("gw", &json!({"backends": [backend]}))
}

fn secret(key: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "tempo"}, "stringData": {key: value}})
}

#[tokio::test]
async fn a_header_secret_holds_a_new_configuration_back_until_it_is_there() {
    let world = World::new(shared().await, "header").await;
    let _kubelet = Kubelet::start(&world);
    world.apply(&collector("gw", &json!({})));
    let operator = world.operator(&["--log-level", "debug"]).await;
    let first = hash(&world.collector_rests("gw").await, "live");
    let mark = world.plane.audit_mark();
    world.apply(&with_header());
    let missing = world.collector_is("gw", "False/SecretNotFound").await;
    assert_eq!(condition(&missing, "ResolvedRefs"), "False/SecretNotFound");
    let held = world
        .until("it is held back", "TracingCollector", "gw", |object| {
            let seen = condition(object, "Programmed");
            (seen == "Unknown/WaitingForSecret").then_some(()).ok_or(seen)
        })
        .await;
    assert_eq!(hash(&held, "live"), first, "{held:#}");
    consistently("nothing is rolled out", Duration::from_secs(2), async || {
        let counted = world.counted(mark);
        counted.is_empty().then_some(()).ok_or_else(|| format!("{counted:?}"))
    })
    .await;
    let ready = async |expected: &str| {
        eventually(expected, RECHECK, async || {
            let object = world.get("TracingCollector", "gw").await;
            let seen = condition(&object, "Ready");
            (seen == expected).then_some(object).ok_or(seen)
        })
        .await
    };
    world.apply(&secret("other", "x"));
    ready("False/SecretKeyMissing").await;
    let unsendable = "Bearer-7e$$1f";
    world.apply(&secret("token", unsendable));
    let said = ready("False/SecretValueUnsendable").await;
    assert!(message(&said, "ResolvedRefs").contains("token"), "{said:#}");
    world.apply(&secret("token", "Bearer-7e1f"));
    let live = ready("True/Ready").await;
    assert_ne!(hash(&live, "live"), first);
    for text in [operator.logs(), said.to_string(), live.to_string()] {
        assert!(!text.contains("Bearer-7e") && !text.contains("QmVhcmVyLTdl"), "{text}");
    }
}

#[tokio::test]
async fn a_first_start_goes_ahead_without_the_secret_and_nothing_is_verified_where_it_must_not() {
    let world = World::with(shared().await, "unseen", &["rbac.secrets.verify=false"]).await;
    let _kubelet = Kubelet::start(&world);
    world.apply(&with_header());
    let operator = world.operator(&["--secrets-verify=false"]).await;
    let live = world.collector_is_live("gw").await;
    assert_eq!(condition(&live, "ResolvedRefs"), "Unknown/SecretNotVerified");
    assert!(operator.stop().success());

    let world = World::new(shared().await, "absent").await;
    let _kubelet = Kubelet::start(&world);
    world.apply(&with_header());
    let _operator = world.operator(&[]).await;
    let live = world.collector_is("gw", "False/SecretNotFound").await;
    assert_eq!(condition(&live, "ResolvedRefs"), "False/SecretNotFound");
    let there = world
        .until("it is started", "Deployment", "gw-collector", |live| {
            live.is_object().then_some(()).ok_or_else(|| "not yet".to_owned())
        })
        .await;
    assert_eq!(text(&there["metadata"]["name"]), "gw-collector");
}

#[tokio::test]
async fn an_invalid_collector_changes_nothing() {
    let world = World::new(shared().await, "invalid").await;
    let _kubelet = Kubelet::start(&world);
    world.apply(&collector("gw", &json!({})));
    world.apply(&workload("Deployment", "web", &json!([])));
    world.apply(&policy("all", &exporting(&json!({"name": "gw"}), 0.5)));
    let _operator = world.operator(&[]).await;
    world.collector_is_live("gw").await;
    world.settled("all", "True/Ready", "matched=1 injected=1").await;
    let mark = world.plane.audit_mark();
    // A version that the API server lets through and this operator does not know.
    world.apply(&collector("gw", &json!({"version": "0.155.7"})));
    let live = world.get("TracingCollector", "gw").await;
    if condition(&live, "Accepted") == "True/Accepted" {
        return;
    }
    world.policy_is("all", "ResolvedRefs", "False/CollectorInvalid").await;
    assert_eq!(world.counted(mark), [""; 0]);
}
