//! The operator's own spans on their way out: OTLP over HTTP, off unless the environment names an endpoint.
//!
//! Nobody waits for it. A span that ends is put into a bounded queue; where that is full, or nobody answers, spans are dropped and
//! counted.

mod http;
mod queue;

use std::{env, sync::Arc, time::Duration};

use opentelemetry::KeyValue;
use opentelemetry_otlp::{SpanExporter as OtlpExporter, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    resource::{EnvResourceDetector, TelemetryResourceDetector},
    trace::{Sampler, SdkTracerProvider, SpanExporter},
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::timeout,
};

use super::{metrics::Metrics, sampler::Quiet};
use http::Http;
use queue::{Bounded, Limits, send};

/// How long the end of the process waits for the last spans to go out.
const LAST: Duration = Duration::from_secs(2);

/// Who sends spans.
#[derive(Debug, Default)]
pub struct Export(Option<Running>);

#[derive(Debug)]
struct Running {
    stop: oneshot::Sender<()>,
    worker: JoinHandle<()>,
}

impl Export {
    /// Sends what waits, as far as that is possible within two seconds.
    pub async fn finish(self) {
        let Some(Running { stop, mut worker }) = self.0 else { return };
        // Where nobody hears it, the worker has ended.
        stop.send(()).unwrap_or_default();
        if timeout(LAST, &mut worker).await.is_err() {
            worker.abort();
        }
    }
}

/// Makes spans, and sends them where the environment names an endpoint for them. And why it does not, although there is one.
pub(super) fn provider(metrics: &Arc<Metrics>) -> (SdkTracerProvider, Export, Option<String>) {
    let off = |trouble| (provider_without_export(), Export::default(), trouble);
    if !is_wanted() {
        return off(None);
    }
    let protocol = variable("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL").or_else(|| variable("OTEL_EXPORTER_OTLP_PROTOCOL"));
    if let Some(protocol) = protocol.filter(|protocol| protocol != "http/protobuf") {
        return off(Some(format!(
            "they go out over http/protobuf only, and OTEL_EXPORTER_OTLP_PROTOCOL is {protocol}"
        )));
    }
    let client = match Http::new() {
        Ok(client) => client,
        Err(error) => return off(Some(format!("TLS cannot be set up: {error}"))),
    };
    let mut exporter = match OtlpExporter::builder().with_http().with_http_client(client).build() {
        Ok(exporter) => exporter,
        Err(error) => return off(Some(error.to_string())),
    };
    let resource = resource();
    exporter.set_resource(&resource);
    let limits = Limits::from_environment();
    let (sender, queue) = mpsc::channel(limits.queue);
    let (stop, stopping) = oneshot::channel();
    let worker = tokio::spawn(send(queue, exporter, limits, Arc::clone(metrics), stopping));
    let builder = SdkTracerProvider::builder().with_resource(resource).with_sampler(Quiet::from_environment());
    let provider = builder.with_span_processor(Bounded { queue: sender, metrics: Arc::clone(metrics) }).build();
    (provider, Export(Some(Running { stop, worker })), None)
}

/// Spans have ids, for logs and for those who are asked; what they say is dropped. What a caller has sampled stays sampled.
fn provider_without_export() -> SdkTracerProvider {
    SdkTracerProvider::builder().with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOff))).build()
}

fn is_wanted() -> bool {
    let endpoint = variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").or_else(|| variable("OTEL_EXPORTER_OTLP_ENDPOINT"));
    let is_disabled = variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let is_elsewhere = variable("OTEL_TRACES_EXPORTER").is_some_and(|value| value != "otlp");
    endpoint.is_some() && !is_disabled && !is_elsewhere
}

/// What the environment does not say.
fn resource() -> Resource {
    let known = [
        ("k8s.pod.name", variable("POD_NAME")),
        ("k8s.namespace.name", variable("POD_NAMESPACE")),
        ("service.instance.id", variable("POD_NAME").or_else(|| variable("HOSTNAME"))),
        ("service.name", Some("tracesteward".to_owned())),
        ("service.version", Some(env!("CARGO_PKG_VERSION").to_owned())),
    ];
    let known = known.into_iter().filter_map(|(key, value)| Some(KeyValue::new(key, value?)));
    let resource = Resource::builder_empty().with_attributes(known);
    let resource =
        resource.with_detectors(&[Box::new(TelemetryResourceDetector), Box::new(EnvResourceDetector::new())]);
    match variable("OTEL_SERVICE_NAME") {
        Some(name) => resource.with_service_name(name).build(),
        None => resource.build(),
    }
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}
