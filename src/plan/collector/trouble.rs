//! Why pods are not ready, in their own words. A function of the objects' JSON.

use std::collections::BTreeSet;

use serde_json::Value;

/// What pods say can be long.
const MAX_TEXT: usize = 512;

/// The hash of the configuration that a pod, or a pod template, of the workload `tier` mounts: its ConfigMap is called
/// `<tier>-<hash>`.
pub fn configuration_of(pod: &Value, tier: &str) -> Option<String> {
    let volumes = pod.pointer("/spec/volumes")?.as_array()?;
    let names = volumes.iter().filter_map(|volume| volume.pointer("/configMap/name")?.as_str());
    let mut hashes = names.filter_map(|name| name.strip_prefix(tier)?.strip_prefix('-'));
    hashes.next().map(str::to_owned)
}

/// The most telling text of the pods of a workload that run this configuration: what the collector said when it ended; else
/// why it is not started; else why the pod is not scheduled; else why there is no pod.
pub fn trouble(pods: &[Value], workload: &Value, tier: &str, hash: &str) -> Option<String> {
    let meant: Vec<_> = pods.iter().filter(|pod| configuration_of(pod, tier).as_deref() == Some(hash)).collect();
    let first = |read: fn(&Value) -> Option<String>| {
        // One of several pods speaks for all, and always the same one.
        let texts: BTreeSet<String> =
            meant.iter().filter_map(|pod| read(pod)).filter(|text| !text.is_empty()).collect();
        texts.into_iter().next()
    };
    let text = first(ended).or_else(|| first(not_started)).or_else(|| first(not_scheduled));
    text.or_else(|| no_pods(workload)).map(|text| text.trim().chars().take(MAX_TEXT).collect())
}

/// What one pod says of why it does not run.
pub(in crate::plan) fn pod_trouble(pod: &Value) -> Option<String> {
    let text = ended(pod).filter(|text| !text.is_empty()).or_else(|| not_started(pod))?;
    Some(text.trim().chars().take(MAX_TEXT).collect())
}

/// Whether a container of the pod ends again and again, or, where `is_late`, waits for something that does not come.
pub(in crate::plan) fn stuck(pod: &Value, restarts: i64, is_late: bool) -> bool {
    containers(pod).any(|status| {
        let reason = status.pointer("/state/waiting/reason").and_then(Value::as_str).unwrap_or_default();
        let count = status.get("restartCount").and_then(Value::as_i64).unwrap_or_default();
        match reason {
            "CrashLoopBackOff" => count >= restarts,
            "" | "ContainerCreating" | "PodInitializing" => false,
            _ => is_late,
        }
    })
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    let of = |field: &str| pod.pointer(field).and_then(Value::as_array).into_iter().flatten();
    of("/status/initContainerStatuses").chain(of("/status/containerStatuses"))
}

/// What a container said that has ended, now or the last time, and not because it was asked to.
fn ended(pod: &Value) -> Option<String> {
    containers(pod).filter(|container| container.get("ready").and_then(Value::as_bool) != Some(true)).find_map(
        |status| {
            ["/state/terminated", "/lastState/terminated"].iter().find_map(|pointer| {
                let terminated = status.pointer(pointer)?;
                let field = |name: &str| terminated.get(name).and_then(Value::as_str).unwrap_or_default();
                let message = telling_line(field("message"));
                let code = terminated.get("exitCode").and_then(Value::as_i64).unwrap_or_default();
                if message.is_empty() && code == 0 {
                    return None;
                }
                let reason = if field("reason").is_empty() { "Terminated" } else { field("reason") };
                Some(if message.is_empty() { format!("{reason} (exit code {code})") } else { message })
            })
        },
    )
}

/// Of the last lines of a log the one that says what is wrong: the collector's `Error: ...`, else its last log line.
fn telling_line(log: &str) -> String {
    let lines: Vec<&str> = log.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if let Some(error) = lines.iter().rev().find(|line| line.starts_with("Error:")) {
        // What the error consists of stands on the lines after it.
        let after = lines.iter().skip_while(|line| *line != error).skip(1).take_while(|line| !is_log(line));
        let whole: Vec<&str> = std::iter::once(*error).chain(after.copied()).collect();
        return whole.join(" ");
    }
    let Some(last) = lines.iter().rev().find_map(|line| log_line(line)) else {
        return lines.last().copied().unwrap_or_default().to_owned();
    };
    last
}

/// A line with a time: of the logger, or of Go's standard one.
fn is_log(line: &str) -> bool {
    line.starts_with('{')
        || line
            .split_once('/')
            .is_some_and(|(year, _)| year.len() == 4 && year.bytes().all(|digit| digit.is_ascii_digit()))
}

/// `msg` and `error` of a log line in JSON; the time in it is nobody's trouble.
fn log_line(line: &str) -> Option<String> {
    let line: Value = serde_json::from_str(line).ok().filter(Value::is_object)?;
    let field = |name: &str| line.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    match (field("msg"), field("error")) {
        (Some(message), Some(error)) => Some(format!("{message}: {error}")),
        (message, error) => message.or(error).map(str::to_owned),
    }
}

/// Why a container waits: `ImagePullBackOff`, `CreateContainerConfigError`, ... Being created is no trouble.
fn not_started(pod: &Value) -> Option<String> {
    containers(pod).find_map(|status| {
        let waiting = status.pointer("/state/waiting")?;
        let field = |name: &str| waiting.get(name).and_then(Value::as_str).unwrap_or_default();
        match (field("reason"), field("message")) {
            ("" | "ContainerCreating" | "PodInitializing", _) => None,
            // Its message holds the time until the next try, which is another one each time.
            (reason, "") | (reason @ "CrashLoopBackOff", _) => Some(reason.to_owned()),
            (reason, message) => Some(format!("{reason}: {message}")),
        }
    })
}

/// Why no node takes the pod.
pub(in crate::plan) fn not_scheduled(pod: &Value) -> Option<String> {
    condition(pod, "PodScheduled", "False")
}

fn no_pods(workload: &Value) -> Option<String> {
    condition(workload, "ReplicaFailure", "True")
}

fn condition(object: &Value, kind: &str, status: &str) -> Option<String> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    let field = |condition: &Value, name: &str| condition.get(name).and_then(Value::as_str).map(str::to_owned);
    let found = conditions.iter().find(|known| {
        field(known, "type").as_deref() == Some(kind) && field(known, "status").as_deref() == Some(status)
    })?;
    let reason = field(found, "reason").unwrap_or_default();
    Some(match field(found, "message").filter(|message| !message.is_empty()) {
        Some(message) => format!("{reason}: {message}"),
        None => reason,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(hash: &str, status: &Value) -> Value {
        let volumes = json!([{"name": "x", "emptyDir": {}}, {"name": "c", "configMap": {"name": format!("gw-collector-{hash}")}}]);
        json!({"spec": {"volumes": volumes}, "status": status})
    }

    fn container(status: &Value) -> Value {
        pod("b", &json!({"containerStatuses": [status]}))
    }

    fn said(pods: &[Value]) -> String {
        trouble(pods, &json!({}), "gw-collector", "b").unwrap_or_default()
    }

    #[test]
    fn the_collectors_own_error_counts_most() {
        let log = "{\"level\":\"info\",\"ts\":1,\"msg\":\"Starting\"}\nError: cannot start pipelines: \n  unknown sampling policy type x\n2026/01/01 collector server run finished with error\n";
        let crashed = container(&json!({
            "ready": false,
            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 20s restarting failed container"}},
            "lastState": {"terminated": {"exitCode": 1, "reason": "Error", "message": log}},
        }));
        let text = "Error: cannot start pipelines: unknown sampling policy type x";
        assert_eq!(said(&[container(&json!({"state": {"waiting": {"reason": "ImagePullBackOff"}}})), crashed]), text);
        let json = "{\"level\":\"info\",\"msg\":\"Starting\"}\n{\"level\":\"error\",\"ts\":2,\"msg\":\"failed\",\"error\":\"bind: address in use\"}";
        let ended = json!({"terminated": {"exitCode": 1, "message": json}});
        assert_eq!(said(&[container(&json!({"state": ended}))]), "failed: bind: address in use");
        let killed = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}});
        assert_eq!(said(&[container(&json!({"state": killed}))]), "OOMKilled (exit code 137)");
        let restarted = json!({"ready": true, "state": {"running": {}}, "lastState": killed});
        assert_eq!(said(&[container(&restarted)]), "", "it runs now");
    }

    #[test]
    fn pods_that_never_started_say_why() {
        let waiting = |reason: &str, message: &str| {
            container(&json!({"state": {"waiting": {"reason": reason, "message": message}}}))
        };
        assert_eq!(
            said(&[waiting("ImagePullBackOff", "Back-off pulling image \"x\"")]),
            "ImagePullBackOff: Back-off pulling image \"x\""
        );
        assert_eq!(
            said(&[waiting("CreateContainerConfigError", "secret \"t\" not found")]),
            "CreateContainerConfigError: secret \"t\" not found"
        );
        assert_eq!(said(&[waiting("CrashLoopBackOff", "back-off 40s restarting")]), "CrashLoopBackOff");
        assert_eq!(said(&[waiting("ContainerCreating", "")]), "");
        let unscheduled = json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}]});
        assert_eq!(said(&[pod("b", &unscheduled)]), "Unschedulable: 0/1 nodes");
        let quota = json!({"status": {"conditions": [{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota"}]}});
        assert_eq!(trouble(&[], &quota, "gw-collector", "b").as_deref(), Some("FailedCreate: exceeded quota"));
    }

    #[test]
    fn only_pods_of_the_revision_speak_and_not_for_long() {
        let other = pod("a", &json!({"containerStatuses": [{"state": {"waiting": {"reason": "ErrImagePull"}}}]}));
        assert_eq!(said(&[other]), "");
        let long = json!({"state": {"terminated": {"exitCode": 1, "message": "é".repeat(2_000)}}});
        assert_eq!(said(&[container(&long)]).chars().count(), 512);
    }
}
