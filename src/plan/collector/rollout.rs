//! Which revision a tier runs: the desired one, until its pods do not become ready in time; then the last one that was.
//!
//! There is no state but what the workload object says: annotations, its template, its replicas, its status. So an operator
//! that is killed at any instant goes on where it was.

use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{Revision, trouble::configuration_of};
use crate::index::{LiveObject, OwnedKind};

/// The annotation of a workload with the hash of the last revision whose pods were all ready.
pub const LAST_GOOD: &str = "tracesteward.io/last-good";
/// The annotation with the whole digest of that revision: a ConfigMap with the same short hash can be made.
pub const LAST_GOOD_DIGEST: &str = "tracesteward.io/last-good-digest";
/// The annotation with the whole digest of the revision in the template.
pub const DIGEST: &str = "tracesteward.io/revision-digest";
/// The annotation with the hash of the revision that was taken back.
pub const REFUSED: &str = "tracesteward.io/refused";
/// The annotation with what the pods of that revision said.
pub const REFUSED_BECAUSE: &str = "tracesteward.io/refused-because";
/// The annotation with the time at which the operator wrote the template, by the operator's clock: the API server's may be
/// another.
pub const STARTED: &str = "tracesteward.io/rollout-started";

/// What the workload of a tier says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TierState {
    /// The revision in its pod template; absent where there is no workload.
    pub template: Option<String>,
    /// The last revision whose pods were all ready.
    pub last_good: Option<String>,
    /// The whole digest of that.
    pub last_good_digest: Option<String>,
    /// Whether the ConfigMap of that revision is there, so that the tier can go back to it.
    pub can_go_back: bool,
    /// The revision that was taken back.
    pub refused: Option<String>,
    /// What the pods of that revision said.
    pub because: Option<String>,
    /// Whether all its pods run the template and are ready.
    pub is_ready: bool,
    /// Pods that are ready, of any revision.
    pub ready: i64,
    /// Pods of the template that are ready, at least.
    pub updated_ready: i64,
    /// Pods that it should have.
    pub replicas: i64,
    /// Whether anybody rolls it out.
    pub pace: Pace,
    /// When the operator wrote its template.
    pub started: Option<Timestamp>,
}

/// Whether a template is rolled out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// Its controller has not seen it yet.
    #[default]
    Unseen,
    /// Somebody has stopped it.
    Paused,
    /// It is.
    UnderWay,
}

impl Pace {
    fn read(workload: &Value) -> Self {
        let is_paused = workload.pointer("/spec/paused").and_then(Value::as_bool).unwrap_or_default();
        match (is_paused, is_observed(workload)) {
            (true, _) => Self::Paused,
            (false, true) => Self::UnderWay,
            (false, false) => Self::Unseen,
        }
    }
}

/// Which revision is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevisionRef {
    /// The desired one.
    Desired,
    /// The last one whose pods were all ready.
    LastGood,
    /// Whatever the workload has: nothing of it is written.
    Stay,
}

/// How a tier stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All its pods are ready with the desired revision.
    Live,
    /// They are not yet; with the moment at which their time is up, where it is to come.
    Waiting(Option<Timestamp>),
    /// The time for the desired revision is up: it is taken back now.
    TakenBack,
    /// The desired revision was taken back before.
    Refused,
    /// The desired revision could not start: a Secret is missing.
    Held,
}

/// What a tier runs, and how it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// What it runs.
    pub run: RevisionRef,
    /// How it stands.
    pub outcome: Outcome,
}

impl TierState {
    /// Reads the workload of a tier; `can_go_back` is the caller's.
    pub fn read(live: &LiveObject) -> Self {
        let own = |name: &str| live.annotation(name).map(str::to_owned);
        let template = live.value.pointer("/spec/template").and_then(|pod| configuration_of(pod, &live.id.name));
        let is_ready = is_ready(&live.value);
        // What runs well is good, also where there was no time yet to write that down.
        let is_good = is_ready || was_completed(live);
        let last_good = template.clone().filter(|_| is_good).or_else(|| own(LAST_GOOD));
        let digest = own(if is_good && template.is_some() { DIGEST } else { LAST_GOOD_DIGEST });
        let last_good_digest = digest.filter(|digest| last_good.as_ref().is_some_and(|hash| digest.starts_with(hash)));
        Self {
            template,
            last_good,
            last_good_digest,
            can_go_back: false,
            refused: own(REFUSED),
            because: own(REFUSED_BECAUSE),
            is_ready,
            ready: live.ready_replicas(),
            updated_ready: updated_ready(&live.value),
            replicas: number(&live.value, "/spec/replicas").unwrap_or(1),
            pace: Pace::read(&live.value),
            started: live.annotation(STARTED).and_then(|time| time.parse().ok()),
        }
    }
}

fn number(workload: &Value, pointer: &str) -> Option<i64> {
    workload.pointer(pointer).and_then(Value::as_i64)
}

fn count(workload: &Value, field: &str) -> i64 {
    number(workload, &format!("/status/{field}")).unwrap_or_default()
}

/// Whether its status is about its present template.
fn is_observed(workload: &Value) -> bool {
    count(workload, "observedGeneration") >= number(workload, "/metadata/generation").unwrap_or_default()
}

/// Whether all pods of a Deployment or StatefulSet run its template and are ready, and no others are left.
fn is_ready(workload: &Value) -> bool {
    let wanted = number(workload, "/spec/replicas").unwrap_or(1);
    is_observed(workload)
        && count(workload, "replicas") == wanted
        && ["updatedReplicas", "readyReplicas", "availableReplicas"]
            .iter()
            .all(|field| count(workload, field) >= wanted)
}

/// Whether the rollout of the template has come to its end, however its pods are now.
fn was_completed(live: &LiveObject) -> bool {
    let workload = live.value.as_ref();
    if !is_observed(workload) || count(workload, "updatedReplicas") != count(workload, "replicas") {
        return false;
    }
    if live.id.kind == OwnedKind::Deployment {
        let conditions = workload.pointer("/status/conditions").and_then(Value::as_array);
        return conditions.into_iter().flatten().any(|condition| {
            let is = |field: &str, text: &str| condition.get(field).and_then(Value::as_str) == Some(text);
            is("type", "Progressing") && is("status", "True") && is("reason", "NewReplicaSetAvailable")
        });
    }
    // The first revision of a StatefulSet is its current one from the beginning, ready or not.
    let revision = |field: &str| workload.pointer("/status")?.get(field)?.as_str();
    let current = revision("currentRevision");
    live.annotation(LAST_GOOD).is_some() && current.is_some() && current == revision("updateRevision")
}

/// Pods of the template that are ready, at least: even if all others are, so many of the ready ones are of the template.
fn updated_ready(workload: &Value) -> i64 {
    let others = count(workload, "replicas") - count(workload, "updatedReplicas");
    (count(workload, "readyReplicas") - others.max(0)).max(0)
}

/// What is known of the Secrets that pods of the desired revision need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Secrets {
    /// All are there, or nobody may look.
    Usable,
    /// Not all were looked at yet.
    Unknown,
    /// One is missing: pods could not start.
    Missing,
}

/// Decides what a tier runs.
pub fn choose(desired: &Revision, state: &TierState, secrets: Secrets, now: Timestamp, timeout: Duration) -> Choice {
    let Some(template) = &state.template else {
        return Choice { run: RevisionRef::Desired, outcome: Outcome::Waiting(None) };
    };
    let runs = *template == desired.hash;
    let was_good = state.last_good.as_ref() == Some(&desired.hash);
    let back = if state.can_go_back { RevisionRef::LastGood } else { RevisionRef::Stay };
    if runs && state.is_ready {
        return Choice { run: RevisionRef::Desired, outcome: Outcome::Live };
    }
    if was_good {
        return Choice { run: RevisionRef::Desired, outcome: Outcome::Waiting(None) };
    }
    if state.refused.as_ref() == Some(&desired.hash) {
        return Choice { run: back, outcome: Outcome::Refused };
    }
    if secrets != Secrets::Usable && !runs && state.last_good.is_some() {
        return Choice { run: back, outcome: Outcome::Held };
    }
    if !runs {
        return Choice { run: RevisionRef::Desired, outcome: Outcome::Waiting(None) };
    }
    let waiting = |until| Choice { run: RevisionRef::Desired, outcome: Outcome::Waiting(until) };
    // A rollout that somebody has stopped, or that nobody has begun, says nothing of its pods.
    if state.pace != Pace::UnderWay {
        return waiting(None);
    }
    // Without a time, it has begun just now.
    match state.started.and_then(|started| started.checked_add(allowed(state, timeout)).ok()) {
        Some(until) if now < until => waiting(Some(until)),
        // That is not the revision's fault: it is tried again once the Secret is there.
        Some(_) if state.can_go_back && secrets == Secrets::Missing => {
            Choice { run: RevisionRef::LastGood, outcome: Outcome::Held }
        }
        Some(_) if state.can_go_back => Choice { run: RevisionRef::LastGood, outcome: Outcome::TakenBack },
        _ => waiting(None),
    }
}

/// How long a rollout may take: where pods become ready, the time of one pod for each.
fn allowed(state: &TierState, timeout: Duration) -> SignedDuration {
    let pods = if state.updated_ready > 0 { u32::try_from(state.replicas).unwrap_or(1).max(1) } else { 1 };
    SignedDuration::try_from(timeout.saturating_mul(pods)).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests;
