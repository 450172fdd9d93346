//! Runs a case on the real collector and in `simulate`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value as Json, json};

use crate::compare::render;
use crate::model::Case;
use crate::recordings;
use crate::support::otlp::{Client, hex};
use crate::support::process::Scratch;
use crate::support::{Backend, Collector};

/// How a recording comes to `simulate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// JSON, a request a line.
    Lines,
    /// Protobuf, each request behind its length.
    Frames,
    /// One protobuf message with everything, compressed.
    Message,
    /// What the collector's file exporter writes.
    FileJson,
    /// The same as protobuf, each message compressed.
    FileProtobuf,
    /// JSON as people like to read it.
    Pretty,
}

impl Form {
    pub(crate) const ALL: [Self; 6] =
        [Self::Lines, Self::Frames, Self::Message, Self::FileJson, Self::FileProtobuf, Self::Pretty];

    /// The settings of the file exporter.
    fn exporter(self, file: &Path) -> Json {
        match self {
            Self::FileProtobuf => json!({"path": file, "format": "proto", "compression": "zstd"}),
            _ => json!({"path": file}),
        }
    }

    fn is_of_exporter(self) -> bool {
        matches!(self, Self::FileJson | Self::FileProtobuf)
    }
}

/// What both said.
pub(crate) struct Outcome {
    pub(crate) traces: usize,
    pub(crate) kept: usize,
    pub(crate) differences: Vec<String>,
}

impl Outcome {
    pub(crate) fn assert_equal(&self, case: &Case, form: Form) {
        let first: Vec<&str> = self.differences.iter().take(3).map(String::as_str).collect();
        let (count, name) = (self.differences.len(), &case.name);
        let settings = format!("{:#?}\n{:#?}", case.baseline, case.policies);
        assert!(
            first.is_empty(),
            "{name}, {form:?}: {count} differences; the first:\n{}\nunder {settings}",
            first.join("\n")
        );
    }
}

/// Runs a case, with a configuration that may be changed between the renderer and the collector.
pub(crate) async fn compare(case: &Case, form: Form, change: impl FnOnce(String) -> String) -> Outcome {
    compare_with(case, form, &json!({}), change).await
}

/// The same with fields of the collector's `spec` beside.
pub(crate) async fn compare_with(
    case: &Case,
    form: Form,
    spec: &Json,
    change: impl FnOnce(String) -> String,
) -> Outcome {
    let folder = Scratch::new();
    let recording = folder.path().join("recording");
    let backend = Backend::start().await;
    let mut documents = case.documents(&backend.endpoint());
    // It decides as it ends, and nothing depends on how fast this machine is.
    documents[0]["spec"]["sampling"]["decisionWait"] = json!("600s");
    for (field, value) in spec.as_object().expect("fields") {
        documents[0]["spec"][field] = value.clone();
    }
    let over = json!({
        "exporters": {"file/all": form.exporter(&recording)},
        "service": {"pipelines": {"traces/in": {"exporters": ["forward/sample", "file/all"]}}},
    });
    let over = if form.is_of_exporter() { over } else { json!({}) };
    let mut collector = Collector::start_with(&change(render(&documents)), &[], &over).await;
    let mut client = Client::connect(collector.http_port());
    let requests: Vec<_> = case.requests.iter().map(|request| case.encode(request)).collect();
    for request in &requests {
        client.send(request.clone());
    }
    assert!(collector.stop().success(), "{}", collector.logs());
    if !form.is_of_exporter() {
        fs::write(&recording, recordings::write(form, &requests)).expect("the scratch folder can be written");
    }
    let said = simulate(&documents, &recording);
    if !form.is_of_exporter() {
        assert_eq!(said["summary"]["bytes"], recordings::bytes(&requests), "{form:?}: size of the spans");
    }
    equal(case, &backend, &said)
}

/// Runs the binary.
fn simulate(documents: &[Json], recording: &Path) -> Json {
    let manifests = recording.with_extension("yaml");
    let text: Vec<String> = documents.iter().map(|document| format!("---\n{document}\n")).collect();
    fs::write(&manifests, text.concat()).expect("the scratch folder can be written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracesteward"));
    let output =
        command.args(["simulate", "--strict", "-o", "json", "--traces"]).arg(recording).arg(&manifests).output();
    let output = output.expect("the binary runs");
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn equal(case: &Case, backend: &Backend, said: &Json) -> Outcome {
    let mut arrived: BTreeMap<String, usize> = BTreeMap::new();
    for span in backend.spans() {
        *arrived.entry(hex(&span.trace_id)).or_default() += 1;
    }
    let traces = said["traces"].as_array().expect("traces");
    let mut verdicts: BTreeMap<&str, &Json> = BTreeMap::new();
    let mut differences = Vec::new();
    for verdict in traces {
        let id = verdict["traceId"].as_str().expect("an id");
        if verdicts.insert(id, verdict).is_some() {
            differences.push(format!("{id} is there twice"));
        }
    }
    for trace in &case.traces {
        let id = hex(&trace.id);
        let Some(verdict) = verdicts.remove(id.as_str()) else {
            differences.push(format!("{id} is not there"));
            continue;
        };
        let was = arrived.get(&id).copied().unwrap_or_default();
        let expected = if verdict["kept"] == true { trace.spans.len() } else { 0 };
        if was != expected || verdict["spans"] != trace.spans.len() {
            differences.push(format!("{was} spans of {id} were kept, and simulate says {verdict}: {trace:#?}"));
        }
    }
    differences.extend(verdicts.keys().map(|id| format!("{id} was never sent")));
    let counted = (said["summary"]["traces"].as_u64(), said["summary"]["kept"].as_u64());
    let kept = traces.iter().filter(|verdict| verdict["kept"] == true).count();
    assert_eq!(counted, (Some(traces.len() as u64), Some(kept as u64)), "{}", said["summary"]);
    Outcome { traces: case.traces.len(), kept: arrived.len(), differences }
}
