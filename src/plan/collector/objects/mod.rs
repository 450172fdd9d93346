//! The objects that run a collector, as server-side apply sends them: exactly the fields that the operator owns.

mod access;
mod configuration;
mod drift;
mod labels;
mod pod;
mod resources;
mod service;
#[cfg(test)]
mod tests;
mod workload;

use k8s_openapi::{Metadata, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use serde::Serialize;
use serde_json::Value;

pub use drift::contains;
pub use labels::{CONFIGURATION_HASH, selector_labels};
pub use pod::{CONTAINER, QUEUE_FOLDER, SAMPLER_PORT};

use super::{CollectorSettings, Revision, Tier};
use crate::{
    api::Management,
    index::{Collector, OwnedId, OwnedKind},
};

pub(super) use pod::template;

/// An object that is made for a collector.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnedObject {
    /// Which one.
    pub id: OwnedId,
    /// The whole object as it is applied.
    pub manifest: Value,
}

/// Everything that runs a collector, in the order in which it is applied. `live` holds the revision that each tier is to
/// run; the tiers are those that it names, so that a return to an earlier configuration brings its tiers back too.
///
/// Names depend on the collector's name alone (the ConfigMaps' on their content), so what is no longer in the list is to be
/// deleted.
pub fn objects(collector: &Collector, settings: &CollectorSettings<'_>, live: &[Revision]) -> Vec<OwnedObject> {
    let made = Made { collector, settings, live };
    match settings.management {
        Management::ConfigOnly => made.configuration_only().into_iter().collect(),
        Management::Managed => OwnedKind::ALL.into_iter().flat_map(|kind| made.of_kind(kind)).collect(),
    }
}

/// What all objects are made from.
struct Made<'a> {
    collector: &'a Collector,
    settings: &'a CollectorSettings<'a>,
    live: &'a [Revision],
}

impl Made<'_> {
    fn of_kind(&self, kind: OwnedKind) -> Vec<OwnedObject> {
        match kind {
            OwnedKind::ServiceAccount => vec![self.service_account()],
            OwnedKind::ConfigMap => self.live.iter().map(|revision| self.configuration(revision)).collect(),
            OwnedKind::Service => self.services(),
            OwnedKind::PodDisruptionBudget => self.tiers().filter_map(|tier| self.disruption_budget(tier)).collect(),
            OwnedKind::NetworkPolicy => self.tiers().filter_map(|tier| self.network_policy(tier)).collect(),
            OwnedKind::Deployment => self.live.iter().filter_map(|revision| self.deployment(revision)).collect(),
            OwnedKind::StatefulSet => self.live.iter().filter_map(|revision| self.stateful_set(revision)).collect(),
        }
    }

    fn tiers(&self) -> impl Iterator<Item = Tier> {
        self.live.iter().map(|revision| revision.tier)
    }

    /// Whether spans go through routers to samplers.
    fn has_samplers(&self) -> bool {
        self.tiers().any(|tier| tier == Tier::Sampler)
    }

    /// Whether this tier keeps what waits to be sent: the one that sends to the backends.
    fn has_storage(&self, tier: Tier) -> bool {
        self.settings.has_storage() && tier == sending_tier(self.has_samplers())
    }

    /// Whether the pods of this tier keep their names: samplers, because routers know them by their addresses, and pods
    /// with a volume.
    fn is_stateful(&self, tier: Tier) -> bool {
        tier == Tier::Sampler || self.has_storage(tier)
    }

    fn metadata(&self, name: String, tier: Tier) -> ObjectMeta {
        ObjectMeta {
            name: Some(name),
            namespace: Some(self.collector.id.namespace.clone()),
            labels: Some(labels::labels(&self.collector.id.name, tier)),
            owner_references: labels::owner(self.collector).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        }
    }

    fn owned<T: Serialize + Metadata<Ty = ObjectMeta>>(&self, kind: OwnedKind, object: &T) -> OwnedObject {
        let name = object.metadata().name.clone().unwrap_or_default();
        OwnedObject { id: OwnedId { collector: self.collector.id.clone(), kind, name }, manifest: value(object) }
    }
}

/// The tier that decides and sends to the backends.
const fn sending_tier(has_samplers: bool) -> Tier {
    if has_samplers { Tier::Sampler } else { Tier::Collector }
}

/// An object as JSON. Types of the API have string keys only, so that this cannot fail.
pub(super) fn value(object: &impl Serialize) -> Value {
    serde_json::to_value(object).unwrap_or_default()
}
