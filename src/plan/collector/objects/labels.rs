//! Names, labels and owners of the objects.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Resource;

use super::super::{Tier, collector_name, sampler_name};
use crate::{api::TracingCollector, index::Collector};

/// The label of pods and ConfigMaps (the annotation, where the operator makes nothing but the ConfigMap) that holds the
/// hash of the configuration.
pub const CONFIGURATION_HASH: &str = "tracesteward.io/config-hash";

/// The name of a tier's workload and of the Service before it.
pub(super) fn tier_name(collector: &str, tier: Tier) -> String {
    match tier {
        Tier::Collector => collector_name(collector),
        Tier::Sampler => sampler_name(collector),
    }
}

/// The labels of everything that is made for a tier.
pub(super) fn labels(collector: &str, tier: Tier) -> BTreeMap<String, String> {
    let mut labels = selector_labels(collector, tier);
    labels.insert("app.kubernetes.io/managed-by".to_owned(), "tracesteward".to_owned());
    labels
}

/// The labels that select a tier's pods. Selectors of workloads are immutable: these are the same for ever.
pub fn selector_labels(collector: &str, tier: Tier) -> BTreeMap<String, String> {
    let labels = [("name", "tracesteward-collector"), ("instance", collector), ("component", tier.as_str())];
    labels.map(|(label, value)| (format!("app.kubernetes.io/{label}"), value.to_owned())).into()
}

/// The collector as the owner of its objects, where it is known to the API server.
pub(super) fn owner(collector: &Collector) -> Option<OwnerReference> {
    Some(OwnerReference {
        api_version: TracingCollector::api_version(&()).into_owned(),
        kind: TracingCollector::kind(&()).into_owned(),
        name: collector.id.name.clone(),
        uid: collector.uid.clone()?,
        controller: Some(true),
        block_owner_deletion: Some(true),
    })
}
