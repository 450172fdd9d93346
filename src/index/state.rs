//! The index: changes in, keys to look at out.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    Collector, CollectorId, Policy, PolicyId, SecretId, Workload, WorkloadId, WorkloadKind, versions::Versions,
};

/// What is known about the cluster at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// By namespace; policies reach no further.
    pub namespaces: BTreeMap<String, Namespace>,
    /// The collectors of all namespaces: policies of any namespace may refer to them.
    pub collectors: BTreeMap<CollectorId, Collector>,
    /// The operator's own namespace, which is never touched.
    pub own_namespace: Option<String>,
    /// Whether a collector counts as open to a namespace where labels that are not known would decide. True for files,
    /// which show a part of a cluster; in a cluster, a handshake that cannot be seen is none.
    pub assumes_permission: bool,
}

/// What is known about one namespace.
#[derive(Clone, Debug, Default)]
pub struct Namespace {
    /// Policies by name.
    pub policies: BTreeMap<String, Policy>,
    /// Workloads.
    pub workloads: BTreeMap<WorkloadId, Arc<Workload>>,
    /// Headers Secrets that were looked at, by name.
    pub secrets: BTreeMap<String, SecretState>,
    /// Keys of Secrets for the backends of collectors that were looked at, by Secret and key.
    pub keys: BTreeMap<(String, String), SecretState>,
    /// The labels of the namespace, where they are known.
    pub labels: Option<BTreeMap<String, String>>,
    /// Workloads whose last write failed.
    pub faults: BTreeMap<WorkloadId, Fault>,
}

/// What is known about a headers Secret; never anything about its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretState {
    /// It exists and has the key.
    Present,
    /// It does not exist.
    NotFound,
    /// It exists, without the key.
    KeyMissing,
    /// The operator may not look, or was told not to.
    Unverified,
    /// The value of a backend's header holds `$$`, `${` or a line break: the collector would send something else.
    Unsendable,
}

/// Why a write failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// One CamelCase word.
    pub reason: String,
    /// What the API server said.
    pub message: String,
}

/// A stream of events: one kind of object, in one namespace or in all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source {
    /// The kind of workload; `None` for policies.
    pub kind: Option<WorkloadKind>,
    /// The namespace; `None` for all.
    pub namespace: Option<String>,
}

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum Change {
    /// A policy was added or modified; its resource version.
    Policy(Policy, Option<u64>),
    /// The answer to a write of a policy's status: makes older events of it stale, and counts only where nothing newer is known.
    PolicyWritten(Policy, Option<u64>),
    /// A policy is gone.
    PolicyGone(PolicyId),
    /// All policies of a source.
    Policies(Source, Vec<(Policy, Option<u64>)>),
    /// A workload was added or modified; its resource version.
    Workload(Workload, Option<u64>),
    /// The answer to a write of a workload: makes older events of it stale, and counts only where nothing newer is known.
    Written(Workload, Option<u64>),
    /// A workload is gone.
    WorkloadGone(WorkloadId),
    /// All workloads of a source.
    Workloads(Source, Vec<(Workload, Option<u64>)>),
    /// A Secret was looked at.
    Secret(SecretId, SecretState),
    /// A write failed.
    Failed(WorkloadId, Fault),
}

/// What has to be looked at again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dirty {
    /// Workloads whose plan may have changed.
    pub workloads: BTreeSet<WorkloadId>,
    /// Policies whose status may have changed.
    pub policies: BTreeSet<PolicyId>,
    /// Secrets that are to be looked at.
    pub secrets: BTreeSet<SecretId>,
}

/// The state behind the snapshot.
#[derive(Debug)]
pub struct Index {
    snapshot: Snapshot,
    /// Sources that were not heard of yet. Until all were, nothing is dirty: planning without the policies would
    /// withdraw everything.
    awaited: BTreeSet<Source>,
    workload_versions: Versions<WorkloadId>,
    policy_versions: Versions<PolicyId>,
}

impl Index {
    /// An index that awaits a first answer from each of these sources.
    pub fn new(own_namespace: Option<String>, sources: impl IntoIterator<Item = Source>) -> Self {
        Self {
            snapshot: Snapshot { own_namespace, ..Snapshot::default() },
            awaited: sources.into_iter().collect(),
            workload_versions: Versions::default(),
            policy_versions: Versions::default(),
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
        match change {
            Change::Policy(policy, version) => {
                if self.policy_versions.take_event(&policy.id, version) {
                    self.put_policy(policy, &mut dirty);
                }
            }
            Change::PolicyWritten(policy, version) => {
                let known = self.policy(&policy.id).is_some_and(|known| known.uid == policy.uid);
                if known && self.policy_versions.take_write(&policy.id, version) {
                    self.put_policy(policy, &mut dirty);
                }
            }
            Change::PolicyGone(id) => self.drop_policy(&id, &mut dirty),
            Change::Policies(source, policies) => self.reset_policies(&source, policies, &mut dirty),
            Change::Workload(workload, version) => {
                if self.workload_versions.take_event(&workload.id, version) {
                    self.put_workload(workload, &mut dirty);
                }
            }
            Change::Written(workload, version) => {
                let known = self.workload(&workload.id).is_some_and(|known| known.uid == workload.uid);
                if known && self.workload_versions.take_write(&workload.id, version) {
                    self.drop_fault(&workload.id, &mut dirty);
                    self.put_workload(workload, &mut dirty);
                }
            }
            Change::WorkloadGone(id) => self.drop_workload(&id, &mut dirty),
            Change::Workloads(source, workloads) => self.reset_workloads(&source, workloads, &mut dirty),
            Change::Secret(id, state) => self.put_secret(&id, state, &mut dirty),
            Change::Failed(id, fault) => self.put_fault(id, fault, &mut dirty),
        }
        match (was_synced, self.is_synced()) {
            (_, false) => Dirty::default(),
            (false, true) => self.everything(),
            (true, true) => dirty,
        }
    }

    /// Every key.
    pub fn everything(&self) -> Dirty {
        let mut dirty = Dirty::default();
        for namespace in self.snapshot.namespaces.values() {
            dirty.workloads.extend(namespace.workloads.keys().cloned());
            for policy in namespace.policies.values() {
                dirty.policies.insert(policy.id.clone());
                dirty.secrets.extend(policy.secret());
            }
        }
        dirty
    }

    fn namespace(&mut self, name: &str) -> &mut Namespace {
        self.snapshot.namespaces.entry(name.to_owned()).or_default()
    }

    fn policy(&self, id: &PolicyId) -> Option<&Policy> {
        self.snapshot.namespaces.get(&id.namespace)?.policies.get(&id.name)
    }

    fn workload(&self, id: &WorkloadId) -> Option<&Workload> {
        self.snapshot.namespaces.get(&id.namespace)?.workloads.get(id).map(Arc::as_ref)
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
            (&known.spec, &known.created, &known.uid) == (&policy.spec, &policy.created, &policy.uid)
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

    fn drop_policy(&mut self, id: &PolicyId, dirty: &mut Dirty) {
        self.policy_versions.0.remove(id);
        let namespace = self.namespace(&id.namespace);
        if let Some(policy) = namespace.policies.remove(&id.name) {
            touch_selected(namespace, &policy, dirty);
        }
    }

    fn reset_policies(&mut self, source: &Source, policies: Vec<(Policy, Option<u64>)>, dirty: &mut Dirty) {
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
            if self.policy_versions.take_event(&policy.id, version) {
                self.put_policy(policy, dirty);
            }
        }
        self.awaited.remove(source);
    }

    fn put_workload(&mut self, workload: Workload, dirty: &mut Dirty) {
        let namespace = self.namespace(&workload.id.namespace);
        let known = namespace.workloads.get(&workload.id).map(Arc::clone);
        if known.as_deref() == Some(&workload) {
            return;
        }
        touch_policies(namespace, &workload, dirty);
        if let Some(known) = &known {
            touch_policies(namespace, known, dirty);
        }
        dirty.workloads.insert(workload.id.clone());
        namespace.workloads.insert(workload.id.clone(), Arc::new(workload));
    }

    fn drop_workload(&mut self, id: &WorkloadId, dirty: &mut Dirty) {
        self.workload_versions.0.remove(id);
        let namespace = self.namespace(&id.namespace);
        namespace.faults.remove(id);
        if let Some(workload) = namespace.workloads.remove(id) {
            touch_policies(namespace, &workload, dirty);
        }
    }

    fn reset_workloads(&mut self, source: &Source, workloads: Vec<(Workload, Option<u64>)>, dirty: &mut Dirty) {
        let listed: BTreeSet<WorkloadId> = workloads.iter().map(|(workload, _)| workload.id.clone()).collect();
        let all = self.snapshot.namespaces.values().flat_map(|namespace| namespace.workloads.keys());
        let gone: Vec<WorkloadId> = all
            .filter(|id| Some(id.kind) == source.kind && source.covers(&id.namespace) && !listed.contains(id))
            .cloned()
            .collect();
        for id in gone {
            self.drop_workload(&id, dirty);
        }
        for (workload, version) in workloads {
            if self.workload_versions.take_event(&workload.id, version) {
                self.put_workload(workload, dirty);
            }
        }
        self.awaited.remove(source);
    }

    fn put_secret(&mut self, id: &SecretId, state: SecretState, dirty: &mut Dirty) {
        let namespace = self.namespace(&id.namespace);
        if namespace.secrets.insert(id.name.clone(), state) != Some(state) {
            let users = namespace.policies.values().filter(|policy| policy.secret().as_ref() == Some(id));
            dirty.policies.extend(users.map(|policy| policy.id.clone()));
        }
    }

    /// A fault stays until a write goes through: what else happens to a workload says nothing about it.
    fn drop_fault(&mut self, id: &WorkloadId, dirty: &mut Dirty) {
        let namespace = self.namespace(&id.namespace);
        if namespace.faults.remove(id).is_some()
            && let Some(workload) = namespace.workloads.get(id).map(Arc::clone)
        {
            touch_policies(namespace, &workload, dirty);
        }
    }

    fn put_fault(&mut self, id: WorkloadId, fault: Fault, dirty: &mut Dirty) {
        let namespace = self.namespace(&id.namespace);
        if namespace.faults.get(&id) != Some(&fault)
            && let Some(workload) = namespace.workloads.get(&id).map(Arc::clone)
        {
            touch_policies(namespace, &workload, dirty);
            namespace.faults.insert(id, fault);
        }
    }
}

impl Source {
    fn covers(&self, namespace: &str) -> bool {
        self.namespace.as_deref().is_none_or(|own| own == namespace)
    }
}

/// The workloads that a policy selects, and the other policies that select one of them: they may win or lose by it.
fn touch_selected(namespace: &Namespace, policy: &Policy, dirty: &mut Dirty) {
    for workload in namespace.workloads.values().filter(|workload| policy.selects(workload)) {
        dirty.workloads.insert(workload.id.clone());
        touch_policies(namespace, workload, dirty);
    }
}

fn touch_policies(namespace: &Namespace, workload: &Workload, dirty: &mut Dirty) {
    let selecting = namespace.policies.values().filter(|policy| policy.selects(workload));
    dirty.policies.extend(selecting.map(|policy| policy.id.clone()));
}
