//! The log level is changed while the operator runs, from where it is allowed.

use std::net::{SocketAddr, TcpStream};

use serde_json::{Value, json};
use tokio::net::TcpSocket;

use super::common::Subject;
use crate::fixtures::{World, shared};
use crate::support::http::{Answer, over};

fn answered(subject: &Subject) -> usize {
    subject.lines("message", "answered").len()
}

/// A connection from another address of loopback, as a proxy beside the operator would open it.
async fn from_elsewhere(subject: &Subject) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 6], 0))).unwrap();
    let stream = socket.connect(SocketAddr::from(([127, 0, 0, 1], subject.operator.http_port()))).await.unwrap();
    let stream = stream.into_std().unwrap();
    stream.set_nonblocking(false).unwrap();
    stream
}

fn is_problem(answer: &Answer, status: u16, code: &str) {
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((answer.status, &body["code"]), (status, &json!(code)), "{body}");
}

#[tokio::test]
async fn the_log_level_is_changed_from_within_the_pod_alone() {
    let world = World::new(shared().await, "level").await;
    let subject = Subject::start(&world, &[], &[]).await;
    assert_eq!(subject.send("GET /log-level", &[], "").body, r#"{"level":"info"}"#);
    assert_eq!(answered(&subject), 0);

    let said = subject.send("PUT /log-level", &[("X-Request-ID", "who")], "tracesteward=debug,kube=warn\n");
    assert_eq!(said.body, r#"{"level":"tracesteward=debug,kube=warn","before":"info"}"#);
    subject.send("GET /healthz", &[], "");
    let lines = subject.lines("message", "the log level was changed");
    assert_eq!((lines.len(), &lines[0]["request_id"]), (1, &json!("who")), "{lines:?}");
    let seen = answered(&subject);
    assert!(seen >= 2, "{seen}");

    is_problem(&subject.send("PUT /log-level", &[], "loud"), 400, "InvalidLogLevel");
    is_problem(&subject.send("PUT /log-level", &[], ""), 400, "InvalidLogLevel");
    is_problem(&subject.send("PUT /log-level", &[], &"a=info,".repeat(200)), 413, "BodyTooLarge");
    is_problem(&subject.send("PUT /log-level", &[("Host", "10.0.0.7:8080")], "error"), 403, "NotLoopback");
    is_problem(&over(from_elsewhere(&subject).await, "PUT /log-level", &[], "error").unwrap(), 403, "NotLoopback");
    assert_eq!(
        over(from_elsewhere(&subject).await, "GET /log-level", &[], "").unwrap().status,
        200,
        "everybody may read it"
    );
    assert_eq!(subject.send("GET /log-level", &[], "").body, r#"{"level":"tracesteward=debug,kube=warn"}"#);

    // A warning has the ids of its request where nothing below warnings is logged.
    assert_eq!(subject.send("PUT /log-level", &[("X-Request-ID", "quiet")], "warn").status, 200);
    let warnings = subject.lines("request_id", "quiet");
    assert_eq!((warnings.len(), warnings[0]["trace_id"].is_string()), (1, true), "{warnings:?}");
    assert_eq!(subject.send("PUT /log-level", &[], "error").status, 200);
    let before = answered(&subject);
    subject.send("GET /healthz", &[], "");
    assert_eq!(answered(&subject), before, "and less is said again");
}
