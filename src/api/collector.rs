//! TracingCollector: the platform's collector, and what it does to spans.
#![allow(unreachable_pub, reason = "KubeSchema expands to a shadow type inside a function")]

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{LocalObjectReference, Toleration};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    backend::Backend,
    patterns,
    status::TracingCollectorStatus,
    target::LabelSelector,
    values::{DurationText, Milliseconds, Quantity, Ratio},
};
use crate::diagnostics::Code;

/// A collector of the platform: who may send to it, which traces it keeps, what it takes out of spans, where it sends them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "tracesteward.io",
    version = "v1alpha1",
    kind = "TracingCollector",
    plural = "tracingcollectors",
    shortname = "trc",
    category = "tracing",
    namespaced,
    status = "TracingCollectorStatus",
    derive = "PartialEq",
    doc = "An OpenTelemetry Collector of the platform, with its sampling, scrubbing and backends.",
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name":"Replicas","type":"integer","jsonPath":".status.replicas.ready"}"#,
    printcolumn = r#"{"name":"Policies","type":"integer","jsonPath":".status.policies"}"#,
    printcolumn = r#"{"name":"Version","type":"string","jsonPath":".spec.version"}"#,
    printcolumn = r#"{"name":"Configuration","type":"string","jsonPath":".status.configuration.live"}"#,
    printcolumn = r#"{"name":"Management","type":"string","priority":1,"jsonPath":".spec.management"}"#,
    printcolumn = r#"{"name":"Message","type":"string","priority":1,"jsonPath":".status.conditions[?(@.type==\"Ready\")].message"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "has(self.backends) && self.backends.exists(backend, !has(backend.signals) || 'traces' in backend.signals)"
).message(Code::TRC0601.rule_message()))]
#[x_kube(validation = Rule::new(format!("!has(self.version) || self.version.matches('{}')", patterns::COLLECTOR_VERSION)).message(Code::TRC0602.rule_message()))]
#[x_kube(validation = Rule::new(
    "!has(self.backends) || self.backends.all(backend, self.backends.exists_one(other, other.name == backend.name))"
).message(Code::TRC0603.rule_message()))]
#[x_kube(validation = Rule::new(
    "!(has(self.management) && self.management == 'ConfigOnly' && has(self.queue) && has(self.queue.storage))"
).message(Code::TRC0613.rule_message()))]
pub struct TracingCollectorSpec {
    /// The namespaces whose policies may use this collector; its own where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_namespaces: Option<AllowedNamespaces>,
    /// Whether the operator runs the collector, or only writes its configuration; Managed where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub management: Option<Management>,
    /// The version of the OpenTelemetry Collector: names and semantics of the configuration follow it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub version: Option<String>,
    /// The image; the contrib distribution of `version` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub image: Option<String>,
    /// Pods of each tier. Above 1 there are two tiers: routers that send all spans of a trace to the same sampler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub replicas: Option<i32>,
    /// Requests and limits of each pod; limits the memory to 1Gi where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Where OTLP is received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receivers: Option<Receivers>,
    /// Which traces are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampling: Option<CollectorSampling>,
    /// How the collector knows whose a span is; Attributes where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// What is taken out of spans before anything else sees them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scrub: Option<Scrub>,
    /// Metrics of all spans, taken before sampling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span_metrics: Option<SpanMetrics>,
    /// Where kept traces go; at least one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub backends: Vec<Backend>,
    /// What waits to be sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<Queue>,
    /// Limits how many pods a drain may take at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_disruption_budget: Option<DisruptionBudget>,
    /// Limits who may connect to the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_policy: Option<NetworkPolicySettings>,
    /// Labels of the nodes that pods may run on.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub node_selector: BTreeMap<String, String>,
    /// Taints of nodes that pods tolerate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub tolerations: Vec<Toleration>,
    /// Secrets with credentials for the image's registry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub image_pull_secrets: Vec<LocalObjectReference>,
}

/// The namespaces whose policies may use a collector, as Gateway API says it of Routes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "(has(self.from) && self.from == 'Selector') == has(self.selector)"
).message(Code::TRC0604.rule_message()))]
pub struct AllowedNamespaces {
    /// Same where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<FromNamespaces>,
    /// Labels of the namespaces, with `from: Selector`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// Which namespaces are allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum FromNamespaces {
    /// The collector's own.
    #[default]
    Same,
    /// All.
    All,
    /// Those that the selector selects.
    Selector,
}

/// Who runs the collector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Management {
    /// The operator.
    #[default]
    Managed,
    /// Somebody else: the operator writes the ConfigMap alone.
    ConfigOnly,
}

/// Requests and limits of each pod of the collector.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "!has(self.limits) || !('memory' in self.limits) || (type(self.limits['memory']) == string ? !isQuantity(self.limits['memory']) || !quantity(self.limits['memory']).isLessThan(quantity('64Mi')) || quantity(self.limits['memory']).isLessThan(quantity('0')) : int(self.limits['memory']) < 0 || int(self.limits['memory']) >= 67108864)"
).message(Code::TRC0616.rule_message()))]
pub struct Resources {
    /// The most that a pod may use. The memory limit decides the collector's own limits too.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub limits: BTreeMap<String, Quantity>,
    /// What a pod gets for certain.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub requests: BTreeMap<String, Quantity>,
}

/// Where OTLP is received. 8888 (metrics) and 13133 (health) are taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "(has(self.grpcPort) ? self.grpcPort : 4317) != (has(self.httpPort) ? self.httpPort : 4318) && !(has(self.grpcPort) && self.grpcPort in [8888, 13133]) && !(has(self.httpPort) && self.httpPort in [8888, 13133])"
).message(Code::TRC0607.rule_message()))]
pub struct Receivers {
    /// OTLP over gRPC; 4317 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1024, max = 65535))]
    pub grpc_port: Option<i32>,
    /// OTLP over HTTP; 4318 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1024, max = 65535))]
    pub http_port: Option<i32>,
}

/// Which traces a collector keeps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(format!("!has(self.decisionWait) || !self.decisionWait.matches('{}') || duration(self.decisionWait) <= duration('15m')", patterns::DURATION)).message(Code::TRC0618.rule_message()))]
pub struct CollectorSampling {
    /// The share of traces that is kept of services whose policy says nothing else; 1 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline_ratio: Option<Ratio>,
    /// Traces that are kept whatever the ratios say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<CollectorKeep>,
    /// How long spans of a trace are waited for, from its first span on; whole seconds, 10s where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision_wait: Option<DurationText>,
    /// Traces that are undecided at a time, in each pod; beyond, the oldest are lost. 50000 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub traces_in_memory: Option<i32>,
}

/// Traces that a collector keeps whatever the ratios say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.services) || self.services.all(name, !name.contains('${'))").message(Code::TRC0131.rule_message()))]
pub struct CollectorKeep {
    /// Traces with a span of status error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors: Option<bool>,
    /// Traces with an HTTP status of 500 to 599.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_server_errors: Option<bool>,
    /// Traces that take at least this long from their first to their last moment, in whole milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slower_than: Option<Milliseconds>,
    /// Traces with a span of one of these services, by `service.name`, in any namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 253)))]
    pub services: Vec<String>,
}

/// How the collector knows whose a span is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Identity {
    /// By the resource attributes as sent: k8s.namespace.name, else service.namespace.
    #[default]
    Attributes,
    /// By the pod that the connection comes from, which no sender can claim to be another.
    Connection,
}

/// What is taken out of spans.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(format!("!has(self.headers) || self.headers.all(name, name.matches('{}'))", patterns::HEADER)).message(Code::TRC0608.rule_message()))]
#[x_kube(validation = Rule::new("(!has(self.attributes) || self.attributes.all(name, !name.contains('${'))) && (!has(self.truncate) || self.truncate.all(name, !name.contains('${')))").message(Code::TRC0131.rule_message()))]
pub struct Scrub {
    /// Headers whose values never leave, in every spelling; authorization, proxy-authorization, cookie, set-cookie and
    /// x-api-key always belong to them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 128)))]
    pub headers: Vec<String>,
    /// Attributes that are removed, by their exact name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 255)))]
    pub attributes: Vec<String>,
    /// Text attributes that are cut to this many bytes, never splitting a character. url.full and http.url are one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32, "additionalProperties" = {"type": "integer", "minimum": 1, "maximum": 1_048_576}))]
    pub truncate: BTreeMap<String, i32>,
}

/// Metrics of all spans.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "!has(self.dimensions) || self.dimensions.all(name, self.dimensions.exists_one(other, other == name) && !(name in ['service.name', 'span.name', 'span.kind', 'status.code', 'collector.instance.id']))"
).message(Code::TRC0611.rule_message()))]
#[x_kube(validation = Rule::new("!has(self.dimensions) || self.dimensions.all(name, !name.contains('${'))").message(Code::TRC0131.rule_message()))]
pub struct SpanMetrics {
    /// Whether metrics are made; true where the block is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Span attributes that become labels, beside service, span name, kind and status.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 255)))]
    pub dimensions: Vec<String>,
}

/// What waits to be sent to a backend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Queue {
    /// Spans that may wait for each backend, in each pod; 100000 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1_000, max = 100_000_000))]
    pub size: Option<i32>,
    /// A volume for each pod, so that what waits outlives it. In memory where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<QueueStorage>,
}

/// A volume for each pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "type(self.size) == string ? !isQuantity(self.size) || self.size.startsWith('-') || quantity(self.size).isGreaterThan(quantity('0')) : int(self.size) != 0"
).message(Code::TRC0605.rule_message()))]
#[x_kube(validation = Rule::new(format!(
    "!has(self.storageClassName) || self.storageClassName.matches('{}')", patterns::DNS_SUBDOMAIN
)).message(Code::TRC0116.rule_message()))]
pub struct QueueStorage {
    /// Its size.
    pub size: Quantity,
    /// Its storage class; the cluster's default where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub storage_class_name: Option<String>,
}

/// Limits how many pods a drain may take at a time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.minAvailable) && has(self.maxUnavailable))").message(Code::TRC0605.rule_message()))]
pub struct DisruptionBudget {
    /// Pods that stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub min_available: Option<i32>,
    /// Pods that may go; 1 where neither is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub max_unavailable: Option<i32>,
}

/// Limits who may connect to the pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkPolicySettings {
    /// Whether only the allowed namespaces reach the OTLP ports; true where the block is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}
