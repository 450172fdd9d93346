//! Pods of Jobs, bare pods, and workloads whose own objects nobody is to touch: injected as they are created.

use serde_json::{Value, json};
use tracesteward::api::CONFIGURATION_ANNOTATION;

use super::common::{find, operator, plane};
use crate::fixtures::{SOON, World, attention, container, managed, policy, value, workload};
use crate::support::process::free_port;
use crate::support::{Mark, eventually};

const HOOK: &str = "MutatingWebhookConfiguration";

fn traced(more: &Value) -> Value {
    let mut spec = json!({"enabled": true, "export": {"endpoint": "http://c:4317"}});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    spec
}

/// A workload that has a pod, which is replaced at once.
fn running(kind: &str, name: &str) -> Value {
    let mut object = workload(kind, name, &json!([]));
    if kind == "CronJob" {
        object["spec"]["suspend"] = json!(true);
        return object;
    }
    object["spec"]["replicas"] = json!(1);
    if kind == "Deployment" {
        object["spec"]["strategy"] = json!({"type": "Recreate"});
    }
    object
}

fn pod_spec() -> Value {
    json!({"restartPolicy": "Never", "containers": [container("app", &json!([{"name": "A", "value": "b"}]))]})
}

fn job(name: &str) -> Value {
    let template = json!({"metadata": {"labels": {"app": name}}, "spec": pod_spec()});
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": {"template": template}})
}

fn bare(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": pod_spec()})
}

/// The namespaces that the API server asks about.
async fn asked_about(world: &World<'_>) -> Value {
    let found = find(world, HOOK, "tracesteward-pods").await.unwrap_or_default();
    found["webhooks"][0]["namespaceSelector"]["matchExpressions"][0]["values"].clone()
}

/// Waits for the pods of a controller with this label, and returns them.
async fn pods(world: &World<'_>, selector: &str, count: usize) -> Vec<Value> {
    eventually(&format!("{count} pods with {selector}"), SOON, async || {
        let listed = world.kubectl(&["get", "pods", "-l", selector, "-o", "json"]).success();
        let listed: Value = serde_json::from_str(&listed).map_err(|error| error.to_string())?;
        let items = listed["items"].as_array().cloned().unwrap_or_default();
        let items: Vec<Value> =
            items.into_iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()).collect();
        if items.len() == count { Ok(items) } else { Err(format!("{} pods", items.len())) }
    })
    .await
}

/// A variable of a pod's first container.
fn env<'a>(pod: &'a Value, name: &str) -> Option<&'a str> {
    let env = pod["spec"]["containers"][0]["env"].as_array()?;
    env.iter().find(|entry| entry["name"] == name)?["value"].as_str()
}

fn services(pods: &[Value]) -> Vec<&str> {
    pods.iter().map(|pod| env(pod, "OTEL_SERVICE_NAME").unwrap_or("-")).collect()
}

/// Waits until the policy's status says these counts (matched, injected, stale).
async fn until_counts(world: &World<'_>, name: &str, ready: &str, wanted: [i64; 3]) -> Value {
    world
        .until(&format!("{name}: {wanted:?}"), "TracingPolicy", name, |object| {
            let counts = &object["status"]["workloads"];
            let seen = ["matched", "injected", "stale"].map(|count| counts[count].as_i64().unwrap_or(-1));
            let said = crate::fixtures::condition(object, "Ready");
            let current = object["metadata"]["generation"] == object["status"]["observedGeneration"];
            (current && seen == wanted && said == ready).then_some(()).ok_or_else(|| object["status"].to_string())
        })
        .await
}

fn nothing_written(world: &World<'_>, mark: Mark) {
    let written = world.counted(mark);
    let others: Vec<_> = written.iter().filter(|line| !line.contains("webhookconfigurations")).collect();
    assert!(others.is_empty(), "{others:?}");
}

#[tokio::test]
async fn jobs_and_pods_are_injected_as_they_are_created() {
    let plane = plane().await;
    let world = World::cluster_wide(&plane, "pods").await;
    let port = free_port();
    world.apply(&bare("early"));
    world.apply(&running("Deployment", "web"));
    let alive = operator(&world, port, &[]).await;
    assert_eq!(asked_about(&world).await, json!(null), "nobody asks before there is a policy");

    world.apply(&policy("p", &traced(&json!({"service": {"attributes": {"team": "a"}}}))));
    // The pod that is there already has no settings, and says so.
    let seen = until_counts(&world, "p", "True/Ready", [2, 1, 1]).await;
    let said = attention(&seen).join("\n");
    assert!(said.contains("PodsStale") && said.contains("1 of 1 pods were created without"), "{said}");
    assert_eq!(asked_about(&world).await, json!([world.namespace]));
    let made = find(&world, HOOK, "tracesteward-pods").await.unwrap();
    let hook = &made["webhooks"][0];
    assert_eq!((&hook["failurePolicy"], &hook["reinvocationPolicy"]), (&json!("Ignore"), &json!("IfNeeded")));
    assert!(hook["timeoutSeconds"].as_i64().unwrap() <= 5);
    assert_eq!(hook["rules"][0]["operations"], json!(["CREATE"]));

    let mark = plane.audit_mark();
    world.apply(&job("once"));
    world.apply(&bare("late"));
    let found = pods(&world, "app=once", 1).await;
    assert_eq!(services(&found), ["once"]);
    assert_eq!(env(&found[0], "A"), Some("b"));
    assert!(env(&found[0], "OTEL_RESOURCE_ATTRIBUTES").unwrap().contains("k8s.job.name=once"));
    assert_eq!(services(&pods(&world, "app=late", 1).await), ["late"]);
    // The Job itself is as its author wrote it, and pods of what is written by template come with it.
    let live: Value = serde_json::from_str(&world.kubectl(&["get", "job", "once", "-o", "json"]).success()).unwrap();
    assert!(
        managed(&live).is_none()
            && live["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap().len() == 1
    );
    until_counts(&world, "p", "True/Ready", [4, 3, 1]).await;
    let web = pods(&world, "app=web", 1).await;
    assert_eq!(services(&web), ["web"]);
    assert!(web[0]["metadata"]["annotations"][CONFIGURATION_ANNOTATION].is_null());
    nothing_written(&world, mark);

    // A finished Job counts no more, and neither does its pod.
    let pod = found[0]["metadata"]["name"].as_str().unwrap();
    let over = r#"{"status":{"phase":"Succeeded"}}"#;
    world.kubectl(&["patch", "pod", pod, "--subresource=status", "--type=merge", "-p", over]).success();
    until_counts(&world, "p", "True/Ready", [3, 2, 1]).await;

    // Other settings: what is there is older, and what comes is not.
    world.apply(&policy("p", &traced(&json!({"propagators": ["b3"]}))));
    until_counts(&world, "p", "True/Ready", [3, 1, 2]).await;
    world.kubectl(&["delete", "pod", "late", "early", "--now"]).success();
    world.apply(&bare("late"));
    until_counts(&world, "p", "True/Ready", [2, 2, 0]).await;

    // Nobody asks any more.
    world.kubectl(&["delete", "trp", "p"]).success();
    eventually("the configuration goes", SOON, async || {
        find(&world, HOOK, "tracesteward-pods").await.map_or(Ok(()), |found| Err(found.to_string()))
    })
    .await;
    world.apply(&bare("after"));
    assert_eq!(services(&pods(&world, "app=after", 1).await), ["-"]);
    alive.stop();
}

#[tokio::test]
async fn pod_mode_leaves_the_objects_as_their_authors_wrote_them() {
    let plane = plane().await;
    let world = World::cluster_wide(&plane, "mode").await;
    let port = free_port();
    let alive = operator(&world, port, &[]).await;
    world.apply(&policy("p", &traced(&json!({"injection": {"mode": "Pod"}}))));
    until_counts(&world, "p", "True/NoWorkloads", [0, 0, 0]).await;
    let mark = plane.audit_mark();
    let all = [("Deployment", "web"), ("StatefulSet", "db"), ("CronJob", "nightly")];
    for (kind, name) in all {
        world.apply(&running(kind, name));
    }
    world.kubectl(&["create", "job", "--from=cronjob/nightly", "by-hand"]).success();
    for (selector, name, attribute) in [
        ("app=web", "web", "k8s.deployment.name=web"),
        ("app=db", "db", "k8s.statefulset.name=db"),
        ("job-name=by-hand", "nightly", "k8s.cronjob.name=nightly"),
    ] {
        let found = pods(&world, selector, 1).await;
        assert_eq!(services(&found), [name]);
        assert!(env(&found[0], "OTEL_RESOURCE_ATTRIBUTES").unwrap().contains(attribute), "{}", found[0]);
    }
    until_counts(&world, "p", "True/Ready", [3, 3, 0]).await;
    for (kind, name) in all {
        let live = world.get(kind, name).await;
        assert!(managed(&live).is_none() && live["metadata"]["generation"] == 1, "{live}");
        assert_eq!(value(&live, "OTEL_SERVICE_NAME"), None);
    }
    nothing_written(&world, mark);

    // The other way round: into the template, and pods are replaced by their own controller.
    world.apply(&policy("p", &traced(&json!({}))));
    until_counts(&world, "p", "True/Ready", [3, 3, 0]).await;
    assert_eq!(value(&world.get("Deployment", "web").await, "OTEL_SERVICE_NAME"), Some("web"));
    alive.stop();
}

#[tokio::test]
async fn with_the_operator_dead_pods_start_untouched_and_are_noticed_afterwards() {
    let plane = plane().await;
    let world = World::cluster_wide(&plane, "dead").await;
    let port = free_port();
    let alive = operator(&world, port, &[]).await;
    world.apply(&policy("p", &traced(&json!({"targets": [{"kind": "Pod"}, {"kind": "Job"}]}))));
    until_counts(&world, "p", "True/NoWorkloads", [0, 0, 0]).await;
    world.apply(&bare("first"));
    assert_eq!(services(&pods(&world, "app=first", 1).await), ["first"]);
    alive.kill9();
    let before = std::time::Instant::now();
    world.apply(&bare("second"));
    world.apply(&job("third"));
    assert_eq!(services(&pods(&world, "app=second", 1).await), ["-"]);
    assert_eq!(services(&pods(&world, "app=third", 1).await), ["-"]);
    assert!(before.elapsed() < SOON);
    let alive = operator(&world, port, &[]).await;
    let seen = until_counts(&world, "p", "True/Ready", [3, 1, 2]).await;
    let said = attention(&seen).join("\n");
    assert!(said.contains("second") && said.contains("third") && !said.contains("first"), "{said}");
    alive.stop();

    // Without a webhook, a policy that needs one says so.
    let alive = world.operator(&["--manage-admission"]).await;
    let seen = until_counts(&world, "p", "False/NoWebhook", [3, 1, 2]).await;
    assert!(seen["status"].to_string().contains("the webhook, which the operator does not serve"), "{seen}");
    alive.stop();
}
