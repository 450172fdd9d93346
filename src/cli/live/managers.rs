//! Which field managers own a field of a live object.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::diagnostics::{FieldPath, Segment};

/// The managers of a field, by the object's `metadata.managedFields`; of an element of a list, those of the list.
pub(in crate::cli) fn managers(managed: &Value, path: &FieldPath) -> Vec<String> {
    let entries = managed.as_array().into_iter().flatten();
    let owning = entries.filter(|entry| {
        let is_status = entry.get("subresource").and_then(Value::as_str).is_some_and(|name| !name.is_empty());
        !is_status && entry.get("fieldsV1").is_some_and(|fields| holds(fields, path.segments()))
    });
    let names: BTreeSet<_> = owning.filter_map(|entry| entry.get("manager")?.as_str()).collect();
    names.into_iter().map(str::to_owned).collect()
}

fn holds(fields: &Value, path: &[Segment]) -> bool {
    match path.split_first() {
        None | Some((Segment::Index(_), _)) => true,
        Some((Segment::Field(name) | Segment::Key(name), rest)) => {
            let below = fields.get(format!("f:{name}"));
            // Held as a whole, such as a map that one manager owns at once.
            below.is_some_and(|below| below.as_object().is_some_and(serde_json::Map::is_empty) || holds(below, rest))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_belongs_to_those_who_hold_it() {
        let managed = serde_json::json!([
            {"manager": "argocd", "fieldsV1": {"f:spec": {"f:sampling": {".": {}, "f:ratio": {}}, "f:targets": {}}}},
            {"manager": "kubectl-edit", "fieldsV1": {"f:spec": {"f:sampling": {"f:ratio": {}}}}},
            {"manager": "tracesteward-objects", "subresource": "status", "fieldsV1": {"f:spec": {}}},
        ]);
        let of = |path: FieldPath| managers(&managed, &path);
        assert_eq!(of(FieldPath::fields("spec.sampling.ratio")), ["argocd", "kubectl-edit"]);
        assert_eq!(of(FieldPath::fields("spec.targets").index(0).field("name")), ["argocd"]);
        assert!(of(FieldPath::fields("spec.export.endpoint")).is_empty());
    }
}
