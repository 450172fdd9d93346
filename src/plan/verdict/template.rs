//! Pod templates as they are compared.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::text;
use crate::{
    api::RESTARTED_FOR_ANNOTATION,
    index::{AGENT_VOLUME, Agent, ENV_NAMES, Workload},
};

/// A template without what the operator sets. Of a variable that the user owns now the value counts.
pub(super) fn bare(workload: &Workload, template: &Value) -> Value {
    let mut template = plain(template);
    let users: BTreeSet<(&str, &str)> = workload
        .containers
        .iter()
        .flat_map(|container| ENV_NAMES.iter().map(move |name| (container, *name)))
        .filter(|(container, name)| container.is_users(name))
        .map(|(container, name)| (container.name.as_str(), name))
        .collect();
    if let Some(Value::Object(annotations)) = template.pointer_mut("/metadata/annotations") {
        annotations.shift_remove(RESTARTED_FOR_ANNOTATION);
    }
    let Some(Value::Object(spec)) = template.get_mut("spec") else { return tidy(template) };
    let drop_from = |list: &mut Map<String, Value>, field: &str, is_ours: &dyn Fn(&str) -> bool| {
        if let Some(Value::Array(items)) = list.get_mut(field) {
            items.retain(|item| !is_ours(text(item, "/name")));
        }
    };
    drop_from(spec, "initContainers", &|name| Agent::ALL.iter().any(|agent| agent.init_container() == name));
    drop_from(spec, "volumes", &|name| name == AGENT_VOLUME);
    for container in spec.get_mut("containers").and_then(Value::as_array_mut).into_iter().flatten() {
        let name = text(container, "/name").to_owned();
        let Some(container) = container.as_object_mut() else { continue };
        drop_from(container, "env", &|variable| {
            ENV_NAMES.contains(&variable) && !users.contains(&(name.as_str(), variable))
        });
        drop_from(container, "volumeMounts", &|mount| mount == AGENT_VOLUME);
    }
    tidy(template)
}

/// A template without what controllers add to it.
pub(super) fn plain(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(object) = template.as_object_mut() {
        object.shift_remove("$patch");
    }
    if let Some(Value::Object(labels)) = template.pointer_mut("/metadata/labels") {
        labels.shift_remove("pod-template-hash");
        labels.shift_remove("controller-revision-hash");
    }
    tidy(template)
}

/// Without what is empty.
fn tidy(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let is_empty = |value: &Value| match value {
                Value::Null => true,
                Value::Array(list) => list.is_empty(),
                Value::Object(map) => map.is_empty(),
                _ => false,
            };
            // An empty volume or probe means something; empty lists and metadata do not.
            let mut fields: Vec<(String, Value)> = map.into_iter().map(|(key, value)| (key, tidy(value))).collect();
            fields.retain(|(key, value)| {
                !(is_empty(value)
                    && matches!(
                        key.as_str(),
                        "annotations"
                            | "labels"
                            | "creationTimestamp"
                            | "env"
                            | "volumeMounts"
                            | "volumes"
                            | "initContainers"
                    ))
            });
            fields.sort_by(|one, other| one.0.cmp(&other.0));
            Value::Object(fields.into_iter().collect())
        }
        Value::Array(list) => Value::Array(list.into_iter().map(tidy).collect()),
        other => other,
    }
}
