//! The collector's configuration as typed values: what these types cannot express cannot be written.

mod export;
mod mark;
mod names;
mod sampling;
mod scrub;
mod text;
mod transform;

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    HEALTH_PORT, HeaderVariable, METRICS_PORT, QUEUE_FOLDER, SAMPLER_PORT, Tier, settings::CollectorSettings,
    tail::Model,
};
use crate::{
    api::{Identity, Signal},
    index::CollectorId,
};

use export::{Exporter, STORAGE, to_backend, to_samplers};
use names::Names;
use sampling::{TailSampling, tail_sampling};
use text::Text;
use transform::{Context, Group, Transform};

pub(super) use mark::service as service_statement;
pub(super) use sampling::percentage;
pub(super) use scrub::{removed_headers, truncated};

/// A configuration file of the OpenTelemetry Collector.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct File {
    receivers: BTreeMap<&'static str, Receiver>,
    processors: BTreeMap<String, Processor>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    connectors: BTreeMap<String, Connector>,
    exporters: BTreeMap<String, Exporter>,
    extensions: BTreeMap<&'static str, Extension>,
    service: Service,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Receiver {
    protocols: Protocols,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Protocols {
    grpc: GrpcServer,
    #[serde(skip_serializing_if = "Option::is_none")]
    http: Option<HttpServer>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct GrpcServer {
    endpoint: String,
    max_recv_msg_size_mib: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct HttpServer {
    endpoint: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
enum Processor {
    MemoryLimiter { check_interval: &'static str, limit_mib: u64, spike_limit_mib: u64 },
    MemoryShare { check_interval: &'static str, limit_percentage: u32, spike_limit_percentage: u32 },
    Identity { extract: Extract, pod_association: [Association; 1], wait_for_metadata: bool },
    Transform(Transform),
    TailSampling(TailSampling),
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Extract {
    metadata: Vec<&'static str>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Association {
    sources: [Source; 1],
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Source {
    from: &'static str,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
enum Connector {
    Forward {},
    SpanMetrics {
        dimensions: Vec<Dimension>,
        metrics_flush_interval: &'static str,
        /// Series that nobody adds to any more are forgotten.
        metrics_expiration: &'static str,
        /// Series of one resource; what is beyond them is counted as one. Span names with numbers in them would fill the memory.
        aggregation_cardinality_limit: u32,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Dimension {
    name: Text,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
enum Extension {
    HealthCheck { endpoint: String },
    FileStorage { directory: &'static str, create_directory: bool },
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Service {
    extensions: Vec<&'static str>,
    pipelines: BTreeMap<&'static str, Pipeline>,
    telemetry: serde_json::Value,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Pipeline {
    receivers: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    processors: Vec<String>,
    exporters: Vec<String>,
}

const FORWARD: &str = "forward/sample";
const SCRUB: &str = "transform/scrub";
const MARKS: &str = "transform/mark";
const UNMARK: &str = "transform/unmark";
const SAMPLE: &str = "tail_sampling";
const LIMITER: &str = "memory_limiter";
const UNCLAIM: &str = "transform/unclaim";

/// What a tier's configuration is made from.
pub(super) struct Inputs<'a> {
    pub(super) id: &'a CollectorId,
    pub(super) settings: &'a CollectorSettings<'a>,
    pub(super) model: &'a Model<'a>,
}

/// The configuration of one tier, and the variables that it refers to.
pub(super) fn file(inputs: &Inputs<'_>, tier: Tier) -> (File, Vec<HeaderVariable>) {
    let mut builder = Builder::new(inputs, tier);
    if tier == Tier::Collector {
        builder.intake();
    }
    if tier == Tier::Sampler || !inputs.settings.has_sampler_tier() {
        builder.sample();
    } else {
        builder.route();
    }
    builder.finish()
}

struct Builder<'a> {
    inputs: &'a Inputs<'a>,
    names: Names,
    tier: Tier,
    file: File,
    variables: Vec<HeaderVariable>,
}

impl<'a> Builder<'a> {
    fn new(inputs: &'a Inputs<'a>, tier: Tier) -> Self {
        let settings = inputs.settings;
        let (grpc, http) = match tier {
            Tier::Collector => (settings.grpc_port, Some(settings.http_port)),
            Tier::Sampler => (SAMPLER_PORT, None),
        };
        let address = |port: i32| format!("0.0.0.0:{port}");
        let protocols = Protocols {
            grpc: GrpcServer { endpoint: address(grpc), max_recv_msg_size_mib: 16 },
            http: http.map(|port| HttpServer { endpoint: address(port) }),
        };
        let health = Extension::HealthCheck { endpoint: address(HEALTH_PORT) };
        let file = File {
            receivers: BTreeMap::from([("otlp", Receiver { protocols })]),
            processors: BTreeMap::from([(LIMITER.to_owned(), memory_limiter(settings))]),
            connectors: BTreeMap::new(),
            exporters: BTreeMap::new(),
            extensions: BTreeMap::from([("health_check", health)]),
            service: Service { extensions: vec!["health_check"], pipelines: BTreeMap::new(), telemetry: telemetry() },
        };
        Self { inputs, names: Names::of(settings.version), tier, file, variables: Vec::new() }
    }

    fn processor(&mut self, name: &str, processor: Processor) -> String {
        self.file.processors.insert(name.to_owned(), processor);
        name.to_owned()
    }

    fn pipeline(&mut self, name: &'static str, receivers: &[&str], processors: Vec<String>, exporters: Vec<String>) {
        let receivers = receivers.iter().map(|receiver| (*receiver).to_owned()).collect();
        self.file.service.pipelines.insert(name, Pipeline { receivers, processors, exporters });
    }

    /// otlp -> memory_limiter -> (identity) -> scrub -> metrics of spans, and what follows.
    fn intake(&mut self) {
        let mut processors = vec![LIMITER.to_owned()];
        if self.inputs.settings.identity == Identity::Connection {
            processors.extend(self.identity());
        }
        processors.push(self.scrub());
        let mut exporters = Vec::new();
        if let Some(metrics) = self.span_metrics() {
            exporters.push(metrics);
        }
        self.file.connectors.insert(FORWARD.to_owned(), Connector::Forward {});
        exporters.push(FORWARD.to_owned());
        self.pipeline("traces/in", &["otlp"], processors, exporters);
    }

    fn scrub(&mut self) -> String {
        let scrub = self.inputs.settings.spec.scrub.clone().unwrap_or_default();
        self.processor(SCRUB, Processor::Transform(scrub::scrub(&scrub, self.names)))
    }

    /// What senders say about their pod is forgotten before the connection says it: the processor fills only what is empty.
    fn identity(&mut self) -> [String; 2] {
        let metadata = vec!["k8s.namespace.name", "k8s.pod.name", "k8s.pod.uid", "k8s.node.name"];
        // By pattern: `delete_key` would leave the second of two attributes of one name.
        let names: Vec<_> = metadata.iter().map(|name| text::quote_regex(name)).collect();
        let claims = text::literal(&format!("^({})$", names.join("|")));
        let forget = format!("delete_matching_keys(resource.attributes, {claims})");
        let unclaim = Transform::new([Group::new(Context::Resource, [forget])]);
        let processor = Processor::Identity {
            extract: Extract { metadata },
            pod_association: [Association { sources: [Source { from: "connection" }] }],
            // Until the pods are known, spans of the first seconds would have no namespace.
            wait_for_metadata: true,
        };
        [self.processor(UNCLAIM, Processor::Transform(unclaim)), self.processor(self.names.k8s_attributes, processor)]
    }

    fn span_metrics(&mut self) -> Option<String> {
        let settings = self.inputs.settings;
        if !settings.span_metrics || !super::takes_metrics(settings.spec) {
            return None;
        }
        let dimensions = settings.spec.span_metrics.iter().flat_map(|metrics| &metrics.dimensions);
        let dimensions = dimensions.map(|name| Dimension { name: name.as_str().into() }).collect();
        let connector = Connector::SpanMetrics {
            dimensions,
            metrics_flush_interval: "15s",
            metrics_expiration: "10m",
            aggregation_cardinality_limit: 2_000,
        };
        let name = self.names.span_metrics.to_owned();
        self.file.connectors.insert(name.clone(), connector);
        let backends = self.backends(Signal::Metrics);
        self.pipeline("metrics/red", &[&name.clone()], Vec::new(), backends);
        Some(name)
    }

    /// Marks, samples, takes the marks away again, and sends to the backends.
    fn sample(&mut self) {
        let settings = self.inputs.settings;
        let keep = settings.spec.sampling.as_ref().and_then(|sampling| sampling.keep.clone()).unwrap_or_default();
        let mark = mark::mark(self.inputs.model, &keep, settings.identity);
        let sampling = tail_sampling(settings, &keep, self.inputs.model);
        let mut processors = vec![
            self.processor(MARKS, Processor::Transform(mark)),
            self.processor(SAMPLE, Processor::TailSampling(sampling)),
            self.processor(UNMARK, Processor::Transform(mark::unmark())),
        ];
        if self.tier == Tier::Sampler {
            // Routers have scrubbed already; a span that got here past them must not be the one that leaves with its secrets.
            processors.splice(..0, [LIMITER.to_owned(), self.scrub()]);
        }
        let backends = self.backends(Signal::Traces);
        let receiver = if self.tier == Tier::Sampler { "otlp" } else { FORWARD };
        self.pipeline("traces/sample", &[receiver], processors, backends);
    }

    fn route(&mut self) {
        let id = self.inputs.id;
        let (name, exporter) = to_samplers(&id.name, &id.namespace, self.inputs.settings, self.names);
        self.file.exporters.insert(name.clone(), exporter);
        self.pipeline("traces/route", &[FORWARD], Vec::new(), vec![name]);
    }

    /// The exporters of the backends that take this.
    fn backends(&mut self, signal: Signal) -> Vec<String> {
        let settings = self.inputs.settings;
        // Routers have no volume: only what was sampled waits on disk.
        let is_stored = settings.has_storage() && (self.tier == Tier::Sampler || !settings.has_sampler_tier());
        let mut names = Vec::new();
        for backend in settings.spec.backends.iter().filter(|backend| backend.takes(signal)) {
            let (name, exporter, variables) = to_backend(backend, settings, self.names, is_stored, &self.variables);
            self.file.exporters.insert(name.clone(), exporter);
            names.push(name);
            for variable in variables {
                if !self.variables.contains(&variable) {
                    self.variables.push(variable);
                }
            }
        }
        if is_stored {
            let storage = Extension::FileStorage { directory: QUEUE_FOLDER, create_directory: true };
            if self.file.extensions.insert(STORAGE, storage).is_none() {
                self.file.service.extensions.push(STORAGE);
            }
        }
        names
    }

    fn finish(self) -> (File, Vec<HeaderVariable>) {
        (self.file, self.variables)
    }
}

/// Refuses data before the container's limit ends the process: 80 % of it, and the Go runtime's own limit is the same.
fn memory_limiter(settings: &CollectorSettings<'_>) -> Processor {
    if settings.management == crate::api::Management::ConfigOnly && super::memory_limit(settings.spec).is_none() {
        // Somebody else's process: its own limit is known to it alone.
        return Processor::MemoryShare { check_interval: "1s", limit_percentage: 80, spike_limit_percentage: 25 };
    }
    let mebibytes = settings.memory >> 20;
    Processor::MemoryLimiter {
        check_interval: "1s",
        limit_mib: mebibytes * 80 / 100,
        spike_limit_mib: mebibytes * 25 / 100,
    }
}

/// Own logs as JSON, own metrics for Prometheus. The three `without_` are written out: their defaults have changed before.
fn telemetry() -> serde_json::Value {
    serde_json::json!({
        "logs": {"level": "info", "encoding": "json"},
        "metrics": {"level": "normal", "readers": [{"pull": {"exporter": {"prometheus": {
            "host": "0.0.0.0",
            "port": METRICS_PORT,
            "without_type_suffix": true,
            "without_units": true,
            "without_scope_info": true,
        }}}}]},
    })
}
