//! Stand-ins for the compiler and the objects: to be replaced.
#![allow(missing_docs, reason = "to be replaced")]

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    CONFIGURATION_KEY, CollectorSettings, Configuration, POD_KEY, Revision, Tier, collector_name, sampler_name,
};
use crate::{
    api::{GROUP, Identity, Management, VERSION},
    index::{Collector, OwnedId, OwnedKind},
};

#[derive(Clone, Debug, PartialEq)]
pub struct OwnedObject {
    pub id: OwnedId,
    pub manifest: Value,
}

pub fn revision(_: &Collector, settings: &CollectorSettings<'_>, configuration: &Configuration) -> Revision {
    let pod = json!({"image": settings.image, "grpc": settings.grpc_port, "env": configuration.variables.iter().map(|variable| &variable.secret).collect::<Vec<_>>()}).to_string();
    let data = BTreeMap::from([(CONFIGURATION_KEY.to_owned(), configuration.text.clone()), (POD_KEY.to_owned(), pod)]);
    let digest = Sha256::digest(json!(data).to_string());
    let hash: String = digest.iter().take(5).map(|byte| format!("{byte:02x}")).collect();
    Revision { tier: configuration.tier, hash, data }
}

pub fn configuration_name(collector: &str, tier: Tier, hash: &str) -> String {
    format!("{collector}-{}-{hash}", tier.as_str())
}

fn tier_name(name: &str, tier: Tier) -> String {
    match tier {
        Tier::Collector => collector_name(name),
        Tier::Sampler => sampler_name(name),
    }
}

pub fn objects(collector: &Collector, settings: &CollectorSettings<'_>, live: &[Revision]) -> Vec<OwnedObject> {
    let mut all = Vec::new();
    let mut add = |kind: OwnedKind, name: String, mut rest: Value| {
        rest["apiVersion"] = json!(kind.api_version());
        rest["kind"] = json!(kind.as_str());
        rest["metadata"] = json!({
            "name": name, "namespace": collector.id.namespace,
            "labels": {"app.kubernetes.io/managed-by": "tracesteward", "app.kubernetes.io/instance": collector.id.name},
            "ownerReferences": [{"apiVersion": format!("{GROUP}/{VERSION}"), "kind": "TracingCollector", "name": collector.id.name, "uid": collector.uid, "controller": true, "blockOwnerDeletion": true}],
        });
        all.push(OwnedObject { id: OwnedId { collector: collector.id.clone(), kind, name }, manifest: rest });
    };
    for revision in live {
        let name = configuration_name(&collector.id.name, revision.tier, &revision.hash);
        let configuration =
            if settings.management == Management::ConfigOnly { collector_name(&collector.id.name) } else { name };
        add(OwnedKind::ConfigMap, configuration.clone(), json!({"data": revision.data}));
        if settings.management == Management::ConfigOnly {
            continue;
        }
        let name = tier_name(&collector.id.name, revision.tier);
        add(OwnedKind::ServiceAccount, name.clone(), json!({}));
        let labels = json!({"app.kubernetes.io/instance": collector.id.name, "app.kubernetes.io/component": revision.tier.as_str()});
        add(
            OwnedKind::Service,
            name.clone(),
            json!({"spec": {"selector": labels, "ports": [
            {"name": "otlp-grpc", "port": settings.grpc_port, "protocol": "TCP"}, {"name": "otlp-http", "port": settings.http_port, "protocol": "TCP"}]}}),
        );
        let pod: Value = revision.data.get(POD_KEY).and_then(|pod| serde_json::from_str(pod).ok()).unwrap_or_default();
        let template = json!({"metadata": {"labels": labels}, "spec": {
            "containers": [{"name": "collector", "image": pod["image"], "volumeMounts": [{"name": "configuration", "mountPath": "/etc/otelcol"}]}],
            "volumes": [{"name": "configuration", "configMap": {"name": configuration}}]}});
        let spec = json!({"replicas": settings.replicas, "selector": {"matchLabels": labels}, "template": template});
        if settings.has_storage() {
            let mut spec = spec;
            spec["serviceName"] = json!(name);
            spec["podManagementPolicy"] = json!("Parallel");
            add(OwnedKind::StatefulSet, name, json!({"spec": spec}));
        } else {
            add(OwnedKind::Deployment, name, json!({"spec": spec}));
        }
    }
    all
}

pub fn contains(live: &Value, desired: &Value) -> bool {
    match (live, desired) {
        (Value::Object(live), Value::Object(desired)) => {
            desired.iter().all(|(key, value)| live.get(key).is_some_and(|live| contains(live, value)))
        }
        (Value::Array(live), Value::Array(desired)) => {
            live.len() == desired.len() && live.iter().zip(desired).all(|(live, desired)| contains(live, desired))
        }
        _ => live == desired,
    }
}

pub fn identity_binding<'a>(collectors: impl Iterator<Item = &'a Collector>) -> Option<Value> {
    let subjects: Vec<_> = collectors.filter(|collector| {
        collector.valid().is_some_and(|spec| spec.identity == Some(Identity::Connection) && spec.management.unwrap_or_default() == Management::Managed)
    }).map(|collector| json!({"kind": "ServiceAccount", "name": collector_name(&collector.id.name), "namespace": collector.id.namespace})).collect();
    (!subjects.is_empty()).then(|| json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": "tracesteward-collector-identity", "labels": {"app.kubernetes.io/managed-by": "tracesteward"}},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "tracesteward-collector-identity"},
        "subjects": subjects,
    }))
}
