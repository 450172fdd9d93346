//! What is kept reaches a backend that demands a token, over both protocols, and from senders of both encodings.

use std::fs;

use serde_json::json;

use crate::compare::render;
use crate::support::otlp::{Client, attribute, from_resource, service, span, text};
use crate::support::{Backend, Collector};
use crate::through::{through, variables};
use crate::traps::with_token;

const TOKEN: &str = "a-token.of_some/length+0=";

#[tokio::test(flavor = "multi_thread")]
async fn a_token_reaches_the_backend_over_http() {
    let header = format!("Bearer {TOKEN}");
    let backend = Backend::demanding(&header).await;
    let configuration = render(&[with_token(&backend.endpoint(), "http/protobuf")]);
    assert!(!configuration.contains(TOKEN) && variables(&configuration).len() == 1, "{configuration}");
    let name = &variables(&configuration)[0];
    let sent = || vec![from_resource(service("shop", "web"), vec![span(1, 1, "s", Vec::new())])];
    through(&configuration, &[(name, "Bearer wrong")], sent()).await;
    assert!(backend.spans().is_empty(), "the backend took a wrong token");
    let collector = through(&configuration, &[(name, &header)], sent()).await;
    assert_eq!(backend.spans().len(), 1, "{}", collector.logs());
    let compressed =
        backend.with(|received| received.iter().any(|request| request.headers.contains_key("content-encoding")));
    assert!(compressed, "the default is gzip");
}

/// The backend is another collector, which refuses what has no token: as Tempo behind a gateway does.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_reaches_the_backend_over_grpc() {
    let backend = json!({
        "extensions": {"health_check": {"endpoint": "127.0.0.1:0"}, "bearertokenauth": {"token": TOKEN}},
        "receivers": {"otlp": {"protocols": {"grpc": {"auth": {"authenticator": "bearertokenauth"}}}}},
        "exporters": {"file": {"path": "received.json", "flush_interval": "100ms"}},
        "service": {
            "extensions": ["health_check", "bearertokenauth"],
            "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["file"]}},
            "telemetry": {"metrics": {"level": "none"}},
        },
    });
    let mut backend = Collector::start(&backend.to_string()).await;
    let configuration = render(&[with_token(&format!("http://127.0.0.1:{}", backend.grpc_port()), "grpc")]);
    let name = &variables(&configuration)[0];
    let send = |mark: &'static str| vec![from_resource(service("shop", "web"), vec![span(1, 1, mark, Vec::new())])];
    through(&configuration, &[(name, "Bearer wrong")], send("refused")).await;
    through(&configuration, &[], send("without")).await;
    let collector = through(&configuration, &[(name, &format!("Bearer {TOKEN}"))], send("taken")).await;
    assert!(backend.stop().success(), "{}", backend.logs());
    let received = fs::read_to_string(backend.folder().join("received.json")).unwrap();
    assert!(received.contains("\"taken\""), "{received}\n{}", collector.logs());
    assert!(!received.contains("\"refused\"") && !received.contains("\"without\""), "{received}");
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_are_taken_as_json_and_uncompressed_too() {
    let backend = Backend::start().await;
    let exporter =
        json!({"name": "b", "endpoint": backend.endpoint(), "protocol": "http/protobuf", "compression": "none"});
    let configuration = render(&[crate::model::collector("", json!({"backends": [exporter]}))]);
    let mut collector = Collector::start(&configuration).await;
    let span = json!({
        "traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174", "name": "from JSON", "kind": 2,
        "startTimeUnixNano": "1700000000000000000", "endTimeUnixNano": "1700000001000000000",
        "attributes": [{"key": "http.request.header.x-api-key", "value": {"stringValue": "SECRET"}}],
    });
    let resource = json!({"attributes": [{"key": "service.name", "value": {"stringValue": "web"}}]});
    let body = json!({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [span]}]}]}).to_string();
    let (status, answer) =
        Client::connect(collector.http_port()).post("/v1/traces", "application/json", body.as_bytes());
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
    assert!(collector.stop().success(), "{}", collector.logs());
    let resource_spans = backend.resource_spans();
    let [resource] = &resource_spans[..] else { panic!("one resource: {resource_spans:?}") };
    assert_eq!(resource.resource.clone().unwrap().attributes, [attribute("service.name", text("web"))]);
    assert_eq!(backend.spans()[0].name, "from JSON");
    assert!(!backend.saw(b"SECRET"));
    let logs = collector.logs();
    assert!(logs.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "not JSON: {logs}");
    assert!(backend.with(|received| received.iter().all(|request| !request.headers.contains_key("content-encoding"))));
}
