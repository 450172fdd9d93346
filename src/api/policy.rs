//! TracingPolicy: a team says how its workloads are traced.
#![allow(unreachable_pub, reason = "KubeSchema expands to a shadow type inside a function")]

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{settings::Settings, status::TracingPolicyStatus, target::Target};
use crate::diagnostics::Code;

/// How the workloads of this namespace are traced. Cilium Tetragon has a kind of the same name: where both are
/// installed, use the full name `tracingpolicies.tracesteward.io` or the short name `trp`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "tracesteward.io",
    version = "v1alpha1",
    kind = "TracingPolicy",
    plural = "tracingpolicies",
    shortname = "trp",
    category = "tracing",
    namespaced,
    status = "TracingPolicyStatus",
    derive = "PartialEq",
    doc = "Says how the workloads of its namespace are traced.",
    printcolumn = r#"{"name":"Enabled","type":"boolean","jsonPath":".spec.enabled"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name":"Matched","type":"integer","jsonPath":".status.workloads.matched"}"#,
    printcolumn = r#"{"name":"Injected","type":"integer","jsonPath":".status.workloads.injected"}"#,
    printcolumn = r#"{"name":"Ratio","type":"number","jsonPath":".spec.sampling.ratio"}"#,
    printcolumn = r#"{"name":"Endpoint","type":"string","priority":1,"jsonPath":".spec.export.endpoint"}"#,
    printcolumn = r#"{"name":"Message","type":"string","priority":1,"jsonPath":".status.conditions[?(@.type==\"Ready\")].message"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "!self.enabled || (has(self.export) && ((has(self.export.endpoint) && self.export.endpoint != '') || has(self.export.collectorRef) || (has(self.export.inherit) && self.export.inherit)))"
).message(Code::TRC0101.rule_message()))]
#[x_kube(validation = Rule::new(
    "self.enabled || !has(self.export) || !has(self.export.headersSecretRef)"
).message(Code::TRC0102.rule_message()))]
#[x_kube(validation = Rule::new(
    "!(has(self.instrumentation) && has(self.language) && self.language == 'python' && has(self.export) && has(self.export.protocol) && self.export.protocol == 'grpc')"
).message(Code::TRC0118.rule_message()))]
#[x_kube(validation = Rule::new(
    "!has(self.instrumentation) || (has(self.language) && self.language in ['python', 'java', 'nodejs', 'dotnet'])"
).message(Code::TRC0119.rule_message()))]
pub struct TracingPolicySpec {
    /// Whether the selected workloads are traced. False withdraws every field that the operator owns in them.
    pub enabled: bool,
    /// Between policies of equal specificity the higher one wins; 0 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1_000_000_000, max = 1_000_000_000))]
    pub priority: Option<i32>,
    /// The workloads; any target may match. Absent or empty: every supported workload of the namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub targets: Vec<Target>,
    /// How they are traced.
    #[serde(flatten)]
    pub settings: Settings,
}
