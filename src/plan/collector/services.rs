//! Whose services a collector samples by which policy.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    api::Tail,
    diagnostics::{Code, Diagnostic, FieldPath},
    index::{CollectorId, Namespace, Policy, PolicyId, Snapshot},
    plan::{
        attach::{self, Attached, Part, Specificity, Strength},
        effective::{self, Head, Rules},
        workload,
    },
};

/// A service with sampling rules.
#[derive(Clone, Debug)]
pub(in crate::plan) struct Service<'a> {
    /// The namespace that its spans are from.
    pub(in crate::plan) namespace: &'a str,
    /// Its `service.name`.
    pub(in crate::plan) name: String,
    /// The policy that it follows: where several are merged, the strongest that has rules.
    pub(in crate::plan) policy: &'a PolicyId,
    /// The rules in force.
    pub(in crate::plan) tail: Tail,
    /// What they were merged from, the weakest first.
    pub(in crate::plan) layers: Vec<Attached<'a>>,
}

/// A service that is sampled at the first span of a trace, before any collector sees it.
#[derive(Clone, Debug)]
pub(in crate::plan) struct HeadService<'a> {
    /// The namespace that its spans are from.
    pub(in crate::plan) namespace: &'a str,
    /// Its `service.name`.
    pub(in crate::plan) name: String,
    /// What its SDK decides.
    pub(in crate::plan) head: Head,
    /// What that was merged from, the weakest first.
    pub(in crate::plan) layers: Vec<Attached<'a>>,
}

/// The policies that export to a collector, and the services which follow them.
#[derive(Clone, Debug, Default)]
pub(in crate::plan) struct Participants<'a> {
    /// Policies that export to it.
    pub(in crate::plan) policies: BTreeSet<&'a PolicyId>,
    /// Services that have sampling rules, by namespace and name.
    pub(in crate::plan) services: Vec<Service<'a>>,
    /// Services that are sampled at their first span too, by namespace and name.
    pub(in crate::plan) heads: Vec<HeadService<'a>>,
    /// Services for which two of those policies have rules.
    pub(in crate::plan) findings: Vec<Diagnostic>,
}

/// What is known of a service before it is decided who rules it.
struct Claim<'a> {
    strength: Strength,
    rules: Rules<'a>,
}

/// The participants of a collector. A service whose policy does not reach the collector (another one, not allowed, disabled,
/// refused) has no rules here, and offers the baseline.
pub(in crate::plan) fn participants<'a>(snapshot: &'a Snapshot, collector: &CollectorId) -> Participants<'a> {
    let mut participants = Participants::default();
    for (name, namespace) in &snapshot.namespaces {
        let is_used = snapshot.collectors_of(name).contains(collector);
        if !is_used || attach::is_excluded(name, snapshot.own_namespace.as_deref()) {
            continue;
        }
        for (service, mut claims) in claims(snapshot, namespace) {
            claims.sort_by(|one, other| one.strength.cmp(&other.strength));
            let reaches = |claim: &&Claim<'a>| claim.rules.collector.as_ref() == Some(collector);
            participants.policies.extend(claims.iter().filter(reaches).map(|claim| &claim.rules.policy.id));
            let Some(winner) = claims.first() else { continue };
            let mut others = claims.iter().filter(reaches).filter(|claim| claim.rules.tail.is_some());
            let other = others.find(|claim| claim.rules.policy.id != winner.rules.policy.id);
            if let Some(other) = other.filter(|claim| !claim.rules.policy.ignored.covers(Code::TRC0402)) {
                participants.findings.push(shared(&service, winner.rules.policy, other.rules.policy));
            }
            if !reaches(&winner) {
                continue;
            }
            let Rules { policy, tail, head, layers, .. } = claims.swap_remove(0).rules;
            if let Some(head) = head {
                let head = HeadService { namespace: name, name: service.clone(), head, layers: layers.clone() };
                participants.heads.push(head);
            }
            if let Some(tail) = tail {
                participants.services.push(Service {
                    namespace: name,
                    name: service,
                    policy: &policy.id,
                    tail,
                    layers,
                });
            }
        }
        // Policies without any service yet.
        let own = namespace.policies.values().filter(|policy| policy.is_valid());
        let own = own.filter(|policy| {
            effective::rules(snapshot, policy).is_some_and(|rules| rules.collector.as_ref() == Some(collector))
        });
        participants.policies.extend(own.map(|policy| &policy.id));
    }
    participants
}

/// The services of a namespace: those of its workloads, each under the policies that are attached; and those that policies
/// name where no workload is known (Jobs and Pods come and go, and a policy may be there before its workload).
fn claims<'a>(snapshot: &'a Snapshot, namespace: &'a Namespace) -> BTreeMap<String, Vec<Claim<'a>>> {
    let mut claims: BTreeMap<String, Vec<Claim<'a>>> = BTreeMap::new();
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
        // A Job's own name would be a new configuration, and a rollout, for each Job: names that policies give are claimed below.
        if !workload.id.kind.is_writable() {
            continue;
        }
        if let Some(served) = workload::service(snapshot, namespace, workload) {
            let claim = Claim { strength: served.strength, rules: served.rules };
            claims.entry(served.name).or_default().push(claim);
        }
    }
    for policy in namespace.policies.values().filter(|policy| policy.is_valid()) {
        let Some(rules) = effective::rules(snapshot, policy) else { continue };
        let mut claim = |service: String, specificity| {
            let attached = Attached { policy, part: Part::Policy, specificity, service_name: None };
            let claim = Claim { strength: attached.strength(), rules: rules.clone() };
            claims.entry(service).or_default().push(claim);
        };
        let shared = policy.settings().and_then(|settings| settings.service.as_ref()?.name.clone());
        if policy.targets().is_empty() && !selecting.contains(&policy.id) {
            shared.clone().into_iter().for_each(|service| claim(service, Specificity::Namespace));
        }
        for (at, target) in policy.targets().iter().enumerate() {
            let is_met = met.contains(&(&policy.id, at)) && !target.kind.comes_and_goes();
            let named = target.service_name.clone().or_else(|| shared.clone()).or_else(|| target.name.clone());
            if let Some(service) = named.filter(|_| !is_met) {
                claim(service, attach::specificity_of(target));
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
