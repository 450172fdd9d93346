//! Pods as they are created: the same plan as for workloads, as a JSON patch.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    attach::{self, Part, part_settings},
    collector::converge::digest,
    env::{self, Inputs},
    inject::ContainerPlan,
    instrument::{self, InstrumentationPlan},
    patch::entry,
    workload::{Decision, WorkloadPlan, plan_workload},
};
use crate::{
    api::{CONFIGURATION_ANNOTATION, CONTAINERS_ANNOTATION, InjectionMode},
    index::{Agent, ENV_NAMES, Policy, Snapshot, Workload, WorkloadId, raw::RawPod},
};

/// What becomes of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodPlan {
    /// The workload that it is one of.
    pub workload: WorkloadId,
    /// What has to be done to it, as a JSON patch (RFC 6902).
    pub operations: Vec<Value>,
}

/// Plans a pod of this namespace that is about to be created. `None` where nothing is to be done: it is none of those that are
/// injected pod by pod, or nothing can be made of it.
pub fn plan_pod(snapshot: &Snapshot, namespace: &str, pod: &Value) -> Option<PodPlan> {
    let known = snapshot.namespaces.get(namespace)?;
    let mut raw = RawPod::deserialize(pod).ok()?;
    raw.metadata.namespace = Some(namespace.to_owned());
    let name = raw.metadata.name.clone().or_else(|| raw.metadata.generate_name.clone()).unwrap_or_default();
    let root = known.root(&name, &raw.metadata)?;
    let is_collector = known.workloads.get(&root.id).is_some_and(|workload| workload.is_collector);
    let mut workload = Workload::of_pod(root, &raw.metadata, raw.spec);
    workload.is_collector |= is_collector;
    // What broke its pods is not given to new ones.
    workload.notes = known.workloads.get(&workload.id).and_then(|known| known.notes.clone());
    let plan = plan_workload(snapshot, known, &workload);
    let configuration = plan.configuration.as_deref().filter(|_| plan.decision == Decision::AtPods && !plan.refused)?;
    let operations = operations(pod, &plan, configuration);
    (!operations.is_empty()).then_some(PodPlan { workload: workload.id, operations })
}

/// The namespaces in which pods are looked at as they are created: those where a policy is in force that may be about a Job or a
/// pod, or that wants all of its workloads injected pod by pod.
pub fn namespaces(snapshot: &Snapshot) -> BTreeSet<String> {
    let names = snapshot.namespaces.keys().filter(|name| wants_pods(snapshot, name));
    names.cloned().collect()
}

/// Whether pods of this namespace have to be looked at.
pub fn wants_pods(snapshot: &Snapshot, namespace: &str) -> bool {
    if attach::is_excluded(namespace, snapshot.own_namespace.as_deref()) {
        return false;
    }
    let team = snapshot.namespaces.get(namespace).into_iter().flat_map(|known| known.policies.values());
    let team: Vec<&Policy> = team.filter(|policy| policy.is_valid()).collect();
    let cluster = snapshot.cluster_policies_of(snapshot.place(namespace)).filter(|policy| policy.is_valid());
    let cluster: Vec<&Policy> = cluster.collect();
    let mode = |policy: &Policy, part| part_settings(policy, part)?.injection.as_ref()?.mode;
    let from_above = |part| cluster.iter().filter_map(move |policy| mode(policy, part));
    let any_pod = |part| from_above(part).any(|mode| mode == InjectionMode::Pod);
    // What overrides set, nobody else does.
    let overridden = any_pod(Part::Overrides);
    let not_none = from_above(Part::Overrides).any(|mode| mode != InjectionMode::None);
    let switch =
        |policy: &&Policy| policy.cluster().and_then(|spec| spec.overrides.as_ref()).and_then(|block| block.enabled);
    let switched_on = cluster.iter().any(|policy| switch(policy) == Some(true));
    let default_pod = any_pod(Part::Defaults);
    let needs = |policy: &Policy, own: Option<InjectionMode>| match own {
        Some(InjectionMode::Pod) => true,
        None if default_pod => true,
        _ if overridden => true,
        Some(InjectionMode::None) if !not_none => false,
        _ => policy.targets().is_empty() || policy.targets().iter().any(|target| target.kind.comes_and_goes()),
    };
    let is_on = |policy: &Policy| policy.spec().is_some_and(|spec| spec.enabled || switched_on);
    let defaults = |policy: &Policy| {
        let block = policy.cluster().and_then(|spec| spec.defaults.as_ref());
        block.is_some_and(|block| block.enabled == Some(true) || switched_on)
    };
    team.iter().any(|policy| is_on(policy) && needs(policy, mode(policy, Part::Policy)))
        || cluster.iter().any(|policy| defaults(policy) && needs(policy, mode(policy, Part::Defaults)))
}

/// The settings in force as a hash: the same for all pods of a workload, whatever else is in them.
pub(super) fn configuration(inputs: &Inputs<'_>) -> String {
    let variables: Vec<Value> = env::variables(inputs, "", None).iter().map(entry).collect();
    let settings = inputs.settings;
    let agent = settings.language.and_then(Agent::of).filter(|_| settings.instrumentation.is_some());
    let image = settings.instrumentation.as_ref().and_then(|wanted| wanted.image.as_deref());
    let image = agent.map(|agent| image.unwrap_or_else(|| instrument::default_image(agent)));
    let whole = json!([variables, settings.containers, agent.map(Agent::as_str), image]);
    digest(&whole)
}

fn operations(pod: &Value, plan: &WorkloadPlan, configuration: &str) -> Vec<Value> {
    // The API server asks again where somebody else has changed the pod meanwhile: what was injected stays as it is. A copy of
    // another pod says the same, with other settings: it gets its own.
    let before = injected(pod);
    let is_same = annotation(pod, CONFIGURATION_ANNOTATION) == Some(configuration);
    let done = if is_same { before.clone() } else { BTreeSet::new() };
    let planned = instrument::with_users_values(&plan.containers, pod.get("spec").unwrap_or(&Value::Null));
    let new: Vec<&ContainerPlan> = planned.iter().filter(|planned| !done.contains(&*planned.name)).collect();
    if is_same && new.is_empty() {
        return Vec::new();
    }
    let list = pod.pointer("/spec/containers").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut operations = Vec::new();
    for (position, container) in list.iter().enumerate() {
        let planned = new.iter().find(|planned| container.get("name").and_then(Value::as_str) == Some(&planned.name));
        if let Some(planned) = planned.filter(|planned| !planned.variables.is_empty()) {
            let path = format!("/spec/containers/{position}/env");
            operations.push(json!({"op": "add", "path": path, "value": env(container, planned, &before)}));
        }
        let agent = planned.and_then(|planned| planned.instrumented.as_deref());
        let path = format!("/spec/containers/{position}/volumeMounts");
        let mount = agent.map(|agent| instrument::mount(agent.agent));
        operations.extend(mount.and_then(|mount| add(container.get("volumeMounts"), &path, "mountPath", &mount)));
    }
    let agent = new.iter().find_map(|planned| planned.instrumented.as_deref());
    operations.extend(agent.into_iter().flat_map(|agent| files(pod, agent)));
    let injected: Vec<&str> = done.iter().copied().chain(new.iter().map(|planned| &*planned.name)).collect();
    let mut wanted = Map::new();
    wanted.insert(CONFIGURATION_ANNOTATION.to_owned(), json!(configuration));
    wanted.insert(CONTAINERS_ANNOTATION.to_owned(), json!(injected.join(",")));
    operations.extend(annotate(pod.pointer("/metadata/annotations").and_then(Value::as_object), wanted));
    operations
}

fn annotation<'a>(pod: &'a Value, name: &str) -> Option<&'a str> {
    pod.pointer("/metadata/annotations")?.get(name)?.as_str()
}

/// The containers that were injected, as the pod says.
fn injected(pod: &Value) -> BTreeSet<&str> {
    let names = annotation(pod, CONTAINERS_ANNOTATION).unwrap_or_default().split(',');
    names.filter(|name| !name.is_empty()).collect()
}

/// What brings the files of the instrumentation into a pod.
fn files(pod: &Value, agent: &InstrumentationPlan) -> Vec<Value> {
    let parts = [("initContainers", instrument::init_container(agent)), ("volumes", instrument::volume())];
    let list = |field: &str| pod.get("spec").and_then(|spec| spec.get(field));
    parts.iter().filter_map(|(field, part)| add(list(field), &format!("/spec/{field}"), "name", part)).collect()
}

/// Adds an element to a list, which may not be there yet; nothing where one of the same key is in it.
fn add(list: Option<&Value>, path: &str, key: &str, element: &Value) -> Option<Value> {
    match list {
        Some(Value::Array(known)) if known.iter().any(|known| known.get(key) == element.get(key)) => None,
        Some(Value::Array(_)) => Some(json!({"op": "add", "path": format!("{path}/-"), "value": element})),
        _ => Some(json!({"op": "add", "path": path, "value": [element]})),
    }
}

/// The variables of a container with those of the plan: in their own places where they are there, else behind all others. What an
/// earlier injection has left goes.
fn env(container: &Value, planned: &ContainerPlan, before: &BTreeSet<&str>) -> Value {
    let mut list = container.get("env").and_then(Value::as_array).cloned().unwrap_or_default();
    let name_of = |entry: &Value| entry.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let is_wanted = |name: &str| planned.variables.iter().any(|variable| variable.name == name);
    if before.contains(&*planned.name) {
        list.retain(|known| is_wanted(&name_of(known)) || !ENV_NAMES.contains(&&*name_of(known)));
    }
    for variable in &planned.variables {
        let place = list.iter().position(|known| name_of(known) == variable.name);
        match place.and_then(|place| list.get_mut(place)) {
            // Joined with the user's own value once, and that is not known any more.
            Some(known) if before.contains(&*planned.name) && is_joined(known) => {}
            Some(known) => *known = entry(variable),
            None => list.push(entry(variable)),
        }
    }
    Value::Array(list)
}

fn is_joined(known: &Value) -> bool {
    let text = |field: &str| known.get(field).and_then(Value::as_str).unwrap_or_default();
    instrument::has_hook(text("name"), text("value"))
}

fn annotate(known: Option<&Map<String, Value>>, wanted: Map<String, Value>) -> Vec<Value> {
    if known.is_none() {
        return vec![json!({"op": "add", "path": "/metadata/annotations", "value": wanted})];
    }
    let path = |name: &str| format!("/metadata/annotations/{}", name.replace('~', "~0").replace('/', "~1"));
    wanted.into_iter().map(|(name, value)| json!({"op": "add", "path": path(&name), "value": value})).collect()
}
