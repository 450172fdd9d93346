//! What the user has already set wins, in groups that belong together (DESIGN section 2).

use std::sync::Arc;

use super::{
    env::Variable,
    instrument::{InstrumentationPlan, Uninstrumented},
};
use crate::index::{Container, ENV_NAMES, Owner};

/// What one container should carry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerPlan {
    /// The container.
    pub name: String,
    /// The variables to be set, in order.
    pub variables: Vec<Variable>,
    /// Variables of the policy that are left out, because the user has set them or one that they belong with.
    pub withheld: Vec<&'static str>,
    /// The user's variables that caused it.
    pub because: Vec<&'static str>,
    /// The instrumentation that it loads.
    pub instrumented: Option<Arc<InstrumentationPlan>>,
    /// Why it loads none, where the policy wants it to.
    pub uninstrumented: Option<Uninstrumented>,
}

struct Group {
    /// Why these belong together.
    why: &'static str,
    /// Any of these set by the user …
    triggers: &'static [&'static str],
    /// … withholds all of these.
    members: &'static [&'static str],
}

const GROUPS: [Group; 3] = [
    // Headers beside an endpoint of the user's would send the policy's credential there.
    Group {
        why: "an endpoint of the user's keeps the whole export group out",
        triggers: &["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"],
        members: &[
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            "OTEL_EXPORTER_OTLP_HEADERS",
            "OTEL_EXPORTER_OTLP_TIMEOUT",
            "OTEL_EXPORTER_OTLP_COMPRESSION",
        ],
    },
    // An argument changes the meaning of a sampler.
    Group {
        why: "a sampler and its argument belong together",
        triggers: &["OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"],
        members: &["OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"],
    },
    Group {
        why: "resource attributes and the variables that feed them belong together",
        triggers: RESOURCE,
        members: RESOURCE,
    },
];

const RESOURCE: &[&str] =
    &["OTEL_RESOURCE_ATTRIBUTES", "TRACESTEWARD_POD_NAME", "TRACESTEWARD_NODE_NAME", "TRACESTEWARD_SERVICE_VERSION"];

/// Variables that belong together: of each list all come from one source, or an application would start with a mixture.
/// Names that are in none stand alone.
pub(super) fn groups() -> impl Iterator<Item = &'static [&'static str]> {
    const SIZES: &[&str] = &["OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"];
    let together = GROUPS.iter().map(|group| group.members).chain([SIZES]);
    let is_alone = |name: &&str| !SIZES.contains(name) && GROUPS.iter().all(|group| !group.members.contains(name));
    let alone = ENV_NAMES.iter().filter(move |name| is_alone(name)).map(std::slice::from_ref);
    together.chain(alone)
}

/// Splits the variables of a policy into those to be set and those that the user's own win over.
pub(super) fn yield_to_user(container: &Container, variables: Vec<Variable>) -> ContainerPlan {
    let mut plan = ContainerPlan { name: container.name.clone(), ..ContainerPlan::default() };
    for variable in variables {
        let causes = causes(container, variable.name);
        if causes.is_empty() {
            plan.variables.push(variable);
        } else {
            plan.withheld.push(variable.name);
            plan.because.extend(causes);
        }
    }
    plan.because.sort_unstable();
    plan.because.dedup();
    plan
}

/// Why a variable is kept out together with others; `None` for one that stands alone.
pub(super) fn group_rule(name: &str) -> Option<&'static str> {
    GROUPS.iter().find(|group| group.members.contains(&name)).map(|group| group.why)
}

/// The user's variables that keep this one out.
pub(super) fn causes(container: &Container, name: &'static str) -> Vec<&'static str> {
    let group = GROUPS.iter().find(|group| group.members.contains(&name));
    let own = [name];
    let triggers = group.map_or(own.as_slice(), |group| group.triggers);
    let mut causes: Vec<_> = triggers.iter().copied().filter(|trigger| container.is_users(trigger)).collect();
    if container.is_users(name) && !causes.contains(&name) {
        causes.push(name);
    }
    if name == "OTEL_SERVICE_NAME" && container.names_service {
        causes.push("OTEL_RESOURCE_ATTRIBUTES");
    }
    causes
}

/// Whether the operator's fields in the container are exactly these, with these values.
pub(super) fn is_current(container: &Container, variables: &[Variable]) -> bool {
    !container.holds_unknown
        && container.held.len() == variables.len()
        && variables.iter().all(|wanted| {
            let live = container.variable(wanted.name).map(|variable| &variable.owner);
            matches!(live, Some(Owner::Operator(value)) if *value == wanted.value)
        })
}
