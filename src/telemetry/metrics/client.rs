//! Requests to the API server: counted, and told whose they are.

use std::{
    borrow::Cow,
    task::{Context, Poll},
};

use axum::http::{Method, Request, Response};
use futures::{FutureExt, future::BoxFuture};
use kube::client::Body;
use opentelemetry::{Context as OtelContext, trace::TraceContextExt};
use prometheus_client::metrics::{counter::Counter, family::Family};
use tower::Service;
use tracing::{Instrument, Span, field::Empty};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::telemetry::trace;

pub(super) type Requests = Family<[(&'static str, Cow<'static, str>); 2], Counter>;

/// A client's service whose requests are counted.
#[derive(Clone, Debug)]
pub struct Counted<S> {
    inner: S,
    requests: Requests,
}

impl<S> Counted<S> {
    pub(super) fn new(inner: S, requests: Requests) -> Self {
        Self { inner, requests }
    }
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

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let method = method(request.method());
        let requests = self.requests.clone();
        let span = span(method, &request);
        if !span.is_none() {
            trace::pass_on(&span.context(), request.headers_mut());
        }
        let seen = span.clone();
        let count = move |answer: &Result<Response<B>, S::Error>| {
            let status = answer.as_ref().map(|answer| answer.status().as_u16()).ok();
            let code = status.map_or(Cow::Borrowed("<error>"), |status| status.to_string().into());
            requests.get_or_create(&[("code", code), ("method", Cow::Borrowed(method))]).inc();
            if let Some(status) = status {
                seen.record("http.response.status_code", i64::from(status));
            }
            if status.is_none_or(|status| status >= 400) {
                seen.record("otel.status_code", "ERROR");
            }
        };
        let answer = span.in_scope(|| self.inner.call(request));
        answer.inspect(count).instrument(span).boxed()
    }
}

/// A span within what is under way; none for a watch or the Lease, which nobody has asked for and which go on for ever.
fn span(method: &'static str, request: &Request<Body>) -> Span {
    let is_asked_for = OtelContext::map_current(|context| context.span().span_context().is_valid());
    if !is_asked_for {
        return Span::none();
    }
    tracing::info_span!(
        "api server",
        otel.kind = "client",
        otel.name = method,
        otel.status_code = Empty,
        http.request.method = method,
        http.response.status_code = Empty,
        url.path = request.uri().path(),
    )
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
