//! The parts of workloads that are read from the API server or from a file; serde never allocates the rest.
//!
//! Everything is optional and lenient: an odd object must not stop a watch.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, Deployment, StatefulSet},
        batch::v1::{CronJob, Job},
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::Resource;
use serde::Deserialize;
use serde_json::Value;

use super::{Origin, Rollout, Workload, WorkloadId, WorkloadKind, metadata, pods, rollout::rollout};

/// Reads a workload from JSON, as a file or the API server has it; `None` for objects of other kinds. `namespace` holds
/// for an object without one. Jobs and pods that are others' are no workloads, nor are those that have ended.
///
/// # Errors
/// Where a field that is read has the wrong type.
pub fn read_workload(object: &Value, namespace: &str) -> Option<Result<Workload, serde_json::Error>> {
    let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
    let kind = WorkloadKind::parse(text("apiVersion"), text("kind"))?;
    let workload = match kind {
        WorkloadKind::Deployment => RawDeployment::deserialize(object).map(Workload::reduce),
        WorkloadKind::StatefulSet => RawStatefulSet::deserialize(object).map(Workload::reduce),
        WorkloadKind::DaemonSet => RawDaemonSet::deserialize(object).map(Workload::reduce),
        WorkloadKind::CronJob => RawCronJob::deserialize(object).map(Workload::reduce),
        WorkloadKind::Job => match RawJob::deserialize(object) {
            Ok(job) if !job.is_own() || job.is_over() => return None,
            job => job.map(Workload::reduce),
        },
        WorkloadKind::Pod => match RawPod::deserialize(object) {
            Ok(pod) if Origin::of(&pod.metadata) != Origin::Own || pod.is_over() => return None,
            pod => pod.map(RawPod::into_workload),
        },
    };
    Some(workload.map(|mut workload| {
        if workload.id.namespace.is_empty() {
            namespace.clone_into(&mut workload.id.namespace);
        }
        workload
    }))
}

/// A workload of any kind, as far as it is read.
pub trait RawWorkload {
    /// The kind.
    const KIND: WorkloadKind;
    /// What planning needs.
    fn into_parts(self) -> RawParts;
}

/// What planning needs of a workload.
#[derive(Clone, Debug, Default)]
pub struct RawParts {
    /// Its metadata.
    pub meta: ObjectMeta,
    /// The pod template.
    pub template: PodTemplate,
    /// How far its controller is with that.
    pub rollout: Rollout,
}

macro_rules! raw {
    ($name:ident, $kind:ident, $spec:ty, |$value:ident| $template:expr, $pace:expr) => {
        #[doc = concat!("A ", stringify!($kind), ", as far as it is read.")]
        #[derive(Clone, Debug, Deserialize, Resource)]
        #[resource(inherit = $kind)]
        pub struct $name {
            /// The object's metadata.
            #[serde(default, deserialize_with = "metadata::read")]
            pub metadata: ObjectMeta,
            /// The object's specification.
            #[serde(default)]
            pub spec: $spec,
            /// How far it is.
            #[serde(default)]
            pub status: RawStatus,
        }

        impl RawWorkload for $name {
            const KIND: WorkloadKind = WorkloadKind::$kind;

            fn into_parts(self) -> RawParts {
                let $value = self.spec;
                let rollout = rollout(Self::KIND, &self.metadata, $pace, &self.status);
                RawParts { meta: self.metadata, rollout, template: $template }
            }
        }
    };
}

raw!(RawDeployment, Deployment, WorkloadSpec, |spec| spec.template, &spec);
raw!(RawStatefulSet, StatefulSet, WorkloadSpec, |spec| spec.template, &spec);
raw!(RawDaemonSet, DaemonSet, WorkloadSpec, |spec| spec.template, &spec);
raw!(RawJob, Job, WorkloadSpec, |spec| spec.template, &spec);
raw!(RawCronJob, CronJob, CronJobSpec, |spec| spec.job_template.spec.template, &WorkloadSpec::default());

/// How far an object is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RawStatus {
    /// Of a Job and a Deployment.
    #[serde(default)]
    pub conditions: Option<Vec<RawCondition>>,
    /// Of a pod.
    #[serde(default)]
    pub phase: Option<String>,
    /// The generation that this is about.
    #[serde(default)]
    pub observed_generation: i64,
    /// Pods.
    #[serde(default)]
    pub replicas: i64,
    /// Pods of the template.
    #[serde(default)]
    pub updated_replicas: i64,
    /// Pods that are available.
    #[serde(default)]
    pub available_replicas: i64,
    /// Pods that a DaemonSet should have.
    #[serde(default)]
    pub desired_number_scheduled: i64,
    /// Pods of a DaemonSet's template.
    #[serde(default)]
    pub updated_number_scheduled: i64,
    /// Pods of a DaemonSet that are available.
    #[serde(default)]
    pub number_available: i64,
}

/// A condition, as far as it is read.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct RawCondition {
    /// Its type.
    #[serde(default, rename = "type")]
    pub type_: String,
    /// Whether it is true.
    #[serde(default)]
    pub status: String,
    /// Why.
    #[serde(default)]
    pub reason: String,
    /// When it was said last.
    #[serde(default, rename = "lastUpdateTime")]
    pub last_update_time: Option<Time>,
}

impl RawJob {
    /// Whether it has ended, well or not.
    pub fn is_over(&self) -> bool {
        let ends =
            |known: &RawCondition| matches!(known.type_.as_str(), "Complete" | "Failed") && known.status == "True";
        self.status.conditions.iter().flatten().any(ends)
    }

    /// Whether it is of no CronJob.
    pub fn is_own(&self) -> bool {
        let job = pods::Child::Job(self.metadata.name.clone().unwrap_or_default());
        job.parent(&self.metadata).is_none()
    }
}

/// A pod, as far as it is read.
#[derive(Clone, Debug, Deserialize)]
pub struct RawPod {
    /// The pod's metadata.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// The pod's specification.
    #[serde(default)]
    pub spec: Option<PodSpec>,
    /// How far it is.
    #[serde(default)]
    pub status: RawStatus,
}

impl RawPod {
    fn is_over(&self) -> bool {
        matches!(self.status.phase.as_deref(), Some("Succeeded" | "Failed"))
    }

    /// Reduces a pod that is nobody's.
    fn into_workload(self) -> Workload {
        let id = WorkloadId {
            namespace: self.metadata.namespace.clone().unwrap_or_default(),
            kind: WorkloadKind::Pod,
            name: self.metadata.name.clone().unwrap_or_default(),
        };
        Workload::of_pod(pods::Root { id, called: pods::called(&self.metadata) }, &self.metadata, self.spec)
    }
}

/// `spec` of Deployment, StatefulSet, DaemonSet and Job; anything odd about how it is rolled out counts as absent.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadSpec {
    /// The pod template.
    #[serde(default)]
    pub template: PodTemplate,
    /// Pods that there should be.
    #[serde(default)]
    pub replicas: Value,
    /// Whether somebody has stopped the rollout.
    #[serde(default)]
    pub paused: Value,
    /// How a StatefulSet or DaemonSet replaces pods.
    #[serde(default)]
    pub update_strategy: Value,
}

/// `spec` of CronJob.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CronJobSpec {
    /// The job template.
    #[serde(default)]
    pub job_template: JobTemplate,
}

/// `spec.jobTemplate` of CronJob.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct JobTemplate {
    /// Its specification.
    #[serde(default)]
    pub spec: WorkloadSpec,
}

/// A pod template.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct PodTemplate {
    /// Labels and annotations.
    #[serde(default)]
    pub metadata: Option<TemplateMeta>,
    /// Containers.
    #[serde(default)]
    pub spec: Option<PodSpec>,
}

/// Metadata of a pod template.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct TemplateMeta {
    /// The labels.
    #[serde(default)]
    pub labels: Option<BTreeMap<String, String>>,
    /// The annotations.
    #[serde(default)]
    pub annotations: Option<BTreeMap<String, String>>,
}

/// A pod's specification.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodSpec {
    /// The regular containers.
    #[serde(default)]
    pub containers: Option<Vec<RawContainer>>,
    /// The init containers.
    #[serde(default)]
    pub init_containers: Option<Vec<RawInitContainer>>,
    /// The volumes.
    #[serde(default)]
    pub volumes: Option<Vec<RawVolume>>,
    /// What holds for all containers that do not say otherwise.
    #[serde(default)]
    pub security_context: Option<RawSecurityContext>,
    /// The operating system.
    #[serde(default)]
    pub os: Option<RawOs>,
    /// Labels that its node must have.
    #[serde(default)]
    pub node_selector: Option<BTreeMap<String, String>>,
    /// What all containers get together; only its presence counts.
    #[serde(default)]
    pub resources: Option<serde::de::IgnoredAny>,
}

/// An operating system.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct RawOs {
    /// Its name.
    #[serde(default)]
    pub name: String,
}

/// The security context of a pod or a container.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RawSecurityContext {
    /// The user.
    #[serde(default)]
    pub run_as_user: Option<i64>,
}

/// An init container; all but the name is dropped at once, unless the operator holds it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RawInitContainer {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Its image.
    #[serde(default)]
    pub image: Value,
    /// Its command.
    #[serde(default)]
    pub command: Value,
    /// Its resources.
    #[serde(default)]
    pub resources: Value,
    /// Its security context.
    #[serde(default)]
    pub security_context: Value,
    /// Its mounts.
    #[serde(default)]
    pub volume_mounts: Option<Vec<RawMount>>,
}

/// A volume; all but the name is dropped at once, unless the operator holds it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RawVolume {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// An empty folder.
    #[serde(default)]
    pub empty_dir: Value,
}

/// A mount of a volume.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RawMount {
    /// The volume.
    #[serde(default)]
    pub name: String,
    /// Where it is.
    #[serde(default)]
    pub mount_path: String,
    /// Whether it cannot be written.
    #[serde(default)]
    pub read_only: Option<bool>,
}

/// A container.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RawContainer {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Its image.
    #[serde(default)]
    pub image: Option<String>,
    /// Its variables.
    #[serde(default)]
    pub env: Option<Vec<RawEnvVar>>,
    /// Whole sources of variables; only their presence counts.
    #[serde(default)]
    pub env_from: Option<Vec<serde::de::IgnoredAny>>,
    /// Its mounts.
    #[serde(default)]
    pub volume_mounts: Option<Vec<RawMount>>,
    /// The user that it runs as.
    #[serde(default)]
    pub security_context: Option<RawSecurityContext>,
    /// What it gets.
    #[serde(default)]
    pub resources: Option<RawResources>,
}

/// What a container gets; anything but text and numbers is left out.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct RawResources {
    /// At least.
    #[serde(default)]
    pub requests: Option<BTreeMap<String, Value>>,
    /// At most.
    #[serde(default)]
    pub limits: Option<BTreeMap<String, Value>>,
}

/// A variable of a container.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RawEnvVar {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Its plain value; dropped at once unless it is the operator's own.
    #[serde(default)]
    pub value: Option<String>,
    /// Where its value comes from.
    #[serde(default)]
    pub value_from: Option<RawEnvSource>,
}

/// Where a variable's value comes from.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RawEnvSource {
    /// A field of the pod.
    #[serde(default)]
    pub field_ref: Option<RawFieldRef>,
    /// A key of a Secret.
    #[serde(default)]
    pub secret_key_ref: Option<RawSecretKeyRef>,
}

/// A field of the pod.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RawFieldRef {
    /// Its path.
    #[serde(default)]
    pub field_path: String,
}

/// A key of a Secret.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct RawSecretKeyRef {
    /// The Secret.
    #[serde(default)]
    pub name: String,
    /// The key.
    #[serde(default)]
    pub key: String,
    /// Whether a pod may start without it.
    #[serde(default)]
    pub optional: Option<bool>,
}
