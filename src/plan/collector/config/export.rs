//! Exporters: to backends, and from routers to samplers.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    names::Names,
    text::{Text, Variable},
};
use crate::{
    api::{Backend, Compression, DurationText, Protocol, SecretKeyRef},
    plan::{
        collector::{
            HeaderVariable, SAMPLER_PORT, Tier,
            settings::{CollectorSettings, backend_protocol, sampler_name},
        },
        export::port,
    },
};

/// The extension that keeps queues on disk.
pub(in crate::plan::collector) const STORAGE: &str = "file_storage/queue";
/// Requests are cut here: receivers of OTLP over gRPC take 4 MiB unless they are told otherwise.
const MAX_REQUEST_BYTES: u64 = 3 << 20;
/// Requests wait for this much, or for [`FLUSH`].
const MIN_REQUEST_BYTES: u64 = 1 << 20;
const FLUSH: &str = "1s";

/// An exporter.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(in crate::plan::collector) enum Exporter {
    /// To a backend.
    Otlp(Box<Otlp>),
    /// To the sampler that has the other spans of the trace.
    LoadBalancing(Box<LoadBalancing>),
}

/// OTLP over gRPC or HTTP.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(in crate::plan::collector) struct Otlp {
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<Text>,
    tls: Tls,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<Text, Variable>,
    compression: &'static str,
    timeout: String,
    sending_queue: SendingQueue,
    retry_on_failure: Retry,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Tls {
    insecure: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct SendingQueue {
    enabled: bool,
    /// A tick of the sampler hands over every kept trace by itself: counting requests would fill the queue at once.
    sizer: &'static str,
    queue_size: u64,
    num_consumers: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    storage: Option<&'static str>,
    batch: Batch,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Batch {
    flush_timeout: &'static str,
    sizer: &'static str,
    min_size: u64,
    max_size: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Retry {
    enabled: bool,
    initial_interval: &'static str,
    max_interval: &'static str,
    max_elapsed_time: &'static str,
}

/// Sends all spans of a trace to the same sampler.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(in crate::plan::collector) struct LoadBalancing {
    routing_key: &'static str,
    protocol: LoadBalancingProtocol,
    resolver: Resolver,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct LoadBalancingProtocol {
    otlp: Otlp,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Resolver {
    #[serde(rename = "static")]
    fixed: StaticResolver,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct StaticResolver {
    hostnames: Vec<Text>,
}

/// The exporter to a backend, its name, and the variables that it needs.
pub(in crate::plan::collector) fn to_backend(
    backend: &Backend,
    settings: &CollectorSettings<'_>,
    names: Names,
    is_stored: bool,
    taken: &[HeaderVariable],
) -> (String, Exporter, Vec<HeaderVariable>) {
    let protocol = backend_protocol(backend);
    let component = match protocol {
        Protocol::Grpc => names.otlp_grpc,
        Protocol::HttpProtobuf => names.otlp_http,
    };
    let variables: Vec<HeaderVariable> = backend
        .headers
        .iter()
        .map(|header| HeaderVariable {
            name: free(variable(&backend.name, &header.name), &header.secret_key_ref, taken),
            secret: header.secret_key_ref.clone(),
        })
        .collect();
    let names = backend.headers.iter().map(|header| Text::from(header.name.as_str()));
    let timeout = backend.timeout.as_ref().and_then(DurationText::as_millis).unwrap_or(10_000);
    let exporter = Otlp {
        endpoint: Some(endpoint(&backend.endpoint, protocol).into()),
        // `otlp_grpc` takes no heed of the scheme: with http:// and without this it starts, is healthy, and never delivers.
        tls: Tls { insecure: is_plain(&backend.endpoint) },
        headers: names.zip(variables.iter().map(|variable| Variable(variable.name.clone()))).collect(),
        compression: if backend.compression == Some(Compression::None) { "none" } else { "gzip" },
        timeout: format!("{timeout}ms"),
        sending_queue: queue(settings, is_stored.then_some(STORAGE)),
        retry_on_failure: retry("300s"),
    };
    (format!("{component}/{}", backend.name), Exporter::Otlp(Box::new(exporter)), variables)
}

/// The variable for a header: named after backend and header and not after their places, so that a token that somebody sets
/// for one backend never goes to another. Bytes that names of variables cannot hold are written as `_` and two digits.
fn variable(backend: &str, header: &str) -> String {
    let mut name = "BACKEND".to_owned();
    for part in [backend, header] {
        name.push('_');
        for byte in part.bytes() {
            match byte {
                b'-' => name.push('_'),
                byte if byte.is_ascii_alphanumeric() => name.push(char::from(byte.to_ascii_uppercase())),
                byte => name.extend(format!("_{byte:02X}").chars()),
            }
        }
    }
    name
}

/// Two pairs of backend and header can come to one name, such as `a` and `b-c` beside `a-b` and `c`.
fn free(mut name: String, secret: &SecretKeyRef, taken: &[HeaderVariable]) -> String {
    while taken.iter().any(|variable| variable.name == name && variable.secret != *secret) {
        name.push('_');
    }
    name
}

/// The exporter of routers. The list of samplers is fixed: where it followed the pods, a restart would move traces from one
/// sampler to another in the middle, and none would see them whole. What cannot be sent waits here.
pub(in crate::plan::collector) fn to_samplers(
    name: &str,
    namespace: &str,
    settings: &CollectorSettings<'_>,
    names: Names,
) -> (String, Exporter) {
    let sampler = sampler_name(name);
    let hostnames = (0..settings.replicas)
        .map(|at| Text::from(format!("{sampler}-{at}.{sampler}.{namespace}.svc:{SAMPLER_PORT}")))
        .collect();
    let otlp = Otlp {
        endpoint: None,
        tls: Tls { insecure: true },
        headers: BTreeMap::new(),
        compression: "none",
        timeout: "5000ms".to_owned(),
        sending_queue: queue(settings, None),
        retry_on_failure: retry("300s"),
    };
    let exporter = LoadBalancing {
        routing_key: "traceID",
        protocol: LoadBalancingProtocol { otlp },
        resolver: Resolver { fixed: StaticResolver { hostnames } },
    };
    (format!("{}/{}", names.load_balancing, Tier::Sampler.as_str()), Exporter::LoadBalancing(Box::new(exporter)))
}

fn queue(settings: &CollectorSettings<'_>, storage: Option<&'static str>) -> SendingQueue {
    SendingQueue {
        enabled: true,
        sizer: "items",
        queue_size: settings.queue_size,
        num_consumers: 10,
        storage,
        batch: Batch { flush_timeout: FLUSH, sizer: "bytes", min_size: MIN_REQUEST_BYTES, max_size: MAX_REQUEST_BYTES },
    }
}

const fn retry(max_elapsed_time: &'static str) -> Retry {
    Retry { enabled: true, initial_interval: "1s", max_interval: "30s", max_elapsed_time }
}

fn is_plain(endpoint: &str) -> bool {
    endpoint.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http://"))
}

/// The endpoint as the exporter wants it: over gRPC host and port alone, over HTTP the URL.
fn endpoint(url: &str, protocol: Protocol) -> String {
    if protocol == Protocol::HttpProtobuf {
        return url.trim_end_matches('/').to_owned();
    }
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = authority.split(['/', '?']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match port(url) {
        Some(_) => host.to_owned(),
        None => format!("{}:{}", host.trim_end_matches(':'), if is_plain(url) { 80 } else { 443 }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_what_the_exporters_take() {
        let grpc = |url: &str| endpoint(url, Protocol::Grpc);
        assert_eq!(grpc("http://tempo.default.svc:4317/"), "tempo.default.svc:4317");
        assert_eq!(grpc("https://api.example.com"), "api.example.com:443");
        assert_eq!(grpc("HTTP://[::1]"), "[::1]:80");
        assert_eq!(grpc("http://u:p@h:1"), "h:1");
        assert_eq!(endpoint("https://h/otlp/", Protocol::HttpProtobuf), "https://h/otlp");
        assert!(is_plain("HTTP://x") && !is_plain("https://x"));
        assert_eq!(variable("tempo", "authorization"), "BACKEND_TEMPO_AUTHORIZATION");
        assert_eq!(variable("eu.tempo-1", "X-Scope~Id"), "BACKEND_EU_2ETEMPO_1_X_SCOPE_7EID");
    }
}
