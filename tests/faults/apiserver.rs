//! The API server, and etcd behind it, stop in the middle of the work.

use std::time::{Duration, Instant};

use super::common::{Ground, RECOVERY};
use crate::fixtures::{SOON, install_crds, managed};
use crate::support::{ControlPlane, Operator, consistently, eventually};

/// As long as the matrix says.
const ETCD_IS_AWAY: Duration = Duration::from_secs(30);

async fn says_that_it_cannot_work(operator: &Operator) {
    eventually("the operator says that it cannot work", SOON, async || {
        let answer = operator.get("/readyz")?;
        (answer.status == 503 && answer.body.contains(r#""name":"api-server","ok":false"#))
            .then_some(())
            .ok_or(answer.body)
    })
    .await;
    assert_eq!(operator.get("/healthz").unwrap().status, 200, "restarting it would not help");
}

#[tokio::test]
async fn the_api_server_is_killed_and_comes_back() {
    let plane = ControlPlane::start().await;
    install_crds(&plane);
    let mut ground = Ground::new(&plane, "apiserver", 200).await;
    let mut operator = ground.world.operator(&[]).await;
    ground.change();
    ground.until_reached(10).await;
    plane.stop_apiserver();
    assert!(ground.world.writes(ground.mark()).counted().len() < ground.count(), "it was faster than the test");
    says_that_it_cannot_work(&operator).await;
    plane.start_apiserver().await;
    let since = Instant::now();
    ground.converged().await;
    operator.wait_ready().await;
    ground.finish("API server killed and started", since, &mut [&mut operator]).await;
    // The watches live on: what happens now is seen.
    ground.world.kubectl(&["delete", "tracingpolicies.tracesteward.io", "all"]).success();
    ground
        .world
        .until("it is withdrawn", "Deployment", "web-0", |live| {
            managed(live).map_or(Ok(()), |fields| Err(fields.to_string()))
        })
        .await;
}

#[tokio::test]
async fn etcd_answers_nothing_for_half_a_minute() {
    // Answered with 504 while etcd is away, and not only late.
    let plane = ControlPlane::start_with(&["--request-timeout=10s"]).await;
    install_crds(&plane);
    let mut ground = Ground::new(&plane, "etcd", 100).await;
    let mut operator = ground.world.operator(&["--leader-elect=true"]).await;
    ground.change();
    ground.until_reached(10).await;
    plane.pause_etcd();
    consistently("it lives on", ETCD_IS_AWAY, async || {
        let answer = operator.get("/healthz")?;
        (answer.status == 200).then_some(()).ok_or(answer.body)
    })
    .await;
    plane.resume_etcd();
    let since = Instant::now();
    eventually("the API server works again", RECOVERY, async || {
        ground.world.api("Deployment").get("web-0").await.map_err(|error| error.to_string())
    })
    .await;
    ground.converged().await;
    ground.finish("etcd without answer for 30 s", since, &mut [&mut operator]).await;
}
