//! What reconciles share: the index, and the plan that is kept up to date with it.

use std::{
    collections::BTreeSet,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use kube::Client;
use serde_json::Value;

use super::{Key, admission};
use crate::{
    admission::{Admission, Injector},
    apply::{Events, Leadership, Writer},
    index::{Change, Dirty, Index, Snapshot, Source, WorkloadId},
    plan::{Planner, pod::plan_pod},
    telemetry::metrics::Metrics,
};

/// Workloads that are planned before somebody else may look at the index: some milliseconds.
const PIECE: usize = 100;
/// How long everybody else has the index then.
const PAUSE: Duration = Duration::from_micros(100);

/// What reconciles share.
pub struct Context {
    pub(crate) client: Client,
    pub(crate) writer: Writer,
    pub(crate) events: Events,
    pub(crate) verify_secrets: bool,
    pub(crate) ready_timeout: Duration,
    pub(crate) admission: Option<Arc<Admission>>,
    pub(super) keeper: admission::Keeper,
    pub(super) leadership: Leadership,
    pub(crate) metrics: Arc<Metrics>,
    pub(super) index: Mutex<Index>,
    /// Taken after the index, never before it.
    pub(super) planner: Mutex<Planner>,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("verify_secrets", &self.verify_secrets).finish_non_exhaustive()
    }
}

impl Context {
    /// The index. Held for as long as it takes to plan a key, never across an await.
    pub(crate) fn index(&self) -> MutexGuard<'_, Index> {
        // A panic while planning leaves the index as it was before: planning does not change it.
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of every workload's part in the statuses of policies.
    pub(crate) fn planner(&self) -> MutexGuard<'_, Planner> {
        self.planner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a change; says what has to be looked at again. Called by the loop alone: nobody else changes the index.
    pub(crate) fn take(&self, change: Change) -> Dirty {
        let mut index = self.index();
        let dirty = index.update(change);
        self.planned(index, dirty)
    }

    /// Every key.
    pub(crate) fn everything(&self) -> Dirty {
        let index = self.index();
        let dirty = index.everything();
        let mut dirty = self.planned(index, dirty);
        self.planner().recall(&mut dirty.starts);
        dirty
    }

    /// A key has ended, and what was learnt from it was taken in: others may begin.
    pub(super) fn ended(&self, key: &Key, was_cut_off: bool) -> (bool, Dirty) {
        let Key::Workload(id) = key else { return (false, Dirty::default()) };
        let (again, starts) = self.planner().end(id, was_cut_off);
        (again, Dirty { starts, ..Dirty::default() })
    }

    /// The pods of a workload do not run, and the operator has nothing to do with it.
    pub(crate) fn absolve(&self, id: &WorkloadId, generation: i64) -> Dirty {
        let index = self.index();
        self.planner().absolve(index.snapshot(), id, generation)
    }

    /// With what the plans of the workloads touch. Of many workloads the index is given away from time to time: who asks
    /// about a pod meanwhile must not wait for a whole cluster to be planned.
    fn planned<'a>(&'a self, mut index: MutexGuard<'a, Index>, mut dirty: Dirty) -> Dirty {
        let (workloads, reports) = (mem::take(&mut dirty.workloads), mem::take(&mut dirty.reports));
        let mut all = workloads.union(&reports).cloned().peekable();
        loop {
            let piece: BTreeSet<WorkloadId> = all.by_ref().take(PIECE).collect();
            // Whether it may be another plan, or only another report, counts.
            (dirty.workloads, dirty.reports) = piece.into_iter().partition(|id| workloads.contains(id));
            self.plan_piece(index.snapshot(), &mut dirty);
            if all.peek().is_none() {
                // Who may begin is known once all have their places.
                self.planner().offer(&mut dirty);
                break;
            }
            drop(index);
            // A lock that is taken again at once may never be had by those that wait for it.
            thread::sleep(PAUSE);
            index = self.index();
        }
        drop(all);
        (dirty.workloads, dirty.reports) = (workloads, reports);
        dirty
    }

    /// A panic while planning must not end the process, which would meet the same object again at once.
    fn plan_piece(&self, snapshot: &Snapshot, dirty: &mut Dirty) {
        let mut planner = self.planner();
        if catch_unwind(AssertUnwindSafe(|| planner.plan(snapshot, dirty))).is_err() {
            tracing::error!("planning panicked");
        }
    }

    /// Whether this process still may write: a reconcile with several writes asks before each of them.
    pub(crate) fn leads(&self) -> bool {
        self.leadership.leads()
    }

    /// The sources that were not heard of yet; empty once the caches are synced.
    pub fn awaited(&self) -> Vec<Source> {
        self.index().awaited().cloned().collect()
    }
}

impl Injector for Context {
    fn inject(&self, namespace: &str, pod: &Value) -> Vec<Value> {
        let index = self.index();
        // Planned without the policies, a pod would get the wrong settings for the rest of its life.
        if !index.is_synced() {
            return Vec::new();
        }
        let planned = plan_pod(index.snapshot(), namespace, pod);
        drop(index);
        let Some(planned) = planned else { return Vec::new() };
        tracing::debug!(workload = %planned.workload, "a pod is injected");
        planned.operations
    }
}
