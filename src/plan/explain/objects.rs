//! What a policy does to the workloads that it selects, and what a collector knows of its policies.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{Verdict, errors};
use crate::{
    api::{Ratio, Tail, WorkloadCounts},
    diagnostics::Diagnostic,
    index::{Collector, CollectorId, OwnedKind, Policy, PolicyId, Snapshot, WorkloadId},
    plan::{
        Plan,
        attach::{self, Part},
        collector::{CollectorSettings, Tier, participants, revision},
        status::why,
    },
};

/// A workload that a policy selects.
#[derive(Clone, Debug)]
pub struct Selected {
    /// Which one.
    pub workload: WorkloadId,
    /// What happens to it.
    pub verdict: Verdict,
    /// Whether the policy comes first.
    pub won: bool,
    /// Who comes first instead, and why.
    pub beaten_by: Option<(PolicyId, &'static str)>,
    /// ClusterTracingPolicies whose overrides hold for it, where they are not this one.
    pub overridden_by: Vec<PolicyId>,
}

/// Everything there is to say about a policy.
#[derive(Clone, Debug)]
pub struct PolicyExplanation {
    /// Which one.
    pub id: PolicyId,
    /// Its priority.
    pub priority: i32,
    /// When it was created, where that is known.
    pub created: Option<String>,
    /// Its errors.
    pub errors: Vec<Diagnostic>,
    /// Its conditions: as reported, else as they would be.
    pub conditions: Vec<Condition>,
    /// Whether the conditions are those that the operator has reported.
    pub is_reported: bool,
    /// How many workloads, and how they are.
    pub counts: WorkloadCounts,
    /// The workloads that it selects.
    pub workloads: Vec<Selected>,
}

/// Explains a policy of either kind; `None` where it is not known.
pub fn explain_policy(snapshot: &Snapshot, plan: &Plan, id: &PolicyId) -> Option<PolicyExplanation> {
    let policy = snapshot.policy(id)?;
    let planned = plan.policies.get(id).cloned().unwrap_or_default();
    let reported = policy.status.as_ref().filter(|status| !status.conditions.is_empty());
    let current = reported.filter(|status| status.observed_generation == Some(policy.generation));
    let shown = current.unwrap_or(&planned);
    let workloads = plan.workloads.iter().filter_map(|(workload, planned)| {
        let won = planned.winner.as_ref() == Some(id);
        let about = won || planned.superseded.contains(id) || planned.overrides.contains(id);
        about.then(|| Selected {
            workload: workload.clone(),
            verdict: Verdict::of(planned),
            won,
            beaten_by: beaten_by(snapshot, policy, workload),
            overridden_by: planned.overrides.iter().filter(|by| *by != id).cloned().collect(),
        })
    });
    Some(PolicyExplanation {
        id: id.clone(),
        priority: policy.priority(),
        created: policy.created.clone(),
        errors: errors(&policy.findings),
        conditions: shown.conditions.clone(),
        is_reported: current.is_some(),
        counts: shown.workloads.clone().unwrap_or_default(),
        workloads: workloads.collect(),
    })
}

/// Who comes before this policy for a workload.
fn beaten_by(snapshot: &Snapshot, policy: &Policy, id: &WorkloadId) -> Option<(PolicyId, &'static str)> {
    let namespace = snapshot.namespaces.get(&id.namespace)?;
    let attachment = attach::attached(snapshot, namespace, namespace.workloads.get(id)?);
    let winner = attachment.base.first().filter(|winner| winner.policy.id != policy.id)?;
    let is_own = |attached: &&attach::Attached<'_>| attached.policy.id == policy.id && attached.part != Part::Overrides;
    let own = attachment.base.iter().find(is_own)?;
    Some((winner.policy.id.clone(), why(winner, own).0))
}

/// A service with sampling rules of its own in a collector.
#[derive(Clone, Debug)]
pub struct Served {
    /// The namespace that its spans are from.
    pub namespace: String,
    /// Its `service.name`.
    pub name: String,
    /// The policy whose rules it follows.
    pub policy: PolicyId,
    /// The rules.
    pub tail: Tail,
}

/// Everything there is to say about a collector.
#[derive(Clone, Debug)]
pub struct CollectorExplanation {
    /// Which one.
    pub id: CollectorId,
    /// Its errors, and what else is wrong with it.
    pub findings: Vec<Diagnostic>,
    /// Its conditions, as reported.
    pub conditions: Vec<Condition>,
    /// The ratio that services without a rule of their own get.
    pub baseline: Option<Ratio>,
    /// The policies that export to it.
    pub policies: Vec<PolicyId>,
    /// The services that have rules.
    pub services: Vec<Served>,
    /// The configuration of each tier: the hash that names it, and its size in bytes.
    pub configurations: Vec<(Tier, String, usize)>,
    /// The objects that are made for it: kind, name, and whether it is there.
    pub objects: Vec<(String, String, bool)>,
}

/// Explains a collector; `None` where it is not known.
pub fn explain_collector(snapshot: &Snapshot, plan: &Plan, id: &CollectorId) -> Option<CollectorExplanation> {
    let collector = snapshot.collectors.get(id)?;
    let planned = plan.collectors.get(id).cloned().unwrap_or_default();
    let settings = collector.valid().map(CollectorSettings::new);
    let taking_part = participants(snapshot, id);
    let configurations = settings.iter().flat_map(|settings| {
        planned.configurations.iter().map(|configuration| {
            (configuration.tier, revision(collector, settings, configuration).hash, configuration.text.len())
        })
    });
    let services = taking_part.services.iter().map(|service| Served {
        namespace: service.namespace.to_owned(),
        name: service.name.clone(),
        policy: service.policy.clone(),
        tail: service.tail.clone(),
    });
    let mut findings = collector.findings.clone();
    findings.extend(planned.findings.iter().filter(|finding| finding.object.as_ref() == Some(&id.object())).cloned());
    Some(CollectorExplanation {
        id: id.clone(),
        findings,
        conditions: collector.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default(),
        baseline: settings.as_ref().map(|settings| Ratio(settings.baseline)),
        policies: taking_part.policies.iter().map(|policy| (*policy).clone()).collect(),
        services: services.collect(),
        configurations: configurations.collect(),
        objects: objects(snapshot, collector, &planned),
    })
}

/// What is to be there, and what is there beside it.
fn objects(
    snapshot: &Snapshot,
    collector: &Collector,
    plan: &crate::plan::CollectorPlan,
) -> Vec<(String, String, bool)> {
    let text = |object: &serde_json::Value, pointer: &str| {
        object.pointer(pointer).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
    };
    let is_there = |kind: &str, name: &str| {
        snapshot.owned_by(&collector.id).any(|(owned, _)| owned.kind.as_str() == kind && owned.name == name)
    };
    let mut objects: Vec<_> = crate::plan::collector::rendered(collector, plan)
        .iter()
        .map(|object| {
            let (kind, name) = (text(object, "/kind"), text(object, "/metadata/name"));
            let there = is_there(&kind, &name);
            (kind, name, there)
        })
        .collect();
    for (owned, _) in snapshot.owned_by(&collector.id).filter(|(owned, _)| owned.kind != OwnedKind::ConfigMap) {
        let known = objects.iter().any(|(kind, name, _)| kind == owned.kind.as_str() && *name == owned.name);
        if !known {
            objects.push((owned.kind.as_str().to_owned(), owned.name.clone(), true));
        }
    }
    objects
}
