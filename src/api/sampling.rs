//! How many traces are kept, at the first span and in the collector.

#![allow(unreachable_pub, reason = "KubeSchema expands to a shadow type inside a function")]

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    patterns,
    values::{Milliseconds, Ratio},
};
use crate::diagnostics::Code;

/// How many traces are kept: `ratio` or `profile` decide at the first span, `tail` in the collector.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.ratio) && has(self.profile))").message(Code::TRC0106.rule_message()))]
pub struct Sampling {
    /// The share of traces that begin here and are recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ratio: Option<Ratio>,
    /// A ratio by traffic; not together with `ratio`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,
    /// Whether the decision of a caller is followed; true where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_based: Option<bool>,
    /// Rules that the collector applies to complete traces, for the services of this policy only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<Tail>,
}

/// A head ratio named by how much traffic a workload has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Everything.
    Development,
    /// Below 1 request a second: everything.
    Low,
    /// 1 to 50 requests a second: one in ten.
    Medium,
    /// More than 50 requests a second: one in a hundred.
    High,
    /// Nothing.
    None,
}

impl Profile {
    /// The ratio that this profile stands for.
    pub const fn ratio(self) -> Ratio {
        Ratio(match self {
            Self::Development | Self::Low => 1.0,
            Self::Medium => 0.1,
            Self::High => 0.01,
            Self::None => 0.0,
        })
    }
}

/// What this policy contributes to the tail sampling of its collector.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tail {
    /// Instead of the collector's baseline for these services.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ratio: Option<Ratio>,
    /// Traces that are kept whatever the ratios say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<Keep>,
    /// Traces that are dropped where the span is the root of its trace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub drop: Vec<SpanMatcher>,
    /// Ratios for certain spans; the first match wins, before `ratio`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub routes: Vec<RouteRule>,
}

/// Traces that are kept whatever the ratios say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Keep {
    /// Traces with a span of status error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors: Option<bool>,
    /// Traces with an HTTP status of 500 to 599.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_server_errors: Option<bool>,
    /// Traces with a span at least this long, in whole milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slower_than: Option<Milliseconds>,
    /// All traces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub always: Option<bool>,
}

/// Certain spans, by what they say about themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(MATCHER_RULE).message(Code::TRC0125.rule_message()))]
#[x_kube(validation = Rule::new(format!("!has(self.spanName) || self.spanName.matches('{}')", patterns::WILDCARDS)).message(Code::TRC0132.rule_message()))]
#[x_kube(validation = Rule::new(REFERENCE_RULE).message(Code::TRC0131.rule_message()))]
pub struct SpanMatcher {
    /// `http.route`, literally.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub route: Option<String>,
    /// The beginning of `http.route`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub route_prefix: Option<String>,
    /// The HTTP method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    pub method: Option<String>,
    /// The span's name; `*` matches any characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub span_name: Option<String>,
}

impl SpanMatcher {
    /// Whether it says which spans: exactly one of route and routePrefix, or a span's name.
    pub const fn is_valid(&self) -> bool {
        let (route, prefix) = (self.route.is_some(), self.route_prefix.is_some());
        !(route && prefix) && (route || prefix || self.span_name.is_some())
    }
}

/// A ratio for certain spans. The rule of [`SpanMatcher`] comes along with its fields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteRule {
    /// The spans.
    #[serde(flatten)]
    pub matcher: SpanMatcher,
    /// The share of traces with such a span that are kept.
    pub ratio: Ratio,
}

const REFERENCE_RULE: &str = "!(has(self.route) && self.route.contains('${')) && !(has(self.routePrefix) && self.routePrefix.contains('${')) && !(has(self.method) && self.method.contains('${')) && !(has(self.spanName) && self.spanName.contains('${'))";

const MATCHER_RULE: &str =
    "!(has(self.route) && has(self.routePrefix)) && (has(self.route) || has(self.routePrefix) || has(self.spanName))";
