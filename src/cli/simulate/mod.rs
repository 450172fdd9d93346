//! `tracesteward simulate`: what a collector would keep of recorded traces, and by which rule.

mod compare;
mod html;
mod intake;
mod json;
mod recording;
mod single;
mod subject;
mod table;

use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::{
    Exit,
    load::{Leniency, Loaded, Source},
    output::{complain, fail},
    render::report_findings,
    validate::exit,
};
use intake::name_of;
use subject::Subject;

/// Replays recorded traces through the policies: which would be kept, by which rule, and how much that is. Needs no cluster.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A recording: OTLP JSON, one document a line, or OTLP protobuf, as the collector's file exporter writes them; or traces
    /// as Tempo or Jaeger export them. With gzip or zstd or without; - for standard input. Several times for several.
    #[arg(long, required = true, value_name = "FILE|-")]
    traces: Vec<PathBuf>,
    /// Two sets of policies (files or folders): which traces change their fate between them, and how the volume changes. What is
    /// given beside them belongs to both.
    #[arg(long, num_args = 2, value_names = ["OLD", "NEW"])]
    compare: Option<Vec<PathBuf>>,
    /// The TracingCollector, where policies of the input use several. With --compare it may be given twice: for OLD, and for NEW.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    collector: Vec<String>,
    /// Applies the head sampling of the policies first, as the SDKs would: for recordings of everything.
    #[arg(long)]
    head: bool,
    /// Stops at the first part of a recording that cannot be read, with exit code 3.
    #[arg(long)]
    strict: bool,
    /// How it is printed.
    #[arg(short, long, default_value = "table", value_name = "FORMAT")]
    output: Format,
    /// Files, folders (*.yaml, *.yml, *.json) or - for standard input.
    #[arg(required_unless_present = "compare", value_name = "FILE|DIR|-")]
    files: Vec<PathBuf>,
    /// The namespace of objects that name none.
    #[arg(short, long, default_value = "default", value_name = "NAMESPACE")]
    namespace: String,
    #[command(flatten)]
    leniency: Leniency,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people: shares by service, route and rule.
    Table,
    /// One object with every trace; docs/reference/simulate.md has its shape.
    Json,
    /// One file for a browser, which loads nothing else: bars, filters by service and rule, examples of traces as timelines.
    Html,
}

impl Args {
    /// The policies; of a comparison, one of the two sets.
    fn load(&self, one: Option<&PathBuf>) -> Loaded {
        let files = one.into_iter().chain(&self.files).cloned().collect();
        Source { files, namespace: self.namespace.clone(), leniency: self.leniency.clone() }.load()
    }
}

pub(super) fn run(args: &Args) -> Exit {
    let inputs = args.traces.iter().chain(&args.files).chain(args.compare.iter().flatten());
    if inputs.filter(|path| *path == Path::new("-")).count() > 1 {
        return fail("standard input can be read once: - is given several times", Exit::Usage);
    }
    if args.collector.len() > if args.compare.is_some() { 2 } else { 1 } {
        return fail("--collector is given too often: once, and with --compare twice", Exit::Usage);
    }
    if let Some([old, new]) = args.compare.as_deref() {
        return compared(args, old, new);
    }
    let loaded = args.load(None);
    report_findings(&loaded);
    let replayed = Subject::new(args.collector.first(), &loaded).and_then(|subject| single::run(args, &subject));
    done(replayed, exit(&loaded.findings, false))
}

fn compared(args: &Args, old_name: &PathBuf, new_name: &PathBuf) -> Exit {
    if args.output == Format::Html {
        return fail("-o html shows one set of policies: take -o table or json with --compare", Exit::Usage);
    }
    let (mut old, new) = (args.load(Some(old_name)), args.load(Some(new_name)));
    let verdict = exit(&old.findings, false).max(exit(&new.findings, false));
    // What belongs to both is said once.
    old.findings.retain(|found| !new.findings.contains(found));
    old.notes.retain(|note| !new.notes.contains(note));
    report_findings(&old);
    report_findings(&new);
    let subject = |wanted, loaded, name: &PathBuf| {
        Subject::new(wanted, loaded)
            .inspect_err(|_| complain(&format!("tracesteward: that is about {}", name_of(name))))
    };
    let subjects = subject(args.collector.first(), &old, old_name)
        .and_then(|old| Ok([old, subject(args.collector.last(), &new, new_name)?]));
    done(subjects.and_then(|subjects| compare::run(args, &subjects)), verdict)
}

/// The exit code: what came of replaying, and what the findings are worth.
fn done(replayed: Result<Exit, Exit>, verdict: Exit) -> Exit {
    let (Ok(exit) | Err(exit)) = replayed;
    exit.max(verdict)
}
