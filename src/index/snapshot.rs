//! What is known about the cluster at one moment.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    Collector, CollectorId, LiveObject, OwnedId, PodDefaults, Pods, Policy, PolicyId, Workload, WorkloadId,
    policy::Place,
};

/// What is known about the cluster at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// By namespace; TracingPolicies reach no further.
    pub namespaces: BTreeMap<String, Namespace>,
    /// ClusterTracingPolicies by name.
    pub cluster_policies: BTreeMap<String, Policy>,
    /// The collectors of all namespaces: policies of any namespace may refer to them.
    pub collectors: BTreeMap<CollectorId, Collector>,
    /// The objects that were made for collectors, as they are.
    pub owned: BTreeMap<OwnedId, LiveObject>,
    /// Objects that something on the way to the API server has made into something else: sending the same again would go on
    /// for ever.
    pub contested: BTreeMap<OwnedId, Contested>,
    /// Collectors whose objects could not be written.
    pub collector_faults: BTreeMap<CollectorId, Fault>,
    /// What the pods of a collector said that did not become ready, where it was asked for.
    pub troubles: BTreeMap<CollectorId, String>,
    /// Why the right to look up senders could not be given to collectors.
    pub identity_fault: Option<Fault>,
    /// Where pods are looked at as they are created.
    pub hook: PodHook,
    /// The operator's own namespace, which is never touched.
    pub own_namespace: Option<String>,
    /// Whether a collector counts as open to a namespace where labels that are not known would decide. True for files,
    /// which show a part of a cluster; in a cluster, a handshake that cannot be seen is none.
    pub assumes_permission: bool,
}

impl Snapshot {
    /// The objects of one collector, in the order in which they are applied.
    pub fn owned_by<'a>(&'a self, id: &'a CollectorId) -> impl Iterator<Item = (&'a OwnedId, &'a LiveObject)> {
        self.owned.range(OwnedId::first(id)..).take_while(move |(owned, _)| owned.collector == *id)
    }

    /// A policy of either kind.
    pub fn policy(&self, id: &PolicyId) -> Option<&Policy> {
        if id.is_cluster() {
            return self.cluster_policies.get(&id.name);
        }
        self.namespaces.get(&id.namespace)?.policies.get(&id.name)
    }

    /// All policies of both kinds.
    pub fn policies(&self) -> impl Iterator<Item = &Policy> {
        let teams = self.namespaces.values().flat_map(|namespace| namespace.policies.values());
        self.cluster_policies.values().chain(teams)
    }

    /// A namespace as ClusterTracingPolicies select it.
    pub fn place<'a>(&'a self, name: &'a str) -> Place<'a> {
        let labels = self.namespaces.get(name).and_then(|namespace| namespace.labels.as_ref());
        Place { name, labels }
    }

    /// The ClusterTracingPolicies that cover a namespace.
    pub fn cluster_policies_of<'a>(&'a self, place: Place<'a>) -> impl Iterator<Item = &'a Policy> {
        self.cluster_policies.values().filter(move |policy| policy.covers(&place))
    }

    /// A workload.
    pub fn workload(&self, id: &WorkloadId) -> Option<&Arc<Workload>> {
        self.namespaces.get(&id.namespace)?.workloads.get(id)
    }

    /// The policies that may export to this collector, by naming it or by inheriting from one that does.
    pub fn users<'a>(&'a self, id: &'a CollectorId) -> BTreeMap<&'a PolicyId, &'a Policy> {
        let mut users = BTreeMap::new();
        for (name, namespace) in &self.namespaces {
            let mut above = false;
            for policy in self.cluster_policies_of(self.place(name)) {
                if policy.collectors(name).contains(id) {
                    above = true;
                    users.insert(&policy.id, policy);
                }
            }
            let own = namespace.policies.values();
            let own = own.filter(|policy| policy.collector().as_ref() == Some(id) || above);
            users.extend(own.map(|policy| (&policy.id, policy)));
        }
        users
    }

    /// The collectors that workloads of a namespace may export to.
    pub fn collectors_of(&self, name: &str) -> BTreeSet<CollectorId> {
        let own = self.namespaces.get(name).into_iter().flat_map(|namespace| namespace.policies.values());
        let own = own.filter_map(Policy::collector);
        let above = self.cluster_policies_of(self.place(name)).flat_map(|policy| policy.collectors(name));
        own.chain(above).collect()
    }

    /// Whether any pod of the collector that receives OTLP is ready.
    pub fn has_ready_pods(&self, id: &CollectorId) -> bool {
        self.owned_by(id).any(|(owned, live)| owned.receives() && live.ready_replicas() > 0)
    }
}

/// Where the API server asks the operator about pods as they are created.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PodHook {
    /// Nowhere: there is no webhook.
    #[default]
    Off,
    /// In these namespaces, as far as the operator has told the API server.
    In(BTreeSet<String>),
    /// Wherever somebody else says so.
    Unmanaged,
}

impl PodHook {
    /// Whether pods of this namespace are looked at, as far as is known.
    pub fn covers(&self, namespace: &str) -> bool {
        match self {
            Self::Off => false,
            Self::In(namespaces) => namespaces.contains(namespace),
            Self::Unmanaged => true,
        }
    }
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
    /// Pods, and what lies between them and their workloads.
    pub pods: Pods,
    /// What it says of all its pods.
    pub pod_defaults: PodDefaults,
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

/// What was sent, and what it was made into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contested {
    /// The hash of what was sent.
    pub sent: String,
    /// The digest of the answer: another state than this one is repaired.
    pub answered: String,
}

/// Why a write failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// One CamelCase word.
    pub reason: String,
    /// What the API server said.
    pub message: String,
}
