//! Two replicas, each with an account of its own, so that the audit log tells them apart.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use futures::future::join_all;
use k8s_openapi::ByteString;
use kube::api::{ListParams, PostParams};
use serde_json::{Value, json};

use crate::fixtures::{SOON, World, chart, policy, shared, text, traced, value, workload};
use crate::support::https::Caller;
use crate::support::process::free_port;
use crate::support::{Mark, Operator, Relay, Writes, eventually, http};

/// The promise: how long nobody may write after a leader was lost.
pub(crate) const FAILOVER: Duration = Duration::from_secs(20);
/// How long a leader may need to notice that the Lease is not its own any more.
pub(crate) const RENEWAL: Duration = Duration::from_secs(4);
/// What a replica says when it begins to lead, and when it ends.
pub(crate) const LEADS: [&str; 2] = [r#""leads":true"#, r#""leads":false"#];

/// A namespace with workloads, and the accounts of two replicas.
pub(crate) struct Pair {
    pub(crate) world: World<'static>,
    count: usize,
    kubeconfigs: BTreeMap<&'static str, PathBuf>,
}

pub(crate) struct Replica {
    pub(crate) operator: Operator,
    pub(crate) user: String,
    webhook: u16,
}

impl Pair {
    /// With this many Deployments.
    pub(crate) async fn new(prefix: &str, count: usize) -> Self {
        let world = World::new(shared().await, prefix).await;
        let mut kubeconfigs = BTreeMap::new();
        for name in ["one", "two"] {
            let rbac = chart(world.plane, &world.home, &[&format!("fullnameOverride={name}")]);
            kubeconfigs.insert(name, world.plane.service_account_kubeconfig(&world.home, name, &rbac).await);
        }
        let (api, parameters) = (world.api("Deployment"), PostParams::default());
        let all: Vec<_> = (0..count)
            .map(|number| serde_json::from_value(workload("Deployment", &format!("web-{number}"), &json!([]))).unwrap())
            .collect();
        for created in join_all(all.iter().map(|object| api.create(&parameters, object))).await {
            created.unwrap();
        }
        Self { world, count, kubeconfigs }
    }

    /// Starts a replica with its webhook.
    pub(crate) fn spawn(&self, name: &'static str, relay: Option<&Relay>) -> Replica {
        let (world, mut kubeconfig) = (&self.world, self.kubeconfigs[name].clone());
        if let Some(relay) = relay {
            let through = fs::read_to_string(&kubeconfig).unwrap();
            let through = through.replace(&world.plane.server(), &format!("https://{}", relay.address()));
            kubeconfig.set_extension("relayed");
            fs::write(&kubeconfig, through).unwrap();
        }
        let webhook = free_port();
        // Its configuration in the cluster is nobody's: other tests run beside this one.
        let [address, url, _] = Operator::webhook_args(webhook);
        let args =
            ["--leader-elect", "--namespace", &world.home, "--watch-namespace", &world.namespace, &address, &url];
        let operator = Operator::spawn(world.plane, &kubeconfig, &args);
        Replica { operator, user: format!("system:serviceaccount:{}:{name}", world.home), webhook }
    }

    /// A relay to the API server.
    pub(crate) fn relay(&self) -> Relay {
        Relay::to(self.world.plane.server().trim_start_matches("https://").parse().unwrap())
    }

    /// A leader, and one that waits. The webhook of both is at work, and every workload is written.
    pub(crate) async fn start(&self, relay: Option<&Relay>) -> (Replica, Replica) {
        self.sample(0.5);
        let mut first = self.spawn("one", relay);
        first.operator.wait_ready().await;
        self.settled(0.5).await;
        let mut second = self.spawn("two", None);
        second.operator.wait_ready().await;
        assert!(first.leads() && !second.leads());
        (first, second)
    }

    /// Gives every workload something to be written for.
    pub(crate) fn sample(&self, ratio: f64) {
        self.world.apply(&policy("all", &traced(ratio)));
    }

    /// Waits until every workload has it, and the policy says so.
    pub(crate) async fn settled(&self, ratio: f64) {
        let counts = format!("matched={0} injected={0}", self.count);
        self.world.settled("all", "True/Ready", &counts).await;
        let live = self.world.api("Deployment").list(&ListParams::default()).await.unwrap();
        let live: Vec<_> = live.iter().map(|object| serde_json::to_value(object).unwrap()).collect();
        let has = |object: &&Value| value(object, "OTEL_TRACES_SAMPLER_ARG") == Some(&ratio.to_string());
        assert_eq!(live.iter().filter(has).count(), self.count, "{ratio}");
    }

    /// Changes the policy and returns as soon as this one has begun to write that.
    pub(crate) async fn begin(&self, writer: &Replica, ratio: f64) {
        let mark = self.mark();
        self.sample(ratio);
        let deadline = Instant::now() + SOON;
        while self.counted(mark, writer).is_empty() {
            assert!(Instant::now() < deadline, "it does not write");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub(crate) fn mark(&self) -> Mark {
        self.world.plane.audit_mark()
    }

    /// What this one has written, but for Leases, Events and statuses.
    pub(crate) fn counted(&self, mark: Mark, writer: &Replica) -> Writes {
        self.written(mark, writer).counted()
    }

    /// What this one has written, but for Leases: Events and statuses too, whatever was answered.
    pub(crate) fn written(&self, mark: Mark, writer: &Replica) -> Writes {
        let all = self.world.plane.writes_since(mark, Some(&writer.user), None);
        all.only(|write| write.resource != "leases")
    }

    /// Waits until this one writes; says how long after `since` that was.
    pub(crate) async fn until_written(&self, mark: Mark, writer: &Replica, since: Instant) -> Duration {
        eventually("the other one writes", 2 * FAILOVER, async || {
            if self.counted(mark, writer).is_empty() { Err("it does not".to_owned()) } else { Ok(()) }
        })
        .await;
        since.elapsed()
    }

    /// No workload was changed more than once, by whomever.
    pub(crate) fn nothing_was_written_twice(&self, mark: Mark, writers: [&Replica; 2]) {
        let mut times: BTreeMap<String, usize> = BTreeMap::new();
        for writer in writers {
            for write in self.counted(mark, writer).iter().filter(|write| write.code == 200) {
                *times.entry(write.name.clone()).or_default() += 1;
            }
        }
        times.retain(|_, times| *times > 1);
        assert!(times.is_empty(), "{times:?}");
    }

    /// The specification of the Lease.
    pub(crate) fn lease(&self) -> Value {
        let lease = ["get", "lease", "tracesteward", "-n", &self.world.home, "-o", "json"];
        let lease: Value = serde_json::from_str(&self.world.plane.kubectl(&lease).success()).unwrap();
        lease["spec"].clone()
    }

    /// Asks the replicas all the time, until this is dropped: the probe, and the webhook.
    pub(crate) fn ask(&self, replica: &Replica, ready: &'static [u16]) -> Asking {
        let secret = ["get", "secret", "tracesteward-webhook-ca", "-n", &self.world.home, "-o", "json"];
        let secret: Value = serde_json::from_str(&self.world.plane.kubectl(&secret).success()).unwrap();
        let bundle: ByteString = serde_json::from_value(secret["data"]["ca.crt"].clone()).unwrap();
        let caller = Caller::new(replica.webhook, &String::from_utf8(bundle.0).unwrap());
        let (port, is_over) = (replica.operator.http_port(), Arc::<AtomicBool>::default());
        let over = Arc::clone(&is_over);
        let thread = thread::spawn(move || {
            let mut answers = 0;
            while !over.load(Ordering::Relaxed) {
                let refused = caller.review(&policy("a", &json!({"enabled": true})), "team").unwrap();
                assert_eq!(refused["allowed"], false, "{refused}");
                let answer = http::get(port, "/readyz").unwrap();
                assert!(ready.contains(&answer.status), "{} {}", answer.status, answer.body);
                answers += 1;
                thread::sleep(Duration::from_millis(100));
            }
            answers
        });
        Asking { is_over, thread }
    }
}

/// Somebody who asks.
pub(crate) struct Asking {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<usize>,
}

impl Asking {
    /// Every question was answered; says how many.
    pub(crate) fn done(self) -> usize {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

impl Replica {
    /// Whether it has said last that it leads.
    pub(crate) fn leads(&self) -> bool {
        let logs = self.operator.logs();
        let [began, ended] = LEADS.map(|said| logs.rfind(said));
        began > ended
    }

    /// Waits until it says so; says how long after `since` that was.
    pub(crate) async fn until_leads(&self, leads: bool, within: Duration, since: Instant) -> Duration {
        eventually(if leads { "it leads" } else { "it stops to lead" }, within, async || {
            if self.leads() == leads { Ok(()) } else { Err(format!("leads: {}", !leads)) }
        })
        .await;
        since.elapsed()
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let command = format!("kill -{name} {}", self.operator.pid());
        assert!(Command::new("sh").args(["-c", &command]).status().unwrap().success(), "{command}");
    }
}

pub(crate) fn holder(lease: &Value) -> &str {
    text(&lease["holderIdentity"])
}
