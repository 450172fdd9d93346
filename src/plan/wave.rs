//! Which workloads may be written now: at most so many of a policy's replace their pods at one time.
//!
//! What is under way is read from the objects, so that an operator that starts anew, or another one, goes on where the wave was. Only
//! what this process is writing at the moment is remembered here, until the answer has been taken in.

use std::collections::{BTreeMap, BTreeSet};

use super::workload::{Decision, WorkloadPlan};
use crate::index::{PolicyId, Rollout, Workload, WorkloadId, WorkloadKind};

/// Workloads that count together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Group {
    /// Those for which this policy comes first.
    Policy(PolicyId),
    /// Those of this namespace for which none does, any more.
    Namespace(String),
}

impl Group {
    pub(super) fn of(workload: &Workload, plan: &WorkloadPlan) -> Self {
        let namespace = || Self::Namespace(workload.id.namespace.clone());
        plan.winner.clone().map_or_else(namespace, Self::Policy)
    }
}

/// Why a workload that is to be injected has to wait, whatever else is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Somebody has stopped its rollout.
    Paused,
    /// A rollout that somebody else has begun is under way.
    RolloutUnderWay,
}

/// Who comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Order {
    /// No pods are replaced.
    Free,
    /// Settings are taken out of what does not run.
    Rescue,
    Healthy,
    /// It was about to start by itself.
    Starting,
    Unhealthy,
    /// The last write was refused.
    Faulty,
}

/// Where a workload stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stand {
    /// Nothing is to be written, and no pods are replaced.
    Idle,
    /// Pods are being replaced.
    UnderWay,
    /// It is to be written.
    Next(Place),
    /// It is to be written, but not now.
    Waits {
        /// Whether it is replacing pods, whoever has begun that.
        counts: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    order: Order,
    injects: bool,
    /// Whether its pods are being replaced already.
    counts: bool,
    limit: usize,
}

/// Why a workload that is to be injected waits.
pub(super) fn waits(workload: &Workload, plan: &WorkloadPlan) -> Option<Wait> {
    if !plan.needs_write || plan.withdraws() {
        return None;
    }
    // Nobody gives up a rollout of these two: with all pods in place, one that is not available is only unhealthy.
    let never_ends = matches!(workload.id.kind, WorkloadKind::StatefulSet | WorkloadKind::DaemonSet);
    // Of a rollout of the operator's own that nobody watches the end may never come.
    let is_unwatched = workload.is_held() && !plan.pace.auto_revert;
    match workload.rollout {
        Rollout::Paused => Some(Wait::Paused),
        Rollout::UnderWay { serving: true, updated } if !(updated && never_ends || is_unwatched) => {
            Some(Wait::RolloutUnderWay)
        }
        _ => None,
    }
}

impl Stand {
    /// `is_absolved`: its pods do not run, and nobody expects them to.
    pub(super) fn of(workload: &Workload, plan: &WorkloadPlan, is_faulty: bool, is_absolved: bool) -> Self {
        if matches!(plan.decision, Decision::Excluded) || !workload.id.kind.is_writable() {
            return Self::Idle;
        }
        // Given up, and still to be judged: until then it may be the settings.
        let is_open = workload.rollout.is_under_way() || plan.is_watched(workload);
        let is_under_way = is_open && !is_absolved;
        if !plan.needs_write {
            return if is_under_way { Self::UnderWay } else { Self::Idle };
        }
        let counts = is_under_way && workload.is_held();
        if let Some(wait) = waits(workload, plan).filter(|wait| *wait == Wait::Paused || !is_absolved) {
            return Self::Waits { counts: wait == Wait::RolloutUnderWay && is_under_way };
        }
        let injects = !plan.withdraws();
        let order = match workload.rollout {
            Rollout::Still | Rollout::Paused => Order::Free,
            // It has its place already.
            _ if counts => Order::Rescue,
            _ if is_faulty => Order::Faulty,
            Rollout::Complete => Order::Healthy,
            _ if !injects => Order::Rescue,
            Rollout::UnderWay { serving: false, .. } => Order::Starting,
            Rollout::UnderWay { serving: true, .. } | Rollout::Unhealthy { .. } => Order::Unhealthy,
        };
        Self::Next(Place { order, injects, counts, limit: plan.pace.max_concurrent })
    }
}

impl Stand {
    /// Whether it holds a place because its pods are being replaced.
    pub(super) const fn counts(self) -> bool {
        match self {
            Self::Idle => false,
            Self::UnderWay => true,
            Self::Next(place) => place.counts,
            Self::Waits { counts } => counts,
        }
    }
}

/// The workloads of a group that are about to be written, or whose pods are being replaced.
#[derive(Debug, Default)]
pub(super) struct Wave {
    stands: BTreeMap<WorkloadId, Stand>,
    under_way: BTreeSet<WorkloadId>,
    withdrawals: BTreeMap<(Order, WorkloadId), Place>,
    injections: BTreeMap<(Order, WorkloadId), Place>,
    /// May begin, and have not yet.
    offered: BTreeSet<WorkloadId>,
    /// Are being written.
    running: BTreeSet<WorkloadId>,
    /// Of those two, the ones whose pods are going to be replaced.
    taken: BTreeSet<WorkloadId>,
    /// Are tried again after a while, by who has tried them.
    failed: BTreeSet<WorkloadId>,
    /// The configuration in force was taken back there.
    refused: BTreeSet<WorkloadId>,
}

impl Wave {
    /// Takes in where a workload stands; `is_fresh`: it may be another plan, though it stands where it did.
    pub(super) fn place(&mut self, id: &WorkloadId, stand: Stand, refused: bool, is_fresh: bool) {
        if refused {
            self.refused.insert(id.clone());
        } else {
            self.refused.remove(id);
        }
        let before = self.stands.get(id);
        if before.copied().unwrap_or(Stand::Idle) == stand && !(is_fresh && self.failed.contains(id)) {
            return;
        }
        self.clear(id);
        match stand {
            Stand::Idle => {}
            Stand::Waits { counts: false } => drop(self.stands.insert(id.clone(), stand)),
            Stand::UnderWay | Stand::Waits { counts: true } => {
                self.stands.insert(id.clone(), stand);
                self.under_way.insert(id.clone());
            }
            Stand::Next(place) => {
                self.stands.insert(id.clone(), stand);
                if place.counts {
                    self.under_way.insert(id.clone());
                }
                if self.running.contains(id) {
                    self.take(id, place);
                } else {
                    self.wait(id, place);
                }
            }
        }
    }

    fn clear(&mut self, id: &WorkloadId) {
        if let Some(Stand::Next(place)) = self.stands.remove(id) {
            self.list(place).remove(&(place.order, id.clone()));
        }
        self.under_way.remove(id);
        self.offered.remove(id);
        self.taken.remove(id);
        self.failed.remove(id);
    }

    fn list(&mut self, place: Place) -> &mut BTreeMap<(Order, WorkloadId), Place> {
        if place.injects { &mut self.injections } else { &mut self.withdrawals }
    }

    fn wait(&mut self, id: &WorkloadId, place: Place) {
        self.list(place).insert((place.order, id.clone()), place);
    }

    fn take(&mut self, id: &WorkloadId, place: Place) {
        if place.order != Order::Free && !place.counts {
            self.taken.insert(id.clone());
        }
    }

    /// How many places are taken: by those that are replacing their pods, or about to.
    fn load(&self) -> usize {
        self.under_way.len() + self.taken.len()
    }

    /// How many are replacing their pods, or being written.
    pub(super) fn in_progress(&self) -> usize {
        self.under_way.len() + self.taken.intersection(&self.running).count()
    }

    /// Whether it holds a place because its pods are being replaced.
    pub(super) fn counts(&self, id: &WorkloadId) -> bool {
        self.under_way.contains(id)
    }

    /// Those for whom others wait.
    pub(super) fn holders(&self) -> impl Iterator<Item = &WorkloadId> {
        let waits = !self.withdrawals.is_empty() || !self.injections.is_empty() && !self.is_halted();
        self.under_way.iter().filter(move |_| waits)
    }

    /// It was offered too early.
    pub(super) fn put_back(&mut self, id: &WorkloadId) {
        if let Some(Stand::Next(place)) = self.stands.get(id).copied()
            && !self.running.contains(id)
        {
            self.offered.remove(id);
            self.failed.remove(id);
            self.taken.remove(id);
            self.wait(id, place);
        }
    }

    fn has_room(&self, place: Place) -> bool {
        place.order == Order::Free || place.counts || self.load() < place.limit
    }

    /// Whether nothing more is injected, because the configuration in force broke a workload.
    pub(super) fn is_halted(&self) -> bool {
        !self.refused.is_empty()
    }

    /// Names those that may begin now and could not before.
    pub(super) fn offer(&mut self, starts: &mut BTreeSet<WorkloadId>) {
        for injects in [false, true] {
            if injects && self.is_halted() {
                return;
            }
            loop {
                let list = if injects { &self.injections } else { &self.withdrawals };
                let Some(((order, id), place)) = list.first_key_value() else { break };
                let (key, place) = ((*order, id.clone()), *place);
                if !self.has_room(place) {
                    break;
                }
                self.list(place).remove(&key);
                self.take(&key.1, place);
                self.offered.insert(key.1.clone());
                starts.insert(key.1);
            }
        }
    }

    /// Whether a workload may be written now; from then on it counts, until [`Self::end`].
    pub(super) fn begin(&mut self, id: &WorkloadId) -> bool {
        let Some(Stand::Next(place)) = self.stands.get(id).copied() else { return false };
        if self.running.contains(id) {
            return false;
        }
        let is_offered = self.offered.remove(id);
        if place.injects && self.is_halted() || !is_offered && !self.has_room(place) {
            self.taken.remove(id);
            self.failed.remove(id);
            self.wait(id, place);
            return false;
        }
        self.failed.remove(id);
        self.list(place).remove(&(place.order, id.clone()));
        self.take(id, place);
        self.running.insert(id.clone());
        true
    }

    /// A write has ended, and its answer was taken in. What still is to be written afterwards is tried again by who has tried it, after a
    /// while; what was cut off, by whoever may. `None`: none was under way; else whether it has to be tried again.
    pub(super) fn end(&mut self, id: &WorkloadId, was_cut_off: bool) -> Option<bool> {
        if !self.running.remove(id) {
            return None;
        }
        self.taken.remove(id);
        let Some(Stand::Next(place)) = self.stands.get(id).copied() else { return Some(false) };
        if was_cut_off {
            self.wait(id, place);
        } else {
            self.failed.insert(id.clone());
        }
        Some(!was_cut_off)
    }

    /// Nobody is about to begin any more: offers that were made to somebody who may not write.
    pub(super) fn recall(&mut self) {
        let waiting = std::mem::take(&mut self.offered).into_iter().chain(std::mem::take(&mut self.failed));
        for id in waiting.collect::<Vec<_>>() {
            self.taken.remove(&id);
            if let Some(Stand::Next(place)) = self.stands.get(&id).copied() {
                self.wait(&id, place);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.stands.is_empty() && self.running.is_empty() && self.refused.is_empty()
    }
}
