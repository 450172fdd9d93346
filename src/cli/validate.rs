//! `tracesteward validate`: what is wrong, where, and how to mend it.

use std::{io::IsTerminal, path::PathBuf};

use clap::ValueEnum;

use super::{
    Exit,
    diff::scope,
    live::{Cluster, LiveError, load, runtime, secrets},
    load::{Leniency, Loaded, Source},
    output::{complain, fail, print},
};
use crate::{
    diagnostics::{
        Located, Severity,
        format::{compact, github, json, junit, pretty, sarif},
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
    leniency: Leniency,
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
    /// One line a finding: `file:line:column: severity CODE object field: message`.
    Compact,
    /// One object, `{"version": 1, "diagnostics": [...], "summary": {...}}`.
    Json,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
    /// Workflow commands of GitHub Actions.
    Github,
    /// A report of tests, for CI servers.
    Junit,
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
    let warnings_fail = args.fail_on == FailOn::Warning;
    let (findings, summary) = (&loaded.findings, loaded.summary);
    let text = match args.output {
        Format::Pretty => pretty(findings, summary, colour(std::io::stdout().is_terminal())),
        Format::Compact => compact(findings),
        Format::Json => format!("{}\n", json(findings, summary)),
        Format::Sarif => format!("{}\n", sarif(findings)),
        Format::Github => github(findings),
        Format::Junit => junit(findings, warnings_fail),
    };
    print(&text).max(exit(findings, warnings_fail))
}

fn loaded(args: &Args) -> Result<Loaded, LiveError> {
    let source = |namespace: String| Source { files: args.files.clone(), namespace, leniency: args.leniency.clone() };
    if !args.live {
        return Ok(source(args.namespace.clone().unwrap_or_else(|| "default".to_owned())).load());
    }
    runtime()?.block_on(async {
        let connection = args.cluster.connect().await?;
        let source = source(args.namespace.clone().unwrap_or(connection.namespace));
        let reading = source.read();
        let live = load(&connection.client, &scope(&reading, &source.namespace)).await?;
        for note in &live.notes {
            complain(&format!("note: {note}"));
        }
        let mut laid = source.lay(reading, live.snapshot);
        let planned = plan(&laid.snapshot).0;
        secrets(&connection.client, &mut laid.snapshot, &planned).await;
        Ok(laid.judge(&source.leniency))
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
