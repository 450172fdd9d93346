//! The two repairs of a user's own update that fails only because the operator's variables are in the way
//! (DESIGN section 3, facts/gitops.md rows b and g). A function of the update, and the same in CEL ([`policies`]).
//!
//! 1. A container that the user has renamed or removed under server-side apply stays as a stub without an image, because
//!    the operator's variables are still in it. The stub is removed.
//! 2. A variable of the operator's that the user declares in the other form (`value` against `valueFrom`) ends up with both.
//!    The operator's form is removed.
//!
//! Without a repair the API server refuses such an update, so nothing that it would accept is ever changed. And what is
//! removed is only what the operator's field manager holds and nobody else does: a container whose image the user forgot
//! must be refused and not vanish, and where the operator itself writes over a user's variable, the user's must stay.

mod cel;
#[cfg(test)]
mod tests;

use serde::Serialize;
use serde_json::Value;

use crate::{
    api::MANAGER_INJECTED,
    index::{ENV_NAMES, WorkloadKind},
};

pub use cel::{POLICY_NAME, match_conditions, policies, rules};

const NONE: &[Value] = &[];

/// One operation of a JSON patch (RFC 6902).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum Operation {
    /// Takes the field or the element at `path` out.
    Remove {
        /// A JSON pointer.
        path: String,
    },
}

/// What has to be taken out of an update from `old` to `object`, so that it says what its author meant; nothing for most
/// updates and for objects of other kinds. To be applied in order.
pub fn repair(object: &Value, old: &Value) -> Vec<Operation> {
    let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
    let Some(kind) = WorkloadKind::parse(text("apiVersion"), text("kind")).filter(|kind| kind.is_writable()) else {
        return Vec::new();
    };
    let update = Update { kind, old: containers(kind, old), owners: Owners::read(kind, object) };
    let containers = containers(kind, object);
    let mut operations = Vec::new();
    // No index moves by these, so they come first.
    for (at, container) in containers.iter().enumerate() {
        for (number, variable) in list(container, "env").iter().enumerate() {
            if let Some(form) = update.surplus_form(container, variable) {
                operations.push(update.remove(&format!("{at}/env/{number}/{form}")));
            }
        }
    }
    let stubs = containers.iter().enumerate().filter(|(_, container)| update.is_stub(container));
    for (removed, (at, _)) in stubs.enumerate() {
        operations.push(update.remove(&(at - removed).to_string()));
    }
    operations
}

struct Update<'a> {
    kind: WorkloadKind,
    /// The containers before.
    old: &'a [Value],
    owners: Owners<'a>,
}

impl Update<'_> {
    fn remove(&self, place: &str) -> Operation {
        Operation::Remove { path: format!("/{}/spec/containers/{place}", self.kind.template_path().join("/")) }
    }

    fn is_stub(&self, container: &Value) -> bool {
        let had_one = |name: &str| self.old.iter().any(|old| name_of(old) == Some(name) && is_set(old, "image"));
        name_of(container)
            .is_some_and(|name| !is_set(container, "image") && had_one(name) && self.owners.are_only_us(&[&key(name)]))
    }

    /// The form to be removed of a variable that has both.
    fn surplus_form(&self, container: &Value, variable: &Value) -> Option<&'static str> {
        let (place, name) = (name_of(container)?, name_of(variable)?);
        if !ENV_NAMES.contains(&name) || !is_set(variable, "value") || !has(variable, "valueFrom") {
            return None;
        }
        let before = self.old.iter().filter(|old| name_of(old) == Some(place)).flat_map(|old| list(old, "env"));
        let mut before = before.filter(|old| name_of(old) == Some(name));
        let form = if before.clone().any(|old| has(old, "valueFrom")) {
            "valueFrom"
        } else if before.any(|old| is_set(old, "value")) {
            "value"
        } else {
            return None;
        };
        self.owners.are_only_us(&[&key(place), "f:env", &key(name), &format!("f:{form}")]).then_some(form)
    }
}

/// Managed fields below the list of containers, of the operator's manager and of all others.
struct Owners<'a> {
    ours: Vec<&'a Value>,
    others: Vec<&'a Value>,
}

impl<'a> Owners<'a> {
    fn read(kind: WorkloadKind, object: &'a Value) -> Self {
        let mut owners = Self { ours: Vec::new(), others: Vec::new() };
        for entry in object.get("metadata").map_or(NONE, |metadata| list(metadata, "managedFields")) {
            let text = |field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default();
            let is_ours = text("manager") == MANAGER_INJECTED && text("operation") == "Apply";
            let mut fields = entry.get("fieldsV1");
            for step in kind.template_path().iter().chain(&["spec", "containers"]) {
                fields = fields.and_then(|fields| fields.get(format!("f:{step}")));
            }
            // Statuses have no containers, but nobody should have to know.
            if let Some(fields) = fields.filter(|_| text("subresource").is_empty()) {
                if is_ours { owners.ours.push(fields) } else { owners.others.push(fields) }
            }
        }
        owners
    }

    /// Whether the operator's manager holds this path, and no other does.
    fn are_only_us(&self, path: &[&str]) -> bool {
        let holds = |fields: &&Value| path.iter().try_fold(*fields, |fields, step| fields.get(step)).is_some();
        self.ours.iter().any(holds) && !self.others.iter().any(holds)
    }
}

/// The key of an element in managed fields. A name that JSON would have to escape is none that Kubernetes allows.
fn key(name: &str) -> String {
    format!("k:{{\"name\":\"{name}\"}}")
}

fn containers(kind: WorkloadKind, object: &Value) -> &[Value] {
    let mut place = Some(object);
    for step in kind.template_path().iter().chain(&["spec"]) {
        place = place.and_then(|place| place.get(step));
    }
    place.map_or(NONE, |spec| list(spec, "containers"))
}

fn list<'a>(object: &'a Value, field: &str) -> &'a [Value] {
    object.get(field).and_then(Value::as_array).map_or(NONE, Vec::as_slice)
}

fn name_of(object: &Value) -> Option<&str> {
    object.get("name").and_then(Value::as_str)
}

/// Whether a text is there that is not empty, which is the same as absent to the API server.
fn is_set(object: &Value, field: &str) -> bool {
    object.get(field).and_then(Value::as_str).is_some_and(|text| !text.is_empty())
}

fn has(object: &Value, field: &str) -> bool {
    object.get(field).is_some_and(|value| !value.is_null())
}
