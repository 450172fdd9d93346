//! Workloads with pods, and how far they are.

use serde_json::{Value, json};

use crate::fixtures::{World, env, install_crds, workload};
use crate::support::{ControlPlane, eventually};
use std::time::Duration;

/// Longer than a few rollouts take.
pub(crate) const ROLLED_OUT: Duration = Duration::from_secs(90);

pub(crate) async fn plane() -> ControlPlane {
    let plane = ControlPlane::start().await;
    install_crds(&plane);
    plane
}

/// A workload with two pods.
pub(crate) fn running(kind: &str, name: &str, own: &Value) -> Value {
    let mut object = workload(kind, name, own);
    if kind != "DaemonSet" {
        object["spec"]["replicas"] = json!(2);
    }
    object
}

/// An enabled policy that changes so many workloads at a time.
pub(crate) fn traced(port: u16, rollout: &Value) -> Value {
    json!({"enabled": true, "export": {"endpoint": format!("http://collector:{port}")}, "rollout": rollout})
}

/// Whether the template carries what the operator sets.
pub(crate) fn is_injected(object: &Value) -> bool {
    env(object, "app").iter().any(|variable| variable["name"] == "OTEL_SERVICE_NAME")
}

/// Whether its controller has replaced all pods, and they are available.
pub(crate) fn is_complete(object: &Value) -> bool {
    let status = &object["status"];
    let number = |field: &str| status[field].as_i64().unwrap_or_default();
    let is_seen = status["observedGeneration"] == object["metadata"]["generation"];
    if object["kind"] == "DaemonSet" {
        let wanted = number("desiredNumberScheduled");
        return is_seen
            && wanted > 0
            && number("updatedNumberScheduled") == wanted
            && number("numberAvailable") == wanted;
    }
    let wanted = object["spec"]["replicas"].as_i64().unwrap_or(1);
    is_seen && ["replicas", "updatedReplicas", "availableReplicas"].iter().all(|field| number(field) == wanted)
}

/// Waits until a workload has replaced its pods.
pub(crate) async fn until_complete(world: &World<'_>, kind: &str, name: &str) -> Value {
    eventually(&format!("{kind} {name} has all its pods"), ROLLED_OUT, async || {
        let live = world.get(kind, name).await;
        if is_complete(&live) { Ok(live) } else { Err(live["status"].to_string()) }
    })
    .await
}

/// The pods of a workload that are there to stay: their names and whether they are ready.
pub(crate) async fn pods(world: &World<'_>, app: &str) -> Vec<(String, bool)> {
    let listed = world.kubectl(&["get", "pods", "-l", &format!("app={app}"), "-o", "json"]).success();
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let ready = |pod: &Value| {
        let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().any(|known| known["type"] == "Ready" && known["status"] == "True")
    };
    let all = listed["items"].as_array().unwrap().iter();
    let mut found: Vec<_> = all
        .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
        .map(|pod| (pod["metadata"]["name"].as_str().unwrap().to_owned(), ready(pod)))
        .collect();
    found.sort();
    found
}
