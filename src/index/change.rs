//! What can happen, and what it touches.

use std::collections::BTreeSet;

use super::{
    Child, Collector, CollectorId, Contested, Fault, LiveObject, LivingPod, NamespaceMeta, OwnedId, OwnedKind, PodHook,
    Policy, PolicyId, SecretId, SecretKeyId, SecretState, Workload, WorkloadId, WorkloadKind,
};

/// What is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Watched {
    /// TracingPolicies.
    Policies,
    /// ClusterTracingPolicies.
    ClusterPolicies,
    /// TracingCollectors.
    Collectors,
    /// Namespaces: their metadata alone.
    Namespaces,
    /// Workloads of a kind.
    Workloads(WorkloadKind),
    /// ReplicaSets: whose they are.
    ReplicaSets,
    /// Jobs: whose they are.
    JobOwners,
    /// Pods that have not ended: their metadata.
    Pods,
    /// Objects of a kind that the operator made for collectors.
    Owned(OwnedKind),
}

impl Watched {
    /// What is watched, as probes and logs name it.
    pub fn name(self) -> String {
        match self {
            Self::Policies => "tracingpolicies.tracesteward.io".to_owned(),
            Self::ClusterPolicies => "clustertracingpolicies.tracesteward.io".to_owned(),
            Self::Collectors => "tracingcollectors.tracesteward.io".to_owned(),
            Self::Namespaces => "Namespace".to_owned(),
            Self::Workloads(kind) => kind.as_str().to_owned(),
            Self::ReplicaSets => "ReplicaSet".to_owned(),
            Self::JobOwners => "Job (owners)".to_owned(),
            Self::Pods => "Pod".to_owned(),
            Self::Owned(kind) => format!("{} (the operator's own)", kind.as_str()),
        }
    }
}

/// A stream of events: one kind of object, in one namespace or in all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source {
    /// What is watched.
    pub watched: Watched,
    /// The namespace; `None` for all.
    pub namespace: Option<String>,
}

impl Source {
    pub(super) fn covers(&self, namespace: &str) -> bool {
        self.namespace.as_deref().is_none_or(|own| own == namespace)
    }
}

/// An object with its resource version.
pub type Versioned<T> = (T, Option<u64>);

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum Change {
    /// A policy was added or modified; its resource version.
    Policy(Policy, Option<u64>),
    /// The answer to a write of a policy's status: makes older events of it stale, and counts only where nothing newer is known.
    PolicyWritten(Policy, Option<u64>),
    /// A policy is gone.
    PolicyGone(PolicyId),
    /// All policies of a source.
    Policies(Source, Vec<Versioned<Policy>>),
    /// A workload was added or modified; its resource version.
    Workload(Workload, Option<u64>),
    /// The answer to a write of a workload: makes older events of it stale, and counts only where nothing newer is known.
    Written(Workload, Option<u64>),
    /// A workload is gone.
    WorkloadGone(WorkloadId),
    /// All workloads of a source.
    Workloads(Source, Vec<Versioned<Workload>>),
    /// A pod was added or modified.
    Pod(Box<LivingPod>),
    /// A pod of this namespace is gone, or has ended.
    PodGone(String, String),
    /// All pods of a source.
    Pods(Source, Vec<LivingPod>),
    /// What a workload of this namespace makes was added or modified: whose it is.
    Child(String, Child, Option<WorkloadId>),
    /// What a workload made is gone.
    ChildGone(String, Child),
    /// All of what workloads make, of a source.
    Children(Source, Vec<(String, Child, Option<WorkloadId>)>),
    /// Where the API server asks about pods.
    Hook(PodHook),
    /// A collector was added or modified; its resource version.
    Collector(Collector, Option<u64>),
    /// The answer to a write of a collector's status, as for policies.
    CollectorWritten(Collector, Option<u64>),
    /// A collector is gone.
    CollectorGone(CollectorId),
    /// All collectors of a source.
    Collectors(Source, Vec<Versioned<Collector>>),
    /// A namespace was added or modified.
    Namespace(String, NamespaceMeta),
    /// A namespace is gone.
    NamespaceGone(String),
    /// All namespaces.
    Namespaces(Source, Vec<(String, NamespaceMeta)>),
    /// An object that was made for a collector was added or modified.
    Owned(LiveObject),
    /// The answer to a write of such an object, as for workloads.
    OwnedWritten(LiveObject),
    /// Such an object is gone: the one with this uid, where it is known, and no other of its name.
    OwnedGone(OwnedId, Option<String>),
    /// The answer to a write of such an object was not what was sent.
    Contested(OwnedId, Contested),
    /// All of them of a source.
    AllOwned(Source, Vec<LiveObject>),
    /// A Secret was looked at.
    Secret(SecretId, SecretState),
    /// Nobody needs a Secret any more: what was known of it grows old.
    SecretUnused(SecretId),
    /// A key of a Secret was looked at.
    SecretKey(SecretKeyId, SecretState),
    /// A write failed.
    Failed(WorkloadId, Fault),
    /// A collector's objects could not be written; `None`: they could, or nothing had to be.
    CollectorFault(CollectorId, Option<Fault>),
    /// What pods of a collector say that are not ready; `None`: nothing, or they are.
    Trouble(CollectorId, Option<String>),
    /// The binding that lets collectors look up senders could not be written; `None`: all is well.
    IdentityFault(Option<Fault>),
}

/// What has to be looked at again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dirty {
    /// Workloads whose plan may have changed.
    pub workloads: BTreeSet<WorkloadId>,
    /// Workloads whose plan is the same, and about which there may be something else to say.
    pub reports: BTreeSet<WorkloadId>,
    /// Workloads that may be written now, as far as others that are replacing pods are concerned.
    pub starts: BTreeSet<WorkloadId>,
    /// Workloads of which it is to be seen whether their new pods run.
    pub checks: BTreeSet<WorkloadId>,
    /// Workloads whose rollouts others wait for, whoever has begun them.
    pub holders: BTreeSet<WorkloadId>,
    /// Policies whose status may have changed.
    pub policies: BTreeSet<PolicyId>,
    /// Secrets that are to be looked at.
    pub secrets: BTreeSet<SecretId>,
    /// Collectors whose objects may have to change, and their status with them.
    pub collectors: BTreeSet<CollectorId>,
    /// Collectors of which the status alone may have changed.
    pub collector_statuses: BTreeSet<CollectorId>,
    /// Keys of Secrets that are to be looked at.
    pub keys: BTreeSet<SecretKeyId>,
    /// Whether what admission needs in the cluster may have to change.
    pub admission: bool,
    /// Whether the binding that lets collectors look up senders may have to change.
    pub identity: bool,
}
