//! The plan kept up to date: a change costs in proportion to the workloads that it touches, not to the cluster.

use std::{
    collections::{BTreeMap, BTreeSet, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
};

use super::{
    attach::{self, Attached, Attachment},
    status::{self, Beaten, Report, Tally},
    workload::{WorkloadPlan, plan_workload},
};
use crate::index::{Dirty, Policy, PolicyId, SecretId, Snapshot, Workload, WorkloadId};

/// What is known of every workload's part in the statuses of policies, and in the services that collectors know.
#[derive(Debug, Default)]
pub struct Planner {
    tallies: BTreeMap<PolicyId, Tally>,
    known: BTreeMap<WorkloadId, Known>,
    planned: u64,
}

/// What a workload was like when it was planned last.
#[derive(Debug, Default)]
struct Known {
    /// The policies whose tallies it is in.
    policies: Vec<PolicyId>,
    /// Everything that decides which rules its service follows in a collector.
    service: u64,
}

impl Planner {
    /// Takes in what has changed, and adds what that touches: statuses of policies, collectors, Secrets to look at.
    pub fn update(&mut self, snapshot: &Snapshot, dirty: &mut Dirty) {
        self.update_with(snapshot, dirty, |_, _| ());
    }

    /// The same, and hands on the plan of every workload that was planned.
    pub(super) fn update_with(
        &mut self,
        snapshot: &Snapshot,
        dirty: &mut Dirty,
        mut planned: impl FnMut(&Workload, WorkloadPlan),
    ) {
        let workloads: BTreeSet<WorkloadId> = dirty.workloads.union(&dirty.reports).cloned().collect();
        for id in workloads {
            if let Some((workload, plan)) = self.workload(snapshot, &id, dirty) {
                planned(workload, plan);
            }
        }
        // Of a policy that is gone nothing is to be said.
        dirty.policies.retain(|id| snapshot.policy(id).is_some());
    }

    fn workload<'a>(
        &mut self,
        snapshot: &'a Snapshot,
        id: &WorkloadId,
        dirty: &mut Dirty,
    ) -> Option<(&'a Workload, WorkloadPlan)> {
        let before = self.known.remove(id).unwrap_or_default();
        let namespace = snapshot.namespaces.get(&id.namespace);
        let found = namespace.and_then(|namespace| Some((namespace, namespace.workloads.get(id)?)));
        let Some((namespace, workload)) = found else {
            self.leave(id, &before.policies, dirty);
            if before.service != 0 {
                dirty.collectors.extend(snapshot.collectors_of(&id.namespace));
            }
            return None;
        };
        self.planned += 1;
        let plan = plan_workload(snapshot, namespace, workload);
        let attachment = attach::attached(snapshot, namespace, workload);
        let service = service(&attachment, workload, &plan);
        let mut beaten = Beaten::all(&attachment);
        if service != before.service {
            dirty.collectors.extend(snapshot.collectors_of(&id.namespace));
        }
        dirty
            .secrets
            .extend(plan.secret.iter().filter(|secret| !namespace.secrets.contains_key(&secret.name)).cloned());
        let about = plan.winner.iter().chain(&plan.superseded).chain(&plan.overrides);
        let about: BTreeSet<&PolicyId> = about.collect();
        let left: Vec<_> = before.policies.into_iter().filter(|policy| !about.contains(policy)).collect();
        self.leave(id, &left, dirty);
        for policy in about.iter().filter_map(|id| snapshot.policy(id)) {
            let tally = self.tallies.entry(policy.id.clone()).or_default();
            // What is said of stronger policies names their fields, which may be others now.
            let names_others = plan.winner.as_ref() != Some(&policy.id) || !plan.overrides.is_empty();
            if tally.put(namespace, (policy, workload, &plan), beaten.remove(&policy.id)) || names_others {
                dirty.policies.insert(policy.id.clone());
            }
        }
        let known = Known { policies: about.into_iter().cloned().collect(), service };
        if !known.policies.is_empty() || known.service != 0 {
            self.known.insert(id.clone(), known);
        }
        Some((workload, plan))
    }

    fn leave(&mut self, id: &WorkloadId, policies: &[PolicyId], dirty: &mut Dirty) {
        for policy in policies {
            let Some(tally) = self.tallies.get_mut(policy) else { continue };
            if tally.drop(id) {
                dirty.policies.insert(policy.clone());
            }
            if tally.is_empty() {
                self.tallies.remove(policy);
            }
        }
    }

    /// What there is to say about a policy.
    pub fn report(&self, snapshot: &Snapshot, policy: &Policy) -> Report {
        match self.tallies.get(&policy.id) {
            Some(tally) => status::report(snapshot, policy, tally),
            None => status::report(snapshot, policy, &Tally::default()),
        }
    }

    /// Whether any workload needs this headers Secret.
    pub fn needs(&self, secret: &SecretId) -> bool {
        self.tallies.values().any(|tally| tally.needs(secret))
    }

    /// How many times a workload was planned: what the cost of a change is measured by.
    pub const fn planned(&self) -> u64 {
        self.planned
    }
}

/// 0 where no policy is about the workload, or collectors do not know it by itself.
fn service(attachment: &Attachment<'_>, workload: &Workload, plan: &WorkloadPlan) -> u64 {
    // Jobs and pods come and go: collectors know those that policies name.
    if attachment.base.is_empty() || !workload.id.kind.is_writable() {
        return 0;
    }
    let kind = workload.id.kind.target();
    let mut hasher = DefaultHasher::new();
    plan.service_name.hash(&mut hasher);
    let mut add = |attached: &Attached<'_>| {
        (&attached.policy.id, attached.part as u8, attached.specificity as u8).hash(&mut hasher);
        let targets = attached.policy.targets().iter();
        targets.for_each(|target| target.matches(kind, &workload.id.name, &workload.labels).hash(&mut hasher));
    };
    attachment.base.iter().chain(&attachment.overrides).for_each(&mut add);
    hasher.finish().max(1)
}
