//! `/log-level`: what is logged, to be read by everybody and to be changed from the pod's own loopback, where `kubectl port-forward`
//! comes from.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use axum::{
    Json,
    body::{Bytes, to_bytes},
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, StatusCode, header, uri::Authority},
};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::Probes;
use crate::http::Problem;

/// The longest filter.
const LENGTH: usize = 1024;
/// How long it may take to arrive.
const READ: Duration = Duration::from_secs(5);

pub(super) async fn read(State(probes): State<Probes>) -> Json<Value> {
    Json(json!({"level": probes.level.get()}))
}

pub(super) async fn other() -> Problem {
    Problem::method_not_allowed("GET, HEAD, PUT")
}

pub(super) async fn write(
    State(probes): State<Probes>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    if !is_from_within(peer.ip(), request.headers()) {
        let detail = "the log level is changed from the pod itself only: kubectl port-forward, then http://localhost";
        return Err(Problem::new(StatusCode::FORBIDDEN, "NotLoopback", detail));
    }
    let level = text(request).await?;
    let before = probes
        .level
        .set(&level)
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "InvalidLogLevel", error.to_string()))?;
    tracing::warn!(now = level, before, "the log level was changed");
    Ok(Json(json!({"level": level, "before": before})))
}

/// A mesh's proxy in the pod passes on what comes from elsewhere, but from another address of loopback (Istio: 127.0.0.6), or with the
/// name that was asked for.
fn is_from_within(peer: IpAddr, headers: &HeaderMap) -> bool {
    let is_local = [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()].contains(&peer.to_canonical());
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next().and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
    let names = ["localhost", "127.0.0.1", "[::1]"];
    is_local && hosts.next().is_none() && host.is_some_and(|host| names.contains(&host.host()))
}

async fn text(request: Request) -> Result<String, Problem> {
    let slow = |_| Problem::new(StatusCode::REQUEST_TIMEOUT, "Timeout", "the body did not arrive in time");
    let large = |_| {
        let detail = format!("the body has more than {LENGTH} bytes");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "BodyTooLarge", detail)
    };
    let body: Bytes = timeout(READ, to_bytes(request.into_body(), LENGTH)).await.map_err(slow)?.map_err(large)?;
    let text = std::str::from_utf8(&body)
        .map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "InvalidLogLevel", "the body is no text in UTF-8"))?;
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(peer: &str, hosts: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(header::HOST, host.parse().unwrap());
        }
        is_from_within(peer.parse().unwrap(), &headers)
    }

    #[test]
    fn only_the_pod_itself_may_write() {
        for (peer, host) in [("127.0.0.1", "localhost:8080"), ("::1", "[::1]:8080"), ("::ffff:127.0.0.1", "127.0.0.1")]
        {
            assert!(from(peer, &[host]), "{peer} {host}");
        }
        for (peer, host) in [
            ("10.0.0.7", "localhost"),
            ("127.0.0.6", "localhost"),
            ("127.0.0.1", "tracesteward.tracesteward-system"),
            ("127.0.0.1", "10.0.0.7:8080"),
            ("127.0.0.1", ""),
        ] {
            assert!(!from(peer, &[host]), "{peer} {host}");
        }
        assert!(!from("127.0.0.1", &[]));
        assert!(!from("127.0.0.1", &["localhost", "localhost"]));
    }
}
