//! `make e2e`: a real one-node Kubernetes and what runs on it, or the flows on the cluster that `E2E_KUBECONFIG` names.
//!
//! Without `E2E_KUBECONFIG` this program starts itself again inside a sandbox ([`sandbox`]), where it is root of its own
//! network, mounts and processes; the node ([`node`]) lives and dies with that.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a run stops where it cannot go on, and says why"
)]

#[path = "../tests/support/mod.rs"]
mod support;

#[macro_use]
mod table;

mod backend;
mod cluster;
mod flows;
mod node;
mod operator;
mod sandbox;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use cluster::Cluster;

/// The variable that names a cluster to use in place of an own node.
const KUBECONFIG: &str = "E2E_KUBECONFIG";

/// Brings up a real one-node Kubernetes in a sandbox of its own and runs the flows on it.
#[derive(Parser)]
#[command(name = "e2e", after_help = "E2E_KUBECONFIG=FILE runs the flows on that cluster: docs/e2e.md")]
struct Arguments {
    /// The flows to run; all when none is named
    flows: Vec<String>,
    /// Leave the node up after the flows, until Ctrl-C
    #[arg(long)]
    keep: bool,
    /// Stop the operator before it can do anything: the run passes where every flow fails
    #[arg(long)]
    without_operator: bool,
    /// The folder with the images (docker-archives, *.tar)
    #[arg(long, default_value = "target/e2e/images", value_name = "FOLDER")]
    images: PathBuf,
    /// Only remove what killed runs have left behind
    #[arg(long)]
    clean: bool,
    /// Run inside the sandbox that has this folder
    #[arg(long, hide = true, value_name = "FOLDER")]
    inside: Option<PathBuf>,
}

impl Arguments {
    fn selection(&self) -> flows::Selection<'_> {
        flows::Selection { names: &self.flows, without_operator: self.without_operator }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.clean {
        return sandbox::sweep(true);
    }
    if let Some(unknown) = arguments.flows.iter().find(|name| !flows::FLOWS.iter().any(|flow| flow.name == *name)) {
        let known: Vec<_> = flows::FLOWS.iter().map(|flow| flow.name).collect();
        eprintln!("e2e: there is no flow {unknown}; there are: {}", known.join(", "));
        return ExitCode::from(2);
    }
    // Samples and charts are named as they stand in the repository, wherever this is started.
    std::env::set_current_dir(env!("CARGO_MANIFEST_DIR")).expect("the repository is there");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let given = std::env::var_os(KUBECONFIG).filter(|path| !path.is_empty());
    match (&arguments.inside, given) {
        (Some(folder), _) => runtime.block_on(inside(&arguments, folder)),
        (None, Some(kubeconfig)) => runtime.block_on(elsewhere(&arguments, Path::new(&kubeconfig))),
        (None, None) => match images(&arguments.images) {
            Ok(_) => runtime.block_on(sandbox::run()),
            Err(reason) => {
                eprintln!("e2e: no images ({reason}): e2e/images/build.sh {} builds them", arguments.images.display());
                ExitCode::from(2)
            }
        },
    }
}

/// On the own node. Ends the process without dropping anything: what runs is ended by the sandbox, and the logs are its
/// owner's to keep or remove.
async fn inside(arguments: &Arguments, folder: &Path) -> ! {
    sandbox::end_with_the_owner();
    let images = images(&arguments.images).unwrap_or_else(|reason| panic!("{reason}"));
    let cluster = Cluster::start(&images, folder).await;
    let passed = flows::run(&cluster, &arguments.selection()).await;
    if arguments.keep {
        say!("\n{}\nCtrl-C stops and removes everything.", cluster.invitation());
        std::future::pending::<()>().await;
    }
    std::process::exit(i32::from(!passed));
}

/// On a cluster of somebody else.
async fn elsewhere(arguments: &Arguments, kubeconfig: &Path) -> ExitCode {
    say!("The cluster of {}: no node is started, and the images (local.test/...) must be there.", kubeconfig.display());
    let cluster = Cluster::existing(kubeconfig).await;
    let selection = arguments.selection();
    let passed = tokio::select! {
        passed = flows::run(&cluster, &selection) => passed,
        () = sandbox::stop_signal() => false,
    };
    if arguments.keep {
        say!("kept: the namespaces that the flows made");
    } else {
        cluster.stop();
    }
    exit_code(passed)
}

fn exit_code(passed: bool) -> ExitCode {
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Without these there is no node.
const NEEDED: [&str; 2] = ["pause.tar", "coredns.tar"];

/// The archives in `folder`.
fn images(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut images: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    images.retain(|path| path.extension().is_some_and(|extension| extension == "tar"));
    images.sort();
    match NEEDED.iter().find(|needed| !images.iter().any(|image| image.ends_with(needed))) {
        Some(missing) => Err(format!("{missing} is not in {}", folder.display())),
        None => Ok(images),
    }
}
