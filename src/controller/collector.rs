//! A collector: its objects, its status, and the binding that some collectors share.

use std::collections::BTreeMap;

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::{SignedDuration, Timestamp},
};
use serde_json::Value;

use super::{Context, Outcome, reconcile::Reconciled};
use crate::{
    api::{TracingCollectorStatus, condition},
    apply::{Announcement, ApplyError, apply_binding, apply_collector_status, apply_owned, delete_owned},
    index::{Change, Collector, CollectorId, Snapshot},
    plan::collector::{
        IDENTITY_ROLE, Tier, compile,
        converge::{self, Goal, TierView, noted},
        identity_binding, rollout, status as plan_status, trouble,
    },
    watch::pods,
};

/// Writes what differs, in order; deletes what is no longer wanted.
pub(super) async fn objects(context: &Context, id: &CollectorId) -> Reconciled {
    let now = Timestamp::now();
    let Some((collector, tiers)) = plan(context, id, now) else { return Reconciled::new(Outcome::Done, None) };
    let said = said(context, &collector, &tiers).await;
    // Pods were asked, which took a while: what is decided is decided on what is known now.
    let again =
        if tiers.iter().any(TierView::is_in_trouble) { plan(context, id, now) } else { Some((collector, tiers)) };
    let Some((collector, tiers)) = again else { return Reconciled::new(Outcome::Done, None) };
    let trouble = said.values().next().cloned();
    let goal = {
        let index = context.index();
        converge::goal(index.snapshot(), &collector, &tiers, &said, now)
    };
    let mut changes = vec![Change::Trouble(id.clone(), trouble)];
    let written = write(context, &collector, &goal, &mut changes).await;
    for tier in &tiers {
        if tier.choice.outcome == rollout::Outcome::TakenBack && written.is_ok() {
            let because = said.get(&tier.desired.tier);
            tracing::warn!(collector = %id, configuration = tier.desired.hash, because, "configuration taken back");
        }
    }
    let (outcome, fault) = match written {
        Ok(()) => (goal.again.map_or(Outcome::Done, |until| Outcome::Again(pause(now, until))), None),
        Err(ApplyError::Gone) => (Outcome::Failed, None),
        Err(error) => {
            tracing::warn!(collector = %id, reason = error.reason(), %error, "objects not written");
            (Outcome::Failed, Some(error.fault()))
        }
    };
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
fn pause(now: Timestamp, until: Timestamp) -> std::time::Duration {
    let left = until.duration_since(now).max(SignedDuration::ZERO);
    std::time::Duration::try_from(left).unwrap_or_default() + std::time::Duration::from_millis(10)
}

/// What the pods say of tiers that are not ready.
async fn said(context: &Context, collector: &Collector, tiers: &[TierView]) -> BTreeMap<Tier, String> {
    let mut said = BTreeMap::new();
    for tier in tiers.iter().filter(|tier| tier.is_in_trouble()) {
        let Some(workload) = workload(context, tier) else { continue };
        let labels = workload.pointer("/spec/selector/matchLabels").cloned().unwrap_or_default();
        let labels: BTreeMap<String, String> = serde_json::from_value(labels).unwrap_or_default();
        let Some(hash) = tier.state.template.as_deref().filter(|_| !labels.is_empty()) else { continue };
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

async fn write(
    context: &Context,
    collector: &Collector,
    goal: &Goal,
    changes: &mut Vec<Change>,
) -> Result<(), ApplyError> {
    for application in &goal.applies {
        let id = &application.object.id;
        let learnt = apply_owned(&context.client, collector, application).await?;
        if !learnt.is_empty() {
            tracing::info!(collector = %collector.id, kind = id.kind.as_str(), name = id.name, "written");
        }
        changes.extend(learnt);
    }
    for live in &goal.deletes {
        changes.push(delete_owned(&context.client, live).await?);
        tracing::info!(collector = %collector.id, kind = live.id.kind.as_str(), name = live.id.name, "deleted");
    }
    Ok(())
}

/// Writes the status where it differs.
pub(super) async fn status(context: &Context, id: &CollectorId) -> Reconciled {
    let Some((collector, status)) = status_of(context, id) else { return Reconciled::new(Outcome::Done, None) };
    match apply_collector_status(&context.client, &collector, &status).await {
        Ok(change) => {
            let announcement = announcement(&collector, &status);
            Reconciled { announcement, ..Reconciled::new(Outcome::Done, Some(change)) }
        }
        Err(ApplyError::Gone) => Reconciled::new(Outcome::Done, None),
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
    tracing::info!(collector = %collector.id, ready = now.status, reason = now.reason, message = now.message, "status");
    let is_normal = now.status == "True";
    (now.status != "Unknown").then(|| Announcement::on_collector(collector, is_normal, &now.reason, &now.message))
}

/// The binding of all collectors that look up their senders.
pub(super) async fn identity(context: &Context) -> Reconciled {
    let wanted = {
        let index = context.index();
        identity_binding(index.snapshot().collectors.values().filter(|collector| !collector.deleting)).map(noted)
    };
    match apply_binding(&context.client, IDENTITY_ROLE, wanted.as_ref()).await {
        Ok(was_written) => {
            if was_written {
                tracing::info!(is_wanted = wanted.is_some(), "the binding of collectors was written");
            }
            Reconciled::new(Outcome::Done, Some(Change::IdentityFault(None)))
        }
        // Who has no right to the binding, and no collector that needs it, is told so by nobody.
        Err(_) if wanted.is_none() => Reconciled::new(Outcome::Done, Some(Change::IdentityFault(None))),
        Err(error) => {
            tracing::warn!(reason = error.reason(), %error, "the binding of collectors could not be written");
            Reconciled::new(Outcome::Failed, Some(Change::IdentityFault(Some(error.fault()))))
        }
    }
}
