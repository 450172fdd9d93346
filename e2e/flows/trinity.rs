//! Trinity: agents A -> B -> C over httpx and a Redis queue, without an SDK in their image: one trace through all of them. A and B are
//! traced by their Deployments, C pod by pod.

use std::collections::BTreeSet;

use super::common::{PATIENCE, apply, load, loader, logged, rolled_out, served, team, within};
use crate::backend::{Backend, Received};
use crate::cluster::Cluster;
use crate::operator;
use crate::table::{Failure, Report};

const NAMESPACE: &str = "trinity";
const PLATFORM: &str = "trinity-platform";
const AGENTS: [&str; 3] = ["agent-a", "agent-b", "agent-c"];
const A: &str = "http://agent-a.trinity:8000";
const TASKS: u64 = 20;
const HEARTBEATS: u64 = 300;
/// 10 % of the heartbeats are 30, more than four standard deviations from either end.
const KEPT: (usize, usize) = (8, 55);

/// Runs it.
pub(crate) async fn run(cluster: &Cluster, report: &mut Report) -> Result<(), Failure> {
    report.step("three agents and a queue, untraced");
    team(cluster, NAMESPACE).await?;
    cluster.namespace(PLATFORM).await?;
    apply(cluster, NAMESPACE, "redis.yaml")?;
    apply(cluster, NAMESPACE, "trinity.yaml")?;
    let backend = Backend::start(cluster, PLATFORM, "backend-config.yaml").await?;
    loader(cluster, NAMESPACE).await?;
    rolled_out(cluster, NAMESPACE, &["redis"]).await?;
    rolled_out(cluster, NAMESPACE, &AGENTS).await?;
    served(cluster, NAMESPACE, &format!("{A}/tasks"), 2, 10, &["--method", "POST"])?;
    if logged(cluster, NAMESPACE, "agent-a", "agent", "task")?.iter().any(|line| line.get("trace_id").is_some()) {
        return Err("agent A has trace ids before anybody traces it".into());
    }

    report.step("the platform's collector and the team's policies");
    apply(cluster, PLATFORM, "trinity-platform.yaml")?;
    apply(cluster, NAMESPACE, "trinity-policy.yaml")?;
    operator::injected(cluster, NAMESPACE, "agents", 2).await?;
    operator::condition(cluster, (NAMESPACE, "agent-c"), ("Ready", "True", "")).await?;
    // Agent C is traced pod by pod, and its pod is older than its policy.
    cluster.kubectl(&["rollout", "restart", "-n", NAMESPACE, "deployment/agent-c"])?;
    rolled_out(cluster, NAMESPACE, &AGENTS).await?;

    report.step("tasks through all three");
    served(cluster, NAMESPACE, &format!("{A}/tasks"), TASKS, 10, &["--method", "POST"])?;
    let traces = backend.until("one trace for each task", PATIENCE, tasks).await?;
    report.part("POST /tasks", TASKS, traces.len() as u64, "all");
    correlated(cluster, &traces)?;
    let template = cluster.get(NAMESPACE, "deployment/agent-c")?["spec"]["template"].to_string();
    if template.contains("OTEL_") {
        return Err(format!("the template of agent C has been written to: {template}").into());
    }

    report.step("many heartbeats, of which one in ten is kept");
    served(cluster, NAMESPACE, &format!("{A}/heartbeat"), HEARTBEATS, 100, &[])?;
    // What is sent later is decided later: when this has arrived, so has what was kept before.
    load(cluster, NAMESPACE, &format!("{A}/tasks"), 1, 1, &["--method", "POST"])?;
    let kept = backend.until("heartbeats", PATIENCE, heartbeats).await?;
    within("heartbeats", kept, KEPT.0, KEPT.1)?;
    report.part("GET /heartbeat", HEARTBEATS, kept as u64, format!("10% ({} to {})", KEPT.0, KEPT.1));

    let received = backend.received()?;
    if !received.with_route("/health").is_empty() || !received.with_span("BLPOP").is_empty() {
        return Err(format!("what nobody wants has arrived: {}", received.summary()).into());
    }
    report.traces(TASKS + 1 + HEARTBEATS, received.with_span("POST /tasks").len() as u64 + kept as u64, "see below");
    Ok(())
}

/// The traces of the tasks, once each of them is whole.
fn tasks(received: &Received) -> Result<BTreeSet<String>, String> {
    let traces = received.with_route("/tasks");
    if traces.len() as u64 != TASKS {
        return Err(format!("{} of {TASKS} traces", traces.len()));
    }
    for trace in &traces {
        received.whole(trace)?;
        let spans = received.trace(trace);
        for (service, library, name) in [
            ("agent-a", "fastapi", "POST /tasks"),
            ("agent-a", "httpx", "POST"),
            ("agent-b", "fastapi", "POST /work"),
            ("agent-b", "redis", "RPUSH"),
            ("agent-c", "redis", "INCRBY"),
            ("agent-c", "httpx", "POST"),
            ("agent-a", "fastapi", "POST /results/{task}"),
        ] {
            let library = format!("opentelemetry.instrumentation.{library}");
            if !spans.iter().any(|span| span.service() == service && span.scope == library && span.name == name) {
                return Err(format!("trace {trace} has no {name} of {service} by {library}"));
            }
        }
    }
    Ok(traces.into_iter().map(str::to_owned).collect())
}

/// Every log line of a task carries the id of a trace that is at the backend.
fn correlated(cluster: &Cluster, traces: &BTreeSet<String>) -> Result<(), String> {
    for agent in AGENTS {
        let lines = logged(cluster, NAMESPACE, agent, "agent", "task")?;
        let ids: BTreeSet<_> =
            lines.iter().map(|line| line["trace_id"].as_str().unwrap_or_default().to_owned()).collect();
        if ids != *traces {
            return Err(format!(
                "the log of {agent} has {} trace ids, not those of the {TASKS} tasks: {ids:?}",
                ids.len()
            ));
        }
    }
    Ok(())
}

/// How many heartbeats were kept, once the task after them has arrived.
fn heartbeats(received: &Received) -> Result<usize, String> {
    let kept = received.with_route("/heartbeat").len();
    if received.with_route("/tasks").len() as u64 <= TASKS || kept < KEPT.0 {
        return Err(format!("{kept} so far"));
    }
    Ok(kept)
}
