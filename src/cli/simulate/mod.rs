//! `tracesteward simulate`: what a collector would keep of recorded traces, and by which rule.

mod html;
mod json;
mod recording;
mod table;

use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
};

use clap::ValueEnum;

use super::{
    Exit,
    load::{Loaded, Source},
    output::{complain, fail, print},
    render::report_findings,
    table::Style,
    validate::exit,
};
use crate::{
    index::CollectorId,
    plan::collector::{Effect, RuleId, Sampler},
    simulate::{
        Fate, Fates, Names, Simulation,
        read::{Batch, Malformed, Sink},
    },
};
use recording::Recording;

/// Replays recorded traces through the policies: which would be kept, by which rule, and how much that is. Needs no cluster.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A recording: OTLP JSON, one document a line, or OTLP protobuf, as the collector's file exporter writes them; or traces
    /// as Tempo or Jaeger export them. With gzip or zstd or without; - for standard input. Several times for several.
    #[arg(long, required = true, value_name = "FILE|-")]
    traces: Vec<PathBuf>,
    /// The TracingCollector, where policies of the input use several.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    collector: Option<String>,
    /// Applies the head sampling of the policies first, as the SDKs would: for recordings of everything.
    #[arg(long)]
    head: bool,
    /// Stops at the first part of a recording that cannot be read, with exit code 3.
    #[arg(long)]
    strict: bool,
    /// How it is printed.
    #[arg(short, long, default_value = "table", value_name = "FORMAT")]
    output: Format,
    #[command(flatten)]
    source: Source,
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

/// The most parts that cannot be read which are named; the others are counted.
const NAMED: u64 = 20;

pub(super) fn run(args: &Args) -> Exit {
    let stdin = Path::new("-");
    let readers = args.traces.iter().chain(&args.source.files).filter(|path| *path == stdin).count();
    if readers > 1 {
        return fail("standard input can be read once: - is given several times", Exit::Usage);
    }
    let loaded = args.source.load();
    report_findings(&loaded);
    let verdict = exit(&loaded.findings, false);
    match simulate(args, &loaded) {
        Ok(exit) | Err(exit) => exit.max(verdict),
    }
}

fn simulate(args: &Args, loaded: &Loaded) -> Result<Exit, Exit> {
    let id = chosen(args, loaded)?;
    let is_compiled = loaded.plan.collectors.get(&id).is_some_and(|plan| !plan.configurations.is_empty());
    let collector = loaded.snapshot.collectors.get(&id).filter(|_| is_compiled);
    let sampler = collector.and_then(|collector| Sampler::new(&loaded.snapshot, collector));
    let Some(sampler) = sampler else {
        return Err(fail(&format!("TracingCollector {id} has errors: there is no configuration"), Exit::Findings));
    };
    if sampler.is_by_connection() {
        complain(&format!(
            "note: TracingCollector {id} takes namespaces from connections: k8s.namespace.name of the recording stands for them"
        ));
    }
    let output = match args.output {
        Format::Json => Output::Json(json::Traces::new(&sampler, loaded)),
        Format::Html => Output::Html(Box::new(html::Page::new(&sampler, loaded))),
        Format::Table => Output::Table,
    };
    let simulation = Simulation::new(&sampler, args.head);
    let mut intake = Intake {
        simulation: if args.output == Format::Html { simulation.with_examples() } else { simulation },
        output,
        strict: args.strict,
        name: String::new(),
        malformed: 0,
    };
    let mut exit = Exit::Success;
    for path in &args.traces {
        exit = exit.max(intake.read(path));
        if args.strict && exit > Exit::Success {
            return Err(exit);
        }
    }
    let malformed = intake.malformed;
    if malformed > NAMED {
        complain(&format!("{} more parts of the recording cannot be read", malformed - NAMED));
    }
    let Intake { simulation, mut output, .. } = intake;
    let (summary, names) = simulation.finish(&mut output);
    let outcome =
        Outcome { collector: &id, sampler: &sampler, loaded, summary, names, malformed, with_head: args.head };
    let printed = match output {
        Output::Json(traces) => traces.end(&outcome),
        Output::Html(page) => print(&page.end(&outcome, &args.recordings())),
        Output::Table => print(&table::table(&outcome, Style::new(std::io::stdout().is_terminal()))),
    };
    Ok(exit.max(printed))
}

/// What there is to print.
struct Outcome<'a> {
    collector: &'a CollectorId,
    sampler: &'a Sampler,
    loaded: &'a Loaded,
    summary: crate::simulate::Summary,
    names: Names,
    malformed: u64,
    with_head: bool,
}

impl Outcome<'_> {
    /// The rules that took part, with their places.
    fn rules(&self) -> impl Iterator<Item = (RuleId, Place)> {
        let is_meant = |id: &RuleId| self.with_head || !matches!(self.sampler.rule(*id).effect, Effect::Head(_));
        let all = self.sampler.rules().map(|(id, _)| id).filter(is_meant);
        all.map(|id| (id, Place::of(self.sampler, self.loaded, id)))
    }
}

/// Where a rule is written.
#[derive(Clone, Debug, Default)]
struct Place {
    file: Option<String>,
    line: Option<usize>,
}

impl Place {
    fn of(sampler: &Sampler, loaded: &Loaded, rule: RuleId) -> Self {
        let rule = sampler.rule(rule);
        let place = loaded.place(&rule.object, &rule.path);
        place.map_or_else(Self::default, |place| Self { file: Some(place.file), line: place.line })
    }

    fn words(&self) -> String {
        match (&self.file, self.line) {
            (Some(file), Some(line)) => format!("{file}:{line}"),
            (file, _) => file.clone().unwrap_or_else(|| "-".to_owned()),
        }
    }
}

/// The collector that is meant.
fn chosen(args: &Args, loaded: &Loaded) -> Result<CollectorId, Exit> {
    let known = &loaded.plan.collectors;
    if let Some(wanted) = &args.collector {
        let Some((namespace, name)) = wanted.split_once('/') else {
            return Err(fail(&format!("--collector {wanted}: write NAMESPACE/NAME"), Exit::Usage));
        };
        let id = CollectorId { namespace: namespace.to_owned(), name: name.to_owned() };
        let is_known = known.contains_key(&id);
        return is_known
            .then(|| id.clone())
            .ok_or_else(|| fail(&format!("TracingCollector {id} is not in the input"), Exit::Findings));
    }
    let used: Vec<_> = known.iter().filter(|(_, plan)| plan.policies > 0).map(|(id, _)| id).collect();
    let all: Vec<_> = known.keys().collect();
    let candidates = if used.is_empty() { all } else { used };
    match candidates.as_slice() {
        [only] => Ok((*only).clone()),
        [] => Err(fail("there is no TracingCollector in the input: nothing else samples whole traces", Exit::Findings)),
        several => {
            let names: Vec<_> = several.iter().map(ToString::to_string).collect();
            Err(fail(
                &format!("several TracingCollectors are in the input: add --collector {}", names.join("|")),
                Exit::Usage,
            ))
        }
    }
}

/// What single traces are wanted for.
enum Output<'a> {
    /// Nothing.
    Table,
    /// To be printed, each as soon as it is certain.
    Json(json::Traces<'a>),
    /// As examples, and to be counted by service and rule.
    Html(Box<html::Page>),
}

impl Fates for Output<'_> {
    fn fate(&mut self, fate: &Fate, names: &Names) {
        match self {
            Self::Table => {}
            Self::Json(traces) => traces.fate(fate, names),
            Self::Html(page) => page.fate(fate, names),
        }
    }
}

/// Spans on their way from a recording into the simulation.
struct Intake<'s> {
    simulation: Simulation<'s>,
    output: Output<'s>,
    strict: bool,
    /// The recording that is being read.
    name: String,
    malformed: u64,
}

impl Args {
    /// What was replayed.
    fn recordings(&self) -> Vec<String> {
        self.traces.iter().map(|path| name_of(path)).collect()
    }
}

fn name_of(path: &Path) -> String {
    if path == Path::new("-") { "<stdin>".to_owned() } else { path.display().to_string() }
}

impl Intake<'_> {
    fn read(&mut self, path: &Path) -> Exit {
        self.name = name_of(path);
        let before = self.malformed;
        let read = Recording::open(path).and_then(|mut recording| recording.read_into(self));
        match read {
            Err(error) => {
                let name = &self.name;
                fail(&format!("{name} cannot be read: {}", recording::words(&error)), Exit::Unreadable)
            }
            Ok(()) if self.strict && self.malformed > before => Exit::Unreadable,
            Ok(()) => Exit::Success,
        }
    }
}

impl Sink for Intake<'_> {
    fn batches(&mut self, batches: &[Batch<'_>]) {
        for batch in batches {
            self.simulation.take(batch, &mut self.output);
        }
    }

    fn malformed(&mut self, malformed: Malformed) -> bool {
        self.malformed += 1;
        if self.malformed <= NAMED {
            let Malformed { at, unit, why } = malformed;
            let done = if self.strict { "" } else { "; it is left out" };
            complain(&format!("{}: {unit} {at}: {why}{done}", self.name));
        }
        !self.strict
    }
}
