//! Statuses, Events and columns, as other tools read them.

use futures::StreamExt;
use kube::api::{WatchEvent, WatchParams};
use serde_json::{Value, json};

use crate::fixtures::{SOON, World, condition, condition_of, policy, shared, text, traced, workload};
use crate::support::eventually;

/// The types of all conditions.
fn types(policy: &Value) -> Vec<&str> {
    policy["status"]["conditions"].as_array().into_iter().flatten().map(|condition| text(&condition["type"])).collect()
}

#[tokio::test]
async fn conditions_keep_to_the_conventions() {
    let world = World::new(shared().await, "conventions").await;
    world.apply(&workload("Deployment", "web", &json!([])));
    world.apply(&policy("all", &traced(0.5)));
    let _operator = world.operator(&[]).await;
    let first = world.settled("all", "True/Ready", "matched=1 injected=1").await;
    assert_eq!(types(&first), ["Accepted", "ResolvedRefs", "Programmed", "Ready"]);
    world.kubectl(&["wait", "--for=condition=Ready", "--timeout=30s", "trp/all"]).success();

    // Times have whole seconds: what flips from now on has another time.
    let ready = text(&condition_of(&first, "ResolvedRefs").unwrap()["lastTransitionTime"]).to_owned();
    eventually("a second has passed", SOON, async || {
        let now = k8s_openapi::jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        (now > ready).then_some(()).ok_or(now)
    })
    .await;
    let mut spec = traced(0.25);
    spec["export"]["headersSecretRef"] = json!({"name": "nowhere"});
    world.apply(&policy("all", &spec));
    let second = world.settled("all", "False/SecretNotFound", "matched=1 injected=1").await;
    for policy in [&first, &second] {
        let generation = &policy["metadata"]["generation"];
        assert_eq!(&policy["status"]["observedGeneration"], generation);
        for condition in policy["status"]["conditions"].as_array().unwrap() {
            assert_eq!(&condition["observedGeneration"], generation, "{condition}");
            let reason = text(&condition["reason"]);
            let is_camel_case = reason.starts_with(|first: char| first.is_ascii_uppercase())
                && reason.chars().all(|one| one.is_ascii_alphanumeric());
            assert!(is_camel_case && !text(&condition["message"]).is_empty(), "{condition}");
        }
    }
    assert_eq!(second["metadata"]["generation"], 2);
    let time = |policy: &Value, kind: &str| text(&condition_of(policy, kind).unwrap()["lastTransitionTime"]).to_owned();
    assert_eq!(time(&second, "Accepted"), time(&first, "Accepted"), "it did not flip");
    assert!(time(&second, "ResolvedRefs") > time(&first, "ResolvedRefs"), "it flipped");
    world.kubectl(&["wait", "--for=condition=Ready=False", "--timeout=30s", "trp/all"]).success();
    world.kubectl(&["wait", "--for=condition=Ready", "--timeout=1s", "trp/all"]).failure();
}

#[tokio::test]
async fn reconciling_is_there_only_while_true() {
    let world = World::new(shared().await, "reconciling").await;
    for number in 0..30 {
        world.apply(&workload("Deployment", &format!("web-{number}"), &json!([])));
    }
    let _operator = world.operator(&[]).await;
    let events = world.api("TracingPolicy").watch(&WatchParams::default(), "0").await.unwrap();
    futures::pin_mut!(events);
    world.apply(&policy("all", &traced(0.5)));
    let mut seen = Vec::new();
    loop {
        let event = tokio::time::timeout(SOON, events.next()).await.expect("the policy settles").unwrap().unwrap();
        let (WatchEvent::Added(object) | WatchEvent::Modified(object)) = event else { continue };
        let object = serde_json::to_value(object).unwrap();
        if object.get("status").is_some() {
            seen.push(object.clone());
        }
        if condition(&object, "Ready") == "True/Ready" {
            break;
        }
    }
    assert_eq!(condition(&seen[0], "Ready"), "Unknown/Reconciling", "what passes by itself is no fault: {:#}", seen[0]);
    for policy in &seen {
        let is_reconciling = condition(policy, "Ready").starts_with("Unknown/");
        assert_eq!(condition(policy, "Reconciling").starts_with("True/"), is_reconciling, "{policy:#}");
        assert_eq!(types(policy).contains(&"Reconciling"), is_reconciling, "{policy:#}");
        assert!(!types(policy).contains(&"Stalled"), "{policy:#}");
    }
    assert!(seen.len() <= 4, "a wave of workloads is few writes of the status: {}", seen.len());
}

#[tokio::test]
async fn kubectl_shows_columns() {
    let world = World::new(shared().await, "columns").await;
    world.apply(&workload("Deployment", "web", &json!([])));
    world.apply(&policy("all", &traced(0.25)));
    world.apply(&policy("off", &json!({"enabled": false, "targets": [{"kind": "CronJob"}]})));
    let _operator = world.operator(&[]).await;
    world.settled("all", "True/Ready", "matched=1 injected=1").await;
    world.settled("off", "True/Disabled", "").await;
    let table = |args: &[&str]| -> Vec<Vec<String>> {
        let printed = world.kubectl(args).success();
        printed.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
    };
    for resource in ["trp", "tracingpolicies.tracesteward.io", "tracing"] {
        let table = table(&["get", resource]);
        assert_eq!(
            table[0],
            ["NAME", "ENABLED", "READY", "REASON", "MATCHED", "INJECTED", "RATIO", "AGE"],
            "{resource}"
        );
        let name = |row: &[String]| row[0].trim_start_matches("tracingpolicy.tracesteward.io/").to_owned();
        assert_eq!(
            (name(&table[1]).as_str(), &table[1][1..7]),
            ("all", &["true", "True", "Ready", "1", "1", "0.25"].map(String::from)[..])
        );
        assert_eq!(
            (name(&table[2]).as_str(), &table[2][1..6]),
            ("off", &["false", "True", "Disabled", "0", "0"].map(String::from)[..])
        );
    }
    let wide = table(&["get", "trp", "-o", "wide"]);
    assert!(wide[0].ends_with(&["ENDPOINT".to_owned(), "MESSAGE".to_owned(), "AGE".to_owned()]), "{:?}", wide[0]);
    assert!(wide[1].contains(&"http://collector:4317".to_owned()), "{:?}", wide[1]);
}

#[tokio::test]
async fn a_workload_that_cannot_be_written_is_a_fault_of_the_policy() {
    let world = World::new(shared().await, "denied").await;
    let deny = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": {"name": world.namespace},
        "spec": {"failurePolicy": "Fail", "matchConstraints": {"resourceRules": [
            {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["statefulsets"]}]},
            "validations": [{"expression": "!has(object.spec.template.spec.containers[0].env)", "message": "no variables here"}]},
    });
    let bind = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": world.namespace},
        "spec": {"policyName": world.namespace, "validationActions": ["Deny"], "matchResources": {"namespaceSelector": {
            "matchLabels": {"kubernetes.io/metadata.name": world.namespace}}}},
    });
    world.apply(&deny);
    world.apply(&bind);
    world.apply(&workload("StatefulSet", "db", &json!([])));
    world.apply(&workload("Deployment", "web", &json!([])));
    let probe = workload("StatefulSet", "db", &json!([{"name": "A", "value": "b"}])).to_string();
    eventually("the rule is in force", SOON, async || {
        let said = world.kubectl_stdin(&["apply", "--dry-run=server", "-f", "-"], &probe);
        (!said.status.success()).then_some(()).ok_or(said.stdout)
    })
    .await;
    world.apply(&policy("all", &traced(0.5)));
    let operator = world.operator(&[]).await;
    let status = world.settled("all", "False/PartiallyProgrammed", "matched=2 injected=1 pending=1").await;
    let message = text(&condition_of(&status, "Programmed").unwrap()["message"]);
    assert!(message.starts_with("StatefulSet db: ") && message.contains("no variables here"), "{message}");
    assert_eq!((condition(&status, "Stalled"), condition(&status, "Reconciling")), (String::new(), String::new()));
    world.kubectl(&["delete", "validatingadmissionpolicybinding", &world.namespace]).success();
    world.settled("all", "True/Ready", "matched=2 injected=2").await;
    drop(operator);
}
