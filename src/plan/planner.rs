//! The plan kept up to date: a change costs in proportion to the workloads that it touches, not to the cluster.

use std::{
    collections::{BTreeMap, BTreeSet, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
};

use super::{
    attach::{self, Attached, Attachment},
    status::{self, Beaten, Report, Tally},
    wave::{Group, Stand, Wave},
    workload::{WorkloadPlan, plan_workload},
};
use crate::index::{Dirty, Policy, PolicyId, Rollout, SecretId, Snapshot, Workload, WorkloadId, WorkloadKind};

/// What is known of every workload's part in the statuses of policies, and in the services that collectors know.
#[derive(Debug, Default)]
pub struct Planner {
    tallies: BTreeMap<PolicyId, Tally>,
    waves: BTreeMap<Group, Wave>,
    /// Waves in which places have changed since they were offered last.
    touched: BTreeSet<Group>,
    /// Workloads that did not run well when they were written last, where no object says so any more.
    frail: BTreeSet<WorkloadId>,
    /// Workloads whose pods do not run for reasons that are not the operator's, and the generation of which that is known.
    absolved: BTreeMap<WorkloadId, i64>,
    /// Workloads that the operator had its settings in when it wrote them last, until their rollout is complete.
    ours: BTreeSet<WorkloadId>,
    /// Whether only a part of a change was taken in: who may begin is not known, nor what is to be said of a policy.
    is_unfinished: bool,
    known: BTreeMap<WorkloadId, Known>,
    planned: u64,
}

/// What a workload was like when it was planned last.
#[derive(Debug, Default)]
struct Known {
    /// The policies whose tallies it is in.
    policies: Vec<PolicyId>,
    /// Everything that decides which rules its service follows in a collector.
    service: u64,
    /// The wave that it has a place in.
    group: Option<Group>,
}

impl Planner {
    /// Takes in what has changed, and adds what that touches: statuses of policies, collectors, Secrets to look at.
    pub fn update(&mut self, snapshot: &Snapshot, dirty: &mut Dirty) {
        self.plan(snapshot, dirty);
        self.offer(dirty);
    }

    /// [`Self::update`] without saying who may begin: of a change that is taken in piece by piece only its end tells.
    pub fn plan(&mut self, snapshot: &Snapshot, dirty: &mut Dirty) {
        self.is_unfinished = true;
        self.plan_with(snapshot, dirty, |_, _| ());
    }

    /// Adds who may begin after what was planned, and for whom others wait.
    pub fn offer(&mut self, dirty: &mut Dirty) {
        self.is_unfinished = false;
        for group in std::mem::take(&mut self.touched) {
            self.offer_in(&group, &mut dirty.starts);
            dirty.holders.extend(self.waves.get(&group).into_iter().flat_map(Wave::holders).cloned());
        }
    }

    /// [`Self::plan`], and hands on the plan of every workload.
    pub(super) fn plan_with(
        &mut self,
        snapshot: &Snapshot,
        dirty: &mut Dirty,
        mut planned: impl FnMut(&Workload, WorkloadPlan),
    ) {
        let workloads: BTreeSet<WorkloadId> = dirty.workloads.union(&dirty.reports).cloned().collect();
        for id in workloads {
            if let Some((workload, plan)) = self.workload(snapshot, &id, dirty) {
                planned(workload, plan);
            }
        }
        // Of a policy that is gone nothing is to be said.
        dirty.policies.retain(|id| snapshot.policy(id).is_some());
    }

    fn workload<'a>(
        &mut self,
        snapshot: &'a Snapshot,
        id: &WorkloadId,
        dirty: &mut Dirty,
    ) -> Option<(&'a Workload, WorkloadPlan)> {
        let mut before = self.known.remove(id).unwrap_or_default();
        let group_before = before.group.take();
        let namespace = snapshot.namespaces.get(&id.namespace);
        let found = namespace.and_then(|namespace| Some((namespace, namespace.workloads.get(id)?)));
        let Some((namespace, workload)) = found else {
            self.leave(id, &before.policies, dirty);
            self.leave_wave(id, group_before);
            self.frail.remove(id);
            self.absolved.remove(id);
            self.ours.remove(id);
            if before.service != 0 {
                dirty.collectors.extend(snapshot.collectors_of(&id.namespace));
            }
            return None;
        };
        self.planned += 1;
        let plan = plan_workload(snapshot, namespace, workload);
        if workload.rollout == Rollout::Complete || self.absolved.get(id) != Some(&workload.generation) {
            self.absolved.remove(id);
        }
        let (is_faulty, is_absolved) = (namespace.faults.contains_key(id), self.absolved.contains_key(id));
        let stand = Stand::of(workload, &plan, is_faulty, is_absolved);
        let group = (stand != Stand::Idle || plan.refused).then(|| Group::of(workload, &plan));
        if group_before != group {
            self.leave_wave(id, group_before);
        }
        if let Some(group) = &group {
            let wave = self.waves.entry(group.clone()).or_default();
            wave.place(id, stand, plan.refused, dirty.workloads.contains(id));
            self.touched.insert(group.clone());
        }
        if workload.rollout == Rollout::Complete {
            self.ours.remove(id);
        }
        let is_freed = id.kind == WorkloadKind::StatefulSet && (workload.is_held() || self.ours.contains(id));
        // An absolved one that is given up after all is looked at once more.
        let is_open = !is_absolved || workload.rollout == Rollout::Unhealthy { gave_up: true };
        if is_open && (plan.is_watched(workload) || stand.counts() && is_freed) {
            dirty.checks.insert(id.clone());
        }
        let attachment = attach::attached(snapshot, namespace, workload);
        let service = service(&attachment, workload, &plan);
        let mut beaten = Beaten::all(&attachment);
        if service != before.service {
            dirty.collectors.extend(snapshot.collectors_of(&id.namespace));
        }
        dirty
            .secrets
            .extend(plan.secret.iter().filter(|secret| !namespace.secrets.contains_key(&secret.name)).cloned());
        let about = plan.winner.iter().chain(&plan.superseded).chain(&plan.overrides);
        let about: BTreeSet<&PolicyId> = about.collect();
        let left: Vec<_> = before.policies.into_iter().filter(|policy| !about.contains(policy)).collect();
        self.leave(id, &left, dirty);
        for policy in about.iter().filter_map(|id| snapshot.policy(id)) {
            let tally = self.tallies.entry(policy.id.clone()).or_default();
            // What is said of stronger policies names their fields, which may be others now.
            let names_others = plan.winner.as_ref() != Some(&policy.id) || !plan.overrides.is_empty();
            if tally.put(namespace, (policy, workload, &plan), beaten.remove(&policy.id)) || names_others {
                dirty.policies.insert(policy.id.clone());
            }
        }
        let known = Known { policies: about.into_iter().cloned().collect(), service, group };
        if !known.policies.is_empty() || known.service != 0 || known.group.is_some() {
            self.known.insert(id.clone(), known);
        }
        Some((workload, plan))
    }

    fn leave(&mut self, id: &WorkloadId, policies: &[PolicyId], dirty: &mut Dirty) {
        for policy in policies {
            let Some(tally) = self.tallies.get_mut(policy) else { continue };
            if tally.drop(id) {
                dirty.policies.insert(policy.clone());
            }
            if tally.is_empty() {
                self.tallies.remove(policy);
            }
        }
    }

    fn leave_wave(&mut self, id: &WorkloadId, group: Option<Group>) {
        let Some(group) = group else { return };
        if let Some(wave) = self.waves.get_mut(&group) {
            wave.place(id, Stand::Idle, false, true);
        }
        self.touched.insert(group);
    }

    fn offer_in(&mut self, group: &Group, starts: &mut BTreeSet<WorkloadId>) {
        let Some(wave) = self.waves.get_mut(group) else { return };
        wave.offer(starts);
        if wave.is_empty() {
            self.waves.remove(group);
        }
    }

    /// Whether a workload may be written now: from then on it counts as under way, until [`Self::end`] is told.
    pub fn begin(&mut self, workload: &Workload) -> bool {
        let id = &workload.id;
        let Some(group) = self.known.get(id).and_then(|known| known.group.clone()) else { return false };
        let Some(wave) = self.waves.get_mut(&group) else { return false };
        if self.is_unfinished {
            // Others of its wave may not have their places yet.
            wave.put_back(id);
            self.touched.insert(group);
            return false;
        }
        let may_begin = wave.begin(id);
        if may_begin {
            if workload.is_held() {
                self.ours.insert(id.clone());
            }
            let was_absolved = self.absolved.remove(id).is_some();
            match workload.rollout {
                // The pods that start are the operator's own doing, and say nothing of those before.
                Rollout::UnderWay { .. } if workload.is_held() && !was_absolved => {}
                // With all of them in place: of two kinds nobody says that their rollout has come to its end.
                Rollout::Unhealthy { .. }
                | Rollout::UnderWay { serving: false, .. }
                | Rollout::UnderWay { updated: true, .. } => drop(self.frail.insert(id.clone())),
                _ if was_absolved => drop(self.frail.insert(id.clone())),
                _ => drop(self.frail.remove(id)),
            }
        }
        may_begin
    }

    /// Whether only a part of a change was taken in so far.
    pub const fn is_unfinished(&self) -> bool {
        self.is_unfinished
    }

    /// Whether a workload holds a place in a wave because its pods are being replaced.
    pub fn counts(&self, id: &WorkloadId) -> bool {
        let group = self.known.get(id).and_then(|known| known.group.as_ref());
        group.and_then(|group| self.waves.get(group)).is_some_and(|wave| wave.counts(id))
    }

    /// That the pods of a workload do not run, for reasons that are not the operator's: nobody waits for them any more, until it is
    /// written again or runs well.
    pub fn absolve(&mut self, snapshot: &Snapshot, id: &WorkloadId, generation: i64) -> Dirty {
        let mut dirty = Dirty::default();
        let namespace = snapshot.namespaces.get(&id.namespace);
        let Some(workload) = namespace.and_then(|namespace| namespace.workloads.get(id)) else { return dirty };
        if workload.generation == generation && self.absolved.insert(id.clone(), generation) != Some(generation) {
            dirty.reports.insert(id.clone());
            self.update(snapshot, &mut dirty);
        }
        dirty
    }

    /// Whether nothing more is injected of what a workload is to get.
    pub fn is_halted(&self, id: &WorkloadId) -> bool {
        let group = self.known.get(id).and_then(|known| known.group.as_ref());
        group.and_then(|group| self.waves.get(group)).is_some_and(Wave::is_halted)
    }

    /// Whether a workload did not run well when this process wrote it last.
    pub fn was_frail(&self, id: &WorkloadId) -> bool {
        self.frail.contains(id)
    }

    /// The operator's settings are about to be taken out of a workload, whoever waits.
    pub fn take_back(&mut self, id: &WorkloadId) {
        self.ours.insert(id.clone());
    }

    /// Whether the operator's settings were in a workload when this process wrote it last, and its rollout is not complete since.
    pub fn was_ours(&self, id: &WorkloadId) -> bool {
        self.ours.contains(id)
    }

    /// A write has ended, and what was learnt from it was taken in: whether it has to be tried again, and who may begin now.
    pub fn end(&mut self, id: &WorkloadId, was_cut_off: bool) -> (bool, BTreeSet<WorkloadId>) {
        let (mut again, mut starts) = (false, BTreeSet::new());
        // Its policy may be another one by now.
        let ended = self.waves.iter_mut().filter_map(|(group, wave)| {
            again |= wave.end(id, was_cut_off)?;
            Some(group.clone())
        });
        let groups: Vec<Group> = ended.collect();
        for group in &groups {
            self.offer_in(group, &mut starts);
        }
        (again, starts)
    }

    /// Forgets who was told that they may begin: nobody has, where this process might not write.
    pub fn recall(&mut self, starts: &mut BTreeSet<WorkloadId>) {
        let groups: Vec<Group> = self.waves.keys().cloned().collect();
        for group in groups {
            if let Some(wave) = self.waves.get_mut(&group) {
                wave.recall();
            }
            self.offer_in(&group, starts);
        }
    }

    /// How many workloads are replacing their pods, or being written.
    pub fn under_way(&self) -> usize {
        self.waves.values().map(Wave::in_progress).sum()
    }

    /// What there is to say about a policy.
    pub fn report(&self, snapshot: &Snapshot, policy: &Policy) -> Report {
        match self.tallies.get(&policy.id) {
            Some(tally) => status::report(snapshot, policy, tally),
            None => status::report(snapshot, policy, &Tally::default()),
        }
    }

    /// Whether any workload needs this headers Secret.
    pub fn needs(&self, secret: &SecretId) -> bool {
        self.tallies.values().any(|tally| tally.needs(secret))
    }

    /// How many times a workload was planned: what the cost of a change is measured by.
    pub const fn planned(&self) -> u64 {
        self.planned
    }
}

/// 0 where no policy is about the workload, or collectors do not know it by itself.
fn service(attachment: &Attachment<'_>, workload: &Workload, plan: &WorkloadPlan) -> u64 {
    // Jobs and pods come and go: collectors know those that policies name.
    if attachment.base.is_empty() || !workload.id.kind.is_writable() {
        return 0;
    }
    let kind = workload.id.kind.target();
    let mut hasher = DefaultHasher::new();
    plan.service_name.hash(&mut hasher);
    let mut add = |attached: &Attached<'_>| {
        (&attached.policy.id, attached.part as u8, attached.specificity as u8).hash(&mut hasher);
        let targets = attached.policy.targets().iter();
        targets.for_each(|target| target.matches(kind, &workload.id.name, &workload.labels).hash(&mut hasher));
    };
    attachment.base.iter().chain(&attachment.overrides).for_each(&mut add);
    hasher.finish().max(1)
}
