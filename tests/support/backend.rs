//! An OTLP/HTTP backend of our own: remembers every byte that a collector sent to it.

use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::routing::post;
use prost::Message;

use super::otlp::{ExportMetricsServiceRequest, ExportTraceServiceRequest, ResourceSpans, Span};

/// One request.
pub(crate) struct Received {
    /// The path: which signal.
    pub(crate) path: String,
    /// The headers.
    pub(crate) headers: HeaderMap,
    /// The body, decompressed.
    pub(crate) body: Vec<u8>,
    /// What it was answered: 401 where a token is demanded and was not sent.
    pub(crate) status: StatusCode,
}

#[derive(Default)]
struct Shared {
    authorization: Option<String>,
    received: Mutex<Vec<Received>>,
}

/// A backend that listens on loopback while it lives.
pub(crate) struct Backend {
    port: u16,
    shared: Arc<Shared>,
    server: tokio::task::JoinHandle<()>,
}

impl Backend {
    /// Starts a backend that takes everything.
    pub(crate) async fn start() -> Self {
        Self::listen(None).await
    }

    /// Starts a backend that refuses requests without this `authorization` header.
    pub(crate) async fn demanding(authorization: &str) -> Self {
        Self::listen(Some(authorization.to_owned())).await
    }

    async fn listen(authorization: Option<String>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port of loopback");
        let port = listener.local_addr().expect("a bound address").port();
        let shared = Arc::new(Shared { authorization, ..Shared::default() });
        let router = Router::new()
            .route("/v1/traces", post(receive))
            .route("/v1/metrics", post(receive))
            .layer(DefaultBodyLimit::disable())
            .with_state(Arc::clone(&shared));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.expect("the backend serves") });
        Self { port, shared, server }
    }

    /// The endpoint to export to, over HTTP.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Looks at everything that arrived.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&[Received]) -> T) -> T {
        look(&self.shared.received.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What was taken as spans, decoded.
    pub(crate) fn resource_spans(&self) -> Vec<ResourceSpans> {
        let decode = |body: &[u8]| ExportTraceServiceRequest::decode(body).expect("spans in protobuf").resource_spans;
        self.taken("/v1/traces", decode)
    }

    /// Every span that was taken.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let scopes = self.resource_spans().into_iter().flat_map(|resource| resource.scope_spans);
        scopes.flat_map(|scope| scope.spans).collect()
    }

    /// What was taken as metrics, decoded.
    pub(crate) fn metrics(&self) -> Vec<opentelemetry_proto::tonic::metrics::v1::ResourceMetrics> {
        let decode = |body: &[u8]| ExportMetricsServiceRequest::decode(body).expect("metrics in protobuf");
        self.taken("/v1/metrics", |body| decode(body).resource_metrics)
    }

    fn taken<T>(&self, path: &str, decode: impl Fn(&[u8]) -> Vec<T>) -> Vec<T> {
        self.with(|received| {
            let taken = received.iter().filter(|request| request.path == path && request.status == StatusCode::OK);
            taken.flat_map(|request| decode(&request.body)).collect()
        })
    }

    /// Whether these bytes are anywhere in what arrived, headers apart.
    pub(crate) fn saw(&self, needle: &[u8]) -> bool {
        let holds = |body: &[u8]| body.windows(needle.len()).any(|window| window == needle);
        self.with(|received| received.iter().any(|request| holds(&request.body)))
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn receive(
    State(shared): State<Arc<Shared>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, [(header::HeaderName, &'static str); 1]) {
    let mut plain = Vec::new();
    if headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding == "gzip") {
        flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut plain).expect("gzip");
    } else {
        plain.extend_from_slice(&body);
    }
    let sent = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let allowed = shared.authorization.is_none() || shared.authorization.as_deref() == sent;
    let status = if allowed { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
    let received = Received { path: uri.path().to_owned(), headers, body: plain, status };
    shared.received.lock().unwrap_or_else(PoisonError::into_inner).push(received);
    (status, [(header::CONTENT_TYPE, "application/x-protobuf")])
}
