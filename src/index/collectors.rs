//! Collectors and the labels of namespaces in the index, and what a change of them touches.

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnostics::{Code, Diagnostic, FieldPath};

use super::{
    Collector, CollectorId, Dirty, Fault, Index, NamespaceMeta, PolicyId, Snapshot, Source, change::Versioned,
    policies::touch_selected,
};

impl Index {
    pub(super) fn collector_event(&mut self, collector: Collector, version: Option<u64>, dirty: &mut Dirty) {
        if self.collector_versions.take_event(&collector.id, version) {
            self.put_collector(collector, dirty);
        }
    }

    pub(super) fn collector_written(&mut self, collector: Collector, version: Option<u64>, dirty: &mut Dirty) {
        let known = self.snapshot.collectors.get(&collector.id).is_some_and(|known| known.uid == collector.uid);
        if known && self.collector_versions.take_write(&collector.id, version) {
            self.put_collector(collector, dirty);
        }
    }

    fn put_collector(&mut self, mut collector: Collector, dirty: &mut Dirty) {
        // That a namespace is the operator's own cannot be seen by the object alone.
        let excluded = Diagnostic::new(Code::TRC0127, FieldPath::fields("metadata.namespace"));
        if self.snapshot.own_namespace.as_ref() == Some(&collector.id.namespace)
            && !collector.findings.contains(&excluded)
        {
            collector.findings.push(excluded);
        }
        let known = self.snapshot.collectors.get(&collector.id);
        if known == Some(&collector) {
            return;
        }
        let same_intent = known.is_some_and(|known| {
            (&known.spec, &known.findings, &known.uid, known.deleting)
                == (&collector.spec, &collector.findings, &collector.uid, collector.deleting)
        });
        // A status touches nothing but itself: it is compared again, in case somebody else wrote it.
        dirty.collector_statuses.insert(collector.id.clone());
        if !same_intent {
            dirty.collectors.insert(collector.id.clone());
            dirty.keys.extend(collector.secrets());
            dirty.identity = true;
        }
        let id = collector.id.clone();
        self.snapshot.collectors.insert(id.clone(), collector);
        if !same_intent {
            self.touch_users(&id, dirty);
        }
    }

    pub(super) fn drop_collector(&mut self, id: &CollectorId, dirty: &mut Dirty) {
        self.collector_versions.0.remove(id);
        self.snapshot.collector_faults.remove(id);
        self.snapshot.troubles.remove(id);
        if self.snapshot.collectors.remove(id).is_some() {
            dirty.identity = true;
            self.touch_users(id, dirty);
        }
        self.forget(&id.namespace);
    }

    pub(super) fn reset_collectors(&mut self, source: &Source, all: Vec<Versioned<Collector>>, dirty: &mut Dirty) {
        let listed: BTreeSet<CollectorId> = all.iter().map(|(collector, _)| collector.id.clone()).collect();
        let known = self.snapshot.collectors.keys();
        let gone: Vec<CollectorId> =
            known.filter(|id| source.covers(&id.namespace) && !listed.contains(id)).cloned().collect();
        for id in gone {
            self.drop_collector(&id, dirty);
        }
        for (collector, version) in all {
            self.collector_event(collector, version, dirty);
        }
        self.awaited.remove(source);
    }

    /// The policies that may export to a collector, and the workloads that those select: their endpoint may be another.
    fn touch_users(&self, id: &CollectorId, dirty: &mut Dirty) {
        for policy in self.snapshot.users(id).into_values() {
            dirty.policies.insert(policy.id.clone());
            touch_selected(&self.snapshot, policy, dirty);
        }
    }

    /// Policies that export to a collector whose readiness has changed: nothing is written into workloads for that.
    pub(super) fn touch_readiness(&self, id: &CollectorId, dirty: &mut Dirty) {
        dirty.policies.extend(self.snapshot.users(id).into_keys().cloned());
    }

    pub(super) fn put_namespace(&mut self, name: &str, meta: Option<NamespaceMeta>, dirty: &mut Dirty) {
        let (labels, pods) = meta.map_or_else(Default::default, |meta| (Some(meta.labels), meta.pods));
        if let Some(namespace) =
            self.snapshot.namespaces.get_mut(name).filter(|namespace| namespace.pod_defaults != pods)
        {
            namespace.pod_defaults.clone_from(&pods);
            dirty.workloads.extend(namespace.workloads.keys().cloned());
        }
        let is_known = labels.is_some();
        self.put_labels(name, labels, dirty);
        if is_known {
            self.namespace(name).pod_defaults = pods;
        }
    }

    /// The labels of a namespace decide which collectors its policies may use.
    fn put_labels(&mut self, name: &str, labels: Option<BTreeMap<String, String>>, dirty: &mut Dirty) {
        if labels.is_none() && !self.snapshot.namespaces.contains_key(name) {
            return;
        }
        let namespace = self.namespace(name);
        if namespace.labels == labels {
            return;
        }
        let appears = namespace.labels.is_some() != labels.is_some();
        // What covered the namespace before, and what does now.
        dirty.collectors.extend(self.snapshot.collectors_of(name));
        let covering = |snapshot: &Snapshot| -> Vec<PolicyId> {
            snapshot.cluster_policies_of(snapshot.place(name)).map(|policy| policy.id.clone()).collect()
        };
        let before = covering(&self.snapshot);
        self.namespace(name).labels = labels;
        let after = covering(&self.snapshot);
        // A policy without a selector covers also what was not there before.
        dirty.admission |= before != after || appears && !after.is_empty();
        dirty.collectors.extend(self.snapshot.collectors_of(name));
        let changed: Vec<_> = before
            .iter()
            .filter(|id| !after.contains(id))
            .chain(after.iter().filter(|id| !before.contains(id)))
            .collect();
        let namespace = self.snapshot.namespaces.get(name);
        for policy in namespace.into_iter().flat_map(|namespace| namespace.policies.values()) {
            if policy.collector().is_some() || policy.inherits() {
                dirty.policies.insert(policy.id.clone());
                touch_selected(&self.snapshot, policy, dirty);
            }
        }
        if !changed.is_empty() {
            let own = namespace.into_iter().flat_map(|namespace| namespace.policies.values());
            dirty.policies.extend(own.map(|policy| policy.id.clone()));
        }
        // A handshake may have changed for what the whole namespace takes from above.
        if !before.is_empty() || !changed.is_empty() {
            dirty.policies.extend(before.iter().chain(&after).cloned());
            dirty.workloads.extend(namespace.into_iter().flat_map(|namespace| namespace.workloads.keys().cloned()));
        }
        self.forget(name);
    }

    pub(super) fn reset_namespaces(
        &mut self,
        source: &Source,
        namespaces: Vec<(String, NamespaceMeta)>,
        dirty: &mut Dirty,
    ) {
        let listed: BTreeSet<&str> = namespaces.iter().map(|(name, _)| name.as_str()).collect();
        let known = self.snapshot.namespaces.keys();
        let gone: Vec<String> = known.filter(|name| !listed.contains(name.as_str())).cloned().collect();
        for name in gone {
            self.put_namespace(&name, None, dirty);
        }
        for (name, meta) in namespaces {
            self.put_namespace(&name, Some(meta), dirty);
        }
        self.awaited.remove(source);
    }

    pub(super) fn put_collector_fault(&mut self, id: CollectorId, fault: Option<Fault>, dirty: &mut Dirty) {
        if self.snapshot.collectors.contains_key(&id) && put(&mut self.snapshot.collector_faults, &id, fault) {
            dirty.collector_statuses.insert(id);
        }
    }

    pub(super) fn put_trouble(&mut self, id: CollectorId, trouble: Option<String>, dirty: &mut Dirty) {
        if self.snapshot.collectors.contains_key(&id) && put(&mut self.snapshot.troubles, &id, trouble) {
            dirty.collector_statuses.insert(id);
        }
    }

    pub(super) fn put_identity_fault(&mut self, fault: Option<Fault>, dirty: &mut Dirty) {
        if self.snapshot.identity_fault != fault {
            self.snapshot.identity_fault = fault;
            dirty.collector_statuses.extend(self.snapshot.collectors.keys().cloned());
        }
    }
}

/// Sets or removes a value; says whether that changed anything.
fn put<T: PartialEq>(map: &mut BTreeMap<CollectorId, T>, id: &CollectorId, value: Option<T>) -> bool {
    if map.get(id) == value.as_ref() {
        return false;
    }
    match value {
        Some(value) => map.insert(id.clone(), value),
        None => map.remove(id),
    };
    true
}
