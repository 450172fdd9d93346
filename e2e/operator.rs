//! The operator on the cluster: installed by its chart, as a user does it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::cluster::Cluster;

/// Its namespace.
pub(crate) const NAMESPACE: &str = "tracesteward-system";
const RELEASE: &str = "tracesteward";
const CHART: &str = "charts/tracesteward";
const DEPLOYMENT: &str = "deployment/tracesteward";
const TIMEOUT: Duration = Duration::from_secs(120);

/// Installs the chart with the image that was built here, and waits until the operator is ready.
pub(crate) async fn install(cluster: &Cluster) -> Result<(), String> {
    let image = "image.registry=local.test,image.repository=operator,image.tag=1";
    cluster.helm(&[
        "upgrade",
        "--install",
        RELEASE,
        CHART,
        "-n",
        NAMESPACE,
        "--create-namespace",
        "--set-string",
        image,
    ])?;
    cluster.wait_for_rollout(NAMESPACE, DEPLOYMENT, TIMEOUT).await?;
    // Applied by the operator itself, once it leads.
    let webhook = ADMISSION[0];
    cluster.wait_for(webhook, TIMEOUT, async || cluster.kubectl(&["get", webhook]).map(drop)).await?;
    cluster.helm(&["test", RELEASE, "-n", NAMESPACE, "--timeout", "60s"]).map(drop)
}

/// What the operator keeps for admission, beside the release.
const ADMISSION: [&str; 5] = [
    "validatingwebhookconfigurations/tracesteward",
    "mutatingwebhookconfigurations/tracesteward",
    "mutatingwebhookconfigurations/tracesteward-pods",
    "mutatingadmissionpolicies/tracesteward-repair",
    "mutatingadmissionpolicybindings/tracesteward-repair",
];

/// What it acts on.
const KINDS: [&str; 3] =
    ["tracingpolicies.tracesteward.io", "clustertracingpolicies.tracesteward.io", "tracingcollectors.tracesteward.io"];

/// Whether there is an operator. Without one nobody writes a status, and the flows go on without it: what they fail by then is
/// what they look at themselves.
static STOPPED: AtomicBool = AtomicBool::new(false);

/// Stops the operator and leaves everything else of it in place.
pub(crate) async fn stop(cluster: &Cluster) -> Result<(), String> {
    STOPPED.store(true, Ordering::Relaxed);
    cluster.kubectl(&["scale", "-n", NAMESPACE, DEPLOYMENT, "--replicas=0"])?;
    gone(cluster, "the operator's pods", &["pods", "-n", NAMESPACE]).await
}

/// Starts it again.
pub(crate) async fn start(cluster: &Cluster) -> Result<(), String> {
    cluster.kubectl(&["scale", "-n", NAMESPACE, DEPLOYMENT, "--replicas=1"])?;
    cluster.wait_for_rollout(NAMESPACE, DEPLOYMENT, TIMEOUT).await?;
    STOPPED.store(false, Ordering::Relaxed);
    Ok(())
}

/// Uninstalls in the documented order: policies and collectors first, so that the operator takes out what it has put in; then the
/// release; then what stays of it on purpose.
pub(crate) async fn uninstall(
    cluster: &Cluster,
    withdrawn: impl AsyncFn() -> Result<(), String>,
) -> Result<(), String> {
    for kind in KINDS {
        cluster.kubectl(&["delete", kind, "--all", "--all-namespaces"])?;
    }
    cluster.wait_for("everything is withdrawn", TIMEOUT, || withdrawn()).await?;
    let made = "deployments,statefulsets,services,configmaps,serviceaccounts,poddisruptionbudgets,networkpolicies";
    let label = "app.kubernetes.io/managed-by=tracesteward";
    gone(cluster, "what runs collectors", &[made, "--all-namespaces", "-l", label]).await?;
    cluster.helm(&["uninstall", RELEASE, "-n", NAMESPACE, "--wait"])?;
    for object in ADMISSION {
        gone(cluster, object, &[object, "--ignore-not-found"]).await?;
    }
    let mut words = vec!["delete", "customresourcedefinitions"];
    words.extend(KINDS);
    cluster.kubectl(&words)?;
    cluster.kubectl(&["delete", "namespace", NAMESPACE])?;
    Ok(())
}

/// Waits until `kubectl get` finds nothing any more.
pub(crate) async fn gone(cluster: &Cluster, what: &str, question: &[&str]) -> Result<(), String> {
    let mut words = vec!["get", "-o", "name"];
    words.extend(question);
    let what = format!("{what}: gone");
    cluster
        .wait_for(&what, TIMEOUT, async || match cluster.kubectl(&words).or_else(unknown)?.trim() {
            "" => Ok(()),
            left => Err(format!("there are {}", left.replace('\n', ", "))),
        })
        .await
}

/// There is nothing of a kind that the API server does not have.
pub(crate) fn unknown(reason: String) -> Result<String, String> {
    if reason.contains("doesn't have a resource type") { Ok(String::new()) } else { Err(reason) }
}

/// Waits until a policy has this reason in this condition, for its present generation.
pub(crate) async fn condition(
    cluster: &Cluster,
    policy: (&str, &str),
    condition: (&str, &str, &str),
) -> Result<(), String> {
    if STOPPED.load(Ordering::Relaxed) {
        return Ok(());
    }
    let ((namespace, name), (kind, wanted, reason)) = (policy, condition);
    let what = format!("TracingPolicy {namespace}/{name}: {kind}={wanted} {reason}");
    cluster
        .wait_for(&what, TIMEOUT, async || {
            let object = cluster.get(namespace, &format!("tracingpolicies.tracesteward.io/{name}"))?;
            let status = &object["status"];
            let found = status["conditions"].as_array().into_iter().flatten().find(|entry| entry["type"] == kind);
            let current = status["observedGeneration"] == object["metadata"]["generation"];
            match found {
                Some(found)
                    if current && found["status"] == wanted && (reason.is_empty() || found["reason"] == reason) =>
                {
                    Ok(())
                }
                _ => Err(format!("its status is {status}")),
            }
        })
        .await
}

/// Waits until a policy is ready and has written to this many workloads.
pub(crate) async fn injected(cluster: &Cluster, namespace: &str, name: &str, count: u64) -> Result<(), String> {
    let what = format!("TracingPolicy {namespace}/{name} has {count} workloads injected");
    condition(cluster, (namespace, name), ("Ready", "True", "")).await?;
    if STOPPED.load(Ordering::Relaxed) {
        return Ok(());
    }
    cluster
        .wait_for(&what, TIMEOUT, async || {
            let object = cluster.get(namespace, &format!("tracingpolicies.tracesteward.io/{name}"))?;
            let counts = &object["status"]["workloads"];
            if counts["injected"] == count { Ok(()) } else { Err(format!("its counts are {counts}")) }
        })
        .await
}
