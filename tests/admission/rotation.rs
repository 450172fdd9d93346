//! Certificates that last for seconds: the webhook is reached all the while.

use std::time::{Duration, Instant};

use serde_json::json;

use super::common::{asked, plane, spawn, trusted, until_asked};
use crate::fixtures::{SOON, World, policy};
use crate::support::eventually;
use crate::support::https::Caller;
use crate::support::process::free_port;

const COUNT: &str = "-----BEGIN CERTIFICATE-----";

#[tokio::test]
async fn no_call_fails_while_certificates_and_authorities_change() {
    let plane = plane().await;
    let world = World::cluster_wide(&plane, "rotation").await;
    let short = ["--leader-elect=true", "--webhook-ca-lifetime=24s", "--webhook-cert-lifetime=9s"];
    let ports = [free_port(), free_port()];
    let mut one = spawn(&world, ports[0], &short);
    one.wait_ready().await;
    // The API server asks the first; the second stands by, and must be trusted as well.
    let not_managing = [&short[..], &["--manage-admission=false"]].concat();
    let mut two = spawn(&world, ports[1], &not_managing);
    two.wait_ready().await;
    until_asked(&world).await;
    let object = policy("a", &json!({"enabled": true}));
    // It was ready before there was an authority, and looks for one every second.
    eventually("the second has its certificate", SOON, async || {
        Caller::new(ports[1], &trusted(&world).await).review(&object, "team").map(drop)
    })
    .await;

    let (start, mut bundles, mut calls) = (Instant::now(), vec![trusted(&world).await], 0);
    while start.elapsed() < Duration::from_secs(45) {
        let after = start.elapsed();
        asked(&world).await.unwrap_or_else(|error| panic!("after {after:?}: {error}\n{}", one.logs()));
        let bundle = trusted(&world).await;
        for port in ports {
            let said = Caller::new(port, &bundle).review(&object, "team");
            let said = said.unwrap_or_else(|error| panic!("after {after:?}: {port}: {error}\n{}", one.logs()));
            assert_eq!(said["allowed"], false);
        }
        if bundles.last() != Some(&bundle) {
            bundles.push(bundle);
        }
        calls += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let sizes: Vec<_> = bundles.iter().map(|bundle| bundle.matches(COUNT).count()).collect();
    assert!(calls > 100, "{calls}");
    // One, then the old beside the new until its end, twice at least.
    assert!(sizes.starts_with(&[1, 2, 1, 2]), "{sizes:?}");
}
