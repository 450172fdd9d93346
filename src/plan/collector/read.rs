//! From an object as it came to a [`Collector`] that the index can hold.

use std::sync::Arc;

use serde_json::Value;

use crate::{
    api::{TracingCollectorSpec, TracingCollectorStatus},
    index::{Collector, CollectorId},
    plan::read::without_nulls,
};

/// Reads a TracingCollector. Never fails: what cannot be read is a collector without a specification. `namespace` holds for
/// an object without one.
pub fn read_collector(object: &Value, namespace: &str) -> Collector {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
    let spec = object.get("spec").map(without_nulls).and_then(|spec| {
        serde_json::from_value::<TracingCollectorSpec>(spec).ok()
    });
    Collector {
        id: CollectorId {
            namespace: text("/metadata/namespace").unwrap_or(namespace).to_owned(),
            name: text("/metadata/name").unwrap_or_default().to_owned(),
        },
        uid: text("/metadata/uid").map(str::to_owned),
        generation: object.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or_default(),
        deleting: text("/metadata/deletionTimestamp").is_some(),
        spec: spec.map(Arc::new),
        findings: Vec::new(),
        status: object
            .get("status")
            .and_then(|status| serde_json::from_value::<TracingCollectorStatus>(status.clone()).ok()),
    }
}
