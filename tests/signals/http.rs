//! Requests have ids, and what goes wrong is a problem document.

use serde_json::{Value, json};

use super::common::{Subject, TRACE, traceparent};
use crate::fixtures::{World, shared};
use crate::support::http::Answer;

fn id(answer: &Answer) -> String {
    answer.header("x-request-id").unwrap_or_else(|| panic!("no id: {}", answer.headers)).to_owned()
}

#[tokio::test]
async fn requests_have_ids_and_errors_are_problem_documents() {
    let world = World::new(shared().await, "http").await;
    let subject = Subject::start(&world, &[], &["--log-level=tracesteward=debug"]).await;
    ids(&subject);
    problems(&subject);

    let ready = subject.send("GET /readyz", &[], "");
    assert_eq!((ready.status, ready.header("content-type")), (200, Some("application/json")));
    let ready: Value = serde_json::from_str(&ready.body).unwrap();
    let names: Vec<_> = ready["probes"].as_array().unwrap().iter().map(|probe| probe["name"].clone()).collect();
    assert_eq!(names, ["caches", "api-server", "webhook-certificate"]);
    assert!(ready["probes"][1]["message"].as_str().is_some_and(|version| version.starts_with("v1.")), "{ready}");
}

type Ask = fn(&Subject, &[(&str, &str)]) -> Answer;

/// The sender's, else the trace's, else a UUID: on both servers, in the answer and in the log.
fn ids(subject: &Subject) {
    let parent = traceparent();
    let servers: [Ask; 2] = [|subject, headers| subject.send("GET /healthz", headers, ""), Subject::review];
    for (number, ask) in servers.into_iter().enumerate() {
        let own = format!("mine-{number}");
        let answer = ask(subject, &[("X-Request-ID", &own), ("traceparent", &parent)]);
        assert_eq!((answer.status, id(&answer)), (200, own.clone()));
        let lines = subject.lines("request_id", &own);
        assert!(lines.iter().any(|line| line["message"] == "answered"), "{lines:?}");
        for line in &lines {
            assert_eq!((&line["trace_id"], &line["trace_flags"]), (&json!(TRACE), &json!("01")), "{line}");
            assert_eq!(line["span_id"].as_str().map(str::len), Some(16), "{line}");
            for name in ["timestamp", "level", "target"] {
                assert!(line[name].is_string(), "{line}");
            }
        }
        assert_eq!(id(&ask(subject, &[("traceparent", &parent)])), TRACE);
        let bad = "x".repeat(200);
        let given: [&[(&str, &str)]; 3] = [&[], &[("X-Request-ID", &bad)], &[("X-Request-ID", "a b")]];
        for headers in given {
            let own = id(&ask(subject, headers));
            assert_eq!((own.len(), own.matches('-').count()), (36, 4), "{own}");
            let lines = subject.lines("request_id", &own);
            assert!(lines.iter().any(|line| line["trace_flags"] == "00"), "nobody wants its spans: {lines:?}");
        }
    }
    let reviews = subject.lines("uid", "d2b2b1a4-0000-4000-8000-000000000000");
    assert!(reviews.iter().any(|line| line["request_id"] == "mine-1" && line["message"] == "refused"), "{reviews:?}");
}

fn problems(subject: &Subject) {
    let asked = [
        ("GET /nothing", 404, "NotFound", None),
        ("DELETE /healthz", 405, "MethodNotAllowed", Some("GET, HEAD")),
        ("POST /log-level", 405, "MethodNotAllowed", Some("GET, HEAD, PUT")),
    ];
    for (line, status, code, allow) in asked {
        let answer = subject.send(line, &[("X-Request-ID", "a/1")], "");
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (status, Some("application/problem+json")),
            "{line}"
        );
        assert_eq!(answer.header("allow"), allow, "{line}");
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!((&body["status"], &body["code"]), (&json!(status), &json!(code)), "{line}");
        assert_eq!((&body["instance"], &body["type"]), (&json!("a%2F1"), &json!("about:blank")), "{line}");
        assert!(body["title"].is_string() && body["detail"].is_string(), "{body}");
        assert_eq!(answer.header("content-length"), Some(answer.body.len().to_string().as_str()), "{line}");
    }
}
