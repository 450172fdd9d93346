//! What a cluster of this size has in it: Deployments as teams write them, by two kinds of appliers, and the policies about them.

use futures::{StreamExt, TryStreamExt, stream};
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};

use crate::fixtures::{policy, traced};

/// Workloads of a namespace.
const PER_NAMESPACE: usize = 50;
/// Requests at the same time while objects are made.
const MAKERS: usize = 16;

/// How much of everything there is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) workloads: usize,
}

impl Size {
    pub(crate) const fn namespaces(self) -> usize {
        self.workloads.div_ceil(PER_NAMESPACE)
    }

    /// Two in every even namespace have 20 workloads and one has 10; in every odd one, 20 and 30.
    pub(crate) const fn policies(self) -> usize {
        self.namespaces() * 5 / 2 + self.namespaces() % 2
    }
}

pub(crate) fn namespace(prefix: &str, number: usize) -> String {
    format!("{prefix}-{}", number / PER_NAMESPACE)
}

/// Which policy of its namespace a workload belongs to.
fn tier(number: usize) -> &'static str {
    let is_even = (number / PER_NAMESPACE).is_multiple_of(2);
    match (number % PER_NAMESPACE, is_even) {
        (0..20, _) => "front",
        (40.., true) => "batch",
        _ => "back",
    }
}

pub(crate) fn api(client: &Client, kind: &str, namespace: &str) -> Api<DynamicObject> {
    let (group, version) = match kind {
        "TracingPolicy" => ("tracesteward.io", "v1alpha1"),
        "Namespace" => ("", "v1"),
        _ => ("apps", "v1"),
    };
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    if kind == "Namespace" {
        Api::all_with(client.clone(), &resource)
    } else {
        Api::namespaced_with(client.clone(), namespace, &resource)
    }
}

fn object(value: Value) -> DynamicObject {
    serde_json::from_value(value).expect("an object")
}

/// Variables of the application's own.
fn env(container: &str, count: usize) -> Value {
    let plain = (0..count).map(|number| {
        json!({"name": format!("{}_SETTING_{number:02}", container.to_uppercase().replace('-', "_")), "value": format!("value-{number}-of-{container}")})
    });
    let sourced = json!([
        {"name": "DATABASE_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "database", "key": "password"}}},
        {"name": "FEATURES", "valueFrom": {"configMapKeyRef": {"name": "features", "key": "all", "optional": true}}},
        {"name": "MEMORY_LIMIT", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
    ]);
    plain.chain(sourced.as_array().into_iter().flatten().cloned()).collect()
}

fn container(name: &str, variables: usize) -> Value {
    let probe = json!({"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 10, "timeoutSeconds": 2});
    json!({
        "name": name, "image": format!("registry.example/team/{name}:1.24.3"), "imagePullPolicy": "IfNotPresent",
        "args": ["--listen=:8080", "--log-format=json", "--grace-period=30s"], "env": env(name, variables),
        "ports": [{"name": "http", "containerPort": 8080}, {"name": "admin", "containerPort": 9090}],
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "512Mi"}},
        "livenessProbe": probe, "readinessProbe": probe,
        "securityContext": {"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "config", "mountPath": "/etc/app", "readOnly": true}, {"name": "tmp", "mountPath": "/tmp"}],
    })
}

/// A Deployment as a team writes it: two containers, every other one with a sidecar of the mesh. Without replicas, because there
/// are no nodes.
fn deployment(prefix: &str, number: usize) -> Value {
    let (name, namespace) = (format!("service-{number:05}"), namespace(prefix, number));
    let labels = json!({"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "shop", "app.kubernetes.io/version": "1.24.3", "tier": tier(number), "team": namespace});
    let sidecar = (number % 2 == 1).then(|| container("istio-proxy", 8));
    let containers: Vec<_> = [container("app", 14), container("worker", 9)].into_iter().chain(sidecar).collect();
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace, "labels": labels, "annotations": {
            "example.com/owner": format!("{namespace}@example.com"), "example.com/runbook": format!("https://runbooks.example.com/{name}")}},
        "spec": {
            "replicas": 0, "revisionHistoryLimit": 3, "selector": {"matchLabels": {"app.kubernetes.io/name": name}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {
                "metadata": {"labels": labels, "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "9090", "checksum/config": "6b3f0d2d"}},
                "spec": {
                    "serviceAccountName": "default", "terminationGracePeriodSeconds": 45, "containers": containers,
                    "securityContext": {"runAsNonRoot": true, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}},
                    "volumes": [{"name": "config", "configMap": {"name": "app", "optional": true}}, {"name": "tmp", "emptyDir": {}}],
                },
            },
        },
    })
}

/// Made by `kubectl apply` (every even one) or by a server-side applier, and touched by a second one: what managers hold in it is
/// as large as in real clusters.
async fn make(client: &Client, prefix: &str, number: usize) -> Result<(), kube::Error> {
    let mut value = deployment(prefix, number);
    let namespace = namespace(prefix, number);
    let (api, name) = (api(client, "Deployment", &namespace), format!("service-{number:05}"));
    if number.is_multiple_of(2) {
        value["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] = value.to_string().into();
        let parameters =
            PostParams { field_manager: Some("kubectl-client-side-apply".to_owned()), ..PostParams::default() };
        api.create(&parameters, &object(value)).await?;
    } else {
        api.patch(&name, &PatchParams::apply("argocd-controller"), &Patch::Apply(&value)).await?;
    }
    let labels = json!({"example.com/cost-centre": "4711", "example.com/inventory": format!("{number}")});
    let second = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "labels": labels}});
    api.patch(&name, &PatchParams::apply("inventory"), &Patch::Apply(&second)).await?;
    Ok(())
}

/// Makes the namespaces and Deployments.
pub(crate) async fn deployments(client: &Client, prefix: &str, size: Size) {
    let namespaces = stream::iter(0..size.namespaces()).map(|number| {
        let name = format!("{prefix}-{number}");
        let object = object(
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"team": name}}}),
        );
        async move { api(client, "Namespace", "").create(&PostParams::default(), &object).await.map(drop) }
    });
    namespaces.buffer_unordered(MAKERS).try_collect::<()>().await.expect("the namespaces are made");
    let all = stream::iter(0..size.workloads).map(|number| make(client, prefix, number));
    all.buffer_unordered(MAKERS).try_collect::<()>().await.expect("the Deployments are made");
}

/// Makes the policies: each Deployment has exactly one.
pub(crate) async fn policies(client: &Client, prefix: &str, size: Size) {
    let tiers = |namespace: usize| -> &'static [&'static str] {
        if namespace.is_multiple_of(2) { &["front", "back", "batch"] } else { &["front", "back"] }
    };
    let all = (0..size.namespaces()).flat_map(|namespace| tiers(namespace).iter().map(move |tier| (namespace, *tier)));
    let all: Vec<_> = all.collect();
    assert_eq!(all.len(), size.policies());
    for (namespace, tier) in all {
        let value = tier_policy(tier, 0.5);
        let api = api(client, "TracingPolicy", &format!("{prefix}-{namespace}"));
        api.create(&PostParams::default(), &object(value)).await.expect("a policy is made");
    }
}

/// The policy of a tier, with this share of traces.
pub(crate) fn tier_policy(tier: &str, ratio: f64) -> Value {
    let mut spec = traced(ratio);
    spec["targets"] = json!([{"kind": "Deployment", "selector": {"matchLabels": {"tier": tier}}}]);
    spec["service"] = json!({"attributes": {"deployment.environment.name": "production"}});
    policy(tier, &spec)
}
