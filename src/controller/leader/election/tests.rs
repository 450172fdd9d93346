use serde_json::json;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn election() -> Election {
    Election::new("me".to_owned())
}

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

/// As the API server would have it: `second` is the holder's time of day.
fn lease(holder: &str, second: i64) -> Option<Lease> {
    let time = time(second).to_string();
    let spec = json!({"holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": time, "acquireTime": time,
        "leaseTransitions": 4});
    serde_json::from_value(json!({"metadata": {"name": "tracesteward", "resourceVersion": "7"}, "spec": spec})).unwrap()
}

fn with(spec: &serde_json::Value) -> Option<Lease> {
    serde_json::from_value(json!({"metadata": {"name": "tracesteward"}, "spec": spec})).unwrap()
}

/// What was seen at which second, and what is to be done at the last of them.
#[track_caller]
fn check(seen: &[(u64, Option<Lease>)], at: u64, expected: Step) {
    let mut election = election();
    for (second, lease) in seen {
        election.see(lease.clone(), SECOND * u32::try_from(*second).unwrap());
    }
    assert_eq!(election.step(SECOND * u32::try_from(at).unwrap()), expected);
}

#[test]
fn the_lease_of_another_is_waited_out_from_when_its_last_change_was_seen() {
    let until = |second: u32| Step::Wait(SECOND * second);
    check(&[(100, lease("other", 0))], 114, until(115));
    check(&[(100, lease("other", 0))], 115, Step::Write);
    // Seen again as it was, it is no younger; renewed, it is.
    check(&[(100, lease("other", 0)), (110, lease("other", 0))], 112, until(115));
    check(&[(100, lease("other", 0)), (110, lease("other", 2))], 115, until(125));
    // A label of somebody's is no renewal.
    let mut labelled = lease("other", 0);
    labelled.as_mut().unwrap().metadata.resource_version = Some("8".to_owned());
    check(&[(100, lease("other", 0)), (110, labelled)], 115, Step::Write);
    // Another holder is another lease.
    check(&[(100, lease("other", 0)), (110, lease("third", 0))], 115, until(125));
}

#[test]
fn no_time_of_day_is_compared() {
    for hours in [-2_000, -1, 0, 1, 2_000] {
        check(&[(100, lease("other", hours * 3_600))], 114, Step::Wait(SECOND * 115));
        check(&[(100, lease("other", hours * 3_600))], 115, Step::Write);
    }
}

#[test]
fn what_is_nobodys_or_ones_own_is_written_at_once() {
    check(&[(100, lease("", 0))], 100, Step::Write);
    check(&[(100, with(&json!(null)))], 100, Step::Write);
    check(&[(100, with(&json!({"leaseDurationSeconds": 15})))], 100, Step::Write);
    check(&[(100, lease("me", 0))], 100, Step::Write);
    check(&[(100, lease("me", 0))], 500, Step::Write);
    // Given back while it was waited for.
    check(&[(100, lease("other", 0)), (101, lease("", 1))], 101, Step::Write);
}

#[test]
fn a_lease_that_is_gone_is_nobodys_only_after_a_while() {
    let until = |second: u32| Step::Wait(SECOND * second);
    check(&[(100, None)], 100, until(103));
    check(&[(100, None), (102, None)], 102, until(103));
    check(&[(100, None), (103, None)], 103, Step::Write);
    // Who held it may not have noticed yet.
    check(&[(100, lease("other", 0)), (101, None)], 104, until(115));
    check(&[(100, lease("other", 0)), (101, None), (110, None)], 114, until(115));
    check(&[(100, lease("other", 0)), (101, None)], 115, Step::Write);
    check(&[(100, lease("", 0)), (101, None)], 101, until(104));
    // The holder itself knows that nobody else leads.
    check(&[(100, lease("me", 0)), (101, None)], 101, Step::Write);
}

#[test]
fn what_is_written_in_it_holds_within_limits() {
    let held = |seconds: i32| with(&json!({"holderIdentity": "other", "leaseDurationSeconds": seconds}));
    check(&[(100, held(60))], 100, Step::Wait(SECOND * 160));
    check(&[(100, held(-5))], 100, Step::Write);
    check(&[(100, held(i32::MAX))], 100, Step::Wait(SECOND * 3_700));
    check(&[(100, with(&json!({"holderIdentity": "other"})))], 100, Step::Wait(SECOND * 115));
}

#[test]
fn the_record_is_as_other_tools_expect_it() {
    let mut election = election();
    let value = |spec: LeaseSpec| serde_json::to_value(spec).unwrap();
    let (t0, t1) = ("2027-01-15T08:00:00.000000Z", "2027-01-15T08:00:01.000000Z");
    let first = election.claim(time(0));
    assert_eq!(
        value(first.clone()),
        json!({"holderIdentity": "me", "leaseDurationSeconds": 15, "acquireTime": t0, "renewTime": t0, "leaseTransitions": 0})
    );
    election.see(Some(Lease { spec: Some(first), ..Lease::default() }), SECOND);
    assert!(election.holds());
    // Renewed: only its time changes.
    assert_eq!(
        value(election.claim(time(1))),
        json!({"holderIdentity": "me", "leaseDurationSeconds": 15, "acquireTime": t0, "renewTime": t1, "leaseTransitions": 0})
    );
    assert_eq!(
        value(election.release(time(1)).unwrap()),
        json!({"leaseDurationSeconds": 1, "acquireTime": t1, "renewTime": t1, "leaseTransitions": 0})
    );
    // Taken over: counted.
    election.see(lease("other", 0), SECOND);
    assert_eq!((election.holds(), election.holder()), (false, Some("other")));
    assert_eq!(
        value(election.claim(time(1))),
        json!({"holderIdentity": "me", "leaseDurationSeconds": 15, "acquireTime": t1, "renewTime": t1, "leaseTransitions": 5})
    );
    assert_eq!(election.release(time(1)), None, "it is not ours to give");
}

/// Two that see each other's renewals late, at any moments: the one has stopped to write when the other one begins.
#[test]
fn two_never_write_at_the_same_time() {
    let millis = Duration::from_millis;
    for late in (0..2_500).step_by(250) {
        for end in (0..4_000).step_by(250) {
            let mut election = election();
            // `other` sends a renewal every two seconds until `end`, and this process looks every 2.5 s, `late` after zero.
            let renewed = |now: u64| now.min(end) / 2_000;
            let mut now: u64 = late;
            loop {
                election.see(lease("other", i64::try_from(renewed(now)).unwrap()), millis(now));
                match election.step(millis(now)) {
                    Step::Write => break,
                    Step::Wait(until) => now = (now + 2_500).min(u64::try_from(until.as_millis()).unwrap()),
                }
            }
            let (sent, ended) = (millis(renewed(end) * 2_000), millis(now));
            assert!(ended >= sent + SECOND * 15, "{late} {end}: the other one may still have requests under way");
            assert!(
                sent + WRITES < ended && ended <= millis(end) + SECOND * 15 + millis(2_500),
                "{late} {end}: {ended:?}"
            );
        }
    }
}
