//! ConfigMaps with a collector's configuration.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};

use super::{
    super::{CONFIGURATION_KEY, Revision, Tier, collector_name, configuration_name},
    CONFIGURATION_HASH, Made, OwnedObject,
};
use crate::index::OwnedKind;

impl Made<'_> {
    /// One revision. Immutable: the pods of a revision that was good once find the same when they start again.
    pub(super) fn configuration(&self, revision: &Revision) -> OwnedObject {
        let name = configuration_name(&self.collector.id.name, revision.tier, &revision.hash);
        let mut metadata = self.metadata(name, revision.tier);
        metadata.labels.get_or_insert_with(BTreeMap::new).insert(CONFIGURATION_HASH.to_owned(), revision.hash.clone());
        self.config_map(metadata, revision.data.clone(), Some(true))
    }

    /// The configuration for a collector that somebody else runs, under a name that stays.
    pub(super) fn configuration_only(&self) -> Option<OwnedObject> {
        let revision = self.live.iter().find(|revision| revision.tier == Tier::Collector)?;
        let mut metadata = self.metadata(collector_name(&self.collector.id.name), revision.tier);
        metadata.annotations = Some([(CONFIGURATION_HASH.to_owned(), revision.hash.clone())].into());
        let data = revision.data.iter().filter(|(key, _)| *key == CONFIGURATION_KEY);
        Some(self.config_map(metadata, data.map(|(key, text)| (key.clone(), text.clone())).collect(), None))
    }

    fn config_map(&self, metadata: ObjectMeta, data: BTreeMap<String, String>, immutable: Option<bool>) -> OwnedObject {
        let object = ConfigMap { metadata, data: Some(data), immutable, ..ConfigMap::default() };
        self.owned(OwnedKind::ConfigMap, &object)
    }
}
