//! What a change of objects would do to a cluster: two snapshots in, what differs once the operator has settled out.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    Plan,
    collector::{CollectorSettings, Tier, rendered, revision},
    explain::Verdict,
    instrument::{self, InstrumentationPlan},
    plan,
    workload::{Decision, WorkloadPlan},
};
use crate::{
    api::{Management, TracingPolicyStatus, WorkloadCounts, condition},
    index::{CollectorId, ENV_NAMES, EnvValue, Owner, PolicyId, Snapshot, Workload, WorkloadId, WorkloadKind},
};

/// What becomes of a change of a workload's pod template.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rollout {
    /// Its pods are replaced.
    #[default]
    Restarts,
    /// It has no pods.
    NoReplicas,
    /// Nothing happens until it is resumed.
    Paused,
    /// Pods are replaced as somebody deletes them.
    OnDelete,
    /// The next job has it.
    NextJob,
}

impl Rollout {
    /// Of a whole object.
    pub fn of(kind: WorkloadKind, object: &Value) -> Self {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let is_on_delete = text("/spec/updateStrategy/type") == "OnDelete";
        match kind {
            WorkloadKind::CronJob => Self::NextJob,
            // Never written.
            WorkloadKind::Job | WorkloadKind::Pod => Self::OnDelete,
            WorkloadKind::DaemonSet if is_on_delete => Self::OnDelete,
            WorkloadKind::DaemonSet => Self::Restarts,
            _ if object.pointer("/spec/replicas").and_then(Value::as_i64) == Some(0) => Self::NoReplicas,
            WorkloadKind::StatefulSet if is_on_delete => Self::OnDelete,
            WorkloadKind::Deployment if object.pointer("/spec/paused") == Some(&Value::Bool(true)) => Self::Paused,
            WorkloadKind::Deployment | WorkloadKind::StatefulSet => Self::Restarts,
        }
    }

    /// In words.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Restarts => "restarts",
            Self::NoReplicas => "no restart: it has no replicas",
            Self::Paused => "no restart: it is paused",
            Self::OnDelete => "no restart: its pods are replaced as they are deleted",
            Self::NextJob => "no restart: the next job has it",
        }
    }
}

/// What is known of workloads beside the snapshots.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// How changes of their templates roll out.
    pub rollouts: BTreeMap<WorkloadId, Rollout>,
    /// Those whose own pod template changes too.
    pub templates: BTreeSet<WorkloadId>,
}

/// A variable that changes: absent before where it is added, absent after where it is removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VariableChange {
    /// The container.
    pub container: String,
    /// The variable.
    pub name: &'static str,
    /// What the operator has set it to.
    pub before: Option<EnvValue>,
    /// What it will set it to.
    pub after: Option<EnvValue>,
}

/// A workload that changes.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkloadDifference {
    /// Which one.
    pub id: WorkloadId,
    /// Whether it is not in the cluster yet.
    pub is_new: bool,
    /// How the change rolls out.
    pub rollout: Rollout,
    /// Whether its own pod template changes too.
    pub own_template: bool,
    /// What happens to it now.
    pub before: Verdict,
    /// What will happen to it.
    pub after: Verdict,
    /// The policy that comes first then.
    pub policy: Option<PolicyId>,
    /// The variables that change.
    pub variables: Vec<VariableChange>,
    /// The instrumentation that changes: what is injected, and what will be.
    pub instrumentation: Option<(Option<InstrumentationPlan>, Option<InstrumentationPlan>)>,
}

impl WorkloadDifference {
    /// Whether pods that run are replaced.
    pub fn restarts(&self) -> bool {
        !self.is_new
            && self.rollout == Rollout::Restarts
            && (self.own_template || !self.variables.is_empty() || self.instrumentation.is_some())
    }
}

/// How a policy is.
#[derive(Clone, Debug, PartialEq)]
pub struct Readiness {
    /// The status of `Ready`.
    pub status: String,
    /// Its reason.
    pub reason: String,
    /// Its message.
    pub message: String,
    /// Its workloads.
    pub counts: WorkloadCounts,
}

/// A policy whose status changes.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyDifference {
    /// Which one.
    pub id: PolicyId,
    /// Now; absent where it is not there.
    pub before: Option<Readiness>,
    /// Then.
    pub after: Readiness,
}

/// A collector that changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectorDifference {
    /// Which one.
    pub id: CollectorId,
    /// Whether it is not in the cluster yet.
    pub is_new: bool,
    /// Whether its pods are replaced.
    pub restarts: bool,
    /// The configurations that change: what they are, and what they will be.
    pub configurations: Vec<(Tier, String, String)>,
    /// Its other objects that change: `Deployment gateway-collector`, with what becomes of it.
    pub objects: Vec<(String, &'static str)>,
}

/// Everything that differs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Difference {
    /// Workloads.
    pub workloads: Vec<WorkloadDifference>,
    /// Policies.
    pub policies: Vec<PolicyDifference>,
    /// Collectors.
    pub collectors: Vec<CollectorDifference>,
}

impl Difference {
    /// Whether nothing does.
    pub fn is_empty(&self) -> bool {
        self.workloads.is_empty() && self.policies.is_empty() && self.collectors.is_empty()
    }

    /// How many workloads restart, and how many variables change.
    pub fn counts(&self) -> (usize, usize) {
        let restarts = self.workloads.iter().filter(|workload| workload.restarts()).count();
        (restarts, self.workloads.iter().map(|workload| workload.variables.len()).sum())
    }
}

/// Compares two states of a cluster, both as they are once the operator has written everything.
pub fn difference(before: &Snapshot, after: &Snapshot, known: &Known) -> Difference {
    let (old, new) = (plan(before).0, plan(after).0);
    Difference {
        workloads: workloads((before, &old), (after, &new), known),
        policies: policies(&settled(before, &old), &settled(after, &new)),
        collectors: collectors((before, &old), (after, &new)),
    }
}

type Carried = BTreeMap<(String, &'static str), EnvValue>;

/// The operator's variables in a workload, once everything is written.
fn carried(workload: &Workload, plan: Option<&WorkloadPlan>) -> Carried {
    if plan.is_some_and(|plan| matches!(plan.decision, Decision::Hold(_) | Decision::Excluded)) || workload.deleting {
        return held(workload);
    }
    let containers = plan.map(WorkloadPlan::intent).unwrap_or_default().iter();
    let variables = containers.flat_map(|container| {
        container.variables.iter().map(|variable| ((container.name.clone(), variable.name), variable.value.clone()))
    });
    variables.collect()
}

/// The instrumentation of a workload, once everything is written.
fn instrumented(workload: &Workload, plan: Option<&WorkloadPlan>) -> Option<InstrumentationPlan> {
    if plan.is_some_and(|plan| matches!(plan.decision, Decision::Hold(_) | Decision::Excluded)) || workload.deleting {
        return instrument::in_place(workload);
    }
    instrument::of(plan?.intent()).cloned()
}

/// The operator's variables that are in a workload.
fn held(workload: &Workload) -> Carried {
    let containers = workload.containers.iter();
    let own = containers.flat_map(|container| {
        container.env.iter().filter_map(|variable| match &variable.owner {
            Owner::Operator(value) => Some(((container.name.clone(), variable.name), value.clone())),
            Owner::User => None,
        })
    });
    own.collect()
}

fn workloads(
    (before, old): (&Snapshot, &Plan),
    (after, new): (&Snapshot, &Plan),
    known: &Known,
) -> Vec<WorkloadDifference> {
    let mut found = Vec::new();
    for (id, workload) in after.namespaces.values().flat_map(|namespace| &namespace.workloads) {
        let live = before.workload(id);
        let (planned_before, planned) = (old.workloads.get(id), new.workloads.get(id));
        let was = live.map(|live| carried(live, planned_before)).unwrap_or_default();
        let will_be = carried(workload, planned);
        let own_template = known.templates.contains(id);
        let variables = changes(&was, &will_be, workload);
        let agents = (live.and_then(|live| instrumented(live, planned_before)), instrumented(workload, planned));
        let instrumentation = (agents.0 != agents.1).then_some(agents);
        if variables.is_empty() && instrumentation.is_none() && !own_template {
            continue;
        }
        let verdict = |plan: Option<&WorkloadPlan>| plan.map_or(Verdict::NotSelected, Verdict::of);
        found.push(WorkloadDifference {
            id: id.clone(),
            is_new: live.is_none(),
            rollout: known.rollouts.get(id).copied().unwrap_or_default(),
            own_template,
            before: verdict(planned_before),
            after: verdict(planned),
            policy: planned.and_then(|plan| plan.winner.clone()),
            variables,
            instrumentation,
        });
    }
    found
}

fn changes(was: &Carried, will_be: &Carried, workload: &Workload) -> Vec<VariableChange> {
    let containers: BTreeSet<&str> =
        was.keys().chain(will_be.keys()).map(|(container, _)| container.as_str()).collect();
    let place = |name: &str| workload.containers.iter().position(|container| container.name == name);
    let mut containers: Vec<_> = containers.into_iter().collect();
    containers.sort_by_key(|name| place(name).unwrap_or(usize::MAX));
    let mut changes = Vec::new();
    for container in containers {
        for name in ENV_NAMES {
            let key = (container.to_owned(), name);
            let (before, after) = (was.get(&key).cloned(), will_be.get(&key).cloned());
            if before != after {
                changes.push(VariableChange { container: container.to_owned(), name, before, after });
            }
        }
    }
    changes
}

/// The snapshot after every write of this plan.
pub fn settled(snapshot: &Snapshot, plan: &Plan) -> Snapshot {
    let mut settled = snapshot.clone();
    for (id, planned) in plan.workloads.iter().filter(|(_, planned)| planned.needs_write) {
        let Some(workload) = settled.namespaces.get_mut(&id.namespace).and_then(|home| home.workloads.get_mut(id))
        else {
            continue;
        };
        let wanted: Vec<_> = planned
            .intent()
            .iter()
            .map(|container| {
                let variables = container.variables.iter().map(|variable| (variable.name, variable.value.clone()));
                (container.name.as_str(), variables.collect())
            })
            .collect();
        let mut written = workload.with_variables(&wanted);
        instrument::live::settle(&mut written, planned.intent());
        *workload = written.into();
    }
    settled
}

fn policies(before: &Snapshot, after: &Snapshot) -> Vec<PolicyDifference> {
    let (old, new) = (plan(before).0.policies, plan(after).0.policies);
    let changed = new.iter().filter_map(|(id, status)| {
        let (before, after) = (old.get(id).map(readiness), readiness(status));
        let key = |ready: &Readiness| (ready.status.clone(), ready.reason.clone(), ready.counts.clone());
        (before.as_ref().map(key) != Some(key(&after))).then(|| PolicyDifference { id: id.clone(), before, after })
    });
    changed.collect()
}

fn readiness(status: &TracingPolicyStatus) -> Readiness {
    let ready = status.conditions.iter().find(|condition| condition.type_ == condition::READY);
    let text = |text: fn(&k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition) -> &String| {
        ready.map(text).cloned().unwrap_or_default()
    };
    Readiness {
        status: text(|ready| &ready.status),
        reason: text(|ready| &ready.reason),
        message: text(|ready| &ready.message),
        counts: status.workloads.clone().unwrap_or_default(),
    }
}

fn collectors((before, old): (&Snapshot, &Plan), (after, new): (&Snapshot, &Plan)) -> Vec<CollectorDifference> {
    let mut found = Vec::new();
    for id in after.collectors.keys() {
        let (was, will_be) = (tiers(before, old, id), tiers(after, new, id));
        let text = |tiers: &Tiers, tier: Tier| tiers.get(&tier).map(|(_, text)| text.clone()).unwrap_or_default();
        let all: BTreeSet<Tier> = was.keys().chain(will_be.keys()).copied().collect();
        let configurations = all.into_iter().map(|tier| (tier, text(&was, tier), text(&will_be, tier)));
        let configurations: Vec<_> = configurations.filter(|(_, was, will_be)| was != will_be).collect();
        let objects = objects((before, old), (after, new), id);
        if configurations.is_empty() && objects.is_empty() {
            continue;
        }
        let hash = |tiers: &Tiers| -> Vec<String> { tiers.values().map(|(hash, _)| hash.clone()).collect() };
        let is_new = !before.collectors.contains_key(id);
        let is_run = |snapshot: &Snapshot| {
            let spec = snapshot.collectors.get(id).and_then(|collector| collector.valid());
            spec.is_some_and(|spec| spec.management.unwrap_or_default() == Management::Managed)
        };
        let restarts = is_run(before) && is_run(after) && hash(&was) != hash(&will_be) && !will_be.is_empty();
        found.push(CollectorDifference { id: id.clone(), is_new, restarts, configurations, objects });
    }
    found
}

/// By tier, the hash of the revision and the configuration.
type Tiers = BTreeMap<Tier, (String, String)>;

fn tiers(snapshot: &Snapshot, plan: &Plan, id: &CollectorId) -> Tiers {
    let found = snapshot.collectors.get(id).and_then(|collector| Some((collector, collector.valid()?)));
    let (Some((collector, spec)), Some(planned)) = (found, plan.collectors.get(id)) else { return Tiers::new() };
    let settings = CollectorSettings::new(spec);
    let of = |configuration: &super::collector::Configuration| {
        let hash = revision(collector, &settings, configuration).hash;
        (configuration.tier, (hash, configuration.text.clone()))
    };
    planned.configurations.iter().map(of).collect()
}

/// Objects other than configurations, which are shown whole.
fn objects(
    (before, old): (&Snapshot, &Plan),
    (after, new): (&Snapshot, &Plan),
    id: &CollectorId,
) -> Vec<(String, &'static str)> {
    let of = |snapshot: &Snapshot, plan: &Plan| -> BTreeMap<String, Value> {
        let made = snapshot.collectors.get(id).zip(plan.collectors.get(id));
        let all = made.map(|(collector, plan)| rendered(collector, plan)).unwrap_or_default();
        let text = |object: &Value, pointer: &str| {
            object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let named = |object: Value| (format!("{} {}", text(&object, "/kind"), text(&object, "/metadata/name")), object);
        all.into_iter().map(named).filter(|(name, _)| !name.starts_with("ConfigMap ")).collect()
    };
    let (was, will_be) = (of(before, old), of(after, new));
    let all: BTreeSet<&String> = was.keys().chain(will_be.keys()).collect();
    let change = |name: &String| match (was.get(name), will_be.get(name)) {
        (None, _) => Some("created"),
        (_, None) => Some("removed"),
        (one, other) if one == other => None,
        _ => Some("changed"),
    };
    all.into_iter().filter_map(|name| Some((name.clone(), change(name)?))).collect()
}
