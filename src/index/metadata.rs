//! Metadata of a workload, as far as it is read. Of what managers hold, that is the variables, mounts, init containers and volumes of the
//! pod template: the rest is most of an object as it comes from the API server, and is never allocated.

use std::{borrow::Cow, collections::BTreeMap, fmt, marker::PhantomData};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry, ObjectMeta, OwnerReference, Time};
use kube::Resource;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

/// What `kubectl apply` keeps of an object: the whole of it, once more.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What the operator notes on workloads, in managed fields.
const OWN_ANNOTATIONS: &str = "f:tracesteward.io/";
/// An object of which there is only metadata, without what managers hold.
#[derive(Clone, Debug, Deserialize)]
pub struct Bare<K> {
    /// The object's metadata.
    #[serde(default, deserialize_with = "read_bare")]
    pub metadata: ObjectMeta,
    #[serde(skip)]
    kind: PhantomData<K>,
}

impl<K: Resource> Resource for Bare<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn metadata_api() -> bool {
        true
    }

    fn kind(of: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(of)
    }

    fn group(of: &Self::DynamicType) -> Cow<'_, str> {
        K::group(of)
    }

    fn version(of: &Self::DynamicType) -> Cow<'_, str> {
        K::version(of)
    }

    fn plural(of: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(of)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// Reads metadata; for `#[serde(deserialize_with)]`.
pub(super) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    let mut wire = Wire::<Vec<Entry>>::deserialize(deserializer)?;
    let entries = wire.managed_fields.take().map(|entries| entries.into_iter().map(Entry::reduced).collect());
    Ok(ObjectMeta { managed_fields: entries, ..wire.into_meta() })
}

fn read_bare<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    Wire::<IgnoredAny>::deserialize(deserializer).map(Wire::into_meta)
}

impl<M> Wire<M> {
    fn into_meta(self) -> ObjectMeta {
        ObjectMeta {
            annotations: self.annotations.map(|Annotations(all)| all),
            creation_timestamp: self.creation_timestamp,
            deletion_timestamp: self.deletion_timestamp,
            generate_name: self.generate_name,
            generation: self.generation,
            labels: self.labels,
            name: self.name,
            namespace: self.namespace,
            owner_references: self.owner_references,
            resource_version: self.resource_version,
            uid: self.uid,
            ..ObjectMeta::default()
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire<M> {
    annotations: Option<Annotations>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    generate_name: Option<String>,
    generation: Option<i64>,
    labels: Option<BTreeMap<String, String>>,
    managed_fields: Option<M>,
    name: Option<String>,
    namespace: Option<String>,
    owner_references: Option<Vec<OwnerReference>>,
    resource_version: Option<String>,
    uid: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    manager: Option<String>,
    operation: Option<String>,
    subresource: Option<String>,
    time: Option<Time>,
    fields_v1: Option<Held>,
}

impl Entry {
    fn reduced(self) -> ManagedFieldsEntry {
        ManagedFieldsEntry {
            manager: self.manager,
            operation: self.operation,
            subresource: self.subresource,
            time: self.time,
            fields_v1: self.fields_v1.map(|Held(fields)| FieldsV1(fields)),
            ..ManagedFieldsEntry::default()
        }
    }
}

/// Annotations but for the copy of the object.
struct Annotations(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Annotations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Annotations;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut all = BTreeMap::new();
                while let Some(key) = map.next_key::<String>()? {
                    if key == LAST_APPLIED {
                        map.next_value::<IgnoredAny>()?;
                    } else {
                        all.insert(key, map.next_value()?);
                    }
                }
                Ok(Annotations(all))
            }
        }
        deserializer.deserialize_map(All)
    }
}

/// What a manager holds, as far as it is read.
struct Held(Value);

impl<'de> Deserialize<'de> for Held {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Place::Path.deserialize(deserializer).map(Self)
    }
}

/// Where in the fields of a manager something is.
#[derive(Clone, Copy)]
enum Place {
    /// On the way to the pod's specification, or in it.
    Path,
    /// The list of containers.
    Containers,
    /// A container.
    Container,
    /// The list of its variables.
    Variables,
    /// A variable: of it counts only whether the entry itself is held.
    Variable,
    /// The metadata of the object, or of its pod template.
    Metadata,
    /// Annotations: those of the operator count.
    Annotations,
    /// In something that is kept as a whole.
    Whole,
}

impl Place {
    /// What is below this key; `None` for what nobody reads.
    fn below(self, key: &str) -> Option<Self> {
        match (self, key) {
            (Self::Path, "f:spec" | "f:template" | "f:jobTemplate") => Some(Self::Path),
            (Self::Path, "f:metadata") => Some(Self::Metadata),
            (Self::Metadata, "f:annotations") => Some(Self::Annotations),
            (Self::Annotations, key) if key.starts_with(OWN_ANNOTATIONS) => Some(Self::Whole),
            (Self::Path, "f:containers") => Some(Self::Containers),
            (Self::Containers, _) => Some(Self::Container),
            (Self::Container, "f:env") => Some(Self::Variables),
            (Self::Variables, _) => Some(Self::Variable),
            (Self::Path, "f:initContainers" | "f:volumes")
            | (Self::Container, "f:volumeMounts")
            | (Self::Variable, ".")
            | (Self::Whole, _) => Some(Self::Whole),
            _ => None,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Place {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// Managed fields are maps of maps. What is anything else is odd, and says nothing.
impl<'de> Visitor<'de> for Place {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("managed fields")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut kept = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            match self.below(&key) {
                Some(below) => {
                    let value = map.next_value_seed(below)?;
                    let says_nothing = matches!(below, Self::Metadata | Self::Annotations)
                        && value.as_object().is_none_or(Map::is_empty);
                    if !says_nothing {
                        kept.insert(key, value);
                    }
                }
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Value::Object(kept))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Null)
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_str<E>(self, _: &str) -> Result<Value, E> {
        Ok(Value::Null)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::index::{WorkloadKind, ownership::Ownership};

    fn fields() -> Value {
        let env = json!({".": {}, "k:{\"name\":\"OTEL_SERVICE_NAME\"}": {".": {}, "f:name": {}, "f:value": {}},
            "k:{\"name\":\"PARTLY\"}": {"f:value": {}}});
        let container = json!({".": {}, "f:image": {}, "f:env": env, "f:volumeMounts": {"k:{\"mountPath\":\"/x\"}": {"f:name": {}}}});
        let spec = json!({"f:containers": {"k:{\"name\":\"app\"}": container}, "f:volumes": {"k:{\"name\":\"v\"}": {"f:emptyDir": {}}}, "f:securityContext": {}});
        json!({"f:metadata": {"f:labels": {"f:a": {}}, "f:annotations": {"f:a": {}, "f:tracesteward.io/refused": {}}}, "f:spec": {"f:replicas": {}, "f:template": {"f:metadata": {}, "f:spec": spec}}})
    }

    fn meta(fields: &Value) -> ObjectMeta {
        let entry = json!({"manager": "somebody", "operation": "Apply", "apiVersion": "apps/v1", "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": fields});
        read(json!({
            "name": "web", "namespace": "team", "uid": "u", "resourceVersion": "7", "generation": 3, "generateName": "web-", "labels": {"a": "b"},
            "annotations": {LAST_APPLIED: "{}", "kept": "yes"}, "managedFields": [entry], "selfLink": null,
        }))
        .unwrap()
    }

    #[test]
    fn what_is_read_is_kept_and_nothing_else() {
        let meta = meta(&fields());
        assert_eq!(meta.annotations, Some([("kept".to_owned(), "yes".to_owned())].into()));
        assert_eq!(
            (meta.name.as_deref(), meta.resource_version.as_deref(), meta.generation),
            (Some("web"), Some("7"), Some(3))
        );
        assert_eq!(meta.generate_name.as_deref(), Some("web-"));
        let entry = &meta.managed_fields.as_ref().unwrap()[0];
        let env = json!({".": {}, "k:{\"name\":\"OTEL_SERVICE_NAME\"}": {".": {}}, "k:{\"name\":\"PARTLY\"}": {}});
        let container = json!({"f:env": env, "f:volumeMounts": {"k:{\"mountPath\":\"/x\"}": {"f:name": {}}}});
        let spec = json!({"f:containers": {"k:{\"name\":\"app\"}": container}, "f:volumes": {"k:{\"name\":\"v\"}": {"f:emptyDir": {}}}});
        let kept = entry.fields_v1.clone().unwrap().0;
        let noted = json!({"f:annotations": {"f:tracesteward.io/refused": {}}});
        assert_eq!(kept, json!({"f:metadata": noted, "f:spec": {"f:template": {"f:spec": spec}}}));
        let whole = ManagedFieldsEntry { fields_v1: Some(FieldsV1(fields())), ..entry.clone() };
        for kind in WorkloadKind::WRITABLE {
            let read = |entry: &ManagedFieldsEntry| format!("{:?}", Ownership::read(kind, std::slice::from_ref(entry)));
            assert_eq!(read(entry), read(&whole));
        }
    }

    #[test]
    fn bare_metadata_holds_nothing_of_managers() {
        let object =
            json!({"metadata": {"name": "web-1", "ownerReferences": [], "managedFields": [{"fieldsV1": fields()}]}});
        let bare: Bare<k8s_openapi::api::apps::v1::ReplicaSet> = serde_json::from_value(object).unwrap();
        assert_eq!((bare.metadata.name.as_deref(), bare.metadata.managed_fields), (Some("web-1"), None));
        assert!(Bare::<k8s_openapi::api::apps::v1::ReplicaSet>::metadata_api());
    }

    #[test]
    fn what_is_odd_is_no_error() {
        for odd in [
            json!(null),
            json!(1),
            json!(-1),
            json!(1.5),
            json!(true),
            json!("x"),
            json!([1, [2]]),
            json!({"f:spec": 7}),
        ] {
            assert_eq!(meta(&odd).name.as_deref(), Some("web"), "{odd}");
        }
        assert!(read(json!({})).unwrap().name.is_none());
    }
}
