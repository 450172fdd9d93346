//! The leader is killed, stopped, paused, or cut off in the middle of its work.

use std::time::{Duration, Instant};

use crate::common::{FAILOVER, Pair};
use crate::support::consistently;

/// Many enough for a leader to be caught in the middle.
const COUNT: usize = 200;

#[tokio::test]
async fn a_leader_that_is_killed_is_replaced_in_time() {
    let pair = Pair::new("killed", COUNT).await;
    let (first, second) = pair.start(None).await;
    let asking = pair.ask(&second, &[200]);
    let mark = pair.mark();
    pair.begin(&first, 0.25).await;
    first.signal("KILL");
    let killed = Instant::now();
    let took = pair.until_written(mark, &second, killed).await;
    println!("killed: the other one wrote after {took:?}");
    assert!(took < FAILOVER, "{took:?}");
    pair.settled(0.25).await;
    assert!(pair.counted(mark, &first).len() < COUNT, "it was faster than the test");
    pair.nothing_was_written_twice(mark, [&first, &second]);
    assert!(asking.done() > 50);
}

#[tokio::test]
async fn a_leader_that_ends_hands_over_at_once() {
    let pair = Pair::new("ended", COUNT).await;
    let (first, second) = pair.start(None).await;
    let asking = pair.ask(&second, &[200]);
    let mark = pair.mark();
    pair.begin(&first, 0.25).await;
    let ended = Instant::now();
    first.signal("TERM");
    let took = pair.until_written(mark, &second, ended).await;
    println!("ended: the other one wrote after {took:?}");
    // A look every two seconds and a half at the latest, and the last answers of the one that ends.
    assert!(took < Duration::from_secs(5), "{took:?}");
    pair.settled(0.25).await;
    assert!(pair.counted(mark, &first).len() < COUNT, "it was faster than the test");
    pair.nothing_was_written_twice(mark, [&first, &second]);
    // Given back after its last write.
    let writes = pair.world.plane.writes_since(mark, Some(&first.user), None);
    let is_last = writes.last().is_some_and(|write| write.resource == "leases" && write.code == 200);
    assert!(is_last, "{:?}", writes.last());
    asking.done();
}

#[tokio::test]
async fn a_leader_that_is_cut_off_writes_nothing_after_its_time() {
    let pair = Pair::new("cut", COUNT).await;
    let relay = pair.relay();
    let (first, second) = pair.start(Some(&relay)).await;
    // Cut off, it says that it cannot work, and answers all the same.
    let asking = [pair.ask(&first, &[200, 503]), pair.ask(&second, &[200])];
    let mark = pair.mark();
    pair.begin(&first, 0.25).await;
    relay.hold();
    let cut = Instant::now();
    // What it is about to write is out of date by the time that anybody hears of it.
    pair.sample(0.125);
    let took = pair.until_written(mark, &second, cut).await;
    println!("cut off: the other one wrote after {took:?}");
    assert!(took < FAILOVER, "{took:?}");
    assert!(!first.leads(), "it has stopped by itself");
    pair.settled(0.125).await;
    assert!(pair.counted(mark, &first).len() < COUNT, "it was faster than the test");

    let (late, leader) = (pair.mark(), pair.lease());
    let bytes = relay.go_on();
    println!("delivered late: {bytes} bytes");
    assert!(bytes > 0, "nothing was under way");
    consistently("it writes nothing", Duration::from_secs(8), async || {
        let written = pair.written(late, &first);
        if written.is_empty() { Ok(()) } else { Err(format!("{written:#?}")) }
    })
    .await;
    pair.settled(0.125).await;
    assert_eq!(pair.lease()["holderIdentity"], leader["holderIdentity"]);
    // It is well again, and its turn comes.
    let answer = first.operator.get("/readyz").unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    for asking in asking {
        assert!(asking.done() > 50);
    }
    let mark = pair.mark();
    second.signal("TERM");
    first.until_leads(true, Duration::from_secs(5), Instant::now()).await;
    pair.sample(1.0 / 16.0);
    pair.settled(1.0 / 16.0).await;
    assert_eq!(pair.counted(mark, &first).len(), COUNT);
    pair.nothing_was_written_twice(mark, [&first, &second]);
}

#[tokio::test]
async fn a_leader_that_is_paused_writes_nothing_when_it_wakes() {
    let pair = Pair::new("paused", COUNT).await;
    let (first, second) = pair.start(None).await;
    let asking = pair.ask(&second, &[200]);
    let mark = pair.mark();
    pair.begin(&first, 0.25).await;
    first.signal("STOP");
    let paused = Instant::now();
    pair.sample(0.125);
    let took = pair.until_written(mark, &second, paused).await;
    println!("paused: the other one wrote after {took:?}");
    assert!(took < FAILOVER, "{took:?}");
    pair.settled(0.125).await;
    assert!(pair.counted(mark, &first).len() < COUNT, "it was faster than the test");
    tokio::time::sleep(Duration::from_secs(25).saturating_sub(paused.elapsed())).await;
    let late = pair.mark();
    first.signal("CONT");
    consistently("it writes nothing", Duration::from_secs(6), async || {
        let written = pair.written(late, &first);
        if written.is_empty() { Ok(()) } else { Err(format!("{written:#?}")) }
    })
    .await;
    assert!(!first.leads() && second.leads());
    pair.settled(0.125).await;
    asking.done();
}
