//! Whether a live object still is what was applied.

use serde_json::{Map, Value};

use crate::api::Quantity;

/// Lists whose items have a key, as the API declares it for server-side apply. What others have added to them stays, because
/// an apply could not remove it.
const KEYED: [(&str, &[&str]); 11] = [
    ("containers", &["name"]),
    ("env", &["name"]),
    ("hostAliases", &["ip"]),
    ("imagePullSecrets", &["name"]),
    ("initContainers", &["name"]),
    ("matchConditions", &["name"]),
    ("ownerReferences", &["uid"]),
    ("ports", &["containerPort", "port", "protocol"]),
    ("volumeMounts", &["mountPath"]),
    ("volumes", &["name"]),
    ("webhooks", &["name"]),
];

/// Fields that an apply replaces as a whole: here what others have added is drift, a further peer in a NetworkPolicy above all.
const ATOMIC: [&str; 15] = [
    "fieldRef",
    "ingress",
    "items",
    "matchLabels",
    "namespaceSelector",
    "nodeSelector",
    "objectSelector",
    "podSelector",
    "roleRef",
    "secretKeyRef",
    "selector",
    "subjects",
    "tolerations",
    "args",
    "policyTypes",
];

/// Maps from resources to quantities, which the API server writes in its own way.
const QUANTITIES: [&str; 2] = ["limits", "requests"];

/// Whether `live` has everything that `desired` says. What only `live` has (defaults, a status, fields of other managers)
/// does not matter, except in fields that one manager owns as a whole.
///
/// Says nothing of fields that an earlier `desired` had and this one has not.
pub fn contains(live: &Value, desired: &Value) -> bool {
    within("", live, desired)
}

/// The same for the value of a field of this name.
fn within(field: &str, live: &Value, desired: &Value) -> bool {
    if ATOMIC.contains(&field) {
        return is_same(live, desired);
    }
    match (live, desired) {
        (Value::Object(live), Value::Object(desired)) if QUANTITIES.contains(&field) => {
            all(live, desired, |_, live, desired| is_same_quantity(live, desired))
        }
        (Value::Object(live), Value::Object(desired)) => all(live, desired, within),
        (Value::Array(live), Value::Array(desired)) => list(field, live, desired),
        _ => is_same(live, desired),
    }
}

/// Whether every field of `desired` is in `live`, and as `holds` wants it.
fn all(live: &Map<String, Value>, desired: &Map<String, Value>, holds: impl Fn(&str, &Value, &Value) -> bool) -> bool {
    desired.iter().all(|(name, desired)| live.get(name).is_some_and(|live| holds(name, live, desired)))
}

fn list(field: &str, live: &[Value], desired: &[Value]) -> bool {
    let keys = KEYED.iter().find(|(name, _)| *name == field).map(|(_, keys)| *keys);
    match keys {
        Some(keys) => desired.iter().all(|desired| {
            let found = live.iter().find(|live| keys.iter().all(|key| live.get(key) == desired.get(key)));
            found.is_some_and(|live| within("", live, desired))
        }),
        None => {
            live.len() == desired.len() && live.iter().zip(desired).all(|(live, desired)| within("", live, desired))
        }
    }
}

/// Whether two values are the same, apart from how numbers are written.
fn is_same(live: &Value, desired: &Value) -> bool {
    match (live, desired) {
        (Value::Object(live), Value::Object(desired)) => {
            live.len() == desired.len() && all(live, desired, |_, live, desired| is_same(live, desired))
        }
        (Value::Array(live), Value::Array(desired)) => {
            live.len() == desired.len() && live.iter().zip(desired).all(|(live, desired)| is_same(live, desired))
        }
        (Value::Number(live), Value::Number(desired)) => live == desired || live.as_f64() == desired.as_f64(),
        // Either may be written where the API has "int or string".
        (Value::Number(number), Value::String(text)) | (Value::String(text), Value::Number(number)) => {
            number.to_string() == *text
        }
        _ => live == desired,
    }
}

/// `1024Mi` comes back as `1Gi`, `0.5` as `500m`.
fn is_same_quantity(live: &Value, desired: &Value) -> bool {
    let nanos = |value: &Value| match value {
        Value::String(text) => Quantity::Text(text.clone()).nanos(),
        Value::Number(number) => Quantity::Number(number.as_i64()?).nanos(),
        _ => None,
    };
    live == desired || nanos(live).is_some_and(|live| nanos(desired) == Some(live))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn same(live: &Value, desired: &Value) {
        assert!(contains(live, desired), "{live} should contain {desired}");
    }

    #[track_caller]
    fn differs(live: &Value, desired: &Value) {
        assert!(!contains(live, desired), "{live} should not contain {desired}");
    }

    #[test]
    fn what_others_add_does_not_matter() {
        same(&json!({"a": 1, "b": {"c": 2, "d": 3}, "status": {}}), &json!({"a": 1, "b": {"c": 2}}));
        differs(&json!({"a": 1}), &json!({"a": 2}));
        differs(&json!({"a": 1}), &json!({"a": 1, "b": {}}));
        differs(&json!({"a": "x"}), &json!({"a": {"b": 1}}));
    }

    #[test]
    fn lists_with_keys_are_compared_by_them() {
        let sidecar = json!({"name": "sidecar"});
        let container = |image: &str| json!({"name": "collector", "image": image, "imagePullPolicy": "Always"});
        let desired = json!({"containers": [{"name": "collector", "image": "a"}]});
        same(&json!({"containers": [sidecar, container("a")]}), &desired);
        differs(&json!({"containers": [sidecar, container("b")]}), &desired);
        differs(&json!({"containers": [sidecar]}), &desired);
        // One volume in two places: the name alone would find the wrong one.
        let mounts = json!([{"name": "v", "mountPath": "/a", "readOnly": true}, {"name": "v", "mountPath": "/b"}]);
        same(&json!({"volumeMounts": mounts}), &json!({"volumeMounts": [{"name": "v", "mountPath": "/b"}]}));
        differs(
            &json!({"volumeMounts": mounts}),
            &json!({"volumeMounts": [{"name": "v", "mountPath": "/b", "readOnly": true}]}),
        );
        let ports = json!([{"port": 53, "protocol": "UDP", "name": "u"}, {"port": 53, "protocol": "TCP", "name": "t"}]);
        same(&json!({"ports": ports}), &json!({"ports": [{"port": 53, "protocol": "TCP", "name": "t"}]}));
        differs(&json!({"ports": ports}), &json!({"ports": [{"port": 53, "protocol": "TCP", "name": "u"}]}));
    }

    #[test]
    fn other_lists_are_compared_whole() {
        same(&json!({"args": ["a", "b"]}), &json!({"args": ["a", "b"]}));
        differs(&json!({"args": ["a", "b", "c"]}), &json!({"args": ["a", "b"]}));
        differs(&json!({"args": ["b", "a"]}), &json!({"args": ["a", "b"]}));
        let claims = |size: &str| json!({"volumeClaimTemplates": [{"metadata": {"name": "queue"}, "spec": {"resources": {"requests": {"storage": size}}, "volumeMode": "Filesystem"}}]});
        let desired = json!({"volumeClaimTemplates": [{"metadata": {"name": "queue"}, "spec": {"resources": {"requests": {"storage": "1024Mi"}}}}]});
        same(&claims("1Gi"), &desired);
        differs(&claims("2Gi"), &desired);
    }

    #[test]
    fn what_is_owned_as_a_whole_must_have_nothing_more() {
        let rule = |peers: &Value| json!({"spec": {"ingress": [{"from": peers, "ports": [{"port": "otlp-grpc"}]}]}});
        let own = json!({"podSelector": {}});
        same(&rule(&json!([own])), &rule(&json!([own])));
        differs(&rule(&json!([own, {"ipBlock": {"cidr": "0.0.0.0/0"}}])), &rule(&json!([own])));
        differs(
            &json!({"spec": {"selector": {"app": "a", "never": "matches"}}}),
            &json!({"spec": {"selector": {"app": "a"}}}),
        );
    }

    #[test]
    fn numbers_and_quantities_are_compared_by_their_value() {
        same(&json!({"maxSurge": 1}), &json!({"maxSurge": "1"}));
        same(&json!({"a": 1.0}), &json!({"a": 1}));
        differs(&json!({"maxSurge": "1%"}), &json!({"maxSurge": 1}));
        same(
            &json!({"limits": {"memory": "1Gi", "cpu": "500m"}}),
            &json!({"limits": {"memory": "1024Mi", "cpu": 0.5.to_string()}}),
        );
        differs(&json!({"limits": {"cpu": "1"}}), &json!({"limits": {"cpu": "100m"}}));
        // Only there: elsewhere these are different texts.
        differs(&json!({"data": {"a": "1Gi"}}), &json!({"data": {"a": "1024Mi"}}));
    }
}
