//! Fields that this version reads and checks, but that do nothing yet. Users are told so, never left to find out.

use crate::{
    api::{InjectionMode, Settings, TargetKind},
    diagnostics::FieldPath,
    index::Policy,
    plan::attach::{Part, part_settings},
};

/// The fields of a policy that have no effect in this version, in the order of the API.
pub fn no_effect(policy: &Policy) -> Vec<String> {
    let mut fields: Vec<String> = policy
        .targets()
        .iter()
        .enumerate()
        .filter(|(_, target)| matches!(target.kind, TargetKind::Job | TargetKind::Pod))
        .map(|(position, target)| {
            let path = FieldPath::fields("spec.targets").index(position);
            format!("{path} ({} targets)", target.kind.as_str())
        })
        .collect();
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
    let mode = settings.injection.as_ref().and_then(|injection| injection.mode);
    add(mode == Some(InjectionMode::Pod), "injection.mode Pod");
    add(settings.rollout.is_some(), "rollout");
}
