//! Requests that are none, certificates that are mounted. No control plane of its own is needed for that.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use super::common::spawn;
use crate::fixtures::{SOON, World, container, policy, shared, workload_of};
use crate::support::certs::mount;
use crate::support::eventually;
use crate::support::https::{Caller, review};
use crate::support::process::free_port;

#[tokio::test]
async fn mounted_certificates_are_served_and_reloaded() {
    let world = World::new(shared().await, "mounted").await;
    let folder = tempfile::tempdir().unwrap();
    let first = mount(folder.path());
    let port = free_port();
    let flag = format!("--webhook-cert-dir={}", folder.path().display());
    let mut operator = spawn(&world, port, &[&flag]);
    operator.wait_ready().await;
    let object = policy("a", &json!({"enabled": true}));
    assert_eq!(Caller::new(port, &first).review(&object, "team").unwrap()["allowed"], false);

    fs::write(folder.path().join("tls.key"), "hello").unwrap();
    eventually("it is said", SOON, async || {
        let is_said = operator.logs().contains("could not be brought up to date");
        is_said.then_some(()).ok_or_else(|| operator.logs())
    })
    .await;
    Caller::new(port, &first).review(&object, "team").expect("what was served is served on");
    let second = mount(folder.path());
    eventually("the new one is served", SOON, async || Caller::new(port, &second).review(&object, "team")).await;
    Caller::new(port, &first).review(&object, "team").unwrap_err();
    malformed(port, &second);
    hostile_connections(port, &second);
    repairs(port, &second);
    assert!(!operator.logs().contains("panicked"), "{}", operator.logs());
    assert!(operator.stop().success());
}

fn problem(answer: Result<crate::support::http::Answer, String>, status: u16, code: &str) {
    let answer = answer.unwrap();
    assert_eq!(answer.status, status, "{}", answer.body);
    assert!(answer.headers.to_lowercase().contains("content-type: application/problem+json"), "{}", answer.headers);
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((&body["code"], &body["status"]), (&json!(code), &json!(status)), "{body}");
    assert!(body["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{body}");
    assert_eq!(body["instance"].as_str(), answer.header("x-request-id"), "{body}");
}

fn malformed(port: u16, bundle: &str) {
    let caller = Caller::new(port, bundle);
    let deep = "[".repeat(1 << 20);
    for body in
        ["", "{}", "null", "\u{0}\u{1}", &deep, r#"{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}"#]
    {
        problem(caller.post("/validate", body.as_bytes()), 400, "MalformedReview");
        problem(caller.post("/repair", body.as_bytes()), 400, "MalformedReview");
    }
    problem(caller.send("POST /validate HTTP/1.1\r\nContent-Length: 8388608\r\n", b""), 413, "BodyTooLarge");
    problem(caller.post("/elsewhere", b"{}"), 404, "NotFound");
    problem(caller.send("GET /validate HTTP/1.1\r\n", b""), 405, "MethodNotAllowed");
    let chunked = "POST /validate HTTP/1.1\r\nTransfer-Encoding: chunked\r\n";
    problem(caller.send(chunked, b"2\r\n{}\r\n0\r\n\r\n"), 400, "MalformedReview");
    // The largest that the API server lets in, before and after.
    let text = "x".repeat(3 << 20);
    let old = json!({"apiVersion": "tracesteward.io/v1alpha1", "kind": "TracingPolicy", "metadata": {"annotations": {"a": text}}, "spec": {"enabled": true}});
    let said = caller.ask("/validate", &review("UPDATE", &old, &old, "team")).unwrap();
    assert_eq!(said["allowed"], true, "its specification is the same");
}

fn hostile_connections(port: u16, bundle: &str) {
    let mut open = Vec::new();
    for first in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0x16, 3, 1, 255, 255], b""] {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.write_all(first).unwrap();
        open.push(stream);
    }
    let mut plain = Vec::new();
    drop(open[0].read_to_end(&mut plain));
    assert!(!String::from_utf8_lossy(&plain).contains("HTTP/1.1 200"));
    let good = policy("a", &json!({"enabled": false}));
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for _ in 0..5 {
                    assert_eq!(Caller::new(port, bundle).review(&good, "team").unwrap()["allowed"], true);
                }
            });
        }
    });
}

fn repairs(port: u16, bundle: &str) {
    let caller = Caller::new(port, bundle);
    let with = |name: &str| workload_of("Deployment", "web", &json!([container(name, &json!([]))]));
    let said = caller.ask("/repair", &review("UPDATE", &with("new"), &with("old"), "team")).unwrap();
    assert_eq!((&said["allowed"], said.get("patch")), (&json!(true), None), "nothing to repair");
    let said = caller.ask("/repair", &review("CREATE", &with("new"), &Value::Null, "team")).unwrap();
    assert_eq!((&said["allowed"], said.get("patch")), (&json!(true), None));
}
