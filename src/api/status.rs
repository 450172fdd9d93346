//! What the operator says about a policy. Nothing in it comes from a clock, apart from `lastTransitionTime`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The observed state of a TracingPolicy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TracingPolicyStatus {
    /// The generation of the policy that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Accepted`, `ResolvedRefs`, `Programmed`, the summary `Ready`; `Reconciling` and `Stalled` only while true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// How many workloads the policy is about, and how they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workloads: Option<WorkloadCounts>,
    /// At most 16 workloads that somebody should look at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub attention: Vec<Attention>,
}

/// Workloads of a policy, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadCounts {
    /// Selected by the policy's targets.
    pub matched: i64,
    /// Carrying exactly what the policy says.
    pub injected: i64,
    /// To be written.
    pub pending: i64,
    /// Selected, but another policy won.
    pub superseded: i64,
    /// Carrying some variable of their own that the policy would set.
    pub overridden: i64,
    /// With pods that do not have the settings in force (Pod mode, Jobs, pods).
    pub stale: i64,
    /// Whose injection was withdrawn because it broke the rollout.
    pub reverted: i64,
}

/// A workload that somebody should look at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Attention {
    /// The workload's kind.
    pub kind: String,
    /// The workload's name.
    pub name: String,
    /// Why, as one CamelCase word.
    pub reason: String,
    /// Why, in words.
    pub message: String,
}

/// The observed state of a TracingCollector.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TracingCollectorStatus {
    /// The generation of the collector that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Accepted`, `ResolvedRefs`, `Programmed`, the summary `Ready`; `Reconciling` and `Stalled` only while true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Where workloads send their spans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<CollectorEndpoints>,
    /// Which configuration is meant, and which one runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configuration: Option<ConfigurationState>,
    /// The pods that receive OTLP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<ReplicaCounts>,
    /// Policies that export to this collector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policies: Option<i64>,
    /// Services that have sampling rules of a policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub services: Option<i64>,
}

/// Where workloads send their spans.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CollectorEndpoints {
    /// OTLP over gRPC.
    pub grpc: String,
    /// OTLP over HTTP.
    pub http: String,
}

/// Configurations of a collector, by the hash of their content.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigurationState {
    /// What the collector and its policies ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired: Option<String>,
    /// What the collector's pods are to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<String>,
    /// What was taken back, because pods did not become ready with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// Pods of a collector, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaCounts {
    /// That should be there.
    pub desired: i64,
    /// That are ready.
    pub ready: i64,
}

/// The types of the conditions.
#[allow(missing_docs, reason = "each constant is its own documentation")]
pub mod condition {
    pub const ACCEPTED: &str = "Accepted";
    pub const RESOLVED_REFS: &str = "ResolvedRefs";
    pub const PROGRAMMED: &str = "Programmed";
    pub const READY: &str = "Ready";
    pub const RECONCILING: &str = "Reconciling";
    pub const STALLED: &str = "Stalled";
    pub const ALL: [&str; 6] = [ACCEPTED, RESOLVED_REFS, PROGRAMMED, READY, RECONCILING, STALLED];
}
