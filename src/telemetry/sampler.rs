//! Which traces of its own the operator begins: none for what is asked every few seconds for ever.

use opentelemetry::{
    Context, KeyValue, TraceId,
    trace::{Link, SpanKind, TraceContextExt},
};
use opentelemetry_sdk::trace::{Config, SamplingDecision, SamplingResult, ShouldSample};

/// What kubelets and Prometheus ask.
const ROUTES: [&str; 4] = ["/healthz", "/livez", "/readyz", "/metrics"];

/// The sampler that the environment names (`OTEL_TRACES_SAMPLER`), but for probes and scrapes: those are recorded where who asks records.
#[derive(Clone, Debug)]
pub(super) struct Quiet(Box<dyn ShouldSample>);

impl Quiet {
    pub(super) fn from_environment() -> Self {
        Self(Config::default().sampler)
    }
}

impl ShouldSample for Quiet {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let begins = parent.is_none_or(|parent| !parent.span().span_context().is_valid());
        let is_quiet = |known: &KeyValue| {
            known.key.as_str() == "http.route" && ROUTES.iter().any(|route| known.value.as_str() == *route)
        };
        if begins && attributes.iter().any(is_quiet) {
            let (attributes, trace_state) = Default::default();
            return SamplingResult { decision: SamplingDecision::Drop, attributes, trace_state };
        }
        self.0.should_sample(parent, trace, name, kind, attributes, links)
    }
}
