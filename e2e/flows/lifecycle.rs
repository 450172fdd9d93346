//! Lifecycle: what is put in is taken out again, by disabling and by uninstalling, and nothing of the operator is left.

use serde_json::Value;

use super::common::{PATIENCE, apply};
use crate::cluster::Cluster;
use crate::operator;
use crate::table::{Failure, Report};

const NAMESPACE: &str = "lifecycle";
/// With the path of each one's pod.
const WORKLOADS: [(&str, &str); 4] = [
    ("deployment/web", "/spec/template/spec"),
    ("statefulset/store", "/spec/template/spec"),
    ("daemonset/agent", "/spec/template/spec"),
    ("cronjob/nightly", "/spec/jobTemplate/spec/template/spec"),
];
/// The field managers of the operator.
const MANAGERS: [&str; 2] = ["tracesteward", "tracesteward-objects"];

/// Runs it. Afterwards there is no operator any more: it has to be the last.
pub(crate) async fn run(cluster: &Cluster, report: &mut Report) -> Result<(), Failure> {
    report.step("a workload of each kind, with and without tracing");
    cluster.namespace(NAMESPACE).await?;
    apply(cluster, NAMESPACE, "lifecycle.yaml")?;
    rolled_out(cluster).await?;
    let before = pods(cluster)?;
    inject(cluster).await?;

    report.step("Jobs are traced where the operator answers, and run where it does not");
    for (job, answers) in [("answered", true), ("unanswered", false)] {
        if !answers {
            operator::stop(cluster).await?;
        }
        let traced = run_job(cluster, job).await?;
        if traced != answers {
            return Err(format!("the pod of Job {job} is {}traced", if traced { "" } else { "not " }).into());
        }
    }
    operator::start(cluster).await?;

    report.step("disabled: everything is gone after the rollout");
    let disable = r#"{"spec":{"enabled":false}}"#;
    let policy = "tracingpolicies.tracesteward.io/everything";
    cluster.kubectl(&["patch", "-n", NAMESPACE, policy, "--type=merge", "-p", disable])?;
    operator::condition(cluster, (NAMESPACE, "everything"), ("Ready", "True", "Disabled")).await?;
    cluster.wait_for("the templates as before", PATIENCE, async || withdrawn(cluster)).await?;
    rolled_out(cluster).await?;
    cluster
        .wait_for("the pods as before", PATIENCE, async || {
            let now = pods(cluster)?;
            if now == before { Ok(()) } else { Err(format!("{now:?}, not {before:?}")) }
        })
        .await?;

    report.step("uninstalled, in the documented order: nothing is left");
    inject(cluster).await?;
    operator::uninstall(cluster, async || withdrawn(cluster)).await?;
    rolled_out(cluster).await?;
    withdrawn(cluster)?;
    leftovers(cluster)?;
    Ok(())
}

/// Enables tracing and sees it in all templates and pods.
async fn inject(cluster: &Cluster) -> Result<(), String> {
    apply(cluster, NAMESPACE, "lifecycle-policy.yaml")?;
    operator::injected(cluster, NAMESPACE, "everything", WORKLOADS.len() as u64).await?;
    for (workload, path) in WORKLOADS {
        let object = cluster.get(NAMESPACE, workload)?;
        let pod = object.pointer(path).unwrap_or(&Value::Null);
        let text = pod.to_string();
        for part in ["OTEL_EXPORTER_OTLP_ENDPOINT", "tracesteward-python", "tracesteward-instrumentation", "PYTHONPATH"]
        {
            if !text.contains(part) {
                return Err(format!("{workload} has no {part}: {pod}"));
            }
        }
    }
    rolled_out(cluster).await
}

/// Runs a Job to its end; whether its pod was traced.
async fn run_job(cluster: &Cluster, name: &str) -> Result<bool, String> {
    let command =
        ["create", "job", name, "-n", NAMESPACE, "--image=local.test/python:1", "--", "python3", "-c", "pass"];
    cluster.kubectl(&command)?;
    cluster.wait_for_job(NAMESPACE, name, PATIENCE).await?;
    let question = ["get", "pods", "-n", NAMESPACE, "-l", &format!("job-name={name}"), "-o", "json"];
    let pods = cluster.kubectl(&question)?;
    cluster.kubectl(&["delete", "job", name, "-n", NAMESPACE, "--wait", "--cascade=foreground"])?;
    match ["OTEL_EXPORTER_OTLP_ENDPOINT", "tracesteward-python"].map(|part| pods.contains(part)) {
        [variables, instrumentation] if variables == instrumentation => Ok(variables),
        _ => Err(format!("the pod of Job {name} has a part of tracing alone: {pods}")),
    }
}

async fn rolled_out(cluster: &Cluster) -> Result<(), String> {
    for (workload, _) in WORKLOADS.iter().filter(|(workload, _)| !workload.starts_with("cronjob")) {
        cluster.wait_for_rollout(NAMESPACE, workload, PATIENCE).await?;
    }
    Ok(())
}

/// Whether nothing of the operator is in the workloads, their bookkeeping included, and everything else is.
fn withdrawn(cluster: &Cluster) -> Result<(), String> {
    for (workload, path) in WORKLOADS {
        let text = cluster.kubectl(&["get", "-n", NAMESPACE, workload, "-o", "json", "--show-managed-fields"])?;
        let object: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        let managers = object["metadata"]["managedFields"].as_array().into_iter().flatten();
        if let Some(entry) = managers.into_iter().find(|entry| MANAGERS.iter().any(|name| entry["manager"] == *name)) {
            return Err(format!("{workload} has managed fields: {entry}"));
        }
        let pod = object.pointer(path).ok_or_else(|| format!("{workload} has no pod"))?;
        if text.contains("tracesteward") || text.contains("OTEL_") || pod.get("initContainers").is_some() {
            return Err(format!("{workload} is not as it was: {object}"));
        }
    }
    Ok(())
}

/// The pods' own part of what they run, without what the cluster adds.
fn pods(cluster: &Cluster) -> Result<Vec<String>, String> {
    let text = cluster.kubectl(&["get", "pods", "-n", NAMESPACE, "-o", "json"])?;
    let list: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let mut pods: Vec<_> = list["items"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|pod| {
            let spec = &pod["spec"];
            let names = |list: &Value| {
                let entries = list.as_array().into_iter().flatten();
                let names = entries
                    .filter_map(|entry| entry["name"].as_str())
                    .filter(|name| !name.starts_with("kube-api-access"));
                names.collect::<Vec<_>>().join(",")
            };
            let container = &spec["containers"][0];
            let parts = [&spec["initContainers"], &spec["volumes"], &container["env"], &container["volumeMounts"]];
            format!("{} {}", pod["metadata"]["labels"]["app"], parts.map(names).join(" "))
        })
        .collect();
    pods.sort();
    Ok(pods)
}

/// Nothing in the cluster carries the operator's name any more.
fn leftovers(cluster: &Cluster) -> Result<(), String> {
    let kinds = [
        "customresourcedefinitions",
        "clusterroles",
        "clusterrolebindings",
        "validatingwebhookconfigurations",
        "mutatingwebhookconfigurations",
        "mutatingadmissionpolicies",
        "mutatingadmissionpolicybindings",
        "namespaces",
    ];
    let mut left = Vec::new();
    for kind in kinds {
        let names = cluster.kubectl(&["get", kind, "-o", "name"]).or_else(operator::unknown)?;
        left.extend(names.lines().filter(|name| name.contains("tracesteward")).map(str::to_owned));
    }
    if left.is_empty() { Ok(()) } else { Err(format!("left behind: {}", left.join(", "))) }
}
