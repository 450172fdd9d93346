//! What is in force for a workload: the settings of everything that is attached to it, merged.

use std::borrow::Cow;

use super::{
    attach::{Attached, Attachment, Part, Specificity, part_settings},
    export::{self, ResolvedExport, Unresolved},
    merge::{fields, merge},
};
use crate::{
    api::{Export, Language, Limits, Profile, Propagator, Protocol, Ratio, Sampling, Settings, Tail},
    diagnostics::Code,
    index::{CollectorId, Policy, PolicyId, Snapshot},
};

/// What is in force for a workload.
#[derive(Clone, Debug)]
pub(super) struct Effective<'a> {
    /// Whether it is traced.
    pub(super) enabled: bool,
    /// The merged settings; `export` is the one in force, inherited or not.
    pub(super) settings: Cow<'a, Settings>,
    /// Where the export is from.
    pub(super) export_from: Option<Attached<'a>>,
    /// What `service.name` is set to by the strongest policy that says anything about it.
    pub(super) service_name: Option<&'a str>,
    /// What was merged, the weakest first.
    pub(super) layers: Vec<Attached<'a>>,
}

/// Everything that takes part, the weakest first: overrides after all others. A TracingPolicy that is disabled, and that a
/// stronger one outdoes, says nothing about how to trace; one that is not valid takes part only where `doubtful` is asked for.
fn layers<'a>(attachment: &Attachment<'a>, doubtful: bool) -> Vec<Attached<'a>> {
    let takes_part =
        |attached: &&Attached<'a>| attached.settings().is_some() && (doubtful || attached.policy.is_valid());
    let base = attachment.base.iter().rev().filter(takes_part);
    let base = base.filter(|attached| attached.part != Part::Policy || attached.enabled() == Some(true));
    base.chain(attachment.overrides.iter().rev().filter(takes_part)).copied().collect()
}

/// The word that counts about `enabled`: an override's, else that of the strongest that says anything.
pub(super) fn decided<'a>(attachment: &Attachment<'a>, doubtful: bool) -> Option<Attached<'a>> {
    let mut all = attachment.overrides.iter().chain(&attachment.base);
    all.find(|attached| (doubtful || attached.policy.is_valid()) && attached.enabled().is_some()).copied()
}

/// What is in force; `doubtful` includes what is not valid, to see whether it would matter.
pub(super) fn effective<'a>(attachment: &Attachment<'a>, doubtful: bool) -> Effective<'a> {
    let layers = layers(attachment, doubtful);
    let decided_by = decided(attachment, doubtful);
    let export_from = export_from(&layers);
    let settings = if let [one] = layers.as_slice() {
        one.settings().map_or_else(|| Cow::Owned(Settings::default()), Cow::Borrowed)
    } else {
        let mut settings = merge(layers.iter().filter_map(Attached::settings), false).settings;
        if let Some(from) = export_from {
            settings.export = own_export(&from).cloned();
        }
        Cow::Owned(settings)
    };
    let service_name = layers.iter().rev().find_map(|attached| {
        let policy = attached.settings().and_then(|settings| settings.service.as_ref()?.name.as_deref());
        attached.service_name.filter(|_| attached.part != Part::Overrides).or(policy)
    });
    Effective {
        enabled: decided_by.and_then(|attached| attached.enabled()).unwrap_or_default(),
        settings,
        export_from,
        service_name,
        layers,
    }
}

/// An export that names something by itself.
pub(super) fn own_export<'a>(attached: &Attached<'a>) -> Option<&'a Export> {
    let names = |export: &&Export| {
        export.collector_ref.is_some() || export.endpoint.as_deref().is_some_and(|endpoint| !endpoint.is_empty())
    };
    attached.settings()?.export.as_ref().filter(|export| export.inherit != Some(true)).filter(names)
}

/// Whose export is in force: that of the strongest which has one; where it inherits, that of the strongest defaults below.
fn export_from<'a>(layers: &[Attached<'a>]) -> Option<Attached<'a>> {
    let mut down =
        layers.iter().rev().skip_while(|attached| attached.settings().is_none_or(|own| own.export.is_none()));
    let strongest = down.next()?;
    if own_export(strongest).is_some() {
        return Some(*strongest);
    }
    down.find(|attached| attached.part == Part::Defaults && own_export(attached).is_some()).copied()
}

/// What a collector has to know of a service.
#[derive(Clone, Debug)]
pub(super) struct Rules<'a> {
    /// The strongest policy that has tail rules, else the one that comes first.
    pub(super) policy: &'a Policy,
    /// The collector that spans are sent to, if it takes them.
    pub(super) collector: Option<CollectorId>,
    /// The tail rules in force.
    pub(super) tail: Option<Tail>,
    /// What its SDK decides at the first span of a trace, where a policy says so.
    pub(super) head: Option<Head>,
    /// What was merged, the weakest first.
    pub(super) layers: Vec<Attached<'a>>,
}

/// Head sampling of a service.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Head {
    /// The share of traces that begin here and are recorded.
    pub(super) ratio: Ratio,
    /// Whether the decision of a caller is followed.
    pub(super) parent_based: bool,
}

impl Head {
    /// What these settings come to; `None` where the SDK is left alone, and records what its caller records, and everything else.
    pub(super) fn new(sampling: &Sampling) -> Option<Self> {
        let ratio = sampling.ratio.or_else(|| sampling.profile.map(Profile::ratio))?;
        Some(Self { ratio, parent_based: sampling.parent_based.unwrap_or(true) })
    }
}

impl<'a> Effective<'a> {
    /// The rules of a service, where it is traced.
    pub(super) fn rules(&self, snapshot: &Snapshot, namespace: &str, attachment: &Attachment<'a>) -> Option<Rules<'a>> {
        if !self.enabled {
            return None;
        }
        let has_tail = |attached: &&Attached<'a>| {
            attached.settings().is_some_and(|settings| settings.sampling.as_ref().is_some_and(|own| own.tail.is_some()))
        };
        let policy = self.layers.iter().rev().find(has_tail).or_else(|| attachment.base.first())?.policy;
        let reached = self.export(snapshot, namespace, attachment, false).ok();
        let named = self.settings.export.as_ref().and_then(|export| export.collector_ref.as_ref());
        let collector = reached.and(named).map(|reference| reference.id(namespace));
        let tail = self.settings.sampling.as_ref().and_then(|sampling| sampling.tail.clone());
        let head = self.settings.sampling.as_ref().and_then(Head::new);
        Some(Rules { policy, collector, tail, head, layers: self.layers.clone() })
    }

    /// Where spans go.
    pub(super) fn export(
        &self,
        snapshot: &Snapshot,
        namespace: &str,
        attachment: &Attachment<'_>,
        doubtful: bool,
    ) -> Result<ResolvedExport, Unresolved> {
        let Some(from) = &self.export_from else {
            let inherits = self.settings.export.as_ref().is_some_and(|export| export.inherit == Some(true));
            return Err(if inherits { Unresolved::NothingToInherit } else { Unresolved::NoExport });
        };
        let resolved = export::resolve(snapshot, namespace, &self.settings)?;
        let endpoint = self.settings.export.as_ref().and_then(|export| export.endpoint.as_deref());
        let foreign = endpoint.filter(|_| from.part == Part::Policy).map(export::host);
        match foreign.and_then(|host| not_allowed(attachment, host, doubtful)) {
            Some(by) => Err(Unresolved::HostNotAllowed(by)),
            None => Ok(resolved),
        }
    }
}

/// The export of what a TracingPolicy selects, by what holds for all of its namespace; nothing for one that is not enabled
/// and for a ClusterTracingPolicy.
pub(super) fn of_policy(snapshot: &Snapshot, policy: &Policy) -> Option<Result<ResolvedExport, Unresolved>> {
    policy.spec().filter(|spec| spec.enabled)?;
    let attachment = assumed(snapshot, policy);
    let in_force = effective(&attachment, false);
    in_force.enabled.then(|| in_force.export(snapshot, &policy.id.namespace, &attachment, false))
}

/// What is in force where a TracingPolicy alone selects a workload.
pub(super) struct InForce<'a> {
    pub(super) enabled: bool,
    pub(super) settings: Cow<'a, Settings>,
    /// Whose export it is.
    pub(super) export_from: Option<Attached<'a>>,
    /// The collector that takes the spans.
    pub(super) collector: Option<CollectorId>,
    /// Whether spans go to an endpoint that no collector here is behind.
    pub(super) is_elsewhere: bool,
    /// What was merged, the weakest first.
    pub(super) layers: Vec<Attached<'a>>,
}

/// What is in force for what a valid TracingPolicy selects, by what holds for all of its namespace.
pub(super) fn in_force<'a>(snapshot: &'a Snapshot, policy: &'a Policy) -> Option<InForce<'a>> {
    policy.spec().filter(|_| policy.is_valid())?;
    let attachment = assumed(snapshot, policy);
    let effective = effective(&attachment, false);
    let rules = effective.rules(snapshot, &policy.id.namespace, &attachment);
    let endpoint = effective.settings.export.as_ref().and_then(|export| export.endpoint.as_deref());
    Some(InForce {
        enabled: effective.enabled,
        collector: rules.and_then(|rules| rules.collector),
        is_elsewhere: endpoint.is_some_and(|endpoint| !endpoint.is_empty()),
        settings: effective.settings,
        export_from: effective.export_from,
        layers: effective.layers,
    })
}

/// Who set a field, the strongest of the layers that did.
pub(super) fn origin<'a>(layers: &[Attached<'a>], field: &str) -> Option<Attached<'a>> {
    let sets =
        |attached: &&Attached<'a>| attached.settings().is_some_and(|settings| fields(settings).contains_key(field));
    layers.iter().rev().find(sets).copied()
}

/// The rules of services that a TracingPolicy names, by what holds for all of its namespace.
pub(super) fn rules<'a>(snapshot: &'a Snapshot, policy: &'a Policy) -> Option<Rules<'a>> {
    let attachment = assumed(snapshot, policy);
    effective(&attachment, false).rules(snapshot, &policy.id.namespace, &attachment)
}

/// The collector that a TracingPolicy takes from above.
pub(super) fn inherited_collector(snapshot: &Snapshot, policy: &Policy) -> Option<CollectorId> {
    let attachment = assumed(snapshot, policy);
    let in_force = effective(&attachment, false);
    Some(in_force.settings.export.as_ref()?.collector_ref.as_ref()?.id(&policy.id.namespace))
}

/// What would be attached to a workload that this policy alone selects, and that ClusterTracingPolicies without targets do.
fn assumed<'a>(snapshot: &'a Snapshot, policy: &'a Policy) -> Attachment<'a> {
    let attached = |policy: &'a Policy, part, specificity| Attached { policy, part, specificity, service_name: None };
    let mut attachment =
        Attachment { base: vec![attached(policy, Part::Policy, Specificity::Namespace)], overrides: Vec::new() };
    let covering = snapshot.cluster_policies_of(snapshot.place(&policy.id.namespace));
    for above in covering.filter(|above| above.targets().is_empty()) {
        if part_settings(above, Part::Defaults).is_some() {
            attachment.base.push(attached(above, Part::Defaults, Specificity::Cluster));
        }
        if part_settings(above, Part::Overrides).is_some() {
            attachment.overrides.push(attached(above, Part::Overrides, Specificity::Cluster));
        }
    }
    attachment.base.sort_by_cached_key(Attached::strength);
    attachment.overrides.sort_by_cached_key(Attached::strength);
    attachment
}

/// The ClusterTracingPolicy that does not allow to send to this host: the strongest that lists any.
fn not_allowed(attachment: &Attachment<'_>, host: &str, doubtful: bool) -> Option<PolicyId> {
    let mut overrides = attachment.overrides.iter().filter(|attached| doubtful || attached.policy.is_valid());
    let (policy, block) = overrides.find_map(|attached| {
        let block = attached.policy.cluster()?.overrides.as_ref()?;
        block.allowed_endpoint_hosts.is_some().then_some((attached.policy, block))
    })?;
    (!block.allows_host(host)).then(|| policy.id.clone())
}

/// What is wrong with merged settings of which every part is valid by itself: an SDK would not start with them.
pub(super) fn discord(in_force: &Effective<'_>) -> Option<(Code, [&'static str; 2])> {
    let settings = &*in_force.settings;
    // What one policy says by itself was warned about; here nobody has seen the two together.
    let meant = |own: &Settings| own.language == Some(Language::Python) && own.propagators == settings.propagators;
    let is_meant = in_force.layers.iter().filter_map(Attached::settings).any(meant);
    let brought = [Propagator::Tracecontext, Propagator::Baggage, Propagator::None];
    let is_foreign = settings.propagators.iter().flatten().any(|name| !brought.contains(name));
    if settings.language == Some(Language::Python) && is_foreign && !is_meant {
        return Some((Code::TRC0129, ["propagators", "language"]));
    }
    let limits = settings.limits.as_ref();
    let size = |size: fn(&Limits) -> Option<i32>| limits.and_then(size);
    if size(|limits| limits.batch_size).unwrap_or(512) > size(|limits| limits.queue_size).unwrap_or(2048) {
        return Some((Code::TRC0117, ["limits.batchSize", "limits.queueSize"]));
    }
    settings.instrumentation.as_ref()?;
    let python = settings.language == Some(Language::Python);
    let grpc = settings.export.as_ref().and_then(|export| export.protocol) == Some(Protocol::Grpc);
    if python && grpc {
        return Some((Code::TRC0118, ["instrumentation", "export.protocol"]));
    }
    let can =
        matches!(settings.language, Some(Language::Python | Language::Java | Language::Nodejs | Language::Dotnet));
    (!can).then_some((Code::TRC0119, ["instrumentation", "language"]))
}
