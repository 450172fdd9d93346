//! Objects that the operator made for collectors, as they are in the cluster.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::Value;

use super::{CollectorId, Dirty, Index, OwnedId, OwnedKind, Source, Watched};
use crate::api::GROUP;

/// The label that says by whom an object is managed; these objects are watched by it.
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// Its value.
pub const MANAGED_BY: &str = "tracesteward";
/// The label that names the collector that an object belongs to.
const INSTANCE_LABEL: &str = "app.kubernetes.io/instance";

/// An object by itself, whoever it was made for.
pub(super) type LiveKey = (String, OwnedKind, String);

/// An object that was made for a collector, as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct LiveObject {
    /// Which one.
    pub id: OwnedId,
    /// Guards every write.
    pub uid: Option<String>,
    /// The collector that owns it, by uid; absent where somebody has only given it our labels.
    pub owner: Option<String>,
    /// Its resource version.
    pub version: Option<u64>,
    /// The object, without managed fields. Shared: a ConfigMap can be large.
    pub value: Arc<Value>,
}

impl OwnedId {
    pub(super) fn key(&self) -> LiveKey {
        (self.collector.namespace.clone(), self.kind, self.name.clone())
    }

    /// The least of a collector's objects.
    pub(super) fn first(collector: &CollectorId) -> Self {
        Self { collector: collector.clone(), kind: OwnedKind::ServiceAccount, name: String::new() }
    }
}

impl LiveObject {
    /// Reads an object of this kind; `None` where it has no name.
    pub fn read(kind: OwnedKind, mut value: Value) -> Option<Self> {
        let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let name = text("/metadata/name")?;
        let namespace = text("/metadata/namespace").unwrap_or_default();
        let owner = value
            .pointer("/metadata/ownerReferences")
            .and_then(Value::as_array)
            .and_then(|all| all.iter().find(|owner| is_collector(owner.get("apiVersion"), owner.get("kind"))));
        let of_owner = |field: &str| Some(owner?.get(field)?.as_str()?.to_owned());
        let label = value.pointer("/metadata/labels").and_then(|labels| labels.get(INSTANCE_LABEL)?.as_str());
        let collector = of_owner("name").or_else(|| label.map(str::to_owned)).unwrap_or_default();
        let live = Self {
            id: OwnedId { collector: CollectorId { namespace, name: collector }, kind, name },
            uid: text("/metadata/uid"),
            owner: of_owner("uid"),
            version: text("/metadata/resourceVersion").and_then(|version| version.parse().ok()),
            value: Arc::new(Value::Null),
        };
        if let Some(Value::Object(metadata)) = value.get_mut("metadata") {
            metadata.shift_remove("managedFields");
        }
        Some(Self { value: Arc::new(value), ..live })
    }

    /// An annotation of the object.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.value.pointer("/metadata/annotations")?.get(name)?.as_str()
    }

    /// Ready pods, of a workload.
    pub fn ready_replicas(&self) -> i64 {
        let is_workload = matches!(self.id.kind, OwnedKind::Deployment | OwnedKind::StatefulSet);
        let ready = self.value.pointer("/status/readyReplicas").and_then(Value::as_i64);
        ready.filter(|_| is_workload).unwrap_or_default()
    }

    /// Whether it is being deleted.
    pub fn is_deleting(&self) -> bool {
        self.value.pointer("/metadata/deletionTimestamp").is_some()
    }
}

/// Whether an owner reference is to a TracingCollector.
fn is_collector(api_version: Option<&Value>, kind: Option<&Value>) -> bool {
    let group = api_version.and_then(Value::as_str).and_then(|version| version.split_once('/')).map(|(group, _)| group);
    group == Some(GROUP) && kind.and_then(Value::as_str) == Some("TracingCollector")
}

impl Index {
    pub(super) fn owned_event(&mut self, live: LiveObject, dirty: &mut Dirty) {
        if self.owned_versions.take_event(&live.id.key(), live.version) {
            self.put_owned(live, dirty);
        }
    }

    /// Of an object that is new to the index the event is awaited: it may be gone by now.
    pub(super) fn owned_written(&mut self, live: LiveObject, dirty: &mut Dirty) {
        let key = live.id.key();
        let known = self.filed.get(&key).and_then(|id| self.snapshot.owned.get(id));
        if known.is_some_and(|known| known.uid == live.uid) && self.owned_versions.take_write(&key, live.version) {
            self.put_owned(live, dirty);
        }
    }

    fn put_owned(&mut self, live: LiveObject, dirty: &mut Dirty) {
        let key = live.id.key();
        let filed = self.filed.get(&key).cloned();
        if let Some(known) = filed.as_ref().and_then(|id| self.snapshot.owned.get(id)) {
            if *known == live {
                return;
            }
            dirty.collectors.insert(known.id.clone().collector);
        }
        // Whose account it is decides what it may look up.
        dirty.identity |= live.id.kind == OwnedKind::ServiceAccount;
        let collectors: BTreeSet<CollectorId> =
            filed.iter().map(|id| id.collector.clone()).chain([live.id.collector.clone()]).collect();
        let were_ready: Vec<bool> = collectors.iter().map(|id| self.snapshot.has_ready_pods(id)).collect();
        if let Some(filed) = filed {
            self.snapshot.owned.remove(&filed);
        }
        self.filed.insert(key, live.id.clone());
        dirty.collectors.insert(live.id.collector.clone());
        self.snapshot.owned.insert(live.id.clone(), live);
        for (id, was_ready) in collectors.iter().zip(were_ready) {
            if self.snapshot.has_ready_pods(id) != was_ready {
                self.touch_readiness(id, dirty);
            }
        }
    }

    /// What was deleted may have a successor of the same name by now, which stays.
    pub(super) fn owned_gone(&mut self, key: &LiveKey, uid: Option<&str>, dirty: &mut Dirty) {
        let known = self.filed.get(key).and_then(|id| self.snapshot.owned.get(id)?.uid.as_deref());
        if known.is_none() || uid.is_none() || known == uid {
            self.drop_owned(key, dirty);
        }
    }

    fn drop_owned(&mut self, key: &LiveKey, dirty: &mut Dirty) {
        self.owned_versions.0.remove(key);
        let Some(id) = self.filed.remove(key) else { return };
        let was_ready = self.snapshot.has_ready_pods(&id.collector);
        dirty.identity |= id.kind == OwnedKind::ServiceAccount;
        self.snapshot.owned.remove(&id);
        self.snapshot.contested.remove(&id);
        if self.snapshot.has_ready_pods(&id.collector) != was_ready {
            self.touch_readiness(&id.collector, dirty);
        }
        dirty.collectors.insert(id.collector);
    }

    pub(super) fn reset_owned(&mut self, source: &Source, all: Vec<LiveObject>, dirty: &mut Dirty) {
        let listed: BTreeSet<LiveKey> = all.iter().map(|live| live.id.key()).collect();
        let is_meant = |key: &LiveKey| source.watched == Watched::Owned(key.1) && source.covers(&key.0);
        let gone: Vec<LiveKey> =
            self.filed.keys().filter(|key| is_meant(key) && !listed.contains(*key)).cloned().collect();
        for key in gone {
            self.drop_owned(&key, dirty);
        }
        for live in all {
            self.owned_event(live, dirty);
        }
        self.awaited.remove(source);
    }
}
