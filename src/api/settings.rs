//! The settings of a policy; the blocks of a ClusterTracingPolicy hold the same.
#![allow(unreachable_pub, reason = "KubeSchema expands to a shadow type inside a function")]

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{patterns, sampling::Sampling, values::DurationText};
use crate::diagnostics::Code;

/// How workloads are traced; every field may be absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    /// What the SDK or the injected instrumentation is: decides units and switches that differ between SDKs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<Language>,
    /// The containers to trace, by name. Absent: every regular container except known sidecars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub containers: Option<Vec<String>>,
    /// Where spans go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub export: Option<Export>,
    /// Who the spans are from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,
    /// How many traces are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampling: Option<Sampling>,
    /// Injects auto-instrumentation for `language`, for images that carry no SDK.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instrumentation: Option<Instrumentation>,
    /// Spans of calls to language models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gen_ai: Option<GenAi>,
    /// Trace context in logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logs: Option<Logs>,
    /// How trace context travels between processes; tracecontext and baggage where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8), extend("x-kubernetes-validations" = [{
        "rule": "self.all(name, self.exists_one(other, other == name)) && (size(self) == 1 || !('none' in self))",
        "message": Code::TRC0128.rule_message(),
    }]))]
    pub propagators: Option<Vec<Propagator>>,
    /// Limits of the SDK.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// How settings get into the workloads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub injection: Option<Injection>,
    /// How changes are rolled out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
}

/// What the traced program is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// Python.
    Python,
    /// Java and other languages of the JVM.
    Java,
    /// JavaScript or TypeScript on Node.js.
    Nodejs,
    /// .NET.
    Dotnet,
    /// Go.
    Go,
    /// Anything else.
    Other,
}

/// Where spans go: exactly one of `endpoint`, `collectorRef` and `inherit`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "(has(self.endpoint) && self.endpoint != '' ? 1 : 0) + (has(self.collectorRef) ? 1 : 0) + (has(self.inherit) && self.inherit ? 1 : 0) <= 1"
).message(Code::TRC0103.rule_message()))]
#[x_kube(validation = Rule::new(format!(
    "!has(self.endpoint) || self.endpoint == '' || (self.endpoint.matches('{}') && isURL(self.endpoint) && (url(self.endpoint).getPort() == '' || int(url(self.endpoint).getPort()) <= 65535))",
    patterns::ENDPOINT.replace('\\', "\\\\")
)).message(Code::TRC0104.rule_message()))]
pub struct Export {
    /// URL of an OTLP receiver, such as `http://otel-collector.observability:4317`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub endpoint: Option<String>,
    /// A TracingCollector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collector_ref: Option<CollectorRef>,
    /// Takes the export from a ClusterTracingPolicy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inherit: Option<bool>,
    /// OTLP over gRPC or HTTP. Absent: by the port (4318 is HTTP), else gRPC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// A Secret of the same namespace whose key `OTEL_EXPORTER_OTLP_HEADERS` holds the headers to send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers_secret_ref: Option<SecretRef>,
    /// How long the SDK waits for one batch to be taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<DurationText>,
    /// Compression of what is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
}

/// A TracingCollector by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct CollectorRef {
    /// The collector's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The collector's namespace; the policy's own where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
}

/// A Secret of the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(format!("self.name.matches('{}')", patterns::DNS_SUBDOMAIN)).message(Code::TRC0116.rule_message()))]
pub struct SecretRef {
    /// The Secret's name.
    #[schemars(length(max = 253))]
    pub name: String,
}

/// The OTLP transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Protocol {
    /// OTLP over gRPC.
    #[serde(rename = "grpc")]
    Grpc,
    /// OTLP over HTTP with protobuf bodies.
    #[serde(rename = "http/protobuf")]
    HttpProtobuf,
}

/// Compression of exported spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// gzip.
    Gzip,
    /// None.
    None,
}

/// Who the spans are from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(format!(
    "!has(self.attributes) || self.attributes.all(key, !(key in [{}]) && !key.startsWith('telemetry.sdk.') && !key.startsWith('tracesteward.'))",
    RESERVED_ATTRIBUTES.map(|name| format!("'{name}'")).join(", ")
)).message(Code::TRC0108.rule_message()))]
#[x_kube(validation = Rule::new("!has(self.name) || !self.name.contains('${')").message(Code::TRC0131.rule_message()))]
#[x_kube(validation = Rule::new("!has(self.attributes) || self.attributes.all(key, size(key) > 0 && size(key) <= 255)").message(Code::TRC0130.rule_message()))]
pub struct Service {
    /// `service.name`. Absent: the workload's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub name: Option<String>,
    /// `service.namespace`. Absent: the workload's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub namespace: Option<String>,
    /// `service.version`. Absent: the label `app.kubernetes.io/version` of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub version: Option<String>,
    /// Further resource attributes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64), inner(length(max = 1024)))]
    pub attributes: BTreeMap<String, String>,
}

/// Resource attributes that the operator derives or that have a field of their own; users cannot set them as plain
/// attributes. `telemetry.sdk.*` and `tracesteward.*` are reserved too.
pub const RESERVED_ATTRIBUTES: [&str; 15] = [
    "service.name",
    "service.namespace",
    "service.version",
    "service.instance.id",
    "k8s.namespace.name",
    "k8s.container.name",
    "k8s.pod.name",
    "k8s.node.name",
    "k8s.deployment.name",
    "k8s.statefulset.name",
    "k8s.daemonset.name",
    "k8s.cronjob.name",
    "k8s.job.name",
    "k8s.replicaset.name",
    "k8s.pod.uid",
];

/// Whether users cannot set this resource attribute in `service.attributes`.
pub fn is_reserved_attribute(name: &str) -> bool {
    RESERVED_ATTRIBUTES.contains(&name) || name.starts_with("telemetry.sdk.") || name.starts_with("tracesteward.")
}

/// Auto-instrumentation to inject.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Instrumentation {
    /// The image that carries the instrumentation, in the layout of the OpenTelemetry operator's images; absent: the public
    /// image of the language.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub image: Option<String>,
}

/// Spans of calls to language models.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GenAi {
    /// Whether prompts and answers may be recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capture_content: Option<bool>,
}

/// Trace context in logs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Logs {
    /// Whether log records carry the trace's and the span's id. Python has a switch; the agents for Java and Node.js do it by
    /// themselves and can be told not to; nothing is known of other languages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation: Option<bool>,
}

/// How trace context travels (OpenTelemetry specification, `OTEL_PROPAGATORS`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Propagator {
    /// W3C Trace Context.
    Tracecontext,
    /// W3C Baggage.
    Baggage,
    /// B3, single header.
    B3,
    /// B3, several headers.
    B3multi,
    /// Jaeger.
    Jaeger,
    /// AWS X-Ray.
    Xray,
    /// OT Trace.
    Ottrace,
    /// None.
    None,
}

impl Propagator {
    /// The name in `OTEL_PROPAGATORS`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tracecontext => "tracecontext",
            Self::Baggage => "baggage",
            Self::B3 => "b3",
            Self::B3multi => "b3multi",
            Self::Jaeger => "jaeger",
            Self::Xray => "xray",
            Self::Ottrace => "ottrace",
            Self::None => "none",
        }
    }
}

/// Limits of the SDK.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "(has(self.batchSize) ? self.batchSize : 512) <= (has(self.queueSize) ? self.queueSize : 2048)"
).message(Code::TRC0117.rule_message()))]
pub struct Limits {
    /// Attributes of a span.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub span_attributes: Option<i32>,
    /// Characters of an attribute's value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10_000_000))]
    pub attribute_value_length: Option<i32>,
    /// Events of a span.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub span_events: Option<i32>,
    /// Spans that wait for export; 2048 in SDKs where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub queue_size: Option<i32>,
    /// Spans of one export; at most `queueSize`; 512 in SDKs where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub batch_size: Option<i32>,
    /// Pause between exports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule_delay: Option<DurationText>,
    /// How long one export may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub export_timeout: Option<DurationText>,
}

/// How settings get into the workloads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Injection {
    /// Where settings are written; Workload where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<InjectionMode>,
}

/// Where settings are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum InjectionMode {
    /// Into the pod template of the workload.
    #[default]
    Workload,
    /// Into pods as they are created.
    Pod,
    /// Nowhere: `tracesteward render` gives the patch to commit.
    None,
}

/// How changes are rolled out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// Workloads of the policy that may be restarting at one time; 10 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub max_concurrent: Option<i32>,
    /// Whether an injection that breaks a workload is withdrawn; true where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_revert: Option<bool>,
    /// Whether pods that are older than the settings are restarted (Pod mode); false where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart_stale_pods: Option<bool>,
}
