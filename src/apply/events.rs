//! Kubernetes Events, on transitions only. An Event that cannot be written is no reason to stop.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};

use crate::{
    api::{GROUP, VERSION},
    index::{Collector, Policy, Workload},
};

/// Writes Events as the operator.
#[derive(Clone)]
pub struct Events {
    recorder: Recorder,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

impl Events {
    /// Events reported by this instance (its pod's name, where it has one).
    pub fn new(client: Client, instance: Option<String>) -> Self {
        Self { recorder: Recorder::new(client, Reporter { controller: "tracesteward".to_owned(), instance }) }
    }

    /// Writes what was announced.
    pub async fn write(&self, announcement: Announcement) {
        let Announcement { subject, is_normal, reason, note } = announcement;
        let event = Event {
            type_: if is_normal { EventType::Normal } else { EventType::Warning },
            reason,
            note: Some(note.chars().take(1024).collect()),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        if let Err(error) = self.recorder.publish(&event, &subject).await {
            tracing::debug!(%error, event.reason, "an Event could not be written");
        }
    }
}

/// An Event that is still to be written. What was learnt from a write is taken in before anybody waits for this.
#[derive(Clone, Debug)]
pub struct Announcement {
    subject: ObjectReference,
    is_normal: bool,
    reason: String,
    note: String,
}

impl Announcement {
    /// Something happened to a workload, as it should.
    pub fn on_workload(workload: &Workload, reason: &str, note: String) -> Self {
        let subject = ObjectReference {
            api_version: Some(workload.id.kind.api_version().to_owned()),
            kind: Some(workload.id.kind.as_str().to_owned()),
            namespace: Some(workload.id.namespace.clone()),
            name: Some(workload.id.name.clone()),
            uid: workload.uid.clone(),
            ..ObjectReference::default()
        };
        Self { subject, is_normal: true, reason: reason.to_owned(), note }
    }

    /// Something happened to a collector.
    pub fn on_collector(collector: &Collector, is_normal: bool, reason: &str, note: &str) -> Self {
        let subject = ObjectReference {
            api_version: Some(format!("{GROUP}/{VERSION}")),
            kind: Some("TracingCollector".to_owned()),
            namespace: Some(collector.id.namespace.clone()),
            name: Some(collector.id.name.clone()),
            uid: collector.uid.clone(),
            ..ObjectReference::default()
        };
        Self { subject, is_normal, reason: reason.to_owned(), note: note.to_owned() }
    }

    /// Something happened to a policy.
    pub fn on_policy(policy: &Policy, is_normal: bool, reason: &str, note: &str) -> Self {
        let subject = ObjectReference {
            api_version: Some(format!("{GROUP}/{VERSION}")),
            kind: Some(policy.id.kind().to_owned()),
            namespace: Some(policy.id.namespace.clone()).filter(|namespace| !namespace.is_empty()),
            name: Some(policy.id.name.clone()),
            uid: policy.uid.clone(),
            ..ObjectReference::default()
        };
        Self { subject, is_normal, reason: reason.to_owned(), note: note.to_owned() }
    }
}
