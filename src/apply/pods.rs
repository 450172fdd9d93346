//! Pods are never made or changed; one that keeps its workload from running again is deleted.

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{DeleteParams, Preconditions},
};

use super::{ApplyError, Writer};

/// Deletes this pod, and no other of its name.
///
/// # Errors
/// See [`ApplyError`].
pub async fn delete_pod(writer: &Writer, namespace: &str, name: &str, uid: &str) -> Result<(), ApplyError> {
    let api: Api<Pod> = Api::namespaced(writer.client(), namespace);
    let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
    api.delete(name, &DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() }).await?;
    Ok(())
}
