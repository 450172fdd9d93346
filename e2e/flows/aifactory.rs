//! AIFactory: tracing is off by default, cannot break the application, and follows a request into a subprocess.

use super::common::{PATIENCE, apply, ask, loader, rolled_out, served};
use crate::backend::{Backend, Received};
use crate::cluster::Cluster;
use crate::operator;
use crate::table::{Failure, Report};

const NAMESPACE: &str = "aifactory";
const PLATFORM: &str = "aifactory-platform";
const POLICY: (&str, &str) = (NAMESPACE, "aifactory");
const APP: &str = "aifactory-web";
const SERVICE: &str = "aifactory-prod-eu";
const WEB: &str = "http://aifactory-web.aifactory:8000";
const REQUESTS: u64 = 40;
/// How much slower the application may get while its collector is dead.
const TOLERANCE: f64 = 1.10;
/// On a machine that does other things too.
const ATTEMPTS: usize = 5;

/// Runs it.
pub(crate) async fn run(cluster: &Cluster, report: &mut Report) -> Result<(), Failure> {
    cluster.namespace(NAMESPACE).await?;
    cluster.namespace(PLATFORM).await?;
    let backend = Backend::start(cluster, PLATFORM, "backend-config-token.yaml").await?;
    apply(cluster, NAMESPACE, "aifactory.yaml")?;
    loader(cluster, NAMESPACE).await?;
    rolled_out(cluster, NAMESPACE, &[APP]).await?;

    disabled(cluster, &backend, report).await?;
    without_secret(cluster, &backend, report).await?;
    let kept = with_secret(cluster, &backend, report).await?;
    subprocess(cluster, &backend, report).await?;
    report.traces(REQUESTS + 1, kept + 1, "all");
    outage(cluster, &backend, report).await
}

/// Off: nothing is written, nothing is sent, nothing fails.
async fn disabled(cluster: &Cluster, backend: &Backend<'_>, report: &mut Report) -> Result<(), Failure> {
    report.step("disabled: the application runs on, and sends nothing");
    let refused =
        std::fs::read_to_string("e2e/manifests/aifactory-policy.yaml")?.replace("enabled: true", "enabled: false");
    match cluster.apply_yaml(&refused) {
        Err(reason) if reason.contains("TRC0102") => {}
        other => return Err(format!("a header Secret that nobody will use is not refused: {other:?}").into()),
    }
    apply(cluster, NAMESPACE, "aifactory-disabled.yaml")?;
    operator::condition(cluster, POLICY, ("Ready", "True", "Disabled")).await?;
    served(cluster, NAMESPACE, &format!("{WEB}/api/tasks"), REQUESTS, 20, &[])?;
    let answer = ask(cluster, NAMESPACE, "POST", &format!("{WEB}/api/agent"))?;
    if answer["code"] != 0 || answer["trace_id"] != "0".repeat(32) {
        return Err(format!("the agent says {answer}").into());
    }
    let log = cluster.logs(NAMESPACE, &format!("app={APP}"), "web")?;
    if let Some(line) = log.lines().find(|line| line.contains("\"ERROR\"") || line.contains("Traceback")) {
        return Err(format!("the application complains: {line}").into());
    }
    nothing(backend)?;
    report.part("disabled", REQUESTS, 0, "none");
    Ok(())
}

/// On, but the Secret with the token is not there: the backend refuses what comes, and the application does not notice.
async fn without_secret(cluster: &Cluster, backend: &Backend<'_>, report: &mut Report) -> Result<(), Failure> {
    report.step("enabled without its Secret: the application runs on");
    apply(cluster, NAMESPACE, "aifactory-policy.yaml")?;
    operator::condition(cluster, POLICY, ("ResolvedRefs", "False", "SecretNotFound")).await?;
    operator::condition(cluster, POLICY, ("Programmed", "True", "")).await?;
    rolled_out(cluster, NAMESPACE, &[APP]).await?;
    served(cluster, NAMESPACE, &format!("{WEB}/api/tasks"), REQUESTS, 20, &[])?;
    // The exporter has tried by the time it complains.
    cluster
        .wait_for("the exporter is refused", PATIENCE, async || {
            let log = cluster.logs(NAMESPACE, &format!("app={APP}"), "web")?;
            if log.contains("401") { Ok(()) } else { Err("its log has no 401".to_owned()) }
        })
        .await?;
    nothing(backend)?;
    report.part("Secret missing", REQUESTS, 0, "none");
    Ok(())
}

/// On, with the Secret.
async fn with_secret(cluster: &Cluster, backend: &Backend<'_>, report: &mut Report) -> Result<u64, Failure> {
    report.step("enabled with its Secret: every request arrives");
    let token = "--from-literal=OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer%20aifactory-token";
    cluster.kubectl(&["create", "secret", "generic", "tempo-headers", "-n", NAMESPACE, token])?;
    operator::condition(cluster, POLICY, ("Ready", "True", "")).await?;
    // Variables from Secrets are read when a pod starts.
    cluster.kubectl(&["rollout", "restart", "-n", NAMESPACE, &format!("deployment/{APP}")])?;
    rolled_out(cluster, NAMESPACE, &[APP]).await?;
    served(cluster, NAMESPACE, &format!("{WEB}/api/tasks"), REQUESTS, 20, &[])?;
    let kept = backend.until("all requests", PATIENCE, |received| tasks(received, REQUESTS)).await?;
    report.part("Secret present", REQUESTS, kept, "all");
    Ok(kept)
}

/// A process that the application starts goes on with the trace of the request.
async fn subprocess(cluster: &Cluster, backend: &Backend<'_>, report: &mut Report) -> Result<(), Failure> {
    report.step("a subprocess in the trace of its request");
    let answer = ask(cluster, NAMESPACE, "POST", &format!("{WEB}/api/agent"))?;
    let trace = answer["trace_id"].as_str().unwrap_or_default().to_owned();
    let both = backend.until("the subprocess's span", PATIENCE, |received| {
        received.whole(&trace)?;
        let spans = received.trace(&trace);
        let find = |name: &str| spans.iter().find(|span| span.name == name && span.service() == SERVICE);
        match (find("POST /api/agent"), find("task:phase:coding")) {
            (Some(request), Some(agent)) if agent.parent == request.id => Ok(()),
            _ => Err(format!("trace {trace} has {} spans", spans.len())),
        }
    });
    both.await?;
    report.part("subprocess", 1, 1, "1");
    Ok(())
}

/// The collector dies while requests come, and comes back.
async fn outage(cluster: &Cluster, backend: &Backend<'_>, report: &mut Report) -> Result<(), Failure> {
    report.step("the collector is killed under load");
    let scale = |replicas: &str| cluster.kubectl(&["scale", "-n", PLATFORM, "deployment/backend", replicas]).map(drop);
    let url = format!("{WEB}/api/tasks");
    let during = std::thread::scope(|scope| {
        let requests = scope.spawn(|| served(cluster, NAMESPACE, &url, 400, 40, &[]));
        let killed = cluster
            .kubectl(&["delete", "pods", "-n", PLATFORM, "-l", "app=backend", "--grace-period=0", "--force"])
            .and_then(|_| scale("--replicas=0"));
        let served = requests.join().unwrap_or_else(|_| Err("the load panicked".to_owned()));
        killed.and(served)
    })?;
    report.step(format!("requests went on: {} sent, {} failed", during.sent, during.failed));

    // The best of each: what the application does when nobody else wants the processor. Both only get better.
    let (mut with, mut without) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..ATTEMPTS {
        scale("--replicas=0")?;
        operator::gone(cluster, "the backend", &["pods", "-n", PLATFORM, "-l", "app=backend"]).await?;
        without = pace(cluster, without)?;
        scale("--replicas=1")?;
        cluster.wait_for_rollout(PLATFORM, "deployment/backend", PATIENCE).await?;
        with = pace(cluster, with)?;
        if without <= with * TOLERANCE {
            break;
        }
    }
    let latencies = format!("median latency: {with:.2} ms with a collector, {without:.2} ms without");
    report.step(&latencies);
    if without > with * TOLERANCE {
        return Err(latencies.into());
    }

    let before = tasks(&backend.received()?, 0)?;
    served(cluster, NAMESPACE, &url, REQUESTS, 20, &[])?;
    let after =
        backend.until("requests after the outage", PATIENCE, |received| tasks(received, before + REQUESTS)).await?;
    report.part("after an outage", REQUESTS, after.saturating_sub(before).min(REQUESTS), "all");
    Ok(())
}

/// The best median of some rounds and of those before.
fn pace(cluster: &Cluster, mut best: f64) -> Result<f64, String> {
    for _ in 0..3 {
        best = best.min(served(cluster, NAMESPACE, &format!("{WEB}/api/tasks"), 120, 40, &[])?.p50);
    }
    Ok(best)
}

/// The requests that have arrived, where there are so many.
fn tasks(received: &Received, least: u64) -> Result<u64, String> {
    let traces =
        received.spans.iter().filter(|span| span.route() == "/api/tasks" && span.service() == SERVICE).count() as u64;
    if traces < least { Err(format!("{traces} of {least}")) } else { Ok(traces) }
}

fn nothing(backend: &Backend<'_>) -> Result<(), String> {
    let received = backend.received()?;
    if received.spans.is_empty() { Ok(()) } else { Err(format!("spans have arrived: {}", received.summary())) }
}
