//! Whole outputs, committed beside this file. `cargo insta review`, or INSTA_UPDATE=always, accepts a change.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::{Value, json};

use super::common::{Files, root, run, run_with};

/// A case of the table that every validator is fed with.
#[derive(Deserialize)]
struct Case {
    name: String,
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    warning: bool,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
    spec: Value,
}

/// The tables, with the kind of what is in them.
const TABLES: [(&str, &str); 2] = [("policies", "TracingPolicy"), ("collectors", "TracingCollector")];

fn cases(table: &str) -> Vec<Case> {
    let text = std::fs::read_to_string(root().join(format!("tests/cases/{table}.yaml"))).unwrap();
    serde_saphyr::from_str(&text).unwrap()
}

fn files(kind: &str, cases: &[Case]) -> Files {
    let mut text = String::new();
    for (index, case) in cases.iter().enumerate() {
        let name = case.metadata.get("name").cloned().unwrap_or_else(|| format!("case-{index}"));
        let object = json!({
            "apiVersion": "tracesteward.io/v1alpha1",
            "kind": kind,
            "metadata": {"name": name, "namespace": format!("ns-{index}")},
            "spec": case.spec,
        });
        write!(text, "---\n# {}\n{}", case.name, serde_saphyr::to_string(&object).unwrap()).unwrap();
    }
    Files::new(&[("cases.yaml", &text)])
}

#[test]
fn every_case_of_the_tables_has_its_finding() {
    for (table, kind) in TABLES {
        let cases = cases(table);
        let answer = files(kind, &cases).run(&["validate", "-o", "json", "cases.yaml"]).json();
        has_its_findings(&cases, &answer);
    }
}

fn has_its_findings(cases: &[Case], answer: &Value) {
    for (index, case) in cases.iter().enumerate() {
        let namespace = format!("ns-{index}");
        let findings = answer["diagnostics"].as_array().unwrap();
        let found: Vec<_> = findings.iter().filter(|found| found["namespace"] == namespace.as_str()).collect();
        let codes: Vec<_> = found.iter().map(|found| found["code"].as_str().unwrap()).collect();
        // One fault may be two findings: a misspelt `endpoint` is a missing one too.
        match &case.code {
            None => assert!(codes.is_empty(), "{}: {codes:?}", case.name),
            Some(code) => assert!(codes.contains(&code.as_str()), "{}: {codes:?}", case.name),
        }
        for found in found {
            assert_eq!(found["severity"], if case.warning { "warning" } else { "error" }, "{}", case.name);
        }
    }
}

#[test]
fn pretty_output_of_the_tables() {
    for (table, kind) in TABLES {
        insta::assert_snapshot!(
            format!("pretty_output_of_{table}"),
            files(kind, &cases(table)).run(&["validate", "cases.yaml"]).stdout
        );
    }
}

#[test]
fn the_samples_rendered() {
    for output in ["yaml", "json", "patch"] {
        let answer = run(&["render", "-o", output, "config/samples/checkout.yaml", "config/samples/worker.yaml"]);
        assert_eq!((answer.code, answer.stderr.as_str()), (Some(0), ""));
        insta::assert_snapshot!(format!("samples_{output}"), answer.stdout);
    }
    let env =
        ["render", "-o", "env", "-n", "shop", "--workload", "Deployment/checkout", "config/samples/checkout.yaml"];
    insta::assert_snapshot!("samples_env", run(&env).stdout);
}

#[test]
fn an_instrumented_workload_rendered() {
    for output in ["yaml", "patch"] {
        let answer = run(&["render", "-o", output, "config/samples/instrumentation.yaml"]);
        assert_eq!((answer.code, answer.stderr.as_str()), (Some(0), ""));
        insta::assert_snapshot!(format!("instrumentation_{output}"), answer.stdout);
    }
    let explained = run(&["explain", "deployment/search", "-n", "shop", "config/samples/instrumentation.yaml"]);
    insta::assert_snapshot!("instrumentation_explained", explained.stdout);
    // At Pod level the user's own value is joined.
    let sample = std::fs::read_to_string("config/samples/instrumentation.yaml").unwrap();
    let own = sample
        .replace("        ports:\n", "        env: [{name: PYTHONPATH, value: \"/app:$(EXTRA)\"}]\n        ports:\n")
        .replace("  enabled: true\n", "  enabled: true\n  injection: {mode: Pod}\n");
    let joined = "value: /otel-auto-instrumentation-python/opentelemetry/instrumentation/auto_instrumentation:\
                  /app:$(EXTRA):/otel-auto-instrumentation-python\n";
    let env = run_with(&["render", "-o", "env", "-n", "shop", "--workload", "Deployment/search", "-"], &own);
    assert!(env.stdout.contains("# PYTHONPATH: loads the instrumentation\n"), "{env:?}");
    let whole = run_with(&["render", "-o", "yaml", "-"], &own);
    assert!(whole.stdout.contains(joined), "{whole:?}");
    assert_eq!(whole.stdout.matches("PYTHONPATH").count(), 1, "{whole:?}");
    // In a template it is the user's.
    let template = own.replace("  injection: {mode: Pod}\n", "");
    let answer = run_with(&["render", "-o", "yaml", "-"], &template);
    assert!(!answer.stdout.contains("tracesteward-python") && answer.stderr.contains("TRC0505"), "{answer:?}");
    assert!(answer.stdout.contains("OTEL_SERVICE_NAME"), "{answer:?}");
}

#[test]
fn the_samples_are_fine() {
    let samples = ["checkout", "worker", "instrumentation"].map(|name| format!("config/samples/{name}.yaml"));
    let mut args = vec!["validate", "--fail-on", "warning"];
    args.extend(samples.iter().map(String::as_str));
    let answer = run(&args);
    assert_eq!(answer.code, Some(0), "{}", answer.stdout);
    let answer = run(&["validate", "--fail-on", "warning", "config/samples/collector"]);
    assert_eq!(answer.code, Some(0), "{}", answer.stdout);
    assert_eq!(run(&["validate", "config/samples/refused/no-endpoint.yaml"]).code, Some(1));
}

#[test]
fn the_sample_of_a_collector_does_what_its_comments_say() {
    let args = ["render", "--collector-config", "observability/gateway", "config/samples/collector"];
    let answer = run(&args);
    assert_eq!((answer.code, answer.stderr.as_str()), (Some(0), ""), "{answer:?}");
    // Two services of one name, a route of its own ratio, a service that is always kept, no value of the Secret.
    for part in
        ["search", "billing", "/v1/search", "sampling_percentage: 1\n", "sampling_percentage: 10\n", "caretaker-mcp"]
    {
        assert!(answer.stdout.contains(part), "{part}: {}", answer.stdout);
    }
    assert!(!answer.stdout.contains("replace-me"), "{}", answer.stdout);
}
