//! `make demo`: the main job on a real control plane of its own, with everything printed that a user would see.
//!
//! `--once` (or `DEMO_ONCE=1`) ends after showing; else the cluster stays until Ctrl-C.
#![allow(clippy::expect_used, clippy::print_stderr, reason = "a demo stops where it fails, and says why")]

#[path = "../../tests/support/mod.rs"]
mod support;

#[macro_use]
mod show;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use serde_json::Value;
use show::{Screen, print};
use support::{ControlPlane, Operator, eventually, kubectl, operator, tools};
use tracesteward::diagnostics::source;

const NAMESPACE: &str = "shop";
const SAMPLES: [&str; 3] =
    ["config/samples/checkout.yaml", "config/samples/worker.yaml", "config/samples/instrumentation.yaml"];
const REFUSED: &str = "config/samples/refused/no-endpoint.yaml";
/// Those whose pod templates the operator writes.
const KINDS: &str = "deployments,statefulsets,daemonsets,cronjobs";
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> ExitCode {
    let mut once = std::env::var_os("DEMO_ONCE").is_some_and(|value| !value.is_empty() && value != "0");
    for argument in std::env::args().skip(1) {
        if argument != "--once" {
            eprintln!("usage: demo [--once]");
            return ExitCode::from(2);
        }
        once = true;
    }
    // Samples are named as they stand in the repository, wherever this is started.
    std::env::set_current_dir(env!("CARGO_MANIFEST_DIR")).expect("the repository is there");
    let stop = stop_signal();
    let show = async {
        let demo = Demo::start().await;
        demo.tour().await;
        demo
    };
    let demo = tokio::select! { demo = show => demo, () = stop => return ExitCode::from(130) };
    if !once {
        demo.invite();
        stop_signal().await;
        say!("\nStopping.");
    }
    ExitCode::SUCCESS
}

/// Ends at Ctrl-C or SIGTERM. Children and the folder hang on leashes, so that leaving is all it takes.
async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminated = signal(SignalKind::terminate()).expect("a signal handler");
    tokio::select! { _ = tokio::signal::ctrl_c() => {}, _ = terminated.recv() => {} }
}

struct Demo {
    screen: Screen,
    // Dropped before the control plane that it talks to.
    operator: Operator,
    plane: ControlPlane,
    account: String,
}

impl Demo {
    async fn start() -> Self {
        let screen = Screen::new();
        let start = Instant::now();
        screen.step("A control plane: etcd, kube-apiserver, kube-controller-manager");
        let plane = ControlPlane::start().await;
        let version = plane.client().await.apiserver_version().await.expect("a version").git_version;
        say!("Kubernetes {version} at {} ({:.1} s)", plane.server(), start.elapsed().as_secs_f64());
        screen.note("There are no nodes: pods are made and stay Pending. Everything else is real.");

        screen.step("The operator, installed from config/default under the rights that it has there");
        let install = fs::read_to_string("config/default/install.yaml").expect("the kustomize base");
        let but_the_deployment: Vec<_> =
            install.split("\n---\n").filter(|text| !text.contains("\nkind: Deployment\n")).collect();
        let rights = but_the_deployment.join("\n---\n");
        let kubeconfig = plane.service_account_kubeconfig(operator::NAMESPACE, "tracesteward", &rights).await;
        let crd = ["wait", "--for=condition=Established", "--timeout=60s", "crd/tracingpolicies.tracesteward.io"];
        say!("{}", plane.kubectl(&crd).success().trim());
        let operator = Operator::start(&plane, &kubeconfig, &[]).await;
        say!(
            "tracesteward operator is ready (process {}, http://127.0.0.1:{}/readyz)",
            operator.pid(),
            operator.http_port()
        );
        let account = format!("system:serviceaccount:{}:tracesteward", operator::NAMESPACE);
        Self { screen, operator, plane, account }
    }

    async fn tour(&self) {
        let screen = &self.screen;
        screen.step("A team's workloads, before");
        self.plane.named_namespace(NAMESPACE).await;
        let workloads = without_policies();
        print(&self.plane.kubectl_stdin(&["apply", "-f", "-"], &workloads).success());
        let before = self.environment();
        screen.environment(&before, &before);

        screen.step("The team's policies");
        let mark = self.plane.audit_mark();
        self.kubectl(&["apply", "-f", "config/samples/"]).success();
        self.kubectl(&[
            "wait",
            "--for=condition=Ready",
            "--timeout=60s",
            "-n",
            NAMESPACE,
            "tracingpolicies.tracesteward.io",
            "--all",
        ])
        .success();
        screen.note("After (+ set by the operator; = the user's own, which wins):");
        screen.environment(&before, &self.environment());
        let writes = self.plane.writes_since(mark, Some(&self.account), Some(NAMESPACE)).counted();
        say!("Writes of the operator, from the API server's audit log: {} for 4 workloads.", writes.len());
        self.rolled_out().await;
        self.kubectl(&["get", "deployments,replicasets,pods", "-n", NAMESPACE]).success();
        screen.note("Each change of a pod template is one rollout; without a node the pods wait.");

        screen.step("A policy that would not work is refused, by the API server itself");
        let refusal = self.kubectl(&["apply", "-f", REFUSED]);
        assert!(!refusal.status.success(), "{REFUSED} was accepted");
        screen.note("and, before it gets anywhere near a cluster, with its place and what to do:");
        screen.command(&format!("tracesteward validate {REFUSED}"));
        let validation = kubectl::run(Command::new(beside("tracesteward")).args(["validate", REFUSED]), "");
        print(&validation.stdout);
        print(&validation.stderr);
        say!("(exit code {})", validation.status.code().unwrap_or(-1));

        screen.step("What the operator says");
        self.kubectl(&["get", "trp", "-A"]).success();
        say!("");
        let policies =
            self.plane.kubectl(&["get", "tracingpolicies.tracesteward.io", "-n", NAMESPACE, "-o", "json"]).success();
        screen.conditions(&items(&policies));
    }

    /// The last rollout is seen by the controllers, so that what is shown is not in between.
    async fn rolled_out(&self) {
        let settled = async || {
            let list = self.plane.kubectl(&["get", "deployments", "-n", NAMESPACE, "-o", "json"]).success();
            let behind = items(&list)
                .into_iter()
                .find(|deployment| deployment["status"]["observedGeneration"] != deployment["metadata"]["generation"]);
            behind.map_or(Ok(()), |deployment| Err(format!("{} is behind", deployment["metadata"]["name"])))
        };
        eventually("the Deployments are observed", PATIENCE, settled).await;
    }

    /// Runs kubectl, showing the command and what it prints.
    fn kubectl(&self, args: &[&str]) -> support::Output {
        self.screen.command(&format!("kubectl {}", args.join(" ")));
        let output = self.plane.kubectl(args);
        print(&output.stdout);
        print(&output.stderr);
        output
    }

    /// The containers of all workloads, with their variables.
    fn environment(&self) -> Vec<show::Container> {
        let list = self.plane.kubectl(&["get", KINDS, "-n", NAMESPACE, "-o", "json"]).success();
        items(&list).iter().flat_map(show::containers).collect()
    }

    fn invite(&self) {
        let kubectl = Path::new("target/tools/bin/kubectl");
        let own = tools::tool("kubectl");
        let kubectl = if Path::new(env!("CARGO_MANIFEST_DIR")).join(kubectl) == own { kubectl.to_owned() } else { own };
        let kubectl = kubectl.display();
        self.screen.step("Yours until Ctrl-C");
        say!("The operator is process {}. In another terminal, in this folder:\n", self.operator.pid());
        say!("export KUBECONFIG={}", self.plane.admin_kubeconfig().display());
        say!("{kubectl} get trp -A -o wide");
        say!("{kubectl} describe trp checkout -n {NAMESPACE}");
        say!(
            "{kubectl} set env deployment/checkout -n {NAMESPACE} OTEL_EXPORTER_OTLP_ENDPOINT=http://mine:4317   # yours wins"
        );
        say!(
            "{kubectl} patch trp checkout -n {NAMESPACE} --type merge -p '{{\"spec\":{{\"sampling\":{{\"ratio\":1}}}}}}'"
        );
        say!("{kubectl} delete trp --all -n {NAMESPACE}   # takes every variable out again");
        say!(
            "{kubectl} get deployment checkout -n {NAMESPACE} -o jsonpath='{{.spec.template.spec.containers[0].env}}'"
        );
        say!("\nKUBECONFIG={}", self.plane.admin_kubeconfig().display());
        say!("Ctrl-C stops and removes everything.");
    }
}

fn items(list: &str) -> Vec<Value> {
    let list: Value = serde_json::from_str(list).expect("kubectl prints JSON");
    list["items"].as_array().expect("a list").clone()
}

/// The samples without the policies and the Secret: what a team has before.
fn without_policies() -> String {
    let mut kept = Vec::new();
    for sample in SAMPLES {
        for document in source::read(sample, fs::read(sample).expect("a sample")).documents {
            if !["TracingPolicy", "Secret"].contains(&document.text("kind")) {
                kept.push(document.value().clone());
            }
        }
    }
    serde_json::json!({"apiVersion": "v1", "kind": "List", "items": kept}).to_string()
}

/// A binary of this crate: examples lie in a folder beside them.
fn beside(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("an executable has a path");
    own.ancestors().skip(1).map(|folder| folder.join(name)).find(|path| path.is_file()).expect("`cargo build` has run")
}
