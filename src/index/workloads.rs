//! Workloads in the index, and what a change of one touches.

use std::{collections::BTreeSet, sync::Arc};

use super::{Dirty, Fault, Index, Source, Watched, Workload, WorkloadId, change::Versioned};

impl Index {
    pub(super) fn workload_event(&mut self, workload: Workload, version: Option<u64>, dirty: &mut Dirty) {
        if self.workload_versions.take_event(&workload.id, version) {
            self.put_workload(workload, dirty);
        }
    }

    pub(super) fn workload_written(&mut self, workload: Workload, version: Option<u64>, dirty: &mut Dirty) {
        let known = self.workload(&workload.id).is_some_and(|known| known.uid == workload.uid);
        if known && self.workload_versions.take_write(&workload.id, version) {
            self.drop_fault(&workload.id, dirty);
            self.put_workload(workload, dirty);
        }
    }

    fn workload(&self, id: &WorkloadId) -> Option<&Workload> {
        self.snapshot.namespaces.get(&id.namespace)?.workloads.get(id).map(Arc::as_ref)
    }

    pub(super) fn put_workload(&mut self, workload: Workload, dirty: &mut Dirty) {
        let namespace = self.namespace(&workload.id.namespace);
        if namespace.workloads.get(&workload.id).map(Arc::as_ref) == Some(&workload) {
            return;
        }
        dirty.workloads.insert(workload.id.clone());
        namespace.workloads.insert(workload.id.clone(), Arc::new(workload));
    }

    pub(super) fn drop_workload(&mut self, id: &WorkloadId, dirty: &mut Dirty) {
        self.workload_versions.0.remove(id);
        let Some(namespace) = self.snapshot.namespaces.get_mut(&id.namespace) else { return };
        namespace.faults.remove(id);
        if namespace.workloads.remove(id).is_some() {
            dirty.workloads.insert(id.clone());
        }
        self.forget(&id.namespace);
    }

    pub(super) fn reset_workloads(&mut self, source: &Source, workloads: Vec<Versioned<Workload>>, dirty: &mut Dirty) {
        let listed: BTreeSet<WorkloadId> = workloads.iter().map(|(workload, _)| workload.id.clone()).collect();
        let all = self.snapshot.namespaces.values().flat_map(|namespace| namespace.workloads.keys());
        let is_meant = |id: &WorkloadId| source.watched == Watched::Workloads(id.kind) && source.covers(&id.namespace);
        let gone: Vec<WorkloadId> = all.filter(|id| is_meant(id) && !listed.contains(id)).cloned().collect();
        for id in gone {
            self.drop_workload(&id, dirty);
        }
        for (workload, version) in workloads {
            self.workload_event(workload, version, dirty);
        }
        self.awaited.remove(source);
    }

    /// A fault stays until a write goes through: what else happens to a workload says nothing about it.
    fn drop_fault(&mut self, id: &WorkloadId, dirty: &mut Dirty) {
        if self.namespace(&id.namespace).faults.remove(id).is_some() {
            dirty.reports.insert(id.clone());
        }
    }

    pub(super) fn put_fault(&mut self, id: WorkloadId, fault: Fault, dirty: &mut Dirty) {
        let Some(namespace) = self.snapshot.namespaces.get_mut(&id.namespace) else { return };
        if namespace.workloads.contains_key(&id) && namespace.faults.get(&id) != Some(&fault) {
            dirty.reports.insert(id.clone());
            namespace.faults.insert(id, fault);
        }
    }
}
