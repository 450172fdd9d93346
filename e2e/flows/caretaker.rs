//! Caretaker: a webhook goes through a Redis stream into a Job of its own, in one trace; the platform's collector keeps what matters
//! and lets no credential out.

use std::collections::BTreeSet;

use super::common::{PATIENCE, apply, load, loader, logged, rolled_out, served, team, within};
use crate::backend::{Backend, Received};
use crate::cluster::Cluster;
use crate::operator;
use crate::table::{Failure, Report};

const NAMESPACE: &str = "caretaker";
const PLATFORM: &str = "caretaker-platform";
const MCP: &str = "caretaker-mcp";
const DASHBOARD: &str = "caretaker-dashboard";
const WORKER: &str = "caretaker-agent-worker";
const DELIVERIES: [&str; 3] = ["d-1", "d-2", "d-3"];
/// Of no interest by themselves.
const RUNS: u64 = 300;
/// 10 % of them are 30, more than four standard deviations from either end.
const KEPT: (usize, usize) = (8, 55);
/// What is always kept: route, requests, whether the answer is an error, which rule.
const ALWAYS: [(&str, u64, bool, &str); 5] = [
    ("/broken", 20, true, "httpServerErrors"),
    ("/fault", 20, false, "errors"),
    ("/slow", 10, false, "slowerThan"),
    ("/login", 5, false, "a route with ratio 1 in it"),
    // Last, and more than of the others: see `audits`.
    ("/audit", 20, false, "a route with ratio 1"),
];
/// Bytes that `url.full` may have.
const LONGEST: usize = 1024;

/// Runs it.
pub(crate) async fn run(cluster: &Cluster, report: &mut Report) -> Result<(), Failure> {
    report.step("the applications, the platform's collector, the team's policy");
    team(cluster, NAMESPACE).await?;
    cluster.namespace(PLATFORM).await?;
    apply(cluster, NAMESPACE, "redis.yaml")?;
    apply(cluster, NAMESPACE, "caretaker.yaml")?;
    apply(cluster, PLATFORM, "caretaker-platform.yaml")?;
    apply(cluster, NAMESPACE, "caretaker-policy.yaml")?;
    let backend = Backend::start(cluster, PLATFORM, "backend-config.yaml").await?;
    loader(cluster, NAMESPACE).await?;
    operator::injected(cluster, NAMESPACE, "caretaker", 2).await?;
    rolled_out(cluster, NAMESPACE, &["redis", MCP, DASHBOARD]).await?;

    report.step("webhooks, each with a Job");
    for delivery in DELIVERIES {
        let url = format!("http://{MCP}.{NAMESPACE}:8000/webhooks/github/{delivery}");
        served(cluster, NAMESPACE, &url, 1, 1, &["--method", "POST"])?;
    }
    for delivery in DELIVERIES {
        cluster.wait_for_job(NAMESPACE, &format!("{WORKER}-{delivery}"), PATIENCE).await?;
    }
    let traces = backend.until("one trace for each delivery", PATIENCE, deliveries).await?;
    report.part("webhook to Job", DELIVERIES.len() as u64, traces.len() as u64, "all");
    let lines = logged(cluster, NAMESPACE, WORKER, "worker", "delivery")?;
    let ids: BTreeSet<_> = lines.iter().map(|line| line["trace_id"].as_str().unwrap_or_default().to_owned()).collect();
    if ids != traces {
        return Err(format!("the logs of the workers have the trace ids {ids:?}, not {traces:?}").into());
    }

    report.step("what the platform keeps of a busy service");
    let sent = requests(cluster)?;
    let kept = backend.until("what is to be kept", PATIENCE, busy).await?;
    within("GET /runs", kept, KEPT.0, KEPT.1)?;
    report.part("GET /runs", RUNS, kept as u64, format!("10% ({} to {})", KEPT.0, KEPT.1));
    for (route, count, _, rule) in ALWAYS {
        report.part(format!("GET {route}"), count, count, format!("all ({rule})"));
    }

    report.step("what never leaves the collector");
    let received = backend.received()?;
    scrubbed(&received)?;
    if !received.with_route("/health").is_empty() {
        return Err("health checks have arrived".into());
    }
    let always = sent - RUNS + DELIVERIES.len() as u64;
    report.traces(always + RUNS, always + kept as u64, "see below");
    Ok(())
}

/// Sends everything to the dashboard, with credentials; how many requests that is.
fn requests(cluster: &Cluster) -> Result<u64, String> {
    let headers =
        ["authorization:Bearer secret-of-the-client", "cookie:session=secret-of-the-client", "x-marker:harmless"];
    let headers: Vec<_> = headers.iter().flat_map(|header| ["--header", header]).collect();
    let url = |route: &str| format!("http://{DASHBOARD}.{NAMESPACE}:8000{route}");
    served(cluster, NAMESPACE, &url("/runs"), RUNS, 60, &headers)?;
    for (route, count, fails, _) in ALWAYS {
        let load = load(cluster, NAMESPACE, &url(route), count, 20, &headers)?;
        let failed = if fails { count } else { 0 };
        if load.failed != failed {
            return Err(format!("GET {route}: {load:?}"));
        }
    }
    Ok(RUNS + ALWAYS.iter().map(|(_, count, ..)| count).sum::<u64>())
}

/// The traces of the deliveries, once they are whole.
fn deliveries(received: &Received) -> Result<BTreeSet<String>, String> {
    let traces = received.with_span("agent.run");
    if traces.len() != DELIVERIES.len() {
        return Err(format!("{} of {} traces", traces.len(), DELIVERIES.len()));
    }
    for trace in &traces {
        received.whole(trace)?;
        let spans = received.trace(trace);
        for (service, name) in [
            (MCP, "POST /webhooks/github/{delivery}"),
            (MCP, "eventbus.publish caretaker:events"),
            (MCP, "XADD"),
            (MCP, "eventbus.consume webhook"),
            (MCP, "invoke_agent pr"),
            (WORKER, "agent.run"),
            (WORKER, "POST"),
            (MCP, "POST /results/{delivery}"),
        ] {
            if !spans.iter().any(|span| span.service() == service && span.name == name) {
                return Err(format!("trace {trace} has no {name} of {service}"));
            }
        }
    }
    Ok(traces.into_iter().map(str::to_owned).collect())
}

/// How many of the uninteresting traces were kept, once all of the interesting ones have arrived.
fn busy(received: &Received) -> Result<usize, String> {
    for (route, count, ..) in ALWAYS {
        // A login calls /audit in its own trace.
        let roots = received.spans.iter().filter(|span| span.parent.is_empty() && span.route() == route).count();
        if roots as u64 != count {
            return Err(format!("{roots} of {count} traces of {route}"));
        }
    }
    let kept = received.with_route("/runs").len();
    if kept < KEPT.0 { Err(format!("{kept} of /runs so far")) } else { Ok(kept) }
}

/// No credential is there, no address is too long; and there would have been some.
fn scrubbed(received: &Received) -> Result<(), String> {
    if let Some((before, _)) = received.text.split_once("secret-of-the-") {
        let about: String = before.chars().rev().take(200).collect::<Vec<_>>().into_iter().rev().collect();
        return Err(format!("a credential has arrived after {about}"));
    }
    let mut longest = 0;
    let mut markers = 0;
    for span in &received.spans {
        for (name, value) in &span.attributes {
            let plain = name.to_ascii_lowercase().replace('_', "-");
            if ["authorization", "cookie"].iter().any(|word| plain.contains(word)) {
                return Err(format!("{} has the attribute {name}", span.name));
            }
            if ["url.full", "http.url"].contains(&name.as_str()) {
                longest = longest.max(value.len());
            }
            markers += usize::from(plain == "http.request.header.x-marker");
        }
    }
    if markers == 0 {
        return Err("no header has arrived: there was nothing to scrub".to_owned());
    }
    within("bytes of the longest address", longest, LONGEST - 8, LONGEST)
}
