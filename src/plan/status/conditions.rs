//! `Accepted`, `ResolvedRefs`, `Programmed`, the summary `Ready`; `Reconciling` and `Stalled` only while true.
//!
//! What passes by itself is Unknown; False is a fault (DESIGN section 6).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{View, tally::name_for};
use crate::{
    api::{InjectionMode, Management, condition as types},
    diagnostics::{Diagnostic, Severity},
    index::{CollectorId, PodHook, SecretId, SecretState},
    plan::{
        attach::is_excluded,
        condition::{State, condition},
        effective::{inherited_collector, of_policy},
        export::Unresolved,
        pod::wants_pods,
        workload::HoldReason,
    },
};

/// The conditions of a policy.
pub(super) fn conditions(view: &View<'_>) -> Vec<Condition> {
    let accepted = accepted(view);
    let resolved = resolved(view, &accepted);
    let programmed = programmed(view, &accepted);
    let ready = ready(view, &accepted, &resolved, &programmed);
    let reconciling = ready.is("Unknown").then(|| State::new("True", ready.reason, ready.message.clone()));
    let stalled = accepted.is("False").then(|| State::new("True", accepted.reason, accepted.message.clone()));
    [
        (types::ACCEPTED, Some(accepted)),
        (types::RESOLVED_REFS, Some(resolved)),
        (types::PROGRAMMED, Some(programmed)),
        (types::READY, Some(ready)),
        (types::RECONCILING, reconciling),
        (types::STALLED, stalled),
    ]
    .into_iter()
    .filter_map(|(kind, state)| Some(condition(kind, &state?, view.policy.generation)))
    .collect()
}

/// Why the policy has no endpoint, where it is enabled and otherwise valid: by what is above all of its namespace, else for
/// one of its workloads.
pub(super) fn unresolved(view: &View<'_>) -> Option<Unresolved> {
    if !view.policy.is_valid() {
        return None;
    }
    let of_policy = of_policy(view.snapshot, view.policy).and_then(Result::err);
    of_policy.or_else(|| {
        view.tally.holds.values().find_map(|hold| match hold {
            HoldReason::Unresolved(unresolved) => Some(unresolved.clone()),
            HoldReason::Invalid | HoldReason::Discord(..) => None,
        })
    })
}

/// The headers Secret that the policy's workloads need, and what is known about it. Of those that a ClusterTracingPolicy
/// needs in many namespaces, the first that is not there.
pub(super) fn secret(view: &View<'_>) -> Option<(SecretId, Option<SecretState>)> {
    let state = |id: &SecretId| view.snapshot.namespaces.get(&id.namespace)?.secrets.get(&id.name).copied();
    if view.policy.id.is_cluster() {
        let is_missing = |id: &&SecretId| matches!(state(id), Some(SecretState::NotFound | SecretState::KeyMissing));
        let mut all = view.tally.secrets.keys();
        let first = all.clone().find(is_missing).or_else(|| all.next())?;
        return Some((first.clone(), state(first)));
    }
    // What is in force, which may come from above; else what the policy names.
    let id = match of_policy(view.snapshot, view.policy) {
        Some(Ok(export)) => {
            let namespace = view.policy.id.namespace.clone();
            SecretId { namespace, name: export.headers_secret? }
        }
        _ => view.policy.secret()?,
    };
    let state = state(&id);
    Some((id, state))
}

fn accepted(view: &View<'_>) -> State {
    let policy = view.policy;
    if !policy.id.is_cluster() && is_excluded(&policy.id.namespace, view.snapshot.own_namespace.as_deref()) {
        let message = "Policies in kube-* namespaces and in the operator's own namespace are not accepted.";
        return State::new("False", "NamespaceExcluded", message);
    }
    if !policy.is_valid() {
        return State::new("False", "Invalid", errors(&policy.findings));
    }
    let mut message = "The policy is valid.".to_owned();
    let warnings: Vec<_> = policy.findings.iter().map(sentence).collect();
    if !warnings.is_empty() {
        message = format!("{message} {}", warnings.join("; "));
    }
    let stronger = super::attention::stronger(view);
    if !stronger.is_empty() {
        message = format!("{message} {stronger}");
    }
    State::new("True", "Accepted", message)
}

fn errors(findings: &[Diagnostic]) -> String {
    let errors = findings.iter().filter(|finding| finding.severity() == Severity::Error);
    let errors: Vec<_> = errors.map(sentence).collect();
    if errors.is_empty() { "The specification is missing.".to_owned() } else { errors.join("; ") }
}

fn sentence(finding: &Diagnostic) -> String {
    format!("{}: {} ({})", finding.code, finding.message, finding.path)
}

fn resolved(view: &View<'_>, accepted: &State) -> State {
    if accepted.is("False") {
        return State::new("Unknown", accepted.reason, "References are looked at once the policy is valid.");
    }
    if let Some(unresolved) = unresolved(view) {
        let collector = collector(view).map(|id| id.to_string()).unwrap_or_default();
        let what = match &unresolved {
            Unresolved::CollectorNotFound => format!("TracingCollector {collector} does not exist."),
            Unresolved::CollectorNotPermitted => {
                format!("TracingCollector {collector} does not allow policies of this namespace.")
            }
            Unresolved::CollectorInvalid => format!("TracingCollector {collector} is not valid."),
            Unresolved::NothingToInherit => {
                "No ClusterTracingPolicy has defaults with an export for this namespace (an operator that watches a list of namespaces reads none).".to_owned()
            }
            Unresolved::HostNotAllowed(by) => {
                format!("{} does not allow to send to the host of the endpoint.", by.described())
            }
            Unresolved::NoExport => "The policy has no export.".to_owned(),
        };
        return State::new("False", unresolved.reason(), what);
    }
    let Some((secret, state)) = secret(view) else {
        return State::new("True", "ResolvedRefs", "Everything that the policy refers to is there.");
    };
    let name = if view.policy.id.is_cluster() { format!("{}/{}", secret.namespace, secret.name) } else { secret.name };
    match state {
        Some(SecretState::Present | SecretState::Unsendable) => {
            State::new("True", "ResolvedRefs", "Everything that the policy refers to is there.")
        }
        Some(SecretState::NotFound) => State::new(
            "False",
            "SecretNotFound",
            format!("Secret {name} does not exist; spans go out without headers until it does and the pods restart."),
        ),
        Some(SecretState::KeyMissing) => State::new(
            "False",
            "SecretKeyMissing",
            format!("Secret {name} has no key {}; spans go out without headers.", crate::api::HEADERS_KEY),
        ),
        Some(SecretState::Unverified) => State::new(
            "Unknown",
            "SecretNotVerified",
            format!("Secret {name} was not looked at: the operator has no right to, or was told not to."),
        ),
        None => State::new("Unknown", "SecretNotChecked", format!("Secret {name} has not been looked at yet.")),
    }
}

fn programmed(view: &View<'_>, accepted: &State) -> State {
    let counts = &view.tally.counts;
    if accepted.is("False") {
        let message = "Nothing new is injected, and nothing is taken away, until the policy is valid.";
        return State::new("False", accepted.reason, message);
    }
    if let Some(unresolved) = unresolved(view) {
        let message = "Nothing new is injected, and nothing is taken away, until the export is found.";
        return State::new("False", unresolved.reason(), message);
    }
    if let Some(state) = halted(view) {
        return state;
    }
    if let Some((workload, fault)) = view.tally.faults.first_key_value() {
        let others = view.tally.faults.len() - 1;
        let others = if others == 0 { String::new() } else { format!(" ({others} more)") };
        let message = format!("{} {}: {}{others}", workload.kind, name_for(view.policy, workload), fault.message);
        return State::new("False", "PartiallyProgrammed", message);
    }
    if counts.pending > 0 {
        let restarting = match view.tally.restarting {
            0 => String::new(),
            number => format!(" Workloads that are replacing their pods: {number}."),
        };
        let message = format!("Workloads still to be written: {}.{restarting}", counts.pending);
        return State::new("Unknown", "Reconciling", message);
    }
    if let Some(workload) = discord(view) {
        let message = format!("Settings of several policies do not go together for {workload}; it stays as it is.");
        return State::new("False", "SettingsDisagree", message);
    }
    if let Some(workload) = held_by_others(view) {
        let message = format!("{workload} stays as it is: another policy that may be about it is not valid.");
        return State::new("False", "PolicyInvalid", message);
    }
    if view.policy.id.is_cluster() {
        return cluster(view);
    }
    let spec = view.policy.spec();
    let mode = spec.and_then(|spec| spec.settings.injection.as_ref()?.mode).unwrap_or_default();
    if let Some(state) =
        not_hooked(view).filter(|_| spec.is_some_and(|spec| spec.enabled) && mode != InjectionMode::None)
    {
        return state;
    }
    match (spec.is_some_and(|spec| spec.enabled), mode) {
        (false, _) => State::new("True", "Withdrawn", "The policy is disabled, and nothing of the operator's is left."),
        (true, InjectionMode::None) => State::new(
            "True",
            "NotInjected",
            "injection.mode is None: `tracesteward render` gives the patch to commit.",
        ),
        (true, InjectionMode::Workload | InjectionMode::Pod) if counts.matched == 0 => {
            State::new("True", "NoWorkloads", "No workload matches yet.")
        }
        (true, InjectionMode::Workload | InjectionMode::Pod) if counts.matched == counts.superseded => {
            State::new("True", "Superseded", "Another policy comes first for every workload that this one selects.")
        }
        (true, InjectionMode::Workload | InjectionMode::Pod) => not_received(view).unwrap_or_else(|| carried(view)),
    }
}

/// Pods that are to be injected as they are created, where nobody looks at them then.
fn not_hooked(view: &View<'_>) -> Option<State> {
    let namespace = &view.policy.id.namespace;
    if view.snapshot.hook.covers(namespace) || !wants_pods(view.snapshot, namespace) {
        return None;
    }
    let mode = view.policy.spec().and_then(|spec| spec.settings.injection.as_ref()?.mode);
    let mut targets = view.policy.targets().iter();
    match view.snapshot.hook {
        PodHook::Off if mode == Some(InjectionMode::Pod) || targets.any(|target| target.kind.comes_and_goes()) => {
            let message = "Pods are injected as they are created, by the webhook, which the operator does not serve or may not set up.";
            Some(State::new("False", "NoWebhook", message))
        }
        PodHook::Off | PodHook::Unmanaged => None,
        PodHook::In(_) => {
            let message = "The API server is still to be told of the webhook that injects pods in this namespace.";
            Some(State::new("Unknown", "WebhookPending", message))
        }
    }
}

/// What is in force has broken a workload: nobody else is given it.
fn halted(view: &View<'_>) -> Option<State> {
    let (workload, because) = view.tally.reverted.first_key_value()?;
    let others = view.tally.reverted.len() - 1;
    let others = if others == 0 { String::new() } else { format!(" ({others} more)") };
    let name = name_for(view.policy, workload);
    let message = format!(
        "New pods of {} {name} did not run with what the policy says, and it was taken out again{others}: {because} Nothing more is injected until the policy changes.",
        workload.kind
    );
    Some(State::new("False", "RolloutHalted", message))
}

/// A workload whose settings do not go together.
fn discord(view: &View<'_>) -> Option<String> {
    let is_discord = |hold: &HoldReason| matches!(hold, HoldReason::Discord(..));
    let (workload, _) = view.tally.holds.iter().find(|(_, hold)| is_discord(hold))?;
    Some(format!("{} {}", workload.kind, name_for(view.policy, workload)))
}

/// A workload that this policy decides about, and that stays as it is because what another one wants cannot be told.
fn held_by_others(view: &View<'_>) -> Option<String> {
    let (workload, _) = view.tally.holds.iter().find(|(_, hold)| matches!(hold, HoldReason::Invalid))?;
    Some(format!("{} {}", workload.kind, name_for(view.policy, workload)))
}

/// What a ClusterTracingPolicy is about.
fn cluster(view: &View<'_>) -> State {
    let (matched, won) = (view.tally.counts.matched, view.tally.won);
    if matched == 0 {
        return State::new("True", "NoWorkloads", "No workload matches yet.");
    }
    let has_defaults = view.policy.cluster().is_some_and(|spec| spec.defaults.is_some());
    let message = if has_defaults {
        format!("In force for {matched} workloads; for {won} of them no TracingPolicy comes first.")
    } else {
        format!("The overrides hold for {matched} workloads.")
    };
    State::new("True", "Programmed", message)
}

/// The collector that what the policy selects exports to.
fn collector(view: &View<'_>) -> Option<CollectorId> {
    inherited_collector(view.snapshot, view.policy).or_else(|| view.policy.collector())
}

/// A collector that the operator runs and that has no ready pods: the variables are in place, and spans find nobody.
fn not_received(view: &View<'_>) -> Option<State> {
    let id = collector(view)?;
    let spec = view.snapshot.collectors.get(&id)?.valid()?;
    let is_managed = spec.management.unwrap_or_default() == Management::Managed;
    (is_managed && !view.snapshot.has_ready_pods(&id)).then(|| {
        let message =
            format!("Every workload carries what the policy says; TracingCollector {id} has no ready pods yet.");
        State::new("Unknown", "CollectorNotReady", message)
    })
}

/// What is in place, where nothing is to be written: a policy that selects no container has nothing in place.
fn carried(view: &View<'_>) -> State {
    let (all, selected) = (view.tally.won, view.tally.with_container);
    let stale = view.tally.counts.stale;
    match all - selected {
        0 if stale > 0 => {
            let message =
                format!("New pods get what the policy says; pods of {stale} workloads were created without it.");
            State::new("True", "Programmed", message)
        }
        0 => State::new("True", "Programmed", "Every workload carries what the policy says."),
        _ if selected == 0 => {
            State::new("False", "NoContainerSelected", "No workload has a container that the policy selects.")
        }
        none => State::new(
            "True",
            "Programmed",
            format!(
                "{selected} of {all} workloads carry what the policy says; {none} have no container that it selects."
            ),
        ),
    }
}

fn ready(view: &View<'_>, accepted: &State, resolved: &State, programmed: &State) -> State {
    if let Some(fault) = [accepted, resolved, programmed].into_iter().find(|state| state.is("False")) {
        return State::new("False", fault.reason, fault.message.clone());
    }
    if programmed.is("Unknown") {
        return State::new("Unknown", programmed.reason, programmed.message.clone());
    }
    // Not allowed to look is for good, and no reason to wait; not looked yet passes.
    if resolved.is("Unknown") && resolved.reason == "SecretNotChecked" {
        return State::new("Unknown", resolved.reason, resolved.message.clone());
    }
    if view.policy.spec().is_some_and(|spec| !spec.enabled) {
        return State::new("True", "Disabled", programmed.message.clone());
    }
    let reason = if programmed.reason == "Programmed" { "Ready" } else { programmed.reason };
    State::new("True", reason, programmed.message.clone())
}
