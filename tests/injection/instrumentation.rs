//! Instrumentation in pod templates: injected as a whole, left alone, and taken out without a trace.

use std::time::Duration;

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use tracesteward::plan::repair::policies;

use crate::fixtures::{
    KINDS, SOON, World, attention, container, env, held, lines, managed, policy, shared, template, text, value,
    workload, workload_of,
};
use crate::support::{consistently, eventually};

const MOUNT: &str = "/otel-auto-instrumentation-java";

fn instrumented(image: Option<&str>) -> Value {
    json!({
        "enabled": true, "language": "java", "instrumentation": {"image": image},
        "containers": ["app"], "export": {"endpoint": "http://collector:4318"},
    })
}

fn names(live: &Value, list: &str) -> Vec<String> {
    let parts = template(live)["spec"][list].as_array().cloned().unwrap_or_default();
    parts.iter().map(|part| text(&part["name"]).to_owned()).collect()
}

fn mounts(live: &Value, container: usize) -> Vec<String> {
    let mounts =
        template(live)["spec"]["containers"][container]["volumeMounts"].as_array().cloned().unwrap_or_default();
    mounts.iter().map(|mount| text(&mount["mountPath"]).to_owned()).collect()
}

fn image(live: &Value) -> String {
    text(&template(live)["spec"]["initContainers"].as_array().and_then(|all| all.last()).unwrap_or(&Value::Null)["image"])
        .to_owned()
}

/// Whether all of it is there, in the container `app` alone.
#[track_caller]
fn assert_whole(live: &Value) {
    assert_eq!(names(live, "initContainers").last().map(String::as_str), Some("tracesteward-java"), "{live:#}");
    assert_eq!(names(live, "volumes").last().map(String::as_str), Some("tracesteward-instrumentation"));
    assert_eq!(mounts(live, 0).last().map(String::as_str), Some(MOUNT));
    assert!(value(live, "JAVA_TOOL_OPTIONS").is_some_and(|hook| hook.contains(MOUNT)), "{live:#}");
}

/// Whether none of it is there, apart from what is the user's.
fn is_gone(live: &Value) -> Result<(), String> {
    let text = template(live).to_string() + &managed(live).map(Value::to_string).unwrap_or_default();
    let left =
        ["tracesteward-java", "tracesteward-instrumentation", MOUNT].into_iter().find(|part| text.contains(part));
    left.map_or(Ok(()), |part| Err(format!("{part}: {text}")))
}

/// With an init container, a volume and a mount of the user's own, and a second container.
fn furnished(kind: &str) -> Value {
    let mut app = container("app", &json!([{"name": "MODE", "value": "fast"}]));
    app["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}]);
    let mut object = workload_of(kind, &kind.to_lowercase(), &json!([app, container("helper", &json!([]))]));
    let path = if kind == "CronJob" { "/spec/jobTemplate/spec/template/spec" } else { "/spec/template/spec" };
    let spec = object.pointer_mut(path).unwrap();
    spec["initContainers"] = json!([{"name": "migrate", "image": "registry.example/migrate:1"}]);
    spec["volumes"] = json!([{"name": "data", "emptyDir": {}}]);
    object
}

/// Everything that the user and the API server know of an object, without what any write changes.
fn rest(object: &Value) -> String {
    let mut object = object.clone();
    let metadata = object["metadata"].as_object_mut().unwrap();
    for field in ["resourceVersion", "generation"] {
        metadata.shift_remove(field);
    }
    // The controllers write statuses under managers of their own.
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.shift_remove("deployment.kubernetes.io/revision");
        // The API server counts the templates of DaemonSets.
        annotations.shift_remove("deprecated.daemonset.template.generation");
    }
    if let Some(entries) = metadata.get_mut("managedFields").and_then(Value::as_array_mut) {
        entries.retain(|entry| entry["manager"] != "kube-controller-manager");
    }
    object.as_object_mut().unwrap().shift_remove("status");
    object.to_string()
}

#[tokio::test]
async fn it_comes_whole_rests_changes_once_and_leaves_no_trace() {
    let world = World::new(shared().await, "agent").await;
    let plain: Vec<Value> =
        KINDS.iter().map(|(kind, _)| workload(kind, &format!("{}-plain", kind.to_lowercase()), &json!([]))).collect();
    for object in KINDS.iter().map(|(kind, _)| furnished(kind)).chain(plain) {
        world.apply(&object);
    }
    let all = || {
        KINDS.iter().flat_map(|(kind, _)| {
            [kind.to_lowercase(), format!("{}-plain", kind.to_lowercase())].map(|name| (*kind, name))
        })
    };
    let mut before = Vec::new();
    for (kind, name) in all() {
        before.push(world.get(kind, &name).await);
    }
    world.apply(&policy("all", &instrumented(None)));
    let mark = world.plane.audit_mark();
    let _operator = world.operator(&[]).await;
    world.settled("all", "True/Ready", "matched=8 injected=8").await;
    for (kind, name) in all() {
        let live = world.get(kind, &name).await;
        assert_whole(&live);
        assert!(image(&live).ends_with("autoinstrumentation-java:2.30.0"), "{}", image(&live));
        if !name.ends_with("-plain") {
            assert_eq!(names(&live, "initContainers"), ["migrate", "tracesteward-java"], "{kind}");
            assert_eq!(mounts(&live, 1), [""; 0], "{kind}: the helper is not selected");
            assert_eq!(env(&live, "helper"), &[] as &[Value]);
        }
    }
    let writes = world.counted(mark);
    assert_eq!(writes.len(), 8, "{writes:#?}");

    // The user's own apply goes on, and so do others' changes beside it.
    world.apply(&furnished("Deployment"));
    world.kubectl(&["annotate", "deployment", "deployment", "a=b"]).success();
    let mark = world.plane.audit_mark();
    consistently("nothing is written at rest", Duration::from_secs(10), async || {
        let writes = lines(&world.writes(mark));
        writes.is_empty().then_some(()).ok_or_else(|| format!("{writes:#?}"))
    })
    .await;
    assert_whole(&world.get("Deployment", "deployment").await);

    world.apply(&policy("all", &instrumented(Some("registry.example/java:2"))));
    for (kind, name) in all() {
        let changed =
            |live: &Value| (image(live) == "registry.example/java:2").then_some(()).ok_or_else(|| image(live));
        assert_whole(&world.until("the image is changed", kind, &name, changed).await);
    }
    world.settled("all", "True/Ready", "matched=8 injected=8").await;
    assert_eq!(world.counted(mark).len(), 8, "one write each");

    world.kubectl(&["annotate", "deployment", "deployment", "a-"]).success();
    world.apply(&policy("all", &json!({"enabled": false, "language": "java"})));
    for ((kind, name), before) in all().zip(&before) {
        let live = world
            .until("it is taken out", kind, &name, |live| managed(live).map_or(Ok(()), |_| Err(live.to_string())))
            .await;
        is_gone(&live).unwrap();
        if (kind, name.as_str()) == ("Deployment", "deployment") {
            // It was applied and annotated meanwhile: the times in its managed fields are others.
            assert_eq!(template(&live), template(before));
        } else {
            assert_eq!(rest(&live), rest(before), "{kind} {name}");
        }
    }
}

#[tokio::test]
async fn a_hook_that_the_user_takes_later_ends_it_and_breaks_nothing() {
    let world = World::new(shared().await, "agent-hook").await;
    let own = json!([{"name": "JAVA_TOOL_OPTIONS", "value": "-Xmx1g"}]);
    for name in ["client", "server", "set"] {
        let object = workload("Deployment", name, &json!([]));
        match name {
            "server" => drop(world.apply_server_side(&object, "team", &[]).success()),
            _ => world.apply(&object),
        }
    }
    world.apply(&policy("all", &instrumented(None)));
    let _operator = world.operator(&[]).await;
    world.settled("all", "True/Ready", "matched=3 injected=3").await;
    assert_whole(&world.get("Deployment", "server").await);

    world.apply(&workload("Deployment", "client", &own));
    let taken = workload("Deployment", "server", &own);
    let refused = world.apply_server_side(&taken, "team", &[]);
    assert!(refused.stderr.contains("conflict with \"tracesteward\""), "{refused:?}");
    world.apply_server_side(&taken, "team", &["--force-conflicts"]).success();
    world.kubectl(&["set", "env", "deployment/set", "JAVA_TOOL_OPTIONS=-Xmx1g"]).success();
    let status = world.settled("all", "True/Ready", "matched=3 injected=3 overridden=3").await;
    for name in ["client", "server", "set"] {
        let live = world.until("all the rest of it is gone", "Deployment", name, is_gone).await;
        assert_eq!(value(&live, "JAVA_TOOL_OPTIONS"), Some("-Xmx1g"), "{name}");
        assert_eq!(value(&live, "OTEL_METRICS_EXPORTER"), None, "{name}: an SDK of its own may send metrics");
        assert!(held(&live, "app").contains(&"OTEL_SERVICE_NAME"), "{name}");
    }
    let attention = attention(&status);
    assert_eq!(attention.len(), 3, "{attention:#?}");
    let words = "NotInstrumented: the container is not instrumented: container app: it sets JAVA_TOOL_OPTIONS itself";
    assert!(attention.iter().all(|line| line.contains(words)), "{attention:#?}");

    // And back, where it is given up.
    world.apply(&workload("Deployment", "client", &json!([])));
    world.settled("all", "True/Ready", "matched=3 injected=3 overridden=2").await;
    assert_whole(&world.get("Deployment", "client").await);
}

#[tokio::test]
async fn parts_of_others_are_left_alone() {
    let world = World::new(shared().await, "agent-others").await;
    let mut own = workload("Deployment", "own", &json!([]));
    own["spec"]["template"]["spec"]["initContainers"] =
        json!([{"name": "tracesteward-java", "image": "registry.example/mine:1"}]);
    world.apply(&own);
    world.apply(&workload("Deployment", "edited", &json!([])));
    world.apply(&policy("all", &instrumented(None)));
    let _operator = world.operator(&[]).await;
    let status = world.settled("all", "True/Ready", "matched=2 injected=2 overridden=1").await;
    let words = "its pods have an init container of their own under that name";
    assert!(
        attention(&status)
            .iter()
            .any(|line| line.starts_with("Deployment/own NotInstrumented") && line.contains(words))
    );
    let live = world.get("Deployment", "own").await;
    assert_eq!(
        (image(&live), names(&live, "volumes"), mounts(&live, 0)),
        ("registry.example/mine:1".into(), vec![], vec![])
    );
    assert_eq!(value(&live, "JAVA_TOOL_OPTIONS"), None);

    // Somebody edits the image of ours: theirs stays, nobody writes, and the policy's changes do not reach it.
    let edit = json!({"spec": {"template": {"spec": {"initContainers": [{"name": "tracesteward-java", "image": "mirror.example/java:1"}]}}}});
    let mark = world.plane.audit_mark();
    world.kubectl(&["patch", "deployment", "edited", "-p", &edit.to_string()]).success();
    let has_said = |policy: &Value| {
        let attention = attention(policy);
        let found = attention.iter().any(|line| line.starts_with("Deployment/edited InstrumentationChanged"));
        found.then_some(()).ok_or_else(|| format!("{attention:#?}"))
    };
    world.until("it is reported", "TracingPolicy", "all", has_said).await;
    world.apply(&policy("all", &instrumented(Some("registry.example/java:2"))));
    world
        .until("the change is seen", "TracingPolicy", "all", |policy| {
            let current = policy["metadata"]["generation"] == policy["status"]["observedGeneration"];
            current.then_some(()).ok_or_else(|| policy["status"].to_string())
        })
        .await;
    assert_eq!(world.counted(mark), [""; 0]);
    assert_eq!(image(&world.get("Deployment", "edited").await), "mirror.example/java:1");
    world.kubectl(&["delete", "tracingpolicies.tracesteward.io", "all"]).success();
    let live = world
        .until("it goes as a whole", "Deployment", "edited", |live| {
            managed(live).map_or(Ok(()), |_| Err(live.to_string()))
        })
        .await;
    is_gone(&live).unwrap();
    assert_eq!(image(&world.get("Deployment", "own").await), "registry.example/mine:1");
}

#[tokio::test]
async fn rollout_undo_does_not_separate_the_hook_from_the_files() {
    let world = World::new(shared().await, "agent-undo").await;
    world.apply(&workload("Deployment", "web", &json!([])));
    world.apply(&policy("all", &instrumented(Some("registry.example/java:1"))));
    let _operator = world.operator(&[]).await;
    world.settled("all", "True/Ready", "matched=1 injected=1").await;
    let has = |image: &'static str| {
        move |live: &Value| {
            let observed = live["status"]["observedGeneration"] == live["metadata"]["generation"];
            let found = self::image(live);
            (observed && found == image).then_some(()).ok_or(found)
        }
    };
    world.until("a revision", "Deployment", "web", has("registry.example/java:1")).await;
    world.apply(&policy("all", &instrumented(Some("registry.example/java:2"))));
    world.until("another one", "Deployment", "web", has("registry.example/java:2")).await;
    eventually("undone", SOON, async || {
        let output = world.kubectl(&["rollout", "undo", "deployment/web"]);
        output.status.success().then_some(()).ok_or(output.stderr)
    })
    .await;
    let live = world.until("the policy's image returns", "Deployment", "web", |live| {
        let ours = managed(live).is_some_and(|fields| fields.to_string().contains("tracesteward-java"));
        (ours && image(live) == "registry.example/java:2").then_some(()).ok_or_else(|| live.to_string())
    });
    assert_whole(&live.await);
    world.settled("all", "True/Ready", "matched=1 injected=1").await;
}

#[tokio::test]
async fn renaming_an_instrumented_container_is_repaired() {
    let plane = shared().await;
    let home = "tracesteward-system";
    let world = World::new(plane, "agent-rename").await;
    let label = format!("test.tracesteward.io/renames={}", world.namespace);
    plane.kubectl(&["label", "namespace", &world.namespace, &label]).success();
    let mut objects = policies("v1", home);
    let name = format!("repair-{}", world.namespace);
    for object in &mut objects {
        object["metadata"]["name"] = json!(name);
    }
    objects[1]["spec"]["policyName"] = json!(name);
    let selector = json!({"matchLabels": {"test.tracesteward.io/renames": world.namespace}});
    objects[1]["spec"]["matchResources"] = json!({"namespaceSelector": selector});
    plane
        .kubectl_stdin(
            &["apply", "-f", "-"],
            &json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string(),
        )
        .success();

    let mut all = instrumented(None);
    all["containers"] = json!(null);
    world.apply(&policy("all", &all));
    for (kind, _) in KINDS {
        world.apply_server_side(&workload(kind, &kind.to_lowercase(), &json!([])), "team", &[]).success();
    }
    let _operator = world.operator(&[]).await;
    world.settled("all", "True/Ready", "matched=4 injected=4").await;
    for (kind, _) in KINDS {
        let name = kind.to_lowercase();
        let renamed = workload_of(kind, &name, &json!([container("web", &json!([]))]));
        let applied = eventually("the rename goes through", SOON, async || {
            let api = world.api(kind);
            api.patch(&name, &PatchParams::apply("team"), &Patch::Apply(&renamed))
                .await
                .map_err(|error| error.to_string())
        });
        applied.await;
        let live = world.until("the new container is instrumented", kind, &name, |live| {
            let is_mounted =
                mounts(live, 0) == [MOUNT] && env(live, "web").iter().any(|entry| entry["name"] == "JAVA_TOOL_OPTIONS");
            is_mounted.then_some(()).ok_or_else(|| live.to_string())
        });
        let live = live.await;
        assert_eq!(names(&live, "containers"), ["web"], "{kind}");
        assert_eq!(names(&live, "initContainers"), ["tracesteward-java"], "{kind}");
    }
}
