//! The settings in force for a workload, each with the policy and the field that set it, and what lost against it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::{
    diagnostics::FieldPath,
    index::{PolicyId, Workload},
    plan::{
        attach::{Attached, Attachment, Part, specificity_of},
        effective::{Effective, decided, own_export},
        merge,
    },
};

/// Where a value is from.
#[derive(Clone, Debug, PartialEq)]
pub struct Origin {
    /// The policy.
    pub policy: PolicyId,
    /// The part of it.
    pub part: Part,
    /// The field in that object.
    pub path: FieldPath,
}

/// A value that another policy has for the field, and that is not in force.
#[derive(Clone, Debug, PartialEq)]
pub struct Lost {
    /// Where it is from.
    pub origin: Origin,
    /// What it would be.
    pub value: Value,
    /// Why it is not in force.
    pub why: String,
}

/// A field of the settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// Its name, such as `sampling.ratio`.
    pub field: String,
    /// What is in force; `None` where nothing is, although some policy has a value.
    pub value: Option<Value>,
    /// Who set it.
    pub origin: Option<Origin>,
    /// What lost, the strongest first.
    pub lost: Vec<Lost>,
}

/// What a policy sets: by field, the value and where in the object it is.
type Set = BTreeMap<String, (Value, FieldPath)>;

/// `enabled`, and where it is true everything else.
pub(super) fn settings(attachment: &Attachment<'_>, in_force: &Effective<'_>, workload: &Workload) -> Vec<Setting> {
    let mut rows: Vec<_> = enabled(attachment).into_iter().collect();
    if !in_force.enabled {
        return rows;
    }
    let all: Vec<_> = attachment.overrides.iter().chain(&attachment.base).collect();
    let sets: Vec<(&Attached<'_>, Set)> =
        all.into_iter().map(|attached| (attached, set_by(attached, workload))).collect();
    let winners = winners(in_force, workload);
    let names: BTreeSet<&String> = sets.iter().flat_map(|(_, set)| set.keys()).collect();
    rows.extend(names.into_iter().map(|name| row(name, &winners, &sets, in_force)));
    rows
}

fn row(
    field: &str,
    winners: &BTreeMap<String, Attached<'_>>,
    sets: &[(&Attached<'_>, Set)],
    in_force: &Effective<'_>,
) -> Setting {
    let winner = winners.get(field);
    let found = winner.and_then(|winner| {
        let (attached, set) = sets.iter().find(|(attached, _)| is_same(attached, winner))?;
        let (value, path) = set.get(field)?;
        Some((value.clone(), origin(attached, path.clone())))
    });
    let value = found.as_ref().map(|(value, _)| value);
    let losers = sets.iter().filter(|(attached, _)| winner.is_none_or(|winner| !is_same(attached, winner)));
    let lost = losers.filter_map(|(attached, set)| {
        let (other, path) = set.get(field).filter(|(other, _)| Some(other) != value)?;
        let why = why(attached, winner, field, in_force);
        Some(Lost { origin: origin(attached, path.clone()), value: other.clone(), why })
    });
    let lost = lost.collect();
    let (value, origin) = found.unzip();
    Setting { field: field.to_owned(), value, origin, lost }
}

fn enabled(attachment: &Attachment<'_>) -> Option<Setting> {
    let winner = decided(attachment, false);
    let all = attachment.overrides.iter().chain(&attachment.base);
    let said = |attached: &Attached<'_>| {
        Some((attached.enabled()?, origin(attached, FieldPath::fields(attached.part.root()).field("enabled"))))
    };
    let value = winner.as_ref().and_then(Attached::enabled);
    let lost =
        all.filter(|attached| winner.as_ref().is_none_or(|winner| !is_same(attached, winner))).filter_map(|attached| {
            let (other, origin) = said(attached).filter(|(other, _)| Some(*other) != value)?;
            let why = if attached.policy.is_valid() {
                winner.map(|winner| beats(&winner, attached)).unwrap_or_default()
            } else {
                INVALID.to_owned()
            };
            Some(Lost { origin, value: other.into(), why })
        });
    let lost: Vec<_> = lost.collect();
    let origin = winner.as_ref().and_then(said).map(|(_, origin)| origin);
    (value.is_some() || !lost.is_empty()).then(|| Setting {
        field: "enabled".to_owned(),
        value: value.map(Value::from),
        origin,
        lost,
    })
}

const INVALID: &str = "its policy is not valid";

/// Whose value of each field is in force.
fn winners<'a>(in_force: &Effective<'a>, workload: &Workload) -> BTreeMap<String, Attached<'a>> {
    let merged = merge::merge(in_force.layers.iter().filter_map(Attached::settings), true);
    let of_layer = |(field, layer): (String, usize)| Some((field, *in_force.layers.get(layer)?));
    let mut winners: BTreeMap<_, _> = merged.origins.into_iter().filter_map(of_layer).collect();
    // Where the strongest export inherits, that word stays in force, and the rest comes from above.
    if let Some(from) = in_force.export_from {
        winners.retain(|field, _| !field.starts_with("export.") || field == "export.inherit");
        let own = from.settings().map(merge::fields).unwrap_or_default();
        winners.extend(own.into_keys().filter(|field| field.starts_with("export.")).map(|field| (field, from)));
    }
    let named = in_force.layers.iter().rev().find(|attached| own_name(attached, workload).is_some());
    winners.extend(named.map(|attached| (SERVICE_NAME.to_owned(), *attached)));
    winners
}

const SERVICE_NAME: &str = "service.name";

fn set_by(attached: &Attached<'_>, workload: &Workload) -> Set {
    let fields = attached.settings().map(merge::fields).unwrap_or_default();
    let mut set: Set = fields
        .into_iter()
        .map(|(field, value)| {
            let path = path_of(attached.part, &field);
            (field, (value, path))
        })
        .collect();
    if let Some((name, path)) = own_name(attached, workload) {
        set.insert(SERVICE_NAME.to_owned(), (name.into(), path));
    }
    set
}

/// What a policy calls the service: a target's `serviceName` before its own.
fn own_name<'a>(attached: &Attached<'a>, workload: &Workload) -> Option<(&'a str, FieldPath)> {
    let id = &workload.id;
    if let Some(name) = attached.service_name.filter(|_| attached.part != Part::Overrides) {
        let targets = attached.policy.targets().iter().enumerate();
        let mut meant = targets.filter(|(_, target)| {
            target.matches(id.kind.target(), &id.name, &workload.labels) && target.service_name.as_deref() == Some(name)
        });
        let best = meant.next().map(|first| {
            meant.fold(first, |best, next| if specificity_of(next.1) > specificity_of(best.1) { next } else { best })
        });
        let (position, _) = best?;
        return Some((name, FieldPath::fields("spec.targets").index(position).field("serviceName")));
    }
    let name = attached.settings()?.service.as_ref()?.name.as_deref()?;
    Some((name, path_of(attached.part, SERVICE_NAME)))
}

/// Where a field is within the object.
fn path_of(part: Part, field: &str) -> FieldPath {
    let root = part.root();
    match field.strip_prefix("service.attributes[").and_then(|rest| rest.strip_suffix(']')) {
        Some(key) => FieldPath::fields(&format!("{root}.service.attributes")).key(key),
        None => FieldPath::fields(&format!("{root}.{field}")),
    }
}

fn origin(attached: &Attached<'_>, path: FieldPath) -> Origin {
    Origin { policy: attached.policy.id.clone(), part: attached.part, path }
}

fn is_same(one: &Attached<'_>, other: &Attached<'_>) -> bool {
    one.policy.id == other.policy.id && one.part == other.part
}

/// Why a policy's value of a field is not in force.
fn why(loser: &Attached<'_>, winner: Option<&Attached<'_>>, field: &str, in_force: &Effective<'_>) -> String {
    if !loser.policy.is_valid() {
        return INVALID.to_owned();
    }
    if loser.part == Part::Policy && loser.enabled() == Some(false) {
        return "its policy is disabled".to_owned();
    }
    if field.starts_with("export.") {
        let strongest = in_force.export_from.filter(|from| !is_same(from, loser) && own_export(from).is_some());
        if let Some(from) = strongest {
            return format!("export is taken as a whole, from {}", from.policy.id.described());
        }
    }
    match winner {
        Some(winner) => beats(winner, loser),
        None if field.starts_with("sampling.") => {
            "ratio and profile are taken together, from a stronger policy".to_owned()
        }
        None => "a stronger policy decides".to_owned(),
    }
}

/// What decided between two policies for a field.
fn beats(winner: &Attached<'_>, loser: &Attached<'_>) -> String {
    let (one, other) = (winner.policy, loser.policy);
    match (winner.part, loser.part) {
        (Part::Overrides, Part::Policy | Part::Defaults) => "overridden by the cluster".to_owned(),
        _ if winner.specificity != loser.specificity => {
            format!("{} wins over {}", winner.specificity.describe(), loser.specificity.describe())
        }
        _ if one.priority() != other.priority() => {
            format!("priority {} wins over {}", one.priority(), other.priority())
        }
        _ if one.created != other.created => "the older policy wins".to_owned(),
        _ => "the policy whose name comes first wins".to_owned(),
    }
}
