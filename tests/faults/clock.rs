//! The time of day jumps under the operator.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::common::{Ground, RECOVERY};
use crate::fixtures::shared;
use crate::support::{Clock, consistently, eventually};

const HOUR: i64 = 3_600;

#[tokio::test]
async fn the_clock_jumps_by_an_hour_and_back() {
    let mut ground = Ground::new(shared().await, "clock", 20).await;
    let clock = Clock::new(ground.world.plane.folder());
    let mut operator = ground.world.spawn_by(&clock, &["--leader-elect=true"]);
    operator.wait_ready().await;
    ground.change();
    ground.converged().await;
    for offset in [-HOUR, 0, HOUR] {
        let mark = ground.world.plane.audit_mark();
        clock.set(offset);
        consistently("a clock is no reason to write", Duration::from_secs(2), async || {
            let writes = ground.world.writes(mark).only(|write| write.resource != "leases");
            writes.is_empty().then_some(()).ok_or_else(|| format!("{:#?}", writes.0))
        })
        .await;
        ground.change();
        ground.converged().await;
    }
    // Further and further back, while work waits for its time.
    ground.change();
    let hours = Cell::new(0);
    eventually("every workload is written", RECOVERY, async || {
        hours.set(hours.get() + 1);
        clock.set(-HOUR * hours.get());
        let reached = ground.reached().await;
        (reached == ground.count()).then_some(()).ok_or_else(|| reached.to_string())
    })
    .await;
    let since = Instant::now();
    ground.converged().await;
    clock.set(0);
    ground.finish("clock jumps by an hour and back", since, &mut [&mut operator]).await;
}
