//! Who owns which variable of which container, read from `metadata.managedFields`.
//!
//! A variable is the user's where any other manager holds its key, also where the operator holds it too: what the user
//! declares must not depend on who came first. It is the operator's where only its own manager holds the key, even
//! when the value was taken over and dropped again (facts/gitops.md, row h).
//!
//! Who takes a value over without server-side apply (`kubectl apply`, `kubectl set env`) holds the value alone; the entry
//! itself is still held by the operator's manager only, and letting go of it would remove it together with the user's
//! value. Such an entry is *kept*: applied by its name, without a value.
//!
//! `kubectl rollout undo` puts a whole template back, and means no variable in particular: what it changes in the operator's
//! entries stays the operator's. Entries that it brings back after the operator had let go of them are the user's.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use serde_json::Value;

use super::WorkloadKind;
use crate::api::MANAGER_INJECTED;

/// Field managers of `kubectl rollout undo`: it has none of its own and goes by the program's name (measured with 1.36).
/// Every other command of kubectl that sets variables has one (`kubectl-set`, `kubectl-edit`, `kubectl-patch`, ...).
pub(super) const ROLLOUT_MANAGERS: [&str; 2] = ["kubectl", "kubectl-rollout"];

/// Names of variables by container, for the operator's manager and for all others.
#[derive(Debug, Default)]
pub(super) struct Ownership {
    ours: BTreeMap<String, BTreeSet<String>>,
    others: BTreeMap<String, BTreeSet<String>>,
    rolled_back: BTreeMap<String, BTreeSet<String>>,
    /// Those of `others` that are held as entries, and not in part only.
    entries: BTreeMap<String, BTreeSet<String>>,
}

impl Ownership {
    /// Reads the managed fields of a workload of this kind.
    pub(super) fn read(kind: WorkloadKind, entries: &[ManagedFieldsEntry]) -> Self {
        let mut ownership = Self::default();
        for entry in entries.iter().filter(|entry| entry.subresource.as_deref().unwrap_or_default().is_empty()) {
            let ours =
                entry.manager.as_deref() == Some(MANAGER_INJECTED) && entry.operation.as_deref() == Some("Apply");
            let rollout = entry.manager.as_deref().is_some_and(|manager| ROLLOUT_MANAGERS.contains(&manager))
                && entry.operation.as_deref() == Some("Update");
            let names = match (ours, rollout) {
                (true, _) => &mut ownership.ours,
                (false, true) => &mut ownership.rolled_back,
                (false, false) => &mut ownership.others,
            };
            if let Some(fields) = &entry.fields_v1 {
                collect(kind, &fields.0, names, |_| true);
                if !ours && !rollout {
                    collect(kind, &fields.0, &mut ownership.entries, |variable| variable.get(".").is_some());
                }
            }
        }
        ownership
    }

    /// Whether the operator's manager holds the variable's key, alone or not.
    pub(super) fn is_held(&self, container: &str, name: &str) -> bool {
        has(&self.ours, container, name)
    }

    /// Whether the variable belongs to the operator alone.
    pub(super) fn is_ours(&self, container: &str, name: &str) -> bool {
        self.is_held(container, name) && !has(&self.others, container, name)
    }

    /// Whether the variable belongs to the operator, and `kubectl rollout undo` has changed its value.
    pub(super) fn is_rolled_back(&self, container: &str, name: &str) -> bool {
        self.is_ours(container, name) && has(&self.rolled_back, container, name)
    }

    /// Whether the variable is somebody else's, in an entry that only the operator's manager holds.
    pub(super) fn is_kept(&self, container: &str, name: &str) -> bool {
        self.is_held(container, name) && has(&self.others, container, name) && !has(&self.entries, container, name)
    }

    /// Containers in which the operator holds any variable.
    pub(super) fn holds_any(&self, container: &str) -> bool {
        self.ours.get(container).is_some_and(|names| !names.is_empty())
    }
}

fn has(names: &BTreeMap<String, BTreeSet<String>>, container: &str, name: &str) -> bool {
    names.get(container).is_some_and(|held| held.contains(name))
}

fn collect(
    kind: WorkloadKind,
    fields: &Value,
    names: &mut BTreeMap<String, BTreeSet<String>>,
    counts: impl Fn(&Value) -> bool,
) {
    let mut template = fields;
    for step in kind.template_path().iter().chain(&["spec", "containers"]) {
        let Some(next) = template.get(format!("f:{step}")) else { return };
        template = next;
    }
    for (container, fields) in keyed(template) {
        let Some(env) = fields.get("f:env") else { continue };
        names
            .entry(container)
            .or_default()
            .extend(keyed(env).filter(|(_, fields)| counts(fields)).map(|(name, _)| name));
    }
}

/// The elements of a list that is keyed by `name`: `k:{"name":"app"}`.
fn keyed(list: &Value) -> impl Iterator<Item = (String, &Value)> {
    list.as_object().into_iter().flatten().filter_map(|(key, fields)| {
        let key: Value = serde_json::from_str(key.strip_prefix("k:")?).ok()?;
        Some((key.get("name")?.as_str()?.to_owned(), fields))
    })
}
