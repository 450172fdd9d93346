//! One set of policies.

use std::io::IsTerminal;

use super::{
    Args, Format, html,
    intake::{Intake, Takes, name_of},
    json,
    subject::Subject,
    table,
};
use crate::{
    cli::{Exit, output::print, table::Style},
    simulate::{Fate, Fates, Names, Simulation, Summary, read::Batch},
};

pub(super) fn run(args: &Args, subject: &Subject<'_>) -> Result<Exit, Exit> {
    let output = match args.output {
        Format::Json => Output::Json(json::Traces::new(subject)),
        Format::Html => Output::Html(Box::new(html::Page::new(subject))),
        Format::Table => Output::Table,
    };
    let simulation = Simulation::new(&subject.sampler, args.head);
    let simulation = if args.output == Format::Html { simulation.with_examples() } else { simulation };
    let mut replay = Replay { simulation, output };
    let reading = Intake::read_all(&args.traces, args.strict, &mut replay);
    let Replay { simulation, mut output } = replay;
    let reading = match reading {
        Ok(reading) => reading,
        Err(exit) => {
            output.give_up();
            return Err(exit);
        }
    };
    let (summary, names) = simulation.finish(&mut output);
    let outcome = Outcome { subject, summary, names, malformed: reading.malformed, with_head: args.head };
    let printed = match output {
        Output::Json(traces) => traces.end(&outcome),
        Output::Html(page) => {
            let recordings: Vec<_> = args.traces.iter().map(|path| name_of(path)).collect();
            print(&page.end(&outcome, &recordings))
        }
        Output::Table => print(&table::table(&outcome, Style::new(std::io::stdout().is_terminal()))),
    };
    Ok(reading.exit.max(printed))
}

/// What there is to print.
pub(super) struct Outcome<'a> {
    pub(super) subject: &'a Subject<'a>,
    pub(super) summary: Summary,
    pub(super) names: Names,
    /// Parts of the recording that cannot be read.
    pub(super) malformed: u64,
    pub(super) with_head: bool,
}

/// What single traces are wanted for.
enum Output {
    /// Nothing.
    Table,
    /// To be printed, each as soon as it is certain.
    Json(json::Traces),
    /// As examples, and to be counted by service and rule.
    Html(Box<html::Page>),
}

impl Output {
    /// What was begun is ended.
    fn give_up(self) {
        if let Self::Json(traces) = self {
            traces.give_up();
        }
    }
}

impl Fates for Output {
    fn fate(&mut self, fate: &Fate, names: &Names) {
        match self {
            Self::Table => {}
            Self::Json(traces) => traces.fate(fate, names),
            Self::Html(page) => page.fate(fate, names),
        }
    }
}

struct Replay<'a> {
    simulation: Simulation<'a>,
    output: Output,
}

impl Takes for Replay<'_> {
    fn take(&mut self, batch: &Batch<'_>) {
        self.simulation.take(batch, &mut self.output);
    }

    fn spans(&self) -> u64 {
        self.simulation.spans()
    }
}
