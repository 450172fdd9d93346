//! Fields that this version reads and checks, but that do nothing yet. Users are told so, never left to find out.

use crate::{
    api::Settings,
    index::Policy,
    plan::attach::{Part, part_settings},
};

/// The fields of a policy that have no effect in this version, in the order of the API.
pub fn no_effect(policy: &Policy) -> Vec<String> {
    let mut fields = Vec::new();
    for part in [Part::Policy, Part::Defaults, Part::Overrides] {
        if let Some(settings) = part_settings(policy, part) {
            of_settings(settings, part.root(), &mut fields);
        }
    }
    fields
}

fn of_settings(settings: &Settings, root: &str, fields: &mut Vec<String>) {
    let mut add = |set: bool, field: &str| {
        if set {
            fields.push(format!("{root}.{field}"));
        }
    };
    add(settings.rollout.is_some(), "rollout");
}
