//! Requests have ids, and what goes wrong is a problem document.

use serde_json::{Value, json};

use super::common::{PARENT, Subject, TRACE, traceparent};
use crate::fixtures::{World, policy, shared, traced, workload};
use crate::support::Proxy;
use crate::support::http::Answer;
use crate::support::proxy::{Fault, What};

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

#[tokio::test]
async fn the_api_server_is_told_whose_request_it_is_and_readiness_says_that_it_is_away() {
    let plane = shared().await;
    let world = World::new(plane, "away").await;
    let proxy = Proxy::start(plane);
    let subject = Subject::behind(&world, &proxy, &[]).await;
    let parent = traceparent();
    assert_eq!(subject.send("GET /readyz", &[("traceparent", &parent), ("tracestate", "a=b")], "").status, 200);
    let traces = proxy.traces();
    let below = traces.iter().find(|(line, trace)| line == "GET /version" && trace.contains(TRACE));
    let (_, below) = below.unwrap_or_else(|| panic!("{traces:?}"));
    assert!(below.ends_with("-01") && !below.contains(PARENT), "a span of its own below the caller's: {below}");
    world.apply(&workload("Deployment", "web", &json!([])));
    world.apply(&policy("all", &traced(0.5)));
    world.settled("all", "True/Ready", "matched=1 injected=1").await;
    let written = subject.lines("message", "written");
    let trace = written[0]["trace_id"].as_str().unwrap();
    let traces = proxy.traces();
    let is_write =
        |(line, of): &(String, String)| line.starts_with("PATCH ") && line.contains("/web?") && of.contains(trace);
    assert!(traces.iter().any(is_write), "{trace}: {traces:?}");
    assert!(traces.iter().all(|(line, _)| !line.contains("watch=true")), "watches belong to nobody: {traces:?}");

    proxy.set(Fault::Refuse { status: 403, retry_after: None, what: What::All, one_in: 1 });
    let answer = subject.send("GET /readyz", &[("X-Request-ID", "away")], "");
    assert_eq!((answer.status, answer.header("content-type")), (503, Some("application/problem+json")));
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((&body["code"], &body["ready"], &body["instance"]), (&json!("NotReady"), &json!(false), &json!("away")));
    let probes: Vec<_> =
        body["probes"].as_array().unwrap().iter().map(|probe| (&probe["name"], &probe["ok"])).collect();
    let expected = [("caches", true), ("api-server", false), ("webhook-certificate", true)]
        .map(|(name, ok)| (json!(name), json!(ok)));
    assert_eq!(probes, expected.each_ref().map(|(name, ok)| (name, ok)));
    assert_eq!(subject.send("GET /healthz", &[], "").status, 200, "it is alive all the same");
    proxy.clear();
    assert_eq!(subject.send("GET /readyz", &[], "").status, 200);
}
