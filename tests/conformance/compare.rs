//! Runs a case on the real collector and compares what came out with the oracle, trace by trace.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value as Json;

use crate::model::{COLLECTOR, Case, attributes};
use crate::oracle::decide;
use crate::support::otlp::{Client, KeyValue, hex};
use crate::support::process::Scratch;
use crate::support::{Backend, Collector, eventually};

/// What a run of a case showed.
pub(crate) struct Outcome {
    pub(crate) traces: usize,
    pub(crate) kept: usize,
    pub(crate) differences: Vec<String>,
}

/// Runs the renderer over manifests.
pub(crate) fn run_render(documents: &[Json]) -> Output {
    let folder = Scratch::new();
    let file = folder.path().join("manifests.yaml");
    let text: Vec<String> = documents.iter().map(|document| format!("---\n{document}\n")).collect();
    fs::write(&file, text.concat()).expect("the scratch folder can be written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracesteward"));
    command.args(["render", "--collector-config", COLLECTOR]).arg(&file).output().expect("the binary runs")
}

/// The collector configuration that manifests are rendered to.
///
/// # Panics
/// Where anything is wrong with them.
pub(crate) fn render(documents: &[Json]) -> String {
    let output = run_render(documents);
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {complaints}", output.status);
    String::from_utf8(output.stdout).expect("a configuration is UTF-8")
}

/// Renders a case, runs it, and compares.
pub(crate) async fn check(case: &Case) -> Outcome {
    check_changed(case, |configuration| configuration).await
}

/// The same with a configuration that is changed between the renderer and the collector.
pub(crate) async fn check_changed(case: &Case, change: impl FnOnce(String) -> String) -> Outcome {
    let backend = Backend::start().await;
    let configuration = change(render(&case.documents(&backend.endpoint())));
    let mut collector = Collector::start(&configuration).await;
    let mut client = Client::connect(collector.http_port());
    for request in &case.requests {
        client.send(case.encode(request));
    }
    // With a memory that is larger than the case, so none is decided early.
    eventually("every trace is decided", Duration::from_secs(30), || {
        let decided = collector.metric("otelcol_processor_tail_sampling_global_count_traces_sampled", "");
        let wanted = case.traces.len();
        let answer = if decided < f64::from(u32::try_from(wanted).expect("few traces")) {
            Err(format!("{decided} of {wanted}"))
        } else {
            Ok(())
        };
        async move { answer }
    })
    .await;
    // Empties the queue of the exporter.
    assert!(collector.stop().success(), "{}", collector.logs());
    compare(case, &backend)
}

fn compare(case: &Case, backend: &Backend) -> Outcome {
    let mut arrived: HashMap<Vec<u8>, BTreeMap<Vec<u8>, Vec<String>>> = HashMap::new();
    let mut differences = Vec::new();
    for resource_spans in backend.resource_spans() {
        let resource = resource_spans.resource.unwrap_or_default().attributes;
        for span in resource_spans.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            let trace = arrived.entry(span.trace_id.clone()).or_default();
            if trace.insert(span.span_id.clone(), shown(&resource, &span.attributes)).is_some() {
                differences.push(format!("{}: span {} arrived twice", hex(&span.trace_id), hex(&span.span_id)));
            }
        }
    }
    let kept = arrived.len();
    for trace in &case.traces {
        let id = hex(&trace.id);
        let verdict = decide(&case.baseline, &case.policies, trace);
        let found = arrived.remove(&trace.id[..]);
        if verdict.kept != found.is_some() {
            let word = |kept: bool| if kept { "kept" } else { "not kept" };
            let (wanted, was, reason) = (word(verdict.kept), word(found.is_some()), &verdict.reason);
            differences.push(format!("{id} has to be {wanted} ({reason}) and was {was}: {trace:#?}"));
        } else if let Some(found) = found {
            let sent = trace.spans.iter().map(|span| {
                let (resource, own) = (attributes(&span.resource), attributes(&span.attributes));
                (span.id.to_be_bytes().to_vec(), shown(&honest(resource), &honest(own)))
            });
            let sent: BTreeMap<Vec<u8>, Vec<String>> = sent.collect();
            if sent != found {
                differences.push(format!("{id} did not arrive as it was sent: {sent:#?} became {found:#?}"));
            }
        }
    }
    differences.extend(arrived.keys().map(|id| format!("{} was never sent", hex(id))));
    if backend.saw(b"tracesteward.") {
        differences.push("a mark left the collector".to_owned());
    }
    Outcome { traces: case.traces.len(), kept, differences }
}

/// What a sender has to say; the marks are not its own.
fn honest(attributes: Vec<KeyValue>) -> Vec<KeyValue> {
    attributes.into_iter().filter(|attribute| !attribute.key.starts_with("tracesteward.")).collect()
}

/// Attributes of a resource and a span, in an order of their own.
fn shown(resource: &[KeyValue], span: &[KeyValue]) -> Vec<String> {
    let show = |attributes: &[KeyValue]| {
        let mut shown: Vec<String> = attributes.iter().map(|pair| format!("{}={:?}", pair.key, pair.value)).collect();
        shown.sort();
        shown
    };
    [show(resource), vec!["--".to_owned()], show(span)].concat()
}

impl Outcome {
    /// Panics with the first differences.
    pub(crate) fn assert_equal(&self, case: &Case) {
        let first: Vec<&str> = self.differences.iter().take(3).map(String::as_str).collect();
        let (count, policies) = (self.differences.len(), &case.policies);
        let settings = format!("{:#?}\n{policies:#?}", case.baseline);
        assert!(
            first.is_empty(),
            "{}: {count} differences; the first:\n{}\nunder {settings}",
            case.name,
            first.join("\n")
        );
    }
}
