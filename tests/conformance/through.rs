//! Spans through a collector and out again, for what does not depend on when a decision falls.

use serde_json::{Value as Json, json};

use crate::support::otlp::{Client, ResourceSpans};
use crate::support::{Backend, Collector};

/// Runs a collector with this configuration, sends spans, and stops it: it then decides on everything that it holds and
/// empties its queues.
pub(crate) async fn through(configuration: &str, environment: &[(&str, &str)], spans: Vec<ResourceSpans>) -> Collector {
    let mut collector = Collector::start_with(configuration, environment, &json!({})).await;
    Client::connect(collector.http_port()).send(spans);
    assert!(collector.stop().success(), "{}", collector.logs());
    collector
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
    let configuration = crate::compare::render(&[crate::model::collector(&backend.endpoint(), spec)]);
    (backend, configuration)
}
