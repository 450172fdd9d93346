//! The probes: `/healthz` (and `/livez`) says that the process is alive, `/readyz` names each thing that it needs. And `/metrics`.

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use kube::Client;
use serde::Serialize;
use tokio::net::TcpListener;

use crate::{controller::Context, telemetry::metrics};

/// How long the API server has to answer a probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

/// What the probes look at.
#[derive(Clone)]
struct Probes {
    context: Arc<Context>,
    client: Client,
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
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), std::io::Error> {
    let routes = Router::new()
        .route("/healthz", get(healthz))
        .route("/livez", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(measured))
        .with_state(Probes { context, client });
    axum::serve(listener, routes).with_graceful_shutdown(stop).await
}

async fn healthz() -> &'static str {
    "ok\n"
}

async fn measured(State(probes): State<Probes>) -> Response {
    match probes.context.metrics() {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn readyz(State(probes): State<Probes>) -> (StatusCode, Json<Readiness>) {
    let certificate = certificate(&probes.context);
    let probes: Vec<_> =
        [caches(&probes.context), api_server(&probes.client).await].into_iter().chain(certificate).collect();
    let ready = probes.iter().all(|probe| probe.ok);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { ready, probes }))
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
