//! The operator's own spans on their way out: OTLP over HTTP, off unless the environment names an endpoint.
//!
//! Nobody waits for it. A span that ends is put into a bounded queue; where that is full, or nobody answers, spans are dropped and
//! counted.

use std::{env, pin::pin, sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes, to_bytes},
    http::{Request, Response},
};
use futures::{FutureExt, future::BoxFuture};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{SpanExporter as OtlpExporter, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    resource::{EnvResourceDetector, TelemetryResourceDetector},
    trace::{Sampler, SdkTracerProvider, Span, SpanData, SpanExporter, SpanProcessor},
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_rustls::rustls::{
    self, ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};

use super::{metrics::Metrics, sampler::Quiet};

/// How long the end of the process waits for the last spans to go out.
const LAST: Duration = Duration::from_secs(2);
/// How long a connection to the collector may take to come about.
const CONNECT: Duration = Duration::from_secs(5);
/// The largest answer that is read.
const ANSWER: usize = 64 << 10;

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

/// The standard variables of a batch processor.
#[derive(Clone, Copy, Debug)]
struct Limits {
    queue: usize,
    batch: usize,
    delay: Duration,
    timeout: Duration,
}

impl Limits {
    fn from_environment() -> Self {
        let number = |name: &str| variable(name)?.parse::<u32>().ok().filter(|number| *number > 0);
        let size = |name, default| number(name).and_then(|size| usize::try_from(size).ok()).unwrap_or(default);
        let time = |name, default: u32| Duration::from_millis(number(name).unwrap_or(default).into());
        // More would be memory that somebody else needs.
        let queue = size("OTEL_BSP_MAX_QUEUE_SIZE", 2048).min(65_536);
        Self {
            queue,
            batch: size("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512).min(queue),
            delay: time("OTEL_BSP_SCHEDULE_DELAY", 5_000),
            timeout: time("OTEL_BSP_EXPORT_TIMEOUT", 30_000),
        }
    }
}

/// Puts what has ended into the queue, or drops it.
#[derive(Debug)]
struct Bounded {
    queue: mpsc::Sender<SpanData>,
    metrics: Arc<Metrics>,
}

impl SpanProcessor for Bounded {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() && self.queue.try_send(span).is_err() {
            self.metrics.spans_dropped("queue_full", 1);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Sends batches until it is told to stop; then what waits.
async fn send(
    mut queue: mpsc::Receiver<SpanData>,
    exporter: impl SpanExporter,
    limits: Limits,
    metrics: Arc<Metrics>,
    mut stopping: oneshot::Receiver<()>,
) {
    let sender = Sender { exporter, limits, metrics };
    let (mut is_failing, mut is_last) = (false, false);
    while !is_last {
        let mut batch = Vec::new();
        tokio::select! {
            biased;
            _ = &mut stopping => is_last = true,
            () = gather(&mut queue, &mut batch, limits) => {}
        }
        if is_last {
            queue.close();
            while let Ok(span) = queue.try_recv() {
                batch.push(span);
            }
        }
        while !batch.is_empty() {
            let rest = batch.split_off(batch.len().min(limits.batch));
            is_failing = sender.export(batch, is_failing).await;
            batch = rest;
        }
    }
}

/// A batch: as soon as it is full, or some time after its first span. Safe to drop at any moment.
async fn gather(queue: &mut mpsc::Receiver<SpanData>, batch: &mut Vec<SpanData>, limits: Limits) {
    if queue.recv_many(batch, limits.batch).await == 0 {
        // Nobody makes spans any more; a stop is all that can come.
        return std::future::pending().await;
    }
    let mut full = pin!(sleep(limits.delay));
    while batch.len() < limits.batch {
        let room = limits.batch - batch.len();
        tokio::select! {
            () = &mut full => return,
            more = queue.recv_many(batch, room) => if more == 0 { return },
        }
    }
}

struct Sender<E> {
    exporter: E,
    limits: Limits,
    metrics: Arc<Metrics>,
}

impl<E: SpanExporter> Sender<E> {
    /// Sends a batch; whether that failed. Said once, and again when it has been well meanwhile.
    async fn export(&self, batch: Vec<SpanData>, was_failing: bool) -> bool {
        let spans = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        let failure = match timeout(self.limits.timeout, self.exporter.export(batch)).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("no answer within {:?}", self.limits.timeout)),
        };
        match failure {
            None => {
                self.metrics.spans_exported(spans);
                if was_failing {
                    tracing::info!("spans are exported again");
                }
                false
            }
            Some(error) => {
                self.metrics.spans_dropped("not_taken", spans);
                if !was_failing {
                    tracing::warn!(error, "spans could not be exported, and are dropped");
                }
                true
            }
        }
    }
}

/// HTTP as the exporter needs it.
#[derive(Clone, Debug)]
struct Http {
    client: Client<HttpsConnector<HttpConnector>, Body>,
}

impl Http {
    fn new() -> Result<Self, rustls::Error> {
        let mut plain = HttpConnector::new();
        plain.enforce_http(false);
        plain.set_connect_timeout(Some(CONNECT));
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls()?).https_or_http().enable_http1();
        let connector = connector.wrap_connector(plain);
        Ok(Self { client: Client::builder(TokioExecutor::new()).build(connector) })
    }
}

/// Trusts `OTEL_EXPORTER_OTLP_CERTIFICATE` alone where that is a file of certificates, else who the machine trusts.
fn tls() -> Result<ClientConfig, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?;
    let file = variable("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE").or_else(|| variable("OTEL_EXPORTER_OTLP_CERTIFICATE"));
    let own = file.and_then(|file| CertificateDer::pem_file_iter(file).ok());
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(own.into_iter().flatten().flatten());
    if added > 0 {
        return Ok(builder.with_root_certificates(roots).with_no_client_auth());
    }
    // An image may have none at all, which does not matter to an endpoint without TLS.
    let trusting = builder.clone().with_native_roots();
    Ok(trusting.unwrap_or_else(|_| builder.with_root_certificates(RootCertStore::empty())).with_no_client_auth())
}

impl HttpClient for Http {
    fn send_bytes<'a, 'b>(&'a self, request: Request<Bytes>) -> BoxFuture<'b, Result<Response<Bytes>, HttpError>>
    where
        'a: 'b,
        Self: 'b,
    {
        send_bytes(self.client.clone(), request).boxed()
    }
}

async fn send_bytes(
    client: Client<HttpsConnector<HttpConnector>, Body>,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, HttpError> {
    let response = client.request(request.map(Body::from)).await?;
    let (head, body) = response.into_parts();
    Ok(Response::from_parts(head, to_bytes(Body::new(body), ANSWER).await?))
}
