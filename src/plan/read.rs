//! From an object as it came, from the API server or from a file, to a [`Policy`] that the index can hold.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{CustomResourceDefinition, JSONSchemaProps};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{schema, validate, validate_cluster};
use crate::{
    api::{TracingPolicySpec, TracingPolicyStatus, crds, target::is_object_name},
    diagnostics::{Code, Diagnostic, FieldPath, Severity},
    index::{Ignored, Policy, PolicyId, PolicySpec},
};

/// The schema of a kind of the API group, as it is in its CRD.
pub fn schema_of(kind: &str) -> Option<&'static JSONSchemaProps> {
    static SCHEMAS: LazyLock<BTreeMap<String, JSONSchemaProps>> = LazyLock::new(|| {
        let schema = |crd: CustomResourceDefinition| {
            let schema = crd.spec.versions.into_iter().next()?.schema?.open_api_v3_schema?;
            Some((crd.spec.names.kind, schema))
        };
        crds().into_iter().flatten().filter_map(|(_, crd)| schema(crd)).collect()
    });
    SCHEMAS.get(kind)
}

/// Reads a TracingPolicy and checks it by itself. Never fails: what cannot be read is an unreadable policy that says
/// why, and that stops no other. `namespace` holds for an object without one.
pub fn read_policy(object: &Value, namespace: &str) -> Policy {
    let namespace = text(object, "/metadata/namespace").unwrap_or(namespace).to_owned();
    let id = PolicyId { namespace, name: text(object, "/metadata/name").unwrap_or_default().to_owned() };
    let check = |spec: &TracingPolicySpec| validate(spec, &id.namespace);
    let (spec, mut findings) = specification("TracingPolicy", object, check);
    findings.extend(names(text(object, "/metadata/name"), &id.namespace));
    policy(object, id.clone(), spec.map(|spec| PolicySpec::Readable(Arc::new(spec))), findings)
}

/// Reads a ClusterTracingPolicy, as [`read_policy`] does. A namespace in its metadata is no matter: the API server takes it
/// away.
pub fn read_cluster_policy(object: &Value) -> Policy {
    let id = PolicyId::of_cluster(text(object, "/metadata/name").unwrap_or_default());
    let (spec, mut findings) = specification("ClusterTracingPolicy", object, validate_cluster);
    findings.extend(names(text(object, "/metadata/name"), "default"));
    policy(object, id, spec.map(|spec| PolicySpec::Cluster(Arc::new(spec))), findings)
}

fn text<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    object.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// The specification of an object of the API group, or what can be said of its targets; and what is wrong with it.
fn specification<S: DeserializeOwned>(
    kind: &str,
    object: &Value,
    check: impl FnOnce(&S) -> Vec<Diagnostic>,
) -> (Result<S, PolicySpec>, Vec<Diagnostic>) {
    let mut findings = schema_of(kind).map(|schema| schema::check(schema, object)).unwrap_or_default();
    let spec = match object.get("spec").map(readable) {
        Some(Ok(spec)) => {
            findings.extend(check(&spec));
            Ok(spec)
        }
        Some(Err(error)) => {
            if findings.iter().all(|finding| finding.severity() != Severity::Error) {
                findings.push(Diagnostic::new(Code::TRC0112, FieldPath::fields("spec")).detail(error.to_string()));
            }
            Err(PolicySpec::Unreadable { targets: targets(object) })
        }
        None => Err(PolicySpec::Unreadable { targets: None }),
    };
    (spec, findings)
}

fn policy(object: &Value, id: PolicyId, spec: Result<PolicySpec, PolicySpec>, mut findings: Vec<Diagnostic>) -> Policy {
    let ignored = Ignored::of(object);
    ignored.apply(&mut findings);
    findings.sort();
    findings.dedup();
    Policy {
        id,
        uid: text(object, "/metadata/uid").map(str::to_owned),
        generation: object.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or_default(),
        created: text(object, "/metadata/creationTimestamp").map(str::to_owned),
        spec: spec.unwrap_or_else(|unreadable| unreadable),
        findings,
        ignored,
        // A status that somebody else has broken is replaced by the right one.
        status: object
            .get("status")
            .and_then(|status| serde_json::from_value::<TracingPolicyStatus>(status.clone()).ok()),
    }
}

/// Names that no object can have.
pub(super) fn names(name: Option<&str>, namespace: &str) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    let metadata = FieldPath::fields("metadata");
    if name.is_some_and(|name| !is_object_name(name)) {
        findings.push(Diagnostic::new(Code::TRC0116, metadata.field("name")).detail("metadata.name"));
    }
    // A namespace is a label: no dots, at most 63 characters.
    if !is_object_name(namespace) || namespace.contains('.') || namespace.len() > 63 {
        findings.push(Diagnostic::new(Code::TRC0116, metadata.field("namespace")).detail("metadata.namespace"));
    }
    findings
}

/// A specification whose fields all have the right types.
pub(super) fn readable<S: DeserializeOwned>(spec: &Value) -> Result<S, serde_json::Error> {
    serde_json::from_value(without_nulls(spec))
}

/// The targets of a specification that cannot be read as a whole.
fn targets(object: &Value) -> Option<Vec<crate::api::Target>> {
    match object.pointer("/spec/targets") {
        None | Some(Value::Null) => object.get("spec").filter(|spec| spec.is_object()).map(|_| Vec::new()),
        Some(targets) => serde_json::from_value(without_nulls(targets)).ok(),
    }
}

/// The API server drops nulls from fields that are not nullable, and none of ours is.
pub(super) fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(key, value)| (key.clone(), without_nulls(value))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(without_nulls).collect()),
        scalar => scalar.clone(),
    }
}
