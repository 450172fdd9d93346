//! From what a collector should be and what there is to what has to be written. Pure: `now` is an argument.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    CollectorPlan, CollectorSettings, OwnedObject, POD_KEY, Revision, Tier, collector_name, configuration_name,
    contains, objects, revision,
    rollout::{
        Choice, DIGEST, LAST_GOOD, LAST_GOOD_DIGEST, Outcome, Pace, REFUSED, REFUSED_BECAUSE, RevisionRef, STARTED,
        Secrets, TierState, choose,
    },
    sampler_name,
};
use crate::index::{Collector, LiveObject, OwnedId, OwnedKind, SecretState, Snapshot};

/// The annotation with the hash of what was applied last: without it, fields that are no longer meant would go unnoticed.
pub const APPLIED: &str = "tracesteward.io/applied";
/// Configurations of a tier that are kept, so that one can go back to them by hand.
const KEPT: usize = 3;

/// A tier: what is desired, what there is, what it is to run.
#[derive(Clone, Debug, PartialEq)]
pub struct TierView {
    /// What is desired.
    pub desired: Revision,
    /// The workload that runs it; absent where somebody else does.
    pub workload: Option<OwnedId>,
    /// How that is.
    pub state: TierState,
    /// How the workload of the other kind is that ran the tier before, and serves until this one does.
    pub predecessor: Option<TierState>,
    /// What it is to run.
    pub choice: Choice,
    /// The data of that.
    pub run: Revision,
}

impl TierView {
    /// Whether its pods may have something to say about why they are not ready.
    pub fn is_in_trouble(&self) -> bool {
        self.state.template.is_some() && !self.state.is_ready
    }

    /// The hash that its pods are to run, as the workload has it; of somebody else's, what is written for them.
    pub fn live(&self) -> Option<&str> {
        if self.workload.is_none() {
            return Some(&self.run.hash);
        }
        let before = self.predecessor.as_ref().filter(|before| self.state.ready == 0 && before.ready > 0);
        before.unwrap_or(&self.state).template.as_deref()
    }

    /// Whether pods are ready, of whatever revision.
    pub fn is_serving(&self) -> bool {
        self.state.ready + self.predecessor.as_ref().map(|before| before.ready).unwrap_or_default() > 0
    }

    /// Whether its workload is about to get another revision than it has.
    fn is_switching(&self) -> bool {
        let has_another = self.state.template.as_ref().or_else(|| self.predecessor.as_ref()?.template.as_ref());
        self.choice.run == RevisionRef::Desired
            && self.state.template.as_ref() != Some(&self.desired.hash)
            && has_another.is_some()
    }

    /// What was taken back, or is now.
    pub fn refused(&self) -> Option<&str> {
        match self.choice.outcome {
            Outcome::TakenBack | Outcome::Refused => Some(&self.desired.hash),
            Outcome::Held => self.state.refused.as_deref(),
            Outcome::Live | Outcome::Waiting(_) => None,
        }
    }
}

/// An object that differs from what it should be.
#[derive(Clone, Debug, PartialEq)]
pub struct Application {
    /// What it should be.
    pub object: OwnedObject,
    /// What there is under that name, where it is known.
    pub live: Option<LiveObject>,
}

impl Application {
    /// Whether this is a workload of which nothing is known yet.
    pub fn is_new_workload(&self) -> bool {
        self.object.id.is_workload() && self.live.is_none()
    }
}

/// What has to be written for a collector.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Goal {
    /// To be applied, in this order.
    pub applies: Vec<Application>,
    /// To be deleted, after that.
    pub deletes: Vec<LiveObject>,
    /// When it has to be looked at again, if nothing happens before.
    pub again: Option<Timestamp>,
}

/// The tiers of a valid collector.
pub fn tiers(
    snapshot: &Snapshot,
    collector: &Collector,
    plan: &CollectorPlan,
    now: Timestamp,
    timeout: Duration,
) -> Vec<TierView> {
    let Some(spec) = collector.valid() else { return Vec::new() };
    let settings = CollectorSettings::new(spec);
    let desired: Vec<_> =
        plan.configurations.iter().map(|configuration| revision(collector, &settings, configuration)).collect();
    let all = objects(collector, &settings, &desired);
    let secrets = secrets(snapshot, collector);
    let each = desired.into_iter().map(|desired| tier(snapshot, collector, &all, desired, secrets, now, timeout));
    let mut tiers = each.collect::<Vec<_>>();
    samplers_first(snapshot, collector, &mut tiers, settings.replicas);
    tiers
}

/// Routers get a revision only once all samplers that it names are there.
fn samplers_first(snapshot: &Snapshot, collector: &Collector, tiers: &mut [TierView], replicas: i32) {
    let of = |tiers: &[TierView], tier: Tier| tiers.iter().position(|known| known.desired.tier == tier);
    let Some(samplers) = of(tiers, Tier::Sampler).and_then(|at| tiers.get(at)) else { return };
    let are_there = samplers.choice.outcome == Outcome::Live && samplers.state.replicas >= i64::from(replicas);
    let routers = of(tiers, Tier::Collector).and_then(|at| tiers.get_mut(at));
    let Some(routers) = routers.filter(|routers| !are_there && routers.is_switching()) else { return };
    let known = stored(snapshot, collector, Tier::Collector, &routers.state);
    let runs = known.filter(|known| routers.state.template.as_ref() == Some(&known.hash));
    let run = if runs.is_some() { RevisionRef::LastGood } else { RevisionRef::Stay };
    routers.choice = Choice { run, outcome: Outcome::Waiting(None) };
    routers.run = runs.unwrap_or_else(|| routers.desired.clone());
}

fn tier(
    snapshot: &Snapshot,
    collector: &Collector,
    all: &[OwnedObject],
    desired: Revision,
    secrets: Secrets,
    now: Timestamp,
    timeout: Duration,
) -> TierView {
    let name = tier_name(collector, desired.tier);
    let workload = all.iter().map(|object| &object.id).find(|id| id.is_workload() && id.name == name).cloned();
    let live = workload.as_ref().and_then(|id| snapshot.owned.get(id)).filter(|live| is_own(collector, live));
    let mut state = live.map(TierState::read).unwrap_or_default();
    if state.last_good.as_ref() == Some(&desired.hash) {
        state.last_good_digest = Some(desired.digest());
    }
    let last_good = stored(snapshot, collector, desired.tier, &state);
    state.can_go_back = last_good.is_some();
    let choice = match workload {
        Some(_) => choose(&desired, &state, secrets, now, timeout),
        None => Choice { run: RevisionRef::Desired, outcome: Outcome::Live },
    };
    let run = match (choice.run, last_good) {
        (RevisionRef::LastGood, Some(last_good)) => last_good,
        _ => desired.clone(),
    };
    let predecessor = workload.as_ref().and_then(|id| {
        let mut others = workloads(snapshot, collector).filter(|live| live.id.name == name && live.id.kind != id.kind);
        others.next().map(TierState::read)
    });
    TierView { desired, workload, state, predecessor, choice, run }
}

/// The last good revision, from its ConfigMap.
fn stored(snapshot: &Snapshot, collector: &Collector, tier: Tier, state: &TierState) -> Option<Revision> {
    let (hash, digest) = (state.last_good.as_ref()?, state.last_good_digest.as_ref()?);
    let name = configuration_name(&collector.id.name, tier, hash);
    let live = snapshot.owned.get(&OwnedId { collector: collector.id.clone(), kind: OwnedKind::ConfigMap, name })?;
    let data: BTreeMap<String, String> = serde_json::from_value(live.value.get("data")?.clone()).ok()?;
    let is_whole = is_own(collector, live) && !live.is_deleting() && data.contains_key(POD_KEY);
    // Content that somebody has changed is no revision.
    Revision::read(tier, digest, data).filter(|_| is_whole)
}

/// What is known of the Secrets that pods of a new revision need.
fn secrets(snapshot: &Snapshot, collector: &Collector) -> Secrets {
    let namespace = snapshot.namespaces.get(&collector.id.namespace);
    let states = collector.secrets().map(|key| namespace.and_then(|known| known.keys.get(&(key.name, key.key))));
    let worst = states.map(|state| match state {
        Some(SecretState::NotFound | SecretState::KeyMissing) => Secrets::Missing,
        None => Secrets::Unknown,
        Some(SecretState::Present | SecretState::Unverified | SecretState::Unsendable) => Secrets::Usable,
    });
    worst.max().unwrap_or(Secrets::Usable)
}

/// The name of a tier's workload; its ConfigMaps are called `<name>-<hash>`.
pub fn tier_name(collector: &Collector, tier: Tier) -> String {
    match tier {
        Tier::Collector => collector_name(&collector.id.name),
        Tier::Sampler => sampler_name(&collector.id.name),
    }
}

/// The workloads of a collector, needed or not.
fn workloads<'a>(snapshot: &'a Snapshot, collector: &'a Collector) -> impl Iterator<Item = &'a LiveObject> {
    let all = snapshot.owned_by(&collector.id).map(|(_, live)| live);
    all.filter(|live| live.id.is_workload() && is_own(collector, live))
}

/// Whether an object belongs to this incarnation of the collector.
pub fn is_own(collector: &Collector, live: &LiveObject) -> bool {
    live.owner.is_some() && live.owner == collector.uid
}

/// What has to be written. `said`: what the pods of a tier say that is taken back now.
pub fn goal(
    snapshot: &Snapshot,
    collector: &Collector,
    tiers: &[TierView],
    said: &BTreeMap<Tier, String>,
    now: Timestamp,
) -> Goal {
    let Some(spec) = collector.valid() else { return Goal::default() };
    let settings = CollectorSettings::new(spec);
    let run: Vec<_> = tiers.iter().map(|tier| tier.run.clone()).collect();
    let mut wanted = objects(collector, &settings, &run);
    // ConfigMaps before what mounts them.
    wanted.sort_by_key(|object| object.id.kind);
    let staying: BTreeSet<OwnedId> = tiers.iter().flat_map(|tier| staying(collector, tier)).collect();
    let ids: BTreeSet<&OwnedId> = wanted.iter().map(|object| &object.id).collect();
    let deletes = deletes(snapshot, collector, tiers, &ids);
    let applies = wanted
        .into_iter()
        .filter(|object| !staying.contains(&object.id))
        .map(|object| sized(object, tiers))
        .map(|object| annotated(object, tiers, said, now))
        .filter_map(|object| differing(snapshot, collector, object))
        .collect();
    let again = tiers.iter().filter_map(|tier| match tier.choice.outcome {
        Outcome::Waiting(until) => until,
        _ => None,
    });
    Goal { applies, deletes, again: again.min() }
}

/// What is left as it is where a tier can neither go on nor back.
fn staying(collector: &Collector, tier: &TierView) -> Vec<OwnedId> {
    if tier.choice.run != RevisionRef::Stay {
        return Vec::new();
    }
    let name = configuration_name(&collector.id.name, tier.desired.tier, &tier.run.hash);
    let configuration = OwnedId { collector: collector.id.clone(), kind: OwnedKind::ConfigMap, name };
    tier.workload.iter().cloned().chain([configuration]).collect()
}

/// Samplers that routers may still name stay.
fn sized(mut object: OwnedObject, tiers: &[TierView]) -> OwnedObject {
    let is_settled = |tier: &TierView| tier.desired.tier != Tier::Collector || tier.choice.outcome == Outcome::Live;
    let samplers = tiers.iter().find(|tier| tier.workload.as_ref() == Some(&object.id));
    let samplers = samplers.filter(|tier| tier.desired.tier == Tier::Sampler && !tiers.iter().all(is_settled));
    if let (Some(samplers), Some(replicas)) = (samplers, object.manifest.pointer_mut("/spec/replicas")) {
        *replicas = json!(replicas.as_i64().unwrap_or_default().max(samplers.state.replicas));
    }
    object
}

/// The object with what the operator remembers on it.
fn annotated(
    mut object: OwnedObject,
    tiers: &[TierView],
    said: &BTreeMap<Tier, String>,
    now: Timestamp,
) -> OwnedObject {
    let tier = tiers.iter().find(|tier| tier.workload.as_ref() == Some(&object.id));
    let mut notes: Vec<(&str, String)> = Vec::new();
    let mut started = None;
    if let Some(TierView { desired, state, choice, run, .. }) = tier {
        notes.push((DIGEST, run.digest()));
        notes.extend(state.last_good.iter().map(|hash| (LAST_GOOD, hash.clone())));
        notes.extend(state.last_good_digest.iter().map(|digest| (LAST_GOOD_DIGEST, digest.clone())));
        let (refused, because) = match choice.outcome {
            Outcome::TakenBack => (Some(&desired.hash), said.get(&desired.tier)),
            Outcome::Refused | Outcome::Held => (state.refused.as_ref(), state.because.as_ref()),
            Outcome::Live | Outcome::Waiting(_) => (None, None),
        };
        notes.extend(refused.map(|hash| (REFUSED, hash.clone())));
        notes.extend(because.map(|text| (REFUSED_BECAUSE, text.clone())));
        // The time runs from the write of the template, and not while somebody has paused it.
        let same = state.started.filter(|_| state.template.as_ref() == Some(&run.hash));
        started = (state.pace != Pace::Paused).then(|| same.unwrap_or(now));
    }
    if let Some(Value::Object(metadata)) = object.manifest.get_mut("metadata") {
        let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
        for (name, text) in notes {
            annotations[name] = json!(text);
        }
    }
    object.manifest = noted(object.manifest);
    // Not part of what is meant, or each try would be another one.
    if let Some(started) = started {
        object.manifest["metadata"]["annotations"][STARTED] = json!(started.to_string());
    }
    object
}

/// The manifest with its own hash: deterministic, as manifests are.
pub fn noted(mut manifest: Value) -> Value {
    let hash = digest(&manifest);
    if let Some(Value::Object(metadata)) = manifest.get_mut("metadata") {
        metadata.entry("annotations").or_insert_with(|| json!({}))[APPLIED] = json!(hash);
    }
    manifest
}

/// The first 64 bits of the SHA-256 of a value's JSON.
pub(in crate::plan) fn digest(value: &Value) -> String {
    let digest = Sha256::digest(value.to_string());
    let number = digest.iter().take(8).fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
    format!("{number:016x}")
}

/// The digest of a live object without its status, and without what others note on it.
pub fn answered(live: &Value, manifest: &Value) -> String {
    let noted = |field: &str| {
        let meant = manifest.pointer(field).and_then(Value::as_object);
        let keys = meant.into_iter().flat_map(|map| map.keys());
        let found: BTreeMap<_, _> =
            keys.filter_map(|key| Some((key.clone(), live.pointer(field)?.get(key)?.clone()))).collect();
        json!(found)
    };
    let fields = live.as_object().into_iter().flatten();
    let own: BTreeMap<_, _> = fields.filter(|(field, _)| !["metadata", "status"].contains(&field.as_str())).collect();
    digest(&json!([
        own,
        noted("/metadata/labels"),
        noted("/metadata/annotations"),
        live.pointer("/metadata/ownerReferences")
    ]))
}

/// Whether a live object is what was meant, as far as it was.
pub fn is_as_meant(live: &Value, manifest: &Value) -> bool {
    // Of the time of a rollout it is enough that there is one.
    let start = |object: &Value| annotation(object, STARTED).is_some();
    let mut manifest = Cow::Borrowed(manifest);
    if start(live) && start(&manifest) {
        manifest.to_mut()["metadata"]["annotations"][STARTED] = json!(annotation(live, STARTED));
    }
    applied(live) == applied(&manifest) && start(live) == start(&manifest) && contains(live, &manifest)
}

fn annotation<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object.pointer("/metadata/annotations")?.get(name)?.as_str()
}

/// The hash of what was applied.
pub fn applied(object: &Value) -> Option<&str> {
    annotation(object, APPLIED)
}

fn differing(snapshot: &Snapshot, collector: &Collector, object: OwnedObject) -> Option<Application> {
    let live = snapshot.owned.get(&object.id);
    if let Some(live) = live.filter(|live| is_own(collector, live)) {
        // What is going is applied anew once it is gone.
        let is_sent = snapshot.contested.get(&object.id).is_some_and(|contested| {
            Some(contested.sent.as_str()) == applied(&object.manifest)
                && contested.answered == answered(&live.value, &object.manifest)
        });
        let is_settled = live.is_deleting() || is_sent || is_as_meant(&live.value, &object.manifest);
        return (!is_settled).then(|| Application { object, live: Some(live.clone()) });
    }
    Some(Application { object, live: live.cloned() })
}

fn deletes(
    snapshot: &Snapshot,
    collector: &Collector,
    tiers: &[TierView],
    wanted: &BTreeSet<&OwnedId>,
) -> Vec<LiveObject> {
    // What served before serves until what follows it is ready.
    let is_settled = tiers.iter().all(|tier| tier.choice.outcome == Outcome::Live);
    let kept = kept(snapshot, collector, tiers);
    // The plain name of a tier is that of a ConfigMap for somebody else, who reads it until the tier's own pods are ready.
    let prefixes: Vec<_> = tiers.iter().map(|tier| format!("{}-", tier_name(collector, tier.desired.tier))).collect();
    let is_of = |name: &str| prefixes.iter().any(|prefix| name.starts_with(prefix));
    let is_kept = |live: &LiveObject| match live.id.kind {
        OwnedKind::ConfigMap if kept.contains(&live.id.name) => true,
        OwnedKind::ConfigMap if is_of(&live.id.name) => false,
        _ => !is_settled,
    };
    let own = snapshot.owned_by(&collector.id).filter(|(_, live)| is_own(collector, live) && !live.is_deleting());
    own.filter(|(id, live)| !wanted.contains(id) && !is_kept(live)).map(|(_, live)| live.clone()).collect()
}

/// The names of ConfigMaps that stay: the newest few of each tier, and what a tier runs, wants, or could go back to.
fn kept(snapshot: &Snapshot, collector: &Collector, tiers: &[TierView]) -> BTreeSet<String> {
    // Also what a workload mounts that goes once another one has followed it.
    let mut kept: BTreeSet<String> = workloads(snapshot, collector)
        .flat_map(|live| {
            let state = TierState::read(live);
            let noted = live.annotation(LAST_GOOD).map(str::to_owned);
            let hashes = [state.template, state.last_good, noted].into_iter().flatten();
            hashes.map(|hash| format!("{}-{hash}", live.id.name)).collect::<Vec<_>>()
        })
        .collect();
    for tier in tiers {
        let name_of = |hash: &String| configuration_name(&collector.id.name, tier.desired.tier, hash);
        let name = tier_name(collector, tier.desired.tier);
        kept.extend([&tier.desired.hash, &tier.run.hash].into_iter().map(name_of));
        if tier.workload.is_none() {
            continue;
        }
        let prefix = format!("{name}-");
        let of_tier = snapshot.owned_by(&collector.id).filter(|(id, live)| {
            id.kind == OwnedKind::ConfigMap && id.name.starts_with(&prefix) && is_own(collector, live)
        });
        let mut by_age: Vec<_> = of_tier.map(|(id, live)| (created(live), live.version, &id.name)).collect();
        by_age.sort_by(|one, other| other.cmp(one));
        kept.extend(by_age.into_iter().take(KEPT).map(|(_, _, name)| name.clone()));
    }
    kept
}

fn created(live: &LiveObject) -> &str {
    let value: &Arc<Value> = &live.value;
    value.pointer("/metadata/creationTimestamp").and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests;
