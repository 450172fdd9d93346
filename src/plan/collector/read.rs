//! From an object as it came, from the API server or from a file, to a [`Collector`] that the index can hold.

use std::sync::Arc;

use serde_json::Value;

use super::validate::validate;
use crate::{
    api::TracingCollectorStatus,
    diagnostics::{Code, Diagnostic, FieldPath, Severity},
    index::{Collector, CollectorId, Ignored},
    plan::{is_excluded, read, schema},
};

/// Reads a TracingCollector and checks it by itself. Never fails: what cannot be read is a collector without a
/// specification that says why. `namespace` holds for an object without one.
pub fn read_collector(object: &Value, namespace: &str) -> Collector {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
    let (name, namespace) = (text("/metadata/name"), text("/metadata/namespace").unwrap_or(namespace));
    let schema = read::schema_of("TracingCollector");
    let mut findings = schema.map(|schema| schema::check(schema, object)).unwrap_or_default();
    let spec = match object.get("spec").map(read::readable) {
        Some(Ok(spec)) => {
            findings.extend(validate(&spec, name.unwrap_or_default()));
            Some(Arc::new(spec))
        }
        Some(Err(error)) => {
            if findings.iter().all(|finding| finding.severity() != Severity::Error) {
                findings.push(Diagnostic::new(Code::TRC0112, FieldPath::fields("spec")).detail(error.to_string()));
            }
            None
        }
        None => None,
    };
    findings.extend(read::names(name, namespace));
    if is_excluded(namespace, None) {
        findings.push(Diagnostic::new(Code::TRC0127, FieldPath::fields("metadata.namespace")));
    }
    let ignored = Ignored::of(object);
    ignored.apply(&mut findings);
    findings.sort();
    findings.dedup();
    Collector {
        id: CollectorId { namespace: namespace.to_owned(), name: name.unwrap_or_default().to_owned() },
        uid: text("/metadata/uid").map(str::to_owned),
        generation: object.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or_default(),
        deleting: text("/metadata/deletionTimestamp").is_some(),
        spec,
        findings,
        ignored,
        // A status that somebody else has broken is replaced by the right one.
        status: object
            .get("status")
            .and_then(|status| serde_json::from_value::<TracingCollectorStatus>(status.clone()).ok()),
    }
}
