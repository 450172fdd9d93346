//! What the flows share: deploying, and requests from inside the cluster.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::cluster::Cluster;

/// For a rollout, and for what has to travel to the backend, on a loaded machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(90);

/// Applies a file of `e2e/manifests` in this namespace.
pub(super) fn apply(cluster: &Cluster, namespace: &str, file: &str) -> Result<(), String> {
    cluster.kubectl(&["apply", "-n", namespace, "-f", &format!("e2e/manifests/{file}")]).map(drop)
}

/// Makes a namespace whose policies may use the platform's collector.
pub(super) async fn team(cluster: &Cluster, namespace: &str) -> Result<(), String> {
    cluster.namespace(namespace).await?;
    cluster.kubectl(&["label", "namespace", namespace, "tracing=true", "--overwrite"]).map(drop)
}

/// Waits until these Deployments are rolled out and no pod of an earlier template is left: it would still take work, untraced.
pub(super) async fn rolled_out(cluster: &Cluster, namespace: &str, deployments: &[&str]) -> Result<(), String> {
    for deployment in deployments {
        cluster.wait_for_rollout(namespace, &format!("deployment/{deployment}"), PATIENCE).await?;
        let what = format!("only new pods of {deployment}");
        cluster
            .wait_for(&what, PATIENCE, async || {
                let pods = cluster.kubectl(&[
                    "get",
                    "pods",
                    "-n",
                    namespace,
                    "-l",
                    &format!("app={deployment}"),
                    "-o",
                    "name",
                ])?;
                if pods.lines().count() == 1 { Ok(()) } else { Err(pods) }
            })
            .await?;
    }
    Ok(())
}

/// Starts the pod that requests come from.
pub(super) async fn loader(cluster: &Cluster, namespace: &str) -> Result<(), String> {
    apply(cluster, namespace, "load.yaml")?;
    cluster.wait_for_condition(namespace, "pod/load", "Ready", PATIENCE).await
}

/// How a load went.
#[derive(Debug, Deserialize)]
pub(super) struct Load {
    /// Requests sent.
    pub(super) sent: u64,
    /// Those without an answer, or with an error of the server.
    pub(super) failed: u64,
    /// The median of the latencies, in milliseconds.
    pub(super) p50: f64,
}

/// Sends `count` requests to `url`, `rate` a second, with further arguments of `e2e/apps/load.py`.
pub(super) fn load(
    cluster: &Cluster,
    namespace: &str,
    url: &str,
    count: u64,
    rate: u64,
    more: &[&str],
) -> Result<Load, String> {
    let (count, rate) = (count.to_string(), rate.to_string());
    let mut words =
        vec!["exec", "-n", namespace, "load", "--", "python3", "load.py", url, "--count", &count, "--rate", &rate];
    words.extend(more);
    let answer = cluster.kubectl(&words)?;
    serde_json::from_str(&answer).map_err(|error| format!("load.py: {error}: {answer}"))
}

/// The same where every request has to be answered without an error.
pub(super) fn served(
    cluster: &Cluster,
    namespace: &str,
    url: &str,
    count: u64,
    rate: u64,
    more: &[&str],
) -> Result<Load, String> {
    let load = load(cluster, namespace, url, count, rate, more)?;
    if load.failed == 0 && load.sent == count { Ok(load) } else { Err(format!("{url}: {load:?}")) }
}

/// Sends one request and reads its answer as JSON.
pub(super) fn ask(cluster: &Cluster, namespace: &str, method: &str, url: &str) -> Result<Value, String> {
    let code = "import httpx, sys; print(httpx.request(*sys.argv[1:], timeout=20).raise_for_status().text)";
    let answer = cluster.kubectl(&["exec", "-n", namespace, "load", "--", "python3", "-c", code, method, url])?;
    serde_json::from_str(&answer).map_err(|error| format!("{url}: {error}: {answer}"))
}

/// The JSON lines that the pods of an application have logged with this beginning of their message.
pub(super) fn logged(
    cluster: &Cluster,
    namespace: &str,
    app: &str,
    container: &str,
    message: &str,
) -> Result<Vec<Value>, String> {
    let log = cluster.logs(namespace, &format!("app={app}"), container)?;
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    Ok(lines.filter(|line| line["message"].as_str().is_some_and(|text| text.starts_with(message))).collect())
}

/// A number within bounds, both included; else what it was.
pub(super) fn within(what: &str, number: usize, low: usize, high: usize) -> Result<(), String> {
    if (low..=high).contains(&number) { Ok(()) } else { Err(format!("{what}: {number}, not {low} to {high}")) }
}
