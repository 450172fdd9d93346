//! HTTPS for the API server: bounded in connections, bytes and time.

use std::{
    future::Future,
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    body::{Bytes, to_bytes},
    extract::{Request as HttpRequest, State},
    http::{StatusCode, header},
    middleware,
    routing::post,
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use serde_json::Value;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{self, ServerConfig},
};

use super::{
    Injector,
    certificates::{Certificates, provider},
    review::{Request, ReviewError},
};
use crate::{
    http::{Observer, Problem, is_sane, observe},
    telemetry::metrics::{Metrics, REVIEWS, Validation, WEBHOOK},
};

/// The largest request: an object and its predecessor, each as large as the API server takes them, and some more.
const BODY: usize = 7 << 20;
/// What it is asked.
const VALIDATE: &str = REVIEWS[0];
const REPAIR: &str = REVIEWS[1];
const INJECT: &str = REVIEWS[2];
/// How many KiB of bodies are in memory at once.
const BODIES: u32 = 32 << 10;
/// Connections at once. The API server keeps a few open.
const CONNECTIONS: usize = 256;
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a body may take, and how long a request may wait for its turn: longer than the API server waits.
const READ: Duration = Duration::from_secs(10);
/// How long a connection may be idle: longer than the API server keeps one, so that it is never closed under a request.
const IDLE: Duration = Duration::from_secs(120);
/// How long requests may take that are under way when the process is stopped.
const DRAIN: Duration = Duration::from_secs(5);

/// Why the webhook cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is taken, or none of this machine.
    #[error("cannot serve the webhook on {0}: {1}; give another --webhook-address, or an empty one")]
    Bind(SocketAddr, std::io::Error),
    /// TLS cannot be set up.
    #[error("cannot serve TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// A server that is bound, and not yet running.
pub struct Server {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Server {
    /// Binds the address, so that a port in use is an error at start and not a silence later.
    ///
    /// # Errors
    /// See [`ServeError`].
    pub async fn bind(address: SocketAddr, certificates: Arc<Certificates>) -> Result<Self, ServeError> {
        let listener = TcpListener::bind(address).await.map_err(|error| ServeError::Bind(address, error))?;
        // TLS 1.2 and 1.3 are all that rustls has.
        let config = ServerConfig::builder_with_provider(Arc::new(provider())).with_safe_default_protocol_versions()?;
        let mut config = config.with_no_client_auth().with_cert_resolver(certificates);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { listener, acceptor: TlsAcceptor::from(Arc::new(config)) })
    }

    /// Serves until `stop` resolves, then lets requests finish.
    pub async fn run(
        self,
        own_namespace: Option<String>,
        injector: Arc<dyn Injector>,
        metrics: Arc<Metrics>,
        stop: impl Future<Output = ()>,
    ) {
        let (stopping, _) = watch::channel(false);
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let mut connections = JoinSet::new();
        let routes = routes(own_namespace, injector, metrics);
        let mut stop = std::pin::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => break,
                Some(_) = connections.join_next() => {}
                Some((stream, place)) = self.accept(&places) => {
                    let connection = connection(self.acceptor.clone(), stream, routes.clone(), stopping.subscribe());
                    connections.spawn(async move {
                        connection.await;
                        drop(place);
                    });
                }
            }
        }
        stopping.send_replace(true);
        drop(self.listener);
        let drained = async { while connections.join_next().await.is_some() {} };
        drop(timeout(DRAIN, drained).await);
    }

    async fn accept(&self, places: &Arc<Semaphore>) -> Option<(TcpStream, OwnedSemaphorePermit)> {
        let place = Arc::clone(places).acquire_owned().await.ok()?;
        match self.listener.accept().await {
            Ok((stream, _)) => Some((stream, place)),
            Err(error) => {
                // Too many open files, mostly: it passes.
                tracing::warn!(%error, "the webhook could not accept a connection");
                tokio::time::sleep(Duration::from_millis(200)).await;
                None
            }
        }
    }
}

async fn connection(acceptor: TlsAcceptor, stream: TcpStream, routes: Router, mut stopping: watch::Receiver<bool>) {
    let stream = match timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "no TLS connection to the webhook came about"),
        Err(_) => return tracing::debug!("a TLS handshake with the webhook took too long"),
    };
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(IDLE).max_buf_size(64 << 10);
    let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    let mut connection = std::pin::pin!(connection);
    let stop = async { drop(stopping.wait_for(|stopping| *stopping).await) };
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to the webhook broke");
    }
}

/// What requests share.
struct Shared {
    room: Semaphore,
    own_namespace: Option<String>,
    injector: Arc<dyn Injector>,
    metrics: Arc<Metrics>,
}

fn routes(own_namespace: Option<String>, injector: Arc<dyn Injector>, metrics: Arc<Metrics>) -> Router {
    let observer = Observer { metrics: Arc::clone(&metrics), server: WEBHOOK, routes: &REVIEWS };
    Router::new()
        .route(VALIDATE, post(validate))
        .route(REPAIR, post(repair))
        .route(INJECT, post(inject))
        .method_not_allowed_fallback(async || Problem::method_not_allowed("POST"))
        .fallback(async || Problem::not_found(&REVIEWS))
        .layer(middleware::from_fn_with_state(observer, observe))
        .with_state(Arc::new(Shared { room: Semaphore::new(BODIES as usize), own_namespace, injector, metrics }))
}

async fn validate(State(shared): State<Arc<Shared>>, request: HttpRequest) -> Result<axum::Json<Value>, Problem> {
    answer(&shared, VALIDATE, request, |request| {
        let (said, answer) = request.validate(shared.own_namespace.as_deref());
        shared.metrics.validated(request.kind(), said);
        if said == Validation::Refused {
            tracing::debug!(kind = request.kind(), namespace = request.namespace(), "refused");
        }
        answer
    })
    .await
}

async fn repair(State(shared): State<Arc<Shared>>, request: HttpRequest) -> Result<axum::Json<Value>, Problem> {
    answer(&shared, REPAIR, request, Request::repair).await
}

async fn inject(State(shared): State<Arc<Shared>>, request: HttpRequest) -> Result<axum::Json<Value>, Problem> {
    answer(&shared, INJECT, request, |request| request.inject(&*shared.injector)).await
}

async fn answer(
    shared: &Shared,
    route: &'static str,
    request: HttpRequest,
    judge: impl FnOnce(&Request) -> Value,
) -> Result<axum::Json<Value>, Problem> {
    let request = reviewed(&shared.room, request).await?;
    if is_sane(request.uid()) {
        tracing::Span::current().record("uid", request.uid());
    }
    // What is asked about changes nothing: a panic leaves everything as it was.
    let judged = catch_unwind(AssertUnwindSafe(|| judge(&request)));
    judged.map(axum::Json).map_err(|_| {
        shared.metrics.webhook_panicked(route);
        tracing::error!(route, "the webhook panicked");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "Panic", "a fault of the operator; its log says more")
    })
}

async fn reviewed(room: &Semaphore, request: HttpRequest) -> Result<Request, Problem> {
    let length = request.headers().get(header::CONTENT_LENGTH);
    // Without a length it may become as large as any.
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok()).unwrap_or(BODY);
    if length > BODY {
        return Err(too_large());
    }
    let share = u32::try_from(length.div_ceil(1024)).unwrap_or(BODIES).clamp(1, BODIES);
    let busy = |_| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Busy", "too many requests at once");
    let Ok(_place) = timeout(READ, room.acquire_many(share)).await.map_err(busy)? else {
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Stopping", "the operator is stopping"));
    };
    let slow = |_| Problem::new(StatusCode::REQUEST_TIMEOUT, "Timeout", "the body did not arrive in time");
    let body: Bytes =
        timeout(READ, to_bytes(request.into_body(), BODY)).await.map_err(slow)?.map_err(|_| too_large())?;
    let malformed = |error: ReviewError| Problem::new(StatusCode::BAD_REQUEST, "MalformedReview", error.to_string());
    Request::read(&body).map_err(malformed)
}

fn too_large() -> Problem {
    let detail = format!("the body has more than {} MiB", BODY >> 20);
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "BodyTooLarge", detail)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use serde_json::json;
    use tower::ServiceExt;

    use super::*;
    use crate::telemetry::metrics::Census;

    struct Panicking;

    impl Injector for Panicking {
        fn inject(&self, _: &str, _: &Value) -> Vec<Value> {
            panic!("a fault")
        }
    }

    #[tokio::test]
    async fn a_panic_is_answered_and_counted_and_ends_nothing() {
        let metrics = Arc::new(Metrics::default());
        let routes = routes(None, Arc::new(Panicking), Arc::clone(&metrics));
        let review = json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": {"uid": "u", "kind": {"group": "", "kind": "Pod"}, "operation": "CREATE", "namespace": "team", "object": {}},
        });
        for (path, status) in [(INJECT, 500), (INJECT, 500), (REPAIR, 200)] {
            let request = HttpRequest::post(path).body(Body::from(review.to_string())).unwrap();
            let answer = routes.clone().oneshot(request).await.unwrap();
            assert_eq!(answer.status(), status, "{path}");
            if status == 500 {
                let body: Value = serde_json::from_slice(&to_bytes(answer.into_body(), BODY).await.unwrap()).unwrap();
                assert_eq!((&body["code"], body["instance"].is_string()), (&json!("Panic"), true), "{body}");
            }
        }
        let text = metrics.text(&Census::default()).unwrap();
        for line in [
            "controller_runtime_webhook_panics_total{webhook=\"/inject\"} 2\n",
            "controller_runtime_webhook_requests_total{code=\"500\",webhook=\"/inject\"} 2\n",
            "controller_runtime_webhook_requests_in_flight{webhook=\"/inject\"} 0\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
    }
}
