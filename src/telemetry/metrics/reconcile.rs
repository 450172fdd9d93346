//! Reconciles and the queue before them, in the words of controller-runtime.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::{Labels, Seconds, add, seconds};

type Gauge64 = Gauge<f64, std::sync::atomic::AtomicU64>;

/// How a reconcile has ended, in the words of controller-runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReconcileResult {
    /// Nothing is left to do.
    Success,
    /// It is looked at again after some time.
    RequeueAfter,
    /// It is tried again.
    Error,
}

impl ReconcileResult {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::RequeueAfter => "requeue_after",
            Self::Error => "error",
        }
    }
}

pub(super) struct Reconciles {
    total: Family<Labels<2>, Counter>,
    errors: Family<Labels<1>, Counter>,
    panics: Family<Labels<1>, Counter>,
    timeouts: Family<Labels<1>, Counter>,
    time: Seconds<1>,
    active: Family<Labels<1>, Gauge>,
    most: Family<Labels<1>, Gauge>,
    depth: Family<Labels<1>, Gauge>,
    adds: Family<Labels<1>, Counter>,
    retries: Family<Labels<1>, Counter>,
    waited: Seconds<1>,
    worked: Seconds<1>,
    unfinished: Family<Labels<1>, Gauge64>,
    longest: Family<Labels<1>, Gauge64>,
    running: Mutex<Running>,
}

/// Since when reconciles run, by number.
#[derive(Default)]
struct Running {
    number: u64,
    since: HashMap<u64, (&'static str, Instant)>,
    /// Every controller that was heard of.
    names: BTreeSet<&'static str>,
}

impl Reconciles {
    pub(super) fn register(all: &mut Registry) -> Self {
        Self {
            total: add(
                all,
                "controller_runtime_reconcile",
                "Reconciles by what is reconciled and how they ended",
                Family::default(),
            ),
            errors: add(all, "controller_runtime_reconcile_errors", "Reconciles that failed", Family::default()),
            panics: add(all, "controller_runtime_reconcile_panics", "Reconciles that panicked", Family::default()),
            timeouts: add(
                all,
                "controller_runtime_reconcile_timeouts",
                "Reconciles that were given up because they took too long",
                Family::default(),
            ),
            time: seconds(all, "controller_runtime_reconcile_time_seconds", "How long reconciles took"),
            active: add(all, "controller_runtime_active_workers", "Reconciles that run now", Family::default()),
            most: add(
                all,
                "controller_runtime_max_concurrent_reconciles",
                "Reconciles that can run at one time; all controllers share them",
                Family::default(),
            ),
            depth: add(all, "workqueue_depth", "Keys that are due and wait", Family::default()),
            adds: add(all, "workqueue_adds", "Keys that were put into the queue", Family::default()),
            retries: add(
                all,
                "workqueue_retries",
                "Keys that were put into the queue again because they failed",
                Family::default(),
            ),
            waited: seconds(all, "workqueue_queue_duration_seconds", "How long keys that were due have waited"),
            worked: seconds(all, "workqueue_work_duration_seconds", "How long keys were worked on"),
            unfinished: add(
                all,
                "workqueue_unfinished_work_seconds",
                "For how long keys are being worked on, all together",
                Family::default(),
            ),
            longest: add(
                all,
                "workqueue_longest_running_processor_seconds",
                "For how long the oldest of them is being worked on",
                Family::default(),
            ),
            running: Mutex::default(),
        }
    }

    pub(super) fn know(&self, names: &[&'static str], most: i64) {
        self.running().names.extend(names);
        for name in names {
            let (controller, queue) = ([("controller", *name)], [("name", *name)]);
            for result in [ReconcileResult::Success, ReconcileResult::RequeueAfter, ReconcileResult::Error] {
                drop(self.total.get_or_create(&[("controller", *name), ("result", result.as_str())]));
            }
            for counter in [&self.errors, &self.panics, &self.timeouts] {
                drop(counter.get_or_create(&controller));
            }
            drop(self.time.get_or_create(&controller));
            drop(self.active.get_or_create(&controller));
            self.most.get_or_create(&controller).set(most);
            drop(self.depth.get_or_create(&queue));
            for counter in [&self.adds, &self.retries] {
                drop(counter.get_or_create(&queue));
            }
            for histogram in [&self.waited, &self.worked] {
                drop(histogram.get_or_create(&queue));
            }
            for gauge in [&self.unfinished, &self.longest] {
                drop(gauge.get_or_create(&queue));
            }
        }
    }

    pub(super) fn begin(&self, controller: &'static str) -> Reconcile<'_> {
        self.active.get_or_create(&[("controller", controller)]).inc();
        let start = Instant::now();
        let mut running = self.running();
        running.number += 1;
        let number = running.number;
        running.names.insert(controller);
        running.since.insert(number, (controller, start));
        Reconcile { reconciles: self, controller, number, start, result: ReconcileResult::Error }
    }

    pub(super) fn panicked(&self, controller: &'static str) {
        self.panics.get_or_create(&[("controller", controller)]).inc();
    }

    pub(super) fn timed_out(&self, controller: &'static str) {
        self.timeouts.get_or_create(&[("controller", controller)]).inc();
    }

    pub(super) fn queued(&self, name: &'static str) {
        self.adds.get_or_create(&[("name", name)]).inc();
    }

    pub(super) fn waited(&self, name: &'static str, time: Duration) {
        self.waited.get_or_create(&[("name", name)]).observe(time.as_secs_f64());
    }

    pub(super) fn retried(&self, name: &'static str) {
        self.retries.get_or_create(&[("name", name)]).inc();
    }

    pub(super) fn waiting(&self, name: &'static str, more: i64) {
        self.depth.get_or_create(&[("name", name)]).inc_by(more);
    }

    pub(super) fn depth(&self, name: &'static str) -> i64 {
        self.depth.get_or_create(&[("name", name)]).get()
    }

    /// Measures what is under way, which nothing but a look can.
    pub(super) fn look(&self) {
        let mut ages: HashMap<&'static str, (f64, f64)> = HashMap::new();
        let running = self.running();
        for (name, since) in running.since.values() {
            let age = since.elapsed().as_secs_f64();
            let (sum, longest) = ages.entry(name).or_default();
            *sum += age;
            *longest = longest.max(age);
        }
        for name in &running.names {
            let (sum, longest) = ages.get(name).copied().unwrap_or_default();
            self.unfinished.get_or_create(&[("name", *name)]).set(sum);
            self.longest.get_or_create(&[("name", *name)]).set(longest);
        }
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reconcile under way. Dropped without a result, it has panicked or was cut off, which is an error.
pub struct Reconcile<'a> {
    reconciles: &'a Reconciles,
    controller: &'static str,
    number: u64,
    start: Instant,
    result: ReconcileResult,
}

impl std::fmt::Debug for Reconcile<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reconcile").field("controller", &self.controller).finish_non_exhaustive()
    }
}

impl Reconcile<'_> {
    /// How it ended.
    pub fn ended(mut self, result: ReconcileResult) {
        self.result = result;
    }
}

impl Drop for Reconcile<'_> {
    fn drop(&mut self) {
        let all = self.reconciles;
        let controller = [("controller", self.controller)];
        let time = self.start.elapsed().as_secs_f64();
        all.running().since.remove(&self.number);
        all.active.get_or_create(&controller).dec();
        all.time.get_or_create(&controller).observe(time);
        all.worked.get_or_create(&[("name", self.controller)]).observe(time);
        let result = self.result.as_str();
        all.total.get_or_create(&[("controller", self.controller), ("result", result)]).inc();
        if self.result == ReconcileResult::Error {
            all.errors.get_or_create(&controller).inc();
        }
    }
}
