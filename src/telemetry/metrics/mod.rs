//! The operator's own metrics, under the names that dashboards of other operators know (controller-runtime's) and its own.
//! No label has values without a bound: no names of objects, no namespaces.

mod client;
mod reconcile;
mod server;

use std::fmt;

use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Metric, Registry},
};

pub use client::Counted;
use reconcile::Reconciles;
pub use reconcile::{Reconcile, ReconcileResult};
use server::Servers;
pub use server::{Answering, Validation};
pub(crate) use server::{REVIEWS, WEBHOOK};

/// What `/metrics` is served as.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Bounds of histograms, in seconds: from planning alone to an API server that hangs.
const BOUNDS: [f64; 9] = [0.001, 0.005, 0.025, 0.1, 0.25, 1.0, 5.0, 15.0, 60.0];

type Labels<const N: usize> = [(&'static str, &'static str); N];
type Seconds<const N: usize> = Family<Labels<N>, Histogram, fn() -> Histogram>;

/// What is counted in the statuses of all policies, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Policies by kind and what their condition Ready is.
    pub policies: Vec<((&'static str, &'static str), i64)>,
    /// Objects by kind, type of condition, and what that is.
    pub conditions: Vec<((&'static str, &'static str, &'static str), i64)>,
    /// Workloads by state.
    pub workloads: Vec<(&'static str, i64)>,
    /// When the certificate of the webhook expires, in seconds since 1970; nothing where there is none.
    pub certificate_expiry: Option<i64>,
    /// Whether this process leads.
    pub leads: bool,
}

/// Every metric there is.
pub struct Metrics {
    registry: Registry,
    reconciles: Reconciles,
    servers: Servers,
    leader: Family<Labels<1>, Gauge>,
    requests: client::Requests,
    policies: Family<Labels<2>, Gauge>,
    conditions: Family<Labels<3>, Gauge>,
    workloads: Family<Labels<1>, Gauge>,
    in_progress: Gauge,
    reverts: Counter,
    writes: Family<Labels<1>, Counter>,
    expiry: Family<Labels<1>, Gauge>,
    spans: Counter,
    lost_spans: Family<Labels<1>, Counter>,
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
        let build: Family<Labels<1>, Gauge> =
            add(all, "tracesteward_build_info", "1, with the version of the operator", Family::default());
        build.get_or_create(&[("version", env!("CARGO_PKG_VERSION"))]).set(1);
        Self {
            reconciles: Reconciles::register(all),
            servers: Servers::register(all),
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
            conditions: add(
                all,
                "tracesteward_conditions",
                "Policies and collectors by kind, type of condition and its status",
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
            expiry: add(
                all,
                "tracesteward_certificate_expiry_timestamp_seconds",
                "When the certificate that is served expires",
                Family::default(),
            ),
            spans: add(all, "tracesteward_spans_exported", "Own spans that were taken", Counter::default()),
            lost_spans: add(
                all,
                "tracesteward_spans_dropped",
                "Own spans that were dropped, and why",
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

fn seconds<const N: usize>(registry: &mut Registry, name: &str, help: &str) -> Seconds<N> {
    let histogram: fn() -> Histogram = || Histogram::new(BOUNDS);
    add(registry, name, help, Seconds::new_with_constructor(histogram))
}

impl Metrics {
    /// The names of controllers, known from the beginning: a rate needs a zero to start from. At most `most` reconciles run at one time.
    pub fn know_controllers(&self, names: &[&'static str], most: i64) {
        self.reconciles.know(names, most);
        self.servers.know();
        drop(self.writes.get_or_create(&[("result", WRITTEN)]));
        for reason in ["queue_full", "not_taken"] {
            drop(self.lost_spans.get_or_create(&[("reason", reason)]));
        }
    }

    /// A reconcile begins: it is under way until what is returned is dropped.
    pub fn reconcile(&self, controller: &'static str) -> Reconcile<'_> {
        self.reconciles.begin(controller)
    }

    /// A reconcile has panicked.
    pub fn panicked(&self, controller: &'static str) {
        self.reconciles.panicked(controller);
    }

    /// A reconcile was given up, because it took too long.
    pub fn timed_out(&self, controller: &'static str) {
        self.reconciles.timed_out(controller);
    }

    /// A key was put into the queue.
    pub fn queued(&self, name: &'static str) {
        self.reconciles.queued(name);
    }

    /// A key was taken out of the queue, so long after it was due.
    pub fn waited(&self, name: &'static str, time: std::time::Duration) {
        self.reconciles.waited(name, time);
    }

    /// A key is tried again because it failed.
    pub fn retried(&self, name: &'static str) {
        self.reconciles.retried(name);
    }

    /// So many more keys are due, or fewer.
    pub fn waiting(&self, name: &'static str, more: i64) {
        self.reconciles.waiting(name, more);
    }

    /// How many keys are due.
    pub fn depth(&self, name: &'static str) -> i64 {
        self.reconciles.depth(name)
    }

    /// A server answers a request: it is under way until what is returned is dropped. `route` is one that is known, or `other`.
    pub fn answering(&self, server: &'static str, method: &'static str, route: &'static str) -> Answering<'_> {
        self.servers.begin(server, method, route)
    }

    /// The webhook has panicked over a request.
    pub fn webhook_panicked(&self, route: &'static str) {
        self.servers.panicked(route);
    }

    /// The webhook has judged an object of this kind.
    pub fn validated(&self, kind: &str, result: Validation) {
        self.servers.validated(kind, result);
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

    /// So many own spans were taken by who collects them.
    pub fn spans_exported(&self, spans: u64) {
        self.spans.inc_by(spans);
    }

    /// So many own spans were dropped, for this reason.
    pub fn spans_dropped(&self, reason: &'static str, spans: u64) {
        self.lost_spans.get_or_create(&[("reason", reason)]).inc_by(spans);
    }

    /// Counts the requests of a client that is made with this layer, and makes spans of those that belong to a trace.
    pub fn layer<S>(&self) -> impl Fn(S) -> Counted<S> + use<S> {
        let requests = self.requests.clone();
        move |inner| Counted::new(inner, requests.clone())
    }

    /// The text of `/metrics`.
    ///
    /// # Errors
    /// None is known: the text is written to memory.
    pub fn text(&self, census: &Census) -> Result<String, fmt::Error> {
        for ((kind, ready), count) in &census.policies {
            self.policies.get_or_create(&[("kind", *kind), ("ready", *ready)]).set(*count);
        }
        for ((kind, condition, status), count) in &census.conditions {
            let labels = [("kind", *kind), ("condition", *condition), ("status", *status)];
            self.conditions.get_or_create(&labels).set(*count);
        }
        for (state, count) in &census.workloads {
            self.workloads.get_or_create(&[("state", *state)]).set(*count);
        }
        let certificate = [("certificate", "webhook")];
        match census.certificate_expiry {
            Some(expiry) => drop(self.expiry.get_or_create(&certificate).set(expiry)),
            None => drop(self.expiry.remove(&certificate)),
        }
        self.leader.get_or_create(&[("name", "tracesteward")]).set(census.leads.into());
        self.reconciles.look();
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// The result of a write that went through.
const WRITTEN: &str = "Written";
