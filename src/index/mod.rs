//! Watch events in, a [`Snapshot`] out, and which keys an event touches. Pure.
//!
//! Only what planning needs is kept: of a workload the labels of its pod template and the variables that the operator
//! may write, with their owners; never the whole object, and never a value of the user's.

mod agent;
mod change;
mod collector;
mod collectors;
mod env;
mod ignored;
mod key;
mod live;
mod metadata;
mod owned;
mod ownership;
mod parts;
mod pods;
mod policies;
mod policy;
pub mod raw;
mod rollout;
mod snapshot;
mod state;
mod template;
mod versions;
mod workload;
mod workloads;

pub use agent::{AGENT_VOLUME, Agent};
pub use change::{Change, Dirty, Source, Versioned, Watched};
pub use collector::{Collector, CollectorId, SecretKeyId};
pub use env::{ENV_NAMES, EnvNames, EnvValue, env_name};
pub use ignored::{IGNORE, Ignored};
pub use key::{PolicyId, SecretId, WorkloadId, WorkloadKind};
pub use live::{LiveObject, MANAGED_BY, MANAGED_BY_LABEL};
pub use metadata::Bare;
pub use owned::{OwnedId, OwnedKind};
pub use parts::{Part, PartKind};
pub use pods::{Child, LivingPod, Origin, Pods, Root};
pub use policy::{Place, Policy, PolicySpec};
pub use rollout::{Notes, Refusal, Rollout};
pub use snapshot::{Contested, Fault, Namespace, PodHook, SecretState, Snapshot};
pub use state::Index;
pub use template::{NamespaceMeta, PodDefaults, TemplateFacts};
pub use workload::{Bounds, Container, EnvVar, Owner, Resources, Workload};
pub(crate) use workload::{FIELD_NODE_NAME, FIELD_POD_NAME, FIELD_VERSION_LABEL, VERSION_LABEL};
