//! Identities of the objects that are watched.

use std::fmt;

use crate::{api::TargetKind, diagnostics::ObjectId};

/// The kinds of workloads that are traced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WorkloadKind {
    /// apps/v1 Deployment.
    Deployment,
    /// apps/v1 StatefulSet.
    StatefulSet,
    /// apps/v1 DaemonSet.
    DaemonSet,
    /// batch/v1 CronJob.
    CronJob,
    /// batch/v1 Job, of no CronJob.
    Job,
    /// v1 Pod, of none of the others.
    Pod,
}

impl WorkloadKind {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Deployment, Self::StatefulSet, Self::DaemonSet, Self::CronJob, Self::Job, Self::Pod];

    /// Those whose pod template the operator can write. The template of a Job is immutable, and so are pods.
    pub const WRITABLE: [Self; 4] = [Self::Deployment, Self::StatefulSet, Self::DaemonSet, Self::CronJob];

    /// Whether the operator can write its pod template.
    pub const fn is_writable(self) -> bool {
        !self.target().comes_and_goes()
    }

    /// The kind's name.
    pub const fn as_str(self) -> &'static str {
        self.target().as_str()
    }

    /// The API version that is read and written.
    pub const fn api_version(self) -> &'static str {
        match self {
            Self::Deployment | Self::StatefulSet | Self::DaemonSet => "apps/v1",
            Self::CronJob | Self::Job => "batch/v1",
            Self::Pod => "v1",
        }
    }

    /// The kind as a policy's target names it.
    pub const fn target(self) -> TargetKind {
        match self {
            Self::Deployment => TargetKind::Deployment,
            Self::StatefulSet => TargetKind::StatefulSet,
            Self::DaemonSet => TargetKind::DaemonSet,
            Self::CronJob => TargetKind::CronJob,
            Self::Job => TargetKind::Job,
            Self::Pod => TargetKind::Pod,
        }
    }

    /// The resource attribute that names a workload of this kind (OpenTelemetry semantic conventions, k8s); none for pods, which
    /// every workload has.
    pub const fn attribute(self) -> Option<&'static str> {
        match self {
            Self::Deployment => Some("k8s.deployment.name"),
            Self::StatefulSet => Some("k8s.statefulset.name"),
            Self::DaemonSet => Some("k8s.daemonset.name"),
            Self::CronJob => Some("k8s.cronjob.name"),
            Self::Job => Some("k8s.job.name"),
            Self::Pod => None,
        }
    }

    /// The fields that lead from the object to its pod template.
    pub const fn template_path(self) -> &'static [&'static str] {
        match self {
            Self::Deployment | Self::StatefulSet | Self::DaemonSet | Self::Job => &["spec", "template"],
            Self::CronJob => &["spec", "jobTemplate", "spec", "template"],
            Self::Pod => &[],
        }
    }

    /// The kind with this name and API version, if it is one of these.
    pub fn parse(api_version: &str, kind: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == kind && known.api_version() == api_version)
    }
}

impl fmt::Display for WorkloadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A workload.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkloadId {
    /// Its namespace.
    pub namespace: String,
    /// Its kind.
    pub kind: WorkloadKind,
    /// Its name.
    pub name: String,
}

impl WorkloadId {
    /// The workload as diagnostics name it.
    pub fn object(&self) -> ObjectId {
        ObjectId { kind: self.kind.as_str().to_owned(), namespace: self.namespace.clone(), name: self.name.clone() }
    }
}

impl fmt::Display for WorkloadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// A TracingPolicy, or a ClusterTracingPolicy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyId {
    /// Its namespace; empty for a ClusterTracingPolicy.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl PolicyId {
    /// The policy as diagnostics name it.
    pub fn object(&self) -> ObjectId {
        ObjectId { kind: self.kind().to_owned(), namespace: self.namespace.clone(), name: self.name.clone() }
    }

    /// The ClusterTracingPolicy of this name.
    pub fn of_cluster(name: impl Into<String>) -> Self {
        Self { namespace: String::new(), name: name.into() }
    }

    /// Whether this is a ClusterTracingPolicy.
    pub const fn is_cluster(&self) -> bool {
        self.namespace.is_empty()
    }

    /// The kind.
    pub const fn kind(&self) -> &'static str {
        if self.is_cluster() { "ClusterTracingPolicy" } else { "TracingPolicy" }
    }

    /// Kind and name, for a reader who knows the namespace.
    pub fn described(&self) -> String {
        format!("{} {}", self.kind(), self.name)
    }
}

impl fmt::Display for PolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_cluster() { f.write_str(&self.name) } else { write!(f, "{}/{}", self.namespace, self.name) }
    }
}

/// A Secret that a policy refers to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretId {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}
