//! A look at a workload whose pods are being replaced: what its new pods cannot run with is taken out again.

use std::{sync::Arc, time::Duration};

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::{Context, Outcome, reconcile::Reconciled};
use crate::{
    apply::{Announcement, ApplyError, apply_workload, delete_pod},
    index::{Workload, WorkloadId, WorkloadKind},
    plan::{
        Decision, WorkloadPlan, apply_patch, configuration, plan_workload, refusal_patch,
        verdict::{Evidence, Verdict, is_stuck, left_over, verdict},
    },
    watch::evidence,
};

/// How long a new rollout is left alone.
pub(super) const FIRST_LOOK: Duration = Duration::from_secs(2);
/// How often one is looked at.
const AGAIN: Duration = Duration::from_secs(5);
/// How often one is looked at that fails for another reason, or that others only wait for.
pub(super) const SELDOM: Duration = Duration::from_secs(60);

/// The reason of the Event on a workload in which a configuration was taken back.
const REVERTED: &str = "TracingReverted";

/// What is written where an injection is to blame.
struct Remedy {
    workload: Arc<Workload>,
    patch: Value,
    reason: &'static str,
    note: String,
}

pub(super) async fn look(context: &Context, id: &WorkloadId) -> Reconciled {
    if !is_of_interest(context, id) {
        return Reconciled::new(Outcome::Done, None);
    }
    let mut evidence = match evidence(&context.client, id).await {
        Ok(Some(evidence)) => evidence,
        Ok(None) => return Reconciled::new(Outcome::Done, None),
        Err(error) => {
            tracing::warn!(workload = %id, %error, "a rollout could not be looked at");
            return Reconciled::new(Outcome::Failed, None);
        }
    };
    {
        let planner = context.planner();
        (evidence.was_frail, evidence.was_ours) = (planner.was_frail(id), planner.was_ours(id));
    }
    let generation = generation(&evidence);
    let absolved = |outcome| Reconciled {
        absolved: generation.map(|generation| (id.clone(), generation)),
        ..Reconciled::new(outcome, None)
    };
    match judge(context, id, &evidence) {
        Judged::Again(after) => Reconciled::new(Outcome::Again(after), None),
        Judged::Done => Reconciled::new(Outcome::Done, None),
        Judged::Remedy(remedy) => {
            context.planner().take_back(id);
            apply(context, id, remedy).await
        }
        Judged::Innocent => absolved(Outcome::Again(SELDOM)),
        Judged::Over => absolved(Outcome::Done),
        Judged::LeftOver(pods) => free(context, id, &pods).await,
    }
}

fn generation(evidence: &Evidence) -> Option<i64> {
    evidence.workload.pointer("/metadata/generation").and_then(Value::as_i64)
}

/// Whether it is watched, or others wait for it.
fn is_of_interest(context: &Context, id: &WorkloadId) -> bool {
    let index = context.index();
    let snapshot = index.snapshot();
    let found = snapshot.namespaces.get(&id.namespace).and_then(|home| Some((home, home.workloads.get(id)?)));
    found.is_some_and(|(home, workload)| plan_workload(snapshot, home, workload).is_watched(workload))
        || context.planner().counts(id)
}

enum Judged {
    Done,
    Again(Duration),
    /// Nothing to do with the operator.
    Innocent,
    /// The same, for good.
    Over,
    Remedy(Remedy),
    /// Pods by name and uid.
    LeftOver(Vec<(String, String)>),
}

fn judge(context: &Context, id: &WorkloadId, evidence: &Evidence) -> Judged {
    let index = context.index();
    let snapshot = index.snapshot();
    let Some(home) = snapshot.namespaces.get(&id.namespace) else { return Judged::Done };
    let Some(workload) = home.workloads.get(id) else { return Judged::Done };
    // What was read belongs to another template than what is planned.
    if generation(evidence) != Some(workload.generation) {
        return Judged::Again(AGAIN);
    }
    let plan = plan_workload(snapshot, home, workload);
    let (is_watched, is_halted) = (plan.is_watched(workload), context.planner().is_halted(id));
    if !is_watched && !context.planner().counts(id) {
        return Judged::Done;
    }
    let now = Timestamp::now();
    let left_over = left_over(workload, &plan, evidence, is_halted, now);
    if !left_over.is_empty() {
        return Judged::LeftOver(left_over);
    }
    if plan.refused || !is_watched {
        let is_freed = workload.id.kind == WorkloadKind::StatefulSet && (workload.is_held() || evidence.was_ours);
        let again = if plan.refused || is_freed { AGAIN } else { SELDOM };
        return if is_stuck(workload, evidence, now) { Judged::Innocent } else { Judged::Again(again) };
    }
    let because = match verdict(workload, evidence, now) {
        Verdict::Open => return Judged::Again(AGAIN),
        Verdict::Innocent(why) => {
            tracing::debug!(workload = %id, why, "new pods do not run, and the injection is not to blame");
            return Judged::Innocent;
        }
        Verdict::Over => return Judged::Over,
        Verdict::Guilty(because) => because,
    };
    let configuration = configuration(snapshot, home, workload);
    remedy(workload, &plan, is_halted, configuration, &because).map_or(Judged::Done, Judged::Remedy)
}

/// What is done about settings that pods do not run with.
fn remedy(
    workload: &Arc<Workload>,
    plan: &WorkloadPlan,
    is_halted: bool,
    configuration: Option<String>,
    because: &str,
) -> Option<Remedy> {
    let workload = Arc::clone(workload);
    let is_meant = !plan.needs_write && !matches!(plan.decision, Decision::Hold(_));
    if is_meant {
        let patch = refusal_patch(&workload, &configuration?, because);
        let note = format!("New pods did not run with what was injected, and it was taken out: {because}");
        return Some(Remedy { workload, patch, reason: REVERTED, note });
    }
    // What broke it is no longer meant: what is meant now need not wait for it.
    if plan.needs_write && !is_halted {
        let patch = plan.intended(&workload);
        let note = format!("The settings were replaced while new pods did not run with them: {because}");
        return Some(Remedy { workload, patch, reason: "TracingInjected", note });
    }
    // Unless that has broken another one, or it is not known what is meant: then nothing is to be in it for now.
    let patch = apply_patch(&workload, &[]);
    let note = format!("New pods did not run with the settings of before, and they were taken out: {because}");
    Some(Remedy { workload, patch, reason: REVERTED, note })
}

async fn apply(context: &Context, id: &WorkloadId, remedy: Remedy) -> Reconciled {
    match apply_workload(&context.writer, &remedy.workload, &remedy.patch).await {
        Ok(change) => {
            tracing::warn!(workload = %id, reason = remedy.reason, note = remedy.note, "new pods did not run");
            if remedy.reason == REVERTED {
                context.metrics.reverted();
            }
            let announcement = Announcement::warning(&remedy.workload, remedy.reason, remedy.note);
            Reconciled { announcement: Some(announcement), ..Reconciled::new(Outcome::Done, Some(change)) }
        }
        Err(ApplyError::Gone | ApplyError::NotLeading) => Reconciled::new(Outcome::Done, None),
        Err(error) => {
            tracing::warn!(workload = %id, reason = error.reason(), %error, "what broke the workload could not be taken out");
            Reconciled::new(Outcome::Failed, None)
        }
    }
}

/// Deletes pods that keep a `StatefulSet` from going back to what ran.
async fn free(context: &Context, id: &WorkloadId, pods: &[(String, String)]) -> Reconciled {
    for (name, uid) in pods {
        match delete_pod(&context.writer, &id.namespace, name, uid).await {
            Ok(()) | Err(ApplyError::Gone) => {
                tracing::info!(workload = %id, pod = name, "deleted a pod that cannot run");
            }
            Err(ApplyError::NotLeading) => return Reconciled::new(Outcome::Done, None),
            Err(error) => {
                tracing::warn!(workload = %id, pod = name, %error, "a pod that cannot run could not be deleted");
                return Reconciled::new(Outcome::Failed, None);
            }
        }
    }
    Reconciled::new(Outcome::Again(AGAIN), None)
}
