//! The minimal object that server-side apply sends.

use serde_json::{Map, Value, json};

use super::{
    env::Variable,
    inject::ContainerPlan,
    instrument::{self, is_hook, live::own_fields},
};
use crate::{
    api::HEADERS_KEY,
    index::{AGENT_VOLUME, Container, ENV_NAMES, EnvValue, Workload, WorkloadKind},
};

/// The operator's whole intent for a workload, as an apply configuration: exactly the fields that it owns afterwards.
/// No variables at all is the empty intent, which withdraws everything.
///
/// A variable that the user has taken over in an entry which only the operator holds stays in it by its name alone.
///
/// One that `kubectl rollout undo` has changed is left out once, because its value is held by kubectl's manager until the
/// entry is gone; the next apply sets it again.
///
/// So it is with the parts of the instrumentation, all together: without the files a hook would keep an application from
/// starting.
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
    let undone = instrument::live::is_rolled_back(workload);
    let entries = |live: &Container| {
        let planned = containers.iter().find(|planned| planned.name == live.name);
        let planned = planned.map_or(&[][..], |planned| planned.variables.as_slice());
        let kept = live.kept.iter().map(|name| (name.as_str(), json!({"name": name})));
        let mut entries: Vec<_> = planned
            .iter()
            .filter(|variable| !(live.rolled_back.contains(variable.name) || undone && is_hook(variable.name)))
            .map(|variable| (variable.name, entry(variable)))
            .chain(kept)
            .collect();
        // In the order of a first injection, so that nothing moves.
        entries.sort_by_key(|(name, _)| ENV_NAMES.iter().position(|known| known == name).unwrap_or(ENV_NAMES.len()));
        entries.into_iter().map(|(_, entry)| entry).collect::<Vec<_>>()
    };
    let mounts = |live: &Container| {
        let planned = containers.iter().find(|planned| planned.name == live.name).filter(|_| !undone);
        let agent = planned.and_then(|planned| planned.instrumented.as_ref()).map(|plan| plan.agent);
        agent.map(|agent| own_fields(&live.mounts, agent.mount_path(), instrument::mount(agent)))
    };
    let mut changed = Vec::new();
    for live in &workload.containers {
        let mut fields = Map::new();
        let env = entries(live);
        if !env.is_empty() {
            fields.insert("env".to_owned(), Value::Array(env));
        }
        fields.extend(mounts(live).map(|mount| ("volumeMounts".to_owned(), json!([mount]))));
        if !fields.is_empty() {
            fields.shift_insert(0, "name".to_owned(), json!(live.name));
            changed.push(Value::Object(fields));
        }
    }
    if changed.is_empty() {
        return patch;
    }
    let Some(spec) = pod_spec(&mut patch, workload.id.kind) else { return patch };
    spec.insert("containers".to_owned(), Value::Array(changed));
    if let Some(plan) = instrument::of(containers).filter(|_| !undone) {
        let pod = &workload.pod;
        let init = own_fields(&pod.init_containers, plan.agent.init_container(), instrument::init_container(plan));
        spec.insert("initContainers".to_owned(), json!([init]));
        spec.insert("volumes".to_owned(), json!([own_fields(&pod.volumes, AGENT_VOLUME, instrument::volume())]));
    }
    patch
}

/// The same containers with the user's own values joined, as the manifest has them.
pub fn resolved(manifest: &Value, workload: &Workload, containers: &[ContainerPlan]) -> Vec<ContainerPlan> {
    let mut place = Some(manifest);
    for step in workload.id.kind.template_path().iter().chain(&["spec"]) {
        place = place.and_then(|place| place.get(step));
    }
    instrument::with_users_values(containers, place.unwrap_or(&Value::Null))
}

/// `spec` of the pod template, created where absent.
pub(super) fn pod_spec(object: &mut Value, kind: WorkloadKind) -> Option<&mut Map<String, Value>> {
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
        EnvValue::Joined | EnvValue::Foreign => json!({"name": variable.name}),
    }
}
