//! A world of policies and workloads, and the plan of one workload in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use tracesteward::diagnostics::source;
use tracesteward::index::raw::read_workload;
use tracesteward::index::{Change, Container, Dirty, EnvValue, Index, Policy, Snapshot, Source, Workload};
use tracesteward::plan::{
    ContainerPlan, Planner, Variable, WorkloadPlan, plan_workload, read_cluster_policy, read_policy,
};

pub(super) const NAMESPACE: &str = "shop";

/// A policy from its specification in YAML. It must be readable; it may be invalid.
pub(super) fn policy(name: &str, spec: &str) -> Policy {
    policy_at(name, spec, NAMESPACE, None)
}

pub(super) fn policy_at(name: &str, spec: &str, namespace: &str, created: Option<&str>) -> Policy {
    read_policy(&policy_object(name, &yaml(spec), namespace, created), NAMESPACE)
}

pub(super) fn policy_object(name: &str, spec: &Value, namespace: &str, created: Option<&str>) -> Value {
    json!({
        "apiVersion": "tracesteward.io/v1alpha1", "kind": "TracingPolicy",
        "metadata": {"name": name, "namespace": namespace, "creationTimestamp": created},
        "spec": spec,
    })
}

/// A ClusterTracingPolicy from its specification in YAML.
pub(super) fn cluster_policy(name: &str, spec: &str) -> Policy {
    cluster_policy_from(name, &yaml(spec))
}

pub(super) fn cluster_policy_from(name: &str, spec: &Value) -> Policy {
    let (version, kind) = ("tracesteward.io/v1alpha1", "ClusterTracingPolicy");
    read_cluster_policy(&json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec}))
}

/// A value as kubectl reads it.
pub(super) fn yaml(text: &str) -> Value {
    let reading = source::read("test", format!("value: {text}").into_bytes());
    assert_eq!(reading.diagnostics, [], "{text}");
    reading.documents[0].value()["value"].clone()
}

/// A Deployment `web`; `template` is its pod template's metadata, `containers` their list, in YAML.
pub(super) fn deployment(template: &str, containers: &str) -> Value {
    workload_object(
        "apps/v1",
        "Deployment",
        "web",
        &json!({"metadata": yaml(template), "spec": {"containers": yaml(containers)}}),
    )
}

pub(super) fn workload_object(version: &str, kind: &str, name: &str, template: &Value) -> Value {
    let spec = match kind {
        "CronJob" => json!({"jobTemplate": {"spec": {"template": template}}}),
        _ => json!({"template": template}),
    };
    json!({"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE, "uid": "1"}, "spec": spec})
}

/// With one container `app` and nothing else.
pub(super) fn plain() -> Value {
    deployment("{}", "[{name: app, image: web}]")
}

pub(super) fn read(object: &Value) -> Workload {
    read_workload(object, NAMESPACE).expect("a workload").expect("a readable one")
}

pub(super) fn snapshot(policies: Vec<Policy>, workloads: &[Value]) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for policy in policies {
        if policy.id.is_cluster() {
            snapshot.cluster_policies.insert(policy.id.name.clone(), policy);
            continue;
        }
        let namespace = snapshot.namespaces.entry(policy.id.namespace.clone()).or_default();
        namespace.policies.insert(policy.id.name.clone(), policy);
    }
    for object in workloads {
        let workload = read(object);
        let namespace = snapshot.namespaces.entry(workload.id.namespace.clone()).or_default();
        namespace.workloads.insert(workload.id.clone(), Arc::new(workload));
    }
    snapshot
}

/// The plan of one workload under these policies.
pub(super) fn plan_of(policies: Vec<Policy>, object: &Value) -> WorkloadPlan {
    let snapshot = snapshot(policies, std::slice::from_ref(object));
    let workload = read(object);
    plan_workload(&snapshot, &snapshot.namespaces[&workload.id.namespace], &workload)
}

/// The variables of the first container under one policy, as lines.
pub(super) fn env(spec: &str, object: &Value) -> Vec<String> {
    let policy = policy("p", spec);
    assert!(policy.is_valid(), "{spec}: {:?}", policy.findings);
    let plan = plan_of(vec![policy], object);
    lines(&plan.containers[0].variables)
}

pub(super) fn lines(variables: &[Variable]) -> Vec<String> {
    variables.iter().map(line).collect()
}

fn line(variable: &Variable) -> String {
    match &variable.value {
        EnvValue::Literal(value) => format!("{}={value}", variable.name),
        EnvValue::FieldRef(path) => format!("{} field {path}", variable.name),
        EnvValue::HeadersSecret(secret) => format!("{} secret {secret}", variable.name),
        EnvValue::Joined => format!("{} joined", variable.name),
        EnvValue::Foreign => panic!("{} is planned as foreign", variable.name),
    }
}

/// The value of one variable under an export and these further settings.
pub(super) fn value(name: &str, settings: &str, object: &Value) -> Option<String> {
    let spec = format!("{{enabled: true, export: {{endpoint: \"http://otel:4317\"}}, {settings}}}");
    let prefix = format!("{name}=");
    env(&spec, object).iter().find_map(|line| line.strip_prefix(&prefix).map(str::to_owned))
}

/// The resource attributes under these further settings.
pub(super) fn attributes(settings: &str, object: &Value) -> BTreeMap<String, String> {
    let list = value("OTEL_RESOURCE_ATTRIBUTES", settings, object).unwrap();
    let pairs: Vec<_> = list.split(',').map(|pair| pair.split_once('=').unwrap()).collect();
    assert!(pairs.is_sorted(), "{list}");
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// Managed fields for variables of containers: `(manager, operation, container, names)`.
pub(super) fn managed(kind: &str, entries: &[(&str, &str, &str, &[&str])]) -> Value {
    let entry = |(manager, operation, container, names): &(&str, &str, &str, &[&str])| {
        let env: Map<_, _> =
            names.iter().map(|name| (key(name), json!({".": {}, "f:name": {}, "f:value": {}}))).collect();
        let containers = json!({"f:containers": {key(container): {".": {}, "f:name": {}, "f:env": env}}});
        let template = json!({"f:template": {"f:spec": containers}});
        let fields = match kind {
            "CronJob" => json!({"f:spec": {"f:jobTemplate": {"f:spec": template}}}),
            _ => json!({"f:spec": template}),
        };
        json!({"manager": manager, "operation": operation, "apiVersion": "apps/v1", "fieldsType": "FieldsV1", "fieldsV1": fields})
    };
    entries.iter().map(entry).collect()
}

fn key(name: &str) -> String {
    format!("k:{}", json!({"name": name}))
}

/// An entry of managed fields.
pub(super) fn managed_by(manager: &str, operation: &str, fields: &Value) -> Value {
    json!({"manager": manager, "operation": operation, "apiVersion": "apps/v1", "fieldsType": "FieldsV1", "fieldsV1": fields})
}

/// The managed fields of whoever applies this.
pub(super) fn fields_of(applied: &Value) -> Value {
    match applied {
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (format!("f:{name}"), fields_of(value))).collect::<Map<_, _>>().into()
        }
        Value::Array(items) if items.iter().all(Value::is_object) => {
            let keyed = items.iter().map(|item| {
                let field = if item.get("mountPath").is_some() { "mountPath" } else { "name" };
                let mut fields = fields_of(item);
                fields["."] = json!({});
                (format!("k:{}", json!({field: item[field]})), fields)
            });
            keyed.collect::<Map<_, _>>().into()
        }
        _ => json!({}),
    }
}

/// The object as the API server has it after the operator's apply: the intent merged in, and its fields managed.
pub(super) fn applied(object: &Value, containers: &[ContainerPlan]) -> Value {
    let workload = read(object);
    let mut after = object.clone();
    tracesteward::plan::merge_into(&mut after, &workload, containers);
    let others = object.pointer("/metadata/managedFields").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut entries: Vec<_> = others.into_iter().filter(|entry| entry["manager"] != "tracesteward").collect();
    let patch = tracesteward::plan::apply_patch(&workload, containers);
    if let Some(spec) = patch.get("spec") {
        entries.push(managed_by("tracesteward", "Apply", &json!({"f:spec": fields_of(spec)})));
    }
    after["metadata"]["managedFields"] = entries.into();
    after
}

pub(super) fn container(workload: &Workload, name: &str) -> Container {
    workload.containers.iter().find(|container| container.name == name).unwrap().clone()
}

/// An index with its plan, as the controller keeps them.
#[derive(Default)]
pub(super) struct Tracked {
    index: Option<Index>,
    pub(super) planner: Planner,
}

impl Tracked {
    pub(super) fn new(own: Option<String>, sources: impl IntoIterator<Item = Source>) -> Self {
        Self { index: Some(Index::new(own, sources)), planner: Planner::default() }
    }

    pub(super) fn update(&mut self, change: Change) -> Dirty {
        let index = self.index.as_mut().unwrap();
        let mut dirty = index.update(change);
        self.planner.update(index.snapshot(), &mut dirty);
        dirty
    }

    pub(super) fn absolve(&mut self, id: &tracesteward::index::WorkloadId) -> Dirty {
        let snapshot = self.index.as_ref().unwrap().snapshot();
        let generation = snapshot.namespaces[&id.namespace].workloads[id].generation;
        self.planner.absolve(snapshot, id, generation)
    }

    pub(super) fn plan_piece(&mut self, mut piece: Dirty) {
        self.planner.plan(self.index.as_ref().unwrap().snapshot(), &mut piece);
    }

    /// What a process finds to do that has just become the leader, and has planned nothing yet.
    pub(super) fn anew(&mut self) -> Dirty {
        let index = self.index.as_ref().unwrap();
        self.planner = Planner::default();
        let mut dirty = index.everything();
        self.planner.update(index.snapshot(), &mut dirty);
        self.planner.recall(&mut dirty.starts);
        dirty
    }
}

impl std::ops::Deref for Tracked {
    type Target = Index;

    fn deref(&self) -> &Index {
        self.index.as_ref().unwrap()
    }
}
