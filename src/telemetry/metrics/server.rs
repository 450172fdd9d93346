//! Requests that the operator's own servers answer.

use std::{borrow::Cow, time::Instant};

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::{Labels, Seconds, add, seconds};

type Codes<const N: usize> = Family<[(&'static str, Cow<'static, str>); N], Counter>;

/// The server of the webhook, whose requests controller-runtime has names for.
pub(crate) const WEBHOOK: &str = "webhook";
/// What the webhook is asked.
pub(crate) const REVIEWS: [&str; 3] = ["/validate", "/repair", "/inject"];
/// What is judged.
const KINDS: [&str; 3] = ["TracingPolicy", "ClusterTracingPolicy", "TracingCollector"];

/// What the webhook says about an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validation {
    /// Nothing.
    Valid,
    /// Warnings.
    Warned,
    /// That it is not taken.
    Refused,
}

impl Validation {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Warned => "warned",
            Self::Refused => "refused",
        }
    }
}

pub(super) struct Servers {
    requests: Codes<4>,
    time: Seconds<3>,
    in_flight: Family<Labels<1>, Gauge>,
    reviews: Codes<2>,
    latency: Seconds<1>,
    reviews_in_flight: Family<Labels<1>, Gauge>,
    panics: Family<Labels<1>, Counter>,
    validations: Family<Labels<2>, Counter>,
}

impl Servers {
    pub(super) fn register(all: &mut Registry) -> Self {
        Self {
            requests: add(
                all,
                "http_requests",
                "HTTP requests by server, method, route and status code",
                Family::default(),
            ),
            time: seconds(all, "http_request_duration_seconds", "How long HTTP requests took to be answered"),
            in_flight: add(all, "http_requests_in_flight", "HTTP requests that are being answered", Family::default()),
            reviews: add(
                all,
                "controller_runtime_webhook_requests",
                "Requests to the webhook by path and status code",
                Family::default(),
            ),
            latency: seconds(
                all,
                "controller_runtime_webhook_latency_seconds",
                "How long requests to the webhook took to be answered",
            ),
            reviews_in_flight: add(
                all,
                "controller_runtime_webhook_requests_in_flight",
                "Requests to the webhook that are being answered",
                Family::default(),
            ),
            panics: add(
                all,
                "controller_runtime_webhook_panics",
                "Requests to the webhook that it has panicked over",
                Family::default(),
            ),
            validations: add(
                all,
                "tracesteward_validations",
                "Objects that the webhook has judged, by kind and what it said",
                Family::default(),
            ),
        }
    }

    pub(super) fn know(&self) {
        for server in ["http", WEBHOOK] {
            drop(self.in_flight.get_or_create(&[("server", server)]));
        }
        for route in REVIEWS {
            let webhook = [("webhook", route)];
            drop(self.reviews.get_or_create(&[("code", "200".into()), ("webhook", route.into())]));
            drop(self.latency.get_or_create(&webhook));
            drop(self.reviews_in_flight.get_or_create(&webhook));
            drop(self.panics.get_or_create(&webhook));
        }
        for kind in KINDS {
            for result in [Validation::Valid, Validation::Warned, Validation::Refused] {
                drop(self.validations.get_or_create(&[("kind", kind), ("result", result.as_str())]));
            }
        }
    }

    pub(super) fn begin(&self, server: &'static str, method: &'static str, route: &'static str) -> Answering<'_> {
        let is_review = server == WEBHOOK && REVIEWS.contains(&route);
        self.in_flight.get_or_create(&[("server", server)]).inc();
        if is_review {
            self.reviews_in_flight.get_or_create(&[("webhook", route)]).inc();
        }
        Answering { servers: self, server, method, route, is_review, start: Instant::now(), status: None }
    }

    pub(super) fn panicked(&self, route: &'static str) {
        self.panics.get_or_create(&[("webhook", route)]).inc();
    }

    pub(super) fn validated(&self, kind: &str, result: Validation) {
        let kind = KINDS.into_iter().find(|known| *known == kind).unwrap_or("other");
        self.validations.get_or_create(&[("kind", kind), ("result", result.as_str())]).inc();
    }
}

/// A request that is being answered. Dropped without an answer, its sender has gone before there was one.
pub struct Answering<'a> {
    servers: &'a Servers,
    server: &'static str,
    method: &'static str,
    route: &'static str,
    is_review: bool,
    start: Instant,
    status: Option<u16>,
}

impl std::fmt::Debug for Answering<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answering").field("route", &self.route).finish_non_exhaustive()
    }
}

impl Answering<'_> {
    /// It was answered with this status.
    pub fn answered(mut self, status: u16) {
        self.status = Some(status);
    }
}

impl Drop for Answering<'_> {
    fn drop(&mut self) {
        let Self { servers, server, method, route, .. } = *self;
        let time = self.start.elapsed().as_secs_f64();
        let code = self.status.map_or(Cow::Borrowed("none"), |status| status.to_string().into());
        servers.in_flight.get_or_create(&[("server", server)]).dec();
        servers.time.get_or_create(&[("server", server), ("method", method), ("route", route)]).observe(time);
        let labels =
            [("server", server.into()), ("method", method.into()), ("route", route.into()), ("code", code.clone())];
        servers.requests.get_or_create(&labels).inc();
        if self.is_review {
            servers.reviews_in_flight.get_or_create(&[("webhook", route)]).dec();
            servers.latency.get_or_create(&[("webhook", route)]).observe(time);
            servers.reviews.get_or_create(&[("code", code), ("webhook", route.into())]).inc();
        }
    }
}
