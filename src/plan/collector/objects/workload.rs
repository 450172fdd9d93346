//! The Deployment or StatefulSet of a tier.

use k8s_openapi::{
    api::{
        apps::v1::{
            Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment, StatefulSet,
            StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec, StatefulSetUpdateStrategy,
        },
        core::v1::{
            ConfigMapVolumeSource, EmptyDirVolumeSource, KeyToPath, PersistentVolumeClaim, PersistentVolumeClaimSpec,
            PodSpec, PodTemplateSpec, Volume, VolumeResourceRequirements,
        },
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};

use super::{
    super::{CONFIGURATION_KEY, POD_KEY, Revision, Tier, configuration_name},
    CONFIGURATION_HASH, Made, OwnedObject,
    labels::{labels, selector_labels, tier_name},
    pod::{CONFIGURATION_VOLUME, QUEUE_VOLUME},
    resources::api_quantity,
    service::headless_name,
};
use crate::index::OwnedKind;

/// How long new pods may take to become ready, in seconds.
const DEADLINE: i32 = 120;
/// Earlier pod templates that the API server keeps: those whose ConfigMaps the operator keeps too.
const HISTORY: i32 = 2;

impl Made<'_> {
    /// The Deployment of a tier whose pods are interchangeable.
    pub(super) fn deployment(&self, revision: &Revision) -> Option<OwnedObject> {
        let tier = revision.tier;
        if self.is_stateful(tier) {
            return None;
        }
        // Old pods stay until new ones are ready.
        let rolling = RollingUpdateDeployment {
            max_surge: Some(IntOrString::Int(1)),
            max_unavailable: Some(IntOrString::Int(0)),
        };
        let strategy = DeploymentStrategy { type_: Some("RollingUpdate".to_owned()), rolling_update: Some(rolling) };
        let spec = DeploymentSpec {
            replicas: Some(self.replicas(revision)),
            selector: self.selector(tier),
            template: self.template(revision)?,
            strategy: Some(strategy),
            progress_deadline_seconds: Some(DEADLINE),
            revision_history_limit: Some(HISTORY),
            ..DeploymentSpec::default()
        };
        let metadata = self.metadata(tier_name(&self.collector.id.name, tier), tier);
        Some(self.owned(OwnedKind::Deployment, &Deployment { metadata, spec: Some(spec), status: None }))
    }

    /// The StatefulSet of a tier whose pods keep their names.
    pub(super) fn stateful_set(&self, revision: &Revision) -> Option<OwnedObject> {
        let tier = revision.tier;
        if !self.is_stateful(tier) {
            return None;
        }
        let strategy = StatefulSetUpdateStrategy { type_: Some("RollingUpdate".to_owned()), rolling_update: None };
        let spec = StatefulSetSpec {
            replicas: Some(self.replicas(revision)),
            selector: self.selector(tier),
            service_name: Some(headless_name(&self.collector.id.name, tier)),
            template: self.template(revision)?,
            // In order, a pod that never becomes ready would be waited for, and a return to the last good configuration
            // would never reach it.
            pod_management_policy: Some("Parallel".to_owned()),
            update_strategy: Some(strategy),
            revision_history_limit: Some(HISTORY),
            volume_claim_templates: self.claim(tier).map(|claim| vec![claim]),
            persistent_volume_claim_retention_policy: self.has_storage(tier).then(retention),
            ..StatefulSetSpec::default()
        };
        let metadata = self.metadata(tier_name(&self.collector.id.name, tier), tier);
        Some(self.owned(OwnedKind::StatefulSet, &StatefulSet { metadata, spec: Some(spec), status: None }))
    }

    /// What runs decides, not what is asked for: with the wrong number of pods, none of them would see whole traces.
    fn replicas(&self, revision: &Revision) -> i32 {
        revision.replicas().unwrap_or(self.settings.replicas)
    }

    fn selector(&self, tier: Tier) -> LabelSelector {
        let labels = selector_labels(&self.collector.id.name, tier);
        LabelSelector { match_labels: Some(labels), ..LabelSelector::default() }
    }

    /// The revision's pod with its ConfigMap. `None` where it is no pod, which no revision of [`super::super::revision`] is.
    fn template(&self, revision: &Revision) -> Option<PodTemplateSpec> {
        let mut template: PodTemplateSpec = serde_json::from_str(revision.data.get(POD_KEY)?).ok()?;
        let tier = revision.tier;
        // A revision of an earlier operator must be selected too.
        let own = labels(&self.collector.id.name, tier);
        let all = template.metadata.get_or_insert_default().labels.get_or_insert_default();
        all.extend(own);
        all.insert(CONFIGURATION_HASH.to_owned(), revision.hash.clone());

        let pod = template.spec.as_mut()?;
        let name = configuration_name(&self.collector.id.name, tier, &revision.hash);
        let mut volumes = vec![configuration_volume(name)];
        if mounts_queue(pod) && !self.has_storage(tier) {
            // A revision from before the volume was given up: it runs, and its queue ends with the pod.
            let empty_dir = Some(EmptyDirVolumeSource::default());
            volumes.push(Volume { name: QUEUE_VOLUME.to_owned(), empty_dir, ..Volume::default() });
        }
        pod.volumes.get_or_insert_default().extend(volumes);
        Some(template)
    }

    /// The claim of each pod's volume. Claims of a StatefulSet are immutable: another size is refused by the API server.
    fn claim(&self, tier: Tier) -> Option<PersistentVolumeClaim> {
        let storage = self.settings.spec.queue.as_ref()?.storage.as_ref().filter(|_| self.has_storage(tier))?;
        let requests = Some([("storage".to_owned(), api_quantity(&storage.size))].into());
        let spec = PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            storage_class_name: storage.storage_class_name.clone(),
            resources: Some(VolumeResourceRequirements { requests, limits: None }),
            ..PersistentVolumeClaimSpec::default()
        };
        let metadata = ObjectMeta { name: Some(QUEUE_VOLUME.to_owned()), ..ObjectMeta::default() };
        Some(PersistentVolumeClaim { metadata, spec: Some(spec), status: None })
    }
}

/// Volumes go with the collector, or deleting it would leave them behind; scaling in keeps what still waits to be sent.
fn retention() -> StatefulSetPersistentVolumeClaimRetentionPolicy {
    StatefulSetPersistentVolumeClaimRetentionPolicy {
        when_deleted: Some("Delete".to_owned()),
        when_scaled: Some("Retain".to_owned()),
    }
}

fn configuration_volume(name: String) -> Volume {
    let key = KeyToPath { key: CONFIGURATION_KEY.to_owned(), path: CONFIGURATION_KEY.to_owned(), mode: None };
    let source = ConfigMapVolumeSource { name, items: Some(vec![key]), ..ConfigMapVolumeSource::default() };
    Volume { name: CONFIGURATION_VOLUME.to_owned(), config_map: Some(source), ..Volume::default() }
}

fn mounts_queue(pod: &PodSpec) -> bool {
    let mut mounts = pod.containers.iter().flat_map(|container| container.volume_mounts.iter().flatten());
    mounts.any(|mount| mount.name == QUEUE_VOLUME)
}
