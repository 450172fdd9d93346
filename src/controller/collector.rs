//! A collector: its objects, its status, and the binding that some collectors share.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::{SignedDuration, Timestamp},
};
use serde_json::Value;

use super::{Context, Outcome, reconcile::Reconciled};
use crate::{
    api::{TracingCollectorStatus, condition},
    apply::{Announcement, ApplyError, apply_binding, apply_collector_status, apply_owned, delete_owned},
    index::{Change, Collector, CollectorId, OwnedId, OwnedKind, Snapshot},
    plan::collector::{
        CONFIGURATION_HASH, IDENTITY_ROLE, OwnedObject, Tier, compile,
        converge::{self, Application, Goal, TierView, noted},
        has_account, identity_binding, rollout, status as plan_status, trouble,
    },
    watch::pods,
};

/// How often the binding of collectors is looked at while it is needed.
const BINDING_RECHECK: Duration = Duration::from_secs(300);
/// How often pods are asked while a rollout waits for them: what they say changes without an event of the workload.
const LOOK: Duration = Duration::from_secs(10);
/// When an object that is about to go is looked at again.
const GOING: Duration = Duration::from_secs(5);

/// Writes what differs, in order; deletes what is no longer wanted.
pub(super) async fn objects(context: &Context, id: &CollectorId) -> Reconciled {
    let now = Timestamp::now();
    let Some((collector, tiers)) = plan(context, id, now) else { return Reconciled::new(Outcome::Done, None) };
    let mut said = said(context, &collector, &tiers).await;
    // Pods were asked, which took a while: what is decided is decided on what is known now.
    let again =
        if tiers.iter().any(TierView::is_in_trouble) { plan(context, id, now) } else { Some((collector, tiers)) };
    let Some((collector, tiers)) = again else { return Reconciled::new(Outcome::Done, None) };
    let goal = {
        let index = context.index();
        // What is taken back now was heard of before, if nothing is said at just this moment.
        if let Some(known) = index.snapshot().troubles.get(id) {
            for tier in tiers.iter().filter(|tier| tier.choice.outcome == rollout::Outcome::TakenBack) {
                said.entry(tier.desired.tier).or_insert_with(|| known.clone());
            }
        }
        converge::goal(index.snapshot(), &collector, &tiers, &said, now)
    };
    let trouble = said.values().next().cloned();
    let Written { mut changes, error, is_going, is_cut_off } = write(context, &collector, &goal).await;
    if is_cut_off {
        return Reconciled::new(Outcome::Done, changes);
    }
    for tier in &tiers {
        if tier.choice.outcome == rollout::Outcome::TakenBack && error.is_none() {
            let because = said.get(&tier.desired.tier);
            tracing::warn!(collector = %id, configuration = tier.desired.hash, because, "configuration taken back");
        }
    }
    let going = is_going.then_some(GOING);
    let due = goal.again.map(|until| pause(now, until));
    let waits = |tier: &TierView| matches!(tier.choice.outcome, rollout::Outcome::Waiting(_)) && tier.is_in_trouble();
    let look = tiers.iter().any(waits).then_some(LOOK);
    let (outcome, fault) = match error {
        None => (going.into_iter().chain(due).chain(look).min().map_or(Outcome::Done, Outcome::Again), None),
        Some(ApplyError::Gone) => (Outcome::Failed, None),
        Some(error) => {
            tracing::warn!(collector = %id, reason = error.reason(), %error, "objects not written");
            (Outcome::Failed, Some(error.fault()))
        }
    };
    changes.push(Change::Trouble(id.clone(), trouble));
    changes.push(Change::CollectorFault(id.clone(), fault));
    Reconciled::new(outcome, changes)
}

/// The tiers of a collector that is there to be run.
fn plan(context: &Context, id: &CollectorId, now: Timestamp) -> Option<(Collector, Vec<TierView>)> {
    let index = context.index();
    let snapshot = index.snapshot();
    let collector = snapshot.collectors.get(id)?;
    // Where nothing valid is desired, everything stays as it is; what is being deleted, the garbage collector removes.
    if collector.deleting || collector.uid.is_none() || collector.valid().is_none() {
        return None;
    }
    let tiers = tiers(context, snapshot, collector, now);
    (!tiers.is_empty()).then(|| (collector.clone(), tiers))
}

fn tiers(context: &Context, snapshot: &Snapshot, collector: &Collector, now: Timestamp) -> Vec<TierView> {
    let plan = compile(snapshot, collector);
    converge::tiers(snapshot, collector, &plan, now, context.ready_timeout)
}

/// A little later than due, so that it is due then.
fn pause(now: Timestamp, until: Timestamp) -> Duration {
    let left = until.duration_since(now).max(SignedDuration::ZERO);
    Duration::try_from(left).unwrap_or_default() + Duration::from_millis(10)
}

/// What the pods say of tiers that are not ready.
async fn said(context: &Context, collector: &Collector, tiers: &[TierView]) -> BTreeMap<Tier, String> {
    let mut said = BTreeMap::new();
    for tier in tiers.iter().filter(|tier| tier.is_in_trouble()) {
        let Some(workload) = workload(context, tier) else { continue };
        let labels = workload.pointer("/spec/selector/matchLabels").cloned().unwrap_or_default();
        let mut labels: BTreeMap<String, String> = serde_json::from_value(labels).unwrap_or_default();
        let Some(hash) = tier.state.template.as_deref().filter(|_| !labels.is_empty()) else { continue };
        // Of many pods those that may be in trouble: old ones that serve until then would fill the page.
        labels.insert(CONFIGURATION_HASH.to_owned(), hash.to_owned());
        match pods(&context.client, &collector.id.namespace, &labels).await {
            Ok(pods) => {
                let name = converge::tier_name(collector, tier.desired.tier);
                said.extend(trouble::trouble(&pods, &workload, &name, hash).map(|text| (tier.desired.tier, text)));
            }
            Err(error) => tracing::debug!(collector = %collector.id, %error, "pods could not be listed"),
        }
    }
    said
}

fn workload(context: &Context, tier: &TierView) -> Option<Value> {
    let index = context.index();
    let live = index.snapshot().owned.get(tier.workload.as_ref()?)?;
    Some(live.value.as_ref().clone())
}

/// What came of writing the objects of a collector.
#[derive(Default)]
struct Written {
    changes: Vec<Change>,
    /// The first failure; it holds up only what depends on it.
    error: Option<ApplyError>,
    /// Whether something is about to go of which nothing will be heard.
    is_going: bool,
    /// Whether this process may not write any more: another one does the rest.
    is_cut_off: bool,
}

impl Written {
    fn failed(&mut self, collector: &Collector, id: &OwnedId, error: ApplyError) {
        let (kind, name) = (id.kind.as_str(), id.name.as_str());
        tracing::debug!(collector = %collector.id, kind, name, %error, "not written");
        self.is_cut_off |= matches!(error, ApplyError::NotLeading);
        self.error.get_or_insert(error);
    }
}

async fn write(context: &Context, collector: &Collector, goal: &Goal) -> Written {
    let mut written = Written::default();
    let mut missing: Vec<&OwnedId> = Vec::new();
    for application in &goal.applies {
        let id = &application.object.id;
        if missing.iter().any(|missing| needs(&application.object, missing)) {
            continue;
        }
        if !context.leads() {
            return Written { is_cut_off: true, ..written };
        }
        match apply_owned(&context.writer, collector, application).await {
            Ok(applied) => {
                if applied.was_written {
                    tracing::info!(collector = %collector.id, kind = id.kind.as_str(), name = id.name, "written");
                }
                written.is_going |= applied.is_going;
                missing.extend(applied.is_going.then_some(id));
                written.changes.extend(applied.changes);
            }
            Err(error) => {
                missing.push(id);
                written.failed(collector, id, error);
            }
        }
    }
    // Where something is missing, what serves stays; old configurations go in any case. What a workload may need that was
    // not known is not known either.
    let is_whole = missing.is_empty();
    let is_turning = goal.deletes.iter().any(|live| live.id.is_workload());
    let is_blind = goal.applies.iter().any(Application::is_new_workload);
    for live in &goal.deletes {
        if is_blind || !is_whole && (is_turning || live.id.kind != OwnedKind::ConfigMap) {
            continue;
        }
        if !context.leads() {
            return Written { is_cut_off: true, ..written };
        }
        match delete_owned(&context.writer, live).await {
            Ok(change) => {
                tracing::info!(collector = %collector.id, kind = live.id.kind.as_str(), name = live.id.name, "deleted");
                written.changes.push(change);
            }
            Err(error) => written.failed(collector, &live.id, error),
        }
    }
    written
}

/// Whether an object is a workload whose pods could not start, or not as meant, without the other one.
fn needs(object: &OwnedObject, other: &OwnedId) -> bool {
    let mounted = || {
        let template = object.manifest.pointer("/spec/template")?;
        Some(format!("{}-{}", object.id.name, trouble::configuration_of(template, &object.id.name)?))
    };
    object.id.is_workload()
        && match other.kind {
            OwnedKind::ServiceAccount => true,
            OwnedKind::ConfigMap => mounted().as_deref() == Some(other.name.as_str()),
            _ => false,
        }
}

/// Writes the status where it differs.
pub(super) async fn status(context: &Context, id: &CollectorId) -> Reconciled {
    let Some((collector, status)) = status_of(context, id) else { return Reconciled::new(Outcome::Done, None) };
    match apply_collector_status(&context.writer, &collector, &status).await {
        Ok(change) => {
            let announcement = announcement(&collector, &status);
            Reconciled { announcement, ..Reconciled::new(Outcome::Done, Some(change)) }
        }
        Err(ApplyError::Gone | ApplyError::NotLeading) => Reconciled::new(Outcome::Done, None),
        Err(error) => {
            tracing::warn!(collector = %id, reason = error.reason(), %error, "status not written");
            Reconciled::new(Outcome::Failed, None)
        }
    }
}

/// The collector with its new status, if that differs from the one that it has.
fn status_of(context: &Context, id: &CollectorId) -> Option<(Collector, TracingCollectorStatus)> {
    let index = context.index();
    let snapshot = index.snapshot();
    let collector = snapshot.collectors.get(id)?;
    let plan = compile(snapshot, collector);
    let tiers = converge::tiers(snapshot, collector, &plan, Timestamp::UNIX_EPOCH, context.ready_timeout);
    let status = plan_status::status(snapshot, collector, &plan, &tiers);
    let status = plan_status::finish(status, collector.status.as_ref(), &Time(Timestamp::now()));
    let is_said = collector.status.as_ref().is_some_and(|said| plan_status::is_same(said, &status));
    (!is_said).then(|| (collector.clone(), status))
}

/// An Event where Ready flipped or its reason changed.
fn announcement(collector: &Collector, status: &TracingCollectorStatus) -> Option<Announcement> {
    let ready = |status: &TracingCollectorStatus| {
        status.conditions.iter().find(|known| known.type_ == condition::READY).cloned()
    };
    let now = ready(status)?;
    let before = collector.status.as_ref().and_then(ready);
    if before.is_some_and(|before| (&before.status, &before.reason) == (&now.status, &now.reason)) {
        return None;
    }
    tracing::info!(collector = %collector.id, ready = now.status, reason = now.reason, because = now.message, "status");
    let is_normal = now.status == "True";
    (now.status != "Unknown").then(|| Announcement::on_collector(collector, is_normal, &now.reason, &now.message))
}

/// The binding of all collectors that look up their senders.
pub(super) async fn identity(context: &Context) -> Reconciled {
    let wanted = {
        let index = context.index();
        let snapshot = index.snapshot();
        // An account of this name that is somebody else's gets no right.
        identity_binding(snapshot.collectors.values().filter(|collector| has_account(snapshot, collector))).map(noted)
    };
    if !context.leads() {
        return Reconciled::new(Outcome::Done, None);
    }
    match apply_binding(&context.writer, IDENTITY_ROLE, wanted.as_ref()).await {
        Ok(was_written) => {
            if was_written {
                tracing::info!(is_wanted = wanted.is_some(), "the binding of collectors was written");
            }
            // It is not watched.
            let outcome = if wanted.is_some() { Outcome::Again(BINDING_RECHECK) } else { Outcome::Done };
            Reconciled::new(outcome, Some(Change::IdentityFault(None)))
        }
        // Who has no right to the binding, and no collector that needs it, is told so by nobody.
        Err(ApplyError::NotLeading) => Reconciled::new(Outcome::Done, None),
        Err(ApplyError::Forbidden(_) | ApplyError::Gone) if wanted.is_none() => {
            Reconciled::new(Outcome::Done, Some(Change::IdentityFault(None)))
        }
        Err(error) => {
            tracing::warn!(reason = error.reason(), %error, "the binding of collectors could not be written");
            let fault = wanted.map(|_| error.fault());
            Reconciled::new(Outcome::Failed, Some(Change::IdentityFault(fault)))
        }
    }
}
