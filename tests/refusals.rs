//! A table of policies and one of collectors, put to everybody who may refuse one: the API server with the rules of the
//! CRDs, and the operator; in `callers` its webhook, its controller and its command line.
#![allow(clippy::panic, clippy::unwrap_used, reason = "clippy's exception for tests does not reach their helpers")]

#[path = "refusals/callers.rs"]
mod callers;
mod fixtures;
mod support;

use fixtures::{documents, file, shared, text};
use kube::api::PostParams;
use kube::core::{Request, Status};
use serde_json::{Value, json};
use tracesteward::diagnostics::{Code, Diagnostic, Severity};
use tracesteward::plan::{read_cluster_policy, read_collector, read_policy};

/// A case of the table.
struct Case {
    name: String,
    code: Option<Code>,
    /// What the API server says in words of its own.
    schema: Option<String>,
    is_warning: bool,
    object: Value,
}

impl Case {
    /// The words with which the API server must refuse it, if it must.
    fn refusal(&self) -> Option<String> {
        let code = self.code.filter(|_| !self.is_warning)?;
        Some(self.schema.clone().unwrap_or_else(|| format!("{code}: {}", code.message())))
    }
}

/// A table, and who reads what is in it.
struct Table {
    path: &'static str,
    kind: &'static str,
    plural: &'static str,
    /// Fewer cases than this were not all of them.
    least: usize,
    findings: fn(&Value) -> Vec<Diagnostic>,
}

const TABLES: [Table; 3] = [
    Table {
        path: "tests/cases/policies.yaml",
        kind: "TracingPolicy",
        plural: "tracingpolicies",
        least: 90,
        findings: |object| read_policy(object, "team").findings,
    },
    Table {
        path: "tests/cases/cluster-policies.yaml",
        kind: "ClusterTracingPolicy",
        plural: "clustertracingpolicies",
        least: 40,
        findings: |object| read_cluster_policy(object).findings,
    },
    Table {
        path: "tests/cases/collectors.yaml",
        kind: "TracingCollector",
        plural: "tracingcollectors",
        least: 110,
        findings: |object| read_collector(object, "team").findings,
    },
];

impl Table {
    fn cases(&self) -> Vec<Case> {
        let table = documents(&file(self.path)).remove(0);
        let cases: Vec<_> = table.as_array().unwrap().iter().map(|case| self.case(case)).collect();
        assert!(cases.len() >= self.least, "{}: only {} cases were read", self.path, cases.len());
        cases
    }

    fn case(&self, case: &Value) -> Case {
        for key in case.as_object().unwrap().keys() {
            let known = ["name", "code", "schema", "warning", "metadata", "spec"].contains(&key.as_str());
            assert!(known, "{}: {key}: what is that?", self.path);
        }
        let metadata = case.get("metadata").cloned().unwrap_or_else(|| json!({"name": "case"}));
        Case {
            name: text(&case["name"]).to_owned(),
            code: case.get("code").map(|code| Code::parse(text(code)).unwrap_or_else(|| panic!("{code}"))),
            schema: case.get("schema").map(|words| text(words).to_owned()),
            is_warning: case["warning"] == true,
            object: json!({
                "apiVersion": "tracesteward.io/v1alpha1", "kind": self.kind, "metadata": metadata, "spec": case["spec"],
            }),
        }
    }
}

/// What is between two codes is one refusal; the API server may add `, ` and `<nil>: ` around them.
fn codes_in(message: &str) -> Vec<&str> {
    message.match_indices("TRC").filter_map(|(at, _)| message.get(at..at + 7)).collect()
}

#[tokio::test]
async fn the_api_server_refuses_what_the_tables_say() {
    let plane = shared().await;
    let namespace = plane.namespace("refusals").await;
    let client = plane.client().await;
    let params = PostParams { dry_run: true, ..PostParams::default() };
    let mut wrong = Vec::new();
    for table in TABLES {
        let scope = if table.kind.starts_with("Cluster") { String::new() } else { format!("namespaces/{namespace}/") };
        let url = format!("/apis/tracesteward.io/v1alpha1/{scope}{}", table.plural);
        for case in table.cases() {
            let body = case.object.to_string().into_bytes();
            let mut request = Request::new(url.clone()).create(&params, body).unwrap();
            *request.uri_mut() = format!("{}&fieldValidation=Strict", request.uri()).parse().unwrap();
            let said = match client.request_text(request).await {
                Ok(_) => None,
                Err(kube::Error::Api(status)) => Some(*status),
                Err(error) => panic!("{}: {error}", case.name),
            };
            let fault = match (case.refusal(), &said) {
                (None, None) => None,
                (None, Some(status)) => Some(format!("refused: {}", status.message)),
                (Some(words), None) => Some(format!("accepted, not refused with {words}")),
                (Some(words), Some(status)) => disagreement(&case, &words, status),
            };
            wrong.extend(fault.map(|fault| format!("{}: {}: {fault}", table.kind, case.name)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// How a refusal differs from what it must be.
fn disagreement(case: &Case, words: &str, status: &Status) -> Option<String> {
    let is_right = if case.schema.is_some() {
        status.message.contains(words)
    } else {
        // One cause, which ends with exactly these words; none beside it that a user would have to puzzle over.
        let causes = status.details.as_ref().map_or(&[][..], |details| &details.causes);
        let code = case.code.map(Code::as_str).unwrap_or_default();
        let ends = causes.iter().any(|cause| cause.message == words || cause.message.ends_with(&format!(": {words}")));
        ends && causes.len() == 1 && codes_in(&status.message) == [code]
    };
    (!is_right).then(|| format!("must say {words:?}, says {:?}", status.message))
}

#[test]
fn the_operator_finds_what_the_tables_say() {
    let wrong: Vec<_> =
        TABLES.iter().flat_map(|table| table.cases().into_iter().filter_map(|case| missed(table, &case))).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// How what the operator finds differs from what it must.
fn missed(table: &Table, case: &Case) -> Option<String> {
    let found = (table.findings)(&case.object);
    let (errors, others): (Vec<_>, Vec<_>) = found.iter().partition(|finding| finding.severity() == Severity::Error);
    let codes = |findings: &[&Diagnostic]| -> Vec<Code> { findings.iter().map(|finding| finding.code).collect() };
    let expected = case.code.as_slice();
    let is_right = if case.is_warning {
        // The same may be said of several fields.
        let mut codes = codes(&others);
        codes.dedup();
        errors.is_empty() && codes == expected
    } else {
        codes(&errors) == expected && (case.code.is_some() || others.is_empty())
    };
    let shown: Vec<_> = found.iter().map(|finding| format!("{} at {}", finding.code, finding.path)).collect();
    (!is_right).then(|| format!("{}: {}: {expected:?} expected, found {}", table.kind, case.name, shown.join("; ")))
}

#[tokio::test]
async fn kubectl_shows_the_refusal_to_the_user() {
    let plane = shared().await;
    let namespace = plane.namespace("kubectl").await;
    let told = TABLES.iter().flat_map(Table::cases);
    let told: Vec<_> = told.filter(|case| case.schema.is_some() || case.name.starts_with("enabled w")).collect();
    assert!(told.len() > 20);
    for case in told {
        let args = ["create", "--dry-run=server", "--namespace", &namespace, "-f", "-"];
        let said = plane.kubectl_stdin(&args, &case.object.to_string()).failure();
        let words = case.refusal().unwrap();
        assert!(said.contains(&words), "{}: must say {words:?}, says {said:?}", case.name);
    }
}
