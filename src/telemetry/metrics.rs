//! The operator's own metrics, under the names that dashboards of other operators know (controller-runtime's) and its own.
//! No label has values without a bound: no names of objects, no namespaces.

use std::{
    borrow::Cow,
    fmt,
    task::{Context, Poll},
    time::Instant,
};

use axum::http::{Method, Request, Response};
use futures::{FutureExt, future::BoxFuture};
use kube::client::Body;
use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Metric, Registry},
};
use tower::Service;

/// What `/metrics` is served as.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Bounds of the histogram of reconciles, in seconds: from planning alone to an API server that hangs.
const BOUNDS: [f64; 9] = [0.001, 0.005, 0.025, 0.1, 0.25, 1.0, 5.0, 15.0, 60.0];

type Labels<const N: usize> = [(&'static str, &'static str); N];
type Requests = Family<[(&'static str, Cow<'static, str>); 2], Counter>;
type Seconds = Family<Labels<1>, Histogram, fn() -> Histogram>;

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

/// What is counted in the statuses of all policies, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Policies by kind and what their condition Ready is.
    pub policies: Vec<((&'static str, &'static str), i64)>,
    /// Workloads by state.
    pub workloads: Vec<(&'static str, i64)>,
    /// Whether this process leads.
    pub leads: bool,
}

/// Every metric there is.
pub struct Metrics {
    registry: Registry,
    reconciles: Family<Labels<2>, Counter>,
    errors: Family<Labels<1>, Counter>,
    seconds: Seconds,
    active: Family<Labels<1>, Gauge>,
    depth: Family<Labels<1>, Gauge>,
    adds: Family<Labels<1>, Counter>,
    retries: Family<Labels<1>, Counter>,
    leader: Family<Labels<1>, Gauge>,
    requests: Requests,
    policies: Family<Labels<2>, Gauge>,
    workloads: Family<Labels<1>, Gauge>,
    in_progress: Gauge,
    reverts: Counter,
    writes: Family<Labels<1>, Counter>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let all = &mut registry;
        let histogram: fn() -> Histogram = || Histogram::new(BOUNDS);
        Self {
            reconciles: add(
                all,
                "controller_runtime_reconcile",
                "Reconciles by what is reconciled and how they ended",
                Family::default(),
            ),
            errors: add(all, "controller_runtime_reconcile_errors", "Reconciles that failed", Family::default()),
            seconds: add(
                all,
                "controller_runtime_reconcile_time_seconds",
                "How long reconciles took",
                Seconds::new_with_constructor(histogram),
            ),
            active: add(all, "controller_runtime_active_workers", "Reconciles that run now", Family::default()),
            depth: add(all, "workqueue_depth", "Keys that are due and wait", Family::default()),
            adds: add(all, "workqueue_adds", "Keys that were put into the queue", Family::default()),
            retries: add(
                all,
                "workqueue_retries",
                "Keys that were put into the queue again because they failed",
                Family::default(),
            ),
            leader: add(all, "leader_election_master_status", "1 while this process may write", Family::default()),
            requests: add(
                all,
                "rest_client_requests",
                "Requests to the API server by method and status code",
                Family::default(),
            ),
            policies: add(
                all,
                "tracesteward_policies",
                "Policies by kind and by their condition Ready",
                Family::default(),
            ),
            workloads: add(
                all,
                "tracesteward_workloads",
                "Workloads by state, as the policies' statuses count them",
                Family::default(),
            ),
            in_progress: add(
                all,
                "tracesteward_workloads_in_progress",
                "Workloads whose rollout is under way",
                Gauge::default(),
            ),
            reverts: add(
                all,
                "tracesteward_reverts",
                "Workloads from which the settings were taken out because they broke the rollout",
                Counter::default(),
            ),
            writes: add(
                all,
                "tracesteward_workload_writes",
                "Writes of workloads by what came of them",
                Family::default(),
            ),
            registry,
        }
    }
}

fn add<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

impl Metrics {
    /// The names of controllers, known from the beginning: a rate needs a zero to start from.
    pub fn know_controllers(&self, names: &[&'static str]) {
        for name in names {
            let controller = [("controller", *name)];
            for result in [ReconcileResult::Success, ReconcileResult::RequeueAfter, ReconcileResult::Error] {
                drop(self.reconciles.get_or_create(&[("controller", *name), ("result", result.as_str())]));
            }
            drop(self.errors.get_or_create(&controller));
            drop(self.seconds.get_or_create(&controller));
            drop(self.active.get_or_create(&controller));
            drop(self.depth.get_or_create(&[("name", *name)]));
            drop(self.adds.get_or_create(&[("name", *name)]));
            drop(self.retries.get_or_create(&[("name", *name)]));
        }
        drop(self.writes.get_or_create(&[("result", WRITTEN)]));
    }

    /// A reconcile begins: it is under way until what is returned is dropped.
    pub fn reconcile(&self, controller: &'static str) -> Reconcile<'_> {
        self.active.get_or_create(&[("controller", controller)]).inc();
        Reconcile { metrics: self, controller, start: Instant::now(), result: ReconcileResult::Error }
    }

    /// A key was put into the queue.
    pub fn queued(&self, name: &'static str) {
        self.adds.get_or_create(&[("name", name)]).inc();
    }

    /// A key is tried again because it failed.
    pub fn retried(&self, name: &'static str) {
        self.retries.get_or_create(&[("name", name)]).inc();
    }

    /// So many more keys are due, or fewer.
    pub fn waiting(&self, name: &'static str, more: i64) {
        self.depth.get_or_create(&[("name", name)]).inc_by(more);
    }

    /// How many keys are due.
    pub fn depth(&self, name: &'static str) -> i64 {
        self.depth.get_or_create(&[("name", name)]).get()
    }

    /// A workload was written.
    pub fn written(&self) {
        self.writes.get_or_create(&[("result", WRITTEN)]).inc();
    }

    /// A workload was not written, for this reason.
    pub fn not_written(&self, reason: &'static str) {
        self.writes.get_or_create(&[("result", reason)]).inc();
    }

    /// A workload was taken back, because its rollout broke.
    pub fn reverted(&self) {
        self.reverts.inc();
    }

    /// So many workloads are being rolled out.
    pub fn set_in_progress(&self, workloads: usize) {
        self.in_progress.set(i64::try_from(workloads).unwrap_or(i64::MAX));
    }

    /// Counts the requests of a client that is made with this layer.
    pub fn layer<S>(&self) -> impl Fn(S) -> Counted<S> + use<S> {
        let requests = self.requests.clone();
        move |inner| Counted { inner, requests: requests.clone() }
    }

    /// The text of `/metrics`.
    ///
    /// # Errors
    /// None is known: the text is written to memory.
    pub fn text(&self, census: &Census) -> Result<String, fmt::Error> {
        for ((kind, ready), count) in &census.policies {
            self.policies.get_or_create(&[("kind", *kind), ("ready", *ready)]).set(*count);
        }
        for (state, count) in &census.workloads {
            self.workloads.get_or_create(&[("state", *state)]).set(*count);
        }
        self.leader.get_or_create(&[("name", "tracesteward")]).set(census.leads.into());
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// The result of a write that went through.
const WRITTEN: &str = "Written";

/// A reconcile under way. Dropped without a result, it has panicked or was cut off, which is an error.
#[derive(Debug)]
pub struct Reconcile<'a> {
    metrics: &'a Metrics,
    controller: &'static str,
    start: Instant,
    result: ReconcileResult,
}

impl Reconcile<'_> {
    /// How it ended.
    pub fn ended(mut self, result: ReconcileResult) {
        self.result = result;
    }
}

impl Drop for Reconcile<'_> {
    fn drop(&mut self) {
        let controller = [("controller", self.controller)];
        self.metrics.active.get_or_create(&controller).dec();
        self.metrics.seconds.get_or_create(&controller).observe(self.start.elapsed().as_secs_f64());
        let result = self.result.as_str();
        self.metrics.reconciles.get_or_create(&[("controller", self.controller), ("result", result)]).inc();
        if self.result == ReconcileResult::Error {
            self.metrics.errors.get_or_create(&controller).inc();
        }
    }
}

/// A client's service whose requests are counted.
#[derive(Clone, Debug)]
pub struct Counted<S> {
    inner: S,
    requests: Requests,
}

impl<S, B> Service<Request<Body>> for Counted<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: 'static,
    B: 'static,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let method = method(request.method());
        let requests = self.requests.clone();
        let count = move |answer: &Result<Response<B>, S::Error>| {
            let code =
                answer.as_ref().map_or(Cow::Borrowed("<error>"), |answer| answer.status().as_str().to_owned().into());
            requests.get_or_create(&[("code", code), ("method", Cow::Borrowed(method))]).inc();
        };
        self.inner.call(request).inspect(count).boxed()
    }
}

/// The methods that a client of Kubernetes uses.
fn method(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        _ => "other",
    }
}
