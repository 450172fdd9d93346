//! Who leads where several begin at once, and what happens to the Lease by hand.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::common::{Pair, RENEWAL, holder};
use crate::fixtures::text;
use crate::support::{consistently, eventually};

#[tokio::test]
async fn of_two_that_begin_at_once_one_leads() {
    let pair = Pair::new("begin", 20).await;
    let mark = pair.mark();
    // First without a Lease, then with one that was given back a moment ago.
    for (round, ratio) in [0.5, 0.25, 0.125, 0.0625].into_iter().enumerate() {
        pair.sample(ratio);
        let round_mark = pair.mark();
        let mut replicas = ["one", "two"].map(|name| pair.spawn(name, None));
        for replica in &mut replicas {
            replica.operator.wait_ready().await;
        }
        pair.settled(ratio).await;
        let [one, two] = &replicas;
        let leader = usize::from(two.leads());
        assert!(one.leads() != two.leads(), "both lead, or none");
        let written = pair.counted(round_mark, &replicas[leader]).only(|write| write.resource == "deployments");
        assert_eq!(written.len(), 20, "{written:#?}");
        assert!(pair.written(round_mark, &replicas[1 - leader]).is_empty());
        let lease = pair.lease();
        assert!(holder(&lease).starts_with("operator-"), "{lease:#}");
        assert_eq!((&lease["leaseDurationSeconds"], &lease["leaseTransitions"]), (&json!(15), &json!(round)));
        assert!(text(&lease["renewTime"]) >= text(&lease["acquireTime"]), "{lease:#}");
        // The one that waits first: it would take over at once.
        replicas[1 - leader].signal("TERM");
        tokio::time::sleep(Duration::from_millis(500)).await;
        replicas[leader].signal("TERM");
        eventually("the Lease is given back", RENEWAL, async || {
            let lease = pair.lease();
            if holder(&lease).is_empty() { Ok(()) } else { Err(lease.to_string()) }
        })
        .await;
        assert_eq!(pair.lease()["leaseTransitions"], round, "who gives it back is no new holder");
        let [one, two] = &replicas;
        pair.nothing_was_written_twice(round_mark, [one, two]);
    }
    assert!(pair.world.plane.writes_since(mark, None, Some(&pair.world.home)).iter().all(|write| write.code != 403));
}

#[tokio::test]
async fn a_lease_that_is_deleted_is_made_again_by_its_holder() {
    let pair = Pair::new("deleted", 20).await;
    let (first, second) = pair.start(None).await;
    let mark = pair.mark();
    pair.world.plane.kubectl(&["delete", "lease", "tracesteward", "-n", &pair.world.home]).success();
    let deleted = Instant::now();
    eventually("there is a Lease again", RENEWAL, async || {
        let find = ["get", "lease", "tracesteward", "-n", &pair.world.home];
        let found = pair.world.plane.kubectl(&find);
        if found.status.success() { Ok(()) } else { Err(found.stderr) }
    })
    .await;
    println!("deleted: made again after {:?}", deleted.elapsed());
    assert_eq!(first.operator.logs().matches("\"leads\":false").count(), 1, "between, it did not lead");
    first.until_leads(true, RENEWAL, deleted).await;
    pair.sample(0.25);
    pair.settled(0.25).await;
    assert_eq!(pair.counted(mark, &first).len(), 20);
    assert!(pair.written(mark, &second).is_empty() && !second.leads());
}

#[tokio::test]
async fn a_lease_that_is_taken_by_hand_stops_its_holder() {
    let pair = Pair::new("taken", 20).await;
    let (first, second) = pair.start(None).await;
    let patch = json!({"spec": {"holderIdentity": "somebody"}}).to_string();
    let take = ["patch", "lease", "tracesteward", "-n", &pair.world.home, "--type=merge", "-p", &patch];
    pair.world.plane.kubectl(&take).success();
    let taken = Instant::now();
    let took = first.until_leads(false, RENEWAL, taken).await;
    println!("taken: it stopped after {took:?}");
    let mark = pair.mark();
    pair.sample(0.25);
    consistently("nobody writes", Duration::from_secs(14).saturating_sub(taken.elapsed()), async || {
        let written = [&first, &second].map(|replica| pair.written(mark, replica));
        if written.iter().all(|writes| writes.is_empty()) { Ok(()) } else { Err(format!("{written:#?}")) }
    })
    .await;
    // Nobody renews it: one of the two has it after its time.
    pair.settled(0.25).await;
    assert!(first.leads() != second.leads());
    pair.nothing_was_written_twice(mark, [&first, &second]);
    assert_eq!(pair.lease()["leaseTransitions"], 1, "by hand it was not counted");
}
