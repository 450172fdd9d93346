//! What the operator's HTTP servers have in common: every request has an id, a span and a place in the metrics, and what goes wrong is
//! answered by a problem document.

mod problem;
mod request;

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderValue, Method},
    middleware::Next,
    response::Response,
};
use tracing::{Instrument, Span, field::Empty};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::telemetry::{metrics::Metrics, trace};

pub use problem::Problem;
pub use request::{HEADER, is_sane};

/// A server, as it is called in metrics, and the paths that it knows: what else is asked for has one name.
#[derive(Clone, Debug)]
pub struct Observer {
    /// Where it is counted.
    pub metrics: Arc<Metrics>,
    /// The server.
    pub server: &'static str,
    /// Its routes.
    pub routes: &'static [&'static str],
}

impl Observer {
    fn route(&self, path: &str) -> &'static str {
        self.routes.iter().copied().find(|route| *route == path).unwrap_or("other")
    }
}

/// A layer around all routes of a server.
pub async fn observe(State(observer): State<Observer>, request: Request, next: Next) -> Response {
    let (method, route) = (method(request.method()), observer.route(request.uri().path()));
    let parent = trace::parent(request.headers());
    let id = request::id(request.headers(), parent.as_ref());
    let span = span(method, route, &id);
    if let Some(parent) = parent {
        // It fails only where nobody makes ids, as in tests of a part.
        span.set_parent(parent).unwrap_or_default();
    }
    let answering = observer.metrics.answering(observer.server, method, route);
    let answered = async move {
        let mut response = problem::with_instance(next.run(request).await, &id);
        if let Ok(value) = HeaderValue::try_from(&id) {
            response.headers_mut().insert(HEADER, value);
        }
        let status = response.status();
        answering.answered(status.as_u16());
        Span::current().record("http.response.status_code", i64::from(status.as_u16()));
        if status.is_server_error() {
            Span::current().record("otel.status_code", "ERROR");
        }
        tracing::debug!(method, route, status = status.as_u16(), "answered");
        response
    };
    answered.instrument(span).await
}

fn span(method: &'static str, route: &'static str, id: &str) -> Span {
    tracing::info_span!(
        parent: None,
        "request",
        otel.kind = "server",
        otel.name = format!("{method} {route}"),
        otel.status_code = Empty,
        http.request.method = method,
        http.route = route,
        http.response.status_code = Empty,
        request_id = id,
        uid = Empty,
    )
}

fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        _ => "other",
    }
}
