//! Fields that this version reads and checks, but that do nothing yet. Users are told so, never left to find out.

use crate::{
    api::{InjectionMode, Language, TargetKind, TracingPolicySpec},
    diagnostics::FieldPath,
};

/// The fields of a policy that have no effect in this version, in the order of the API.
pub fn no_effect(spec: &TracingPolicySpec) -> Vec<String> {
    let settings = &spec.settings;
    let targets =
        spec.targets.iter().enumerate().filter(|(_, target)| matches!(target.kind, TargetKind::Job | TargetKind::Pod));
    let mut fields: Vec<String> = targets
        .map(|(position, target)| {
            let path = FieldPath::fields("spec.targets").index(position);
            format!("{path} ({} targets)", target.kind.as_str())
        })
        .collect();
    let mut add = |set: bool, field: &str| {
        if set {
            fields.push(field.to_owned());
        }
    };
    let export = settings.export.as_ref();
    add(export.is_some_and(|export| export.inherit == Some(true)), "spec.export.inherit");
    add(settings.instrumentation.is_some(), "spec.instrumentation");
    let correlation = settings.logs.as_ref().is_some_and(|logs| logs.correlation.is_some());
    add(correlation && settings.language != Some(Language::Python), "spec.logs.correlation (other than for Python)");
    let mode = settings.injection.as_ref().and_then(|injection| injection.mode);
    add(mode == Some(InjectionMode::Pod), "spec.injection.mode Pod");
    add(settings.rollout.is_some(), "spec.rollout");
    fields
}
