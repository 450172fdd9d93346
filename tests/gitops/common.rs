//! Appliers, written with raw requests, and namespaces in which the repairs are in force.

use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use tracesteward::plan::repair::policies;

use crate::fixtures::{SOON, World, container, shared, text, workload, workload_of};
use crate::support::{ControlPlane, eventually};

/// The label of namespaces in which a repair is in force: `policy` or `webhook`.
pub(crate) const REPAIRED_BY: &str = "test.tracesteward.io/repaired-by";

/// The namespace that the policies take for the operator's own.
pub(crate) const OWN_NAMESPACE: &str = "tracesteward-system";

pub(crate) const SERVICE: &str = "OTEL_SERVICE_NAME";

/// A control plane without any operator, whose admission policies are bound to labelled namespaces alone.
pub(crate) async fn bare() -> &'static ControlPlane {
    static PLANE: OnceCell<ControlPlane> = OnceCell::const_new();
    let start = async || {
        let plane = ControlPlane::start().await;
        let mut objects = policies("v1", OWN_NAMESPACE);
        let selector = json!({"matchLabels": {REPAIRED_BY: "policy"}});
        objects[1]["spec"]["matchResources"] = json!({"namespaceSelector": selector});
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        plane.kubectl_stdin(&["apply", "-f", "-"], &list.to_string()).success();
        plane
    };
    PLANE.get_or_init(start).await
}

/// The shared control plane, with the policies in force everywhere.
pub(crate) async fn repaired_everywhere() -> &'static ControlPlane {
    static APPLIED: OnceCell<()> = OnceCell::const_new();
    let plane = shared().await;
    let apply = async || {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": policies("v1", OWN_NAMESPACE)});
        plane.kubectl_stdin(&["apply", "-f", "-"], &list.to_string()).success();
        until_repaired(&World::new(plane, "canary").await).await;
    };
    APPLIED.get_or_init(apply).await;
    plane
}

/// Labels the namespace and waits until a repair works there.
pub(crate) async fn repair_by(world: &World<'_>, how: &str) {
    let label = format!("{REPAIRED_BY}={how}");
    world.plane.kubectl(&["label", "namespace", &world.namespace, &label]).success();
    until_repaired(world).await;
}

/// Waits until a rename works in the namespace.
pub(crate) async fn until_repaired(world: &World<'_>) {
    let canary = workload_of("Deployment", "canary", &json!([container("old", &json!([]))]));
    apply(world, &canary, "team", false).await.unwrap();
    inject(world, "Deployment", "canary", &["old"], &json!([{"name": SERVICE, "value": "canary"}])).await;
    let renamed = workload_of("Deployment", "canary", &json!([container("new", &json!([]))]));
    eventually("the repair is in force", SOON, async || {
        let params = PatchParams::apply("team").dry_run();
        world
            .api("Deployment")
            .patch("canary", &params, &Patch::Apply(&renamed))
            .await
            .map_err(|error| error.to_string())
    })
    .await;
}

/// Server-side apply of a whole manifest; the API server's words where it refuses.
pub(crate) async fn apply(world: &World<'_>, manifest: &Value, manager: &str, force: bool) -> Result<Value, String> {
    let params = if force { PatchParams::apply(manager).force() } else { PatchParams::apply(manager) };
    apply_with(world, manifest, &params).await
}

pub(crate) async fn apply_with(world: &World<'_>, manifest: &Value, params: &PatchParams) -> Result<Value, String> {
    let api = world.api(text(&manifest["kind"]));
    answer(api.patch(text(&manifest["metadata"]["name"]), params, &Patch::Apply(manifest)).await)
}

/// An object as JSON, or what the API server said.
pub(crate) fn answer(result: Result<DynamicObject, kube::Error>) -> Result<Value, String> {
    match result {
        Ok(object) => serde_json::to_value(object).map_err(|error| error.to_string()),
        Err(kube::Error::Api(status)) => Err(status.message),
        Err(error) => panic!("{error}"),
    }
}

/// What the operator would write: these variables in these containers, under its manager.
pub(crate) async fn inject(world: &World<'_>, kind: &str, name: &str, containers: &[&str], env: &Value) -> Value {
    let containers: Vec<_> = containers.iter().map(|container| json!({"name": container, "env": env})).collect();
    let minimal = minimal(kind, name, &json!(containers));
    apply(world, &minimal, "tracesteward", false).await.unwrap_or_else(|said| panic!("{kind} {name}: {said}"))
}

/// An object with nothing but these containers.
pub(crate) fn minimal(kind: &str, name: &str, containers: &Value) -> Value {
    let whole = workload(kind, name, &json!([]));
    let pods = json!({"spec": {"containers": containers}});
    let spec = if kind == "CronJob" {
        json!({"jobTemplate": {"spec": {"template": pods}}})
    } else {
        json!({"template": pods})
    };
    json!({"apiVersion": whole["apiVersion"], "kind": kind, "metadata": {"name": name}, "spec": spec})
}

/// Creates or replaces an object by PUT, as `manager`.
pub(crate) async fn put(world: &World<'_>, object: &Value, manager: &str) -> Result<Value, String> {
    let api: Api<DynamicObject> = world.api(text(&object["kind"]));
    let params = PostParams { field_manager: Some(manager.to_owned()), ..PostParams::default() };
    let mut typed: DynamicObject = serde_json::from_value(object.clone()).unwrap();
    // Whatever a controller has written to the status meanwhile.
    typed.metadata.resource_version = None;
    answer(api.replace(text(&object["metadata"]["name"]), &params, &typed).await)
}

/// What must be the same byte for byte: everything but what differs between any two objects, and what controllers write.
pub(crate) fn bytes(object: &Value) -> String {
    let mut object = object.clone();
    let metadata = object["metadata"].as_object_mut().unwrap();
    for field in ["uid", "resourceVersion", "creationTimestamp", "managedFields", "namespace"] {
        metadata.shift_remove(field);
    }
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.shift_remove("deployment.kubernetes.io/revision");
        if annotations.is_empty() {
            metadata.shift_remove("annotations");
        }
    }
    object.as_object_mut().unwrap().shift_remove("status");
    let mut text = object.to_string();
    // `kubectl rollout restart` writes the time.
    if let Some(at) = text.find("restartedAt\":\"") {
        text.replace_range(at + 14..at + 33, "");
    }
    text
}
