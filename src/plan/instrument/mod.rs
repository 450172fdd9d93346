//! Auto-instrumentation for images without an SDK: what is injected into which containers, and what keeps it out
//! (DESIGN section 2).
//!
//! It comes as a whole or not at all: a hook without the files behind it would keep an application from starting, so where
//! one part belongs to the user, the container has none of ours.

mod hooks;
pub(super) mod live;
mod objects;

use std::sync::Arc;

use serde_json::Value;

use super::{env::Variable, inject::ContainerPlan};
use crate::{
    api::Settings,
    index::{Agent, Container, EnvValue, Namespace, Part, Resources, Workload},
};

pub use hooks::{has_hook, is_hook, joined};
pub use live::in_place;
pub use objects::{default_image, init_container, mount, volume};

/// The instrumentation of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstrumentationPlan {
    /// For which language.
    pub agent: Agent,
    /// The image that carries the files.
    pub image: String,
    /// Whether the containers' C library is musl.
    pub musl: bool,
    /// The user that copies the files; `None` leaves it to the pod, or to `OpenShift`.
    pub user: Option<i64>,
    /// Whether it must not be root: not said where nobody says which user it is.
    pub non_root: bool,
    /// What it gets; `None` where the pod says that for all of its containers together.
    pub resources: Option<Resources>,
}

/// Why a container is not instrumented, though its policy wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Uninstrumented {
    /// The user sets these hooks.
    Hooks(Vec<&'static str>),
    /// The pod runs on Windows.
    Windows,
    /// The OpenTelemetry operator instruments the pod for this language.
    OtherOperator,
    /// The user has something of this name: an init container, a volume, a mount.
    Taken(&'static str),
}

impl Uninstrumented {
    /// Whether something of the user's own in the workload keeps it out.
    pub const fn is_the_users(&self) -> bool {
        matches!(self, Self::Hooks(_) | Self::Taken(_))
    }

    /// In words.
    pub fn describe(&self) -> String {
        match self {
            Self::Hooks(names) => format!("it sets {} itself", names.join(", ")),
            Self::Windows => "its pods run on Windows".to_owned(),
            Self::OtherOperator => "the OpenTelemetry operator instruments its pods".to_owned(),
            Self::Taken(what) => format!("its pods have {what} of their own under that name"),
        }
    }
}

/// What decides the instrumentation of a workload's containers.
pub(super) struct Intent {
    plan: Arc<InstrumentationPlan>,
    /// What keeps it out of all containers.
    obstacle: Option<Uninstrumented>,
    /// Whether plain values of the user's are joined.
    joins: bool,
    /// What is set beside the hooks.
    beside: Vec<(&'static str, &'static str)>,
}

impl Intent {
    /// Where the settings want instrumentation; `None` where they do not.
    pub(super) fn of(
        settings: &Settings,
        namespace: Option<&Namespace>,
        workload: &Workload,
        selected: &[&Container],
        joins: bool,
    ) -> Option<Self> {
        let wanted = settings.instrumentation.as_ref()?;
        let agent = Agent::of(settings.language?)?;
        let image = wanted.image.clone().unwrap_or_else(|| default_image(agent).to_owned());
        let pod = &workload.pod;
        let assigned = namespace.is_some_and(|namespace| namespace.pod_defaults.assigns_users);
        let (of_pod, first) = (pod.run_as_user.filter(|user| *user != 0), selected.first());
        let of_container = first.and_then(|first| first.run_as_user).filter(|user| *user != 0);
        let user = of_container.or_else(|| (!assigned).then_some(objects::NOBODY)).filter(|_| of_pod.is_none());
        let non_root = user.is_some() || of_pod.is_some();
        let resources =
            (!pod.has_resources).then(|| objects::resources(agent, first.and_then(|first| first.resources.as_deref())));
        let obstacle = if pod.windows {
            Some(Uninstrumented::Windows)
        } else if is_others(namespace, workload, agent) {
            Some(Uninstrumented::OtherOperator)
        } else if pod.init_containers.iter().any(|part| !part.held && part.key == agent.init_container()) {
            Some(Uninstrumented::Taken("an init container"))
        } else if workload.containers.iter().any(|container| container.name == agent.init_container()) {
            Some(Uninstrumented::Taken("a container"))
        } else if pod.volumes.iter().any(|part| !part.held) {
            Some(Uninstrumented::Taken("a volume"))
        } else {
            None
        };
        let musl = pod.musl.contains(&agent);
        Some(Self {
            plan: Arc::new(InstrumentationPlan { agent, image, musl, user, non_root, resources }),
            obstacle,
            joins,
            beside: hooks::beside(settings, agent),
        })
    }

    /// Adds to a container's plan what instruments it, or the reason why nothing does.
    pub(super) fn instrument(&self, container: &Container, plan: &mut ContainerPlan) {
        if let Some(obstacle) = self.obstacle(container) {
            plan.uninstrumented = Some(obstacle);
            return;
        }
        let agent = self.plan.agent;
        for (name, value) in self.beside.iter().copied() {
            if container.is_users(name) {
                plan.withheld.push(name);
                plan.because.push(name);
            } else {
                plan.variables.push(Variable { name, value: EnvValue::Literal(value.to_owned()) });
            }
        }
        plan.because.sort_unstable();
        plan.because.dedup();
        for hook in hooks::of(agent) {
            let value = if container.is_users(hook.name) {
                EnvValue::Joined
            } else {
                EnvValue::Literal(hook.value(self.plan.musl).to_owned())
            };
            plan.variables.push(Variable { name: hook.name, value });
        }
        plan.instrumented = Some(Arc::clone(&self.plan));
    }

    fn obstacle(&self, container: &Container) -> Option<Uninstrumented> {
        if self.obstacle.is_some() {
            return self.obstacle.clone();
        }
        let path = self.plan.agent.mount_path();
        let is_ours = |part: &Part| part.held && !part.foreign.contains(&"name");
        if container.mounts.iter().any(|part| part.key.trim_end_matches('/') == path && !is_ours(part)) {
            return Some(Uninstrumented::Taken("a mount"));
        }
        let joins = |hook: &hooks::Hook| {
            let is_twice = container.duplicates.iter().any(|duplicate| duplicate == hook.name);
            self.joins && hook.joins() && !container.sourced.contains(hook.name) && !is_twice
        };
        let own: Vec<_> = hooks::of(self.plan.agent)
            .filter(|hook| container.is_users(hook.name) && !joins(hook))
            .map(|hook| hook.name)
            .collect();
        (!own.is_empty()).then_some(Uninstrumented::Hooks(own))
    }
}

/// Whether the OpenTelemetry operator instruments the pods: what a pod says wins over its namespace, as it does there.
fn is_others(namespace: Option<&Namespace>, workload: &Workload, agent: Agent) -> bool {
    let said = workload.pod.other_agents.get(&agent);
    said.or_else(|| namespace?.pod_defaults.other_agents.get(&agent)).copied().unwrap_or_default()
}

/// The instrumentation that these containers need in their pod.
pub fn of(containers: &[ContainerPlan]) -> Option<&InstrumentationPlan> {
    containers.iter().find_map(|container| container.instrumented.as_deref())
}

/// The same with the user's own values joined, as these containers of a pod's specification have them: nothing
/// [`EnvValue::Joined`] is left.
pub fn with_users_values(containers: &[ContainerPlan], spec: &Value) -> Vec<ContainerPlan> {
    let list = |object: &Value, field: &str| object.get(field).and_then(Value::as_array).cloned().unwrap_or_default();
    let is_called = |object: &Value, name: &str| object.get("name").and_then(Value::as_str) == Some(name);
    let live = list(spec, "containers");
    let mut resolved = containers.to_vec();
    for planned in &mut resolved {
        let container = live.iter().find(|container| is_called(container, &planned.name));
        let env = container.map(|container| list(container, "env")).unwrap_or_default();
        for variable in planned.variables.iter_mut().filter(|variable| variable.value == EnvValue::Joined) {
            let own = env.iter().find(|entry| is_called(entry, variable.name)).and_then(|entry| entry.get("value"));
            let own = own.and_then(Value::as_str).unwrap_or_default();
            variable.value = EnvValue::Literal(joined(variable.name, own));
        }
    }
    resolved
}

#[cfg(test)]
mod tests;
