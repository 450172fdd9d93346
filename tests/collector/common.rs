//! Builders, waiting, and what a kubelet would do.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failing helper is a failing test")]

use std::time::Duration;

use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::fixtures::{SOON, World, condition, condition_of, text};
use crate::support::Mark;
use crate::support::eventually;

/// What a broken collector says at its end.
pub(crate) const LAST_WORDS: &str = "Error: cannot start pipelines: unknown sampling policy type x";

/// A collector with this specification beside one backend.
pub(crate) fn collector(name: &str, more: &Value) -> Value {
    let mut spec = json!({"backends": [{"name": "tempo", "endpoint": "http://tempo:4317"}]});
    more.as_object().expect("fields").iter().for_each(|(key, value)| spec[key] = value.clone());
    json!({"apiVersion": "tracesteward.io/v1alpha1", "kind": "TracingCollector", "metadata": {"name": name}, "spec": spec})
}

/// A policy of a collector, with this ratio at the tail.
pub(crate) fn exporting(reference: &Value, ratio: f64) -> Value {
    json!({"enabled": true, "export": {"collectorRef": reference}, "sampling": {"tail": {"ratio": ratio}}})
}

/// Says of each pod in a namespace what a kubelet would: with an image called `broken` it crashes, with one called `slow`
/// nothing happens, with any other it is ready.
pub(crate) struct Kubelet(JoinHandle<()>);

impl Kubelet {
    pub(crate) fn start(world: &World<'_>) -> Self {
        let pods = world.api("Pod");
        Self(tokio::spawn(async move {
            loop {
                for pod in pods.list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default() {
                    let image = text(&pod.data["spec"]["containers"][0]["image"]).to_owned();
                    if image.contains("slow") || pod.data["status"]["containerStatuses"].is_array() {
                        continue;
                    }
                    let name = pod.metadata.name.unwrap_or_default();
                    let container = text(&pod.data["spec"]["containers"][0]["name"]).to_owned();
                    let patch = Patch::Merge(json!({"status": said(&container, &image)}));
                    // A pod that is gone meanwhile is no trouble.
                    drop(pods.patch_status(&name, &PatchParams::default(), &patch).await);
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }))
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn said(container: &str, image: &str) -> Value {
    let is_ready = !image.contains("broken");
    let mut status = json!({"name": container, "image": image, "imageID": "", "ready": is_ready, "started": is_ready, "restartCount": 0});
    if is_ready {
        status["state"] = json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}});
    } else {
        let log = format!(
            "{{\"level\":\"info\",\"msg\":\"Starting\"}}\n{LAST_WORDS}\n2026/01/01 00:00:00 collector server run finished"
        );
        status["state"] = json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting"}});
        status["lastState"] = json!({"terminated": {"exitCode": 1, "reason": "Error", "message": log}});
    }
    let word = if is_ready { "True" } else { "False" };
    let now = "2026-01-01T00:00:00Z";
    let conditions: Vec<_> = ["Initialized", "Ready", "ContainersReady", "PodScheduled"]
        .map(|kind| json!({"type": kind, "status": if kind == "Initialized" || kind == "PodScheduled" { "True" } else { word }, "lastTransitionTime": now}))
        .to_vec();
    json!({"phase": "Running", "conditions": conditions, "containerStatuses": [status]})
}

impl World<'_> {
    /// Waits until a collector's status is about its present generation and its Ready is this; returns it whole.
    pub(crate) async fn collector_is(&self, name: &str, ready: &str) -> Value {
        self.until(&format!("collector {name}: {ready}"), "TracingCollector", name, |object| {
            let seen = condition(object, "Ready");
            let is_current = object["metadata"]["generation"] == object["status"]["observedGeneration"];
            (is_current && seen == ready).then_some(()).ok_or_else(|| format!("{seen} {:#}", object["status"]))
        })
        .await
    }

    /// Waits until all pods are ready with what is desired.
    pub(crate) async fn collector_is_live(&self, name: &str) -> Value {
        self.until(&format!("collector {name} is live"), "TracingCollector", name, |object| {
            let configuration = &object["status"]["configuration"];
            let is_current = object["metadata"]["generation"] == object["status"]["observedGeneration"];
            let is_live = configuration["desired"] == configuration["live"] && configuration["refused"].is_null();
            (is_current && is_live && condition(object, "Ready") == "True/Ready")
                .then_some(())
                .ok_or_else(|| format!("{:#}", object["status"]))
        })
        .await
    }

    /// The same, and that it was good is written down: nothing more is to be written.
    pub(crate) async fn collector_rests(&self, name: &str) -> Value {
        let live = self.collector_is_live(name).await;
        let hash = hash(&live, "live");
        self.until("it is noted as good", "Deployment", &format!("{name}-collector"), |object| {
            let noted = &object["metadata"]["annotations"]["tracesteward.io/last-good"];
            (*noted == hash).then_some(()).ok_or_else(|| noted.to_string())
        })
        .await;
        live
    }

    /// The names of the ConfigMaps of a collector.
    pub(crate) async fn configurations(&self, name: &str) -> Vec<String> {
        let of = ListParams::default()
            .labels(&format!("app.kubernetes.io/managed-by=tracesteward,app.kubernetes.io/instance={name}"));
        let listed = self.api("ConfigMap").list(&of).await.expect("ConfigMaps can be listed");
        let mut names: Vec<_> = listed.items.into_iter().filter_map(|object| object.metadata.name).collect();
        names.sort();
        names
    }

    /// Waits until the operator has written exactly this, in a fixed order.
    pub(crate) async fn has_written(&self, mark: Mark, expected: &[String]) {
        eventually("the writes", SOON, async || {
            let counted = self.counted(mark);
            (counted == expected).then_some(()).ok_or_else(|| format!("{counted:#?} instead of {expected:#?}"))
        })
        .await;
    }
}

/// The message of a condition.
pub(crate) fn message(object: &Value, kind: &str) -> String {
    condition_of(object, kind).map(|found| text(&found["message"]).to_owned()).unwrap_or_default()
}

/// A hash of `status.configuration`.
pub(crate) fn hash(collector: &Value, which: &str) -> String {
    text(&collector["status"]["configuration"][which]).to_owned()
}

/// Says of pods with this image that it cannot be pulled.
pub(crate) async fn cannot_be_pulled(world: &World<'_>, image: &str) {
    let pods = world.api("Pod").list(&ListParams::default()).await.expect("the API server answers");
    let meant: Vec<_> = pods.items.iter().filter(|pod| pod.data.to_string().contains(image)).collect();
    assert!(!meant.is_empty());
    for pod in meant {
        let container = &pod.data["spec"]["containers"][0];
        let waiting = json!({"waiting": {"reason": "ErrImagePull", "message": "no such image"}});
        let status = json!({"name": container["name"], "image": container["image"], "imageID": "", "ready": false,
            "started": false, "restartCount": 0, "state": waiting});
        let patch = Patch::Merge(json!({"status": {"phase": "Pending", "containerStatuses": [status]}}));
        let name = pod.metadata.name.clone().expect("a pod has a name");
        world.api("Pod").patch_status(&name, &PatchParams::default(), &patch).await.expect("the API server answers");
    }
}
