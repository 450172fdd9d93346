//! One key: plan it from the index, write the difference, hand back what was learnt.

use std::{sync::Arc, time::Duration};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use serde_json::Value;

use super::{Context, Key, Outcome};
use crate::{
    api::{TracingPolicyStatus, condition},
    apply::{ApplyError, apply_status, apply_workload},
    index::{Change, Policy, PolicyId, SecretId, SecretState, Workload, WorkloadId},
    plan::{self, apply_patch, plan_workload, status},
    watch::look_at,
};

/// How often a headers Secret that is not as it should be is looked at again.
const SECRET_RETRY: Duration = Duration::from_secs(30);
/// How often one that is fine is looked at again.
const SECRET_RECHECK: Duration = Duration::from_secs(300);

/// Reconciles one key.
pub(super) async fn reconcile(context: Arc<Context>, key: Key) -> (Outcome, Vec<Change>) {
    match key {
        Key::Workload(id) => workload(&context, &id).await,
        Key::Policy(id) => policy(&context, &id).await,
        Key::Secret(id) => secret(&context, &id).await,
    }
}

struct WorkloadWrite {
    workload: Arc<Workload>,
    patch: Value,
    withdraws: bool,
    policy: Option<PolicyId>,
}

async fn workload(context: &Context, id: &WorkloadId) -> (Outcome, Vec<Change>) {
    let Some(write) = plan_write(context, id) else { return (Outcome::Done, Vec::new()) };
    let by = write.policy.as_ref().map_or_else(|| "no policy".to_owned(), |policy| format!("policy {}", policy.name));
    match apply_workload(&context.client, &write.workload, &write.patch).await {
        Ok(change) => {
            tracing::info!(workload = %id, policy = by, withdraws = write.withdraws, "written");
            let (reason, note) = if write.withdraws {
                ("TracingWithdrawn", format!("The variables of tracing were taken out ({by})."))
            } else {
                ("TracingInjected", format!("The variables of tracing were set ({by})."))
            };
            context.events.on_workload(&write.workload, true, reason, &note).await;
            (Outcome::Done, vec![change])
        }
        Err(ApplyError::Gone) => (Outcome::Done, Vec::new()),
        Err(error) => {
            tracing::warn!(workload = %id, policy = by, reason = error.reason(), %error, "not written");
            (Outcome::Failed, vec![Change::Failed(id.clone(), error.fault())])
        }
    }
}

fn plan_write(context: &Context, id: &WorkloadId) -> Option<WorkloadWrite> {
    let index = context.index();
    let snapshot = index.snapshot();
    let namespace = snapshot.namespaces.get(&id.namespace)?;
    let workload = namespace.workloads.get(id)?;
    let planned = plan_workload(snapshot, namespace, workload);
    planned.needs_write.then(|| WorkloadWrite {
        workload: Arc::clone(workload),
        patch: apply_patch(workload, planned.intent()),
        withdraws: planned.intent().iter().all(|container| container.variables.is_empty()),
        policy: planned.winner,
    })
}

async fn policy(context: &Context, id: &PolicyId) -> (Outcome, Vec<Change>) {
    let Some((policy, status)) = plan_status(context, id) else { return (Outcome::Done, Vec::new()) };
    match apply_status(&context.client, &policy, &status).await {
        Ok(change) => {
            announce(context, &policy, &status).await;
            (Outcome::Done, vec![change])
        }
        Err(ApplyError::Gone) => (Outcome::Done, Vec::new()),
        Err(error) => {
            tracing::warn!(policy = %id, reason = error.reason(), %error, "status not written");
            (Outcome::Failed, Vec::new())
        }
    }
}

/// The policy with its new status, if that differs from the one that it has.
fn plan_status(context: &Context, id: &PolicyId) -> Option<(Policy, TracingPolicyStatus)> {
    let index = context.index();
    let snapshot = index.snapshot();
    let namespace = snapshot.namespaces.get(&id.namespace)?;
    let policy = namespace.policies.get(&id.name)?;
    let selected = namespace.workloads.values().filter(|workload| policy.selects(workload));
    let plans: Vec<_> =
        selected.map(|workload| (workload.as_ref(), plan_workload(snapshot, namespace, workload))).collect();
    let plans: Vec<_> = plans.iter().collect();
    let report = plan::status::report(snapshot, namespace, policy, &plans);
    let status = status::finish(report.status, policy.status.as_ref(), &Time(Timestamp::now()));
    (policy.status.as_ref() != Some(&status)).then(|| (policy.clone(), status))
}

/// An Event where Ready flipped or its reason changed.
async fn announce(context: &Context, policy: &Policy, status: &TracingPolicyStatus) {
    let ready =
        |status: &TracingPolicyStatus| status.conditions.iter().find(|known| known.type_ == condition::READY).cloned();
    let Some(now) = ready(status) else { return };
    let before = policy.status.as_ref().and_then(ready);
    if before.is_some_and(|before| (&before.status, &before.reason) == (&now.status, &now.reason)) {
        return;
    }
    tracing::info!(policy = %policy.id, ready = now.status, reason = now.reason, message = now.message, "status");
    if now.status != "Unknown" {
        context.events.on_policy(policy, now.status == "True", &now.reason, &now.message).await;
    }
}

async fn secret(context: &Context, id: &SecretId) -> (Outcome, Vec<Change>) {
    let is_used = {
        let index = context.index();
        let namespace = index.snapshot().namespaces.get(&id.namespace);
        namespace
            .is_some_and(|namespace| namespace.policies.values().any(|policy| policy.secret().as_ref() == Some(id)))
    };
    if !is_used {
        return (Outcome::Done, Vec::new());
    }
    if !context.verify_secrets {
        return (Outcome::Done, vec![Change::Secret(id.clone(), SecretState::Unverified)]);
    }
    match look_at(&context.client, id).await {
        Ok(state) => {
            let pause = if state == SecretState::Present { SECRET_RECHECK } else { SECRET_RETRY };
            (Outcome::Again(pause), vec![Change::Secret(id.clone(), state)])
        }
        Err(error) => {
            tracing::warn!(%error, "a headers Secret could not be looked at");
            (Outcome::Failed, Vec::new())
        }
    }
}
