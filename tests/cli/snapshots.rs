//! Whole outputs, committed beside this file. `cargo insta review`, or INSTA_UPDATE=always, accepts a change.

use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::{Value, json};

use super::common::{Files, root, run};

/// A case of the table that every validator is fed with.
#[derive(Deserialize)]
struct Case {
    name: String,
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    warning: bool,
    spec: Value,
}

fn cases() -> Vec<Case> {
    let text = std::fs::read_to_string(root().join("tests/cases/policies.yaml")).unwrap();
    serde_saphyr::from_str(&text).unwrap()
}

fn files(cases: &[Case]) -> Files {
    let mut text = String::new();
    for (index, case) in cases.iter().enumerate() {
        let policy = json!({
            "apiVersion": "tracesteward.io/v1alpha1",
            "kind": "TracingPolicy",
            "metadata": {"name": format!("case-{index}"), "namespace": format!("ns-{index}")},
            "spec": case.spec,
        });
        write!(text, "---\n# {}\n{}", case.name, serde_saphyr::to_string(&policy).unwrap()).unwrap();
    }
    Files::new(&[("cases.yaml", &text)])
}

#[test]
fn every_case_of_the_table_has_its_finding() {
    let cases = cases();
    let answer = files(&cases).run(&["validate", "-o", "json", "cases.yaml"]).json();
    for (index, case) in cases.iter().enumerate() {
        let name = format!("case-{index}");
        let findings = answer["diagnostics"].as_array().unwrap();
        let found: Vec<_> = findings.iter().filter(|found| found["name"] == name.as_str()).collect();
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
fn pretty_output_of_the_table() {
    insta::assert_snapshot!(files(&cases()).run(&["validate", "cases.yaml"]).stdout);
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
fn the_samples_are_fine() {
    let answer =
        run(&["validate", "--fail-on", "warning", "config/samples/checkout.yaml", "config/samples/worker.yaml"]);
    assert_eq!(answer.code, Some(0), "{}", answer.stdout);
    assert_eq!(run(&["validate", "config/samples/refused/no-endpoint.yaml"]).code, Some(1));
}
