//! One size: a control plane of its own, its objects, and everything that is measured on it.

use std::collections::BTreeMap;
use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::ByteString;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};
use tracesteward::index::raw::RawDeployment;

use crate::fixtures::{World, install_crds, policy, template, text, traced};
use crate::objects::{self, Size, api};
use crate::process::Usage;
use crate::support::https::{Caller, review};
use crate::support::process::free_port;
use crate::support::{ControlPlane, Mark, Operator, Scrape, eventually};
use crate::table::{Figures, Promise, number};

/// The longest that one phase may take: an API server on a slow machine.
const PHASE: Duration = Duration::from_secs(3_600);
/// Reconciles of the operator that run at the same time: the bare loop is as wide.
const CONCURRENCY: usize = 8;
/// Deployments of the bare loop.
const BARE: usize = 1_000;
/// Policies that are edited, one after another.
const EDITS: usize = 9;
/// Workloads of each of them.
const EDITED: f64 = 20.0;
/// Who writes on behalf of Deployments.
const ROLLOUT: [&str; 2] = ["deployment-controller", "replicaset-controller"];

/// Prints what is done now.
pub(crate) fn say(what: &str) {
    println!("  {what}");
}

struct Run<'a> {
    world: World<'a>,
    size: Size,
    figures: Figures,
    /// Memory of an operator in an empty cluster.
    empty: Usage,
}

/// Runs everything for this size; nothing may be written for as long as `rest` afterwards.
pub(crate) async fn run(size: Size, rest: Duration) -> Figures {
    println!("\n{} Deployments, {} policies, {} namespaces", size.workloads, size.policies(), size.namespaces());
    let plane = ControlPlane::start().await;
    install_crds(&plane);
    let world = World::cluster_wide(&plane, "pods").await;
    let mut run = Run { world, size, figures: Figures::default(), empty: Usage::default() };
    run.measure_empty().await;
    run.make().await;
    plane.stop_controller_manager();
    let port = free_port();
    let operator = run.converge(port).await;
    say("stopping the operator");
    assert!(operator.stop().success());
    run.bare().await;
    let operator = run.restart(port).await;
    run.edit(&operator).await;
    run.rest(&operator, rest).await;
    run.fail_over(operator, port).await;
    run.figures
}

impl Run<'_> {
    /// An operator as the chart runs it: elected, with its webhook.
    fn spawn(&self, port: u16) -> Operator {
        self.spawn_with(port, &[])
    }

    fn spawn_with(&self, port: u16, extra: &[&str]) -> Operator {
        let flags = Operator::webhook_args(port);
        let args = flags.iter().map(String::as_str).chain(["--leader-elect=true"]).chain(extra.iter().copied());
        self.world.spawn(&args.collect::<Vec<_>>())
    }

    fn per_workload(&self, total: f64) -> f64 {
        total / self.workloads()
    }

    fn workloads(&self) -> f64 {
        number(self.size.workloads)
    }

    async fn measure_empty(&mut self) {
        say("an operator in an empty cluster");
        let mut operator = self.spawn(free_port());
        operator.wait_ready().await;
        idle(&operator).await;
        self.empty = Usage::of(operator.pid());
        self.figures.add("memory of an operator in an empty cluster, MiB", self.empty.memory / 1024.0, Promise::Shown);
        assert!(operator.stop().success());
    }

    async fn make(&self) {
        let mark = self.world.plane.audit_mark();
        let start = Instant::now();
        say("making the objects");
        objects::deployments(&self.world.client, "team", self.size).await;
        objects::policies(&self.world.client, "team", self.size).await;
        // For the webhook: pods of their own.
        let mut spec = traced(0.5);
        spec["injection"] = json!({"mode": "Pod"});
        self.world.apply(&policy("pods", &spec));
        say(&format!("made in {} s; waiting for the controller manager", start.elapsed().as_secs()));
        self.until_rolled_out(mark).await;
    }

    /// Until the controller manager has done everything that is to be done about Deployments.
    async fn until_rolled_out(&self, mut mark: Mark) {
        let start = Instant::now();
        let mut written = 0;
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            let next = self.world.plane.audit_mark();
            let writes = self.world.plane.writes_since(mark, None, None);
            let more = writes.iter().filter(|write| ROLLOUT.iter().any(|who| write.user.ends_with(who))).count();
            written += more;
            mark = next;
            if more == 0 && written > 0 {
                say(&format!("the controller manager wrote {written} times, {} s", start.elapsed().as_secs()));
                return;
            }
            assert!(start.elapsed() < PHASE, "the controller manager does not come to rest");
        }
    }

    /// From the operator's start to the last write.
    async fn converge(&mut self, port: u16) -> Operator {
        say("cold convergence");
        let plane = self.world.plane;
        let (mark, before) = (plane.audit_mark(), Usage::of(plane.apiserver_pid()));
        let start = Instant::now();
        let operator = self.spawn(port);
        let asking = self.ask_webhook(port).await;
        let mut told = Instant::now();
        let wanted = self.workloads();
        let took = eventually("all are written", PHASE, || {
            let now = scrape(&operator);
            let written = now.map(|now| now.sum("tracesteward_workload_writes_total", &[("result", "Written")]));
            if told.elapsed() > Duration::from_secs(5) {
                told = Instant::now();
                say(&format!("{} written after {} s", written.as_ref().unwrap_or(&0.0), start.elapsed().as_secs()));
            }
            ready(written.and_then(|now| (now >= wanted).then(|| start.elapsed()).ok_or_else(|| now.to_string())))
        })
        .await;
        eventually("every status says so", PHASE, async || {
            let now = scrape(&operator)?;
            let injected = now.sum("tracesteward_workloads", &[("state", "injected")]);
            (injected >= self.workloads()).then_some(()).ok_or_else(|| format!("{injected} injected"))
        })
        .await;
        let settled = start.elapsed();
        idle(&operator).await;
        let (served, asked) = (Usage::of(plane.apiserver_pid()).cpu - before.cpu, asking.end());
        let used = Usage::of(operator.pid());
        let scraped = scrape(&operator).expect("it answers");
        let requests = scraped.sum("rest_client_requests_total", &[]);
        let (cpu, memory) = (self.per_workload(used.cpu * 1e3), used.memory - self.empty.memory);
        let (each, served) = (self.per_workload(took.as_secs_f64() * 1e3), self.per_workload(served * 1e3));
        let figures = &mut self.figures;
        figures.add("cold convergence: start of the operator to the last write, s", took.as_secs_f64(), Promise::Shown);
        figures.add("the same to the last status, s", settled.as_secs_f64(), Promise::Shown);
        figures.add("time for each workload, ms", each, Promise::Grows(1.5));
        figures.add("processor for each workload, ms: operator", cpu, Promise::Grows(1.5));
        figures.add("processor for each workload, ms: API server", served, Promise::Shown);
        figures.add("processor: API server for each second of the operator", served / cpu, Promise::Shown);
        figures.add("memory after the convergence, above an empty operator, KiB", memory, Promise::EachFurther(24.0));
        figures.add("the most until then, MiB", used.peak / 1024.0, Promise::Shown);
        figures.add("webhook during the convergence: answers", asked.answers, Promise::Shown);
        figures.add("webhook during the convergence: worst answer, ms", asked.worst, Promise::AtMost(1_000.0));
        figures.add("webhook during the convergence: median, ms", asked.median, Promise::Shown);
        self.count_writes(mark, requests);
        operator
    }

    fn count_writes(&mut self, mark: Mark, requests: f64) {
        let all = self.world.writes(mark);
        let counted = all.counted();
        let mut times: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        let deployments = counted.iter().filter(|write| write.resource == "deployments");
        deployments.for_each(|write| *times.entry((&write.namespace, &write.name)).or_default() += 1);
        let writes: usize = times.values().sum();
        let others = counted.len() - writes;
        let of = |resource: &str| number(all.iter().filter(|write| write.resource == resource).count());
        let (policies, workloads) = (number(self.size.policies()), self.workloads());
        let statuses = of("tracingpolicies") / policies;
        let events = of("events") / workloads;
        let figures = &mut self.figures;
        figures.add("workloads that were written", number(times.len()), Promise::Is(workloads));
        figures.add("writes for each workload", number(writes) / workloads, Promise::Is(1.0));
        figures.add("other writes that count (what admission needs)", number(others), Promise::AtMost(12.0));
        figures.add("writes of a status for each policy", statuses, Promise::AtMost(5.0));
        figures.add("Events for each workload", events, Promise::Shown);
        figures.add("requests for each workload, all together", requests / workloads, Promise::Grows(1.5));
    }

    /// The same applies without an operator: what the API server alone takes for them.
    async fn bare(&mut self) {
        let size = Size { workloads: BARE.min(self.size.workloads) };
        let number = number(size.workloads);
        say(&format!("a bare loop of {} such writes", size.workloads));
        objects::deployments(&self.world.client, "bare", size).await;
        let patches: Vec<Value> = self.patches().await;
        let kubeconfig = self.world.plane.folder().join(format!("{}-tracesteward.kubeconfig", self.world.home));
        let client = self.world.plane.client_for(&kubeconfig).await;
        let before = Usage::of(self.world.plane.apiserver_pid());
        let start = Instant::now();
        let writes = stream::iter(0..size.workloads).map(|number| {
            let (name, mut patch) = (format!("service-{number:05}"), patches[number % 2].clone());
            patch["metadata"]["name"] = name.clone().into();
            let api: Api<RawDeployment> = Api::namespaced(client.clone(), &objects::namespace("bare", number));
            async move { api.patch(&name, &PatchParams::apply("bare-loop"), &Patch::Apply(&patch)).await.map(drop) }
        });
        writes.buffer_unordered(CONCURRENCY).try_collect::<()>().await.expect("all are written");
        let took = start.elapsed().as_secs_f64() * 1e3 / number;
        let served = (Usage::of(self.world.plane.apiserver_pid()).cpu - before.cpu) * 1e3 / number;
        let of = |figures: &Figures, name: &str| {
            figures.0.iter().find(|known| known.name == name).map_or(0.0, |known| known.value)
        };
        let (ours, used) = (
            of(&self.figures, "time for each workload, ms"),
            of(&self.figures, "processor for each workload, ms: operator"),
        );
        let figures = &mut self.figures;
        figures.add("bare loop of the same writes: time for each, ms", took, Promise::Shown);
        figures.add("bare loop: processor for each, ms: API server", served, Promise::Shown);
        figures.add("convergence compared with the bare loop", ours / took, Promise::AtMost(3.0));
        figures.add(
            "processor of the operator compared with the API server's for the bare loop",
            used / served,
            Promise::AtMost(0.5),
        );
    }

    /// What the operator has applied to the first two Deployments, which differ in their containers.
    async fn patches(&self) -> Vec<Value> {
        let mut patches = Vec::new();
        for name in ["service-00000", "service-00001"] {
            let live = api(&self.world.client, "Deployment", "team-0").get(name).await.expect("it is there");
            let live = serde_json::to_value(live).expect("an object is JSON");
            let container = |container: &Value| {
                let held = crate::fixtures::held(&live, text(&container["name"]));
                let own = container["env"].as_array().into_iter().flatten();
                let env: Vec<_> = own.filter(|variable| held.contains(&text(&variable["name"]))).cloned().collect();
                (!env.is_empty()).then(|| json!({"name": container["name"], "env": env}))
            };
            let containers = template(&live)["spec"]["containers"].as_array().expect("containers");
            let containers: Vec<_> = containers.iter().filter_map(container).collect();
            assert_eq!(containers.len(), 2, "app and worker");
            let spec = json!({"template": {"spec": {"containers": containers}}});
            patches
                .push(json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}));
        }
        patches
    }

    /// Started again, and while all Deployments roll out: nothing is to be done.
    async fn restart(&mut self, port: u16) -> Operator {
        say("starting the operator again");
        let mark = self.world.plane.audit_mark();
        let start = Instant::now();
        let mut operator = self.spawn(port);
        operator.wait_ready().await;
        let took = start.elapsed().as_secs_f64();
        self.until_all_seen(&operator).await;
        let usage = Usage::of(operator.pid());
        let writes = self.written_since(mark);
        let memory = usage.memory - self.empty.memory;
        let cpu = self.per_workload(usage.cpu * 1e3);
        let figures = &mut self.figures;
        figures.add("restart: until it is ready, s", took, Promise::Shown);
        figures.add("restart: writes", writes, Promise::Is(0.0));
        figures.add("restart: processor for each workload, ms", cpu, Promise::Grows(1.5));
        figures.add("restart: memory above an empty operator, KiB", memory, Promise::EachFurther(16.0));
        say("the controller manager rolls everything out");
        let rolling = self.world.plane.audit_mark();
        self.world.plane.start_controller_manager();
        self.until_rolled_out(rolling).await;
        idle(&operator).await;
        let used = self.per_workload((Usage::of(operator.pid()).cpu - usage.cpu) * 1e3);
        let writes = self.written_since(mark);
        self.figures.add("all are rolled out: writes", writes, Promise::Is(0.0));
        self.figures.add("all are rolled out: processor for each workload, ms", used, Promise::Grows(1.5));
        operator
    }

    /// One policy after another is edited: the time to the last of its workloads.
    async fn edit(&mut self, operator: &Operator) {
        say("editing policies of 20 workloads");
        let used = Usage::of(operator.pid()).cpu;
        let mut took = Vec::new();
        for number in 0..EDITS.min(self.size.namespaces()) {
            let written =
                || scrape(operator).map(|now| now.sum("tracesteward_workload_writes_total", &[("result", "Written")]));
            let before = written().expect("it answers");
            let api = api(&self.world.client, "TracingPolicy", &format!("team-{number}"));
            let start = Instant::now();
            let patch = json!({"spec": {"sampling": {"ratio": 0.25}}});
            api.patch("front", &PatchParams::default(), &Patch::Merge(&patch)).await.expect("it is edited");
            let deadline = start + Duration::from_secs(60);
            loop {
                let now = written().expect("it answers");
                if now >= before + EDITED {
                    break;
                }
                assert!(Instant::now() < deadline, "{now} after {before}");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            took.push(start.elapsed().as_secs_f64() * 1e3);
            // Its rollout is not to disturb the next one.
            idle(operator).await;
        }
        took.sort_by(f64::total_cmp);
        let used = (Usage::of(operator.pid()).cpu - used) * 1e3 / number(took.len());
        let figures = &mut self.figures;
        // What others do on the machine makes an edit slower, and nothing makes it faster: the fastest one is compared.
        figures.add(
            "edit of a policy: to the last of its 20 workloads, ms (fastest of 9)",
            took[0],
            Promise::Grows(1.5),
        );
        figures.add("edit of a policy: median, ms", took[took.len() / 2], Promise::Shown);
        figures.add("edit of a policy: slowest, ms", took[took.len() - 1], Promise::Shown);
        figures.add("edit of a policy: processor, ms", used, Promise::Shown);
    }

    async fn rest(&mut self, operator: &Operator, rest: Duration) {
        let (mark, before) = (self.world.plane.audit_mark(), Usage::of(operator.pid()));
        let start = Instant::now();
        while start.elapsed() < rest {
            say(&format!("at rest for {} of {} s", start.elapsed().as_secs(), rest.as_secs()));
            tokio::time::sleep(rest.saturating_sub(start.elapsed()).min(Duration::from_secs(30))).await;
        }
        let after = Usage::of(operator.pid());
        let writes = self.written_since(mark);
        let memory = after.memory - self.empty.memory;
        self.figures.add("at rest: writes", writes, Promise::Is(0.0));
        self.figures.add(
            "at rest: processor for a minute, ms",
            (after.cpu - before.cpu) * 6e4 / rest.as_secs_f64(),
            Promise::Shown,
        );
        self.figures.add("at rest: memory above an empty operator, KiB", memory, Promise::EachFurther(16.0));
        self.figures.add("at rest: memory of the operator, MiB", after.memory / 1024.0, Promise::Shown);
    }

    /// The leader is killed, another takes over: nothing is to be done.
    async fn fail_over(&mut self, operator: Operator, port: u16) {
        say("a second operator; the first is killed");
        // At another address of loopback, so that what is cluster-wide stays as it is, as it does behind a Service.
        let mut second = self.spawn_with(port, &[&format!("--webhook-address=127.0.0.2:{port}")]);
        second.wait_ready().await;
        let mark = self.world.plane.audit_mark();
        let start = Instant::now();
        operator.kill9();
        eventually("the second leads", PHASE, async || {
            let leads = scrape(&second)?.sum("leader_election_master_status", &[]);
            (leads > 0.5).then_some(()).ok_or_else(|| "it does not".to_owned())
        })
        .await;
        let took = start.elapsed().as_secs_f64();
        self.until_all_seen(&second).await;
        let writes = self.written_since(mark);
        self.figures.add("failover: until the other leads, s", took, Promise::Shown);
        self.figures.add("failover: writes", writes, Promise::Is(0.0));
        assert!(second.stop().success());
    }

    /// Until the leader has looked at every workload, and is idle.
    async fn until_all_seen(&self, operator: &Operator) {
        eventually("every workload is known", PHASE, async || {
            let seen = scrape(operator)?.sum("tracesteward_workloads", &[("state", "injected")]);
            (seen >= self.workloads()).then_some(()).ok_or_else(|| seen.to_string())
        })
        .await;
        idle(operator).await;
    }

    /// Whatever the operator has written but Leases; not what admission is kept with, whose certificates are another process's.
    fn written_since(&self, mark: Mark) -> f64 {
        let writes = self.world.writes(mark).only(|write| write.resource != "leases");
        for write in writes.iter().take(20) {
            println!("    written: {write:?}");
        }
        number(writes.len())
    }

    /// Asks the webhook about pods, again and again.
    async fn ask_webhook(&self, port: u16) -> Asking {
        let bundle = eventually("the webhook is set up", PHASE, async || {
            let output =
                self.world.plane.kubectl(&["get", "validatingwebhookconfiguration", "tracesteward", "-o", "json"]);
            let found: Value = serde_json::from_str(&output.stdout).map_err(|error| error.to_string())?;
            let bundle = found["webhooks"][0]["clientConfig"]["caBundle"].clone();
            let bytes: ByteString = serde_json::from_value(bundle).map_err(|error| error.to_string())?;
            String::from_utf8(bytes.0).map_err(|error| error.to_string())
        })
        .await;
        let (stop, namespace) = (Arc::new(AtomicBool::new(false)), self.world.namespace.clone());
        let ended = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let caller = Caller::new(port, &bundle);
            let spec = json!({"containers": [{"name": "app", "image": "registry.example/app:1"}]});
            let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bare", "namespace": namespace}, "spec": spec});
            let review = review("CREATE", &pod, &Value::Null, &namespace);
            let mut took = Vec::new();
            let mut injected = 0;
            while !ended.load(Ordering::Relaxed) {
                let start = Instant::now();
                if let Ok(response) = caller.ask("/inject", &review) {
                    took.push(start.elapsed().as_secs_f64() * 1e3);
                    injected += usize::from(!response["patch"].is_null());
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            assert!(injected > 0, "no pod was injected in {} answers", took.len());
            took.sort_by(f64::total_cmp);
            took
        });
        Asking { stop, thread }
    }
}

/// The webhook is being asked.
struct Asking {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<f64>>,
}

struct Asked {
    answers: f64,
    median: f64,
    worst: f64,
}

impl Asking {
    fn end(self) -> Asked {
        self.stop.store(true, Ordering::Relaxed);
        let took = self.thread.join().expect("the webhook was asked");
        let answers = number(took.len());
        Asked { answers, median: took[took.len() / 2], worst: took[took.len() - 1] }
    }
}

fn scrape(operator: &Operator) -> Result<Scrape, String> {
    let answer = operator.get("/metrics")?;
    if answer.status == 200 { Scrape::parse(&answer.body) } else { Err(answer.body) }
}

/// Until nothing waits, nothing runs, and for a second nothing has run.
async fn idle(operator: &Operator) {
    let mut last = (f64::NAN, Instant::now());
    let mut look = || {
        let now = scrape(operator)?;
        let busy = now.sum("workqueue_depth", &[]) + now.sum("controller_runtime_active_workers", &[]);
        let done = now.sum("controller_runtime_reconcile_total", &[]);
        if busy > 0.5 || last.0.total_cmp(&done).is_ne() {
            last = (done, Instant::now());
        }
        (last.1.elapsed() > Duration::from_secs(1)).then_some(()).ok_or_else(|| format!("{busy} to do"))
    };
    eventually("the operator is idle", PHASE, || ready(look())).await;
}
