//! The operator is killed again and again in the middle of its work: the next one goes on where it was.

use std::io::Write as _;
use std::time::{Duration, Instant, SystemTime};

use kube::api::ListParams;

use super::common::{Ground, RECOVERY};
use super::progress::Progress;
use crate::fixtures::{World, install_crds};
use crate::support::{ControlPlane, eventually};

/// How many workloads of the policy may be in progress at the same time.
const BOUND: usize = 10;

const COUNT: usize = 300;
const KILLS: usize = 20;
/// The longest life of an operator that is killed.
const LIFE: Duration = Duration::from_millis(1_500);

/// Numbers that seem to be random, the same ones for the same seed.
struct Random(u64);

impl Random {
    /// `TRACESTEWARD_SEED`, or another one each time. It is printed, so that a failure can be had again.
    fn new() -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let given = std::env::var("TRACESTEWARD_SEED").ok().map(|seed| seed.parse().expect("a number"));
        let seed = given.unwrap_or_else(|| u64::from(now.subsec_nanos()));
        drop(std::io::stderr().write_all(format!("killed at random instants: TRACESTEWARD_SEED={seed}\n").as_bytes()));
        Self(seed)
    }

    fn below(&mut self, limit: Duration) -> Duration {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let part = u32::try_from(self.0 >> 48).expect("sixteen bits");
        limit * part / (1 << 16)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_twenty_random_instants() {
    let plane = ControlPlane::start().await;
    install_crds(&plane);
    let mut kwok = plane.simulate_pods().await;
    kwok.starts_within(Duration::from_millis(100));
    let mut ground = Ground::with(World::new(&plane, "killed").await, COUNT, 1).await;
    let deployments = ground.world.api("Deployment");
    eventually("all are available", RECOVERY, async || {
        let live = deployments.list(&ListParams::default()).await.unwrap();
        let ready = live.iter().filter(|object| object.data["status"]["availableReplicas"] == 1).count();
        (ready == COUNT).then_some(()).ok_or_else(|| format!("{ready} of {COUNT}"))
    })
    .await;
    let progress = Progress::watch(&ground.world);
    let mut random = Random::new();
    ground.change();
    let mut in_the_middle = 0;
    for _ in 0..KILLS {
        let operator = ground.world.spawn(&[]);
        tokio::time::sleep(random.below(LIFE)).await;
        operator.kill9();
        match ground.reached().await {
            // The next one shall have something to do.
            COUNT => ground.change(),
            0 => {}
            _ => in_the_middle += 1,
        }
    }
    assert!(in_the_middle > 0, "it was never in the middle of its work");
    let since = Instant::now();
    let mut operator = ground.world.operator(&[]).await;
    ground.converged().await;
    bounded(&progress);
    ground.finish("operator killed at 20 random instants", since, &mut [&mut operator]).await;
}

/// Also over the lives of many operators no more are in progress than the policy allows.
fn bounded(progress: &Progress) {
    let most = progress.most();
    drop(std::io::stderr().write_all(format!("killed at random instants: at most {most} in progress\n").as_bytes()));
    assert!(most <= BOUND, "{most} were in progress at the same time");
    assert!(most > 0, "nothing was seen");
}
