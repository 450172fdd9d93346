//! What workloads contribute to the status of a policy, so that one workload can change without looking at all others.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    api::{Attention, REFUSED_ANNOTATION, WorkloadCounts},
    diagnostics::Code,
    index::{Fault, Namespace, Policy, PolicyId, Rollout, SecretId, Workload, WorkloadId, WorkloadKind},
    plan::{
        attach::{self, Attached, Attachment, Part},
        wave::{Wait, waits},
        workload::{Decision, HoldReason, WorkloadPlan, workload_findings},
    },
};

/// Why a policy is not the first for a workload.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::plan) struct Beaten {
    /// The policy that comes first.
    pub(super) by: PolicyId,
    /// What decided, in words.
    pub(super) why: &'static str,
    /// Whether nothing but age or name decided.
    pub(super) same_rank: bool,
}

/// What one workload contributes to the status of one policy.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(clippy::struct_excessive_bools, reason = "each is counted by itself")]
struct Share {
    /// Whether the policy comes first.
    won: bool,
    in_place: bool,
    pending: bool,
    overridden: bool,
    stale: bool,
    restarting: bool,
    has_container: bool,
    /// Positions of the targets that mean the workload.
    targets: Vec<usize>,
    /// Positions in `containers` of names that the workload has.
    containers: Vec<usize>,
    service: Option<String>,
    secret: Option<SecretId>,
    hold: Option<HoldReason>,
    fault: Option<Fault>,
    /// What its pods said when the configuration in force was taken back.
    reverted: Option<String>,
    beaten: Option<Beaten>,
    overriding: Vec<PolicyId>,
    entries: Vec<(u8, Attention)>,
}

/// Everything that the status of a policy says about workloads.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    shares: BTreeMap<WorkloadId, Box<Share>>,
    pub(super) counts: WorkloadCounts,
    /// Workloads for which the policy comes first.
    pub(super) won: usize,
    /// Those of them that have a selected container.
    pub(super) with_container: usize,
    /// Those of them that are replacing their pods.
    pub(super) restarting: usize,
    targets: BTreeMap<usize, usize>,
    containers: BTreeMap<usize, usize>,
    /// A list, because most services are of one workload.
    pub(super) services: BTreeMap<String, Vec<WorkloadId>>,
    pub(super) secrets: BTreeMap<SecretId, usize>,
    pub(super) holds: BTreeMap<WorkloadId, HoldReason>,
    pub(super) faults: BTreeMap<WorkloadId, Fault>,
    pub(super) reverted: BTreeMap<WorkloadId, String>,
    pub(super) beaten: BTreeMap<Beaten, BTreeSet<WorkloadId>>,
    pub(super) overriding: BTreeMap<PolicyId, BTreeSet<WorkloadId>>,
    pub(super) entries: BTreeSet<(u8, Attention, WorkloadId)>,
}

impl Tally {
    /// Takes in what a workload contributes now; says whether that differs from before.
    pub(in crate::plan) fn put(
        &mut self,
        namespace: &Namespace,
        (policy, workload, plan): (&Policy, &Workload, &WorkloadPlan),
        beaten: Option<Beaten>,
    ) -> bool {
        let share = Box::new(share(namespace, policy, workload, plan, beaten));
        if self.shares.get(&workload.id) == Some(&share) {
            return false;
        }
        self.drop(&workload.id);
        self.count(&workload.id, &share, 1);
        self.shares.insert(workload.id.clone(), share);
        true
    }

    /// Forgets a workload; says whether it was known.
    pub(in crate::plan) fn drop(&mut self, id: &WorkloadId) -> bool {
        let Some(share) = self.shares.remove(id) else { return false };
        self.count(id, &share, -1);
        true
    }

    /// Whether no workload is known.
    pub(in crate::plan) fn is_empty(&self) -> bool {
        self.shares.is_empty()
    }

    /// Whether any workload for which the policy comes first needs this headers Secret.
    pub(in crate::plan) fn needs(&self, secret: &SecretId) -> bool {
        self.secrets.contains_key(secret)
    }

    /// Whether a target means any workload.
    pub(in crate::plan) fn is_met(&self, target: usize) -> bool {
        self.targets.contains_key(&target)
    }

    /// Whether any workload for which the policy comes first has the container at this position of `containers`.
    pub(super) fn has_container(&self, position: usize) -> bool {
        self.containers.contains_key(&position)
    }

    fn count(&mut self, id: &WorkloadId, share: &Share, by: i64) {
        let one = |is: bool| if is { by } else { 0 };
        let counts = &mut self.counts;
        counts.matched += by;
        counts.superseded += one(share.beaten.is_some());
        counts.injected += one(share.in_place);
        counts.pending += one(share.pending);
        counts.overridden += one(share.overridden);
        counts.stale += one(share.stale);
        counts.reverted += one(share.reverted.is_some());
        add(&mut self.restarting, share.restarting, by);
        add(&mut self.won, share.won, by);
        add(&mut self.with_container, share.won && share.has_container, by);
        share.targets.iter().for_each(|target| tick(&mut self.targets, *target, by));
        share.containers.iter().for_each(|container| tick(&mut self.containers, *container, by));
        share.secret.iter().for_each(|secret| tick(&mut self.secrets, secret.clone(), by));
        set(&mut self.holds, id, share.hold.clone(), by);
        set(&mut self.faults, id, share.fault.clone(), by);
        set(&mut self.reverted, id, share.reverted.clone(), by);
        share.service.iter().for_each(|service| list(&mut self.services, service, id, by));
        share.beaten.iter().for_each(|beaten| file(&mut self.beaten, beaten.clone(), id, by));
        share.overriding.iter().for_each(|policy| file(&mut self.overriding, policy.clone(), id, by));
        for (rank, entry) in &share.entries {
            let entry = (*rank, entry.clone(), id.clone());
            if by > 0 {
                self.entries.insert(entry);
            } else {
                self.entries.remove(&entry);
            }
        }
    }
}

fn add(number: &mut usize, is: bool, by: i64) {
    if is {
        *number = if by > 0 { *number + 1 } else { number.saturating_sub(1) };
    }
}

fn tick<K: Ord>(map: &mut BTreeMap<K, usize>, key: K, by: i64) {
    if by > 0 {
        *map.entry(key).or_default() += 1;
    } else if let Some(number) = map.get_mut(&key) {
        *number -= 1;
        if *number == 0 {
            map.remove(&key);
        }
    }
}

fn set<V>(map: &mut BTreeMap<WorkloadId, V>, id: &WorkloadId, value: Option<V>, by: i64) {
    match value {
        Some(value) if by > 0 => drop(map.insert(id.clone(), value)),
        Some(_) => drop(map.remove(id)),
        None => {}
    }
}

fn file<K: Ord>(map: &mut BTreeMap<K, BTreeSet<WorkloadId>>, key: K, id: &WorkloadId, by: i64) {
    if by > 0 {
        map.entry(key).or_default().insert(id.clone());
    } else if let Some(ids) = map.get_mut(&key) {
        ids.remove(id);
        if ids.is_empty() {
            map.remove(&key);
        }
    }
}

/// The same for lists, which stay sorted.
fn list(map: &mut BTreeMap<String, Vec<WorkloadId>>, key: &str, id: &WorkloadId, by: i64) {
    if by > 0 {
        let ids = map.entry(key.to_owned()).or_insert_with(|| Vec::with_capacity(1));
        if let Err(place) = ids.binary_search(id) {
            ids.insert(place, id.clone());
        }
    } else if let Some(ids) = map.get_mut(key) {
        ids.retain(|known| known != id);
        if ids.is_empty() {
            map.remove(key);
        }
    }
}

/// What a workload contributes to a policy that is attached to it, first or not, or whose overrides hold for it.
fn share(
    namespace: &Namespace,
    policy: &Policy,
    workload: &Workload,
    plan: &WorkloadPlan,
    beaten: Option<Beaten>,
) -> Share {
    let kind = workload.id.kind.target();
    let meant = policy.targets().iter().enumerate();
    let meant = meant.filter(|(_, target)| target.matches(kind, &workload.id.name, &workload.labels));
    let mut share = Share {
        won: plan.winner.as_ref() == Some(&policy.id),
        targets: meant.map(|(position, _)| position).collect(),
        ..Share::default()
    };
    if !share.won {
        share.beaten = beaten;
        return share;
    }
    let aged = Aged::of(namespace, workload, plan);
    share.in_place = match plan.decision {
        _ if plan.refused => false,
        Decision::Inject => plan.sets_anything() && !plan.needs_write,
        Decision::Hold(_) => workload.is_held(),
        Decision::AtPods => aged.all == 0 || aged.older + aged.without < aged.all,
        Decision::Excluded | Decision::Withdraw | Decision::Manual => false,
    };
    share.stale = aged.is_stale();
    share.pending = plan.needs_write;
    share.restarting = !plan.needs_write && workload.rollout.is_under_way();
    share.reverted = workload.refusal().filter(|_| plan.refused).map(|refusal| sentence(&refusal.because));
    share.overridden = plan.is_overridden();
    // Of a pod that is there, its containers are not known.
    share.has_container = !plan.containers.is_empty() || workload.id.kind == WorkloadKind::Pod;
    let names = policy.settings().and_then(|settings| settings.containers.as_deref()).unwrap_or_default();
    let has = |name: &str| workload.containers.iter().any(|container| container.name == name);
    let is_open = workload.id.kind == WorkloadKind::Pod && workload.containers.is_empty();
    share.containers = (0..names.len()).filter(|position| is_open || has(&names[*position])).collect();
    // Many Jobs or pods are one service as a rule.
    share.service = plan.service_name.clone().filter(|_| workload.id.kind.is_writable());
    share.secret.clone_from(&plan.secret);
    share.fault = namespace.faults.get(&workload.id).filter(|_| plan.needs_write).cloned();
    share.overriding = plan.overrides.iter().filter(|by| **by != policy.id).cloned().collect();
    if let Decision::Hold(reason) = &plan.decision {
        share.hold = Some(reason.clone());
    }
    share.entries = entries(policy, workload, plan, share.fault.as_ref());
    share.entries.extend(aged.entry(policy, &workload.id));
    share
}

/// How many pods of a workload have not been given the settings in force.
#[derive(Clone, Copy, Debug, Default)]
struct Aged {
    all: usize,
    /// Settings that are not those in force.
    older: usize,
    /// None at all.
    without: usize,
}

impl Aged {
    fn of(namespace: &Namespace, workload: &Workload, plan: &WorkloadPlan) -> Self {
        let is_meant = matches!(plan.decision, Decision::AtPods | Decision::Withdraw);
        let mut aged = Self::default();
        for given in namespace.pods.configurations(&workload.id).filter(|_| is_meant) {
            aged.all += 1;
            match (given, plan.configuration.as_deref().filter(|_| !plan.refused)) {
                (None, Some(_)) => aged.without += 1,
                (given, wanted) if given != wanted => aged.older += 1,
                _ => {}
            }
        }
        aged
    }

    const fn is_stale(self) -> bool {
        self.older + self.without > 0
    }

    /// What there is to say: nobody is told by the pods themselves.
    fn entry(self, policy: &Policy, id: &WorkloadId) -> Option<(u8, Attention)> {
        let all = self.all;
        let message = match (self.without, self.older) {
            (0, 0) => return None,
            (0, older) => format!("{older} of {all} pods carry settings that are no longer in force"),
            (without, 0) => format!(
                "{without} of {all} pods were created without the settings: before the policy, or while the webhook did not answer"
            ),
            (without, older) => format!(
                "{older} of {all} pods carry settings that are no longer in force, {without} were created without any"
            ),
        };
        let cure = match id.kind {
            WorkloadKind::Pod => "create it anew".to_owned(),
            WorkloadKind::Job | WorkloadKind::CronJob => "the next Job has them".to_owned(),
            kind => format!("kubectl rollout restart {}/{}", kind.as_str().to_ascii_lowercase(), id.name),
        };
        let (kind, name) = (id.kind.as_str().to_owned(), name_for(policy, id));
        Some((4, Attention { kind, name, reason: "PodsStale".to_owned(), message: format!("{message}: {cure}.") }))
    }
}

/// The name of a workload for readers of a policy's status: with its namespace, where the policy has none.
pub(super) fn name_for(policy: &Policy, workload: &WorkloadId) -> String {
    if policy.id.is_cluster() { format!("{}/{}", workload.namespace, workload.name) } else { workload.name.clone() }
}

fn entries(policy: &Policy, workload: &Workload, plan: &WorkloadPlan, fault: Option<&Fault>) -> Vec<(u8, Attention)> {
    let entry = |reason: &str, message: String| Attention {
        kind: workload.id.kind.as_str().to_owned(),
        name: name_for(policy, &workload.id),
        reason: reason.to_owned(),
        message: message.chars().take(super::MAX_MESSAGE).collect(),
    };
    let mut entries = Vec::new();
    entries.extend(fault.map(|fault| (0, entry(&fault.reason, fault.message.clone()))));
    if let Some(refusal) = workload.refusal().filter(|_| plan.refused) {
        let cure = "Change the policy; or, to try the same once more, remove the annotation";
        let message = format!("{} {cure} {REFUSED_ANNOTATION}.", sentence(&refusal.because));
        entries.push((0, entry("Reverted", message)));
    }
    entries.extend(waiting(workload, plan).map(|(reason, message)| (4, entry(reason, message.to_owned()))));
    if let Decision::Hold(HoldReason::Discord(code, fields)) = &plan.decision {
        let message = format!("{}: {} ({}); it stays as it is.", code, code.message(), fields.join(", "));
        entries.push((1, entry("SettingsDisagree", message)));
    }
    if plan.decision == Decision::Inject && plan.containers.is_empty() {
        entries.push((2, entry("NoContainerSelected", "None of its containers is selected.".to_owned())));
    }
    for finding in workload_findings(workload, plan) {
        let (rank, reason) = match finding.code {
            Code::TRC0501 => (3, "Overridden"),
            Code::TRC0502 => (4, "DuplicateVariables"),
            Code::TRC0505 => (3, "NotInstrumented"),
            Code::TRC0506 => (4, "InstrumentationChanged"),
            Code::TRC0133 => (5, "IgnoredWithoutEffect"),
            _ => (5, "EnvFromNotSeen"),
        };
        entries.push((rank, entry(reason, finding.message)));
    }
    entries
}

/// Why a workload that is to be injected is not among the first.
fn waiting(workload: &Workload, plan: &WorkloadPlan) -> Option<(&'static str, &'static str)> {
    match (waits(workload, plan), workload.rollout) {
        (Some(Wait::Paused), _) => Some(("Paused", "Its rollout is paused: it is injected when it is resumed.")),
        (Some(Wait::RolloutUnderWay), _) => {
            Some(("RolloutUnderWay", "A rollout is under way: it is injected when that is complete."))
        }
        (None, Rollout::Unhealthy { .. } | Rollout::UnderWay { updated: true, .. })
            if plan.needs_write && !plan.withdraws() =>
        {
            Some(("Unhealthy", "Not all of its pods are available: it is injected after those that run well."))
        }
        _ => None,
    }
}

/// What pods say, with an end.
fn sentence(said: &str) -> String {
    let said = said.trim();
    let is_whole = said.is_empty() || said.ends_with(['.', '!', '?']);
    if is_whole { said.to_owned() } else { format!("{said}.") }
}

impl Beaten {
    /// Every policy that is attached and does not come first, with who does.
    pub(in crate::plan) fn all<'a>(attachment: &Attachment<'a>) -> BTreeMap<&'a PolicyId, Self> {
        let mut base = attachment.base.iter();
        let Some(winner) = base.next() else { return BTreeMap::new() };
        let beaten = base.map(|own| {
            let (why, same_rank) = why(winner, own);
            (&own.policy.id, Self { by: winner.policy.id.clone(), why, same_rank })
        });
        beaten.collect()
    }
}

/// What decided between two policies.
pub(in crate::plan) fn why(winner: &Attached<'_>, loser: &Attached<'_>) -> (&'static str, bool) {
    if winner.specificity != loser.specificity {
        let why = match winner.specificity {
            _ if loser.part == Part::Defaults => "a TracingPolicy comes before the defaults of the cluster",
            attach::Specificity::Name => "it selects the workload by name",
            attach::Specificity::Selector => "it selects the workload by labels",
            _ => "it is more specific",
        };
        return (why, false);
    }
    if winner.policy.priority() != loser.policy.priority() {
        return ("it has the higher priority", false);
    }
    if winner.policy.created == loser.policy.created {
        return ("its name comes first", true);
    }
    ("it is older", true)
}
