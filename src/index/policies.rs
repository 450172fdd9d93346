//! Policies in the index, and what a change of one touches.

use std::collections::BTreeSet;

use super::{Dirty, Index, Namespace, Policy, PolicyId, Snapshot, Source, Watched, change::Versioned};

impl Index {
    pub(super) fn policy_event(&mut self, policy: Policy, version: Option<u64>, dirty: &mut Dirty) {
        if self.policy_versions.take_event(&policy.id, version) {
            self.put_policy(policy, dirty);
        }
    }

    pub(super) fn policy_written(&mut self, policy: Policy, version: Option<u64>, dirty: &mut Dirty) {
        let known = self.policy(&policy.id).is_some_and(|known| known.uid == policy.uid);
        if known && self.policy_versions.take_write(&policy.id, version) {
            self.put_policy(policy, dirty);
        }
    }

    fn policy(&self, id: &PolicyId) -> Option<&Policy> {
        self.snapshot.policy(id)
    }

    fn put_policy(&mut self, policy: Policy, dirty: &mut Dirty) {
        let known = self.policy(&policy.id);
        if known == Some(&policy) {
            return;
        }
        // A change of the status alone touches no workload; the status itself is compared again, in case somebody
        // else wrote it.
        let same_intent = known.is_some_and(|known| {
            (&known.spec, &known.findings, &known.created, &known.uid, &known.ignored)
                == (&policy.spec, &policy.findings, &policy.created, &policy.uid, &policy.ignored)
        });
        dirty.policies.insert(policy.id.clone());
        if !same_intent {
            if let Some(known) = known {
                touch_selected(&self.snapshot, known, dirty);
            }
            dirty.admission = true;
            touch_selected(&self.snapshot, &policy, dirty);
            dirty.secrets.extend(policy.secret());
        }
        let policies = if policy.id.is_cluster() {
            &mut self.snapshot.cluster_policies
        } else {
            &mut self.namespace(&policy.id.namespace).policies
        };
        policies.insert(policy.id.name.clone(), policy);
    }

    pub(super) fn drop_policy(&mut self, id: &PolicyId, dirty: &mut Dirty) {
        self.policy_versions.0.remove(id);
        let policies = if id.is_cluster() {
            Some(&mut self.snapshot.cluster_policies)
        } else {
            self.snapshot.namespaces.get_mut(&id.namespace).map(|namespace| &mut namespace.policies)
        };
        if let Some(policy) = policies.and_then(|policies| policies.remove(&id.name)) {
            dirty.admission = true;
            touch_selected(&self.snapshot, &policy, dirty);
        }
        self.forget(&id.namespace);
    }

    pub(super) fn reset_policies(&mut self, source: &Source, policies: Vec<Versioned<Policy>>, dirty: &mut Dirty) {
        let listed: BTreeSet<PolicyId> = policies.iter().map(|(policy, _)| policy.id.clone()).collect();
        let of_cluster = source.watched == Watched::ClusterPolicies;
        let is_meant = |id: &PolicyId| id.is_cluster() == of_cluster && (of_cluster || source.covers(&id.namespace));
        let all = self.snapshot.policies().map(|policy| &policy.id);
        let gone: Vec<PolicyId> = all.filter(|id| is_meant(id) && !listed.contains(id)).cloned().collect();
        for id in gone {
            self.drop_policy(&id, dirty);
        }
        for (policy, version) in policies {
            self.policy_event(policy, version, dirty);
        }
        self.awaited.remove(source);
    }
}

/// What a change of a policy's intent touches: the workloads that it selects, the collectors that they may export to, and
/// the policies that take something from it.
pub(super) fn touch_selected(snapshot: &Snapshot, policy: &Policy, dirty: &mut Dirty) {
    if !policy.id.is_cluster() {
        if let Some(namespace) = snapshot.namespaces.get(&policy.id.namespace) {
            touch_in(snapshot, &policy.id.namespace, namespace, policy, dirty);
        }
        dirty.collectors.extend(policy.collector());
        return;
    }
    for (name, namespace) in &snapshot.namespaces {
        if policy.covers(&snapshot.place(name)) {
            touch_in(snapshot, name, namespace, policy, dirty);
            dirty.policies.extend(namespace.policies.values().map(|policy| policy.id.clone()));
        }
    }
}

fn touch_in(snapshot: &Snapshot, name: &str, namespace: &Namespace, policy: &Policy, dirty: &mut Dirty) {
    dirty.collectors.extend(snapshot.collectors_of(name));
    dirty.collectors.extend(policy.collectors(name));
    let selected = namespace.workloads.values().filter(|workload| policy.selects(workload));
    dirty.workloads.extend(selected.map(|workload| workload.id.clone()));
}
