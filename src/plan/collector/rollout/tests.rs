//! What is decided about a tier, by what its workload says.

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
        started: Some(time(0)),
        pace: Pace::UnderWay,
        ..TierState::default()
    }
}

fn ready(state: TierState) -> TierState {
    TierState { is_ready: true, ..state }
}

#[track_caller]
fn check(hash: &str, state: &TierState, second: i64, run: RevisionRef, outcome: Outcome) {
    let choice = choose(&desired(hash), state, Secrets::Usable, time(second), TIMEOUT);
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
    let timeless = TierState { started: None, ..state("b", "a", "") };
    check("b", &timeless, 1_000, RevisionRef::Desired, Outcome::Waiting(None));
}

#[test]
fn without_its_secret_a_new_revision_is_held_back_where_another_one_runs() {
    let held = |state: &TierState| choose(&desired("b"), state, Secrets::Missing, time(1_000), TIMEOUT);
    let back = Choice { run: RevisionRef::LastGood, outcome: Outcome::Held };
    assert_eq!(held(&ready(state("a", "a", ""))), back);
    assert_eq!(held(&state("c", "a", "")), back, "another one on its way");
    let first = Choice { run: RevisionRef::Desired, outcome: Outcome::Waiting(None) };
    assert_eq!((held(&state("", "", "")), held(&state("a", "", ""))), (first, first));
    assert_eq!(held(&ready(state("b", "b", ""))).outcome, Outcome::Live);
    assert_eq!(held(&state("b", "a", "")), back, "its time is up, and it is not its fault");
    let unknown = |state: &TierState| choose(&desired("b"), state, Secrets::Unknown, time(1_000), TIMEOUT);
    assert_eq!(unknown(&ready(state("a", "a", ""))), back);
    assert_eq!(unknown(&state("b", "a", "")).outcome, Outcome::TakenBack);
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

#[test]
fn a_rollout_that_goes_on_has_the_time_of_one_pod_for_each() {
    let slow = TierState { replicas: 10, updated_ready: 3, ..state("b", "a", "") };
    check("b", &slow, 130, RevisionRef::Desired, Outcome::Waiting(Some(time(1_200))));
    check("b", &slow, 1_200, RevisionRef::LastGood, Outcome::TakenBack);
    let stuck = TierState { updated_ready: 0, ..slow };
    check("b", &stuck, 120, RevisionRef::LastGood, Outcome::TakenBack);
}

#[test]
fn a_rollout_that_nobody_carries_out_is_not_taken_back() {
    let paused = TierState { pace: Pace::Paused, ..state("b", "a", "") };
    check("b", &paused, 1_000, RevisionRef::Desired, Outcome::Waiting(None));
    let unseen = TierState { pace: Pace::Unseen, ..state("b", "a", "") };
    check("b", &unseen, 1_000, RevisionRef::Desired, Outcome::Waiting(None));
}

#[test]
fn pods_of_the_template_are_counted_where_all_others_may_be_the_ready_ones() {
    let with = |replicas: i64, updated: i64, ready: i64| {
        updated_ready(&json!({"status": {"replicas": replicas, "updatedReplicas": updated, "readyReplicas": ready}}))
    };
    assert_eq!((with(11, 4, 10), with(4, 1, 3), with(4, 3, 1), with(1, 1, 1)), (3, 0, 0, 1));
    assert_eq!((with(0, 0, 0), updated_ready(&json!({}))), (0, 0));
}

#[test]
fn a_revision_whose_rollout_ended_is_good_however_its_pods_are_now() {
    let read = |kind: OwnedKind, note: &str, status: &Value| {
        let volumes = json!([{"configMap": {"name": "gw-collector-b"}}]);
        let notes = if note.is_empty() { json!({}) } else { json!({LAST_GOOD: note}) };
        let value = json!({
            "metadata": {"name": "gw-collector", "namespace": "ns", "generation": 4, "annotations": notes},
            "spec": {"replicas": 1, "template": {"spec": {"volumes": volumes}}},
            "status": status,
        });
        TierState::read(&LiveObject::read(kind, value).unwrap()).last_good
    };
    let deployment = |generation: i64, updated: i64, reason: &str| {
        let condition = json!({"type": "Progressing", "status": "True", "reason": reason});
        let status = json!({"observedGeneration": generation, "replicas": 1, "updatedReplicas": updated,
            "conditions": [condition]});
        read(OwnedKind::Deployment, "a", &status)
    };
    let (good, old) = (Some("b".to_owned()), Some("a".to_owned()));
    assert_eq!(deployment(4, 1, "NewReplicaSetAvailable"), good);
    assert_eq!(deployment(3, 1, "NewReplicaSetAvailable"), old, "that was the one before");
    assert_eq!(deployment(4, 0, "NewReplicaSetAvailable"), old, "it was scaled, and rolls out only now");
    assert_eq!(deployment(4, 1, "ReplicaSetUpdated"), old);
    let stateful = |note: &str, current: &str| {
        let status = json!({"observedGeneration": 4, "replicas": 1, "updatedReplicas": 1,
            "currentRevision": current, "updateRevision": "2"});
        read(OwnedKind::StatefulSet, note, &status)
    };
    assert_eq!((stateful("a", "2"), stateful("a", "1")), (good, old));
    assert_eq!(stateful("", "2"), None, "the first one may never have been ready");
}
