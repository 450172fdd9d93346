//! `simulate`: what it prints, what it refuses, and how it ends.

use std::fs;

use serde_json::{Value, json};

use super::common::{Answer, Files, finish};

const POLICIES: &str = "apiVersion: tracesteward.io/v1alpha1
kind: TracingCollector
metadata: {name: gateway, namespace: observability}
spec:
  allowedNamespaces: {from: All}
  sampling:
    baselineRatio: 0.1
    keep: {errors: true}
    decisionWait: 5s
  scrub: {attributes: [db.statement]}
  backends: [{name: tempo, endpoint: 'http://tempo:4317'}]
---
apiVersion: tracesteward.io/v1alpha1
kind: TracingPolicy
metadata: {name: web, namespace: shop}
spec:
  enabled: true
  targets: [{kind: Deployment, name: web}]
  export: {collectorRef: {name: gateway, namespace: observability}}
  sampling:
    ratio: 0
    tail:
      ratio: 1
      drop:
      - {route: /healthz}
      routes:
      - {routePrefix: /search, ratio: 0}
      - {route: /search/all, ratio: 1}
";

const SECOND: u64 = 1_000_000_000;

/// One span in OTLP JSON.
fn span(trace: &str, service: &str, route: &str, seconds: u64) -> Value {
    let text = |key: &str, text: &str| json!({"key": key, "value": {"stringValue": text}});
    json!({"resourceSpans": [{
        "resource": {"attributes": [text("service.name", service), text("k8s.namespace.name", "shop")]},
        "scopeSpans": [{"spans": [{
            "traceId": format!("{trace:0>32}"), "spanId": format!("{seconds:016x}"), "name": "GET",
            "startTimeUnixNano": SECOND.to_string(), "endTimeUnixNano": (SECOND * (1 + seconds)).to_string(),
            "attributes": [text("http.route", route), text("db.statement", "hunter2")],
        }]}],
    }]})
}

fn recording() -> String {
    let spans = [
        span("1", "web", "/healthz", 1),
        span("2", "web", "/search/all", 1),
        span("3", "web", "/cart", 1),
        span("3", "web", "/cart", 9),
        span("4", "other", "/cart", 1),
    ];
    spans.map(|span| format!("{span}\n")).concat()
}

fn files() -> Files {
    Files::new(&[("policies.yaml", POLICIES), ("traces.jsonl", &recording())])
}

fn simulate(files: &Files, args: &[&str]) -> Answer {
    files.run(&[&["simulate"], args].concat())
}

#[test]
fn the_table_and_the_json() {
    let files = files();
    let answer = simulate(&files, &["--traces", "traces.jsonl", "policies.yaml"]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    insta::assert_snapshot!("simulate_table", answer.stdout);
    let answer = simulate(&files, &["--traces", "traces.jsonl", "-o", "json", "policies.yaml"]);
    assert_eq!(answer.json()["version"], 1);
    insta::assert_snapshot!("simulate_json", answer.stdout);
    assert!(!answer.stdout.contains("hunter2"));
    let answer = simulate(&files, &["--traces", "traces.jsonl", "--head", "-o", "json", "policies.yaml"]);
    let first: Vec<_> = answer.json()["traces"].as_array().unwrap().iter().map(|trace| trace["rule"].clone()).collect();
    assert_eq!(first, ["head", "head", "head", "baseline"]);
    assert_eq!(answer.json()["summary"]["notRecorded"], 3);
}

#[test]
fn compression_and_standard_input() {
    let files = files();
    let plain = simulate(&files, &["--traces", "traces.jsonl", "policies.yaml"]).stdout;
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, recording().as_bytes()).unwrap();
    let packed = packed.finish().unwrap();
    fs::write(files.path("traces.gz"), &packed).unwrap();
    assert_eq!(simulate(&files, &["--traces", "traces.gz", "policies.yaml"]).stdout, plain);
    // Two frames, one after the other, with something between them that is to be skipped.
    let recording = recording();
    let (first, rest) = recording.split_at(400);
    let frame =
        |text: &str| ruzstd::encoding::compress_to_vec(text.as_bytes(), ruzstd::encoding::CompressionLevel::Fastest);
    let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"xyz"].concat();
    fs::write(files.path("traces.zst"), [frame(first), skipped, frame(rest)].concat()).unwrap();
    assert_eq!(simulate(&files, &["--traces", "traces.zst", "policies.yaml"]).stdout, plain);
    let mut command = super::common::command(&["simulate", "--traces", "-", "policies.yaml"]);
    command.current_dir(files.path(""));
    assert_eq!(finish(command, &packed).stdout, plain);
    // A file that ends too early: what is there counts.
    fs::write(files.path("cut.gz"), &packed[..packed.len() - 20]).unwrap();
    let answer = simulate(&files, &["--traces", "cut.gz", "policies.yaml"]);
    assert_eq!(answer.code, Some(3), "{answer:?}");
    assert!(answer.stderr.contains("cut.gz cannot be read") && answer.stdout.contains("SERVICES"), "{answer:?}");
}

#[test]
fn what_cannot_be_read_is_named_and_left_out() {
    let files = files();
    fs::write(files.path("broken.jsonl"), format!("{{\"hunter2\"\n{}", recording())).unwrap();
    let answer = simulate(&files, &["--traces", "broken.jsonl", "policies.yaml"]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let said = answer.stderr.lines().last().unwrap();
    assert_eq!(said, "broken.jsonl: line 1: JSON that ends too early (column 10); it is left out");
    assert!(!answer.stderr.contains("hunter2"), "{answer:?}");
    assert!(answer.stdout.contains("cannot be read: 1\n") && answer.stdout.contains("of 4 traces"), "{answer:?}");
    let answer = simulate(&files, &["--strict", "--traces", "broken.jsonl", "policies.yaml"]);
    assert_eq!((answer.code, answer.stdout.as_str()), (Some(3), ""), "{answer:?}");
    let answer = simulate(&files, &["--traces", "missing.jsonl", "policies.yaml"]);
    assert_eq!(answer.code, Some(3), "{answer:?}");
    assert!(answer.stderr.contains("missing.jsonl cannot be read: no such file or directory"), "{answer:?}");
    assert_eq!(simulate(&files, &["--traces", ".", "policies.yaml"]).code, Some(3));
}

#[test]
fn which_collector_is_meant() {
    let files = files();
    let second = POLICIES
        .replace("name: gateway", "name: second")
        .replace("name: web, namespace: shop", "name: api, namespace: shop");
    let unused = second.split("---").next().unwrap();
    fs::write(files.path("second.yaml"), &second).unwrap();
    fs::write(files.path("unused.yaml"), unused).unwrap();
    let both = ["--traces", "traces.jsonl", "policies.yaml", "second.yaml"];
    let answer = simulate(&files, &both);
    assert_eq!(answer.code, Some(2), "{answer:?}");
    assert!(answer.stderr.contains("add --collector observability/gateway|observability/second"), "{answer:?}");
    let named = |name| simulate(&files, &[&["--collector", name], &both[..]].concat());
    assert!(named("observability/second").stdout.starts_with("TracingCollector observability/second\n"));
    assert_eq!(named("second").code, Some(2));
    assert_eq!(named("observability/third").code, Some(1));
    // One that no policy uses stands back.
    let answer = simulate(&files, &["--traces", "traces.jsonl", "policies.yaml", "unused.yaml"]);
    assert!(answer.stdout.starts_with("TracingCollector observability/gateway\n"), "{answer:?}");
    let answer = simulate(&files, &["--traces", "traces.jsonl", "unused.yaml"]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let policy = POLICIES.split("---").nth(1).unwrap();
    fs::write(files.path("policy.yaml"), policy).unwrap();
    let answer = simulate(&files, &["--traces", "traces.jsonl", "policy.yaml"]);
    assert_eq!(answer.code, Some(1), "{answer:?}");
    assert!(answer.stderr.contains("no TracingCollector in the input"), "{answer:?}");
    fs::write(files.path("bad.yaml"), POLICIES.replace("name: tempo", "name: tem/po")).unwrap();
    assert_eq!(simulate(&files, &["--traces", "traces.jsonl", "bad.yaml"]).code, Some(1));
    assert_eq!(simulate(&files, &["--traces", "-", "-"]).code, Some(2));
}

/// The same policies with more of `/cart` and less of the rest.
fn other_policies() -> String {
    POLICIES
        .replace("ratio: 1\n      drop", "ratio: 0\n      drop")
        .replace("routePrefix: /search, ratio: 0", "routePrefix: /search, ratio: 1")
        .replace("      - {route: /healthz}\n", "      - {route: /metrics}\n")
}

#[test]
fn two_sets_of_policies_are_compared() {
    let files = Files::new(&[("old.yaml", POLICIES), ("traces.jsonl", &recording())]);
    fs::write(files.path("new.yaml"), other_policies()).unwrap();
    let compare = |more: &[&str]| {
        simulate(&files, &[&["--traces", "traces.jsonl", "--compare", "old.yaml", "new.yaml"], more].concat())
    };
    let answer = compare(&[]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    insta::assert_snapshot!("simulate_compare_table", answer.stdout);
    let answer = compare(&["-o", "json"]);
    let both = answer.json();
    insta::assert_snapshot!("simulate_compare_json", answer.stdout);
    assert!(!answer.stdout.contains("hunter2"));
    // It says what the two say alone.
    let alone = |policies| simulate(&files, &["--traces", "traces.jsonl", "-o", "json", policies]).json();
    let (old, new) = (alone("old.yaml"), alone("new.yaml"));
    assert_eq!(both["summary"]["old"], old["summary"]);
    assert_eq!(both["summary"]["new"], new["summary"]);
    let fates = |of: &Value| -> Vec<(Value, Value)> {
        of["traces"].as_array().unwrap().iter().map(|one| (one["traceId"].clone(), one["kept"].clone())).collect()
    };
    let changed: Vec<_> = fates(&old).into_iter().zip(fates(&new)).filter(|(old, new)| old.1 != new.1).collect();
    let listed = both["traces"].as_array().unwrap();
    assert!(!changed.is_empty());
    assert_eq!(listed.len(), changed.len());
    for (trace, ((id, was), (_, is))) in listed.iter().zip(changed) {
        assert_eq!((&trace["traceId"], &trace["old"]["kept"], &trace["new"]["kept"]), (&id, &was, &is));
    }
    // Nothing changes between the same.
    let same =
        simulate(&files, &["--traces", "traces.jsonl", "--compare", "old.yaml", "old.yaml", "-o", "json"]).json();
    assert_eq!((&same["traces"], &same["summary"]["unchanged"]), (&json!([]), &json!(4)));
    assert_eq!(compare(&["-o", "html"]).code, Some(2));
    assert_eq!(simulate(&files, &["--traces", "traces.jsonl"]).code, Some(2));
}

#[test]
fn what_belongs_to_both_sets_is_given_beside_them() {
    let files = files();
    let (collector, policy) = POLICIES.split_once("---\n").unwrap();
    let warned = policy.replace("spec:\n", "spec:\n  genAi: {captureContent: true}\n");
    for (name, text) in [("collector.yaml", collector), ("old/a.yaml", policy), ("new/a.yaml", &warned)] {
        fs::create_dir_all(files.path(name).parent().unwrap()).unwrap();
        fs::write(files.path(name), text).unwrap();
    }
    let answer = simulate(&files, &["--traces", "traces.jsonl", "--compare", "old", "new", "collector.yaml"]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    assert!(answer.stdout.contains("change their fate: 0 of 4 traces"), "{answer:?}");
    let without = simulate(&files, &["--traces", "traces.jsonl", "--compare", "old", "new"]);
    assert_eq!(without.code, Some(1), "{without:?}");
}

/// `exports/otlp.jsonl` was sent to a Jaeger 1.76, and the others are what it gave back.
#[test]
fn what_jaeger_exports_is_decided_as_what_it_was_sent() {
    let policies = POLICIES.replace("ratio: 1\n      drop", "ratio: 0.7\n      keep: {slowerThan: 2s}\n      drop");
    let files = Files::new(&[("policies.yaml", &policies)]);
    let decided = |export: &str| -> Vec<Value> {
        let path = super::common::root().join("tests/cli/exports").join(export);
        let answer = simulate(&files, &["--traces", path.to_str().unwrap(), "-o", "json", "policies.yaml"]);
        assert_eq!((answer.code, answer.json()["summary"]["malformed"].clone()), (Some(0), json!(0)), "{answer:?}");
        let fields = ["traceId", "kept", "rule", "policy", "service", "namespace", "route", "spans"];
        let traces = answer.json()["traces"].as_array().unwrap().clone();
        let mut traces: Vec<_> =
            traces.iter().map(|trace| fields.iter().map(|field| trace[*field].clone()).collect::<Value>()).collect();
        traces.sort_by_key(ToString::to_string);
        traces
    };
    let sent = decided("otlp.jsonl");
    assert_eq!(
        sent.iter().map(|trace| trace[2].as_str().unwrap()).collect::<Vec<_>>(),
        ["ratio", "drop[0]", "collector.errors"]
    );
    assert_eq!(decided("jaeger.json"), sent);
    // Of one trace alone.
    assert_eq!(decided("jaeger-v3.json"), sent[..1]);
}
