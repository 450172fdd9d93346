//! A collector that is gone costs spans, never requests: a Python service with the OpenTelemetry SDK under steady load.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::support::process::{Process, Scratch};
use crate::support::{Collector, eventually};
use crate::through::keeping_all;

/// What the service has counted.
#[derive(Clone, Copy, Debug)]
struct Seen {
    served: f64,
    faults: f64,
    seconds: f64,
}

impl Seen {
    /// Requests a second since `earlier`.
    fn rate(self, earlier: Self) -> f64 {
        (self.served - earlier.served) / (self.seconds - earlier.seconds)
    }
}

/// The newest line of the service, once it has served so many requests since `earlier`.
async fn served(service: &mut Process, earlier: Option<Seen>, requests: f64) -> Seen {
    let goal = earlier.map_or(0.0, |seen| seen.served) + requests;
    eventually("the service has served its requests", Duration::from_secs(60), || {
        service.assert_alive();
        let logs = service.logs();
        let parsed =
            logs.lines().rev().filter(|line| line.ends_with('}')).find_map(|line| serde_json::from_str(line).ok());
        let number = |line: &Json, key: &str| line[key].as_f64().unwrap_or(0.0);
        let seen = parsed.map(|line: Json| Seen {
            served: number(&line, "served"),
            faults: number(&line, "failed") + number(&line, "exceptions"),
            seconds: number(&line, "seconds"),
        });
        let answer = seen.filter(|seen| seen.served >= goal).ok_or_else(|| format!("{seen:?} of {goal}: {logs}"));
        async move { answer }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_dies_under_load_costs_no_request() {
    let sampling = json!({"decisionWait": "1s", "baselineRatio": 1});
    let (backend, configuration) = keeping_all(json!({"sampling": sampling})).await;
    let mut collector = Collector::start(&configuration).await;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("target/tools/python/bin/python");
    assert!(python.is_file(), "{} is missing: run `make tools`", python.display());
    let folder = Scratch::new();
    let mut command = Command::new(python);
    command
        .arg(root.join("e2e/python/service.py"))
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://127.0.0.1:{}", collector.http_port()))
        .env("OTEL_EXPORTER_OTLP_TIMEOUT", "2")
        .env("OTEL_SERVICE_NAME", "web");
    let mut service = Process::start("the service", &command, &folder.path().join("service.log"));
    let arrived = async |what: &str, more_than: usize| {
        eventually(what, Duration::from_secs(60), || {
            let count = backend.spans().len();
            let answer = if count > more_than { Ok(()) } else { Err(format!("{count} spans")) };
            async move { answer }
        })
        .await;
    };
    let first = served(&mut service, None, 1.0).await;
    arrived("spans arrive before the outage", 0).await;
    let before = served(&mut service, Some(first), 100.0).await;
    collector.kill9();
    let down = served(&mut service, Some(before), 1.0).await;
    let during = served(&mut service, Some(down), 200.0).await;
    let lost_from = backend.spans().len();
    collector.start_again().await;
    let up = served(&mut service, Some(during), 1.0).await;
    let after = served(&mut service, Some(up), 100.0).await;
    arrived("spans arrive after the outage", lost_from).await;

    let (normal, outage, again) = (before.rate(first), during.rate(down), after.rate(up));
    println!("requests a second: {normal:.1} before, {outage:.1} while the collector was dead, {again:.1} after");
    // A request that waited for the collector would take its timeout, two seconds in place of twenty milliseconds. What is
    // less than a quarter is the noise of a machine that runs other tests at the same time.
    assert!(outage >= 0.75 * normal && again >= 0.75 * normal, "{normal} {outage} {again}");
    assert!(after.faults < 0.5, "requests or threads failed: {after:?}\n{}", service.log_tail());
    assert!(service.logs().contains("Queue full"), "the outage was felt: {}", service.log_tail());
}
