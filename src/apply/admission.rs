//! What the operator keeps in the cluster for admission: the Secret of its authority, and configurations by name.

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api,
    api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams, Preconditions},
};
use serde_json::{Value, json};

use super::{ApplyError, Writer};
use crate::{
    admission::{
        authority::Material,
        secret::{Found, SECRET},
    },
    api::MANAGER_OWNED,
    index::{MANAGED_BY, MANAGED_BY_LABEL},
    plan::collector::converge::is_as_meant,
};

/// Writes the Secret of the authority, in place of what was found and of nothing else.
///
/// # Errors
/// See [`ApplyError`].
pub async fn apply_authority(
    writer: &Writer,
    namespace: &str,
    found: Option<&Found>,
    material: &Material,
) -> Result<(), ApplyError> {
    let api: Api<Secret> = Api::namespaced(writer.client(), namespace);
    let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
    let mut secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": SECRET, "namespace": namespace, "labels": {MANAGED_BY_LABEL: MANAGED_BY}},
        // The type of what is there cannot be changed.
        "type": found.and_then(|found| found.type_.as_deref()).unwrap_or("kubernetes.io/tls"),
        "data": {
            "tls.crt": bytes(&material.certificate), "tls.key": bytes(&material.key), "ca.crt": bytes(&material.bundle),
        },
    });
    if let Some(found) = found {
        // Whoever wrote it meanwhile is heard first.
        secret["metadata"]["uid"] = json!(found.uid);
        secret["metadata"]["resourceVersion"] = json!(found.version);
    }
    api.patch(SECRET, &PatchParams::apply(MANAGER_OWNED).force(), &Patch::Apply(&secret)).await?;
    Ok(())
}

/// Applies an object of the cluster by its name, where it is not as it is meant. Says whether anything was written.
///
/// # Errors
/// See [`ApplyError`]; an object of this name that somebody else made is left alone.
pub async fn apply_configuration(writer: &Writer, wanted: &Value) -> Result<bool, ApplyError> {
    let text = |pointer: &str| wanted.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (kind, name) = (text("/kind"), text("/metadata/name"));
    let api = configurations(writer, text("/apiVersion"), kind);
    if let Some(live) = api.get_opt(name).await? {
        if !is_ours(&live) {
            return Err(ApplyError::Foreign(format!("{kind} {name}")));
        }
        if serde_json::to_value(live).is_ok_and(|live| is_as_meant(&live, wanted)) {
            return Ok(false);
        }
    }
    api.patch(name, &PatchParams::apply(MANAGER_OWNED).force(), &Patch::Apply(wanted)).await?;
    Ok(true)
}

/// Deletes an object of the cluster that the operator made earlier and that is no longer wanted. Says whether there was one.
///
/// # Errors
/// See [`ApplyError`].
pub async fn delete_configuration(
    writer: &Writer,
    api_version: &str,
    kind: &str,
    name: &str,
) -> Result<bool, ApplyError> {
    let api = configurations(writer, api_version, kind);
    let Some(live) = api.get_opt(name).await?.filter(is_ours) else { return Ok(false) };
    let preconditions = Preconditions { uid: live.metadata.uid, resource_version: None };
    api.delete(name, &DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() }).await?;
    Ok(true)
}

fn configurations(writer: &Writer, api_version: &str, kind: &str) -> Api<DynamicObject> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    Api::all_with(writer.client(), &resource)
}

fn is_ours(object: &DynamicObject) -> bool {
    let labels = object.metadata.labels.as_ref();
    labels.and_then(|labels| labels.get(MANAGED_BY_LABEL)).map(String::as_str) == Some(MANAGED_BY)
}
