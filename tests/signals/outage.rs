//! A collector that is dead, or takes everything and never answers, changes nothing.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::json;

use super::common::Subject;
use crate::fixtures::{SOON, World, policy, shared, traced, workload};
use crate::support::eventually;
use crate::support::process::free_port;

const WORKLOADS: usize = 12;
const REQUESTS: usize = 200;

/// Does some work; says how many workloads it has written, and how long requests took.
async fn work(world: &World<'_>, subject: &Subject) -> (f64, Duration) {
    for number in 0..WORKLOADS {
        world.apply(&workload("Deployment", &format!("web-{number}"), &json!([])));
    }
    world.apply(&policy("all", &traced(0.5)));
    world.settled("all", "True/Ready", &format!("matched={WORKLOADS} injected={WORKLOADS}")).await;
    let start = Instant::now();
    for _ in 0..REQUESTS {
        assert_eq!(subject.review(&[]).status, 200);
    }
    let took = start.elapsed();
    (subject.metric("tracesteward_workload_writes_total", &[("result", "Written")]), took)
}

#[tokio::test]
async fn a_collector_that_does_not_answer_changes_nothing() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let hanging = format!("http://{}", silent.local_addr().unwrap());
    let dead = format!("http://127.0.0.1:{}", free_port());
    let mut times = Vec::new();
    for (endpoint, reason) in [(None, ""), (Some(&hanging), "queue_full"), (Some(&dead), "not_taken")] {
        let world = World::new(shared().await, "outage").await;
        let mut environment = vec![("OTEL_BSP_MAX_QUEUE_SIZE", "16"), ("OTEL_BSP_SCHEDULE_DELAY", "20")];
        environment.extend(endpoint.map(|endpoint| ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str())));
        let subject = Subject::start(&world, &environment, &[]).await;
        let (written, took) = work(&world, &subject).await;
        assert!((written - f64::from(u32::try_from(WORKLOADS).unwrap())).abs() < 0.5, "{endpoint:?}: {written}");
        times.push(took);
        if endpoint.is_some() {
            eventually("what is dropped is counted", SOON, async || {
                let dropped = subject.metric("tracesteward_spans_dropped_total", &[("reason", reason)]);
                (dropped > 0.5).then_some(()).ok_or_else(|| format!("{reason}: {dropped}"))
            })
            .await;
            assert!(subject.metric("tracesteward_spans_exported_total", &[]).abs() < 0.5);
        }
        let start = Instant::now();
        assert!(subject.operator.stop().success());
        assert!(start.elapsed() < Duration::from_secs(6), "{endpoint:?}: it took {:?} to stop", start.elapsed());
    }
    // Everything else that runs here makes times vary; a request that waits for a collector takes seconds.
    assert!(times.iter().all(|took| *took < times[0] * 4 + Duration::from_secs(2)), "{times:?}");
}
