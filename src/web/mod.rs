//! The probes: `/healthz` (and `/livez`) says that the process is alive, `/readyz` names each thing that it needs. `/metrics`, and
//! `/log-level`, which can be changed from within the pod.

mod level;

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::get,
};
use kube::Client;
use serde::Serialize;
use serde_json::json;
use tokio::net::TcpListener;

use crate::{
    controller::Context,
    http::{Observer, Problem, observe},
    telemetry::{level::LogLevel, metrics},
};

/// What is served.
const ROUTES: [&str; 5] = ["/healthz", "/livez", "/readyz", "/metrics", "/log-level"];

/// How long the API server has to answer a probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

/// What the probes look at.
#[derive(Clone)]
struct Probes {
    context: Arc<Context>,
    client: Client,
    level: LogLevel,
}

/// Why the server of the probes could not run.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve HTTP on {address}: {source}; give another --http-address")]
pub struct ServeError {
    address: SocketAddr,
    source: std::io::Error,
}

/// The answer of `/readyz`.
#[derive(Debug, Serialize)]
struct Readiness {
    ready: bool,
    probes: Vec<Probe>,
}

#[derive(Debug, Serialize)]
struct Probe {
    name: &'static str,
    ok: bool,
    message: String,
}

/// Binds the address, so that a port in use is an error at start and not a silence later.
///
/// # Errors
/// Where the address cannot be bound.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.map_err(|source| ServeError { address, source })
}

/// Serves the probes and the metrics until `stop` resolves.
///
/// # Errors
/// Where the listener breaks.
pub async fn serve(
    listener: TcpListener,
    context: Arc<Context>,
    client: Client,
    level: LogLevel,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), std::io::Error> {
    let observer = Observer { metrics: Arc::clone(&context.metrics), server: "http", routes: &ROUTES };
    let reading = async || Problem::method_not_allowed("GET, HEAD");
    let routes = Router::new()
        .route("/healthz", get(healthz).fallback(reading))
        .route("/livez", get(healthz).fallback(reading))
        .route("/readyz", get(readyz).fallback(reading))
        .route("/metrics", get(measured).fallback(reading))
        .route("/log-level", get(level::read).put(level::write).fallback(level::other))
        .fallback(async || Problem::not_found(&ROUTES))
        .layer(middleware::from_fn_with_state(observer, observe))
        .with_state(Probes { context, client, level });
    let service = routes.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service).with_graceful_shutdown(stop).await
}

async fn healthz() -> &'static str {
    "ok\n"
}

async fn measured(State(probes): State<Probes>) -> Result<Response, Problem> {
    let text = probes.context.metrics().map_err(|error| {
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "NotMeasured",
            format!("the metrics cannot be written: {error}"),
        )
    })?;
    Ok(([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response())
}

async fn readyz(State(probes): State<Probes>) -> Result<Json<Readiness>, Problem> {
    let certificate = certificate(&probes.context);
    let probes: Vec<_> =
        [caches(&probes.context), api_server(&probes.client).await].into_iter().chain(certificate).collect();
    if probes.iter().all(|probe| probe.ok) {
        return Ok(Json(Readiness { ready: true, probes }));
    }
    let failed: Vec<_> = probes.iter().filter(|probe| !probe.ok).map(|probe| probe.name).collect();
    let detail = format!("not ready: {}", failed.join(", "));
    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "NotReady", detail);
    Err(problem.with("ready", json!(false)).with("probes", json!(probes)))
}

fn caches(context: &Context) -> Probe {
    let awaited = context.awaited();
    let mut kinds: Vec<_> = awaited.iter().map(|source| source.watched.name()).collect();
    kinds.dedup();
    let message = if kinds.is_empty() { "synced".to_owned() } else { format!("waiting for {}", kinds.join(", ")) };
    Probe { name: "caches", ok: kinds.is_empty(), message }
}

/// Named only where there is a webhook.
fn certificate(context: &Context) -> Option<Probe> {
    let (ok, message) = context.admission.as_ref()?.probe(context.leads());
    Some(Probe { name: "webhook-certificate", ok, message })
}

async fn api_server(client: &Client) -> Probe {
    let (ok, message) = match tokio::time::timeout(PROBE_TIMEOUT, client.apiserver_version()).await {
        Ok(Ok(version)) => (true, version.git_version),
        Ok(Err(error)) => (false, error.to_string()),
        Err(_) => (false, format!("no answer within {} s", PROBE_TIMEOUT.as_secs())),
    };
    Probe { name: "api-server", ok, message }
}
