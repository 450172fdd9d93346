//! Workloads in the index, and what a change of one touches.

use std::{collections::BTreeSet, sync::Arc};

use super::{Dirty, Fault, Index, Source, Watched, Workload, WorkloadId, change::Versioned, policies::touch_policies};

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
        // What the operator itself writes into a workload says nothing new about its service.
        if known.as_ref().is_none_or(|known| !known.is_same_service(&workload)) {
            dirty.collectors.extend(namespace.collectors());
        }
        dirty.workloads.insert(workload.id.clone());
        namespace.workloads.insert(workload.id.clone(), Arc::new(workload));
    }

    pub(super) fn drop_workload(&mut self, id: &WorkloadId, dirty: &mut Dirty) {
        self.workload_versions.0.remove(id);
        let Some(namespace) = self.snapshot.namespaces.get_mut(&id.namespace) else { return };
        namespace.faults.remove(id);
        if let Some(workload) = namespace.workloads.remove(id) {
            touch_policies(namespace, &workload, dirty);
            dirty.collectors.extend(namespace.collectors());
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
        let namespace = self.namespace(&id.namespace);
        if namespace.faults.remove(id).is_some()
            && let Some(workload) = namespace.workloads.get(id).map(Arc::clone)
        {
            touch_policies(namespace, &workload, dirty);
        }
    }

    pub(super) fn put_fault(&mut self, id: WorkloadId, fault: Fault, dirty: &mut Dirty) {
        let Some(namespace) = self.snapshot.namespaces.get_mut(&id.namespace) else { return };
        if namespace.faults.get(&id) != Some(&fault)
            && let Some(workload) = namespace.workloads.get(&id).map(Arc::clone)
        {
            touch_policies(namespace, &workload, dirty);
            namespace.faults.insert(id, fault);
        }
    }
}
