//! The pods of a collector's tier: read on demand, never watched.

use std::collections::BTreeMap;

use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams},
};
use serde_json::Value;

/// Enough to find out what is wrong with new pods.
const LIMIT: u32 = 100;

/// The pods of this namespace that have these labels.
///
/// # Errors
/// Where the API server does not answer, or does not allow it.
pub async fn pods(
    client: &Client,
    namespace: &str,
    labels: &BTreeMap<String, String>,
) -> Result<Vec<Value>, kube::Error> {
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", "Pod"), "pods");
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let selector: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let listed = api.list(&ListParams::default().labels(&selector.join(",")).limit(LIMIT)).await?;
    Ok(listed.items.into_iter().filter_map(|pod| serde_json::to_value(pod).ok()).collect())
}
