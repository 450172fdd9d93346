//! What a collector's configuration costs: to compile, and for each span on the real collector.
//!
//! The second table needs `make tools`. Absolute times mean nothing on a shared machine: look along the rows.

use std::time::{Duration, Instant};

use divan::{AllocProfiler, Bencher, counter::ItemsCount};
use serde_json::{Value, json};
use tracesteward::{
    index::{Collector, Snapshot},
    plan::{collector::compile, read_collector, read_policy},
};

#[path = "../tests/support/mod.rs"]
mod support;

use support::otlp::{Client, attribute, from_resource, service, span, text};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

/// Policies of one namespace.
const PER_NAMESPACE: usize = 5;

fn main() {
    divan::main();
    // `cargo test --benches` only asks whether the benches run.
    if !std::env::args().any(|argument| argument == "--test") {
        spans();
    }
}

/// What the policies of a row ask for, beside a ratio.
#[derive(Clone, Copy, Debug)]
enum Rules {
    /// Keeping errors.
    Plain,
    /// Two cheaper routes, of which each needs a policy of its own in the sampler.
    Routes,
    /// A route by its beginning and spans by a pattern.
    Patterns,
}

impl Rules {
    fn tail(self) -> Value {
        let routes = match self {
            Self::Plain => json!([]),
            Self::Routes => json!([{"route": "/a", "ratio": 0.01}, {"route": "/b", "ratio": 0.02}]),
            Self::Patterns => json!([{"routePrefix": "/a", "ratio": 0.9}, {"spanName": "poll *", "ratio": 0.8}]),
        };
        json!({"ratio": 0.5, "keep": {"errors": true}, "routes": routes})
    }
}

fn world(policies: usize, rules: Rules) -> (Snapshot, Collector) {
    let object = json!({
        "apiVersion": "tracesteward.io/v1alpha1", "kind": "TracingCollector",
        "metadata": {"name": "gateway", "namespace": "observability"},
        "spec": {
            "allowedNamespaces": {"from": "All"},
            "sampling": {"baselineRatio": 0.1, "decisionWait": "1s"},
            "backends": [{"name": "nowhere", "endpoint": "http://127.0.0.1:1"}],
        },
    });
    let collector = read_collector(&object, "default");
    let mut snapshot = Snapshot::default();
    snapshot.collectors.insert(collector.id.clone(), collector.clone());
    for number in 0..policies {
        let name = format!("team-{}", number / PER_NAMESPACE);
        let object = json!({
            "apiVersion": "tracesteward.io/v1alpha1", "kind": "TracingPolicy",
            "metadata": {"name": format!("p-{number}"), "namespace": name},
            "spec": {
                "enabled": true,
                "targets": [{"kind": "Deployment", "name": format!("web-{number}")}],
                "export": {"collectorRef": {"name": "gateway", "namespace": "observability"}},
                "sampling": {"tail": rules.tail()},
            },
        });
        let policy = read_policy(&object, "default");
        snapshot.namespaces.entry(name).or_default().policies.insert(policy.id.name.clone(), policy);
    }
    (snapshot, collector)
}

/// The configuration of a collector; items are policies. Linear growth: the same throughput on every line.
#[divan::bench(args = [10, 100, 1000])]
fn compiled(bencher: Bencher<'_, '_>, policies: usize) {
    let (snapshot, collector) = world(policies, Rules::Routes);
    bencher.counter(ItemsCount::new(policies)).bench_local(|| compile(&snapshot, &collector));
}

/// Spans of one measurement, and of one resource in a request.
const SPANS: u64 = 60_000;
const PER_RESOURCE: u64 = 50;
const RESOURCES: u64 = 10;

/// Processor time of the real collector for each span, from receiver to decision.
fn spans() {
    let Ok(runtime) = tokio::runtime::Builder::new_multi_thread().enable_all().build() else { return };
    println!("\ncollector: microseconds of processor time for each span, and bytes of configuration");
    println!("{:>10} {:>20} {:>20} {:>20}", "policies", "plain", "routes", "patterns");
    for policies in [1, 10, 100, 500] {
        let cells = [Rules::Plain, Rules::Routes, Rules::Patterns].map(|rules| {
            let (snapshot, collector) = world(policies, rules);
            let plan = compile(&snapshot, &collector);
            let Some(configuration) = plan.configurations.first() else { return "-".to_owned() };
            let cpu = runtime.block_on(measure(&configuration.text, policies));
            format!("{:.1} ({} KiB)", cpu.as_secs_f64() * 1e6 / SPANS as f64, configuration.text.len() >> 10)
        });
        println!("{policies:>10} {:>20} {:>20} {:>20}", cells[0], cells[1], cells[2]);
    }
}

async fn measure(configuration: &str, policies: usize) -> Duration {
    // What is kept has nowhere to go, and its exporter would try again and again.
    let over = json!({
        "exporters": {"debug": {"verbosity": "basic"}},
        "service": {"pipelines": {"traces/sample": {"exporters": ["debug"]}}},
    });
    let collector = support::collector::Collector::start_with(configuration, &[], &over).await;
    let mut client = Client::connect(collector.http_port());
    let before = collector.usage().cpu;
    let mut sent = 0;
    let mut resource = 0;
    while sent < SPANS {
        let request = (0..RESOURCES).map(|_| {
            let number = resource % policies as u64;
            resource += 1;
            let spans = (0..PER_RESOURCE).map(|at| {
                let id = sent + at;
                span(
                    id / 5 + 1,
                    id + 1,
                    "GET /b",
                    vec![attribute("http.route", text("/b")), attribute("http.request.method", text("GET"))],
                )
            });
            let spans: Vec<_> = spans.collect();
            sent += PER_RESOURCE;
            from_resource(service(&format!("team-{}", number / PER_NAMESPACE as u64), &format!("web-{number}")), spans)
        });
        client.send(request.collect());
    }
    let name = "otelcol_processor_tail_sampling_global_count_traces_sampled";
    let deadline = Instant::now() + Duration::from_secs(30);
    while collector.metric(name, "") < (SPANS / 5) as f64 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    collector.usage().cpu - before
}
