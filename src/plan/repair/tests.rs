//! Unit tests of the repairs; `tests/gitops` has them beside the API server's own.

use serde_json::{Value, json};

use super::{Operation, match_conditions, policies, repair};
use crate::index::WorkloadKind;

/// A workload with these containers, of which these managers hold these fields.
fn workload(kind: WorkloadKind, containers: &Value, managers: &[(&str, &str, Value)]) -> Value {
    let mut spec = json!({"containers": containers});
    let mut path = kind.template_path().to_vec();
    path.push("spec");
    for step in path.iter().skip(1).rev() {
        spec = json!({*step: spec});
    }
    let managed = managers.iter().map(|(manager, operation, fields)| {
        let mut fields = json!({"f:containers": fields});
        for step in path.iter().rev() {
            fields = json!({format!("f:{step}"): fields});
        }
        json!({"manager": manager, "operation": operation, "fieldsV1": fields})
    });
    let managed: Vec<_> = managed.collect();
    json!({"apiVersion": kind.api_version(), "kind": kind.as_str(), "metadata": {"managedFields": managed}, "spec": spec})
}

fn key(name: &str) -> String {
    format!("k:{}", json!({"name": name}))
}

/// Managed fields of a container: these fields of these variables.
fn fields(container: &str, variables: &[(&str, &str)]) -> Value {
    let env: serde_json::Map<_, _> =
        variables.iter().map(|(name, form)| (key(name), json!({".": {}, "f:name": {}, *form: {}}))).collect();
    json!({key(container): {".": {}, "f:name": {}, "f:env": env}})
}

fn remove(path: &str) -> Operation {
    Operation::Remove { path: path.to_owned() }
}

const NAME: &str = "OTEL_SERVICE_NAME";

fn stub(name: &str) -> Value {
    json!({"name": name, "env": [{"name": NAME, "value": "x"}], "imagePullPolicy": "IfNotPresent"})
}

fn full(name: &str) -> Value {
    json!({"name": name, "image": "i", "env": [{"name": NAME, "value": "x"}]})
}

#[test]
fn mounts_keep_a_stub_alive_too_and_init_containers_are_none() {
    let path = format!("k:{}", json!({"mountPath": "/otel-auto-instrumentation-java"}));
    let held = json!({
        key("a"): {".": {}, "f:name": {}, "f:volumeMounts": {path: {".": {}, "f:mountPath": {}, "f:name": {}}}},
    });
    let managers = [("tracesteward", "Apply", held)];
    let mount = json!([{"name": "tracesteward-instrumentation", "mountPath": "/otel-auto-instrumentation-java"}]);
    let old = json!([{"name": "a", "image": "i", "volumeMounts": mount}]);
    let new = json!([{"name": "a", "volumeMounts": mount}, {"name": "b", "image": "i"}]);
    for kind in WorkloadKind::WRITABLE {
        let stub = format!("/{}/spec/containers/0", kind.template_path().join("/"));
        let (before, mut after) = (workload(kind, &old, &managers), workload(kind, &new, &managers));
        assert_eq!(repair(&after, &before), [remove(&stub)], "{kind}");
        // An init container without an image is nobody's stub: the user hears of it from the API server.
        let place = format!("/{}/spec", kind.template_path().join("/"));
        after.pointer_mut(&place).unwrap()["initContainers"] = json!([{"name": "tracesteward-java"}]);
        assert_eq!(repair(&after, &before), [remove(&stub)], "{kind}");
    }
}

#[test]
fn stubs_go_whatever_the_kind_and_indices_follow() {
    for kind in WorkloadKind::WRITABLE {
        let path = format!("/{}/spec/containers", kind.template_path().join("/"));
        let held: Value = {
            let mut all = fields("a", &[(NAME, "f:value")]);
            for name in ["b", "c"] {
                all[key(name)] = fields(name, &[(NAME, "f:value")])[key(name)].clone();
            }
            all
        };
        let managers = [("team", "Apply", json!({key("d"): {".": {}}})), ("tracesteward", "Apply", held)];
        let old = workload(kind, &json!([full("a"), full("b"), full("c")]), &managers);
        let new = workload(kind, &json!([stub("a"), full("d"), stub("b"), stub("c")]), &managers);
        let found = repair(&new, &old);
        assert_eq!(
            found,
            [remove(&format!("{path}/0")), remove(&format!("{path}/1")), remove(&format!("{path}/1"))],
            "{kind}"
        );
        assert_eq!(serde_json::to_value(&found).unwrap()[0], json!({"op": "remove", "path": format!("{path}/0")}));
        assert_eq!(repair(&old, &old), []);
        let mut other = new.clone();
        other["kind"] = json!("ReplicaSet");
        assert_eq!(repair(&other, &old), []);
    }
}

#[test]
fn a_container_without_an_image_that_is_no_stub_of_ours_stays() {
    let kind = WorkloadKind::Deployment;
    let ours = ("tracesteward", "Apply", fields("a", &[(NAME, "f:value")]));
    let theirs = ("team", "Apply", json!({key("a"): {".": {}, "f:name": {}}}));
    let old = workload(kind, &json!([full("a"), full("b")]), &[]);
    let cases: [(&str, Value, Vec<_>); 5] = [
        ("the user forgot the image", json!([stub("a"), full("b")]), vec![ours.clone(), theirs.clone()]),
        ("it is new", json!([full("a"), stub("new")]), vec![("tracesteward", "Apply", fields("new", &[]))]),
        ("nobody holds it", json!([stub("a"), full("b")]), vec![]),
        ("somebody with our name by update", json!([stub("a")]), vec![("tracesteward", "Update", ours.2.clone())]),
        ("it has an image", json!([full("a"), full("b")]), vec![ours.clone()]),
    ];
    for (name, containers, managers) in cases {
        assert_eq!(repair(&workload(kind, &containers, &managers), &old), [], "{name}");
    }
    let empty = json!([{"name": "a", "image": ""}, full("b")]);
    assert_eq!(repair(&workload(kind, &empty, &[ours]), &old), [remove("/spec/template/spec/containers/0")]);
}

#[test]
fn of_two_forms_ours_goes() {
    let source = json!({"fieldRef": {"fieldPath": "metadata.name"}});
    let both = |name: &str| json!({"name": name, "value": "x", "valueFrom": source});
    let container = |env: Value| json!([{"name": "s", "image": "i"}, {"name": "a", "image": "i", "env": env}]);
    let kind = WorkloadKind::CronJob;
    let place = "/spec/jobTemplate/spec/template/spec/containers/1/env/1";
    for (form, old) in
        [("value", json!({"name": NAME, "value": "o"})), ("valueFrom", json!({"name": NAME, "valueFrom": source}))]
    {
        let other = if form == "value" { "f:valueFrom" } else { "f:value" };
        let ours = ("tracesteward", "Apply", fields("a", &[(NAME, &format!("f:{form}"))]));
        let theirs = ("team", "Apply", fields("a", &[(NAME, other)]));
        let managers = [ours, theirs];
        let old = workload(kind, &container(json!([{"name": "X"}, old])), &[]);
        let new = workload(kind, &container(json!([{"name": "X"}, both(NAME)])), &managers);
        assert_eq!(repair(&new, &old), [remove(&format!("{place}/{form}"))]);
        // The operator over a user's variable: the user's stays, and the operator is refused.
        let swapped = managers.clone().map(|(manager, operation, fields)| {
            (if manager == "team" { "tracesteward" } else { "team" }, operation, fields)
        });
        assert_eq!(repair(&workload(kind, &container(json!([{"name": "X"}, both(NAME)])), &swapped), &old), []);
        // A user who declares both, though one of them is ours too.
        let more = ("more", "Update", fields("a", &[(NAME, &format!("f:{form}"))]));
        let managers = [managers[0].clone(), managers[1].clone(), more];
        assert_eq!(repair(&workload(kind, &container(json!([{"name": "X"}, both(NAME)])), &managers), &old), []);
    }
    // Names that the operator never writes, whoever holds them.
    let ours = ("tracesteward", "Apply", fields("a", &[("MODE", "f:value")]));
    let old = workload(kind, &container(json!([{"name": "MODE", "value": "o"}])), &[]);
    assert_eq!(repair(&workload(kind, &container(json!([both("MODE")])), &[ours]), &old), []);
}

#[test]
fn odd_objects_need_no_repair() {
    let old = json!({"apiVersion": "apps/v1", "kind": "Deployment"});
    for spec in [
        json!(null),
        json!(3),
        json!({"template": {"spec": {"containers": [3, {"env": 1}, {"name": 1, "env": [null]}]}}}),
    ] {
        let mut object = old.clone();
        object["spec"] = spec;
        object["metadata"] = json!({"managedFields": [1, {"fieldsV1": 2}]});
        assert_eq!(repair(&object, &old), []);
    }
}

#[test]
fn the_rules_are_the_same_bytes_each_time_and_hold_no_foreign_text() {
    assert_eq!(policies("v1", "home"), policies("admissionregistration.k8s.io/v1", "home"));
    assert_eq!(policies("v1beta1", "home")[0]["apiVersion"], "admissionregistration.k8s.io/v1beta1");
    let said = match_conditions("x' || true || '")[0]["expression"].as_str().unwrap().to_owned();
    assert_eq!(said, "!request.namespace.startsWith('kube-') && request.namespace != 'xtrue'");
}
