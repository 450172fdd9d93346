//! The minimal object that server-side apply sends, and the same merged into a whole manifest.

use serde_json::{Map, Value, json};

use super::{env::Variable, inject::ContainerPlan};
use crate::{
    api::HEADERS_KEY,
    index::{Container, ENV_NAMES, EnvValue, Workload, WorkloadKind},
};

/// The operator's whole intent for a workload, as an apply configuration: exactly the fields that it owns afterwards.
/// No variables at all is the empty intent, which withdraws everything.
///
/// A variable that the user has taken over in an entry which only the operator holds stays in it by its name alone.
///
/// One that `kubectl rollout undo` has changed is left out once, because its value is held by kubectl's manager until the
/// entry is gone; the next apply sets it again.
///
/// The uid keeps an apply from creating a workload that was deleted meanwhile.
pub fn apply_patch(workload: &Workload, containers: &[ContainerPlan]) -> Value {
    let mut metadata = Map::from_iter([("name".to_owned(), json!(workload.id.name))]);
    metadata.insert("namespace".to_owned(), json!(workload.id.namespace));
    if let Some(uid) = &workload.uid {
        metadata.insert("uid".to_owned(), json!(uid));
    }
    let mut patch = json!({
        "apiVersion": workload.id.kind.api_version(),
        "kind": workload.id.kind.as_str(),
        "metadata": metadata,
    });
    let entries = |live: &Container| {
        let planned = containers.iter().find(|planned| planned.name == live.name);
        let planned = planned.map_or(&[][..], |planned| planned.variables.as_slice());
        let kept = live.kept.iter().map(|name| (name.as_str(), json!({"name": name})));
        let mut entries: Vec<_> = planned
            .iter()
            .filter(|variable| !live.rolled_back.contains(variable.name))
            .map(|variable| (variable.name, entry(variable)))
            .chain(kept)
            .collect();
        // In the order of a first injection, so that nothing moves.
        entries.sort_by_key(|(name, _)| ENV_NAMES.iter().position(|known| known == name).unwrap_or(ENV_NAMES.len()));
        entries.into_iter().map(|(_, entry)| entry).collect::<Vec<_>>()
    };
    let containers: Vec<_> = workload
        .containers
        .iter()
        .map(|live| (live, entries(live)))
        .filter(|(_, entries)| !entries.is_empty())
        .map(|(live, entries)| json!({"name": live.name, "env": entries}))
        .collect();
    if !containers.is_empty()
        && let Some(spec) = pod_spec(&mut patch, workload.id.kind)
    {
        spec.insert("containers".to_owned(), Value::Array(containers));
    }
    patch
}

/// Merges the variables into a whole manifest as server-side apply does: entries of the operator that are no longer
/// wanted go, those that are there get their new value, new ones come behind the one that precedes them in the patch.
pub fn merge_into(manifest: &mut Value, workload: &Workload, containers: &[ContainerPlan]) {
    let Some(list) =
        pod_spec(manifest, workload.id.kind).and_then(|spec| spec.get_mut("containers")).and_then(Value::as_array_mut)
    else {
        return;
    };
    for (live, known) in list.iter_mut().zip(&workload.containers) {
        let wanted = containers.iter().find(|plan| plan.name == known.name).map(|plan| plan.variables.as_slice());
        let wanted = wanted.unwrap_or_default();
        let Some(container) = live.as_object_mut() else { continue };
        // Taken out of its place and put back there: whoever compares the output sees only what changed.
        let mut env = match container.get_mut("env").map(Value::take) {
            Some(Value::Array(env)) => env,
            _ => Vec::new(),
        };
        let is_wanted = |name: &str| wanted.iter().any(|variable| variable.name == name);
        env.retain(|entry| {
            let name = entry.get("name").and_then(Value::as_str).unwrap_or_default();
            let ours = known.held.contains(name) && !known.is_users(name);
            !ours || is_wanted(name)
        });
        let mut behind = None;
        for variable in wanted {
            let live = env.iter().position(|entry| entry.get("name").and_then(Value::as_str) == Some(variable.name));
            let place = live.unwrap_or_else(|| behind.map_or(env.len(), |previous: usize| previous + 1));
            match env.get_mut(place).filter(|_| live.is_some()) {
                Some(live) => *live = entry(variable),
                None => env.insert(place, entry(variable)),
            }
            behind = Some(place);
        }
        if env.is_empty() {
            container.shift_remove("env");
        } else {
            container.insert("env".to_owned(), Value::Array(env));
        }
    }
}

/// `spec` of the pod template, created where absent.
fn pod_spec(object: &mut Value, kind: WorkloadKind) -> Option<&mut Map<String, Value>> {
    let mut place = object.as_object_mut()?;
    for step in kind.template_path().iter().chain(&["spec"]) {
        place = place.entry(*step).or_insert_with(|| Value::Object(Map::new())).as_object_mut()?;
    }
    Some(place)
}

/// A variable as an entry of a container.
pub(super) fn entry(variable: &Variable) -> Value {
    match &variable.value {
        EnvValue::Literal(value) => json!({"name": variable.name, "value": value}),
        // The API server adds apiVersion, and a reference has one owner as a whole: without it, what `render` prints would
        // conflict with what is injected.
        EnvValue::FieldRef(path) => {
            json!({"name": variable.name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}})
        }
        EnvValue::HeadersSecret(secret) => json!({
            "name": variable.name,
            // Optional, so that a missing Secret never keeps a pod from starting.
            "valueFrom": {"secretKeyRef": {"name": secret, "key": HEADERS_KEY, "optional": true}},
        }),
        EnvValue::Foreign => json!({"name": variable.name}),
    }
}
