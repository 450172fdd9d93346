//! Two operators that both believe to lead.

use std::time::Instant;

use super::common::Ground;
use crate::fixtures::shared;

#[tokio::test]
async fn two_operators_do_not_fight() {
    let mut ground = Ground::new(shared().await, "two", 40).await;
    let mut one = ground.world.operator(&[]).await;
    let mut two = ground.world.operator(&[]).await;
    let mut since = Instant::now();
    for _ in 0..3 {
        since = Instant::now();
        ground.change();
        ground.converged().await;
    }
    // Each may write each change before it hears that the other has: what is there already is written twice, and no more.
    ground.finish("two operators that both lead", since, &mut [&mut one, &mut two]).await;
}
