//! Kubernetes Events, on transitions only. An Event that cannot be written is no reason to stop.

use std::{
    collections::{VecDeque, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::{
    api::{
        core::v1::ObjectReference,
        events::v1::{Event, EventSeries},
    },
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::{SignedDuration, Timestamp},
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;

use super::Writer;
use crate::{
    api::{GROUP, VERSION},
    index::{Collector, Policy, Workload},
};

/// Who reports.
const CONTROLLER: &str = "tracesteward";
/// How long the same thing that happens again is another time of the same Event (as client-go does it).
const SERIES: SignedDuration = SignedDuration::from_mins(6);
/// So many Events are remembered for that: what is remembered must not grow with the cluster.
const REMEMBERED: usize = 512;

/// Writes Events as the operator.
#[derive(Clone)]
pub struct Events {
    client: Client,
    instance: Option<String>,
    said: Arc<Mutex<VecDeque<Said>>>,
}

/// An Event that was written.
#[derive(Clone, Debug)]
struct Said {
    /// The hash of what it was about.
    key: u64,
    name: String,
    count: i32,
    at: Timestamp,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

impl Events {
    /// Events reported by this instance (its pod's name, where it has one).
    pub fn new(writer: &Writer, instance: Option<String>) -> Self {
        Self { client: writer.client(), instance, said: Arc::default() }
    }

    /// Writes what was announced.
    pub async fn write(&self, announcement: Announcement) {
        if let Err(error) = self.publish(&announcement).await {
            tracing::debug!(%error, announcement.reason, "an Event could not be written");
        }
    }

    async fn publish(&self, announcement: &Announcement) -> Result<(), kube::Error> {
        let (key, now) = (announcement.key(), Timestamp::now());
        let namespace = announcement.subject.namespace.as_deref().unwrap_or("default");
        let api: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        let before = recall(&mut self.said(), key, now);
        let said = if let Some(said) = before {
            let said = Said { count: said.count.saturating_add(1), at: now, ..said };
            let series = EventSeries { count: said.count, last_observed_time: MicroTime(now) };
            api.patch(&said.name, &PatchParams::default(), &Patch::Merge(json!({"series": series}))).await?;
            said
        } else {
            let subject = announcement.subject.name.as_deref().unwrap_or(CONTROLLER);
            let name = format!("{subject}.{:x}", now.as_nanosecond());
            api.create(&PostParams::default(), &self.event(announcement, name.clone(), now)).await?;
            Said { key, name, count: 1, at: now }
        };
        remember(&mut self.said(), said);
        Ok(())
    }

    fn event(&self, announcement: &Announcement, name: String, now: Timestamp) -> Event {
        let Announcement { subject, is_normal, reason, note } = announcement;
        let metadata = ObjectMeta { namespace: subject.namespace.clone(), name: Some(name), ..ObjectMeta::default() };
        Event {
            metadata,
            type_: Some(if *is_normal { "Normal" } else { "Warning" }.to_owned()),
            reason: Some(reason.clone()),
            note: Some(note.chars().take(1024).collect()),
            action: Some("Reconcile".to_owned()),
            event_time: Some(MicroTime(now)),
            regarding: Some(subject.clone()),
            reporting_controller: Some(CONTROLLER.to_owned()),
            reporting_instance: Some(self.instance.clone().unwrap_or_else(|| CONTROLLER.to_owned())),
            ..Event::default()
        }
    }

    fn said(&self) -> MutexGuard<'_, VecDeque<Said>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes the Event out that was about the same, if it is not too old.
fn recall(all: &mut VecDeque<Said>, key: u64, now: Timestamp) -> Option<Said> {
    let found = all.iter().position(|said| said.key == key)?;
    all.remove(found).filter(|said| said.at + SERIES > now)
}

/// The oldest is forgotten for the newest.
fn remember(all: &mut VecDeque<Said>, said: Said) {
    all.push_back(said);
    while all.len() > REMEMBERED {
        all.pop_front();
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
    /// The same for what happens again to the same object, in whatever words.
    fn key(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        let ObjectReference { kind, namespace, name, uid, .. } = &self.subject;
        (kind, namespace, name, uid, self.is_normal, &self.reason).hash(&mut hasher);
        hasher.finish()
    }

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

    /// Something is wrong with a workload.
    pub fn warning(workload: &Workload, reason: &str, note: String) -> Self {
        Self { is_normal: false, ..Self::on_workload(workload, reason, note) }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn said(key: u64, at: Timestamp) -> Said {
        Said { key, name: format!("event-{key}"), count: 1, at }
    }

    #[test]
    fn what_is_remembered_does_not_grow() {
        let mut all = VecDeque::new();
        for key in 0..10_000 {
            remember(&mut all, said(key, Timestamp::UNIX_EPOCH));
        }
        assert_eq!(all.len(), REMEMBERED);
        assert!(recall(&mut all, 1, Timestamp::UNIX_EPOCH).is_none(), "forgotten");
        assert_eq!(recall(&mut all, 9_999, Timestamp::UNIX_EPOCH).unwrap().name, "event-9999");
        assert!(recall(&mut all, 9_999, Timestamp::UNIX_EPOCH).is_none(), "it comes back when it was written");
    }

    #[test]
    fn what_happens_again_much_later_is_another_event() {
        let mut all = VecDeque::from([said(1, Timestamp::UNIX_EPOCH), said(2, Timestamp::UNIX_EPOCH)]);
        let later = Timestamp::UNIX_EPOCH + SERIES;
        assert!(recall(&mut all, 1, later - SignedDuration::from_secs(1)).is_some());
        assert!(recall(&mut all, 2, later).is_none());
        assert!(all.is_empty());
    }
}
