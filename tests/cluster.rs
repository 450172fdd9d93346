//! ClusterTracingPolicies on a real control plane: defaults, overrides, inheritance, and what each kind is told.
#![allow(clippy::panic, clippy::unwrap_used, reason = "clippy's exception for tests does not reach their helpers")]

mod fixtures;
mod support;

use std::time::Duration;

use fixtures::{
    SOON, World, attention, condition, condition_of, counts_of, env, install_crds, managed, policy, text, traced,
    value, workload,
};
use serde_json::{Value, json};
use support::{ControlPlane, Mark, consistently, eventually};

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

fn cluster(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "tracesteward.io/v1alpha1", "kind": "ClusterTracingPolicy", "metadata": {"name": name}, "spec": spec})
}

impl World<'_> {
    /// Waits until a ClusterTracingPolicy says this of Ready and of workloads.
    async fn cluster_settled(&self, name: &str, ready: &str, counts: &str) -> Value {
        eventually(&format!("{name}: {ready}, {counts}"), SOON, async || {
            let live = self.cluster_policy(name);
            let seen = (condition(&live, "Ready"), counts_of(&live));
            let is_current = live["metadata"]["generation"] == live["status"]["observedGeneration"];
            let is_right = is_current && seen == (ready.to_owned(), counts.to_owned());
            is_right.then(|| live.clone()).ok_or_else(|| format!("{seen:?} {}", live["status"]))
        })
        .await
    }

    fn cluster_policy(&self, name: &str) -> Value {
        let text = self.plane.kubectl(&["get", "clustertracingpolicies.tracesteward.io", name, "-o", "json"]).success();
        serde_json::from_str(&text).unwrap()
    }

    async fn has(&self, name: &str, wanted: &str) -> Value {
        self.until(&format!("{name} exports to {wanted}"), "Deployment", name, |live| {
            (value(live, ENDPOINT) == Some(wanted)).then_some(()).ok_or_else(|| format!("{:?}", env(live, "app")))
        })
        .await
    }

    async fn has_nothing(&self, name: &str) {
        self.until(&format!("{name} carries nothing"), "Deployment", name, |live| {
            managed(live).is_none().then_some(()).ok_or_else(|| format!("{:?}", env(live, "app")))
        })
        .await;
    }

    async fn at_rest(&self, mark: Mark) {
        consistently("nothing is written", Duration::from_secs(5), async || {
            let writes = self.writes(mark);
            let writes = fixtures::lines(&writes);
            let writes: Vec<_> =
                writes.iter().filter(|line| !line.contains("events/") && !line.contains("leases/")).collect();
            writes.is_empty().then_some(()).ok_or_else(|| format!("{writes:#?}"))
        })
        .await;
    }
}

#[tokio::test]
async fn the_platforms_defaults_and_limits_hold_and_everybody_is_told() {
    let plane = ControlPlane::start().await;
    install_crds(&plane);
    let world = World::cluster_wide(&plane, "shop").await;
    world.plane.kubectl(&["label", "namespace", &world.namespace, "tracing=on"]).success();
    for name in ["web", "api"] {
        world.apply(&workload("Deployment", name, &json!([])));
    }
    // Neither the operator's own namespace nor the system's is touched, whatever a policy of the cluster selects.
    let mut system = workload("Deployment", "system", &json!([]));
    system["metadata"]["namespace"] = json!("kube-system");
    plane.kubectl_stdin(&["apply", "-f", "-"], &system.to_string()).success();
    let operator = world.operator(&["--leader-elect=false"]).await;

    // Defaults alone trace everything that they select.
    let defaults =
        json!({"enabled": true, "export": {"endpoint": "http://platform:4317", "headersSecretRef": {"name": "otel"}}});
    let selector = json!({"matchLabels": {"tracing": "on"}});
    world.apply(&cluster("base", &json!({"namespaceSelector": selector, "defaults": defaults})));
    world.has("web", "http://platform:4317").await;
    world.has("api", "http://platform:4317").await;
    // Their Secret is one of the workloads' namespace.
    let base = world.cluster_settled("base", "False/SecretNotFound", "matched=2 injected=2").await;
    assert_eq!(
        attention(&base),
        [format!("Secret/{}/otel SecretNotFound: the headers Secret does not exist", world.namespace)]
    );

    // A team's policy comes first, and inherits where it says so.
    let mut named = traced(0.5);
    named["targets"] = json!([{"kind": "Deployment", "name": "web"}]);
    world.apply(&policy("web", &named));
    world.has("web", "http://collector:4317").await;
    world.settled("web", "True/Ready", "matched=1 injected=1").await;
    let base = world.cluster_settled("base", "False/SecretNotFound", "matched=2 injected=1 superseded=1").await;
    let told = attention(&base);
    assert!(
        told.iter().any(|line| line.contains("Superseded: ") && line.contains("TracingPolicy web comes first")),
        "{told:#?}"
    );
    named["export"] = json!({"inherit": true});
    world.apply(&policy("web", &named));
    let live = world.has("web", "http://platform:4317").await;
    assert_eq!(value(&live, "OTEL_TRACES_SAMPLER_ARG"), Some("0.5"), "the rest is the team's");
    world.settled("web", "False/SecretNotFound", "matched=1 injected=1").await;
    world.kubectl(&["create", "secret", "generic", "otel", "--from-literal=OTEL_EXPORTER_OTLP_HEADERS=a=b"]).success();

    // Overrides win over both, and the team is told.
    world.apply(&cluster(
        "limits",
        &json!({"overrides": {"sampling": {"ratio": 0.01}, "allowedEndpointHosts": ["platform"]}}),
    ));
    world
        .until("the override is in force", "Deployment", "web", |live| {
            let ratio = value(live, "OTEL_TRACES_SAMPLER_ARG");
            (ratio == Some("0.01")).then_some(()).ok_or_else(|| format!("{ratio:?}"))
        })
        .await;
    world.cluster_settled("limits", "True/Ready", "matched=2").await;
    let web = world
        .until("the team is told", "TracingPolicy", "web", |live| {
            let told = attention(live);
            let is_told =
                told.iter().any(|line| line.contains("OverriddenByCluster") && line.ends_with("sampling.ratio"));
            is_told.then_some(()).ok_or_else(|| format!("{told:#?}"))
        })
        .await;
    assert!(text(&condition_of(&web, "Accepted").unwrap()["message"]).contains("ClusterTracingPolicy limits"));
    // An endpoint that the platform does not allow is not injected; what is there stays.
    named["export"] = json!({"endpoint": "http://elsewhere:4317"});
    world.apply(&policy("web", &named));
    world.settled("web", "False/HostNotAllowed", "matched=1 injected=1").await;
    world.has("web", "http://platform:4317").await;
    named["export"] = json!({"inherit": true});
    world.apply(&policy("web", &named));

    // Whoever looks at the table sees it.
    let table = plane.kubectl(&["get", "ctrp"]).success();
    assert!(table.contains("base") && table.contains("MATCHED"), "{table}");

    // At rest nothing is written, nor after a restart; then the Secret has been seen.
    let quiet = async || {
        eventually("the Secret is seen", Duration::from_secs(60), async || {
            let live = world.cluster_policy("base");
            (condition(&live, "Ready") == "True/Ready" || condition(&live, "Ready") == "True/Programmed")
                .then_some(())
                .ok_or_else(|| condition(&live, "Ready"))
        })
        .await;
    };
    quiet().await;
    world.settled("web", "True/Ready", "matched=1 injected=1").await;
    world.at_rest(plane.audit_mark()).await;
    assert!(operator.stop().success());
    let mark = plane.audit_mark();
    let _operator = world.operator(&["--leader-elect=false"]).await;
    world.at_rest(mark).await;

    // The platform's switch, and back.
    world.apply(&cluster("switch", &json!({"priority": 5, "overrides": {"enabled": false}})));
    world.has_nothing("web").await;
    world.has_nothing("api").await;
    plane.kubectl(&["delete", "ctrp", "switch"]).success();
    world.has("web", "http://platform:4317").await;

    // A namespace that is no longer selected is let go of.
    plane.kubectl(&["label", "namespace", &world.namespace, "tracing=off", "--overwrite"]).success();
    world.has_nothing("api").await;
    world.settled("web", "False/NothingToInherit", "matched=1 injected=1").await;
    plane.kubectl(&["label", "namespace", &world.namespace, "tracing=on", "--overwrite"]).success();
    world.has("api", "http://platform:4317").await;
    plane.kubectl(&["delete", "ctrp", "base", "limits"]).success();
    world.has_nothing("api").await;
    let system = plane
        .kubectl(&["get", "deployment", "system", "-n", "kube-system", "-o", "json", "--show-managed-fields"])
        .success();
    let system: Value = serde_json::from_str(&system).unwrap();
    assert_eq!((managed(&system), env(&system, "app").len()), (None, 0));
}
