//! Spans through a collector and out again, for what does not depend on when a decision falls.

use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::compare::render;
use crate::model::collector;
use crate::support::collector::parse;
use crate::support::otlp::{Client, ResourceSpans};
use crate::support::{Backend, Collector, eventually};

/// Runs a collector with this configuration, sends spans, and stops it: it then decides on everything that it holds and
/// empties its queues.
pub(crate) async fn through(configuration: &str, environment: &[(&str, &str)], spans: Vec<ResourceSpans>) -> Collector {
    let mut collector = Collector::start_with(configuration, environment, &json!({})).await;
    Client::connect(collector.http_port()).send(spans);
    assert!(collector.stop().success(), "{}", collector.logs());
    collector
}

/// The same for a collector with span metrics. It does not write them at its end, so they have to arrive before: until
/// `enough` says so. They are written more often here than a user would want them.
pub(crate) async fn through_with_metrics(
    configuration: &str,
    backend: &Backend,
    spans: Vec<ResourceSpans>,
    enough: impl Fn(&Backend) -> Result<(), String>,
) -> Collector {
    let mut over = json!({"connectors": {}});
    for name in parse(configuration)["connectors"].as_object().expect("connectors").keys() {
        if name.starts_with("span_metrics") {
            over["connectors"][name] = json!({"metrics_flush_interval": "500ms"});
        }
    }
    let mut collector = Collector::start_with(configuration, &[], &over).await;
    Client::connect(collector.http_port()).send(spans);
    eventually("span metrics arrive", Duration::from_secs(30), || {
        let answer = enough(backend);
        async move { answer }
    })
    .await;
    assert!(collector.stop().success(), "{}", collector.logs());
    collector
}

/// Any metrics at all.
pub(crate) fn some_metrics(backend: &Backend) -> Result<(), String> {
    if backend.metrics().is_empty() { Err("no metrics".to_owned()) } else { Ok(()) }
}

/// The variables that a configuration refers to as `${env:NAME}`.
pub(crate) fn variables(configuration: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for reference in configuration.split("${env:").skip(1) {
        let name = reference.split(['}', ':']).next().expect("the rest of the text").to_owned();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Fails where the collector wrote anything about a statement or policy that did not work.
pub(crate) fn assert_quiet(collector: &Collector) {
    let loud = |line: &&str| line.contains("\"level\":\"error\"") || line.contains("failed to execute statement");
    let logs = collector.logs();
    let lines: Vec<&str> = logs.lines().filter(loud).collect();
    assert!(lines.is_empty(), "{}", lines.join("\n"));
}

/// A backend, and the configuration of a collector that exports to it and keeps everything, with `spec` beside.
pub(crate) async fn keeping_all(spec: Json) -> (Backend, String) {
    let backend = Backend::start().await;
    let configuration = render(&[collector(&backend.endpoint(), spec)]);
    (backend, configuration)
}
