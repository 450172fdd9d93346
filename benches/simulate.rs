//! What simulating costs: linear in spans, flat in policies that are about other services; and beside the real collector.
//!
//! The last table needs `make tools`. Absolute times mean nothing on a shared machine: look down the columns.
#![allow(clippy::print_stdout, reason = "a table for people is what a bench is for")]

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use divan::{Bencher, counter::ItemsCount};
use opentelemetry_proto::tonic::trace::v1::TracesData;
use prost::Message;
use serde_json::{Value, json};
use tracesteward::{
    index::{Collector, Snapshot},
    plan::{
        collector::{Sampler, compile},
        read_collector, read_policy,
    },
    simulate::{
        Fate, Fates, Names, Simulation,
        read::{Batch, Malformed, Reader, Sink},
    },
};

#[path = "../tests/support/mod.rs"]
mod support;

use support::otlp::{Client, ResourceSpans, attribute, from_resource, hex, service, span, text};

fn main() {
    divan::main();
    // `cargo test --benches` only asks whether the benches run.
    if !std::env::args().any(|argument| argument == "--test") {
        beside_the_collector();
    }
}

/// Spans of one request, in two resources, and of one trace.
const PER_REQUEST: u64 = 100;
const PER_TRACE: u64 = 5;

fn world(policies: usize) -> (Snapshot, Collector) {
    let object = json!({
        "apiVersion": "tracesteward.io/v1alpha1", "kind": "TracingCollector",
        "metadata": {"name": "gateway", "namespace": "observability"},
        "spec": {
            "allowedNamespaces": {"from": "All"},
            "sampling": {"baselineRatio": 0.1, "decisionWait": "1s", "tracesInMemory": 1_000_000},
            "backends": [{"name": "nowhere", "endpoint": "http://127.0.0.1:1"}],
        },
    });
    let collector = read_collector(&object, "default");
    let mut snapshot = Snapshot::default();
    snapshot.collectors.insert(collector.id.clone(), collector.clone());
    for number in 0..policies {
        let namespace = format!("team-{}", number / 5);
        let object = json!({
            "apiVersion": "tracesteward.io/v1alpha1", "kind": "TracingPolicy",
            "metadata": {"name": format!("p-{number}"), "namespace": namespace},
            "spec": {
                "enabled": true,
                "targets": [{"kind": "Deployment", "name": format!("web-{number}")}],
                "export": {"collectorRef": {"name": "gateway", "namespace": "observability"}},
                "sampling": {"tail": {
                    "ratio": 0.5, "keep": {"errors": true},
                    "routes": [{"route": "/a", "ratio": 0.01}, {"route": "/b", "ratio": 0.02}],
                }},
            },
        });
        let policy = read_policy(&object, "default");
        snapshot.namespaces.entry(namespace).or_default().policies.insert(policy.id.name.clone(), policy);
    }
    (snapshot, collector)
}

/// Requests of two services, of which the first policy is about one.
fn requests(spans: u64) -> impl Iterator<Item = Vec<ResourceSpans>> {
    (0..spans / PER_REQUEST).map(|request| {
        let half = |part: u64| {
            let first = request * PER_REQUEST + part * PER_REQUEST / 2;
            let spans = (first..first + PER_REQUEST / 2).map(|id| {
                let attributes = vec![
                    attribute("http.route", text("/b")),
                    attribute("http.request.method", text("GET")),
                    attribute("url.full", text("https://shop.example.org/b?page=1")),
                    attribute("server.address", text("shop.example.org")),
                    attribute("user_agent.original", text("Mozilla/5.0 (X11; Linux x86_64)")),
                ];
                span(id / PER_TRACE + 1, id + 1, "GET /b", attributes)
            });
            let (namespace, name) = if part == 0 { ("team-0", "web-0") } else { ("elsewhere", "web") };
            from_resource(service(namespace, name), spans.collect())
        };
        vec![half(0), half(1)]
    })
}

fn protobuf(spans: u64) -> Vec<u8> {
    let framed = |resource_spans| {
        let message = TracesData { resource_spans }.encode_to_vec();
        let length = u32::try_from(message.len()).unwrap_or_default();
        [&length.to_be_bytes()[..], &message].concat()
    };
    requests(spans).flat_map(framed).collect()
}

/// What the collector's file exporter would write.
fn lines(spans: u64) -> Vec<u8> {
    let mut recording = String::new();
    for request in requests(spans) {
        let resources = request.iter().map(|resource| {
            let attributes = resource.resource.as_ref().map(|resource| pairs(&resource.attributes));
            let spans: Vec<Value> = resource.scope_spans[0].spans.iter().map(|span| {
                json!({
                    "traceId": hex(&span.trace_id), "spanId": hex(&span.span_id), "parentSpanId": "", "flags": 256, "name": span.name, "kind": 2,
                    "startTimeUnixNano": span.start_time_unix_nano.to_string(), "endTimeUnixNano": span.end_time_unix_nano.to_string(),
                    "attributes": pairs(&span.attributes), "status": {},
                })
            }).collect();
            json!({"resource": {"attributes": attributes}, "scopeSpans": [{"scope": {"name": "bench"}, "spans": spans}]})
        });
        let request: Vec<Value> = resources.collect();
        writeln!(recording, "{}", json!({"resourceSpans": request})).unwrap_or_default();
    }
    recording.into_bytes()
}

fn pairs(attributes: &[support::otlp::KeyValue]) -> Value {
    let pair = |pair: &support::otlp::KeyValue| {
        let value = pair.value.as_ref().and_then(|value| value.value.as_ref());
        let Some(support::otlp::Value::StringValue(text)) = value else { return Value::Null };
        json!({"key": pair.key, "value": {"stringValue": text}})
    };
    attributes.iter().map(pair).collect()
}

#[derive(Default)]
struct Count(u64);

impl Fates for Count {
    fn fate(&mut self, fate: &Fate, _: &Names) {
        self.0 += u64::from(fate.kept);
    }
}

struct Intake<'s>(Simulation<'s>, Count);

impl Sink for Intake<'_> {
    fn batches(&mut self, batches: &[Batch<'_>]) {
        for batch in batches {
            self.0.take(batch, &mut self.1);
        }
    }

    fn malformed(&mut self, _: Malformed) -> bool {
        false
    }
}

fn simulate(sampler: &Sampler, recording: &[u8]) -> u64 {
    let mut intake = Intake(Simulation::new(sampler, false), Count::default());
    let mut reader = Reader::new(|_| Ok(None));
    for piece in recording.chunks(256 << 10) {
        reader.push(piece, &mut intake);
    }
    reader.finish(&mut intake);
    let Intake(simulation, mut count) = intake;
    simulation.finish(&mut count);
    count.0
}

fn sampler(policies: usize) -> Option<Sampler> {
    let (snapshot, collector) = world(policies);
    Sampler::new(&snapshot, &collector)
}

/// Items are spans: the same throughput on every line is linear.
#[divan::bench(args = [10_000, 100_000, 400_000], sample_count = 5)]
fn spans_of_json(bencher: Bencher<'_, '_>, spans: u64) {
    let (Some(sampler), recording) = (sampler(10), lines(spans)) else { return };
    bencher.counter(ItemsCount::new(spans)).bench_local(|| simulate(&sampler, &recording));
}

#[divan::bench(args = [10_000, 100_000, 400_000], sample_count = 5)]
fn spans_of_protobuf(bencher: Bencher<'_, '_>, spans: u64) {
    let (Some(sampler), recording) = (sampler(10), protobuf(spans)) else { return };
    bencher.counter(ItemsCount::new(spans)).bench_local(|| simulate(&sampler, &recording));
}

/// All policies but one are about services that do not occur: the same time on every line is flat.
#[divan::bench(args = [1, 10, 100, 1000], sample_count = 5)]
fn policies_that_do_not_match(bencher: Bencher<'_, '_>, policies: usize) {
    let (Some(sampler), recording) = (sampler(policies), protobuf(50_000)) else { return };
    bencher.counter(ItemsCount::new(50_000_u64)).bench_local(|| simulate(&sampler, &recording));
}

/// What is compared with the collector.
const SPANS: u64 = 60_000;

/// Time of processors, which other processes do not take part in.
fn used() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap_or_default(), time.tv_nsec.try_into().unwrap_or_default())
}

/// Time of one core for each span: the collector gets the same bytes over HTTP, a line or a message a request.
fn beside_the_collector() {
    let Ok(runtime) = tokio::runtime::Builder::new_multi_thread().enable_all().build() else { return };
    println!("\nmicroseconds for each span: simulate beside the collector");
    println!(
        "{:>10} {:>12} {:>16} {:>7} {:>12} {:>20} {:>7}",
        "policies", "JSON", "collector, JSON", "times", "protobuf", "collector, protobuf", "times"
    );
    for policies in [1, 10, 100] {
        let (snapshot, collector) = world(policies);
        let plan = compile(&snapshot, &collector);
        let (Some(sampler), Some(configuration)) = (sampler(policies), plan.configurations.first()) else { return };
        let timed = |recording: Vec<u8>| {
            let times = (0..3).map(|_| {
                let begin = used();
                simulate(&sampler, &recording);
                used().saturating_sub(begin)
            });
            times.min().unwrap_or_default()
        };
        let own = [timed(lines(SPANS)), timed(protobuf(SPANS))];
        let theirs = [true, false].map(|as_json| runtime.block_on(collected(&configuration.text, as_json)));
        let spans = f64::from(u32::try_from(SPANS).unwrap_or(1));
        let [json, protobuf] = own.map(|time| time.as_secs_f64() * 1e6 / spans);
        let [their_json, their_protobuf] = theirs.map(|time| time.as_secs_f64() * 1e6 / spans);
        let ratios = [their_json / json, their_protobuf / protobuf];
        println!(
            "{policies:>10} {json:>12.2} {their_json:>16.2} {:>7.1} {protobuf:>12.2} {their_protobuf:>20.2} {:>7.1}",
            ratios[0], ratios[1]
        );
    }
}

async fn collected(configuration: &str, as_json: bool) -> Duration {
    // What is kept has nowhere to go, and its exporter would try again and again.
    let over = json!({
        "exporters": {"debug": {"verbosity": "basic"}},
        "service": {"pipelines": {"traces/sample": {"exporters": ["debug"]}}},
    });
    let collector = support::collector::Collector::start_with(configuration, &[], &over).await;
    let mut client = Client::connect(collector.http_port());
    let (lines, requests) = (lines(SPANS), requests(SPANS).collect::<Vec<_>>());
    let before = collector.usage().cpu;
    if as_json {
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            client.post("/v1/traces", "application/json", line);
        }
    } else {
        for request in requests {
            client.send(request);
        }
    }
    let name = "otelcol_processor_tail_sampling_global_count_traces_sampled";
    let wanted = f64::from(u32::try_from(SPANS / PER_TRACE).unwrap_or_default());
    let deadline = Instant::now() + Duration::from_secs(30);
    while collector.metric(name, "") < wanted && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    collector.usage().cpu.saturating_sub(before)
}
