//! Watches that break, or whose version is gone: what happened meanwhile is seen all the same.

use std::time::Instant;

use serde_json::json;

use super::common::{Ground, RECOVERY};
use crate::fixtures::{managed, shared, workload};
use crate::support::eventually;
use crate::support::proxy::{Fault, Gone, Proxy, What};

/// What happens while nobody listens: a workload comes and goes, and the policy changes.
fn meanwhile(ground: &mut Ground<'_>) {
    ground.world.apply(&workload("Deployment", "short", &json!([])));
    ground.world.kubectl(&["delete", "deployment", "short", "--wait=true"]).success();
    ground.change();
}

/// Waits until the watches are open that the operator needs.
async fn until_open(proxy: &Proxy, count: usize) {
    eventually(&format!("{count} watches are open"), RECOVERY, async || {
        let open = proxy.watches();
        (open >= count).then_some(()).ok_or_else(|| open.to_string())
    })
    .await;
}

#[tokio::test]
async fn watches_are_cut() {
    let mut ground = Ground::new(shared().await, "cut", 20).await;
    let proxy = Proxy::start(ground.world.plane);
    let mut operator = ground.world.spawn_behind(&proxy, &[]);
    operator.wait_ready().await;
    ground.change();
    ground.converged().await;
    let open = proxy.watches();
    for _ in 0..2 {
        // For some time they cannot be opened again, and what happens then is not to be missed.
        proxy.set(Fault::Refuse { status: 500, retry_after: None, what: What::Watches, one_in: 1 });
        assert_eq!(proxy.cut_watches(), open);
        let before = proxy.hit();
        meanwhile(&mut ground);
        eventually("each watch was tried again", RECOVERY, async || {
            let tried = proxy.hit() - before;
            (tried >= 2 * open && proxy.watches() == 0).then_some(()).ok_or_else(|| tried.to_string())
        })
        .await;
        proxy.clear();
        ground.converged().await;
        until_open(&proxy, open).await;
    }
    ground.change();
    proxy.cut_watches();
    let since = Instant::now();
    ground.converged().await;
    ground.finish("watches cut", since, &mut [&mut operator]).await;
}

#[tokio::test]
async fn the_version_of_watches_is_gone() {
    let mut ground = Ground::new(shared().await, "gone", 20).await;
    let proxy = Proxy::start(ground.world.plane);
    let mut operator = ground.world.spawn_behind(&proxy, &[]);
    operator.wait_ready().await;
    ground.change();
    ground.converged().await;
    let open = proxy.watches();
    for how in [Gone::Event, Gone::Status] {
        proxy.set(Fault::Gone(how));
        match how {
            Gone::Event => assert_eq!(proxy.end_watches_as_gone(), open),
            Gone::Status => assert_eq!(proxy.cut_watches(), open),
        }
        // No watch works: it has to list anew, and so sees what has happened.
        meanwhile(&mut ground);
        ground.converged().await;
        assert_eq!(proxy.watches(), 0, "no watch came about");
        proxy.clear();
        until_open(&proxy, open).await;
    }
    // From the moment at which the watches end: it has not to wait for the fault to be over.
    proxy.set(Fault::Gone(Gone::Status));
    let since = Instant::now();
    proxy.end_watches_as_gone();
    ground.change();
    ground.converged().await;
    ground.finish("410 Gone, as status and as event", since, &mut [&mut operator]).await;
    // What went while nobody listened is gone for the operator too.
    proxy.set(Fault::Gone(Gone::Event));
    proxy.end_watches_as_gone();
    ground.world.kubectl(&["delete", "tracingpolicies.tracesteward.io", "all"]).success();
    ground
        .world
        .until("it is withdrawn", "Deployment", "web-0", |live| {
            managed(live).map_or(Ok(()), |fields| Err(fields.to_string()))
        })
        .await;
}
