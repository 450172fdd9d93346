//! An AdmissionReview in, its answer out: the findings of the object, by the functions that the controller and the CLI use.

use std::fmt::Write as _;

use k8s_openapi::ByteString;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Injector;
use crate::{
    api::GROUP,
    diagnostics::{Code, Diagnostic, FieldPath, Severity},
    plan::{read_cluster_policy, read_collector, read_policy, repair::repair},
    telemetry::metrics::Validation,
};

/// Longer warnings may be cut off by the API server, all of them together.
const WARNING: usize = 256;

/// Why a request cannot be answered.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReviewError {
    /// It is not JSON, or has other fields.
    #[error("not an AdmissionReview: {0}")]
    Malformed(#[from] serde_json::Error),
    /// It is something else.
    #[error("not an AdmissionReview of admission.k8s.io/v1 with a request")]
    Other,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Review {
    api_version: String,
    kind: String,
    request: Option<Request>,
}

/// What the API server asks.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Request {
    uid: String,
    kind: Kind,
    operation: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    object: Value,
    #[serde(default)]
    old_object: Value,
}

#[derive(Debug, Deserialize)]
struct Kind {
    group: String,
    kind: String,
}

impl Request {
    /// Reads a request.
    ///
    /// # Errors
    /// See [`ReviewError`].
    pub(super) fn read(body: &[u8]) -> Result<Self, ReviewError> {
        let review: Review = serde_json::from_slice(body)?;
        let is_review = review.api_version == "admission.k8s.io/v1" && review.kind == "AdmissionReview";
        review.request.filter(|_| is_review).ok_or(ReviewError::Other)
    }

    /// By what the API server knows it.
    pub(super) fn uid(&self) -> &str {
        &self.uid
    }

    /// The kind of the object.
    pub(super) fn kind(&self) -> &str {
        &self.kind.kind
    }

    /// The namespace of the object, where it has one.
    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The answer: refused with every error that was found, else let through with what else was found as warnings.
    pub(super) fn validate(&self, own_namespace: Option<&str>) -> (Validation, Value) {
        let mut findings = if self.is_looked_at() {
            findings(&self.kind.kind, &self.object, &self.namespace).unwrap_or_default()
        } else {
            Vec::new()
        };
        // What the object alone does not say.
        let excluded = Diagnostic::new(Code::TRC0127, FieldPath::fields("metadata.namespace"));
        let is_own = !self.namespace.is_empty() && Some(self.namespace.as_str()) == own_namespace;
        if is_own && self.is_looked_at() && !findings.contains(&excluded) {
            findings.push(excluded);
        }
        let (errors, others): (Vec<_>, Vec<_>) =
            findings.iter().partition(|finding| finding.severity() == Severity::Error);
        let warnings: Vec<_> = others.iter().map(|finding| warning(finding)).collect();
        let mut response = json!({"uid": self.uid, "allowed": errors.is_empty()});
        if !errors.is_empty() {
            let message = errors.iter().map(|finding| refusal(finding)).collect::<Vec<_>>().join("\n");
            response["status"] =
                json!({"metadata": {}, "status": "Failure", "reason": "Invalid", "code": 422, "message": message});
        }
        let said = match (errors.is_empty(), warnings.is_empty()) {
            (false, _) => Validation::Refused,
            (true, false) => Validation::Warned,
            (true, true) => Validation::Valid,
        };
        if !warnings.is_empty() {
            response["warnings"] = json!(warnings);
        }
        (said, answer(&response))
    }

    /// The answer to the update of a workload: let through, with what has to go so that it says what its author meant.
    pub(super) fn repair(&self) -> Value {
        let operations = if self.operation == "UPDATE" { repair(&self.object, &self.old_object) } else { Vec::new() };
        self.patched(&json!(operations))
    }

    /// The answer to a pod that is about to be created: let through, with the settings of its policies.
    pub(super) fn inject(&self, injector: &dyn Injector) -> Value {
        let is_meant = self.operation == "CREATE" && self.kind.group.is_empty() && self.kind.kind == "Pod";
        let operations = if is_meant { injector.inject(&self.namespace, &self.object) } else { Vec::new() };
        self.patched(&json!(operations))
    }

    fn patched(&self, operations: &Value) -> Value {
        let mut response = json!({"uid": self.uid, "allowed": true});
        if operations.as_array().is_some_and(|operations| !operations.is_empty()) {
            response["patchType"] = json!("JSONPatch");
            response["patch"] = json!(ByteString(operations.to_string().into_bytes()));
        }
        answer(&response)
    }

    /// What is about to go, and what keeps its specification, is nobody's business here: finalizers, labels and owners must be
    /// changeable on what was let in once.
    fn is_looked_at(&self) -> bool {
        let is_going = self.object.pointer("/metadata/deletionTimestamp").is_some_and(|time| !time.is_null());
        let is_same = || self.object.get("spec") == self.old_object.get("spec");
        let is_new = match self.operation.as_str() {
            "CREATE" => true,
            "UPDATE" => !is_same(),
            _ => false,
        };
        self.kind.group == GROUP && is_new && !is_going
    }
}

fn answer(response: &Value) -> Value {
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
}

/// What is wrong with an object of the API group by itself; `None` for a kind that is not known.
fn findings(kind: &str, object: &Value, namespace: &str) -> Option<Vec<Diagnostic>> {
    match kind {
        "TracingPolicy" => Some(read_policy(object, namespace).findings),
        "ClusterTracingPolicy" => Some(read_cluster_policy(object).findings),
        "TracingCollector" => Some(read_collector(object, namespace).findings),
        _ => None,
    }
}

fn refusal(finding: &Diagnostic) -> String {
    let mut text = line(finding);
    if !finding.help.is_empty() {
        // Writing to a String cannot fail.
        write!(text, ". {}", finding.help).unwrap_or_default();
    }
    text
}

/// `TRC0101: message (path)`, on one line.
fn line(finding: &Diagnostic) -> String {
    let path = finding.path.to_string();
    let place = if path.is_empty() { String::new() } else { format!(" ({path})") };
    let text = format!("{}: {}{place}", finding.code, finding.message);
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

/// The same, cut where it would be too long: the path at its end stays, if it can.
fn warning(finding: &Diagnostic) -> String {
    let text = line(finding);
    if text.len() <= WARNING {
        return text;
    }
    let end = (0..=WARNING - 3).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    format!("{}...", text.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn review(operation: &str, kind: &str, object: &Value, old: &Value) -> Value {
        let request = json!({
            "uid": "705ab4f5", "kind": {"group": "tracesteward.io", "version": "v1alpha1", "kind": kind},
            "operation": operation, "namespace": "team", "object": object, "oldObject": old, "dryRun": false,
        });
        let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request});
        Request::read(review.to_string().as_bytes()).unwrap().validate(Some("home")).1["response"].clone()
    }

    fn policy(spec: &Value) -> Value {
        json!({"apiVersion": "tracesteward.io/v1alpha1", "kind": "TracingPolicy", "metadata": {"name": "a"}, "spec": spec})
    }

    #[test]
    fn errors_refuse_and_all_of_them_are_said() {
        let said = review("CREATE", "TracingPolicy", &policy(&json!({"enabled": true})), &json!(null));
        assert_eq!(
            (&said["uid"], &said["allowed"], &said["status"]["code"]),
            (&json!("705ab4f5"), &json!(false), &json!(422))
        );
        let message = said["status"]["message"].as_str().unwrap();
        let expected = format!("TRC0101: {} (spec.export.endpoint). {}", Code::TRC0101.message(), Code::TRC0101.help());
        assert_eq!(message, expected);
        let both = policy(&json!({"enabled": true, "export": {"endpoint": "ftp://c"}, "sampling": {"ratio": 2}}));
        let said = review("UPDATE", "TracingPolicy", &both, &policy(&json!({"enabled": false})));
        let message = said["status"]["message"].as_str().unwrap();
        let codes: Vec<_> = message.lines().filter_map(|line| line.get(..8)).collect();
        assert_eq!(codes, ["TRC0104:", "TRC0105:"], "{message}");
    }

    #[test]
    fn warnings_let_through() {
        let odd = policy(&json!({"enabled": true, "export": {"endpoint": "http://c:4318", "protocol": "grpc"}}));
        let said = review("CREATE", "TracingPolicy", &odd, &json!(null));
        assert_eq!(said["allowed"], true);
        let warnings = said["warnings"].as_array().unwrap();
        assert_eq!(warnings.len(), 1, "{said}");
        let text = warnings[0].as_str().unwrap();
        assert!(text.starts_with("TRC0120: ") && text.ends_with(" (spec.export.endpoint)"), "{text}");
        let fine = review("CREATE", "TracingPolicy", &policy(&json!({"enabled": false})), &json!(null));
        assert_eq!(fine, json!({"uid": "705ab4f5", "allowed": true}));
    }

    #[test]
    fn what_was_let_in_once_can_be_changed_around_its_specification() {
        let broken = policy(&json!({"enabled": true}));
        let mut labelled = broken.clone();
        labelled["metadata"]["labels"] = json!({"a": "b"});
        assert_eq!(review("UPDATE", "TracingPolicy", &labelled, &broken)["allowed"], true);
        let mut going = policy(&json!({"enabled": true, "priority": 1}));
        assert_eq!(review("UPDATE", "TracingPolicy", &going, &broken)["allowed"], false);
        going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert_eq!(review("UPDATE", "TracingPolicy", &going, &broken)["allowed"], true);
        assert_eq!(review("DELETE", "TracingPolicy", &json!(null), &broken)["allowed"], true);
        assert_eq!(review("CREATE", "SomethingElse", &broken, &json!(null))["allowed"], true);
    }

    #[test]
    fn the_operators_own_namespace_is_excluded() {
        let request = |namespace: &str| Request {
            uid: String::new(),
            kind: Kind { group: GROUP.to_owned(), kind: "TracingPolicy".to_owned() },
            operation: "CREATE".to_owned(),
            namespace: namespace.to_owned(),
            object: policy(&json!({"enabled": false})),
            old_object: json!(null),
        };
        let (_, said) = request("home").validate(Some("home"));
        assert!(said["response"]["status"]["message"].as_str().unwrap().starts_with("TRC0127: "), "{said}");
        assert_eq!(request("home").validate(None).1["response"]["allowed"], true);
        assert_eq!(request("kube-system").validate(Some("kube-system")).1["response"]["allowed"], false);
    }

    #[test]
    fn a_warning_is_one_line_of_at_most_256_bytes() {
        let finding = Diagnostic::new(Code::TRC0120, FieldPath::fields("spec"));
        let text = warning(&finding.clone().detail("\u{e9}\n".repeat(200)));
        assert!(text.len() <= 256 && text.len() > 250 && text.ends_with("...") && !text.contains('\n'), "{text}");
        assert!(warning(&finding).ends_with("(spec)"));
    }

    #[test]
    fn anything_else_is_no_review() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        for body in
            ["", "{}", "[]", "null", "\u{0}", &deep, r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}"#]
        {
            assert!(Request::read(body.as_bytes()).is_err());
        }
        let old = r#"{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview","request":{"uid":"a","kind":{"group":"","kind":""},"operation":"CREATE"}}"#;
        assert!(matches!(Request::read(old.as_bytes()), Err(ReviewError::Other)));
        // Objects of any shape are answered, not feared.
        for object in
            [json!(null), json!(1), json!([]), json!({"spec": null}), json!({"metadata": 1, "spec": {"enabled": {}}})]
        {
            review("CREATE", "TracingPolicy", &object, &json!(null));
            review("UPDATE", "TracingCollector", &object, &json!("x"));
        }
    }
}
