//! The status of a collector. No clock: times of transitions are the caller's (`finish`).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::{
    CollectorPlan, CollectorSettings, collector_name,
    converge::{TierView, is_own},
    rollout::Outcome,
};
use crate::{
    api::{
        CollectorEndpoints, ConfigurationState, Identity, Management, ReplicaCounts, TracingCollectorStatus,
        condition as types,
    },
    diagnostics::{Code, Diagnostic, Severity},
    index::{Collector, Fault, SecretState, Snapshot},
    plan::condition::{State, carry_times, condition},
};

/// The status of a collector, with transition times at the epoch. `tiers` as they are at the epoch too: what has a
/// deadline is on its way.
pub fn status(
    snapshot: &Snapshot,
    collector: &Collector,
    plan: &CollectorPlan,
    tiers: &[TierView],
) -> TracingCollectorStatus {
    let view = View { snapshot, collector, plan, tiers };
    let conditions = conditions(&view);
    let settings = collector.valid().map(CollectorSettings::new);
    let before = collector.status.as_ref();
    let Some(settings) = settings else {
        // What was true of the last valid specification still is: nothing was changed since.
        let before = before.cloned().unwrap_or_default();
        return TracingCollectorStatus { observed_generation: Some(collector.generation), conditions, ..before };
    };
    let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let known = before.and_then(|before| before.configuration.clone());
    TracingCollectorStatus {
        observed_generation: Some(collector.generation),
        conditions,
        endpoints: Some(endpoints(collector, &settings)),
        // Where nothing is desired that can be, what runs goes on.
        configuration: if tiers.is_empty() { known } else { Some(configuration(tiers)) },
        replicas: (settings.management == Management::Managed)
            .then(|| ReplicaCounts { desired: i64::from(settings.replicas), ready: view.ready_pods() }),
        policies: Some(count(plan.policies)),
        services: Some(count(plan.services)),
    }
}

/// Carries times over from the status before: a condition keeps its time unless its status flipped.
pub fn finish(
    mut status: TracingCollectorStatus,
    before: Option<&TracingCollectorStatus>,
    now: &Time,
) -> TracingCollectorStatus {
    carry_times(&mut status.conditions, before.map(|before| before.conditions.as_slice()), now);
    status
}

/// Whether two statuses say the same, apart from conditions of others, which server-side apply leaves alone.
pub fn is_same(said: &TracingCollectorStatus, wanted: &TracingCollectorStatus) -> bool {
    let own = |status: &TracingCollectorStatus| {
        let mut status = status.clone();
        status.conditions.retain(|condition| types::ALL.contains(&condition.type_.as_str()));
        status
    };
    own(said) == own(wanted)
}

struct View<'a> {
    snapshot: &'a Snapshot,
    collector: &'a Collector,
    plan: &'a CollectorPlan,
    tiers: &'a [TierView],
}

impl View<'_> {
    /// Ready pods of the tier that receives OTLP.
    fn ready_pods(&self) -> i64 {
        let own = self.snapshot.owned_by(&self.collector.id).filter(|(_, live)| is_own(self.collector, live));
        own.filter(|(id, _)| id.receives()).map(|(_, live)| live.ready_replicas()).sum()
    }

    fn fault(&self) -> Option<&Fault> {
        let asks = self.collector.valid().and_then(|spec| spec.identity) == Some(Identity::Connection);
        let of_identity = self.snapshot.identity_fault.as_ref().filter(|_| asks);
        self.snapshot.collector_faults.get(&self.collector.id).or(of_identity)
    }

    fn trouble(&self) -> String {
        let trouble = self.snapshot.troubles.get(&self.collector.id);
        trouble.map(|text| format!(" Its pods say: {text}")).unwrap_or_default()
    }
}

fn endpoints(collector: &Collector, settings: &CollectorSettings<'_>) -> CollectorEndpoints {
    let host = format!("http://{}.{}.svc", collector_name(&collector.id.name), collector.id.namespace);
    CollectorEndpoints {
        grpc: format!("{host}:{}", settings.grpc_port),
        http: format!("{host}:{}", settings.http_port),
    }
}

/// Of two tiers both hashes, that of the routers first, joined by `+`.
fn configuration(tiers: &[TierView]) -> ConfigurationState {
    let joined = |hashes: Vec<&str>| (!hashes.is_empty()).then(|| hashes.join("+"));
    ConfigurationState {
        desired: joined(tiers.iter().map(|tier| tier.desired.hash.as_str()).collect()),
        live: joined(tiers.iter().filter_map(TierView::live).collect()),
        refused: joined(tiers.iter().filter_map(TierView::refused).collect()),
    }
}

fn conditions(view: &View<'_>) -> Vec<Condition> {
    let accepted = accepted(view);
    let resolved = resolved(view, &accepted);
    let programmed = programmed(view, &accepted);
    let ready = ready(&accepted, &resolved, &programmed);
    let reconciling = ready.is("Unknown").then(|| State::new("True", ready.reason, ready.message.clone()));
    let stalled = [&accepted, &programmed].into_iter().find(|state| needs_edit(state));
    let stalled = stalled.map(|state| State::new("True", state.reason, state.message.clone()));
    let all = [
        (types::ACCEPTED, Some(accepted)),
        (types::RESOLVED_REFS, Some(resolved)),
        (types::PROGRAMMED, Some(programmed)),
        (types::READY, Some(ready)),
        (types::RECONCILING, reconciling),
        (types::STALLED, stalled),
    ];
    let generation = view.collector.generation;
    all.into_iter().filter_map(|(kind, state)| Some(condition(kind, state.as_ref()?, generation))).collect()
}

/// What stays as it is until somebody edits the collector or a policy.
fn needs_edit(state: &State) -> bool {
    state.is("False")
        && ["Invalid", "NamespaceExcluded", "ConfigurationInvalid", "ConfigurationRefused", "Refused"]
            .contains(&state.reason)
}

fn accepted(view: &View<'_>) -> State {
    if view.collector.findings.iter().any(|finding| finding.code == Code::TRC0127) {
        let message = "Collectors in kube-* namespaces and in the operator's own namespace are not accepted.";
        return State::new("False", "NamespaceExcluded", message);
    }
    if view.collector.valid().is_none() {
        return State::new("False", "Invalid", errors(&view.collector.findings));
    }
    let warnings: Vec<_> = view.collector.findings.iter().chain(&view.plan.findings).map(sentence).collect();
    let message = "The collector is valid.".to_owned();
    State::new(
        "True",
        "Accepted",
        if warnings.is_empty() { message } else { format!("{message} {}", warnings.join("; ")) },
    )
}

fn errors(findings: &[Diagnostic]) -> String {
    let errors: Vec<_> =
        findings.iter().filter(|finding| finding.severity() == Severity::Error).map(sentence).collect();
    if errors.is_empty() { "The specification is missing or cannot be read.".to_owned() } else { errors.join("; ") }
}

fn sentence(finding: &Diagnostic) -> String {
    format!("{}: {} ({})", finding.code, finding.message, finding.path)
}

fn resolved(view: &View<'_>, accepted: &State) -> State {
    if accepted.is("False") {
        return State::new("Unknown", accepted.reason, "References are looked at once the collector is valid.");
    }
    let namespace = view.snapshot.namespaces.get(&view.collector.id.namespace);
    let mut worst: Option<(u8, State)> = None;
    for key in view.collector.secrets() {
        let state = namespace.and_then(|known| known.keys.get(&(key.name.clone(), key.key.clone()))).copied();
        let (name, key) = (&key.name, &key.key);
        let (rank, status, reason, message) = match state {
            Some(SecretState::Present) => continue,
            Some(SecretState::NotFound) => (0, "False", "SecretNotFound", format!("Secret {name} does not exist.")),
            Some(SecretState::KeyMissing) => {
                (0, "False", "SecretKeyMissing", format!("Secret {name} has no key {key}."))
            }
            Some(SecretState::Unsendable) => {
                let why = "the collector would expand `$$` or `${` in it, or it holds a line break or another control character";
                (
                    1,
                    "False",
                    "SecretValueUnsendable",
                    format!("The value of key {key} of Secret {name} cannot be sent as it is: {why}."),
                )
            }
            None => (2, "Unknown", "SecretNotChecked", format!("Secret {name} has not been looked at yet.")),
            Some(SecretState::Unverified) => {
                let message =
                    format!("Secret {name} was not looked at: the operator has no right to, or was told not to.");
                (3, "Unknown", "SecretNotVerified", message)
            }
        };
        if worst.as_ref().is_none_or(|(known, _)| rank < *known) {
            worst = Some((rank, State::new(status, reason, message)));
        }
    }
    let all_well = || State::new("True", "ResolvedRefs", "Everything that the collector refers to is there.");
    worst.map_or_else(all_well, |(_, state)| state)
}

fn programmed(view: &View<'_>, accepted: &State) -> State {
    if accepted.is("False") {
        return State::new("False", accepted.reason, "Nothing is changed until the collector is valid.");
    }
    if view.collector.deleting {
        return State::new("Unknown", "Deleting", "The collector is being deleted.");
    }
    if view.tiers.is_empty() {
        let why = errors(&view.plan.findings);
        return State::new("False", "ConfigurationInvalid", format!("Nothing is changed: {why}"));
    }
    if let Some(fault) = view.fault() {
        return faulty(fault);
    }
    let by = |meant: fn(&Outcome) -> bool| view.tiers.iter().find(|tier| meant(&tier.choice.outcome));
    if let Some(tier) = by(|outcome| matches!(outcome, Outcome::Refused | Outcome::TakenBack)) {
        return refused(tier);
    }
    if let Some(tier) = by(|outcome| *outcome == Outcome::Held) {
        let message = format!(
            "Configuration {} waits for a Secret, without which its pods could not start. {}",
            tier.desired.hash,
            serving(tier)
        );
        return State::new("Unknown", "WaitingForSecret", message);
    }
    // Routers wait for samplers.
    match view.tiers.iter().rev().find(|tier| matches!(tier.choice.outcome, Outcome::Waiting(_))) {
        Some(tier) => waiting(view, tier),
        None => settled(view),
    }
}

fn faulty(fault: &Fault) -> State {
    match fault.reason.as_str() {
        "PredecessorGoing" => State::new("Unknown", "PredecessorGoing", fault.message.clone()),
        "Unavailable" => State::new("Unknown", "Unavailable", fault.message.clone()),
        "Conflict" => State::new("Unknown", "Conflict", fault.message.clone()),
        "NameTaken" => State::new("False", "NameTaken", fault.message.clone()),
        "Forbidden" => State::new("False", "Forbidden", fault.message.clone()),
        "Refused" => State::new("False", "Refused", fault.message.clone()),
        _ => State::new("False", "NotWritten", fault.message.clone()),
    }
}

fn refused(tier: &TierView) -> State {
    let because = tier.state.because.as_deref().map(|text| format!(": {text}")).unwrap_or_default();
    let message = format!(
        "The pods of configuration {} did not become ready, and it was taken back{because}. {}",
        tier.desired.hash,
        serving(tier)
    );
    State::new("False", "ConfigurationRefused", message)
}

/// What serves instead of what is desired, if anything does.
fn serving(tier: &TierView) -> String {
    let live = tier.live().unwrap_or("none");
    if tier.is_serving() {
        format!("The collector is still serving with {live}.")
    } else {
        format!("No pod of the collector is ready with {live} either.")
    }
}

fn waiting(view: &View<'_>, tier: &TierView) -> State {
    let hash = &tier.desired.hash;
    match &tier.state.template {
        None => State::new("Unknown", "Reconciling", "The collector's objects are still to be written."),
        Some(template) if template != hash => {
            State::new("Unknown", "Reconciling", format!("Configuration {hash} is still to be written."))
        }
        // Its pods were ready before: nothing is rolled out.
        Some(_) if tier.state.last_good.as_ref() == Some(hash) => {
            State::new("Unknown", "NotReady", format!("Pods are not ready.{}", view.trouble()))
        }
        Some(_) => {
            let message = format!("The pods of configuration {hash} are not ready yet.{}", view.trouble());
            State::new("Unknown", "RollingOut", message)
        }
    }
}

fn settled(view: &View<'_>) -> State {
    let mut tiers = view.tiers.iter();
    if tiers.all(|tier| tier.workload.is_some()) {
        return State::new("True", "Programmed", "All pods are ready with what the collector and its policies say.");
    }
    let name = collector_name(&view.collector.id.name);
    let is_there = view.snapshot.owned_by(&view.collector.id).any(|(id, _)| id.name == name);
    if is_there {
        State::new("True", "Programmed", format!("ConfigMap {name} holds the configuration; somebody else runs it."))
    } else {
        State::new("Unknown", "Reconciling", "The ConfigMap is still to be written.")
    }
}

fn ready(accepted: &State, resolved: &State, programmed: &State) -> State {
    if let Some(fault) = [accepted, programmed, resolved].into_iter().find(|state| state.is("False")) {
        return State::new("False", fault.reason, fault.message.clone());
    }
    let passing = resolved.is("Unknown") && resolved.reason == "SecretNotChecked";
    match (programmed.is("Unknown"), passing) {
        (true, _) => State::new("Unknown", programmed.reason, programmed.message.clone()),
        (false, true) => State::new("Unknown", resolved.reason, resolved.message.clone()),
        (false, false) => State::new("True", "Ready", programmed.message.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_no_fault() {
        let of = |reason: &str| faulty(&Fault { reason: reason.to_owned(), message: String::new() });
        assert!(of("Conflict").is("Unknown") && of("Unavailable").is("Unknown"));
        assert!(of("NameTaken").is("False") && of("Other").is("False"));
    }
}
