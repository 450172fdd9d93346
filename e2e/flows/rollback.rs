//! Applications that do not run with what is injected: a real kubelet restarts them until the operator takes it out again. Nobody notices.

use std::time::Duration;

use serde_json::Value;

use super::common::{PATIENCE, apply, loader, served};
use crate::cluster::Cluster;
use crate::operator;
use crate::table::{Failure, Report};

const NAMESPACE: &str = "rollback";
const REQUESTS: u64 = 600;
/// The kubelet waits longer after each end of a container.
const LOOP: Duration = Duration::from_secs(180);
const SAID: &str = "it does not run with OTEL_SERVICE_NAME";

/// Runs it.
pub(crate) async fn run(cluster: &Cluster, report: &mut Report) -> Result<(), Failure> {
    report.step("two Deployments and a StatefulSet, untraced");
    cluster.namespace(NAMESPACE).await?;
    apply(cluster, NAMESPACE, "rollback.yaml")?;
    loader(cluster, NAMESPACE).await?;
    for workload in ["deployment/web", "deployment/worker", "statefulset/store"] {
        cluster.wait_for_rollout(NAMESPACE, workload, PATIENCE).await?;
    }
    let (web, worker) = (pods(cluster, "web")?, pods(cluster, "worker")?);

    report.step("policies that break them, and requests all the while");
    apply(cluster, NAMESPACE, "rollback-policy.yaml")?;
    let load = served(cluster, NAMESPACE, "http://web.rollback:8000/", REQUESTS, 10, &[])?;
    report.part("GET / while it breaks", load.sent, load.sent - load.failed, "all");

    report.step("taken out again, with the pods' own words");
    for workload in ["deployment/web", "statefulset/store"] {
        taken_back(cluster, workload).await?;
        cluster.wait_for_rollout(NAMESPACE, workload, PATIENCE).await?;
    }
    operator::condition(cluster, (NAMESPACE, "apps"), ("Ready", "False", "RolloutHalted")).await?;
    operator::condition(cluster, (NAMESPACE, "store"), ("Ready", "False", "RolloutHalted")).await?;
    same("pods of web", &web, &pods(cluster, "web")?)?;
    same("pods of worker, which was never reached", &worker, &pods(cluster, "worker")?)?;
    Ok(())
}

/// Waits until a workload has its own template again, and says why.
async fn taken_back(cluster: &Cluster, workload: &str) -> Result<(), String> {
    cluster
        .wait_for(&format!("{workload} taken back"), LOOP, async || {
            let live = cluster.get(NAMESPACE, workload)?;
            let because =
                live["metadata"]["annotations"]["tracesteward.io/refused-because"].as_str().unwrap_or_default();
            // The program itself names another one.
            let is_clean = !live["spec"]["template"].to_string().contains("OTEL_EXPORTER_OTLP_ENDPOINT");
            if because == SAID && is_clean { Ok(()) } else { Err(format!("{because:?}, {}", live["status"])) }
        })
        .await
}

/// The names of the pods of an application.
fn pods(cluster: &Cluster, app: &str) -> Result<Vec<String>, String> {
    let listed = cluster.kubectl(&["get", "pods", "-n", NAMESPACE, "-l", &format!("app={app}"), "-o", "json"])?;
    let listed: Value = serde_json::from_str(&listed).map_err(|error| error.to_string())?;
    let all = listed["items"].as_array().into_iter().flatten();
    let staying = all.filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    let mut names: Vec<_> = staying.filter_map(|pod| pod["metadata"]["name"].as_str().map(str::to_owned)).collect();
    names.sort();
    Ok(names)
}

fn same(what: &str, before: &[String], after: &[String]) -> Result<(), String> {
    if before == after { Ok(()) } else { Err(format!("{what}: {before:?}, and then {after:?}")) }
}
