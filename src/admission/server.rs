//! HTTPS for the API server: bounded in connections, bytes and time.

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Request as HttpRequest, State},
    http::{Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use serde_json::{Value, json};
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

/// The largest request: an object and its predecessor, each as large as the API server takes them, and some more.
const BODY: usize = 7 << 20;
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
    pub async fn run(self, own_namespace: Option<String>, injector: Arc<dyn Injector>, stop: impl Future<Output = ()>) {
        let (stopping, _) = watch::channel(false);
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let mut connections = JoinSet::new();
        let routes = routes(own_namespace, injector);
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
}

fn routes(own_namespace: Option<String>, injector: Arc<dyn Injector>) -> Router {
    Router::new()
        .route("/validate", post(validate).fallback(method))
        .route("/repair", post(repair).fallback(method))
        .route("/inject", post(inject).fallback(method))
        .fallback(unknown)
        .with_state(Arc::new(Shared { room: Semaphore::new(BODIES as usize), own_namespace, injector }))
}

async fn validate(State(shared): State<Arc<Shared>>, request: HttpRequest) -> Response {
    answer(&shared, request, |request| request.validate(shared.own_namespace.as_deref())).await
}

async fn repair(State(shared): State<Arc<Shared>>, request: HttpRequest) -> Response {
    answer(&shared, request, Request::repair).await
}

async fn inject(State(shared): State<Arc<Shared>>, request: HttpRequest) -> Response {
    answer(&shared, request, |request| request.inject(&*shared.injector)).await
}

async fn method(method: Method) -> Response {
    Problem(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", format!("{method} is not served here: use POST"))
        .into_response()
}

async fn unknown() -> Response {
    Problem(StatusCode::NOT_FOUND, "NotFound", "there are /validate, /repair and /inject".to_owned()).into_response()
}

async fn answer(shared: &Shared, request: HttpRequest, judge: impl FnOnce(&Request) -> Value) -> Response {
    match reviewed(&shared.room, request).await {
        Ok(request) => axum::Json(judge(&request)).into_response(),
        Err(problem) => {
            tracing::debug!(code = problem.1, detail = problem.2, "a request to the webhook was not answered");
            problem.into_response()
        }
    }
}

async fn reviewed(room: &Semaphore, request: HttpRequest) -> Result<Request, Problem> {
    let length = request.headers().get(header::CONTENT_LENGTH);
    // Without a length it may become as large as any.
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok()).unwrap_or(BODY);
    if length > BODY {
        return Err(Problem::too_large());
    }
    let share = u32::try_from(length.div_ceil(1024)).unwrap_or(BODIES).clamp(1, BODIES);
    let busy = |_| Problem(StatusCode::SERVICE_UNAVAILABLE, "Busy", "too many requests at once".to_owned());
    let Ok(_place) = timeout(READ, room.acquire_many(share)).await.map_err(busy)? else {
        return Err(Problem(StatusCode::SERVICE_UNAVAILABLE, "Stopping", "the operator is stopping".to_owned()));
    };
    let slow = |_| Problem(StatusCode::REQUEST_TIMEOUT, "Timeout", "the body did not arrive in time".to_owned());
    let body: Bytes =
        timeout(READ, to_bytes(request.into_body(), BODY)).await.map_err(slow)?.map_err(|_| Problem::too_large())?;
    let malformed = |error: ReviewError| Problem(StatusCode::BAD_REQUEST, "MalformedReview", error.to_string());
    Request::read(&body).map_err(malformed)
}

/// A problem document (RFC 9457): status, code, what is wrong.
struct Problem(StatusCode, &'static str, String);

impl Problem {
    fn too_large() -> Self {
        Self(StatusCode::PAYLOAD_TOO_LARGE, "BodyTooLarge", format!("the body has more than {} MiB", BODY >> 20))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self(status, code, detail) = self;
        let title = status.canonical_reason().unwrap_or_default();
        let body =
            json!({"type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail, "code": code});
        (status, [(header::CONTENT_TYPE, "application/problem+json")], Body::from(body.to_string())).into_response()
    }
}
