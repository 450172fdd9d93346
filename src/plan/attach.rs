//! Which policies are about a workload, and which of them comes first.

use std::cmp::Reverse;

use crate::{
    api::{Settings, Target},
    index::{Namespace, Policy, PolicyId, PolicySpec, Snapshot, Workload},
};

/// How precisely a policy means a workload; the more precise one wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Specificity {
    /// Its targets cannot be read: it may mean anything.
    Unknown,
    /// The defaults of a ClusterTracingPolicy.
    Cluster,
    /// All of the namespace, or all of a kind.
    Namespace,
    /// By labels.
    Selector,
    /// By name.
    Name,
}

impl Specificity {
    /// How the policy means the workload, in a sentence: `selects it by name`.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Cluster => "defaults of the cluster",
            Self::Namespace => "whole namespace",
            Self::Selector => "by selector",
            Self::Name => "by name",
        }
    }
}

/// Which part of a policy is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// A TracingPolicy.
    Policy,
    /// `spec.defaults` of a ClusterTracingPolicy.
    Defaults,
    /// `spec.overrides` of a ClusterTracingPolicy.
    Overrides,
}

/// A policy that is about a workload.
#[derive(Clone, Copy, Debug)]
pub struct Attached<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// The part of it.
    pub part: Part,
    /// How precisely it means the workload.
    pub specificity: Specificity,
    /// The `serviceName` of the target that means the workload.
    pub service_name: Option<&'a str>,
}

/// Everything that is about a workload.
#[derive(Clone, Debug, Default)]
pub struct Attachment<'a> {
    /// TracingPolicies and defaults, the strongest first.
    pub base: Vec<Attached<'a>>,
    /// Overrides, the strongest first; none where nothing else is about the workload.
    pub overrides: Vec<Attached<'a>>,
}

/// The policies that are about this workload: by name > by selector > whole namespace > cluster defaults; then higher
/// priority, then the older, then by name (DESIGN section 2). An object without a time is younger than any other.
pub fn attached<'a>(snapshot: &'a Snapshot, namespace: &'a Namespace, workload: &'a Workload) -> Attachment<'a> {
    if workload.is_collector {
        return Attachment::default();
    }
    let teams = namespace.policies.values().filter_map(|policy| attach(policy, Part::Policy, workload));
    let mut attachment = Attachment { base: teams.collect(), overrides: Vec::new() };
    for policy in snapshot.cluster_policies_of(snapshot.place(&workload.id.namespace)) {
        let has = |part| part_settings(policy, part).is_some() || policy.cluster().is_none();
        let part = |part| has(part).then(|| attach(policy, part, workload)).flatten();
        attachment.base.extend(part(Part::Defaults));
        // One that cannot be read is taken for defaults, which says the least.
        attachment.overrides.extend(part(Part::Overrides).filter(|_| policy.cluster().is_some()));
    }
    attachment.base.sort_by_cached_key(Attached::strength);
    attachment.overrides.sort_by_cached_key(Attached::strength);
    if attachment.base.is_empty() {
        attachment.overrides.clear();
    }
    attachment
}

/// What decides between policies: the smallest is the strongest.
pub(super) type Strength = (Reverse<Specificity>, Reverse<i32>, bool, Option<String>, PolicyId);

impl<'a> Attached<'a> {
    /// How strong the policy is for this workload.
    pub(super) fn strength(&self) -> Strength {
        let policy = self.policy;
        let created = policy.created.clone();
        (Reverse(self.specificity), Reverse(policy.priority()), created.is_none(), created, policy.id.clone())
    }

    /// What it says about `enabled`.
    pub fn enabled(&self) -> Option<bool> {
        match self.part {
            Part::Policy => self.policy.spec().map(|spec| spec.enabled),
            Part::Defaults => self.policy.cluster()?.defaults.as_ref()?.enabled,
            Part::Overrides => self.policy.cluster()?.overrides.as_ref()?.enabled,
        }
    }

    /// Its settings, where they could be read.
    pub fn settings(&self) -> Option<&'a Settings> {
        part_settings(self.policy, self.part)
    }
}

impl Part {
    /// Where its settings are within the policy.
    pub const fn root(self) -> &'static str {
        match self {
            Self::Policy => "spec",
            Self::Defaults => "spec.defaults",
            Self::Overrides => "spec.overrides",
        }
    }
}

/// The settings of a part of a policy, where it has it.
pub(super) fn part_settings(policy: &Policy, part: Part) -> Option<&Settings> {
    let Some(spec) = policy.cluster() else { return policy.settings().filter(|_| part == Part::Policy) };
    match part {
        Part::Policy => None,
        Part::Defaults => spec.defaults.as_ref().map(|block| &block.settings),
        Part::Overrides => spec.overrides.as_ref().map(|block| &block.settings),
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

fn attach<'a>(policy: &'a Policy, part: Part, workload: &Workload) -> Option<Attached<'a>> {
    let kind = workload.id.kind.target();
    let rank = |specificity| if part == Part::Policy { specificity } else { Specificity::Cluster };
    let whole = |specificity| Attached { policy, part, specificity, service_name: None };
    if let PolicySpec::Unreadable { targets: None } = &policy.spec {
        return Some(whole(Specificity::Unknown));
    }
    if policy.targets().is_empty() {
        return Some(whole(rank(Specificity::Namespace)));
    }
    let mut best: Option<(Specificity, &'a Target)> = None;
    for target in policy.targets().iter().filter(|target| target.matches(kind, &workload.id.name, &workload.labels)) {
        let specificity = specificity_of(target);
        if best.is_none_or(|(best, _)| specificity > best) {
            best = Some((specificity, target));
        }
    }
    let (specificity, target) = best?;
    Some(Attached { service_name: target.service_name.as_deref(), ..whole(rank(specificity)) })
}
