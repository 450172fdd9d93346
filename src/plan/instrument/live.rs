//! The instrumentation that a workload's template carries, against the one that is planned.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{InstrumentationPlan, default_image, hooks, init_container, mount, of, volume};
use crate::{
    diagnostics::{Code, Diagnostic, FieldPath},
    index::{AGENT_VOLUME, Agent, Bounds, Part, PartKind, Resources, Workload},
    plan::{ContainerPlan, Variable},
};

/// Whether the template carries exactly the instrumentation of these containers.
pub(in crate::plan) fn is_current(workload: &Workload, containers: &[ContainerPlan]) -> bool {
    let plan = of(containers);
    let pod = &workload.pod;
    let mounts = || {
        workload.containers.iter().all(|live| {
            let planned = containers.iter().find(|planned| planned.name == live.name);
            let planned = planned.and_then(|planned| planned.instrumented.as_ref());
            matches(&live.mounts, PartKind::Mount, planned.map(|plan| (plan.agent.mount_path(), mount(plan.agent))))
        })
    };
    let init = plan.map(|plan| (plan.agent.init_container(), init_container(plan)));
    matches(&pod.init_containers, PartKind::InitContainer, init)
        && matches(&pod.volumes, PartKind::Volume, plan.map(|_| (AGENT_VOLUME, volume())))
        && mounts()
}

fn matches(parts: &[Part], kind: PartKind, wanted: Option<(&str, Value)>) -> bool {
    let mut held = parts.iter().filter(|part| part.held);
    let (first, second) = (held.next(), held.next());
    match (wanted, first, second) {
        (None, None, _) => true,
        (Some((key, object)), Some(part), None) => {
            part.key == key && !part.rolled_back && part.live == kind.text(&object, &part.foreign)
        }
        _ => false,
    }
}

/// Whether `kubectl rollout undo` has changed any of it: its manager holds that until the whole is let go of.
pub(in crate::plan) fn is_rolled_back(workload: &Workload) -> bool {
    let mounts = workload.containers.iter().flat_map(|container| &container.mounts);
    mounts.chain(&workload.pod.init_containers).chain(&workload.pod.volumes).any(|part| part.rolled_back)
}

/// A part as it is applied: without the fields that another manager holds.
pub(in crate::plan) fn own_fields(parts: &[Part], key: &str, mut object: Value) -> Value {
    let foreign = parts.iter().find(|part| part.held && part.key == key).map(|part| part.foreign.as_slice());
    for field in foreign.unwrap_or_default() {
        let steps: Vec<_> = field.split('/').collect();
        remove(&mut object, &steps);
    }
    object
}

/// Takes a field out, and what is empty without it.
pub(in crate::plan) fn remove(object: &mut Value, steps: &[&str]) {
    let (Some(map), [first, rest @ ..]) = (object.as_object_mut(), steps) else { return };
    if rest.is_empty() {
        map.shift_remove(*first);
    } else if let Some(inner) = map.get_mut(*first) {
        remove(inner, rest);
        if inner.as_object().is_some_and(Map::is_empty) {
            map.shift_remove(*first);
        }
    }
}

/// What the template carries, read back from what the operator holds of it.
pub fn in_place(workload: &Workload) -> Option<InstrumentationPlan> {
    let of = |agent: &Agent| {
        workload.pod.init_containers.iter().find(|part| part.held && part.key == agent.init_container())
    };
    let (agent, part) = Agent::ALL.iter().find_map(|agent| Some((*agent, of(agent)?)))?;
    let image = part.field("image").and_then(|image| image.as_str().map(str::to_owned));
    let words = part.field("command").and_then(|command| command.as_array().cloned()).unwrap_or_default();
    let copies_musl = words.iter().filter_map(Value::as_str).any(|word| word.contains("-musl/"));
    let text = |path: String| part.field(&path).and_then(|value| value.as_str().map(str::to_owned));
    let bounds = |name: &str| Bounds {
        request: text(format!("resources/requests/{name}")),
        limit: text(format!("resources/limits/{name}")),
    };
    let (cpu, memory) = (bounds("cpu"), bounds("memory"));
    Some(InstrumentationPlan {
        agent,
        image: image.unwrap_or_else(|| default_image(agent).to_owned()),
        musl: if agent == Agent::Dotnet { workload.pod.musl.contains(&agent) } else { copies_musl },
        user: part.field("securityContext/runAsUser").and_then(|user| user.as_i64()),
        non_root: part.field("securityContext/runAsNonRoot").is_some(),
        resources: (cpu != Bounds::default() || memory != Bounds::default()).then_some(Resources { cpu, memory }),
    })
}

/// Leaves the instrumentation that is in place as it is, where what is not valid would change it.
pub(in crate::plan) fn keep(
    workload: &Workload,
    planned: &mut [ContainerPlan],
    doubtful: &[ContainerPlan],
    held: impl Fn(&str, &'static str) -> Option<Variable>,
) {
    let Some(in_place) = in_place(workload).map(Arc::new) else { return };
    let find = |list: &[ContainerPlan], name: &str| {
        list.iter().find(|container| container.name == name).and_then(|container| container.instrumented.clone())
    };
    if workload.containers.iter().all(|live| find(planned, &live.name) == find(doubtful, &live.name)) {
        return;
    }
    for container in planned {
        container.variables.retain(|variable| !hooks::belongs(variable.name));
        container.instrumented = None;
        let live = workload.containers.iter().find(|live| live.name == container.name);
        let is_mounted = |live: &crate::index::Container| {
            live.mounts.iter().any(|mount| mount.held && mount.key == in_place.agent.mount_path())
        };
        if live.is_some_and(is_mounted) {
            container.variables.extend(hooks::names().filter_map(|name| held(&container.name, name)));
            container.instrumented = Some(Arc::clone(&in_place));
        }
    }
}

/// The workload's parts as they are once this is written.
pub(in crate::plan) fn settle(workload: &mut Workload, containers: &[ContainerPlan]) {
    let plan = of(containers);
    let init = plan.map(|plan| (plan.agent.init_container(), init_container(plan)));
    settle_list(&mut workload.pod.init_containers, PartKind::InitContainer, init);
    settle_list(&mut workload.pod.volumes, PartKind::Volume, plan.map(|_| (AGENT_VOLUME, volume())));
    for live in &mut workload.containers {
        let planned = containers.iter().find(|planned| planned.name == live.name);
        let agent = planned.and_then(|planned| planned.instrumented.as_ref()).map(|plan| plan.agent);
        settle_list(&mut live.mounts, PartKind::Mount, agent.map(|agent| (agent.mount_path(), mount(agent))));
    }
}

fn settle_list(parts: &mut Vec<Part>, kind: PartKind, wanted: Option<(&'static str, Value)>) {
    let known = wanted.as_ref().and_then(|(key, _)| parts.iter().find(|part| part.held && part.key == *key));
    let foreign = known.map(|part| part.foreign.clone()).unwrap_or_default();
    parts.retain(|part| !part.held);
    if let Some((key, object)) = wanted {
        let live = kind.text(&object, &foreign);
        parts.push(Part { key: key.to_owned(), held: true, foreign, rolled_back: false, live });
    }
}

/// What somebody else has changed of the instrumentation that stays (TRC0506).
pub(in crate::plan) fn taken_over(
    workload: &Workload,
    containers: &[ContainerPlan],
    pod: &FieldPath,
) -> Vec<Diagnostic> {
    if of(containers).is_none() {
        return Vec::new();
    }
    let lists = [("initContainers", &workload.pod.init_containers), ("volumes", &workload.pod.volumes)];
    let pod_parts = lists.into_iter().flat_map(|(list, parts)| parts.iter().map(move |part| (list.to_owned(), part)));
    let mounts = workload.containers.iter().enumerate().flat_map(|(at, container)| {
        container.mounts.iter().map(move |part| (format!("containers[{at}].volumeMounts"), part))
    });
    let is_changed = |(_, part): &(String, &Part)| part.held && !part.foreign.is_empty();
    let finding = |(list, part): (String, &Part)| {
        let detail = format!("{list} {}: {}", part.key, part.foreign.join(", ").replace('/', "."));
        let path = list.split('[').next().map_or_else(|| pod.clone(), |list| pod.field(list));
        Diagnostic::new(Code::TRC0506, path).detail(detail)
    };
    pod_parts.chain(mounts).filter(is_changed).map(finding).collect()
}
