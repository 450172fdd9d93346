//! The kinds of the API group `tracesteward.io/v1alpha1`: types, schema, CEL rules, status. Pure.
//!
//! Types are what users write; defaults and precedence are the plan's. No field has a default in the schema, so that
//! "absent" stays visible when several policies are merged.

pub mod backend;
pub mod cluster_policy;
pub mod collector;
mod crd;
pub mod patterns;
pub mod policy;
pub mod sampling;
pub mod settings;
pub mod status;
pub mod target;
pub mod values;

pub use crd::{crds, to_yaml};

pub use backend::{Backend, BackendHeader, SecretKeyRef, Signal};
pub use cluster_policy::{ClusterTracingPolicy, ClusterTracingPolicySpec, Defaults, Overrides};
pub use collector::{
    AllowedNamespaces, CollectorKeep, CollectorSampling, DisruptionBudget, FromNamespaces, Identity, Management,
    NetworkPolicySettings, Queue, QueueStorage, Receivers, Resources, Scrub, SpanMetrics, TracingCollector,
    TracingCollectorSpec,
};
pub use policy::{TracingPolicy, TracingPolicySpec};
pub use sampling::{Keep, Profile, RouteRule, Sampling, SpanMatcher, Tail};
pub use settings::{
    CollectorRef, Compression, Export, GenAi, Injection, InjectionMode, Instrumentation, Language, Limits, Logs,
    Propagator, Protocol, Rollout, SecretRef, Service, Settings,
};
pub use status::{
    Attention, CollectorEndpoints, ConfigurationState, ReplicaCounts, TracingCollectorStatus, TracingPolicyStatus,
    WorkloadCounts, condition,
};
pub use target::{LabelRequirement, LabelSelector, SelectorOperator, Target, TargetKind};
pub use values::{DurationText, Milliseconds, Quantity, Ratio};

/// The API group of all kinds here.
pub const GROUP: &str = "tracesteward.io";
/// The only version.
pub const VERSION: &str = "v1alpha1";
/// Field manager of what is injected into the users' objects.
pub const MANAGER_INJECTED: &str = "tracesteward";
/// Field manager of the operator's own objects and of the status of its own kinds.
pub const MANAGER_OWNED: &str = "tracesteward-objects";
/// The only key that is ever taken from a headers Secret: a policy cannot send any other credential to its endpoint.
pub const HEADERS_KEY: &str = "OTEL_EXPORTER_OTLP_HEADERS";

/// The annotation of a pod that says with which settings it was created, as a hash.
pub const CONFIGURATION_ANNOTATION: &str = "tracesteward.io/configuration";

/// The annotation of a pod that names the containers that were injected as it was created.
pub const CONTAINERS_ANNOTATION: &str = "tracesteward.io/injected-containers";

/// The annotation of a workload with the hash of the configuration that was taken back in it.
pub const REFUSED_ANNOTATION: &str = "tracesteward.io/refused";

/// The annotation of a workload with what its pods said when that was taken back.
pub const REFUSED_BECAUSE_ANNOTATION: &str = "tracesteward.io/refused-because";

/// The annotation of a pod template with the hash of the configuration for which its pods were restarted.
pub const RESTARTED_FOR_ANNOTATION: &str = "tracesteward.io/restarted-for";
