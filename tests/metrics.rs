//! `/metrics`: text that is read strictly, the names that are documented and no other, and numbers that move.
#![allow(clippy::panic, clippy::unwrap_used, reason = "clippy's exception for tests does not reach their helpers")]

mod fixtures;
mod support;

use std::collections::{BTreeMap, BTreeSet};

use fixtures::{SOON, World, file, policy, shared, traced, workload};
use serde_json::json;
use support::{Operator, Scrape, eventually};
use tracesteward::telemetry::metrics::{CONTENT_TYPE, Census, Metrics, ReconcileResult};

/// Name, type and labels of every metric in the table of the operator's page.
fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let page = file("docs/reference/operator.md");
    let section = page.split("\n## Metrics\n").nth(1).unwrap().split("\n## ").next().unwrap().to_owned();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    let row = |row: &str| {
        let mut cells = row.split('|');
        let name = cells.next().unwrap().trim().trim_end_matches('`').to_owned();
        let labels = cells.next().unwrap().split('`').skip(1).step_by(2);
        (name, labels.map(|label| label.split('=').next().unwrap().to_owned()).collect())
    };
    rows.map(row).collect()
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
    metrics.know_controllers(&["workload", "policy"]);
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
    let census = Census {
        policies: vec![(("TracingPolicy", "True"), 4)],
        workloads: vec![("matched", 40), ("injected", 39)],
        leads: true,
    };
    let text = metrics.text(&census).unwrap();
    let now = Scrape::parse(&text).unwrap_or_else(|fault| panic!("{fault}\n{text}"));
    drop(running);
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
    ];
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
    let operator = world.operator(&[]).await;
    let before = scrape(&operator);
    // What has not happened yet has no labels: the rest of this test makes it happen.
    let names = |scrape: &Scrape| scrape.names().into_keys().collect::<Vec<_>>();
    assert_eq!(names(&before), documented().into_keys().collect::<Vec<_>>());
    let writes = [("result", "Written")];
    assert!(before.sum("tracesteward_workload_writes_total", &writes).abs() < 0.5);
    assert!(before.sum("leader_election_master_status", &[]) > 0.5, "there is no election: it leads");

    world.apply(&policy("all", &traced(0.5)));
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
    assert_eq!(after.names(), documented());
    let grown = |name: &str, labels: &[(&str, &str)]| after.sum(name, labels) - before.sum(name, labels);
    assert!(grown("controller_runtime_reconcile_total", &[("controller", "workload"), ("result", "success")]) > 2.5);
    assert!(grown("controller_runtime_reconcile_time_seconds_count", &[("controller", "policy")]) > 1.5);
    assert!(grown("workqueue_adds_total", &[("name", "workload")]) > 2.5);
    assert!(
        grown("rest_client_requests_total", &[("method", "PATCH"), ("code", "200")]) > 4.5,
        "workloads and statuses"
    );
    assert!(grown("rest_client_requests_total", &[("method", "POST"), ("code", "201")]) > 2.5, "Events");
    let unknown = after.0.values().flat_map(|family| &family.samples).flat_map(|(_, labels, _)| labels.values());
    let unbounded: Vec<_> = unknown.filter(|value| value.contains("metrics-") || value.contains("web-")).collect();
    assert!(unbounded.is_empty(), "names of objects: {unbounded:?}");
}
