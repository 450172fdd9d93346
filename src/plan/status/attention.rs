//! What needs somebody's attention: findings about a policy and the cluster, and the entries of its status.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{
    MAX_ATTENTION, MAX_MESSAGE, View, conditions,
    reach::reach,
    tally::{Beaten, name_for},
};
use crate::{
    api::{Attention, Target},
    diagnostics::{Code, Diagnostic, FieldPath},
    index::{Policy, PolicyId, SecretState, WorkloadId},
    plan::{
        attach::{Attached, Part, Specificity, part_settings},
        merge,
        workload::HoldReason,
    },
};

/// Findings about references, targets and other policies (TRC02xx, TRC04xx, TRC0504).
pub(super) fn findings(view: &View<'_>) -> Vec<Diagnostic> {
    let targets = missing_targets(view).map(|(position, target)| {
        let path = FieldPath::fields("spec.targets").index(position);
        Diagnostic::new(Code::TRC0203, path).detail(target_words(target))
    });
    let mut findings: Vec<_> = targets.collect();
    findings.extend(missing_containers(view));
    findings.extend(shared_names(view));
    findings.extend(secret(view));
    findings.extend(unresolved(view));
    findings.extend(discords(view));
    // Who has to mend the policy first hears of the others afterwards.
    if view.policy.is_valid() {
        findings.extend(reach(view));
        findings.extend(beaten(view));
        findings.extend(overrides(view));
    }
    view.policy.ignored.leave_out(&mut findings);
    findings
}

/// Targets that match nothing.
fn missing_targets<'a>(view: &View<'a>) -> impl Iterator<Item = (usize, &'a Target)> {
    let tally = view.tally;
    let targets = view.policy.targets().iter().enumerate();
    // That there is no Job or pod at the moment means nothing.
    targets.filter(move |(position, target)| !target.kind.comes_and_goes() && !tally.is_met(*position))
}

fn target_words(target: &Target) -> String {
    match (&target.name, &target.selector) {
        (Some(name), _) => format!("{} {name}", target.kind.as_str()),
        (None, Some(_)) => format!("no {} has these labels in its pod template", target.kind.as_str()),
        (None, None) => format!("no {} in the namespace", target.kind.as_str()),
    }
}

/// Names in `spec.containers` that no selected workload has.
fn missing_containers(view: &View<'_>) -> Vec<Diagnostic> {
    let names = view.policy.settings().and_then(|settings| settings.containers.as_deref()).unwrap_or_default();
    if view.tally.won == 0 {
        return Vec::new();
    }
    let absent = names.iter().enumerate().filter(|(position, _)| !view.tally.has_container(*position));
    absent
        .map(|(position, name)| {
            Diagnostic::new(Code::TRC0204, FieldPath::fields("spec.containers").index(position)).detail(name)
        })
        .collect()
}

/// A `service.name` that the policy itself gives to several workloads of a namespace.
fn shared_names(view: &View<'_>) -> Option<Diagnostic> {
    let several = |workloads: &[WorkloadId]| {
        let mut namespaces = BTreeSet::new();
        workloads.iter().any(|workload| !namespaces.insert(&workload.namespace))
    };
    let (name, workloads) = view.tally.services.iter().find(|(_, workloads)| several(workloads))?;
    let detail = format!("{name} for {}", listed(view, workloads.iter()));
    Some(Diagnostic::new(Code::TRC0504, FieldPath::fields("spec.service.name")).detail(detail))
}

/// The first of some workloads, and how many more there are.
fn listed<'a>(view: &View<'_>, workloads: impl ExactSizeIterator<Item = &'a WorkloadId>) -> String {
    let all = workloads.len();
    let first = workloads.take(3).map(|id| format!("{}/{}", id.kind, name_for(view.policy, id)));
    let first: Vec<_> = first.collect();
    match all - first.len() {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

fn secret(view: &View<'_>) -> Option<Diagnostic> {
    let (secret, state) = conditions::secret(view)?;
    let code = match state? {
        SecretState::NotFound => Code::TRC0201,
        SecretState::KeyMissing => Code::TRC0202,
        SecretState::Present | SecretState::Unverified | SecretState::Unsendable => return None,
    };
    let path = if view.policy.inherits() { "spec.export.inherit" } else { "spec.export.headersSecretRef.name" };
    Some(Diagnostic::new(code, FieldPath::fields(path)).detail(secret.name))
}

fn unresolved(view: &View<'_>) -> Option<Diagnostic> {
    let unresolved = conditions::unresolved(view)?;
    let field = match (&unresolved, view.policy.inherits()) {
        (_, true) => "inherit",
        (crate::plan::Unresolved::HostNotAllowed(_), _) => "endpoint",
        _ if unresolved.is_about_collector() => "collectorRef",
        _ => "inherit",
    };
    let finding = Diagnostic::new(unresolved.code(), FieldPath::fields("spec.export").field(field));
    Some(match view.policy.collector() {
        Some(collector) if unresolved.is_about_collector() => finding.detail(collector.to_string()),
        _ => match &unresolved {
            crate::plan::Unresolved::HostNotAllowed(by) => finding.detail(format!("by {}", by.described())),
            _ => finding,
        },
    })
}

/// Fields of several policies that do not go together.
fn discords(view: &View<'_>) -> Option<Diagnostic> {
    let discord = view.tally.holds.iter().find_map(|(workload, hold)| match hold {
        HoldReason::Discord(code, fields) => Some((workload, code, fields)),
        HoldReason::Invalid | HoldReason::Unresolved(_) => None,
    });
    let (workload, code, fields) = discord?;
    let name = name_for(view.policy, workload);
    let detail = format!("{} for {} {name}: {}", fields.join(" and "), workload.kind, code.message());
    Some(Diagnostic::new(Code::TRC0404, FieldPath::fields("spec")).detail(detail))
}

/// Stronger policies, each with what this one would set otherwise; and those that are stronger by chance alone.
fn beaten(view: &View<'_>) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    for (beaten, workloads) in view.tally.beaten.iter().take(MAX_ATTENTION) {
        let lost = lost(view, beaten);
        let path = FieldPath::fields("spec");
        let by = format!(
            "{} comes first for {}, since {}",
            beaten.by.described(),
            listed(view, workloads.iter()),
            beaten.why
        );
        let fields =
            if lost.is_empty() { String::new() } else { format!("; what it sets instead: {}", lost.join(", ")) };
        let code = if beaten.same_rank && !lost.is_empty() { Code::TRC0403 } else { Code::TRC0401 };
        findings.push(Diagnostic::new(code, path).detail(format!("{by}{fields}")));
    }
    findings
}

/// Who comes before this policy, in one sentence; empty where nobody does.
pub(super) fn stronger(view: &View<'_>) -> String {
    let mut sentences = Vec::new();
    let superseded = view.tally.counts.superseded;
    if superseded > 0 {
        let by: BTreeSet<_> = view.tally.beaten.keys().map(|beaten| &beaten.by).collect();
        let named: Vec<_> = by.iter().take(3).map(|by| by.described()).collect();
        let more = if by.len() > named.len() { " and others" } else { "" };
        let matched = view.tally.counts.matched;
        sentences.push(format!("For {superseded} of {matched} workloads {}{more} comes first.", named.join(", ")));
    }
    for finding in overrides(view).iter().take(3).filter(|finding| !view.policy.ignored.covers(finding.code)) {
        sentences.push(format!("{}.", finding.message));
    }
    sentences.join(" ")
}

/// The fields that both policies set, and to different values.
fn lost(view: &View<'_>, beaten: &Beaten) -> Vec<String> {
    let Some(winner) = view.snapshot.policy(&beaten.by) else { return Vec::new() };
    let part = |policy: &Policy| if policy.id.is_cluster() { Part::Defaults } else { Part::Policy };
    let (one, other) = (set_by(winner, part(winner)), set_by(view.policy, part(view.policy)));
    one.into_iter()
        .filter(|(field, value)| other.get(field).is_some_and(|own| own != value))
        .map(|(field, _)| field)
        .collect()
}

/// What a part of a policy sets; what is taken as a whole, as a whole.
fn set_by(policy: &Policy, part: Part) -> BTreeMap<String, Value> {
    let mut set = BTreeMap::new();
    for (field, value) in part_settings(policy, part).map(merge::fields).unwrap_or_default() {
        let whole = match field.as_str() {
            "sampling.ratio" | "sampling.profile" => "sampling.ratio",
            field if field.starts_with("export.") => "export",
            _ => {
                set.insert(field, value);
                continue;
            }
        };
        let parts = set.entry(whole.to_owned()).or_insert_with(|| json!({}));
        parts[field] = value;
    }
    let attached = Attached { policy, part, specificity: Specificity::Unknown, service_name: None };
    set.extend(attached.enabled().map(|enabled| ("enabled".to_owned(), enabled.into())));
    set
}

/// ClusterTracingPolicies that change what this policy sets.
fn overrides(view: &View<'_>) -> Vec<Diagnostic> {
    let own = set_by(view.policy, if view.policy.id.is_cluster() { Part::Defaults } else { Part::Policy });
    let mut findings = Vec::new();
    for (by, workloads) in view.tally.overriding.iter().take(MAX_ATTENTION) {
        let fields = overridden(view, by, &own);
        if !fields.is_empty() {
            let detail = format!("{} for {}: {}", by.described(), listed(view, workloads.iter()), fields.join(", "));
            findings.push(Diagnostic::new(Code::TRC0405, FieldPath::fields("spec")).detail(detail));
        }
    }
    findings
}

fn overridden(view: &View<'_>, by: &PolicyId, own: &BTreeMap<String, Value>) -> Vec<String> {
    let Some(policy) = view.snapshot.policy(by) else { return Vec::new() };
    let theirs = set_by(policy, Part::Overrides);
    let differ = theirs.into_iter().filter(|(field, value)| own.get(field).is_some_and(|own| own != value));
    differ.map(|(field, _)| field).collect()
}

/// The entries that matter most, in a fixed order.
pub(super) fn attention(view: &View<'_>, findings: &[Diagnostic]) -> Vec<Attention> {
    let about_policy = |reason: &str, message: &str| Attention {
        kind: view.policy.id.kind().to_owned(),
        name: view.policy.id.name.clone(),
        reason: reason.to_owned(),
        message: message.chars().take(MAX_MESSAGE).collect(),
    };
    let mut ranked: Vec<(u8, Attention)> = Vec::new();
    ranked.extend(view.tally.entries.iter().take(MAX_ATTENTION).map(|(rank, entry, _)| (*rank, entry.clone())));
    for (_, target) in missing_targets(view).filter(|_| !view.policy.ignored.covers(Code::TRC0203)) {
        ranked.extend(target.name.as_ref().map(|name| {
            let message = "The policy names this workload, and it does not exist.".to_owned();
            let (kind, reason) = (target.kind.as_str().to_owned(), "TargetNotFound".to_owned());
            (1, Attention { kind, name: name.clone(), reason, message })
        }));
    }
    for finding in findings {
        let (rank, reason) = match finding.code {
            Code::TRC0204 => (1, "ContainerNotFound"),
            Code::TRC0301 | Code::TRC0302 | Code::TRC0306 | Code::TRC0308 | Code::TRC0309 => {
                (6, "SamplingWithoutEffect")
            }
            Code::TRC0504 => (6, "SharedServiceName"),
            Code::TRC0403 => (7, "Conflicted"),
            Code::TRC0405 => (8, "OverriddenByCluster"),
            Code::TRC0401 => (9, "Superseded"),
            _ => continue,
        };
        ranked.push((rank, about_policy(reason, &finding.message)));
    }
    ranked.extend(missing_secrets(view));
    ranked.sort();
    ranked.into_iter().map(|(_, entry)| entry).take(MAX_ATTENTION).collect()
}

/// Headers Secrets that a ClusterTracingPolicy wants in namespaces, and that are not there.
fn missing_secrets(view: &View<'_>) -> Vec<(u8, Attention)> {
    if !view.policy.id.is_cluster() {
        return Vec::new();
    }
    let state =
        |id: &crate::index::SecretId| view.snapshot.namespaces.get(&id.namespace)?.secrets.get(&id.name).copied();
    let missing = view.tally.secrets.keys().filter_map(|id| {
        let (reason, code) = match state(id)? {
            SecretState::NotFound => ("SecretNotFound", Code::TRC0201),
            SecretState::KeyMissing => ("SecretKeyMissing", Code::TRC0202),
            SecretState::Present | SecretState::Unverified | SecretState::Unsendable => return None,
        };
        let message = code.message().to_owned();
        let name = format!("{}/{}", id.namespace, id.name);
        Some((1, Attention { kind: "Secret".to_owned(), name, reason: reason.to_owned(), message }))
    });
    missing.take(MAX_ATTENTION).collect()
}
