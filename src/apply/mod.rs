//! The only place that writes: workloads by server-side apply without force, the objects of collectors, the
//! status of the operator's own kinds, Events.

mod admission;
mod events;
mod leadership;
mod lease;
mod owned;
mod pods;
mod writer;

use std::fmt::Debug;

use kube::{
    Api, Resource,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    api::{
        ClusterTracingPolicy, GROUP, MANAGER_INJECTED, MANAGER_OWNED, TracingCollector, TracingCollectorStatus,
        TracingPolicy, TracingPolicyStatus, VERSION,
    },
    index::{
        Change, Collector, Fault, Policy, Workload, WorkloadKind,
        raw::{RawCronJob, RawDaemonSet, RawDeployment, RawStatefulSet, RawWorkload},
    },
    watch::{cluster_policy_from, collector_from, policy_from, workload_from},
};

pub use admission::{apply_authority, apply_configuration, delete_configuration};
pub use events::{Announcement, Events};
pub use leadership::{Leadership, Mandate, leadership, now};
pub use lease::Leases;
pub use owned::{Applied, apply_binding, apply_owned, delete_owned};
pub use pods::delete_pod;
use writer::NotLeading;
pub use writer::Writer;

/// Why a write did not go through.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Another manager holds one of the fields, or the object was made anew.
    #[error("another field manager holds a field, or the object was made anew: {0}")]
    Conflict(String),
    /// An object that somebody else made has the name of one that a collector needs.
    #[error("{0} exists already and was not made for this collector: it is left alone; rename one of the two")]
    NameTaken(String),
    /// An object of the cluster that somebody else made has a name that the operator needs.
    #[error(
        "{0} exists already and was not made by the operator: it is left alone; delete it, or set --manage-admission=false"
    )]
    Foreign(String),
    /// An object of a collector of the same name that was deleted is still there.
    #[error("{0} of an earlier collector of this name is still to be removed by the garbage collector")]
    Predecessor(String),
    /// The object is gone.
    #[error("the object is gone")]
    Gone,
    /// The API server refuses what was sent.
    #[error("the API server refuses the change: {0}")]
    Refused(String),
    /// The operator has no right to write, or an admission webhook said no.
    #[error("the API server does not allow the change: {0}")]
    Forbidden(String),
    /// The API server did not answer, or not in time.
    #[error("the API server does not answer: {0}")]
    Unavailable(String),
    /// Another process leads by now, or may do so: it writes what is to be written.
    #[error("this process does not lead")]
    NotLeading,
}

impl ApplyError {
    /// One CamelCase word for statuses, metrics and events.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Conflict(_) => "Conflict",
            Self::NameTaken(_) | Self::Foreign(_) => "NameTaken",
            Self::Predecessor(_) => "PredecessorGoing",
            Self::Gone => "Gone",
            Self::Refused(_) => "Refused",
            Self::Forbidden(_) => "Forbidden",
            Self::Unavailable(_) => "Unavailable",
            Self::NotLeading => "NotLeading",
        }
    }

    /// The failure as the index keeps it.
    pub fn fault(&self) -> Fault {
        Fault { reason: self.reason().to_owned(), message: self.to_string() }
    }
}

impl From<kube::Error> for ApplyError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => match status.code {
                404 => Self::Gone,
                409 => Self::Conflict(status.message),
                403 => Self::Forbidden(status.message),
                400 | 422 => Self::Refused(status.message),
                _ => Self::Unavailable(status.message),
            },
            kube::Error::Service(error) if error.is::<NotLeading>() => Self::NotLeading,
            other => Self::Unavailable(other.to_string()),
        }
    }
}

/// Why Jobs and pods are not written.
const IMMUTABLE: &str = "the pod template of a Job and a pod cannot be changed";

/// Whether a patch carries nothing but the operator's own annotations. `kubectl rollout undo` makes itself their owner, and nobody else
/// means anything by them.
fn is_notes_alone(kind: WorkloadKind, patch: &Value) -> bool {
    let mut steps = kind.template_path().iter().chain(&["spec"]);
    steps.try_fold(patch, |place, step| place.get(step)).is_none()
}

/// By force, which is for [`is_notes_alone`].
fn notes_taken_back(params: PatchParams) -> PatchParams {
    params.force()
}

/// Applies the operator's whole intent for a workload. Never forced, unless somebody holds one of its own annotations: what somebody else holds stays theirs.
///
/// # Errors
/// See [`ApplyError`].
pub async fn apply_workload(writer: &Writer, workload: &Workload, patch: &Value) -> Result<Change, ApplyError> {
    let (written, version) = match workload.id.kind {
        WorkloadKind::Deployment => apply::<RawDeployment>(writer, workload, patch).await?,
        WorkloadKind::StatefulSet => apply::<RawStatefulSet>(writer, workload, patch).await?,
        WorkloadKind::DaemonSet => apply::<RawDaemonSet>(writer, workload, patch).await?,
        WorkloadKind::CronJob => apply::<RawCronJob>(writer, workload, patch).await?,
        // Never planned: what is in their pods came with them.
        WorkloadKind::Job | WorkloadKind::Pod => return Err(ApplyError::Refused(IMMUTABLE.to_owned())),
    };
    Ok(Change::Written(written, version))
}

async fn apply<R>(writer: &Writer, workload: &Workload, patch: &Value) -> Result<(Workload, Option<u64>), kube::Error>
where
    R: RawWorkload + Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    R: Clone + Debug + DeserializeOwned,
{
    let api: Api<R> = Api::namespaced(writer.client(), &workload.id.namespace);
    let params = PatchParams::apply(MANAGER_INJECTED);
    let written = match api.patch(&workload.id.name, &params, &Patch::Apply(patch)).await {
        Err(kube::Error::Api(status)) if status.code == 409 && is_notes_alone(workload.id.kind, patch) => {
            api.patch(&workload.id.name, &notes_taken_back(params), &Patch::Apply(patch)).await?
        }
        written => written?,
    };
    Ok(workload_from(written))
}

/// Writes a policy's status.
///
/// # Errors
/// See [`ApplyError`].
pub async fn apply_status(
    writer: &Writer,
    policy: &Policy,
    status: &TracingPolicyStatus,
) -> Result<Change, ApplyError> {
    let metadata = json!({"name": policy.id.name, "namespace": policy.id.namespace, "uid": policy.uid});
    let (policy, version) = if policy.id.is_cluster() {
        let metadata = json!({"name": policy.id.name, "uid": policy.uid});
        cluster_policy_from(&write_status::<ClusterTracingPolicy, _>(writer, metadata, status).await?)
    } else {
        policy_from(&write_status::<TracingPolicy, _>(writer, metadata, status).await?)
    };
    Ok(Change::PolicyWritten(policy, version))
}

/// Writes a collector's status.
///
/// # Errors
/// See [`ApplyError`].
pub async fn apply_collector_status(
    writer: &Writer,
    collector: &Collector,
    status: &TracingCollectorStatus,
) -> Result<Change, ApplyError> {
    let metadata = json!({"name": collector.id.name, "namespace": collector.id.namespace, "uid": collector.uid});
    let written = write_status::<TracingCollector, _>(writer, metadata, status).await?;
    let (collector, version) = collector_from(&written);
    Ok(Change::CollectorWritten(collector, version))
}

/// Forced: the operator is the only writer of the status of its own kinds.
async fn write_status<K, S>(writer: &Writer, metadata: Value, status: &S) -> Result<DynamicObject, kube::Error>
where
    K: Resource<DynamicType = ()>,
    S: Serialize + Debug,
{
    let text = |field: &str| metadata.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let resource = ApiResource::erase::<K>(&());
    let api: Api<DynamicObject> = match text("namespace").as_str() {
        "" => Api::all_with(writer.client(), &resource),
        namespace => Api::namespaced_with(writer.client(), namespace, &resource),
    };
    let (name, kind) = (text("name"), K::kind(&()));
    let patch = StatusPatch { api_version: format!("{GROUP}/{VERSION}"), kind: &kind, metadata, status };
    let params = PatchParams::apply(MANAGER_OWNED).force();
    api.patch_status(&name, &params, &Patch::Apply(patch)).await
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct StatusPatch<'a, S> {
    api_version: String,
    kind: &'a str,
    metadata: Value,
    status: &'a S,
}
