//! What server-side apply would make of a whole manifest, for whoever has no API server.

use serde_json::{Map, Value};

use super::{
    inject::ContainerPlan,
    instrument::{self, live::remove},
    patch::{entry, pod_spec, resolved},
};
use crate::index::{AGENT_VOLUME, Part, PartKind, Workload};

/// Merges the variables into a whole manifest as server-side apply does: entries of the operator that are no longer
/// wanted go, those that are there get their new value, new ones come behind the one that precedes them in the patch.
pub fn merge_into(manifest: &mut Value, workload: &Workload, containers: &[ContainerPlan]) {
    let containers = resolved(manifest, workload, containers);
    let Some(spec) = pod_spec(manifest, workload.id.kind) else { return };
    pod_parts(spec, workload, &containers);
    let Some(list) = spec.get_mut("containers").and_then(Value::as_array_mut) else { return };
    for (live, known) in list.iter_mut().zip(&workload.containers) {
        let planned = containers.iter().find(|plan| plan.name == known.name);
        let wanted = planned.map(|plan| plan.variables.as_slice()).unwrap_or_default();
        let Some(container) = live.as_object_mut() else { continue };
        let agent = planned.and_then(|plan| plan.instrumented.as_ref()).map(|plan| plan.agent);
        let mount = agent.map(|agent| (agent.mount_path(), instrument::mount(agent)));
        put(container, &MOUNTS, &known.mounts, mount);
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

/// A list of parts: its field, the key of its elements, and what they are.
struct List {
    field: &'static str,
    key: &'static str,
    kind: PartKind,
}

const INIT_CONTAINERS: List = List { field: "initContainers", key: "name", kind: PartKind::InitContainer };
const VOLUMES: List = List { field: "volumes", key: "name", kind: PartKind::Volume };
const MOUNTS: List = List { field: "volumeMounts", key: "mountPath", kind: PartKind::Mount };

fn pod_parts(spec: &mut Map<String, Value>, workload: &Workload, containers: &[ContainerPlan]) {
    let plan = instrument::of(containers);
    let init = plan.map(|plan| (plan.agent.init_container(), instrument::init_container(plan)));
    put(spec, &INIT_CONTAINERS, &workload.pod.init_containers, init);
    put(spec, &VOLUMES, &workload.pod.volumes, plan.map(|_| (AGENT_VOLUME, instrument::volume())));
}

/// Puts the one part that is wanted into a list, and takes out what else the operator holds there.
fn put(place: &mut Map<String, Value>, list: &List, known: &[Part], wanted: Option<(&str, Value)>) {
    let held = |key: &str| known.iter().find(|part| part.held && part.key == key);
    if wanted.is_none() && known.iter().all(|part| !part.held) {
        return;
    }
    let mut parts = match place.get_mut(list.field).map(Value::take) {
        Some(Value::Array(parts)) => parts,
        _ => Vec::new(),
    };
    let key_of = |part: &Value| part.get(list.key).and_then(Value::as_str).unwrap_or_default().to_owned();
    parts.retain(|part| {
        let key = key_of(part);
        held(&key).is_none() || wanted.as_ref().is_some_and(|(wanted, _)| *wanted == key)
    });
    if let Some((key, object)) = wanted {
        match parts.iter_mut().find(|part| key_of(part) == key) {
            Some(live) => overlay(live, &object, list.kind, held(key).map(|part| part.foreign.as_slice())),
            None => parts.push(object),
        }
    }
    if parts.is_empty() {
        place.shift_remove(list.field);
    } else {
        place.insert(list.field.to_owned(), Value::Array(parts));
    }
}

/// Sets the operator's fields of a part that is there, apart from those that somebody else holds.
fn overlay(live: &mut Value, wanted: &Value, kind: PartKind, foreign: Option<&[&str]>) {
    for field in kind.fields().iter().filter(|field| !foreign.unwrap_or_default().contains(field)) {
        let steps: Vec<_> = field.split('/').collect();
        match wanted.pointer(&format!("/{field}")) {
            Some(value) => set(live, &steps, value),
            None => remove(live, &steps),
        }
    }
}

fn set(object: &mut Value, steps: &[&str], value: &Value) {
    let (Some(map), [first, rest @ ..]) = (object.as_object_mut(), steps) else { return };
    if rest.is_empty() {
        map.insert((*first).to_owned(), value.clone());
    } else {
        set(map.entry(*first).or_insert_with(|| Value::Object(Map::new())), rest, value);
    }
}
