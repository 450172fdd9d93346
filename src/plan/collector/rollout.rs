//! Which revision a tier runs: the desired one, until its pods do not become ready in time; then the last one that was.
//!
//! There is no state but what the workload object says: annotations, its template, its replicas, and when the operator
//! last changed it. So an operator that is killed at any instant goes on where it was.

use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{Revision, trouble::configuration_of};
use crate::index::LiveObject;

/// The annotation of a workload with the hash of the last revision whose pods were all ready.
pub const LAST_GOOD: &str = "tracesteward.io/last-good";
/// The annotation with the hash of the revision that was taken back.
pub const REFUSED: &str = "tracesteward.io/refused";
/// The annotation with what the pods of that revision said.
pub const REFUSED_BECAUSE: &str = "tracesteward.io/refused-because";

/// What the workload of a tier says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TierState {
    /// The revision in its pod template; absent where there is no workload.
    pub template: Option<String>,
    /// The last revision whose pods were all ready.
    pub last_good: Option<String>,
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
    /// When the operator last changed it.
    pub changed: Option<Timestamp>,
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
        let last_good = template.clone().filter(|_| is_ready).or_else(|| own(LAST_GOOD));
        Self {
            template,
            last_good,
            can_go_back: false,
            refused: own(REFUSED),
            because: own(REFUSED_BECAUSE),
            is_ready,
            ready: live.ready_replicas(),
            changed: live.changed.as_deref().and_then(|time| time.parse().ok()),
        }
    }
}

/// Whether all pods of a Deployment or StatefulSet run its template and are ready, and no others are left.
fn is_ready(workload: &Value) -> bool {
    let number = |pointer: &str| workload.pointer(pointer).and_then(Value::as_i64);
    let count = |field: &str| number(&format!("/status/{field}")).unwrap_or_default();
    let wanted = number("/spec/replicas").unwrap_or(1);
    count("observedGeneration") >= number("/metadata/generation").unwrap_or_default()
        && count("replicas") == wanted
        && ["updatedReplicas", "readyReplicas", "availableReplicas"].iter().all(|field| count(field) >= wanted)
}

/// Decides what a tier runs. `is_held`: pods of the desired revision could not start, because a Secret is missing.
pub fn choose(desired: &Revision, state: &TierState, is_held: bool, now: Timestamp, timeout: Duration) -> Choice {
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
    if is_held && !runs && state.last_good.is_some() {
        return Choice { run: back, outcome: Outcome::Held };
    }
    if !runs {
        return Choice { run: RevisionRef::Desired, outcome: Outcome::Waiting(None) };
    }
    let allowed = SignedDuration::try_from(timeout).unwrap_or(SignedDuration::MAX);
    // Without a time nothing is known about how long it has been: it is never taken back for that.
    match state.changed.and_then(|changed| changed.checked_add(allowed).ok()) {
        Some(until) if now < until => Choice { run: RevisionRef::Desired, outcome: Outcome::Waiting(Some(until)) },
        Some(_) if state.can_go_back => Choice { run: RevisionRef::LastGood, outcome: Outcome::TakenBack },
        _ => Choice { run: RevisionRef::Desired, outcome: Outcome::Waiting(None) },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plan::collector::Tier;

    const TIMEOUT: Duration = Duration::from_secs(120);

    fn desired(hash: &str) -> Revision {
        Revision { tier: Tier::Collector, hash: hash.to_owned(), data: std::collections::BTreeMap::new() }
    }

    fn time(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// The template, the last good one, the refused one; changed at 0.
    fn state(template: &str, last_good: &str, refused: &str) -> TierState {
        let hash = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        TierState {
            template: hash(template),
            last_good: hash(last_good),
            refused: hash(refused),
            can_go_back: !last_good.is_empty(),
            changed: Some(time(0)),
            ..TierState::default()
        }
    }

    fn ready(state: TierState) -> TierState {
        TierState { is_ready: true, ..state }
    }

    #[track_caller]
    fn check(hash: &str, state: &TierState, second: i64, run: RevisionRef, outcome: Outcome) {
        let choice = choose(&desired(hash), state, false, time(second), TIMEOUT);
        assert_eq!(choice, Choice { run, outcome }, "{state:?}");
    }

    #[test]
    fn a_first_start_waits_for_good() {
        check("a", &state("", "", ""), 0, RevisionRef::Desired, Outcome::Waiting(None));
        check("a", &state("a", "", ""), 1_000_000, RevisionRef::Desired, Outcome::Waiting(None));
        check("a", &state("a", "", ""), 60, RevisionRef::Desired, Outcome::Waiting(Some(time(120))));
        check("b", &state("a", "", ""), 1_000_000, RevisionRef::Desired, Outcome::Waiting(None));
        check("a", &ready(state("a", "", "")), 5, RevisionRef::Desired, Outcome::Live);
    }

    #[test]
    fn a_new_revision_has_its_time_and_is_taken_back_then() {
        check("b", &ready(state("a", "a", "")), 500, RevisionRef::Desired, Outcome::Waiting(None));
        check("b", &state("b", "a", ""), 119, RevisionRef::Desired, Outcome::Waiting(Some(time(120))));
        check("b", &state("b", "a", ""), 120, RevisionRef::LastGood, Outcome::TakenBack);
        check("b", &ready(state("b", "a", "")), 120, RevisionRef::Desired, Outcome::Live);
    }

    #[test]
    fn what_was_refused_is_not_tried_again_until_something_else_is_desired() {
        check("b", &ready(state("a", "a", "b")), 1_000, RevisionRef::LastGood, Outcome::Refused);
        check("b", &state("a", "a", "b"), 1_000, RevisionRef::LastGood, Outcome::Refused);
        check("c", &ready(state("a", "a", "b")), 1_000, RevisionRef::Desired, Outcome::Waiting(None));
        check("c", &state("c", "a", "b"), 130, RevisionRef::LastGood, Outcome::TakenBack);
        check("a", &ready(state("a", "a", "b")), 1_000, RevisionRef::Desired, Outcome::Live);
    }

    #[test]
    fn without_the_last_good_configuration_it_stays() {
        let gone = |state: TierState| TierState { can_go_back: false, ..state };
        check("b", &gone(state("b", "a", "")), 1_000, RevisionRef::Desired, Outcome::Waiting(None));
        check("b", &gone(state("a", "a", "b")), 1_000, RevisionRef::Stay, Outcome::Refused);
    }

    #[test]
    fn what_was_good_once_is_not_taken_back() {
        check("a", &state("a", "a", ""), 1_000, RevisionRef::Desired, Outcome::Waiting(None));
        check("a", &state("b", "a", ""), 1_000, RevisionRef::Desired, Outcome::Waiting(None));
        let timeless = TierState { changed: None, ..state("b", "a", "") };
        check("b", &timeless, 1_000, RevisionRef::Desired, Outcome::Waiting(None));
    }

    #[test]
    fn without_its_secret_a_new_revision_is_held_back_where_another_one_runs() {
        let held = |state: &TierState| choose(&desired("b"), state, true, time(1_000), TIMEOUT);
        let back = Choice { run: RevisionRef::LastGood, outcome: Outcome::Held };
        assert_eq!(held(&ready(state("a", "a", ""))), back);
        assert_eq!(held(&state("c", "a", "")), back, "another one on its way");
        let first = Choice { run: RevisionRef::Desired, outcome: Outcome::Waiting(None) };
        assert_eq!((held(&state("", "", "")), held(&state("a", "", ""))), (first, first));
        assert_eq!(held(&ready(state("b", "b", ""))).outcome, Outcome::Live);
        assert_eq!(held(&state("b", "a", "")).outcome, Outcome::TakenBack);
    }

    #[test]
    fn ready_means_all_pods_and_no_old_ones() {
        let with = |generation: i64, replicas: i64, updated: i64, ready: i64| {
            is_ready(&json!({
                "metadata": {"generation": 3},
                "spec": {"replicas": 2},
                "status": {"observedGeneration": generation, "replicas": replicas, "updatedReplicas": updated,
                    "readyReplicas": ready, "availableReplicas": ready},
            }))
        };
        assert!(with(3, 2, 2, 2));
        assert!(!with(2, 2, 2, 2) && !with(3, 3, 2, 2) && !with(3, 2, 1, 2) && !with(3, 2, 2, 1));
        assert!(!is_ready(&json!({})), "nobody has looked at it yet");
    }
}
