//! Two sets of policies: which traces change their fate, by which rules, and how the volume changes.

mod json;
mod table;

use std::{collections::BTreeMap, io::IsTerminal};

use super::{
    Args, Format,
    intake::{Intake, Takes},
    single::Outcome,
    subject::Subject,
};
use crate::{
    cli::{Exit, output::print, table::Style},
    simulate::{Comparison, Pair, Pairs, ServiceName, Side, Simulation, Tally, Turn, read::Batch},
};

pub(super) fn run(args: &Args, subjects: &[Subject<'_>; 2]) -> Result<Exit, Exit> {
    let output = match args.output {
        Format::Json => Output::Json(json::Traces::new(subjects)),
        Format::Table | Format::Html => Output::Table(table::Traces::new(subjects)),
    };
    let simulations = subjects.each_ref().map(|subject| Simulation::new(&subject.sampler, args.head));
    let mut replay = Replay { simulations, comparison: Comparison::default(), output };
    let reading = Intake::read_all(&args.traces, args.strict, &mut replay);
    let Replay { simulations: [old, new], mut comparison, mut output } = replay;
    let reading = match reading {
        Ok(reading) => reading,
        Err(exit) => {
            output.give_up();
            return Err(exit);
        }
    };
    let (old, old_names) = old.finish(&mut comparison.half(Side::Old, &mut output));
    let (new, new_names) = new.finish(&mut comparison.half(Side::New, &mut output));
    let outcome = |subject, summary, names| Outcome {
        subject,
        summary,
        names,
        malformed: reading.malformed,
        with_head: args.head,
    };
    let [old_subject, new_subject] = subjects;
    let both =
        Both { old: outcome(old_subject, old, old_names), new: outcome(new_subject, new, new_names), comparison };
    let printed = match output {
        Output::Json(traces) => traces.end(&both),
        Output::Table(traces) => print(&traces.end(&both, Style::new(std::io::stdout().is_terminal()))),
    };
    Ok(reading.exit.max(printed))
}

/// What there is to print.
struct Both<'a> {
    old: Outcome<'a>,
    new: Outcome<'a>,
    comparison: Comparison,
}

/// What is counted under both sets.
type Tallies = [Tally; 2];

/// A service; `None` for those that are too many to be told apart.
type Service = Option<ServiceName>;

/// The service and the route of a root, where there is one.
type RootName = Option<(Service, Option<String>)>;

impl Both<'_> {
    /// All traces that change between two rules, and those that do not.
    fn turns(&self) -> Turn {
        let mut all = Turn::default();
        for turn in self.comparison.turns.values() {
            all.to_kept += turn.to_kept;
            all.to_dropped += turn.to_dropped;
            all.alike += turn.alike;
        }
        all
    }

    /// By service.
    fn services(&self) -> BTreeMap<Service, Tallies> {
        self.joined(|outcome| {
            let named = |number: &_| outcome.names.service_of(*number).cloned();
            outcome.summary.services.iter().map(|(number, tally)| (named(number), *tally)).collect()
        })
    }

    /// By the service and route of the root.
    fn routes(&self) -> BTreeMap<RootName, Tallies> {
        self.joined(|outcome| {
            let named = |(service, route): (u32, u32)| {
                let service = outcome.names.service_of(service).cloned();
                (service, outcome.names.route_of(route).map(str::to_owned))
            };
            outcome.summary.routes.iter().map(|(root, tally)| (root.map(named), *tally)).collect()
        })
    }

    fn joined<K: Ord>(&self, of: impl Fn(&Outcome<'_>) -> Vec<(K, Tally)>) -> BTreeMap<K, Tallies> {
        let mut joined = BTreeMap::<K, Tallies>::new();
        for (name, tally) in of(&self.old) {
            let [old, _] = joined.entry(name).or_default();
            *old = tally;
        }
        for (name, tally) in of(&self.new) {
            let [_, new] = joined.entry(name).or_default();
            *new = tally;
        }
        joined
    }
}

enum Output {
    Table(table::Traces),
    Json(json::Traces),
}

impl Output {
    fn give_up(self) {
        if let Self::Json(traces) = self {
            traces.give_up();
        }
    }
}

impl Pairs for Output {
    fn changed(&mut self, pair: &Pair<'_>) {
        match self {
            Self::Table(traces) => traces.changed(pair),
            Self::Json(traces) => traces.changed(pair),
        }
    }
}

struct Replay<'a> {
    simulations: [Simulation<'a>; 2],
    comparison: Comparison,
    output: Output,
}

impl Takes for Replay<'_> {
    fn take(&mut self, batch: &Batch<'_>) {
        let [old, new] = &mut self.simulations;
        old.take(batch, &mut self.comparison.half(Side::Old, &mut self.output));
        new.take(batch, &mut self.comparison.half(Side::New, &mut self.output));
    }

    fn spans(&self) -> u64 {
        let [old, _] = &self.simulations;
        old.spans()
    }
}
