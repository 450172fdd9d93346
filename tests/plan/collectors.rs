//! What a change of a collector, or of what belongs to one, touches.

use std::collections::BTreeMap;

use super::common::Tracked;
use serde_json::{Value, json};
use tracesteward::{
    index::{
        Change, CollectorId, Dirty, Fault, LiveObject, OwnedKind, Policy, SecretKeyId, SecretState, Source, Watched,
        raw::read_workload,
    },
    plan::{read_collector, read_policy},
};

const HOME: &str = "platform";

fn collector(spec: &Value) -> tracesteward::index::Collector {
    let backends = json!([{"name": "t", "endpoint": "http://t:4317", "headers": [{"name": "a", "secretKeyRef": {"name": "s", "key": "k"}}]}]);
    let mut full = json!({"backends": backends, "allowedNamespaces": {"from": "All"}});
    spec.as_object().unwrap().iter().for_each(|(key, value)| full[key] = value.clone());
    read_collector(&object("TracingCollector", HOME, "gw", &full), HOME)
}

fn object(kind: &str, namespace: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "tracesteward.io/v1alpha1", "kind": kind, "metadata": {"name": name, "namespace": namespace, "uid": "u"}, "spec": spec})
}

fn policy(namespace: &str, name: &str, export: &Value) -> Policy {
    read_policy(&object("TracingPolicy", namespace, name, &json!({"enabled": true, "export": export})), namespace)
}

fn to(name: &str) -> Value {
    json!({"collectorRef": {"name": name, "namespace": HOME}})
}

fn workload(namespace: &str, name: &str, label: &str, managed: &Value) -> Change {
    let template = json!({"metadata": {"labels": {"app": label}}, "spec": {"containers": [{"name": "app", "env": [{"name": "OTEL_SERVICE_NAME", "value": "x"}]}]}});
    let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"template": template},
        "metadata": {"name": name, "namespace": namespace, "uid": "w", "managedFields": managed}});
    Change::Workload(read_workload(&object, namespace).unwrap().unwrap(), None)
}

fn deployment(ready: i64, version: u64, owner: &str) -> LiveObject {
    let owner =
        json!({"apiVersion": "tracesteward.io/v1alpha1", "kind": "TracingCollector", "name": owner, "uid": "u"});
    let metadata = json!({"name": "gw-collector", "namespace": HOME, "uid": "d", "resourceVersion": version.to_string(), "ownerReferences": [owner]});
    let status = json!({"readyReplicas": ready, "observedGeneration": version});
    LiveObject::read(
        OwnedKind::Deployment,
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "status": status}),
    )
    .unwrap()
}

fn gw(name: &str) -> CollectorId {
    CollectorId { namespace: HOME.to_owned(), name: name.to_owned() }
}

/// A collector, a policy of another namespace that exports to it, one that does not, and a workload of each.
fn world() -> Tracked {
    let mut index = Tracked::new(None, []);
    index.update(Change::Collector(collector(&json!({})), None));
    index.update(Change::Policy(policy("team", "p", &to("gw")), None));
    index.update(workload("team", "web", "web", &json!([])));
    index.update(Change::Policy(policy("other", "q", &json!({"endpoint": "http://x:4317"})), None));
    index.update(workload("other", "api", "api", &json!([])));
    index
}

fn names(dirty: &Dirty) -> String {
    let workloads = dirty.workloads.iter().map(|id| format!("w:{}", id.name));
    let policies = dirty.policies.iter().map(|id| format!("p:{}", id.name));
    let collectors = dirty.collectors.iter().map(|id| format!("c:{}", id.name));
    let statuses = dirty.collector_statuses.iter().map(|id| format!("s:{}", id.name));
    let keys = dirty.keys.iter().map(|id| format!("k:{}/{}", id.name, id.key));
    let identity = dirty.identity.then(|| "identity".to_owned());
    workloads
        .chain(policies)
        .chain(collectors)
        .chain(statuses)
        .chain(keys)
        .chain(identity)
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn a_collector_touches_those_who_export_to_it() {
    let mut index = world();
    let dirty = index.update(Change::Collector(collector(&json!({"receivers": {"grpcPort": 5000}})), None));
    assert_eq!(names(&dirty), "w:web p:p c:gw s:gw k:s/k identity");
    let mut invalid = collector(&json!({"receivers": {"grpcPort": 5000}}));
    invalid.deleting = true;
    assert_eq!(names(&index.update(Change::Collector(invalid.clone(), None))), "w:web p:p c:gw s:gw k:s/k identity");
    invalid.status = Some(tracesteward::api::TracingCollectorStatus::default());
    assert_eq!(names(&index.update(Change::Collector(invalid.clone(), None))), "s:gw", "a status touches itself alone");
    assert_eq!(names(&index.update(Change::Collector(invalid, None))), "", "nothing has changed");
    assert_eq!(names(&index.update(Change::CollectorGone(gw("gw")))), "w:web p:p c:gw identity");
    let all = Source { watched: Watched::Collectors, namespace: None };
    assert_eq!(
        names(&index.update(Change::Collectors(all.clone(), vec![(collector(&json!({})), None)]))),
        "w:web p:p c:gw s:gw k:s/k identity"
    );
    assert_eq!(names(&index.update(Change::Collectors(all, Vec::new()))), "w:web p:p c:gw identity");
}

#[test]
fn a_policy_touches_the_collectors_of_both_its_versions() {
    let mut index = world();
    let moved = index.update(Change::Policy(policy("team", "p", &to("new")), None));
    assert_eq!(names(&moved), "w:web p:p c:gw c:new");
    let gone = index.update(Change::PolicyGone(policy("team", "p", &to("new")).id));
    assert_eq!(names(&gone), "w:web c:new");
    // One that exports elsewhere may decide whose a service is.
    index.update(Change::Policy(policy("team", "p", &to("gw")), None));
    let beside = index.update(Change::Policy(policy("team", "beside", &json!({"endpoint": "http://x:4317"})), None));
    assert_eq!(names(&beside), "w:web p:beside p:p c:gw");
    assert_eq!(
        names(&index.update(Change::Policy(policy("other", "q", &json!({"endpoint": "http://y:4317"})), None))),
        "w:api p:q"
    );
}

#[test]
fn a_workload_touches_collectors_only_where_its_service_may_be_another() {
    let mut index = world();
    let held = json!([{"manager": "tracesteward", "operation": "Apply", "fieldsV1": {"f:spec": {"f:template": {"f:spec": {"f:containers":
        {"k:{\"name\":\"app\"}": {"f:env": {"k:{\"name\":\"OTEL_SERVICE_NAME\"}": {".": {}, "f:name": {}, "f:value": {}}}}}}}}}}]);
    index.update(workload("team", "new", "new", &held));
    assert_eq!(
        names(&index.update(workload("team", "new", "other", &held))),
        "w:new",
        "a label that decides nothing about the service"
    );
    let gone = workload("team", "new", "other", &held);
    let Change::Workload(mut gone, _) = gone else { panic!("a workload") };
    gone.attributes.insert("service.name".into(), "renamed".into());
    assert_eq!(names(&index.update(Change::Workload(gone.clone(), None))), "w:new p:p c:gw");
    let mut written = gone.clone();
    written.containers[0].held.clear();
    written.containers[0].env.clear();
    assert_eq!(
        names(&index.update(Change::Workload(written, None))),
        "w:new",
        "what the operator writes says nothing new"
    );
    assert_eq!(names(&index.update(Change::WorkloadGone(gone.id))), "w:new p:p c:gw");
    assert_eq!(names(&index.update(workload("other", "more", "more", &json!([])))), "w:more p:q");
}

#[test]
fn labels_of_a_namespace_touch_what_refers_to_collectors_there() {
    let mut index = world();
    let labels = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
    assert_eq!(names(&index.update(Change::Namespace("team".into(), labels.clone().into()))), "w:web p:p c:gw");
    assert_eq!(names(&index.update(Change::Namespace("team".into(), labels.clone().into()))), "");
    assert_eq!(names(&index.update(Change::Namespace("other".into(), labels.clone().into()))), "");
    let all = Source { watched: Watched::Namespaces, namespace: None };
    assert_eq!(names(&index.update(Change::Namespaces(all, vec![("other".into(), labels.into())]))), "w:web p:p c:gw");
    assert_eq!(index.snapshot().namespaces["team"].labels, None);
}

#[test]
fn an_object_touches_its_collector_and_readiness_the_statuses_of_policies() {
    let mut index = world();
    assert_eq!(names(&index.update(Change::Owned(deployment(0, 1, "gw")))), "c:gw");
    assert_eq!(names(&index.update(Change::Owned(deployment(1, 2, "gw")))), "p:p c:gw");
    assert_eq!(names(&index.update(Change::Owned(deployment(2, 3, "gw")))), "c:gw");
    assert_eq!(names(&index.update(Change::Owned(deployment(2, 3, "gw")))), "");
    assert_eq!(names(&index.update(Change::OwnedWritten(deployment(2, 9, "gw")))), "c:gw");
    assert_eq!(names(&index.update(Change::Owned(deployment(1, 5, "gw")))), "", "older than the own write");
    assert_eq!(names(&index.update(Change::Owned(deployment(2, 10, "new")))), "p:p c:gw c:new", "it has another owner");
    assert_eq!(index.snapshot().owned_by(&gw("gw")).count(), 0);
    index.update(Change::Owned(deployment(2, 11, "gw")));
    let all = Source { watched: Watched::Owned(OwnedKind::Deployment), namespace: None };
    let others = Source { watched: Watched::Owned(OwnedKind::Service), namespace: None };
    assert_eq!(names(&index.update(Change::AllOwned(others, Vec::new()))), "");
    assert_eq!(names(&index.update(Change::AllOwned(all, Vec::new()))), "p:p c:gw");
    assert_eq!(names(&index.update(Change::OwnedWritten(deployment(2, 20, "gw")))), "", "an answer about what is gone");
}

#[test]
fn keys_and_faults_touch_their_collector() {
    let mut index = world();
    let key = |key: &str| SecretKeyId { namespace: HOME.to_owned(), name: "s".to_owned(), key: key.to_owned() };
    assert_eq!(names(&index.update(Change::SecretKey(key("k"), SecretState::NotFound))), "c:gw");
    assert_eq!(names(&index.update(Change::SecretKey(key("k"), SecretState::NotFound))), "");
    assert_eq!(names(&index.update(Change::SecretKey(key("other"), SecretState::NotFound))), "");
    let fault = Fault { reason: "NameTaken".into(), message: "x".into() };
    assert_eq!(names(&index.update(Change::CollectorFault(gw("gw"), Some(fault.clone())))), "s:gw");
    assert_eq!(names(&index.update(Change::CollectorFault(gw("gw"), Some(fault.clone())))), "");
    assert_eq!(names(&index.update(Change::CollectorFault(gw("gw"), None))), "s:gw");
    assert_eq!(names(&index.update(Change::Trouble(gw("gw"), Some("Error: x".into())))), "s:gw");
    assert_eq!(names(&index.update(Change::IdentityFault(Some(fault)))), "s:gw");
}
