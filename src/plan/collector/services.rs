//! Whose services a collector samples by which policy.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    api::{Tail, TargetKind},
    diagnostics::{Code, Diagnostic, FieldPath},
    index::{CollectorId, Namespace, Policy, PolicyId, Snapshot},
    plan::{
        attach::{self, Attached, Specificity, Strength},
        export, workload,
    },
};

/// A service with sampling rules.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Service<'a> {
    /// The namespace that its spans are from.
    pub(super) namespace: &'a str,
    /// Its `service.name`.
    pub(super) name: String,
    /// The policy that it follows.
    pub(super) policy: &'a PolicyId,
    /// The rules.
    pub(super) tail: &'a Tail,
}

/// The policies that export to a collector, and the services which follow them.
#[derive(Clone, Debug, Default)]
pub(super) struct Participants<'a> {
    /// Policies that export to it.
    pub(super) policies: BTreeSet<&'a PolicyId>,
    /// Services that have sampling rules, by namespace and name.
    pub(super) services: Vec<Service<'a>>,
    /// Services for which two of those policies have rules.
    pub(super) findings: Vec<Diagnostic>,
}

/// What is known of a service before it is decided who rules it.
struct Claim<'a> {
    strength: Strength,
    policy: &'a Policy,
}

/// The participants of a collector. A service whose policy does not reach the collector (another one, not allowed, disabled,
/// refused) has no rules here, and offers the baseline.
pub(super) fn participants<'a>(snapshot: &'a Snapshot, collector: &CollectorId) -> Participants<'a> {
    let mut participants = Participants::default();
    for (name, namespace) in &snapshot.namespaces {
        let reaches = |policy: &Policy| reaches(snapshot, policy, collector);
        let policies: BTreeSet<_> =
            namespace.policies.values().filter(|policy| reaches(policy)).map(|policy| &policy.id).collect();
        if policies.is_empty() || attach::is_excluded(name, snapshot.own_namespace.as_deref()) {
            continue;
        }
        for (service, mut claims) in claims(namespace) {
            claims.sort_by(|one, other| one.strength.cmp(&other.strength));
            let Some(winner) = claims.first().map(|claim| claim.policy) else { continue };
            let tail = |policy: &'a Policy| {
                policies.contains(&policy.id).then(|| policy.settings()?.sampling.as_ref()?.tail.as_ref()).flatten()
            };
            let other =
                claims.iter().map(|claim| claim.policy).find(|policy| policy.id != winner.id && tail(policy).is_some());
            if let Some(other) = other.filter(|other| !other.ignored.covers(Code::TRC0402)) {
                participants.findings.push(shared(&service, winner, other));
            }
            if let Some(tail) = tail(winner) {
                participants.services.push(Service { namespace: name, name: service, policy: &winner.id, tail });
            }
        }
        participants.policies.extend(policies);
    }
    participants
}

/// Whether the policy is in force, and what it selects exports to this collector.
fn reaches(snapshot: &Snapshot, policy: &Policy, collector: &CollectorId) -> bool {
    policy.is_valid()
        && policy.collector().as_ref() == Some(collector)
        && policy.settings().is_some_and(|settings| export::resolve(snapshot, &policy.id.namespace, settings).is_ok())
}

/// The services of a namespace: those of its workloads, each under the policy that decides; and those that policies name
/// where no workload is known (Jobs and Pods come and go, and a policy may be there before its workload).
fn claims(namespace: &Namespace) -> BTreeMap<String, Vec<Claim<'_>>> {
    let mut claims: BTreeMap<String, Vec<Claim<'_>>> = BTreeMap::new();
    let mut claim = |service: String, attached: &Attached<'_>, policy| {
        claims.entry(service).or_default().push(Claim { strength: attached.strength(), policy });
    };
    let mut met: BTreeSet<(&PolicyId, usize)> = BTreeSet::new();
    let mut selecting: BTreeSet<&PolicyId> = BTreeSet::new();
    for workload in namespace.workloads.values() {
        for policy in namespace.policies.values().filter(|policy| policy.selects(workload)) {
            selecting.insert(&policy.id);
            let id = &workload.id;
            let matching = policy.targets().iter().enumerate();
            let matching = matching.filter(|(_, target)| target.matches(id.kind.target(), &id.name, &workload.labels));
            met.extend(matching.map(|(at, _)| (&policy.id, at)));
        }
        if let Some((attached, service)) = workload::service(namespace, workload) {
            claim(service, &attached, attached.policy);
        }
    }
    for policy in namespace.policies.values() {
        let shared = policy.settings().and_then(|settings| settings.service.as_ref()?.name.clone());
        if policy.targets().is_empty() && !selecting.contains(&policy.id) {
            let attached = Attached { policy, specificity: Specificity::Namespace, service_name: None };
            shared.clone().into_iter().for_each(|service| claim(service, &attached, policy));
        }
        for (at, target) in policy.targets().iter().enumerate() {
            let is_met = met.contains(&(&policy.id, at)) && !matches!(target.kind, TargetKind::Job | TargetKind::Pod);
            let named = target.service_name.clone().or_else(|| shared.clone()).or_else(|| target.name.clone());
            if let Some(service) = named.filter(|_| !is_met) {
                let attached = Attached { policy, specificity: attach::specificity_of(target), service_name: None };
                claim(service, &attached, policy);
            }
        }
    }
    claims
}

fn shared(service: &str, winner: &Policy, loser: &Policy) -> Diagnostic {
    let path = FieldPath::fields("spec.sampling.tail");
    let detail = format!("{service} follows policy {}, not {}", winner.id.name, loser.id.name);
    Diagnostic::new(Code::TRC0402, path).detail(detail).on(loser.id.object())
}
