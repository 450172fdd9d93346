//! Which policies are about a workload, and which of them comes first.

use std::cmp::Reverse;

use crate::{
    api::Target,
    index::{Namespace, Policy, PolicyId, PolicySpec, Workload},
};

/// How precisely a policy means a workload; the more precise one wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Specificity {
    /// Its targets cannot be read: it may mean anything.
    Unknown,
    /// All of the namespace, or all of a kind.
    Namespace,
    /// By labels.
    Selector,
    /// By name.
    Name,
}

/// A policy that is about a workload.
#[derive(Clone, Copy, Debug)]
pub struct Attached<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// How precisely it means the workload.
    pub specificity: Specificity,
    /// The `serviceName` of the target that means the workload.
    pub service_name: Option<&'a str>,
}

/// The policies that are about this workload, the strongest first: by name > by selector > whole namespace; then higher
/// priority, then the older, then by name (DESIGN section 2). An object without a time is younger than any other.
pub fn attached<'a>(namespace: &'a Namespace, workload: &Workload) -> Vec<Attached<'a>> {
    let mut found: Vec<_> = namespace.policies.values().filter_map(|policy| attach(policy, workload)).collect();
    found.sort_by_cached_key(Attached::strength);
    found
}

/// What decides between policies: the smallest is the strongest.
pub(super) type Strength = (Reverse<Specificity>, Reverse<i32>, bool, Option<String>, PolicyId);

impl Attached<'_> {
    /// How strong the policy is for this workload.
    pub(super) fn strength(&self) -> Strength {
        let policy = self.policy;
        let priority = policy.spec().and_then(|spec| spec.priority).unwrap_or_default();
        let created = policy.created.clone();
        (Reverse(self.specificity), Reverse(priority), created.is_none(), created, policy.id.clone())
    }
}

/// How precisely a target means what it matches.
pub(super) fn specificity_of(target: &Target) -> Specificity {
    match (&target.name, &target.selector) {
        (Some(_), _) => Specificity::Name,
        (None, Some(_)) => Specificity::Selector,
        (None, None) => Specificity::Namespace,
    }
}

/// Namespaces that are never touched: `kube-*` and the operator's own.
pub fn is_excluded(namespace: &str, own_namespace: Option<&str>) -> bool {
    namespace.starts_with("kube-") || own_namespace == Some(namespace)
}

fn attach<'a>(policy: &'a Policy, workload: &Workload) -> Option<Attached<'a>> {
    if workload.is_collector {
        return None;
    }
    let kind = workload.id.kind.target();
    if let PolicySpec::Unreadable { targets: None } = &policy.spec {
        return Some(Attached { policy, specificity: Specificity::Unknown, service_name: None });
    }
    if policy.targets().is_empty() {
        return Some(Attached { policy, specificity: Specificity::Namespace, service_name: None });
    }
    let mut best: Option<Attached<'a>> = None;
    for target in policy.targets().iter().filter(|target| target.matches(kind, &workload.id.name, &workload.labels)) {
        let specificity = specificity_of(target);
        if best.is_none_or(|best| specificity > best.specificity) {
            best = Some(Attached { policy, specificity, service_name: target.service_name.as_deref() });
        }
    }
    best
}
