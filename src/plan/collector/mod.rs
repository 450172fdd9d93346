//! From a TracingCollector and the policies that use it to a configuration and the objects that run it. Pure.

mod compile;
mod config;
pub mod converge;
mod identity;
mod objects;
mod read;
mod revision;
pub mod rollout;
mod sampler;
mod secrets;
mod services;
mod settings;
pub mod status;
mod tail;
pub mod trouble;
mod validate;

pub use compile::{compile, rendered};
pub use identity::{IDENTITY_ROLE, has_account, identity_binding};
pub use objects::{
    CONFIGURATION_HASH, CONTAINER, OwnedObject, QUEUE_FOLDER, SAMPLER_PORT, contains, objects, selector_labels,
};
pub use read::read_collector;
pub use revision::{CONFIGURATION_KEY, POD_KEY, Revision, WORKLOAD_KEY, configuration_name, revision};
pub use sampler::{
    Effect, HeadVerdict, ResourceFacts, Rule, RuleId, Sampler, Scrubbed, Scrubber, Seen, Source, SpanAttributes,
    SpanFacts, TraceId, Value, Verdict,
};
pub use secrets::{is_sendable, secret_findings};
pub(in crate::plan) use services::participants;
pub use settings::{
    CollectorSettings, DEFAULT_VERSION, HEALTH_PORT, METRICS_PORT, allows, backend_protocol, collector_name,
    memory_limit, sampler_name, takes_metrics,
};

use crate::{api::SecretKeyRef, diagnostics::Diagnostic};

/// A tier of pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// What receives OTLP; with one replica it samples too.
    Collector,
    /// What samples behind several routers.
    Sampler,
}

impl Tier {
    /// The tier as names and labels have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Collector => "collector",
            Self::Sampler => "sampler",
        }
    }
}

/// The configuration of one tier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// The tier.
    pub tier: Tier,
    /// The collector's configuration file.
    pub text: String,
    /// The variables that it refers to.
    pub variables: Vec<HeaderVariable>,
}

/// A variable of the collector's container whose value is in a Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderVariable {
    /// The variable.
    pub name: String,
    /// Where its value is.
    pub secret: SecretKeyRef,
}

/// What a collector should be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CollectorPlan {
    /// One for each tier, that of the collector first; none where the collector is not valid or its configuration does
    /// not fit.
    pub configurations: Vec<Configuration>,
    /// Policies that export to it.
    pub policies: usize,
    /// Services that have sampling rules of a policy.
    pub services: usize,
    /// What is wrong with it beside the object alone.
    pub findings: Vec<Diagnostic>,
}
