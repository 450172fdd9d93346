//! How the changes of a policy are rolled out: its settings, and what is noted on workloads for that.

use serde_json::{Map, Value, json};

use super::workload::{Decision, WorkloadPlan};
use crate::{
    api::{REFUSED_ANNOTATION, REFUSED_BECAUSE_ANNOTATION, RESTARTED_FOR_ANNOTATION, Settings},
    index::{Namespace, Snapshot, Workload, WorkloadKind},
};

/// Workloads of a policy whose pods may be replaced at one time, where nothing is said.
const MAX_CONCURRENT: usize = 10;
/// Characters of what is noted on a workload of its pods' words.
pub const MAX_BECAUSE: usize = 512;

/// How changes are rolled out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Workloads whose pods may be replaced at one time.
    pub max_concurrent: usize,
    /// Whether an injection that breaks a workload is taken back.
    pub auto_revert: bool,
    /// Whether pods that are older than the settings are restarted (Pod mode).
    pub restart_stale_pods: bool,
}

impl Default for Pace {
    fn default() -> Self {
        Self { max_concurrent: MAX_CONCURRENT, auto_revert: true, restart_stale_pods: false }
    }
}

impl Pace {
    /// What the settings say, with the defaults.
    pub(super) fn of(settings: &Settings) -> Self {
        let Some(rollout) = &settings.rollout else { return Self::default() };
        let fallback = Self::default();
        let given = rollout.max_concurrent.and_then(|number| usize::try_from(number).ok()).filter(|number| *number > 0);
        Self {
            max_concurrent: given.unwrap_or(fallback.max_concurrent),
            auto_revert: rollout.auto_revert.unwrap_or(fallback.auto_revert),
            restart_stale_pods: rollout.restart_stale_pods.unwrap_or(fallback.restart_stale_pods),
        }
    }
}

/// Whether the configuration in force was taken back in this workload.
pub(super) fn is_refused(workload: &Workload, plan: &WorkloadPlan) -> bool {
    let injects = matches!(plan.decision, Decision::Inject | Decision::AtPods);
    // One that somebody else holds was brought back by `kubectl rollout undo`, which means no annotation in particular.
    let refused = workload.refusal().filter(|refusal| refusal.held).map(|refusal| refusal.configuration.as_str());
    // Who does not want it taken back wants it tried.
    injects && plan.pace.auto_revert && refused.is_some() && refused == plan.configuration.as_deref()
}

/// The configuration for which the template says that its pods are restarted: the one in force, where there are pods without it and
/// where they would be given it; else what it says already.
pub(super) fn restarted_for(
    snapshot: &Snapshot,
    namespace: &Namespace,
    workload: &Workload,
    plan: &WorkloadPlan,
) -> Option<String> {
    if plan.decision != Decision::AtPods || plan.refused {
        return None;
    }
    let id = &workload.id;
    let configuration = plan.configuration.as_deref()?;
    let restarts = plan.pace.restart_stale_pods && id.kind.is_writable() && id.kind != WorkloadKind::CronJob;
    let is_stale = || namespace.pods.configurations(id).any(|given| given != Some(configuration));
    if restarts && snapshot.hook.covers(&id.namespace) && is_stale() {
        return Some(configuration.to_owned());
    }
    workload.restarted_for().map(str::to_owned)
}

/// Whether what is noted on the workload differs from the plan.
pub(super) fn notes_differ(workload: &Workload, plan: &WorkloadPlan) -> bool {
    let is_outdated = !plan.refused && workload.refusal().is_some_and(|refusal| refusal.held);
    is_outdated || workload.restarted_for() != plan.restart.as_deref()
}

/// Puts the notes into an apply configuration.
pub(super) fn note(patch: &mut Value, workload: &Workload, plan: &WorkloadPlan) {
    let refusal = workload.refusal().filter(|refusal| plan.refused && refusal.held);
    if let Some(refusal) = refusal {
        refuse(patch, &refusal.configuration, &refusal.because);
    }
    if let Some(configuration) = &plan.restart {
        let mut place = Some(&mut *patch);
        for step in workload.id.kind.template_path().iter().chain(&["metadata", "annotations"]) {
            place = place.and_then(|place| {
                Some(place.as_object_mut()?.entry(*step).or_insert_with(|| Value::Object(Map::new())))
            });
        }
        if let Some(annotations) = place {
            annotations[RESTARTED_FOR_ANNOTATION] = json!(configuration);
        }
    }
}

/// The apply configuration that takes everything out of a workload and says of which configuration, and why.
pub fn refusal_patch(workload: &Workload, configuration: &str, because: &str) -> Value {
    let mut patch = super::apply_patch(workload, &[]);
    refuse(&mut patch, configuration, because);
    patch
}

fn refuse(patch: &mut Value, configuration: &str, because: &str) {
    let because: String = because.chars().take(MAX_BECAUSE).collect();
    patch["metadata"]["annotations"] = json!({REFUSED_ANNOTATION: configuration, REFUSED_BECAUSE_ANNOTATION: because});
}
