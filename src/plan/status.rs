//! The status of a policy, from the plans of the workloads that it is about. No clock: times of transitions are the
//! caller's (`finish`).

mod conditions;
mod no_effect;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    condition::carry_times,
    workload::{Decision, WorkloadPlan},
};
use crate::{
    api::{Attention, TargetKind, TracingPolicyStatus, WorkloadCounts, condition as types},
    diagnostics::{Code, Diagnostic, FieldPath},
    index::{Fault, Namespace, Policy, PolicyId, SecretState, Snapshot, Workload},
};

pub use no_effect::no_effect;

/// At most this many entries of `status.attention`.
const MAX_ATTENTION: usize = 16;
/// Characters of a message of an entry; what the API server says can be long.
const MAX_MESSAGE: usize = 512;

/// What there is to say about a policy.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The status, with transition times at the epoch.
    pub status: TracingPolicyStatus,
    /// Findings about references and targets (TRC02xx, TRC04xx, TRC0504).
    pub findings: Vec<Diagnostic>,
}

/// The plan of one workload, beside the workload.
pub type Planned<'a> = (&'a Workload, WorkloadPlan);

/// The reports of all policies of a namespace.
pub fn reports(snapshot: &Snapshot, namespace: &Namespace, plans: &[Planned<'_>]) -> Vec<(PolicyId, Report)> {
    let mut by_policy: BTreeMap<&PolicyId, Vec<&Planned<'_>>> = BTreeMap::new();
    for planned in plans {
        for id in planned.1.winner.iter().chain(&planned.1.superseded) {
            by_policy.entry(id).or_default().push(planned);
        }
    }
    let report = |policy: &Policy| {
        let plans = by_policy.get(&policy.id).map(Vec::as_slice).unwrap_or_default();
        (policy.id.clone(), report(snapshot, namespace, policy, plans))
    };
    namespace.policies.values().map(report).collect()
}

/// The report of one policy; `plans` are those of the workloads that it selects.
pub fn report(snapshot: &Snapshot, namespace: &Namespace, policy: &Policy, plans: &[&Planned<'_>]) -> Report {
    let view = View { snapshot, namespace, policy, plans };
    let ignored = &policy.ignored;
    let mut missing_targets = missing_targets(&view);
    missing_targets.retain(|(finding, _)| !ignored.covers(finding.code));
    let mut missing_containers = missing_containers(&view);
    ignored.leave_out(&mut missing_containers);
    let shared = shared_names(&view).filter(|finding| !ignored.covers(finding.code));
    let counts = counts(&view);
    let mut findings: Vec<_> = missing_targets.iter().map(|(finding, _)| finding.clone()).collect();
    findings.extend(missing_containers.clone());
    findings.extend(shared.clone());
    findings.extend(secret_finding(&view));
    findings.extend(unresolved_finding(&view));
    ignored.leave_out(&mut findings);
    let attention = attention(&view, &missing_targets, &missing_containers, shared.as_ref());
    let status = TracingPolicyStatus {
        observed_generation: Some(policy.generation),
        conditions: conditions::conditions(&view, &counts),
        workloads: Some(counts),
        attention,
    };
    Report { status, findings: findings.into_iter().map(|finding| finding.on(policy.id.object())).collect() }
}

/// Carries times over from the status before: a condition keeps its time unless its status flipped.
pub fn finish(
    mut status: TracingPolicyStatus,
    before: Option<&TracingPolicyStatus>,
    now: &Time,
) -> TracingPolicyStatus {
    carry_times(&mut status.conditions, before.map(|before| before.conditions.as_slice()), now);
    status
}

/// Whether two statuses say the same, apart from conditions of others, which server-side apply leaves alone.
pub fn is_same(said: &TracingPolicyStatus, wanted: &TracingPolicyStatus) -> bool {
    let own = |status: &TracingPolicyStatus| {
        let mut status = status.clone();
        status.conditions.retain(|condition| types::ALL.contains(&condition.type_.as_str()));
        status
    };
    own(said) == own(wanted)
}

/// Everything that a status is made of.
struct View<'a> {
    snapshot: &'a Snapshot,
    namespace: &'a Namespace,
    policy: &'a Policy,
    plans: &'a [&'a Planned<'a>],
}

impl View<'_> {
    /// Plans that this policy decides.
    fn won(&self) -> impl Iterator<Item = &Planned<'_>> {
        self.plans.iter().copied().filter(|(_, plan)| plan.winner.as_ref() == Some(&self.policy.id))
    }

    fn faults(&self) -> impl Iterator<Item = (&Workload, &Fault)> {
        self.won().filter_map(|(workload, plan)| {
            let fault = self.namespace.faults.get(&workload.id)?;
            plan.needs_write.then_some((*workload, fault))
        })
    }

    fn secret(&self) -> Option<(&str, Option<SecretState>)> {
        let settings = self.policy.spec().filter(|spec| spec.enabled).map(|spec| &spec.settings)?;
        let name = settings.export.as_ref()?.headers_secret_ref.as_ref()?.name.as_str();
        Some((name, self.namespace.secrets.get(name).copied()))
    }
}

fn counts(view: &View<'_>) -> WorkloadCounts {
    let mut counts = WorkloadCounts::default();
    for (workload, plan) in view.plans.iter().copied() {
        counts.matched += 1;
        if plan.winner.as_ref() != Some(&view.policy.id) {
            counts.superseded += 1;
            continue;
        }
        let in_place = match plan.decision {
            Decision::Inject => plan.sets_anything() && !plan.needs_write,
            Decision::Hold(_) => workload.is_held(),
            Decision::Excluded | Decision::Withdraw | Decision::Manual | Decision::AtPods => false,
        };
        counts.injected += i64::from(in_place);
        counts.pending += i64::from(plan.needs_write);
        counts.overridden += i64::from(plan.is_overridden());
    }
    counts
}

/// Targets that match nothing; with an entry for those that name one workload.
fn missing_targets(view: &View<'_>) -> Vec<(Diagnostic, Option<Attention>)> {
    let mut missing = Vec::new();
    for (position, target) in view.policy.targets().iter().enumerate() {
        if matches!(target.kind, TargetKind::Job | TargetKind::Pod) {
            continue; // Not watched: nothing is known about them.
        }
        let found = view
            .plans
            .iter()
            .any(|(workload, _)| target.matches(workload.id.kind.target(), &workload.id.name, &workload.labels));
        if found {
            continue;
        }
        let detail = match (&target.name, &target.selector) {
            (Some(name), _) => format!("{} {name}", target.kind.as_str()),
            (None, Some(_)) => format!("no {} has these labels in its pod template", target.kind.as_str()),
            (None, None) => format!("no {} in the namespace", target.kind.as_str()),
        };
        let path = FieldPath::fields("spec.targets").index(position);
        let finding = Diagnostic::new(Code::TRC0203, path).detail(detail);
        let entry = target.name.as_ref().map(|name| Attention {
            kind: target.kind.as_str().to_owned(),
            name: name.clone(),
            reason: "TargetNotFound".to_owned(),
            message: "The policy names this workload, and it does not exist.".to_owned(),
        });
        missing.push((finding, entry));
    }
    missing
}

/// Names in `spec.containers` that no selected workload has.
fn missing_containers(view: &View<'_>) -> Vec<Diagnostic> {
    let names = view.policy.settings().and_then(|settings| settings.containers.as_deref()).unwrap_or_default();
    if view.won().next().is_none() {
        return Vec::new();
    }
    let exists =
        |name: &str| view.won().any(|(workload, _)| workload.containers.iter().any(|container| container.name == name));
    let absent = names.iter().enumerate().filter(|(_, name)| !exists(name));
    absent
        .map(|(position, name)| {
            Diagnostic::new(Code::TRC0204, FieldPath::fields("spec.containers").index(position)).detail(name)
        })
        .collect()
}

/// A `service.name` that the policy itself gives to several workloads.
fn shared_names(view: &View<'_>) -> Option<Diagnostic> {
    let mut workloads_by_name: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (workload, plan) in view.won() {
        if let Some(name) = &plan.service_name {
            workloads_by_name.entry(name).or_default().insert(format!("{}/{}", workload.id.kind, workload.id.name));
        }
    }
    let (name, workloads) = workloads_by_name.into_iter().find(|(_, workloads)| workloads.len() > 1)?;
    let listed: Vec<_> = workloads.iter().take(3).map(String::as_str).collect();
    let more = workloads.len().saturating_sub(listed.len());
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    let detail = format!("{name} for {}{more}", listed.join(", "));
    Some(Diagnostic::new(Code::TRC0504, FieldPath::fields("spec.service.name")).detail(detail))
}

fn secret_finding(view: &View<'_>) -> Option<Diagnostic> {
    let (name, state) = view.secret()?;
    let code = match state? {
        SecretState::NotFound => Code::TRC0201,
        SecretState::KeyMissing => Code::TRC0202,
        SecretState::Present | SecretState::Unverified | SecretState::Unsendable => return None,
    };
    Some(Diagnostic::new(code, FieldPath::fields("spec.export.headersSecretRef.name")).detail(name))
}

fn unresolved_finding(view: &View<'_>) -> Option<Diagnostic> {
    let unresolved = conditions::unresolved(view)?;
    let field = if unresolved.is_about_collector() { "collectorRef" } else { "inherit" };
    let finding = Diagnostic::new(unresolved.code(), FieldPath::fields("spec.export").field(field));
    Some(match view.policy.collector() {
        Some(collector) if unresolved.is_about_collector() => finding.detail(collector.to_string()),
        _ => finding,
    })
}

/// The entries that matter most, in a fixed order.
fn attention(
    view: &View<'_>,
    missing_targets: &[(Diagnostic, Option<Attention>)],
    missing_containers: &[Diagnostic],
    shared: Option<&Diagnostic>,
) -> Vec<Attention> {
    let entry = |workload: &Workload, reason: &str, message: String| Attention {
        kind: workload.id.kind.as_str().to_owned(),
        name: workload.id.name.clone(),
        reason: reason.to_owned(),
        message,
    };
    let about_policy = |reason: &str, finding: &Diagnostic| Attention {
        kind: "TracingPolicy".to_owned(),
        name: view.policy.id.name.clone(),
        reason: reason.to_owned(),
        message: finding.message.clone(),
    };
    let mut ranked: Vec<(u8, Attention)> = Vec::new();
    ranked.extend(view.faults().map(|(workload, fault)| (0, entry(workload, &fault.reason, fault.message.clone()))));
    ranked.extend(missing_targets.iter().filter_map(|(_, entry)| Some((1, entry.clone()?))));
    ranked.extend(missing_containers.iter().map(|finding| (1, about_policy("ContainerNotFound", finding))));
    for (workload, plan) in view.won() {
        if plan.decision == Decision::Inject && plan.containers.is_empty() {
            let message = "None of its containers is selected.".to_owned();
            ranked.push((2, entry(workload, "NoContainerSelected", message)));
        }
        for finding in super::workload_findings(workload, plan) {
            let (rank, reason) = match finding.code {
                Code::TRC0501 => (3, "Overridden"),
                Code::TRC0502 => (4, "DuplicateVariables"),
                Code::TRC0133 => (5, "IgnoredWithoutEffect"),
                _ => (5, "EnvFromNotSeen"),
            };
            ranked.push((rank, entry(workload, reason, finding.message)));
        }
    }
    ranked.extend(shared.map(|finding| (6, about_policy("SharedServiceName", finding))));
    ranked.sort();
    let cut = |entry: Attention| Attention { message: entry.message.chars().take(MAX_MESSAGE).collect(), ..entry };
    ranked.into_iter().map(|(_, entry)| cut(entry)).take(MAX_ATTENTION).collect()
}
