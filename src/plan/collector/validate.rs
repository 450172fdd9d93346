//! What is wrong with a collector by itself (TRC06xx and what it shares with policies). The CRD's CEL rules say the same
//! in the API server.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::settings::{CollectorSettings, backend_protocol, memory_limit, takes_metrics};
use crate::{
    api::{
        AllowedNamespaces, Backend, CollectorKeep, CollectorSampling, DurationText, FromNamespaces, Management,
        Protocol, Quantity, Receivers, Resources, Scrub, Signal, SpanMetrics, TracingCollectorSpec, patterns,
        target::is_object_name,
    },
    diagnostics::{Code, Diagnostic, FieldPath},
    plan::{export, findings::Findings},
};

/// Ports that a collector has for itself.
const TAKEN_PORTS: [i32; 2] = [super::METRICS_PORT, super::HEALTH_PORT];
/// The least memory that a collector starts with.
const LEAST_MEMORY: u64 = 64 << 20;
/// What every metric of spans carries anyway.
const FIXED_DIMENSIONS: [&str; 5] = ["service.name", "span.name", "span.kind", "status.code", "collector.instance.id"];
/// Attributes of the semantic conventions that hold users' data, by their earlier name and what they are called now.
const RENAMED: [(&str, &[&str]); 9] = [
    ("db.name", &["db.namespace"]),
    ("db.operation", &["db.operation.name"]),
    ("db.statement", &["db.query.text"]),
    ("http.client_ip", &["client.address"]),
    ("http.target", &["url.path", "url.query"]),
    ("http.url", &["url.full"]),
    ("http.user_agent", &["user_agent.original"]),
    ("net.peer.ip", &["network.peer.address"]),
    ("net.sock.peer.addr", &["network.peer.address"]),
];

/// Checks a collector whose fields have the right types.
pub(super) fn validate(spec: &TracingCollectorSpec, name: &str) -> Vec<Diagnostic> {
    let mut findings = Findings::default();
    let root = FieldPath::fields("spec");
    // What no object can be called has been reported as that.
    let is_bad_name = is_object_name(name) && !patterns::matches(patterns::COLLECTOR_NAME, name);
    findings.add_if(is_bad_name, Code::TRC0612, FieldPath::fields("metadata.name"));
    if let Some(allowed) = &spec.allowed_namespaces {
        allowed_namespaces(allowed, &root.field("allowedNamespaces"), &mut findings);
    }
    pods(spec, &root, &mut findings);
    if let Some(receivers) = &spec.receivers {
        self::receivers(receivers, &root.field("receivers"), &mut findings);
    }
    if let Some(sampling) = &spec.sampling {
        self::sampling(sampling, &root.field("sampling"), &mut findings);
    }
    if let Some(scrub) = &spec.scrub {
        self::scrub(scrub, &root.field("scrub"), &mut findings);
    }
    if let Some(metrics) = &spec.span_metrics {
        dimensions(metrics, &root.field("spanMetrics").field("dimensions"), &mut findings);
        let nobody = CollectorSettings::new(spec).span_metrics && !takes_metrics(spec);
        findings.add_if(nobody, Code::TRC0615, root.field("spanMetrics"));
    }
    backends(&spec.backends, &root.field("backends"), &mut findings);
    findings.0
}

fn allowed_namespaces(allowed: &AllowedNamespaces, path: &FieldPath, findings: &mut Findings) {
    let by_selector = allowed.from == Some(FromNamespaces::Selector);
    findings.add_if(by_selector != allowed.selector.is_some(), Code::TRC0604, path.clone());
    findings.selector(allowed.selector.as_ref(), &path.field("selector"));
}

/// What the pods are and what they may use.
fn pods(spec: &TracingCollectorSpec, root: &FieldPath, findings: &mut Findings) {
    let version = spec.version.as_deref();
    let is_unknown = version.is_some_and(|version| !patterns::matches(patterns::COLLECTOR_VERSION, version));
    findings.add_if(is_unknown, Code::TRC0602, root.field("version"));
    if let Some(resources) = &spec.resources {
        self::resources(resources, &root.field("resources"), findings);
    }
    let path = root.field("resources").field("limits").key("memory");
    findings.add_if(memory_limit(spec).is_some_and(|bytes| bytes < LEAST_MEMORY), Code::TRC0616, path);
    if let Some(storage) = spec.queue.as_ref().and_then(|queue| queue.storage.as_ref()) {
        let path = root.field("queue").field("storage");
        let is_nothing = storage.size.value().is_none_or(|bytes| bytes == 0);
        findings.add_if(is_nothing, Code::TRC0605, path.field("size"));
        let class = storage.storage_class_name.as_deref();
        let is_bad = class.is_some_and(|class| !class.is_empty() && !is_object_name(class));
        findings.add_if(is_bad, Code::TRC0116, path.field("storageClassName"));
        findings.add_if(spec.management == Some(Management::ConfigOnly), Code::TRC0613, path);
    }
    if let Some(budget) = &spec.pod_disruption_budget {
        let both = budget.min_available.is_some() && budget.max_unavailable.is_some();
        findings.add_if(both, Code::TRC0605, root.field("podDisruptionBudget"));
    }
}

fn resources(resources: &Resources, path: &FieldPath, findings: &mut Findings) {
    let mut quantities = |field: &str, quantities: &BTreeMap<String, Quantity>| {
        for (name, quantity) in quantities {
            findings.add_if(quantity.value().is_none(), Code::TRC0605, path.field(field).key(name));
        }
    };
    quantities("limits", &resources.limits);
    quantities("requests", &resources.requests);
}

fn receivers(receivers: &Receivers, path: &FieldPath, findings: &mut Findings) {
    let is_taken = |port: Option<i32>| port.is_some_and(|port| TAKEN_PORTS.contains(&port));
    let same = receivers.grpc_port.unwrap_or(4317) == receivers.http_port.unwrap_or(4318);
    let field = if is_taken(receivers.grpc_port) || receivers.http_port.is_none() { "grpcPort" } else { "httpPort" };
    let clash = same || is_taken(receivers.grpc_port) || is_taken(receivers.http_port);
    findings.add_if(clash, Code::TRC0607, path.field(field));
}

/// Longer times are mistakes, and beyond 290 years the collector would not start.
const LONGEST: Duration = Duration::from_secs(15 * 60);

/// What rules about services, routes and HTTP status look at.
const LOOKED_AT: [&str; 8] = [
    "service.name",
    "service.namespace",
    "k8s.namespace.name",
    "http.route",
    "http.request.method",
    "http.method",
    "http.response.status_code",
    "http.status_code",
];

fn sampling(sampling: &CollectorSampling, path: &FieldPath, findings: &mut Findings) {
    findings.ratio(sampling.baseline_ratio, path.field("baselineRatio"));
    let wait = path.field("decisionWait");
    findings.duration(sampling.decision_wait.as_ref(), wait.clone());
    let duration = sampling.decision_wait.as_ref().and_then(DurationText::get);
    findings.add_if(duration.is_some_and(|duration| duration.subsec_nanos() != 0), Code::TRC0614, wait.clone());
    findings.add_if(duration.is_some_and(|duration| duration > LONGEST), Code::TRC0618, wait);
    if let Some(CollectorKeep { slower_than, services, .. }) = &sampling.keep {
        let path = path.field("keep");
        findings.milliseconds(slower_than.as_ref(), &path.field("slowerThan"));
        for (position, service) in services.iter().enumerate() {
            findings.reference(service, path.field("services").index(position));
        }
    }
}

fn scrub(scrub: &Scrub, path: &FieldPath, findings: &mut Findings) {
    for (position, header) in scrub.headers.iter().enumerate().filter(|(_, header)| !header.is_empty()) {
        let is_header = patterns::matches(patterns::HEADER, header);
        findings.add_if(!is_header, Code::TRC0608, path.field("headers").index(position));
    }
    let listed: BTreeSet<_> = scrub.attributes.iter().chain(scrub.truncate.keys()).map(String::as_str).collect();
    for (position, name) in scrub.attributes.iter().enumerate() {
        let path = path.field("attributes").index(position);
        findings.reference(name, path.clone());
        findings.add_if(LOOKED_AT.contains(&name.as_str()), Code::TRC0619, path.clone());
        renamed(name, &listed, &path, findings);
    }
    for name in scrub.truncate.keys() {
        let path = path.field("truncate").key(name);
        findings.reference(name, path.clone());
        findings.add_if(LOOKED_AT.contains(&name.as_str()), Code::TRC0619, path.clone());
        // These two are cut together.
        if !["url.full", "http.url"].contains(&name.as_str()) {
            renamed(name, &listed, &path, findings);
        }
    }
}

/// Whether an attribute has other names that are not listed.
fn renamed(name: &str, listed: &BTreeSet<&str>, path: &FieldPath, findings: &mut Findings) {
    let now = RENAMED.iter().filter(|(before, _)| *before == name).flat_map(|(_, now)| now.iter().copied());
    let before = RENAMED.iter().filter(|(_, now)| now.contains(&name)).map(|(before, _)| *before);
    let missing: Vec<_> = now.chain(before).filter(|other| !listed.contains(other)).collect();
    if !missing.is_empty() {
        let help = format!("List {} too: which name is sent depends on the version of the SDK.", missing.join(" and "));
        findings.0.push(Diagnostic::new(Code::TRC0617, path.clone()).detail(missing.join(", ")).help(help));
    }
}

fn dimensions(metrics: &SpanMetrics, path: &FieldPath, findings: &mut Findings) {
    for (position, name) in metrics.dimensions.iter().enumerate() {
        let repeated = metrics.dimensions.iter().take(position).any(|earlier| earlier == name);
        let fixed = FIXED_DIMENSIONS.contains(&name.as_str());
        findings.add_if(repeated || fixed, Code::TRC0611, path.index(position));
        findings.reference(name, path.index(position));
    }
}

fn backends(backends: &[Backend], path: &FieldPath, findings: &mut Findings) {
    // An empty list of signals is out of range, which says enough.
    let takes_traces =
        |backend: &Backend| backend.takes(Signal::Traces) || backend.signals.as_ref().is_some_and(Vec::is_empty);
    findings.add_if(!backends.iter().any(takes_traces), Code::TRC0601, path.clone());
    for (position, backend) in backends.iter().enumerate() {
        let path = path.index(position);
        let repeated = backends.iter().take(position).any(|earlier| earlier.name == backend.name);
        findings.add_if(repeated, Code::TRC0603, path.field("name"));
        findings.add_if(!is_object_name(&backend.name), Code::TRC0116, path.field("name"));
        endpoint(backend, &path.field("endpoint"), findings);
        headers(backend, &path.field("headers"), findings);
        findings.duration(backend.timeout.as_ref(), path.field("timeout"));
        let timeout = backend.timeout.as_ref().and_then(DurationText::get);
        findings.add_if(timeout.is_some_and(|timeout| timeout > LONGEST), Code::TRC0618, path.field("timeout"));
    }
}

fn endpoint(backend: &Backend, path: &FieldPath, findings: &mut Findings) {
    if !export::is_endpoint(&backend.endpoint) {
        findings.add(Code::TRC0104, path.clone());
        return;
    }
    if export::has_user_information(&backend.endpoint) {
        let help = "Move the credentials into a Secret and name its key in a header of the backend.";
        findings.0.push(Diagnostic::new(Code::TRC0122, path.clone()).help(help));
    }
    let mismatch = matches!(
        (export::port(&backend.endpoint), backend.protocol),
        (Some(4317), Some(Protocol::HttpProtobuf)) | (Some(4318), Some(Protocol::Grpc))
    );
    findings.add_if(mismatch, Code::TRC0120, path.clone());
    let has_path = !patterns::matches(patterns::NO_PATH, &backend.endpoint);
    match backend_protocol(backend) {
        Protocol::Grpc => findings.add_if(has_path, Code::TRC0610, path.clone()),
        Protocol::HttpProtobuf if backend.endpoint.trim_end_matches('/').ends_with("/v1/traces") => {
            let help = "Remove /v1/traces from the endpoint: the collector appends it too.";
            findings.0.push(Diagnostic::new(Code::TRC0123, path.clone()).help(help));
        }
        Protocol::HttpProtobuf => {}
    }
}

fn headers(backend: &Backend, path: &FieldPath, findings: &mut Findings) {
    for (position, header) in backend.headers.iter().enumerate() {
        let path = path.index(position);
        let is_header = header.name.is_empty() || patterns::matches(patterns::SENT_HEADER, &header.name);
        findings.add_if(!is_header, Code::TRC0608, path.field("name"));
        let mut earlier = backend.headers.iter().take(position);
        let repeated = earlier.any(|earlier| earlier.name.eq_ignore_ascii_case(&header.name));
        findings.add_if(repeated, Code::TRC0609, path.field("name"));
        let path = path.field("secretKeyRef");
        findings.add_if(!is_object_name(&header.secret_key_ref.name), Code::TRC0116, path.field("name"));
        let key = &header.secret_key_ref.key;
        if !key.is_empty() && !patterns::matches(patterns::SECRET_KEY, key) {
            let help = "Keys of a Secret consist of letters, digits, '-', '_' and '.'.";
            findings.0.push(Diagnostic::new(Code::TRC0116, path.field("key")).help(help));
        }
    }
}
