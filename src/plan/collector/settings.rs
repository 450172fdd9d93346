//! The settings of a collector with every default filled in: the one place for them.

use crate::{
    api::{
        Backend, FromNamespaces, Identity, LabelSelector, Management, Protocol, Quantity, Signal, TracingCollectorSpec,
    },
    plan::export,
};

/// The version that is rendered for where none is named.
pub const DEFAULT_VERSION: &str = "0.155.0";
/// Where the collector says that it is alive.
pub const HEALTH_PORT: i32 = 13133;
/// Where the collector shows its own metrics.
pub const METRICS_PORT: i32 = 8888;
/// The most memory that a pod may use where no limit is set.
const DEFAULT_MEMORY: u64 = 1 << 30;

/// A collector's settings, complete.
#[derive(Clone, Debug, PartialEq)]
pub struct CollectorSettings<'a> {
    /// What the user wrote, for what needs no default.
    pub spec: &'a TracingCollectorSpec,
    /// Who runs it.
    pub management: Management,
    /// The version of the OpenTelemetry Collector.
    pub version: &'a str,
    /// The image.
    pub image: String,
    /// Pods of each tier.
    pub replicas: i32,
    /// OTLP over gRPC.
    pub grpc_port: i32,
    /// OTLP over HTTP.
    pub http_port: i32,
    /// The memory limit of a pod in bytes.
    pub memory: u64,
    /// How the collector knows whose a span is.
    pub identity: Identity,
    /// The ratio of services whose policy says nothing else, from 0 to 1.
    pub baseline: f64,
    /// How long spans of a trace are waited for, in whole seconds.
    pub decision_wait: u64,
    /// Undecided traces in each pod.
    pub traces_in_memory: u64,
    /// Spans that may wait for each backend, in each pod.
    pub queue_size: u64,
    /// Whether metrics of spans are made.
    pub span_metrics: bool,
}

impl<'a> CollectorSettings<'a> {
    /// The settings of a valid specification.
    pub fn new(spec: &'a TracingCollectorSpec) -> Self {
        let version = spec.version.as_deref().unwrap_or(DEFAULT_VERSION);
        let image = format!("otel/opentelemetry-collector-contrib:{version}");
        let receivers = spec.receivers.clone().unwrap_or_default();
        let sampling = spec.sampling.as_ref();
        let wait = sampling.and_then(|sampling| sampling.decision_wait.as_ref()?.as_millis()).unwrap_or(10_000);
        let traces = sampling.and_then(|sampling| sampling.traces_in_memory).unwrap_or(50_000);
        let queue_size = spec.queue.as_ref().and_then(|queue| queue.size).unwrap_or(100_000);
        let metrics = spec.span_metrics.as_ref().is_some_and(|metrics| metrics.enabled != Some(false));
        Self {
            management: spec.management.unwrap_or_default(),
            version,
            image: spec.image.clone().unwrap_or(image),
            replicas: spec.replicas.unwrap_or(1),
            grpc_port: receivers.grpc_port.unwrap_or(4317),
            http_port: receivers.http_port.unwrap_or(4318),
            memory: memory_limit(spec).unwrap_or_else(|| DEFAULT_MEMORY.max(memory_request(spec))),
            identity: spec.identity.unwrap_or_default(),
            baseline: sampling.and_then(|sampling| sampling.baseline_ratio).map_or(1.0, |ratio| ratio.0),
            decision_wait: wait.div_ceil(1_000),
            traces_in_memory: u64::try_from(traces).unwrap_or(1),
            queue_size: u64::try_from(queue_size).unwrap_or(1),
            span_metrics: metrics,
            spec,
        }
    }

    /// Whether spans go through routers to samplers.
    pub fn has_sampler_tier(&self) -> bool {
        // Somebody else's collector is one process: there is nothing to route between.
        self.replicas > 1 && self.management == Management::Managed
    }

    /// Whether what waits to be sent outlives a pod.
    pub fn has_storage(&self) -> bool {
        self.spec.queue.as_ref().is_some_and(|queue| queue.storage.is_some())
    }

    /// The port that receives this protocol.
    pub fn port(&self, protocol: Protocol) -> i32 {
        match protocol {
            Protocol::Grpc => self.grpc_port,
            Protocol::HttpProtobuf => self.http_port,
        }
    }
}

/// The memory limit that the user set, in bytes.
pub fn memory_limit(spec: &TracingCollectorSpec) -> Option<u64> {
    spec.resources.as_ref()?.limits.get("memory").and_then(Quantity::value)
}

/// The memory that the user requested, in bytes: a limit below it is refused by the API server.
fn memory_request(spec: &TracingCollectorSpec) -> u64 {
    let request = spec.resources.as_ref().and_then(|resources| resources.requests.get("memory"));
    request.and_then(Quantity::value).unwrap_or_default()
}

/// The protocol of a backend: what the user says, else by the port.
pub fn backend_protocol(backend: &Backend) -> Protocol {
    let by_port =
        || if export::port(&backend.endpoint) == Some(4318) { Protocol::HttpProtobuf } else { Protocol::Grpc };
    backend.protocol.unwrap_or_else(by_port)
}

/// Whether a collector in `home` with these settings takes policies of another namespace with these labels; `None` where
/// the labels would decide and are not known.
pub fn allows(
    spec: &TracingCollectorSpec,
    home: &str,
    namespace: &str,
    labels: Option<&std::collections::BTreeMap<String, String>>,
) -> Option<bool> {
    let allowed = spec.allowed_namespaces.as_ref();
    match allowed.and_then(|allowed| allowed.from).unwrap_or_default() {
        _ if home == namespace => Some(true),
        FromNamespaces::Same => Some(false),
        FromNamespaces::All => Some(true),
        FromNamespaces::Selector => {
            let selector: &LabelSelector = allowed?.selector.as_ref()?;
            labels.map(|labels| selector.matches(labels))
        }
    }
}

/// The name of what receives OTLP: Deployment or StatefulSet, Service, ServiceAccount.
pub fn collector_name(name: &str) -> String {
    format!("{name}-collector")
}

/// The name of the second tier.
pub fn sampler_name(name: &str) -> String {
    format!("{name}-sampler")
}

/// Whether any backend is sent metrics of spans.
pub fn takes_metrics(spec: &TracingCollectorSpec) -> bool {
    spec.backends.iter().any(|backend| backend.takes(Signal::Metrics))
}
