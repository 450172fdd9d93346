//! Parts of a pod template that injected instrumentation consists of: what of them is there, and who holds it.
//!
//! Of a part that the operator holds, its fields are kept as they are, except for those that another manager holds: those
//! are somebody else's decision, and the operator leaves them out of what it applies.

use std::fmt::Write as _;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use serde_json::{Value, json};

use super::{
    AGENT_VOLUME, Agent, WorkloadKind,
    ownership::ROLLOUT_MANAGERS,
    raw::{RawInitContainer, RawMount, RawVolume},
    workload::fitting,
};
use crate::api::MANAGER_INJECTED;

/// A kind of part: the fields that the operator writes, besides the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartKind {
    /// The init container that copies the files.
    InitContainer,
    /// The volume that holds them.
    Volume,
    /// The mount in a container.
    Mount,
}

/// The mounts of an init container are one field: the operator writes a single one.
const MOUNTS: &str = "volumeMounts";

impl PartKind {
    /// The fields that the operator writes, as paths.
    pub const fn fields(self) -> &'static [&'static str] {
        match self {
            Self::InitContainer => &[
                "image",
                "command",
                "resources/requests/cpu",
                "resources/requests/memory",
                "resources/limits/cpu",
                "resources/limits/memory",
                "securityContext/allowPrivilegeEscalation",
                "securityContext/capabilities/drop",
                "securityContext/readOnlyRootFilesystem",
                "securityContext/runAsNonRoot",
                "securityContext/runAsUser",
                "securityContext/seccompProfile/type",
                MOUNTS,
            ],
            Self::Volume => &["emptyDir/sizeLimit"],
            Self::Mount => &["name", "readOnly"],
        }
    }

    /// The fields of a part, one a line, without these.
    pub fn text(self, object: &Value, without: &[&str]) -> String {
        let mut text = String::new();
        for field in self.fields().iter().filter(|field| !without.contains(field)) {
            let value = object.pointer(&format!("/{field}")).filter(|value| !value.is_null());
            if let Some(value) = value {
                // Writing to a string cannot fail.
                writeln!(text, "{field}={value}").unwrap_or_default();
            }
        }
        text
    }
}

/// A part that has one of the operator's names, or that the operator holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its name; of a mount its path.
    pub key: String,
    /// Whether the operator's field manager holds it, also where somebody else does too.
    pub held: bool,
    /// Fields of it that another manager holds.
    pub foreign: Vec<&'static str>,
    /// Whether `kubectl rollout undo` has put something of it back.
    pub rolled_back: bool,
    /// Its other fields, where the operator holds it ([`PartKind::text`]).
    pub live: String,
}

impl Part {
    /// A field as it is, where the operator alone holds it.
    pub fn field(&self, name: &str) -> Option<Value> {
        let line = self.live.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
        serde_json::from_str(line).ok()
    }
}

/// Managed fields of a pod's specification: the operator's, those of `kubectl rollout undo`, and all others'.
#[derive(Default)]
pub(super) struct Fields<'a> {
    ours: Vec<&'a Value>,
    rollouts: Vec<&'a Value>,
    others: Vec<&'a Value>,
}

impl<'a> Fields<'a> {
    pub(super) fn read(kind: WorkloadKind, entries: &'a [ManagedFieldsEntry]) -> Self {
        let mut fields = Self::default();
        for entry in entries.iter().filter(|entry| entry.subresource.as_deref().unwrap_or_default().is_empty()) {
            let mut place = entry.fields_v1.as_ref().map(|fields| &fields.0);
            for step in kind.template_path().iter().chain(&["spec"]) {
                place = place.and_then(|place| place.get(format!("f:{step}")));
            }
            let Some(place) = place else { continue };
            match (entry.manager.as_deref(), entry.operation.as_deref()) {
                (Some(MANAGER_INJECTED), Some("Apply")) => fields.ours.push(place),
                (Some(manager), Some("Update")) if ROLLOUT_MANAGERS.contains(&manager) => fields.rollouts.push(place),
                _ => fields.others.push(place),
            }
        }
        fields
    }

    /// The init containers that matter.
    pub(super) fn init_containers(&self, all: Vec<RawInitContainer>) -> Vec<Part> {
        let is_named = |name: &str| Agent::ALL.iter().any(|agent| agent.init_container() == name);
        let part = |raw: RawInitContainer| {
            let item = Item { list: &["f:initContainers"], key: name_key(&raw.name) };
            self.part(PartKind::InitContainer, &item, is_named(&raw.name), raw.name.clone(), || init_container(raw))
        };
        fitting(all.into_iter().filter_map(part))
    }

    /// The volumes that matter.
    pub(super) fn volumes(&self, all: Vec<RawVolume>) -> Vec<Part> {
        let part = |raw: RawVolume| {
            let item = Item { list: &["f:volumes"], key: name_key(&raw.name) };
            let is_named = raw.name == AGENT_VOLUME;
            self.part(PartKind::Volume, &item, is_named, raw.name, || json!({"emptyDir": raw.empty_dir}))
        };
        fitting(all.into_iter().filter_map(part))
    }

    /// The mounts of a container that matter.
    pub(super) fn mounts(&self, container: &str, all: Vec<RawMount>) -> Vec<Part> {
        let container = name_key(container);
        let part = |raw: RawMount| {
            let item = Item { list: &["f:containers", &container, "f:volumeMounts"], key: path_key(&raw.mount_path) };
            let is_named =
                raw.name == AGENT_VOLUME || Agent::ALL.iter().any(|agent| agent.mount_path() == raw.mount_path);
            let object = || json!({"name": raw.name, "readOnly": raw.read_only});
            self.part(PartKind::Mount, &item, is_named, raw.mount_path.clone(), object)
        };
        fitting(all.into_iter().filter_map(part))
    }

    fn part(
        &self,
        kind: PartKind,
        item: &Item<'_>,
        is_named: bool,
        key: String,
        object: impl FnOnce() -> Value,
    ) -> Option<Part> {
        let held = self.ours.iter().any(|fields| item.of(fields).is_some());
        if !held {
            let empty = || Part { key, held, foreign: Vec::new(), rolled_back: false, live: String::new() };
            return is_named.then(empty);
        }
        let others: Vec<_> = self.others.iter().filter_map(|fields| item.of(fields)).collect();
        let is_foreign = |field: &&&str| others.iter().any(|fields| has(fields, field));
        let foreign: Vec<_> = kind.fields().iter().filter(is_foreign).copied().collect();
        let rolled_back = self.rollouts.iter().any(|fields| item.of(fields).is_some());
        let live = kind.text(&object(), &foreign);
        Some(Part { key, held, foreign, rolled_back, live })
    }
}

/// An element of a list in managed fields.
struct Item<'a> {
    list: &'a [&'a str],
    key: String,
}

impl Item<'_> {
    fn of<'a>(&self, fields: &'a Value) -> Option<&'a Value> {
        self.list.iter().try_fold(fields, |fields, step| fields.get(step))?.get(&self.key)
    }
}

fn has(fields: &Value, field: &str) -> bool {
    if field == MOUNTS {
        let mounts = fields.get("f:volumeMounts");
        return Agent::ALL
            .iter()
            .any(|agent| mounts.is_some_and(|list| list.get(path_key(agent.mount_path())).is_some()));
    }
    field.split('/').try_fold(fields, |fields, step| fields.get(format!("f:{step}"))).is_some()
}

fn name_key(name: &str) -> String {
    format!("k:{}", json!({"name": name}))
}

fn path_key(path: &str) -> String {
    format!("k:{}", json!({"mountPath": path}))
}

fn init_container(raw: RawInitContainer) -> Value {
    let own = raw.volume_mounts.unwrap_or_default().into_iter().filter(|mount| mount.name == AGENT_VOLUME);
    let mounts: Vec<_> = own.map(|mount| json!({"name": mount.name, "mountPath": mount.mount_path})).collect();
    json!({
        "image": raw.image,
        "command": raw.command,
        "resources": raw.resources,
        "securityContext": raw.security_context,
        MOUNTS: mounts,
    })
}
