//! What is known about the cluster at one moment.

use std::{collections::BTreeMap, sync::Arc};

use super::{Collector, CollectorId, LiveObject, OwnedId, Policy, Workload, WorkloadId};

/// What is known about the cluster at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// By namespace; policies reach no further.
    pub namespaces: BTreeMap<String, Namespace>,
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

    /// The policies of all namespaces that export to this collector, each with its namespace.
    pub fn users<'a>(&'a self, id: &'a CollectorId) -> impl Iterator<Item = (&'a Namespace, &'a Policy)> {
        let all = self
            .namespaces
            .values()
            .flat_map(|namespace| namespace.policies.values().map(move |policy| (namespace, policy)));
        all.filter(move |(_, policy)| policy.collector().as_ref() == Some(id))
    }

    /// Whether any pod of the collector that receives OTLP is ready.
    pub fn has_ready_pods(&self, id: &CollectorId) -> bool {
        self.owned_by(id).any(|(owned, live)| owned.receives() && live.ready_replicas() > 0)
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
    /// Workloads whose last write failed.
    pub faults: BTreeMap<WorkloadId, Fault>,
}

impl Namespace {
    /// The collectors that policies of this namespace export to. What one policy or workload is called may decide which
    /// policy rules the service of another, so any change of theirs is a matter of all these collectors.
    pub(super) fn collectors(&self) -> impl Iterator<Item = CollectorId> {
        self.policies.values().filter_map(Policy::collector)
    }
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
