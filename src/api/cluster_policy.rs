//! ClusterTracingPolicy: the platform's defaults and limits.
#![allow(unreachable_pub, reason = "KubeSchema expands to a shadow type inside a function")]

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{
    patterns,
    settings::Settings,
    status::TracingPolicyStatus,
    target::{LabelSelector, Target},
};
use crate::diagnostics::Code;

/// What the platform sets for the workloads of many namespaces: defaults that teams may change, and overrides that they
/// may not.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "tracesteward.io",
    version = "v1alpha1",
    kind = "ClusterTracingPolicy",
    plural = "clustertracingpolicies",
    shortname = "ctrp",
    category = "tracing",
    status = "TracingPolicyStatus",
    derive = "PartialEq",
    doc = "Sets defaults and overrides for how the workloads of many namespaces are traced.",
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name":"Matched","type":"integer","jsonPath":".status.workloads.matched"}"#,
    printcolumn = r#"{"name":"Injected","type":"integer","jsonPath":".status.workloads.injected"}"#,
    printcolumn = r#"{"name":"Message","type":"string","priority":1,"jsonPath":".status.conditions[?(@.type==\"Ready\")].message"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct ClusterTracingPolicySpec {
    /// The namespaces, by their labels. Absent: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// The workloads of these namespaces; any target may match. Absent or empty: every supported workload.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub targets: Vec<Target>,
    /// Between ClusterTracingPolicies the higher one wins; 0 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1_000_000_000, max = 1_000_000_000))]
    pub priority: Option<i32>,
    /// What holds where no TracingPolicy says otherwise, also where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub defaults: Option<Defaults>,
    /// What holds whatever a TracingPolicy says, for workloads that a policy or a default selects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overrides: Option<Overrides>,
}

/// `enabled` needs an export in the same block, so that it can be judged by itself; and an export, which is taken as a whole,
/// needs to say where.
const ENABLED_RULE: &str = "has(self.export) ? (has(self.export.endpoint) && self.export.endpoint != '') || has(self.export.collectorRef) || (has(self.export.inherit) && self.export.inherit) : !has(self.enabled) || !self.enabled";
const SECRET_RULE: &str =
    "!has(self.enabled) || self.enabled || !has(self.export) || !has(self.export.headersSecretRef)";
const PYTHON_RULE: &str = "!(has(self.instrumentation) && has(self.language) && self.language == 'python' && has(self.export) && has(self.export.protocol) && self.export.protocol == 'grpc')";
/// The language may come from a TracingPolicy.
const LANGUAGE_RULE: &str =
    "!has(self.instrumentation) || !has(self.language) || self.language in ['python', 'java', 'nodejs', 'dotnet']";
const NAME_RULE: &str = "!has(self.service) || !has(self.service.name)";

/// Settings that a TracingPolicy may replace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(ENABLED_RULE).message(Code::TRC0101.rule_message()))]
#[x_kube(validation = Rule::new(SECRET_RULE).message(Code::TRC0102.rule_message()))]
#[x_kube(validation = Rule::new(PYTHON_RULE).message(Code::TRC0118.rule_message()))]
#[x_kube(validation = Rule::new(LANGUAGE_RULE).message(Code::TRC0119.rule_message()))]
#[x_kube(validation = Rule::new(NAME_RULE).message(Code::TRC0134.rule_message()))]
pub struct Defaults {
    /// Whether workloads are traced that no TracingPolicy is about. Absent: they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// How workloads are traced.
    #[serde(flatten)]
    pub settings: Settings,
}

/// Settings that no TracingPolicy can replace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(ENABLED_RULE).message(Code::TRC0101.rule_message()))]
#[x_kube(validation = Rule::new(SECRET_RULE).message(Code::TRC0102.rule_message()))]
#[x_kube(validation = Rule::new(PYTHON_RULE).message(Code::TRC0118.rule_message()))]
#[x_kube(validation = Rule::new(LANGUAGE_RULE).message(Code::TRC0119.rule_message()))]
#[x_kube(validation = Rule::new(NAME_RULE).message(Code::TRC0134.rule_message()))]
#[x_kube(validation = Rule::new("!has(self.export) || !has(self.export.inherit) || !self.export.inherit").message(Code::TRC0135.rule_message()))]
#[x_kube(validation = Rule::new(format!(
    "!has(self.allowedEndpointHosts) || self.allowedEndpointHosts.all(host, host.matches('{}'))",
    patterns::HOST_PATTERN.replace('\\', "\\\\")
)).message(Code::TRC0137.rule_message()))]
pub struct Overrides {
    /// False: nothing of what is selected is traced, whatever a TracingPolicy says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// The hosts that TracingPolicies may name in `export.endpoint`: a name, or `*.` and the end of names. Absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253)))]
    pub allowed_endpoint_hosts: Option<Vec<String>>,
    /// How workloads are traced.
    #[serde(flatten)]
    pub settings: Settings,
}

impl Overrides {
    /// Whether TracingPolicies may send to this host. Letters of either case are the same.
    pub fn allows_host(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        self.allowed_endpoint_hosts.as_ref().is_none_or(|allowed| {
            allowed.iter().map(|pattern| pattern.to_ascii_lowercase()).any(|pattern| match pattern.strip_prefix('*') {
                Some(end) => host.len() > end.len() && host.ends_with(end),
                None => pattern == host,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_compared_whole_or_by_their_end() {
        let allowed = vec!["otel.example.com".to_owned(), "*.observability.svc".to_owned()];
        let overrides = Overrides { allowed_endpoint_hosts: Some(allowed), ..Overrides::default() };
        for host in ["otel.example.com", "OTEL.example.com", "a.observability.svc", "a.b.observability.svc"] {
            assert!(overrides.allows_host(host), "{host}");
        }
        for host in
            ["example.com", "x.otel.example.com", "observability.svc", ".observability.svc", "evilobservability.svc"]
        {
            assert!(!overrides.allows_host(host), "{host}");
        }
        assert!(Overrides::default().allows_host("anything"));
        let none = Overrides { allowed_endpoint_hosts: Some(Vec::new()), ..Overrides::default() };
        assert!(!none.allows_host("anything"));
    }
}
