//! The samples under `config/samples/collector`, on the real collector: what they say they keep is kept.

use std::fs;

use serde_json::json;
use tracesteward::diagnostics::source;

use crate::compare::render;
use crate::oracle::{hash, threshold};
use crate::support::otlp::{
    Client, KeyValue, Span, Status, StatusCode, Value, attribute, from_resource, service, span, text,
};
use crate::support::{Backend, Collector};
use crate::through::{assert_quiet, variables};

fn documents() -> Vec<serde_json::Value> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/config/samples/collector");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 2, "{files:?}");
    let read = |path: &std::path::PathBuf| {
        let reading = source::read("sample", fs::read(path).unwrap());
        assert_eq!(reading.diagnostics, []);
        reading.documents.iter().map(|document| document.value().clone()).collect::<Vec<_>>()
    };
    files.iter().flat_map(read).collect()
}

/// Trace ids whose hash is in a band of percentages.
struct Ids(u64);

impl Ids {
    fn between(&mut self, low: f64, high: f64) -> [u8; 16] {
        loop {
            self.0 += 1;
            let mut id = [7; 16];
            id[..8].copy_from_slice(&self.0.to_be_bytes());
            if hash(&id) > threshold(low) && hash(&id) <= threshold(high) {
                return id;
            }
        }
    }
}

/// One span as a trace of its own; its name says what should become of it.
struct Sent {
    ids: Ids,
    resources: Vec<crate::support::otlp::ResourceSpans>,
    spans: u64,
}

impl Sent {
    fn add(&mut self, name: &str, resource: Vec<KeyValue>, band: (f64, f64), change: impl FnOnce(&mut Span)) {
        self.spans += 1;
        let mut span =
            Span { trace_id: self.ids.between(band.0, band.1).to_vec(), ..span(0, self.spans, name, Vec::new()) };
        change(&mut span);
        self.resources.push(from_resource(resource, vec![span]));
    }
}

/// Which ratios would keep a trace.
const BY_ONE_PERCENT: (f64, f64) = (0.0, 1.0);
const BY_TEN_PERCENT: (f64, f64) = (1.0, 10.0);
const BY_NONE: (f64, f64) = (10.0, 100.0);

fn route(route: &str, method: &str) -> Vec<KeyValue> {
    vec![attribute("http.route", text(route)), attribute("http.request.method", text(method))]
}

fn traces() -> Sent {
    let mut sent = Sent { ids: Ids(0), resources: Vec::new(), spans: 0 };
    let plain = || service("warehouse", "stock");
    sent.add("kept: a tenth", plain(), BY_TEN_PERCENT, |_| ());
    sent.add("dropped: the rest", plain(), BY_NONE, |_| ());
    sent.add("kept: an error", plain(), BY_NONE, |span| {
        span.status = Some(Status { code: StatusCode::Error.into(), ..Status::default() });
    });
    for (status, attributes) in [
        ("kept: 503 by the new name", attribute("http.response.status_code", Value::IntValue(503))),
        ("kept: 500 by the old name", attribute("http.status_code", Value::IntValue(500))),
        ("kept: 599 as text", attribute("http.status_code", text("599"))),
        ("dropped: 499", attribute("http.response.status_code", Value::IntValue(499))),
        ("dropped: 600", attribute("http.status_code", Value::IntValue(600))),
    ] {
        sent.add(status, plain(), BY_NONE, |span| span.attributes.push(attributes));
    }
    let lasting = |nanos: u64| move |span: &mut Span| span.end_time_unix_nano = span.start_time_unix_nano + nanos;
    sent.add("kept: one second", plain(), BY_NONE, lasting(1_000_000_000));
    sent.add("dropped: less than a second", plain(), BY_NONE, lasting(999_000_000));
    sent.add("kept: a service that always is", service("caretaker", "caretaker-mcp"), BY_NONE, |_| ());
    let api = || service("search", "api");
    sent.add("kept: one in a hundred searches", api(), BY_ONE_PERCENT, |span| {
        span.attributes = route("/v1/search", "GET");
    });
    sent.add("dropped: a search", api(), BY_TEN_PERCENT, |span| span.attributes = route("/v1/search", "GET"));
    sent.add("kept: another method", api(), BY_TEN_PERCENT, |span| span.attributes = route("/v1/search", "POST"));
    sent.add("kept: another route", api(), BY_TEN_PERCENT, |span| span.attributes = route("/v1/suggest", "GET"));
    sent.add("dropped: a probe", api(), BY_ONE_PERCENT, |span| span.attributes = route("/healthz", "GET"));
    sent.add("kept: another team's probe", service("billing", "api"), BY_NONE, |span| {
        span.attributes = route("/healthz", "GET");
    });
    sent.add("kept: another team's search", service("billing", "api"), BY_NONE, |span| {
        span.attributes = route("/v1/search", "GET");
        span.attributes.push(attribute("http.request.header.Authorization", text("LEAK")));
        span.attributes.push(attribute("url.full", text("ü".repeat(600))));
    });
    sent
}

#[tokio::test(flavor = "multi_thread")]
async fn the_samples_keep_what_they_say() {
    let backend = Backend::start().await;
    let configuration = render(&documents());
    let over = json!({
        "exporters": {"otlp_http/test": {"endpoint": backend.endpoint()}},
        "service": {"pipelines": {
            "traces/sample": {"exporters": ["otlp_http/test"]}, "metrics/red": {"exporters": ["otlp_http/test"]},
        }},
    });
    let names = variables(&configuration);
    let environment: Vec<_> = names.iter().map(|name| (name.as_str(), "Bearer token")).collect();
    assert_eq!(environment.len(), 1);
    let mut collector = Collector::start_with(&configuration, &environment, &over).await;
    let sent = traces();
    let wanted: Vec<_> = sent.resources.iter().map(|resource| resource.scope_spans[0].spans[0].name.clone()).collect();
    let mut wanted: Vec<_> = wanted.into_iter().filter(|name| name.starts_with("kept")).collect();
    Client::connect(collector.http_port()).send(sent.resources);
    assert!(collector.stop().success(), "{}", collector.logs());
    assert_quiet(&collector);
    let mut kept: Vec<_> = backend.spans().into_iter().map(|span| span.name).collect();
    wanted.sort();
    kept.sort();
    assert_eq!(kept, wanted);
    assert!(!backend.saw(b"LEAK"));
    assert!(backend.saw("ü".repeat(512).as_bytes()) && !backend.saw("ü".repeat(513).as_bytes()));
}
