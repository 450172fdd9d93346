//! The time of day jumps under the operator.

use std::time::{Duration, Instant};

use super::common::Ground;
use crate::fixtures::shared;
use crate::support::{Clock, consistently};

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
    // Back, while work waits for its time.
    ground.change();
    ground.until_reached(1).await;
    clock.set(0);
    let since = Instant::now();
    ground.converged().await;
    ground.finish("clock jumps by an hour and back", since, &mut [&mut operator]).await;
}
