//! Instrumentation in a template that is there already: what is held, what has drifted, what stays.

use serde_json::{Value, json};
use tracesteward::index::{Policy, Workload};
use tracesteward::plan::difference::{Known, difference};
use tracesteward::plan::{apply_patch, merge_into, plan_workload, workload_findings};

use super::common::{
    NAMESPACE, applied, cluster_policy, deployment, fields_of, lines, managed_by, plain, plan_of, policy, read,
    snapshot, workload_object,
};
use super::instrument::spec;

fn java() -> Vec<Policy> {
    vec![policy("p", &spec("java", ""))]
}

fn with_image(image: &str) -> Vec<Policy> {
    let spec = format!(
        "{{enabled: true, language: java, instrumentation: {{image: \"{image}\"}}, export: {{endpoint: \"http://otel:4318\"}}}}"
    );
    vec![policy("p", &spec)]
}

fn injected(policies: Vec<Policy>, object: &Value) -> Value {
    applied(object, plan_of(policies, object).intent())
}

/// Adds managed fields below the pod's specification.
fn held_by(object: &mut Value, manager: &str, operation: &str, fields: &Value) {
    let fields = json!({"f:spec": {"f:template": {"f:spec": fields}}});
    object["metadata"]["managedFields"].as_array_mut().unwrap().push(managed_by(manager, operation, &fields));
}

fn pod(object: &Value) -> &Value {
    &object["spec"]["template"]["spec"]
}

fn init_key() -> String {
    format!("k:{}", json!({"name": "tracesteward-java"}))
}

#[test]
fn every_kind_gets_it_and_gives_it_back() {
    for (version, kind) in
        [("apps/v1", "Deployment"), ("apps/v1", "StatefulSet"), ("apps/v1", "DaemonSet"), ("batch/v1", "CronJob")]
    {
        let template = json!({"spec": {
            "initContainers": [{"name": "migrate", "image": "m"}],
            "containers": [{"name": "app", "image": "web", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
            "volumes": [{"name": "data", "emptyDir": {}}],
        }});
        let object = workload_object(version, kind, "web", &template);
        let once = injected(java(), &object);
        let template = once.pointer("/spec/jobTemplate/spec/template").unwrap_or_else(|| &once["spec"]["template"]);
        let spec = &template["spec"];
        let names = |list: &str| -> Vec<Value> {
            spec[list].as_array().unwrap().iter().map(|part| part["name"].clone()).collect()
        };
        assert_eq!(names("initContainers"), ["migrate", "tracesteward-java"], "{kind}");
        assert_eq!(names("volumes"), ["data", "tracesteward-instrumentation"], "{kind}");
        let mounts = &spec["containers"][0]["volumeMounts"];
        assert_eq!(mounts[0], json!({"name": "data", "mountPath": "/data"}), "{kind}");
        assert_eq!(
            mounts[1],
            json!({"name": "tracesteward-instrumentation", "mountPath": "/otel-auto-instrumentation-java", "readOnly": true})
        );
        assert!(!plan_of(java(), &once).needs_write, "{kind}: at rest");
        let withdrawal = plan_of(vec![], &once);
        assert!(withdrawal.needs_write, "{kind}");
        assert_eq!(apply_patch(&read(&once), withdrawal.intent()).get("spec"), None, "{kind}: the empty intent");
        let mut back = applied(&once, withdrawal.intent());
        back["metadata"].as_object_mut().unwrap().shift_remove("managedFields");
        assert_eq!(back.to_string(), object.to_string(), "{kind}");
    }
}

#[test]
fn one_patch_brings_all_of_it() {
    let plan = plan_of(java(), &deployment("{}", "[{name: app}, {name: istio-proxy}]"));
    let patch = apply_patch(&read(&deployment("{}", "[{name: app}, {name: istio-proxy}]")), plan.intent());
    let spec = pod(&patch);
    assert_eq!(spec["initContainers"].as_array().unwrap().len(), 1);
    assert_eq!(spec["volumes"], json!([{"name": "tracesteward-instrumentation", "emptyDir": {"sizeLimit": "200Mi"}}]));
    assert_eq!(spec["containers"].as_array().unwrap().len(), 1, "not the sidecar");
    assert_eq!(spec["containers"][0]["volumeMounts"].as_array().unwrap().len(), 1);
}

#[test]
fn whatever_has_changed_is_written_once() {
    let before = injected(java(), &plain());
    for (what, policies, object) in [
        ("image", with_image("mirror/java:2"), before.clone()),
        ("language", vec![policy("p", &spec("nodejs", ""))], before.clone()),
        ("no longer", vec![policy("p", "{enabled: true, export: {endpoint: \"http://otel:4318\"}}")], before.clone()),
        ("user", java(), {
            let mut object = before.clone();
            object["spec"]["template"]["spec"]["securityContext"] = json!({"runAsUser": 1000});
            object
        }),
        ("a part is gone", java(), {
            let mut object = before.clone();
            object["spec"]["template"]["spec"].as_object_mut().unwrap().shift_remove("initContainers");
            object
        }),
        ("the mount is gone", java(), {
            let mut object = before.clone();
            object["spec"]["template"]["spec"]["containers"][0].as_object_mut().unwrap().shift_remove("volumeMounts");
            object
        }),
        ("an older version's resources", java(), {
            let mut object = before.clone();
            object["spec"]["template"]["spec"]["initContainers"][0]["resources"]["limits"]["memory"] = json!("1Gi");
            object
        }),
    ] {
        let plan = plan_of(policies.clone(), &object);
        assert!(plan.needs_write, "{what}");
        let after = applied(&object, plan.intent());
        assert!(!plan_of(policies, &after).needs_write, "{what}: {after:#}");
        let count = |list: &str| pod(&after)[list].as_array().map_or(0, Vec::len);
        let expected = usize::from(what != "no longer");
        assert_eq!((count("initContainers"), count("volumes")), (expected, expected), "{what}");
    }
    let mut defaulted = before;
    let init = &mut defaulted["spec"]["template"]["spec"]["initContainers"][0];
    init["imagePullPolicy"] = json!("IfNotPresent");
    init["terminationMessagePath"] = json!("/dev/termination-log");
    init["resources"]["limits"]["ephemeral-storage"] = json!("1Gi");
    assert!(!plan_of(java(), &defaulted).needs_write, "what the API server and others add");
}

#[test]
fn what_another_manager_has_changed_is_left_and_reported() {
    let mut object = injected(java(), &plain());
    object["spec"]["template"]["spec"]["initContainers"][0]["image"] = json!("mirror/java:9");
    held_by(&mut object, "kubectl-edit", "Update", &json!({"f:initContainers": {init_key(): {"f:image": {}}}}));
    for policies in [java(), with_image("other/java:1")] {
        let plan = plan_of(policies, &object);
        assert!(!plan.needs_write, "the image is theirs");
        let patch = apply_patch(&read(&object), plan.intent());
        let init = &pod(&patch)["initContainers"][0];
        assert_eq!((init.get("image"), init["name"].as_str()), (None, Some("tracesteward-java")));
        assert!(init["command"].is_array());
        let findings = workload_findings(&read(&object), &plan);
        let found = findings.iter().find(|found| found.code.as_str() == "TRC0506").expect("a finding");
        assert!(found.message.contains("initContainers tracesteward-java: image"), "{}", found.message);
    }
    // What is ours beside it is still kept up to date.
    object["spec"]["template"]["spec"]["initContainers"][0]["resources"]["limits"]["cpu"] = json!("9");
    assert!(plan_of(java(), &object).needs_write);
    // And all of it goes with the policy.
    let withdrawal = plan_of(vec![], &object);
    assert!(withdrawal.needs_write && apply_patch(&read(&object), withdrawal.intent()).get("spec").is_none());
}

#[test]
fn a_mount_that_somebody_points_elsewhere_ends_it() {
    let mut object = injected(java(), &plain());
    let container = format!("k:{}", json!({"name": "app"}));
    let mount = format!("k:{}", json!({"mountPath": "/otel-auto-instrumentation-java"}));
    let fields = json!({"f:containers": {container: {"f:volumeMounts": {mount: {"f:name": {}}}}}});
    held_by(&mut object, "kubectl-edit", "Update", &fields);
    let plan = plan_of(java(), &object);
    assert!(plan.instrumentation().is_none() && plan.needs_write, "no hook without the files behind it");
}

#[test]
fn what_rollout_undo_has_changed_is_let_go_of_as_a_whole() {
    let mut object = injected(java(), &plain());
    object["spec"]["template"]["spec"]["initContainers"][0]["image"] = json!("old/java:1");
    held_by(&mut object, "kubectl", "Update", &json!({"f:initContainers": {init_key(): {"f:image": {}}}}));
    let plan = plan_of(java(), &object);
    assert!(plan.needs_write);
    let patch = apply_patch(&read(&object), plan.intent());
    let spec = pod(&patch);
    assert_eq!((spec.get("initContainers"), spec.get("volumes")), (None, None));
    assert_eq!(spec["containers"][0].get("volumeMounts"), None);
    let text = patch.to_string();
    assert!(!text.contains("JAVA_TOOL_OPTIONS"), "a hook without the files would keep it from starting");
    assert!(text.contains("OTEL_SERVICE_NAME"));
}

#[test]
fn a_user_who_takes_the_hook_later_ends_it() {
    let mut object = injected(java(), &plain());
    let env = object["spec"]["template"]["spec"]["containers"][0]["env"].as_array_mut().unwrap();
    env.iter_mut().find(|entry| entry["name"] == "JAVA_TOOL_OPTIONS").unwrap()["value"] = json!("-Xmx1g");
    let (container, variable) =
        (format!("k:{}", json!({"name": "app"})), format!("k:{}", json!({"name": "JAVA_TOOL_OPTIONS"})));
    held_by(
        &mut object,
        "kubectl-set",
        "Update",
        &json!({"f:containers": {container: {"f:env": {variable: {"f:value": {}}}}}}),
    );
    let plan = plan_of(java(), &object);
    assert!(plan.needs_write && plan.instrumentation().is_none());
    let patch = apply_patch(&read(&object), plan.intent());
    assert!(!patch.to_string().contains("volumeMounts") && pod(&patch).get("initContainers").is_none());
    let env = pod(&patch)["containers"][0]["env"].as_array().unwrap().clone();
    assert!(env.contains(&json!({"name": "JAVA_TOOL_OPTIONS"})), "the entry stays by its name, with the user's value");
}

#[test]
fn a_policy_with_errors_changes_nothing_of_it() {
    let object = injected(java(), &plain());
    let broken = |image: &str| {
        let spec = format!("{{overrides: {{instrumentation: {{image: \"{image}\"}}, sampling: {{ratio: 7}}}}}}");
        let policy = cluster_policy("above", &spec);
        assert!(!policy.is_valid());
        policy
    };
    // The image in the workload may come from what is broken.
    let mut policies = with_image("new/java:2");
    policies.push(broken("broken/java:3"));
    let plan = plan_of(policies.clone(), &object);
    assert!(!plan.needs_write, "{plan:#?}");
    assert!(plan.instrumentation().unwrap().image.contains("autoinstrumentation-java"), "as it is");
    // Nothing is there: what is valid is injected.
    assert_eq!(plan_of(policies, &plain()).instrumentation().unwrap().image, "new/java:2");
    // What does not depend on it goes on.
    let mut policies = java();
    policies.push(cluster_policy("above", "{overrides: {sampling: {ratio: 7}, service: {version: \"2\"}}}"));
    assert!(plan_of(policies, &object).instrumentation().is_some());
}

#[test]
fn a_container_that_only_a_broken_policy_selects_keeps_it() {
    let object = injected(java(), &deployment("{}", "[{name: app}, {name: helper}]"));
    let mut policies = vec![policy("p", &spec("java", ", containers: [app]"))];
    policies.push(cluster_policy("above", "{overrides: {containers: [app, helper], sampling: {ratio: 7}}}"));
    let plan = plan_of(policies, &object);
    assert!(!plan.needs_write, "{:?}", plan.containers);
    assert!(plan.containers.iter().all(|planned| planned.instrumented.is_some()), "{:?}", plan.containers);
}

#[test]
fn a_manifest_without_it_keeps_what_is_live() {
    let live = read(&injected(java(), &plain()));
    let mut manifest = read(&plain());
    manifest.succeed(&live);
    let held = |workload: &Workload| {
        let mounts = workload.containers[0].mounts.clone();
        (workload.pod.init_containers.clone(), workload.pod.volumes.clone(), mounts)
    };
    assert_eq!(held(&manifest), held(&live));
    let mut own = plain();
    own["spec"]["template"]["spec"]["volumes"] = json!([{"name": "tracesteward-instrumentation", "emptyDir": {}}]);
    let mut own = read(&own);
    own.succeed(&live);
    assert_eq!(own.pod.volumes.len(), 1);
}

#[test]
fn a_change_of_the_image_alone_is_a_difference_that_restarts() {
    let settled = |policies: Vec<Policy>| {
        let object = injected(policies.clone(), &plain());
        snapshot(policies, &[object])
    };
    let before = settled(java());
    let mut after = before.clone();
    let changed = with_image("mirror/java:2").remove(0);
    after.namespaces.get_mut(NAMESPACE).unwrap().policies.insert("p".to_owned(), changed);
    let found = difference(&before, &after, &Known::default());
    let [workload] = found.workloads.as_slice() else { panic!("{found:#?}") };
    assert!(workload.restarts() && workload.variables.is_empty());
    let (was, will_be) = workload.instrumentation.clone().unwrap();
    assert_eq!(will_be.unwrap().image, "mirror/java:2");
    assert!(was.unwrap().image.contains("autoinstrumentation-java"));
    assert!(found.policies.is_empty(), "{:?}", found.policies);
    assert!(difference(&before, &before, &Known::default()).is_empty());
}

#[test]
fn rendering_twice_is_rendering_once() {
    // What is rendered and committed is the user's: nothing is added to it.
    let object = plain();
    let plan = plan_of(java(), &object);
    let mut once = object.clone();
    merge_into(&mut once, &read(&object), plan.rendered());
    let snapshot = snapshot(java(), std::slice::from_ref(&once));
    let again = plan_workload(&snapshot, &snapshot.namespaces[NAMESPACE], &read(&once));
    let mut twice = once.clone();
    merge_into(&mut twice, &read(&once), again.rendered());
    assert_eq!(twice.to_string(), once.to_string());
    assert!(again.containers[0].uninstrumented.is_some());
    assert!(!lines(&again.containers[0].variables).iter().any(|line| line.starts_with("JAVA_TOOL_OPTIONS")));
}

#[test]
fn committed_and_applied_by_the_user_it_is_shared_field_by_field() {
    let mut object = injected(java(), &plain());
    let own = apply_patch(&read(&plain()), plan_of(java(), &plain()).intent());
    let fields = json!({"f:spec": fields_of(&own["spec"])});
    object["metadata"]["managedFields"].as_array_mut().unwrap().push(managed_by("flux", "Apply", &fields));
    let plan = plan_of(java(), &object);
    assert!(plan.needs_write && plan.instrumentation().is_none(), "it is let go of");
    assert_eq!(apply_patch(&read(&object), plan.intent()).get("spec"), None);
}
