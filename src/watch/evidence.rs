//! What there is to know about a rollout: read on demand, never watched, and gone when the verdict is made.

use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams},
};
use serde_json::Value;

use crate::{
    index::{WorkloadId, WorkloadKind},
    plan::verdict::Evidence,
};

/// Objects of one page.
const PAGE: u32 = 200;

/// Reads a workload, what it has made, and its pods; `None` where it is gone.
///
/// # Errors
/// Where the API server does not answer, or does not allow it.
pub async fn evidence(client: &Client, id: &WorkloadId) -> Result<Option<Evidence>, kube::Error> {
    let own = api(client, id, id.kind.api_version(), id.kind.as_str(), &plural(id.kind));
    let Some(workload) = own.get_opt(&id.name).await? else { return Ok(None) };
    let workload = serde_json::to_value(workload).unwrap_or_default();
    let selector = selector(&workload);
    let (kind, resource) = match id.kind {
        WorkloadKind::Deployment => ("ReplicaSet", "replicasets"),
        _ => ("ControllerRevision", "controllerrevisions"),
    };
    let revisions = list(&api(client, id, "apps/v1", kind, resource), &labels(&selector)).await?;
    let pods = list(&api(client, id, "v1", "Pod", "pods"), &labels(&selector)).await?;
    // A Deployment has a condition for that.
    let events = if id.kind == WorkloadKind::Deployment {
        Vec::new()
    } else {
        let about = format!("involvedObject.name={},involvedObject.kind={},reason=FailedCreate", id.name, id.kind);
        list(&api(client, id, "v1", "Event", "events"), &ListParams::default().fields(&about)).await?
    };
    Ok(Some(Evidence { workload, revisions, pods, events, was_frail: false, was_ours: false }))
}

fn plural(kind: WorkloadKind) -> String {
    format!("{}s", kind.as_str().to_ascii_lowercase())
}

fn api(client: &Client, id: &WorkloadId, api_version: &str, kind: &str, plural: &str) -> Api<DynamicObject> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
    Api::namespaced_with(client.clone(), &id.namespace, &resource)
}

fn labels(selector: &str) -> ListParams {
    ListParams::default().labels(selector)
}

/// All objects, of each what a verdict needs.
async fn list(api: &Api<DynamicObject>, params: &ListParams) -> Result<Vec<Value>, kube::Error> {
    let mut all = Vec::new();
    let mut params = params.clone().limit(PAGE);
    loop {
        let page = api.list(&params).await?;
        all.extend(page.items.into_iter().filter_map(|object| serde_json::to_value(object).ok()).map(needed));
        match page.metadata.continue_.filter(|next| !next.is_empty()) {
            Some(next) => params.continue_token = Some(next),
            None => return Ok(all),
        }
    }
}

/// A pod without its specification, which nobody compares; anything without what managers hold.
fn needed(mut object: Value) -> Value {
    let is_pod = object.pointer("/spec/containers").is_some();
    if let Some(fields) = object.as_object_mut().filter(|_| is_pod) {
        fields.shift_remove("spec");
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.shift_remove("managedFields");
    }
    object
}

/// The selector of a workload as a query has it.
fn selector(workload: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let labels = workload.pointer("/spec/selector/matchLabels").and_then(Value::as_object);
    let mut parts: Vec<String> =
        labels.into_iter().flatten().map(|(key, value)| format!("{key}={}", text(value))).collect();
    let expressions = workload.pointer("/spec/selector/matchExpressions").and_then(Value::as_array);
    for expression in expressions.into_iter().flatten() {
        let key = text(&expression["key"]);
        let values: Vec<String> = expression["values"].as_array().into_iter().flatten().map(text).collect();
        let values = values.join(",");
        parts.push(match expression["operator"].as_str().unwrap_or_default() {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key,
        });
    }
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn a_selector_becomes_a_query() {
        let selector = json!({"matchLabels": {"app": "web"}, "matchExpressions": [
            {"key": "tier", "operator": "In", "values": ["a", "b"]}, {"key": "x", "operator": "Exists"},
            {"key": "y", "operator": "DoesNotExist"}, {"key": "z", "operator": "NotIn", "values": ["c"]}]});
        let workload = json!({"spec": {"selector": selector}});
        assert_eq!(super::selector(&workload), "app=web,tier in (a,b),x,!y,z notin (c)");
    }
}
