//! One request, followed through logs and spans; and a reconcile.

use serde_json::json;

use super::common::{PARENT, Subject, TRACE, traceparent};
use crate::fixtures::{SOON, World, policy, shared, traced, workload};
use crate::support::otlp::{Span, Value, find, hex};
use crate::support::{Backend, eventually};

/// Waits until a span has arrived that is the one.
async fn arrived(backend: &Backend, what: &str, is_it: impl Fn(&Span) -> bool) -> Span {
    eventually(what, SOON, async || {
        let spans = backend.spans();
        let names = || spans.iter().map(|span| span.name.clone()).collect::<Vec<_>>();
        spans.iter().find(|span| is_it(span)).cloned().ok_or_else(|| format!("{:?}", names()))
    })
    .await
}

fn says(span: &Span, key: &str, value: &str) -> bool {
    find(&span.attributes, key) == Some(&Value::StringValue(value.to_owned()))
}

// With several threads: the backend answers while the test waits for the operator to end.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_and_a_reconcile_are_followed_through_logs_and_spans() {
    let world = World::new(shared().await, "spans").await;
    let backend = Backend::start().await;
    let endpoint = backend.endpoint();
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=platform"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,service.name=not-this"),
        ("OTEL_SERVICE_NAME", "steward"),
    ];
    let subject = Subject::start(&world, &environment, &["--log-level=tracesteward=debug"]).await;

    let parent = traceparent();
    assert_eq!(subject.review(&[("X-Request-ID", "follow-me"), ("traceparent", &parent)]).status, 200);
    let span = arrived(&backend, "the request", |span| says(span, "request_id", "follow-me")).await;
    assert_eq!(
        (span.name.as_str(), hex(&span.trace_id), hex(&span.parent_span_id)),
        ("POST /validate", TRACE.into(), PARENT.into())
    );
    assert_eq!(span.kind, 2, "a server's");
    assert!(says(&span, "http.route", "/validate") && says(&span, "uid", "d2b2b1a4-0000-4000-8000-000000000000"));
    assert_eq!(find(&span.attributes, "http.response.status_code"), Some(&Value::IntValue(200)));
    let lines = subject.lines("request_id", "follow-me");
    assert!(lines.len() >= 2, "{lines:?}");
    for line in &lines {
        assert_eq!((&line["trace_id"], &line["span_id"]), (&json!(TRACE), &json!(hex(&span.span_id))), "{line}");
    }

    // `/readyz` asks the API server: a span below its own.
    subject.send("GET /readyz", &[("X-Request-ID", "ready"), ("traceparent", &parent)], "");
    let span = arrived(&backend, "the probe", |span| says(span, "request_id", "ready")).await;
    let below = arrived(&backend, "what it asked", |below| below.parent_span_id == span.span_id).await;
    assert_eq!((below.name.as_str(), below.kind, hex(&below.trace_id)), ("GET", 3, TRACE.to_owned()));
    assert!(says(&below, "url.path", "/version"));

    world.apply(&workload("Deployment", "web", &json!([])));
    world.apply(&policy("all", &traced(0.5)));
    world.settled("all", "True/Ready", "matched=1 injected=1").await;
    let written = subject.lines("message", "written");
    assert_eq!(written.len(), 1, "{written:?}");
    let trace = written[0]["trace_id"].as_str().unwrap().to_owned();
    assert_eq!((&written[0]["request_id"], &written[0]["controller"]), (&json!(trace), &json!("workload")));
    let own = |span: &Span| hex(&span.trace_id) == trace && span.parent_span_id.is_empty();
    let reconcile = arrived(&backend, "the reconcile", own).await;
    assert_eq!((reconcile.name.as_str(), reconcile.kind), ("reconcile workload", 1));
    assert!(reconcile.events.iter().any(|event| event.name == "written"), "{:?}", reconcile.events);
    let patch = arrived(&backend, "the write", |span| span.parent_span_id == reconcile.span_id).await;
    assert_eq!(patch.name, "PATCH");
    let event = |span: &Span| span.parent_span_id == reconcile.span_id && span.name == "event";
    let event = arrived(&backend, "the Event, which is written afterwards", event).await;
    assert!(event.end_time_unix_nano > reconcile.end_time_unix_nano, "the reconcile does not wait for it");
    let post = arrived(&backend, "its write", |span| span.parent_span_id == event.span_id).await;
    assert_eq!((post.name.as_str(), post.trace_id), ("POST", reconcile.trace_id));

    let resource = backend.resource_spans()[0].resource.clone().unwrap().attributes;
    let expected = [
        ("service.name", "steward"),
        ("deployment.environment.name", "test"),
        ("service.version", env!("CARGO_PKG_VERSION")),
    ];
    for (key, value) in expected {
        assert_eq!(find(&resource, key), Some(&Value::StringValue(value.to_owned())), "{key}");
    }
    backend.with(|received| {
        let headers = &received[0].headers;
        assert_eq!(
            (&headers["content-encoding"], &headers["x-tenant"]),
            (&"gzip".parse().unwrap(), &"platform".parse().unwrap())
        );
    });
    // A span that ended last goes out before the process ends.
    subject.send("GET /healthz", &[("X-Request-ID", "last"), ("traceparent", &parent)], "");
    subject.send("GET /healthz", &[("X-Request-ID", "a probe")], "");
    assert!(subject.operator.stop().success());
    let spans = backend.spans();
    assert!(spans.iter().any(|span| says(span, "request_id", "last")));
    assert!(!spans.iter().any(|span| says(span, "request_id", "a probe")), "nobody wants to see every probe");
}

#[tokio::test]
async fn without_an_endpoint_nothing_is_sent_and_a_wrong_protocol_is_said() {
    let world = World::new(shared().await, "quiet").await;
    let backend = Backend::start().await;
    let endpoint = backend.endpoint();
    let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")];
    let subject = Subject::start(&world, &environment, &[]).await;
    let said = subject.lines("message", "spans are not exported");
    assert!(said[0]["trouble"].as_str().is_some_and(|trouble| trouble.contains("grpc")), "{said:?}");
    drop(subject);
    let off = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_SDK_DISABLED", "true")];
    let subject = Subject::start(&world, &off, &[]).await;
    assert!(subject.lines("message", "spans are not exported").is_empty(), "it was asked for");
    subject.operator.stop();
    assert!(backend.with(<[_]>::is_empty));
}
