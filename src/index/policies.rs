//! Policies in the index, and what a change of one touches.

use std::collections::BTreeSet;

use super::{Dirty, Index, Namespace, Policy, PolicyId, Source, Workload, change::Versioned};

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
        self.snapshot.namespaces.get(&id.namespace)?.policies.get(&id.name)
    }

    fn put_policy(&mut self, policy: Policy, dirty: &mut Dirty) {
        let namespace = self.namespace(&policy.id.namespace);
        let known = namespace.policies.get(&policy.id.name);
        if known == Some(&policy) {
            return;
        }
        // A change of the status alone touches no workload; the status itself is compared again, in case somebody
        // else wrote it.
        let same_intent = known.is_some_and(|known| {
            (&known.spec, &known.created, &known.uid, &known.ignored)
                == (&policy.spec, &policy.created, &policy.uid, &policy.ignored)
        });
        dirty.policies.insert(policy.id.clone());
        if !same_intent {
            touch_selected(namespace, &policy, dirty);
            if let Some(known) = known {
                touch_selected(namespace, known, dirty);
            }
            dirty.secrets.extend(policy.secret());
        }
        namespace.policies.insert(policy.id.name.clone(), policy);
    }

    pub(super) fn drop_policy(&mut self, id: &PolicyId, dirty: &mut Dirty) {
        self.policy_versions.0.remove(id);
        let Some(namespace) = self.snapshot.namespaces.get_mut(&id.namespace) else { return };
        if let Some(policy) = namespace.policies.remove(&id.name) {
            touch_selected(namespace, &policy, dirty);
        }
        self.forget(&id.namespace);
    }

    pub(super) fn reset_policies(&mut self, source: &Source, policies: Vec<Versioned<Policy>>, dirty: &mut Dirty) {
        let listed: BTreeSet<PolicyId> = policies.iter().map(|(policy, _)| policy.id.clone()).collect();
        let all = self.snapshot.namespaces.values().flat_map(|namespace| namespace.policies.values());
        let gone: Vec<PolicyId> = all
            .map(|policy| &policy.id)
            .filter(|id| source.covers(&id.namespace) && !listed.contains(id))
            .cloned()
            .collect();
        for id in gone {
            self.drop_policy(&id, dirty);
        }
        for (policy, version) in policies {
            self.policy_event(policy, version, dirty);
        }
        self.awaited.remove(source);
    }
}

/// The workloads that a policy selects, and the other policies that select one of them: they may win or lose by it; and the
/// collectors, which may gain or lose a service.
pub(super) fn touch_selected(namespace: &Namespace, policy: &Policy, dirty: &mut Dirty) {
    dirty.collectors.extend(policy.collector());
    dirty.collectors.extend(namespace.collectors());
    for workload in namespace.workloads.values().filter(|workload| policy.selects(workload)) {
        dirty.workloads.insert(workload.id.clone());
        touch_policies(namespace, workload, dirty);
    }
}

/// The policies that select a workload: their status speaks of it.
pub(super) fn touch_policies(namespace: &Namespace, workload: &Workload, dirty: &mut Dirty) {
    let selecting = namespace.policies.values().filter(|policy| policy.selects(workload));
    dirty.policies.extend(selecting.map(|policy| policy.id.clone()));
}
