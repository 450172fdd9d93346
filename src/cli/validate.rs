//! `tracesteward validate`: what is wrong, where, and how to mend it.

use std::{io::IsTerminal, path::PathBuf};

use clap::ValueEnum;

use super::{
    Exit,
    diff::scope,
    live::{Cluster, LiveError, load, runtime, secrets},
    load::{Loaded, Source},
    output::{complain, fail, print},
};
use crate::{
    diagnostics::{
        Located, Severity,
        format::{json, pretty},
    },
    plan::plan,
};

/// Checks policies and collectors, and what they refer to as far as it is among the files, or with --live in the cluster.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Files, folders (*.yaml, *.yml, *.json) or - for standard input; with --live, none is the cluster as it is.
    #[arg(required_unless_present = "live", value_name = "FILE|DIR|-")]
    files: Vec<PathBuf>,
    /// The namespace of objects that name none [default: default; with --live that of the context].
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// Lays the files over the state of the cluster, and judges them by that.
    #[arg(long)]
    live: bool,
    #[command(flatten)]
    cluster: Cluster,
    /// How findings are printed.
    #[arg(short, long, default_value = "pretty", value_name = "FORMAT")]
    output: Format,
    /// The least severity that makes the exit code 1.
    #[arg(long, default_value = "error", value_name = "SEVERITY")]
    fail_on: FailOn,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// For people: source line, help, summary.
    Pretty,
    /// One object, `{"version": 1, "diagnostics": [...], "summary": {...}}`.
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FailOn {
    /// Errors only.
    Error,
    /// Warnings too.
    Warning,
}

pub(super) fn run(args: &Args) -> Exit {
    let loaded = match loaded(args) {
        Ok(loaded) => loaded,
        Err(error) => return fail(&error.to_string(), error.exit()),
    };
    let text = match args.output {
        Format::Pretty => pretty(&loaded.findings, loaded.summary, colour(std::io::stdout().is_terminal())),
        Format::Json => format!("{}\n", json(&loaded.findings, loaded.summary)),
    };
    print(&text).max(exit(&loaded.findings, args.fail_on == FailOn::Warning))
}

fn loaded(args: &Args) -> Result<Loaded, LiveError> {
    let files = args.files.clone();
    if !args.live {
        let namespace = args.namespace.clone().unwrap_or_else(|| "default".to_owned());
        return Ok(Source { files, namespace }.load());
    }
    runtime()?.block_on(async {
        let connection = args.cluster.connect().await?;
        let namespace = args.namespace.clone().unwrap_or(connection.namespace);
        let source = Source { files, namespace };
        let reading = source.read();
        let live = load(&connection.client, &scope(&reading, &source.namespace)).await?;
        live.notes.iter().for_each(|note| complain(&format!("note: {note}")));
        let mut laid = source.lay(reading, live.snapshot);
        let planned = plan(&laid.snapshot).0;
        secrets(&connection.client, &mut laid.snapshot, &planned).await;
        Ok(laid.judge())
    })
}

/// Colour only on a terminal, and not where `NO_COLOR` says no (<https://no-color.org>).
pub(super) fn colour(terminal: bool) -> bool {
    terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// The exit code that findings deserve.
pub(super) fn exit(findings: &[Located], warnings_count: bool) -> Exit {
    let of = |found: &Located| match found.diagnostic.severity() {
        _ if found.diagnostic.code.is_unreadable() => Exit::Unreadable,
        Severity::Error => Exit::Findings,
        Severity::Warning if warnings_count => Exit::Findings,
        Severity::Warning | Severity::Info => Exit::Success,
    };
    findings.iter().map(of).max().unwrap_or(Exit::Success)
}
