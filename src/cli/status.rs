//! `tracesteward status`: policies, workloads and collectors of the cluster at a glance. Only reads.

mod overview;
mod watch;

use std::{
    collections::BTreeSet,
    io::{self, IsTerminal},
};

use clap::ValueEnum;

use super::{
    Exit,
    live::{Cluster, Connection, Live, LiveError, Scope, load, runtime},
    output::{complain, fail, print},
    table::Style,
};
use crate::index::Snapshot;
use overview::Overview;

/// Shows the policies, workloads and collectors of the cluster at a glance. Writes nothing, and needs only the right to list
/// what it shows.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The namespace; else that of the context.
    #[arg(short, long, value_name = "NAMESPACE", conflicts_with = "all_namespaces")]
    namespace: Option<String>,
    /// All namespaces.
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Lists every workload, and not only how many there are.
    #[arg(long)]
    workloads: bool,
    /// Shows it again upon every change, until it is interrupted.
    #[arg(short, long)]
    watch: bool,
    /// How it is printed.
    #[arg(short, long, default_value = "table", value_name = "FORMAT")]
    output: Format,
    #[command(flatten)]
    cluster: Cluster,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Table,
    /// One object, with --watch one a line; docs/reference/inspect.md has its shape.
    Json,
}

pub(super) fn run(args: &Args) -> Exit {
    match runtime().and_then(|runtime| runtime.block_on(show(args))) {
        Ok(exit) => exit,
        Err(error) => fail(&error.to_string(), error.exit()),
    }
}

async fn show(args: &Args) -> Result<Exit, LiveError> {
    let Connection { client, namespace } = args.cluster.connect().await?;
    let namespace = args.namespace.clone().unwrap_or(namespace);
    let namespaces = BTreeSet::from([namespace.clone()]);
    let scope = Scope { everywhere: args.all_namespaces, namespaces, whole: BTreeSet::new() };
    let Live { snapshot, notes, seen, .. } = load(&client, &scope).await?;
    for note in notes {
        complain(&format!("note: {note}"));
    }
    let only = (!args.all_namespaces).then_some(namespace);
    if args.watch {
        return Ok(watch::follow(args, client, seen, only.as_deref()).await);
    }
    Ok(print(&text(args, &snapshot, only.as_deref())))
}

/// The whole picture of a snapshot.
fn text(args: &Args, snapshot: &Snapshot, only: Option<&str>) -> String {
    let overview = Overview::new(snapshot, only);
    match args.output {
        Format::Table => overview.table(args.workloads, Style::new(io::stdout().is_terminal())),
        Format::Json if args.watch => format!("{}\n", overview.value(args.workloads)),
        Format::Json => format!("{:#}\n", overview.value(args.workloads)),
    }
}
