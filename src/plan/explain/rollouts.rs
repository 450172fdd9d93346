//! What of a rollout keeps spans of a workload away.

use super::{View, reasons::Reason};
use crate::{
    api::{REFUSED_ANNOTATION, condition},
    plan::wave::{Wait, waits},
};

/// What is in force broke it.
pub(super) fn reverted(view: &View<'_>) -> Reason {
    let because = view.workload.refusal().map(|refusal| refusal.because.as_str()).unwrap_or_default();
    let message = format!("Its new pods did not run with what was injected, which was taken out again: {because}");
    let help = format!(
        "Change the policy, which is then tried afresh; or, to try the same once more: kubectl annotate {}/{} -n {} {REFUSED_ANNOTATION}-",
        view.workload.id.kind.as_str().to_ascii_lowercase(),
        view.workload.id.name,
        view.workload.id.namespace,
    );
    Reason::new("Reverted", message, help)
}

/// What a workload that is to be written waits for.
pub(super) fn waiting(view: &View<'_>) -> Option<Reason> {
    let reason = match (waits(view.workload, view.plan)?, &view.workload.id) {
        (Wait::Paused, id) => Reason::new(
            "Paused",
            "Its rollout is paused: it is injected when it is resumed.",
            format!("kubectl rollout resume {}/{} -n {}", id.kind.as_str().to_ascii_lowercase(), id.name, id.namespace),
        ),
        (Wait::RolloutUnderWay, id) => Reason::new(
            "RolloutUnderWay",
            "A rollout is under way: it is injected when that is complete.",
            format!("kubectl rollout status {}/{} -n {}", id.kind.as_str().to_ascii_lowercase(), id.name, id.namespace),
        ),
    };
    Some(reason)
}

/// Whether nothing more is injected, because another workload of the policy broke.
pub(super) fn halted(view: &View<'_>) -> Option<Reason> {
    let winner = view.snapshot.policy(view.plan.winner.as_ref()?)?;
    let conditions = &winner.status.as_ref()?.conditions;
    let ready = conditions.iter().find(|known| known.type_ == condition::READY && known.reason == "RolloutHalted")?;
    let help = "Change the policy; it is then tried afresh.";
    Some(Reason::new("RolloutHalted", ready.message.clone(), help)).filter(|_| !view.plan.withdraws())
}
