//! The index: changes in, keys to look at out.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Change, CollectorId, Dirty, Namespace, OwnedId, PodHook, PolicyId, SecretId, SecretKeyId, SecretState, Snapshot,
    Source, WorkloadId, live::LiveKey, versions::Versions,
};

/// The state behind the snapshot.
#[derive(Debug, Default)]
pub struct Index {
    pub(super) snapshot: Snapshot,
    /// Sources that were not heard of yet. Until all were, nothing is dirty: planning without the policies would
    /// withdraw everything.
    pub(super) awaited: BTreeSet<Source>,
    pub(super) workload_versions: Versions<WorkloadId>,
    pub(super) policy_versions: Versions<PolicyId>,
    pub(super) collector_versions: Versions<CollectorId>,
    pub(super) owned_versions: Versions<LiveKey>,
    /// Under which collector an object is filed.
    pub(super) filed: BTreeMap<LiveKey, OwnedId>,
}

impl Index {
    /// An index that awaits a first answer from each of these sources.
    pub fn new(own_namespace: Option<String>, sources: impl IntoIterator<Item = Source>) -> Self {
        Self {
            snapshot: Snapshot { own_namespace, ..Snapshot::default() },
            awaited: sources.into_iter().collect(),
            workload_versions: Versions::default(),
            policy_versions: Versions::default(),
            collector_versions: Versions::default(),
            owned_versions: Versions::default(),
            filed: BTreeMap::new(),
        }
    }

    /// The present state.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The sources that were not heard of yet.
    pub fn awaited(&self) -> impl Iterator<Item = &Source> {
        self.awaited.iter()
    }

    /// Whether every source was heard of.
    pub fn is_synced(&self) -> bool {
        self.awaited.is_empty()
    }

    /// Takes in a change; says what has to be looked at again.
    pub fn update(&mut self, change: Change) -> Dirty {
        let was_synced = self.is_synced();
        let mut dirty = Dirty::default();
        self.take(change, &mut dirty);
        match (was_synced, self.is_synced()) {
            (_, false) => Dirty::default(),
            (false, true) => self.everything(),
            (true, true) => dirty,
        }
    }

    fn take(&mut self, change: Change, dirty: &mut Dirty) {
        match change {
            Change::Policy(policy, version) => self.policy_event(policy, version, dirty),
            Change::PolicyWritten(policy, version) => self.policy_written(policy, version, dirty),
            Change::PolicyGone(id) => self.drop_policy(&id, dirty),
            Change::Policies(source, policies) => self.reset_policies(&source, policies, dirty),
            Change::Workload(workload, version) => self.workload_event(workload, version, dirty),
            Change::Written(workload, version) => self.workload_written(workload, version, dirty),
            Change::WorkloadGone(id) => self.drop_workload(&id, dirty),
            Change::Workloads(source, workloads) => self.reset_workloads(&source, workloads, dirty),
            Change::Pod(pod) => self.put_pod(*pod, dirty),
            Change::PodGone(namespace, name) => self.drop_pod(&namespace, &name, dirty),
            Change::Pods(source, pods) => self.reset_pods(&source, pods, dirty),
            Change::Child(namespace, child, parent) => self.put_child(&namespace, child, parent, dirty),
            Change::ChildGone(namespace, child) => self.drop_child(&namespace, &child, dirty),
            Change::Children(source, children) => self.reset_children(&source, children, dirty),
            Change::Hook(hook) => self.put_hook(hook, dirty),
            Change::Collector(collector, version) => self.collector_event(collector, version, dirty),
            Change::CollectorWritten(collector, version) => self.collector_written(collector, version, dirty),
            Change::CollectorGone(id) => self.drop_collector(&id, dirty),
            Change::Collectors(source, collectors) => self.reset_collectors(&source, collectors, dirty),
            Change::Namespace(name, meta) => self.put_namespace(&name, Some(meta), dirty),
            Change::NamespaceGone(name) => self.put_namespace(&name, None, dirty),
            Change::Namespaces(source, namespaces) => self.reset_namespaces(&source, namespaces, dirty),
            Change::Owned(live) => self.owned_event(live, dirty),
            Change::OwnedWritten(live) => self.owned_written(live, dirty),
            Change::OwnedGone(id, uid) => self.owned_gone(&id.key(), uid.as_deref(), dirty),
            Change::Contested(id, contested) => drop(self.snapshot.contested.insert(id, contested)),
            Change::AllOwned(source, all) => self.reset_owned(&source, all, dirty),
            Change::Secret(id, state) => self.put_secret(&id, state, dirty),
            Change::SecretUnused(id) => drop(self.namespace(&id.namespace).secrets.remove(&id.name)),
            Change::SecretKey(id, state) => self.put_key(&id, state, dirty),
            Change::Failed(id, fault) => self.put_fault(id, fault, dirty),
            Change::CollectorFault(id, fault) => self.put_collector_fault(id, fault, dirty),
            Change::Trouble(id, trouble) => self.put_trouble(id, trouble, dirty),
            Change::IdentityFault(fault) => self.put_identity_fault(fault, dirty),
        }
    }

    /// Every key; none before every source was heard of, which makes all of them dirty by itself.
    pub fn everything(&self) -> Dirty {
        if !self.is_synced() {
            return Dirty::default();
        }
        let mut dirty = Dirty { identity: true, admission: true, ..Dirty::default() };
        dirty.policies.extend(self.snapshot.cluster_policies.values().map(|policy| policy.id.clone()));
        for namespace in self.snapshot.namespaces.values() {
            dirty.workloads.extend(namespace.workloads.keys().cloned());
            for policy in namespace.policies.values() {
                dirty.policies.insert(policy.id.clone());
                dirty.secrets.extend(policy.secret());
            }
        }
        for (id, collector) in &self.snapshot.collectors {
            dirty.collectors.insert(id.clone());
            dirty.keys.extend(collector.secrets());
        }
        dirty
    }

    pub(super) fn namespace(&mut self, name: &str) -> &mut Namespace {
        self.snapshot.namespaces.entry(name.to_owned()).or_default()
    }

    /// Removes the entry of a namespace in which there is nothing.
    pub(super) fn forget(&mut self, name: &str) {
        let is_empty = |known: &Namespace| {
            let is_bare = known.policies.is_empty() && known.workloads.is_empty() && known.pods.is_empty();
            is_bare && known.labels.is_none()
        };
        let is_home = || self.snapshot.collectors.keys().any(|id| id.namespace == name);
        if self.snapshot.namespaces.get(name).is_some_and(is_empty) && !is_home() {
            self.snapshot.namespaces.remove(name);
        }
    }

    fn put_secret(&mut self, id: &SecretId, state: SecretState, dirty: &mut Dirty) {
        let namespace = self.namespace(&id.namespace);
        if namespace.secrets.insert(id.name.clone(), state) != Some(state) {
            // An export from above may bring it.
            dirty.policies.extend(namespace.policies.values().map(|policy| policy.id.clone()));
            let above = self.snapshot.cluster_policies_of(self.snapshot.place(&id.namespace));
            dirty.policies.extend(above.map(|policy| policy.id.clone()));
        }
    }

    fn put_hook(&mut self, hook: PodHook, dirty: &mut Dirty) {
        if self.snapshot.hook == hook {
            return;
        }
        // Policies say whether pods are looked at in their namespaces.
        dirty.policies.extend(self.snapshot.policies().map(|policy| policy.id.clone()));
        // Pods that are older than their settings are restarted where new ones are given them.
        for (name, namespace) in &self.snapshot.namespaces {
            if self.snapshot.hook.covers(name) != hook.covers(name) {
                dirty.reports.extend(namespace.workloads.keys().cloned());
            }
        }
        self.snapshot.hook = hook;
    }

    fn put_key(&mut self, id: &SecretKeyId, state: SecretState, dirty: &mut Dirty) {
        let keys = &mut self.namespace(&id.namespace).keys;
        if keys.insert((id.name.clone(), id.key.clone()), state) != Some(state) {
            let collectors = self.snapshot.collectors.values();
            let users = collectors.filter(|collector| collector.secrets().any(|key| key == *id));
            dirty.collectors.extend(users.map(|collector| collector.id.clone()));
        }
    }
}
