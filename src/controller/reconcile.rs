//! One key: plan it from the index, write the difference, hand back what was learnt.

use std::{sync::Arc, time::Duration};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use serde_json::Value;
use tracing::{Instrument, Span, field::Empty};

use super::{Context, Key, Outcome, admission, collector, rollout};
use crate::{
    api::{TracingPolicyStatus, condition},
    apply::{Announcement, ApplyError, apply_status, apply_workload},
    index::{Change, Policy, PolicyId, SecretId, SecretKeyId, SecretState, Workload, WorkloadId},
    plan::{plan_workload, status},
    watch::{SecretError, look_at, look_at_key},
};

/// How often a headers Secret that is not as it should be is looked at again.
const SECRET_RETRY: Duration = Duration::from_secs(30);
/// How often one that is fine is looked at again.
const SECRET_RECHECK: Duration = Duration::from_secs(300);

/// How long a reconcile may take: an API server that does not answer must not hold a key for ever.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How long a status waits for the rest of a change.
const UNFINISHED: Duration = Duration::from_millis(50);

/// What a reconcile leaves behind.
pub(super) struct Reconciled {
    /// What it asks for.
    pub(super) outcome: Outcome,
    /// What it learnt.
    pub(super) changes: Vec<Change>,
    /// A workload whose pods do not run, for reasons that are not the operator's, and the generation that was looked at.
    pub(super) absolved: Option<(WorkloadId, i64)>,
    /// What is to be said about it.
    pub(super) announcement: Option<Announcement>,
    /// The trace that all of it belongs to.
    pub(super) span: Span,
}

impl Reconciled {
    pub(super) fn new(outcome: Outcome, changes: impl IntoIterator<Item = Change>) -> Self {
        Self { outcome, changes: changes.into_iter().collect(), absolved: None, announcement: None, span: Span::none() }
    }
}

/// Reconciles one key, as a trace of its own.
pub(super) async fn reconcile(context: Arc<Context>, key: Key) -> Reconciled {
    let controller = key.controller();
    let span = tracing::info_span!(
        parent: None,
        "reconcile",
        otel.name = format!("reconcile {controller}"),
        otel.status_code = Empty,
        controller,
        tracesteward.key = ?key,
    );
    let reconciled = measured(context, key).instrument(span.clone()).await;
    Reconciled { span, ..reconciled }
}

async fn measured(context: Arc<Context>, key: Key) -> Reconciled {
    let measured = context.metrics.reconcile(key.controller());
    let done = tokio::time::timeout(TIMEOUT, one(&context, key.clone())).await;
    let reconciled = done.unwrap_or_else(|_| {
        context.metrics.timed_out(key.controller());
        tracing::warn!(?key, "the API server did not answer in time; trying again");
        Reconciled::new(Outcome::Failed, None)
    });
    if reconciled.outcome == Outcome::Failed {
        Span::current().record("otel.status_code", "ERROR");
    }
    measured.ended(reconciled.outcome.into());
    reconciled
}

async fn one(context: &Context, key: Key) -> Reconciled {
    match key {
        Key::Workload(id) => workload(context, &id).await,
        Key::Rollout(id) => rollout::look(context, &id).await,
        Key::Policy(id) => policy(context, &id).await,
        Key::Secret(id) => secret(context, &id).await,
        Key::Collector(id) => collector::objects(context, &id).await,
        Key::CollectorStatus(id) => collector::status(context, &id).await,
        Key::SecretKey(id) => secret_key(context, &id).await,
        Key::Identity => collector::identity(context).await,
        Key::Admission => admission::reconcile(context).await,
    }
}

struct WorkloadWrite {
    workload: Arc<Workload>,
    patch: Value,
    withdraws: bool,
    restarts: bool,
    is_in_two_steps: bool,
    policy: Option<PolicyId>,
}

async fn workload(context: &Context, id: &WorkloadId) -> Reconciled {
    let Some(write) = plan_write(context, id) else { return Reconciled::new(Outcome::Done, None) };
    let by = write.policy.as_ref().map_or_else(|| "no policy".to_owned(), PolicyId::described);
    match apply_workload(&context.writer, &write.workload, &write.patch).await {
        Ok(change) => {
            context.metrics.written();
            let changes = complete(context, &write, change).await;
            tracing::info!(workload = %id, policy = by, withdraws = write.withdraws, "written");
            let (reason, what) = match (write.restarts, write.withdraws) {
                (true, _) => ("TracingInjected", "Pods are replaced, so that new ones get the variables of tracing"),
                (false, true) => ("TracingWithdrawn", "The variables of tracing were taken out"),
                (false, false) => ("TracingInjected", "The variables of tracing were set"),
            };
            let note = format!("{what} ({by}).");
            let announcement = Some(Announcement::on_workload(&write.workload, reason, note));
            Reconciled { announcement, ..Reconciled::new(Outcome::Done, changes) }
        }
        Err(ApplyError::Gone | ApplyError::NotLeading) => Reconciled::new(Outcome::Done, None),
        Err(error) => {
            context.metrics.not_written(error.reason());
            tracing::warn!(workload = %id, policy = by, reason = error.reason(), %error, "not written");
            Reconciled::new(Outcome::Failed, Some(Change::Failed(id.clone(), error.fault())))
        }
    }
}

/// What `kubectl rollout undo` has changed is let go of by the first write, and set by a second one at once: no pod is to start with a
/// part of it.
async fn complete(context: &Context, write: &WorkloadWrite, change: Change) -> Vec<Change> {
    let Change::Written(workload, _) = &change else { return vec![change] };
    if !write.is_in_two_steps {
        return vec![change];
    }
    let patch = {
        let index = context.index();
        let snapshot = index.snapshot();
        let namespace = snapshot.namespaces.get(&workload.id.namespace);
        let planned = namespace.map(|namespace| plan_workload(snapshot, namespace, workload));
        planned.filter(|planned| planned.needs_write).map(|planned| planned.intended(workload))
    };
    let Some(patch) = patch else { return vec![change] };
    match apply_workload(&context.writer, workload, &patch).await {
        Ok(second) => vec![change, second],
        Err(error) => {
            tracing::warn!(workload = %workload.id, reason = error.reason(), %error, "not written as a whole; trying again");
            let fault = Change::Failed(workload.id.clone(), error.fault());
            vec![change, fault]
        }
    }
}

fn plan_write(context: &Context, id: &WorkloadId) -> Option<WorkloadWrite> {
    let index = context.index();
    let snapshot = index.snapshot();
    let namespace = snapshot.namespaces.get(&id.namespace)?;
    let workload = namespace.workloads.get(id)?;
    let planned = plan_workload(snapshot, namespace, workload);
    // Others of its policy may be replacing their pods: it is told when it may begin.
    if !planned.needs_write || !context.planner().begin(workload) {
        return None;
    }
    Some(WorkloadWrite {
        workload: Arc::clone(workload),
        patch: planned.intended(workload),
        withdraws: planned.withdraws(),
        restarts: planned.restart.is_some(),
        is_in_two_steps: workload.is_rolled_back(),
        policy: planned.winner,
    })
}

async fn policy(context: &Context, id: &PolicyId) -> Reconciled {
    let (policy, status) = match plan_status(context, id) {
        PlannedStatus::Unfinished => return Reconciled::new(Outcome::Again(UNFINISHED), None),
        PlannedStatus::Said => return Reconciled::new(Outcome::Done, None),
        PlannedStatus::New(planned) => *planned,
    };
    match apply_status(&context.writer, &policy, &status).await {
        Ok(change) => {
            let announcement = announcement(&policy, &status);
            Reconciled { announcement, ..Reconciled::new(Outcome::Done, Some(change)) }
        }
        Err(ApplyError::Gone | ApplyError::NotLeading) => Reconciled::new(Outcome::Done, None),
        Err(error) => {
            tracing::warn!(policy = %id, reason = error.reason(), %error, "status not written");
            Reconciled::new(Outcome::Failed, None)
        }
    }
}

enum PlannedStatus {
    /// A part of what is to be said would be taken for the whole.
    Unfinished,
    /// It is there already, or nobody wants it.
    Said,
    New(Box<(Policy, TracingPolicyStatus)>),
}

/// The policy with its new status, if that differs from the one that it has.
fn plan_status(context: &Context, id: &PolicyId) -> PlannedStatus {
    let index = context.index();
    let (snapshot, planner) = (index.snapshot(), context.planner());
    if planner.is_unfinished() {
        return PlannedStatus::Unfinished;
    }
    let Some(policy) = snapshot.policy(id) else { return PlannedStatus::Said };
    let report = planner.report(snapshot, policy);
    let status = status::finish(report.status, policy.status.as_ref(), &Time(Timestamp::now()));
    let is_said = policy.status.as_ref().is_some_and(|said| status::is_same(said, &status));
    if is_said { PlannedStatus::Said } else { PlannedStatus::New(Box::new((policy.clone(), status))) }
}

/// An Event where Ready flipped or its reason changed.
fn announcement(policy: &Policy, status: &TracingPolicyStatus) -> Option<Announcement> {
    let ready =
        |status: &TracingPolicyStatus| status.conditions.iter().find(|known| known.type_ == condition::READY).cloned();
    let now = ready(status)?;
    let before = policy.status.as_ref().and_then(ready);
    if before.is_some_and(|before| (&before.status, &before.reason) == (&now.status, &now.reason)) {
        return None;
    }
    tracing::info!(policy = %policy.id, ready = now.status, reason = now.reason, because = now.message, "status");
    (now.status != "Unknown").then(|| Announcement::on_policy(policy, now.status == "True", &now.reason, &now.message))
}

async fn secret(context: &Context, id: &SecretId) -> Reconciled {
    let is_used = {
        let index = context.index();
        let snapshot = index.snapshot();
        let namespace = snapshot.namespaces.get(&id.namespace);
        let mut policies = namespace.into_iter().flat_map(|namespace| namespace.policies.values());
        policies.any(|policy| policy.secret().as_ref() == Some(id)) || context.planner().needs(id)
    };
    if !is_used {
        return Reconciled::new(Outcome::Done, Some(Change::SecretUnused(id.clone())));
    }
    if !context.verify_secrets {
        return Reconciled::new(Outcome::Done, Some(Change::Secret(id.clone(), SecretState::Unverified)));
    }
    let looked = look_at(&context.client, id).await;
    seen(looked, |state| Change::Secret(id.clone(), state))
}

async fn secret_key(context: &Context, id: &SecretKeyId) -> Reconciled {
    let is_used = {
        let index = context.index();
        index.snapshot().collectors.values().any(|collector| collector.secrets().any(|key| key == *id))
    };
    if !is_used {
        return Reconciled::new(Outcome::Done, None);
    }
    if !context.verify_secrets {
        return Reconciled::new(Outcome::Done, Some(Change::SecretKey(id.clone(), SecretState::Unverified)));
    }
    let looked = look_at_key(&context.client, id).await;
    seen(looked, |state| Change::SecretKey(id.clone(), state))
}

fn seen(looked: Result<SecretState, SecretError>, change: impl FnOnce(SecretState) -> Change) -> Reconciled {
    match looked {
        Ok(state) => {
            let pause = if state == SecretState::Present { SECRET_RECHECK } else { SECRET_RETRY };
            Reconciled::new(Outcome::Again(pause), Some(change(state)))
        }
        Err(error) => {
            tracing::warn!(%error, "a Secret could not be looked at");
            Reconciled::new(Outcome::Failed, None)
        }
    }
}

#[cfg(test)]
mod tests;
