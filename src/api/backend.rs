//! Where a TracingCollector sends kept traces.
#![allow(unreachable_pub, reason = "KubeSchema expands to a shadow type inside a function")]

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    patterns,
    settings::{Compression, Protocol},
    values::DurationText,
};
use crate::diagnostics::Code;

/// An OTLP receiver that kept traces, and metrics of spans, go to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(format!("self.name.matches('{}')", patterns::DNS_SUBDOMAIN)).message(Code::TRC0116.rule_message()))]
#[x_kube(validation = Rule::new(format!(
    "self.endpoint.matches('{}') && isURL(self.endpoint) && (url(self.endpoint).getPort() == '' || int(url(self.endpoint).getPort()) <= 65535)",
    patterns::ENDPOINT.replace('\\', "\\\\")
)).message(Code::TRC0104.rule_message()))]
#[x_kube(validation = Rule::new(format!(
    "!self.endpoint.matches('{endpoint}') || self.endpoint.matches('{grpc}') || (has(self.protocol) ? self.protocol == 'http/protobuf' : self.endpoint.matches('^[a-zA-Z]+://[^/?]*:4318([/?].*)?$'))",
    endpoint = patterns::ENDPOINT.replace('\\', "\\\\"), grpc = patterns::NO_PATH
)).message(Code::TRC0610.rule_message()))]
#[x_kube(validation = Rule::new(
    "!has(self.headers) || self.headers.all(header, self.headers.exists_one(other, other.name.lowerAscii() == header.name.lowerAscii()))"
).message(Code::TRC0609.rule_message()))]
#[x_kube(validation = Rule::new(format!("!has(self.timeout) || !self.timeout.matches('{}') || duration(self.timeout) <= duration('15m')", patterns::DURATION)).message(Code::TRC0618.rule_message()))]
pub struct Backend {
    /// Its name, unique in the collector.
    #[schemars(length(max = 63))]
    pub name: String,
    /// Its URL, such as `http://tempo.default.svc:4317`; http sends without TLS.
    #[schemars(length(max = 2048))]
    pub endpoint: String,
    /// OTLP over gRPC or HTTP. Absent: by the port (4318 is HTTP), else gRPC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// Headers of every request; their values come from Secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub headers: Vec<BackendHeader>,
    /// gzip where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
    /// How long one request may take; 10s where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<DurationText>,
    /// What is sent there; traces and metrics where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2))]
    pub signals: Option<Vec<Signal>>,
}

/// A header whose value comes from a Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(format!("self.name.matches('{}')", patterns::SENT_HEADER)).message(Code::TRC0608.rule_message()))]
pub struct BackendHeader {
    /// The header's name.
    #[schemars(length(min = 1, max = 128))]
    pub name: String,
    /// Where its value is.
    pub secret_key_ref: SecretKeyRef,
}

/// A key of a Secret in the collector's namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(format!("self.name.matches('{}')", patterns::DNS_SUBDOMAIN)).message(Code::TRC0116.rule_message()))]
#[x_kube(validation = Rule::new(format!("self.key.matches('{}')", patterns::SECRET_KEY)).message(Code::TRC0116.rule_message()))]
pub struct SecretKeyRef {
    /// The Secret's name.
    #[schemars(length(max = 253))]
    pub name: String,
    /// The key.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// What is sent to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Signal {
    /// Kept traces.
    Traces,
    /// Metrics of spans.
    Metrics,
}

impl Backend {
    /// Whether it is sent this.
    pub fn takes(&self, signal: Signal) -> bool {
        self.signals.as_ref().is_none_or(|signals| signals.contains(&signal))
    }
}
