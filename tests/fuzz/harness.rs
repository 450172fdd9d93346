//! What is done with bytes that nobody has looked at. Each function returns, whatever it is given: that is the test. Used by
//! `tests/fuzz.rs` with mutations of the corpora, and by the targets of cargo-fuzz under `fuzz/`.
#![allow(dead_code, reason = "a target of cargo-fuzz uses one function")]

use serde_json::Value;
use tracesteward::admission::answers;
use tracesteward::diagnostics::FieldPath;
use tracesteward::diagnostics::format::{Summary, pretty};
use tracesteward::diagnostics::source::read;
use tracesteward::index::{PodHook, Snapshot};
use tracesteward::plan::collector::{Sampler, compile};
use tracesteward::plan::{plan, read_cluster_policy, read_collector, read_policy};
use tracesteward::simulate::read::{Batch, Malformed, Reader, Sink};
use tracesteward::simulate::{Fate, Fates, Names, Simulation};

/// A file of `validate`: documents, their places, and findings in the words and colours of a terminal.
pub(crate) fn yaml(bytes: &[u8]) {
    let reading = read("fuzz.yaml", bytes.to_vec());
    let mut findings = reading.diagnostics.clone();
    for document in &reading.documents {
        document.locate(&FieldPath::fields("spec.sampling.tail.routes"));
        let found = read_policy(document.value(), "default").findings;
        findings.extend(found.into_iter().map(|finding| document.located(finding)));
    }
    let summary = Summary::of(&findings, reading.documents.len());
    pretty(&findings, summary, true);
}

/// Objects of the API group as the API server may have them, one JSON value a line: planned, and compiled into configurations, which
/// are YAML with one document, the same each time.
pub(crate) fn objects(bytes: &[u8]) {
    let lines = bytes.split(|byte| *byte == b'\n').take(8);
    let objects: Vec<Value> = lines.filter_map(|line| serde_json::from_slice(line).ok()).collect();
    let first = compiled(&objects);
    assert_eq!(first, compiled(&objects), "the same input gives the same bytes");
    for text in first {
        let reading = read("collector.yaml", text.clone().into_bytes());
        assert!(reading.diagnostics.is_empty() && reading.documents.len() == 1, "{text}");
    }
}

fn compiled(objects: &[Value]) -> Vec<String> {
    let mut snapshot = Snapshot { assumes_permission: true, hook: PodHook::Unmanaged, ..Snapshot::default() };
    for object in objects {
        match object.get("kind").and_then(Value::as_str) {
            Some("TracingCollector") => {
                let collector = read_collector(object, "default");
                snapshot.collectors.insert(collector.id.clone(), collector);
            }
            Some("ClusterTracingPolicy") => {
                let policy = read_cluster_policy(object);
                snapshot.cluster_policies.insert(policy.id.name.clone(), policy);
            }
            _ => {
                let policy = read_policy(object, "default");
                let namespace = snapshot.namespaces.entry(policy.id.namespace.clone()).or_default();
                namespace.policies.insert(policy.id.name.clone(), policy);
            }
        }
    }
    plan(&snapshot);
    let configurations = snapshot.collectors.values().flat_map(|collector| {
        Sampler::new(&snapshot, collector);
        compile(&snapshot, collector).configurations
    });
    configurations.map(|configuration| configuration.text).collect()
}

/// What the API server asks the webhook: whatever the object is, there is an answer with the id of the question.
pub(crate) fn review(bytes: &[u8]) {
    for answer in answers(bytes).into_iter().flatten() {
        assert!(answer["response"]["uid"].is_string() && answer["response"]["allowed"].is_boolean(), "{answer}");
    }
}

/// A recording of `simulate`, in one piece and byte by byte: both read the same.
pub(crate) fn otlp(bytes: &[u8]) {
    let whole = recorded([bytes].into_iter());
    let pieces = recorded(bytes.chunks(1 + bytes.len() / 97));
    assert_eq!(whole, pieces);
}

fn recorded<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (u64, u64, Vec<Malformed>) {
    let collector = serde_json::json!({
        "apiVersion": "tracesteward.io/v1alpha1", "kind": "TracingCollector",
        "metadata": {"name": "gateway", "namespace": "default"},
        "spec": {
            "sampling": {"baselineRatio": 0.5, "keep": {"errors": true, "slowerThan": "1s"}, "tracesInMemory": 2},
            "scrub": {"attributes": ["db.statement"], "truncate": {"http.route": 3}},
            "backends": [{"name": "nowhere", "endpoint": "http://127.0.0.1:1"}],
        },
    });
    let (mut snapshot, collector) = (Snapshot::default(), read_collector(&collector, "default"));
    snapshot.collectors.insert(collector.id.clone(), collector.clone());
    let Some(sampler) = Sampler::new(&snapshot, &collector) else { panic!("the collector is valid") };
    let mut intake =
        Intake { simulation: Simulation::new(&sampler, true).with_examples(), fates: 0, malformed: Vec::new() };
    let mut reader = Reader::new(|_| Ok(None));
    for piece in pieces {
        reader.push(piece, &mut intake);
    }
    reader.finish(&mut intake);
    let Intake { simulation, fates, malformed } = intake;
    let mut count = Count(fates);
    let (summary, _) = simulation.finish(&mut count);
    assert!(summary.all.kept <= summary.all.traces && count.0 == summary.all.traces);
    (summary.all.traces, summary.all.spans, malformed)
}

struct Intake<'s> {
    simulation: Simulation<'s>,
    fates: u64,
    malformed: Vec<Malformed>,
}

struct Count(u64);

impl Fates for Count {
    fn fate(&mut self, _: &Fate, _: &Names) {
        self.0 += 1;
    }
}

impl Sink for Intake<'_> {
    fn batches(&mut self, batches: &[Batch<'_>]) {
        let mut count = Count(self.fates);
        for batch in batches {
            self.simulation.take(batch, &mut count);
        }
        self.fates = count.0;
    }

    fn malformed(&mut self, malformed: Malformed) -> bool {
        self.malformed.push(malformed);
        true
    }
}
