//! `/metrics`: text that is read strictly, the names that are documented and no other, and numbers that move.
#![allow(clippy::panic, clippy::unwrap_used, reason = "clippy's exception for tests does not reach their helpers")]

mod fixtures;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fixtures::{SOON, World, file, policy, shared, traced, workload};
use serde_json::json;
use support::certs::mount;
use support::https::Caller;
use support::process::free_port;
use support::{Operator, Scrape, eventually};
use tracesteward::telemetry::metrics::{CONTENT_TYPE, Census, Metrics, ReconcileResult, Validation};

/// What is known of a metric: its type and its labels.
type Shape = (String, BTreeSet<String>);

/// Every metric in the table of its page.
fn documented() -> BTreeMap<String, Shape> {
    let page = file("docs/reference/metrics.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let row = |row: &str| {
        let mut cells = row.split('|').map(str::trim);
        let name = cells.next().unwrap().trim_end_matches('`').to_owned();
        let kind = cells.next().unwrap().to_owned();
        let labels = cells.next().unwrap().split('`').skip(1).step_by(2);
        (name, (kind, labels.map(ToOwned::to_owned).collect()))
    };
    rows.map(row).collect()
}

/// Every metric in a scrape.
fn seen(scrape: &Scrape) -> BTreeMap<String, Shape> {
    let labels = scrape.names();
    let kinds = scrape.0.iter().map(|(name, family)| {
        let name = if family.kind == "counter" { format!("{name}_total") } else { name.clone() };
        (name, family.kind.clone())
    });
    kinds.map(|(name, kind)| (name.clone(), (kind, labels[&name].clone()))).collect()
}

fn scrape(operator: &Operator) -> Scrape {
    let answer = operator.get("/metrics").unwrap();
    assert_eq!(answer.status, 200);
    let kind = answer.headers.lines().find_map(|line| line.strip_prefix("content-type: ")).map(str::trim);
    assert_eq!(kind, Some(CONTENT_TYPE));
    Scrape::parse(&answer.body).unwrap_or_else(|fault| panic!("{fault}\n{}", answer.body))
}

#[test]
fn the_text_is_open_metrics_and_counts_what_it_is_told() {
    let metrics = Metrics::default();
    metrics.know_controllers(&["workload", "policy"], 8);
    let text = metrics.text(&Census::default()).unwrap();
    let empty = Scrape::parse(&text).unwrap_or_else(|fault| panic!("{fault}\n{text}"));
    let success = [("controller", "workload"), ("result", "success")];
    assert!(
        text.contains("controller_runtime_reconcile_total{controller=\"workload\",result=\"success\"} 0\n"),
        "{text}"
    );
    assert_eq!(empty.0["controller_runtime_reconcile_time_seconds"].kind, "histogram");

    metrics.reconcile("workload").ended(ReconcileResult::Success);
    metrics.reconcile("workload").ended(ReconcileResult::RequeueAfter);
    drop(metrics.reconcile("policy"));
    let running = metrics.reconcile("workload");
    metrics.queued("workload");
    metrics.waiting("workload", 3);
    metrics.waiting("workload", -1);
    metrics.retried("workload");
    metrics.written();
    metrics.not_written("Conflict");
    metrics.reverted();
    metrics.set_in_progress(7);
    metrics.panicked("workload");
    metrics.timed_out("policy");
    metrics.waited("workload", Duration::from_secs(2));
    metrics.answering("webhook", "POST", "/inject").answered(200);
    drop(metrics.answering("webhook", "POST", "/inject"));
    let open = metrics.answering("http", "GET", "/readyz");
    metrics.webhook_panicked("/repair");
    metrics.validated("TracingPolicy", Validation::Warned);
    metrics.validated("Nonsense", Validation::Valid);
    metrics.spans_exported(5);
    metrics.spans_dropped("queue_full", 3);
    let census = Census {
        policies: vec![(("TracingPolicy", "True"), 4)],
        workloads: vec![("matched", 40), ("injected", 39)],
        conditions: vec![(("TracingPolicy", "Ready", "False"), 2)],
        certificate_expiry: Some(1_800_000_000),
        leads: true,
    };
    let text = metrics.text(&census).unwrap();
    let now = Scrape::parse(&text).unwrap_or_else(|fault| panic!("{fault}\n{text}"));
    let later = Census { certificate_expiry: None, ..census };
    assert!(!metrics.text(&later).unwrap().contains("expiry_timestamp_seconds{"), "there is no certificate any more");
    drop((running, open));
    let sums = [
        ("controller_runtime_reconcile_total", &success[..], 1.0),
        ("controller_runtime_reconcile_total", &[("result", "requeue_after")], 1.0),
        ("controller_runtime_reconcile_total", &[("controller", "policy"), ("result", "error")], 1.0),
        ("controller_runtime_reconcile_errors_total", &[], 1.0),
        ("controller_runtime_reconcile_time_seconds_count", &[("controller", "workload")], 2.0),
        ("controller_runtime_active_workers", &[("controller", "workload")], 1.0),
        ("controller_runtime_active_workers", &[("controller", "policy")], 0.0),
        ("workqueue_depth", &[("name", "workload")], 2.0),
        ("workqueue_adds_total", &[], 1.0),
        ("workqueue_retries_total", &[], 1.0),
        ("leader_election_master_status", &[("name", "tracesteward")], 1.0),
        ("tracesteward_policies", &[("kind", "TracingPolicy"), ("ready", "True")], 4.0),
        ("tracesteward_workloads", &[("state", "injected")], 39.0),
        ("tracesteward_workloads_in_progress", &[], 7.0),
        ("tracesteward_reverts_total", &[], 1.0),
        ("tracesteward_workload_writes_total", &[("result", "Written")], 1.0),
        ("tracesteward_workload_writes_total", &[("result", "Conflict")], 1.0),
        ("controller_runtime_reconcile_panics_total", &[("controller", "workload")], 1.0),
        ("controller_runtime_reconcile_timeouts_total", &[("controller", "policy")], 1.0),
        ("controller_runtime_max_concurrent_reconciles", &[("controller", "policy")], 8.0),
        ("workqueue_queue_duration_seconds_sum", &[("name", "workload")], 2.0),
        ("workqueue_work_duration_seconds_count", &[("name", "workload")], 2.0),
        ("http_requests_total", &[("server", "webhook"), ("route", "/inject"), ("code", "200")], 1.0),
        ("http_requests_total", &[("server", "webhook"), ("route", "/inject"), ("code", "none")], 1.0),
        ("http_requests_in_flight", &[("server", "http")], 1.0),
        ("http_requests_in_flight", &[("server", "webhook")], 0.0),
        ("controller_runtime_webhook_requests_total", &[("webhook", "/inject")], 2.0),
        ("controller_runtime_webhook_requests_in_flight", &[("webhook", "/inject")], 0.0),
        ("controller_runtime_webhook_panics_total", &[("webhook", "/repair")], 1.0),
        ("tracesteward_validations_total", &[("kind", "TracingPolicy"), ("result", "warned")], 1.0),
        ("tracesteward_validations_total", &[("kind", "other")], 1.0),
        ("tracesteward_conditions", &[("kind", "TracingPolicy"), ("status", "False")], 2.0),
        ("tracesteward_certificate_expiry_timestamp_seconds", &[("certificate", "webhook")], 1_800_000_000.0),
        ("tracesteward_spans_exported_total", &[], 5.0),
        ("tracesteward_spans_dropped_total", &[("reason", "queue_full")], 3.0),
    ];
    let age = now.sum("workqueue_longest_running_processor_seconds", &[("name", "workload")]);
    assert!(age > 0.0 && age.to_bits() == now.sum("workqueue_unfinished_work_seconds", &[]).to_bits(), "{age}");
    for (name, labels, expected) in sums {
        assert_eq!(now.sum(name, labels).to_bits(), f64::to_bits(expected), "{name} {labels:?}\n{text}");
    }
}

#[test]
fn the_reader_of_the_tests_is_strict() {
    let good = "# HELP a Text.\n# TYPE a counter\na_total{b=\"c\"} 1\n# EOF\n";
    assert!(Scrape::parse(good).is_ok());
    let bad = [
        ("# EOF\n", ""),
        ("# EOF\n", "# EOF\n\n"),
        ("a_total", "a"),
        ("# TYPE a counter\n", ""),
        ("# HELP a Text.\n", ""),
        ("counter", "kilograms"),
        (" 1\n", " one\n"),
        (" 1\n", " -1\n"),
        ("{b=\"c\"}", "{b=c}"),
        ("{b=\"c\"}", "{b=\"c\",b=\"c\"}"),
        ("a_total{b=\"c\"} 1\n", "a_total{b=\"c\"} 1\na_total{b=\"c\"} 1\n"),
        ("a_total{b=\"c\"} 1\n", "a_total{b=\"c\"} 1\na_total{d=\"c\"} 1\n"),
        ("a_total{b=\"c\"} 1\n", "a_total{b=\"c\"} 1\n\n"),
    ];
    for (from, to) in bad {
        assert!(Scrape::parse(&good.replacen(from, to, 1)).is_err(), "{from:?} -> {to:?}");
    }
}

#[tokio::test]
async fn a_running_operator_serves_what_is_documented_and_its_counters_move() {
    let world = World::new(shared().await, "metrics").await;
    for name in ["web-0", "web-1", "web-2"] {
        world.apply(&workload("Deployment", name, &json!([])));
    }
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    let bundle = mount(folder.path());
    let flags =
        [format!("--webhook-cert-dir={}", folder.path().display()), format!("--webhook-address=127.0.0.1:{port}")];
    let operator = world.operator(&[&flags[0], &flags[1]]).await;
    let before = scrape(&operator);
    // What has not happened yet has no labels: the rest of this test makes it happen.
    let kinds =
        |all: BTreeMap<String, Shape>| all.into_iter().map(|(name, (kind, _))| (name, kind)).collect::<Vec<_>>();
    assert_eq!(kinds(seen(&before)), kinds(documented()));
    let writes = [("result", "Written")];
    assert!(before.sum("tracesteward_workload_writes_total", &writes).abs() < 0.5);
    assert!(before.sum("leader_election_master_status", &[]) > 0.5, "there is no election: it leads");

    world.apply(&policy("all", &traced(0.5)));
    let webhook = Caller::new(port, &bundle);
    assert_eq!(webhook.review(&policy("bad", &json!({"enabled": true})), "team").unwrap()["allowed"], false);
    assert_eq!(webhook.post("/nothing", b"").unwrap().status, 404);
    world.apply(&policy("lost", &json!({"enabled": true, "export": {"collectorRef": {"name": "none"}}})));
    world.settled("all", "True/Ready", "matched=3 injected=3").await;
    let after = eventually("the numbers are those of the statuses", SOON, async || {
        let now = scrape(&operator);
        let seen = [
            now.sum("tracesteward_workload_writes_total", &writes),
            now.sum("tracesteward_policies", &[("kind", "TracingPolicy"), ("ready", "True")]),
            now.sum("tracesteward_policies", &[("kind", "TracingPolicy"), ("ready", "False")]),
            now.sum("tracesteward_policies", &[]),
            now.sum("tracesteward_workloads", &[("state", "injected")]),
            now.sum("workqueue_depth", &[]),
            now.sum("controller_runtime_active_workers", &[]),
        ];
        let expected = [3.0, 1.0, 1.0, 2.0, 3.0, 0.0, 0.0];
        if seen.iter().zip(expected).all(|(seen, expected)| (seen - expected).abs() < 0.5) {
            Ok(now)
        } else {
            Err(format!("{seen:?}"))
        }
    })
    .await;
    assert_eq!(seen(&after), documented());
    let grown = |name: &str, labels: &[(&str, &str)]| after.sum(name, labels) - before.sum(name, labels);
    assert!(grown("controller_runtime_reconcile_total", &[("controller", "workload"), ("result", "success")]) > 2.5);
    assert!(grown("controller_runtime_reconcile_time_seconds_count", &[("controller", "policy")]) > 1.5);
    assert!(grown("workqueue_adds_total", &[("name", "workload")]) > 2.5);
    assert!(
        grown("rest_client_requests_total", &[("method", "PATCH"), ("code", "200")]) > 4.5,
        "workloads and statuses"
    );
    assert!(grown("rest_client_requests_total", &[("method", "POST"), ("code", "201")]) > 2.5, "Events");
    let ok = [("server", "http"), ("method", "GET"), ("route", "/metrics"), ("code", "200")];
    assert!(grown("http_requests_total", &ok) > 0.5, "scrapes");
    assert!(grown("http_request_duration_seconds_count", &[("route", "/metrics")]) > 0.5);
    for (name, labels) in [
        ("http_requests_total", &[("server", "webhook"), ("route", "other"), ("code", "404")][..]),
        ("http_requests_total", &[("server", "webhook"), ("route", "/validate"), ("method", "POST"), ("code", "200")]),
        ("controller_runtime_webhook_requests_total", &[("webhook", "/validate"), ("code", "200")]),
        ("controller_runtime_webhook_latency_seconds_count", &[("webhook", "/validate")]),
        ("tracesteward_validations_total", &[("kind", "TracingPolicy"), ("result", "refused")]),
        ("tracesteward_conditions", &[("kind", "TracingPolicy"), ("condition", "ResolvedRefs"), ("status", "False")]),
    ] {
        assert!((grown(name, labels) - 1.0).abs() < 0.1, "{name} {labels:?}: {}", grown(name, labels));
    }
    assert!(grown("workqueue_queue_duration_seconds_count", &[("name", "workload")]) > 2.5);
    assert!((after.sum("http_requests_in_flight", &[]) - 1.0).abs() < 0.1, "the scrape itself");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    assert!(after.sum("tracesteward_certificate_expiry_timestamp_seconds", &[("certificate", "webhook")]) > now);
    let unknown = after.0.values().flat_map(|family| &family.samples).flat_map(|(_, labels, _)| labels.values());
    let unbounded: Vec<_> = unknown.filter(|value| value.contains("metrics-") || value.contains("web-")).collect();
    assert!(unbounded.is_empty(), "names of objects: {unbounded:?}");
}
