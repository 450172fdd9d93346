//! Which policies nearly select a workload, and what keeps them from it.

use std::collections::BTreeMap;

use super::View;
use crate::{
    api::{LabelRequirement, LabelSelector, SelectorOperator, Target},
    index::Policy,
};

/// How many are named at most.
const MAX: usize = 3;

/// A policy that does not select the workload.
struct Miss {
    /// The smaller, the nearer.
    distance: (u8, usize),
    words: String,
}

/// The policies that come nearest, each with what keeps it from selecting the workload.
pub(super) fn nearest(view: &View<'_>) -> Vec<String> {
    let home = &view.workload.id.namespace;
    let mut misses = Vec::new();
    for policy in view.snapshot.policies() {
        if policy.id.is_cluster() {
            misses.extend(of_cluster(view, policy));
        } else if policy.id.namespace == *home {
            misses.extend(of_targets(view, policy));
        } else {
            misses.extend(elsewhere(view, policy));
        }
    }
    misses.sort_by(|one, other| one.distance.cmp(&other.distance).then_with(|| one.words.cmp(&other.words)));
    misses.into_iter().take(MAX).map(|miss| miss.words).collect()
}

/// A ClusterTracingPolicy: its namespaceSelector first, then its targets.
fn of_cluster(view: &View<'_>, policy: &Policy) -> Option<Miss> {
    let place = view.snapshot.place(&view.workload.id.namespace);
    let who = policy.id.described();
    if !policy.covers(&place) {
        let selector = policy.cluster()?.namespace_selector.as_ref()?;
        let named = BTreeMap::from([("kubernetes.io/metadata.name".to_owned(), place.name.to_owned())]);
        let faults = mismatches(selector, place.labels.unwrap_or(&named));
        let unknown = if place.labels.is_none() { " (its labels are not known here)" } else { "" };
        let words = format!("{who} does not select the namespace {}: {}{unknown}", place.name, faults.join(", "));
        return Some(Miss { distance: (1, faults.len()), words });
    }
    if policy.selects(view.workload) {
        let spec = policy.cluster()?;
        let words =
            format!("{who} selects it with overrides alone, which hold only where a policy or a default does too");
        return spec.defaults.is_none().then_some(Miss { distance: (0, 0), words });
    }
    of_targets(view, policy)
}

/// The target of a policy of the namespace that comes nearest.
fn of_targets(view: &View<'_>, policy: &Policy) -> Option<Miss> {
    let misses = policy.targets().iter().enumerate().map(|(position, target)| {
        let (distance, why) = of_target(view, target);
        Miss { distance, words: format!("{}: spec.targets[{position}] {why}", policy.id.described()) }
    });
    misses.min_by(|one, other| one.distance.cmp(&other.distance))
}

fn of_target(view: &View<'_>, target: &Target) -> ((u8, usize), String) {
    let id = &view.workload.id;
    let kind = target.kind.as_str();
    if target.kind != id.kind.target() {
        let same_name = target.name.as_ref() == Some(&id.name);
        let fits =
            same_name || target.selector.as_ref().is_some_and(|selector| selector.matches(&view.workload.labels));
        let what = target.name.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
        return ((if fits { 1 } else { 4 }, 0), format!("is about the kind {kind}{what}, not {}", id.kind));
    }
    if let Some(name) = &target.name {
        let distance = strsim::damerau_levenshtein(name, &id.name);
        return ((if distance <= 2 { 1 } else { 3 }, distance), format!("names {kind} {name}, not {}", id.name));
    }
    let faults =
        target.selector.as_ref().map(|selector| mismatches(selector, &view.workload.labels)).unwrap_or_default();
    ((2, faults.len()), format!("selects other labels of the pod template: {}", faults.join(", ")))
}

/// A policy of another namespace that names the workload: it reaches no further than its own.
fn elsewhere(view: &View<'_>, policy: &Policy) -> Option<Miss> {
    let id = &view.workload.id;
    let names_it =
        policy.targets().iter().any(|target| target.kind == id.kind.target() && target.name.as_ref() == Some(&id.name));
    let words = format!("TracingPolicy {} names it, but is in the namespace {}", policy.id.name, policy.id.namespace);
    names_it.then_some(Miss { distance: (2, 0), words })
}

/// What labels lack, key by key.
pub(super) fn mismatches(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> Vec<String> {
    let wanted = selector.match_labels.iter().filter_map(|(key, value)| match labels.get(key) {
        Some(own) if own == value => None,
        Some(own) => Some(format!("label {key} is {own}, not {value}")),
        None => Some(format!("label {key} is missing (wanted: {value})")),
    });
    let required = selector.match_expressions.iter().filter_map(|requirement| mismatch(requirement, labels));
    wanted.chain(required).collect()
}

fn mismatch(requirement: &LabelRequirement, labels: &BTreeMap<String, String>) -> Option<String> {
    let alone = LabelSelector { match_labels: BTreeMap::new(), match_expressions: vec![requirement.clone()] };
    if alone.matches(labels) {
        return None;
    }
    let (key, values) = (&requirement.key, requirement.values.join(", "));
    let own = labels.get(key).map(String::as_str);
    Some(match (requirement.operator, own) {
        (SelectorOperator::In, Some(own)) => format!("label {key} is {own}, not one of {values}"),
        (SelectorOperator::In, None) => format!("label {key} is missing (wanted: one of {values})"),
        (SelectorOperator::NotIn, own) => format!("label {key} is {}, which is excluded", own.unwrap_or_default()),
        (SelectorOperator::Exists, _) => format!("label {key} is missing"),
        (SelectorOperator::DoesNotExist, own) => format!("label {key} is there ({})", own.unwrap_or_default()),
    })
}
