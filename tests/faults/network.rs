//! An API server that is slow, or refuses what it is asked.

use std::time::{Duration, Instant};

use super::common::{Ground, RECOVERY};
use crate::fixtures::shared;
use crate::support::eventually;
use crate::support::proxy::{Fault, Proxy, What};

/// Waits until the fault has met so many requests beyond `before`.
async fn until_hit(proxy: &Proxy, before: usize, count: usize) {
    eventually(&format!("the fault meets {count} requests"), RECOVERY, async || {
        let hit = proxy.hit() - before;
        (hit >= count).then_some(()).ok_or_else(|| hit.to_string())
    })
    .await;
}

#[tokio::test]
async fn the_api_server_takes_200_ms_for_everything() {
    let mut ground = Ground::new(shared().await, "slow", 40).await;
    let proxy = Proxy::start(ground.world.plane);
    proxy.set(Fault::Slow(Duration::from_millis(200)));
    ground.change();
    let mut operator = ground.world.spawn_behind(&proxy, &["--leader-elect=true"]);
    operator.wait_ready().await;
    ground.converged().await;
    ground.change();
    ground.until_reached(10).await;
    proxy.clear();
    let since = Instant::now();
    ground.converged().await;
    ground.finish("API server slow by 200 ms", since, &mut [&mut operator]).await;
}

#[tokio::test]
async fn the_api_server_refuses_with_429_and_500() {
    let mut ground = Ground::new(shared().await, "refusing", 20).await;
    let proxy = Proxy::start(ground.world.plane);
    // One in three requests, from the very beginning: lists and watches too.
    proxy.set(Fault::Refuse { status: 500, retry_after: None, what: What::All, one_in: 3 });
    ground.change();
    let mut operator = ground.world.spawn_behind(&proxy, &["--leader-elect=true"]);
    ground.converged().await;
    operator.wait_ready().await;
    let refuse = |status, retry_after| Fault::Refuse { status, retry_after, what: What::Writes, one_in: 1 };
    for fault in [refuse(429, Some(1)), refuse(429, None), refuse(500, None), refuse(503, Some(0))] {
        let before = proxy.hit();
        proxy.set(fault);
        ground.change();
        until_hit(&proxy, before, ground.count()).await;
        assert_eq!(ground.reached().await, 0, "nothing passes");
        proxy.clear();
        ground.converged().await;
    }
    let before = proxy.hit();
    proxy.set(Fault::Refuse { status: 429, retry_after: Some(1), what: What::All, one_in: 3 });
    ground.change();
    until_hit(&proxy, before, 10).await;
    proxy.clear();
    let since = Instant::now();
    ground.converged().await;
    ground.finish("API server refuses: 429, 500, 503", since, &mut [&mut operator]).await;
}

#[tokio::test]
async fn nothing_passes_for_a_while() {
    let mut ground = Ground::new(shared().await, "silent", 40).await;
    let proxy = Proxy::start(ground.world.plane);
    let mut operator = ground.world.spawn_behind(&proxy, &["--leader-elect=true"]);
    operator.wait_ready().await;
    ground.change();
    ground.converged().await;
    proxy.set(Fault::Silence);
    ground.change();
    eventually("the operator says that it cannot work", RECOVERY, async || {
        let answer = operator.get("/readyz")?;
        (answer.status == 503).then_some(()).ok_or(answer.body)
    })
    .await;
    assert_eq!(ground.reached().await, 0, "nothing passes");
    proxy.clear();
    let since = Instant::now();
    ground.converged().await;
    ground.finish("network silent, then as before", since, &mut [&mut operator]).await;
}

#[tokio::test]
async fn what_was_accepted_is_never_answered() {
    let mut ground = Ground::new(shared().await, "swallowed", 20).await;
    let proxy = Proxy::start(ground.world.plane);
    let mut operator = ground.world.spawn_behind(&proxy, &[]);
    operator.wait_ready().await;
    ground.change();
    ground.converged().await;
    // Each watch is begun again, and nobody ever says that it will not be answered.
    proxy.set(Fault::Swallow);
    let open = proxy.cut_watches();
    until_hit(&proxy, 0, open).await;
    proxy.clear();
    let since = Instant::now();
    ground.change();
    ground.converged().await;
    ground.finish("requests accepted and never answered", since, &mut [&mut operator]).await;
}
