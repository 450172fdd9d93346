//! What becomes of traces, for programs. Traces are written one by one: there may be more of them than fit into the memory.

use std::io::{self, BufWriter, Write};

use serde::Serialize;
use serde_json::{Value, json};

use super::{
    single::Outcome,
    subject::{Place, Subject},
};
use crate::{
    cli::{Exit, output::fail},
    plan::collector::{Effect, RuleId},
    simulate::{Fate, Names, Number, Tally},
};

/// A rule as it is repeated for every trace.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Rule {
    #[serde(rename = "rule")]
    pub(super) text: String,
    pub(super) policy: Option<String>,
    file: Option<String>,
    line: Option<usize>,
    ratio: Option<f64>,
}

impl Rule {
    pub(super) fn new(subject: &Subject<'_>, rule: RuleId, place: Place) -> Self {
        let rule = subject.sampler.rule(rule);
        let ratio = match rule.effect {
            Effect::Ratio(ratio) | Effect::Head(ratio) => Some(ratio),
            Effect::Keep | Effect::Drop => None,
        };
        let policy = rule.policy.as_ref().map(ToString::to_string);
        Self { text: rule.text.clone(), policy, file: place.file, line: place.line, ratio }
    }
}

impl Rule {
    pub(super) fn place(&self) -> Place {
        Place { file: self.file.clone(), line: self.line }
    }
}

/// A trace as it is listed.
#[derive(Serialize)]
pub(super) struct Trace<'a> {
    #[serde(rename = "traceId")]
    id: String,
    kept: bool,
    #[serde(flatten)]
    rule: &'a Rule,
    namespace: Option<&'a str>,
    service: Option<&'a str>,
    route: Option<&'a str>,
    spans: u64,
    bytes: u64,
    timing: Option<&'static str>,
}

/// The rules of a sampler, with their places.
pub(super) struct Rules(Vec<Rule>);

impl Rules {
    pub(super) fn new(subject: &Subject<'_>) -> Self {
        let rules = subject.sampler.rules().map(|(id, _)| Rule::new(subject, id, Place::of(subject, id)));
        Self(rules.collect())
    }

    /// What became of a trace, by which rule.
    pub(super) fn trace<'a>(&'a self, fate: &Fate, names: &'a Names) -> Option<Trace<'a>> {
        let service = fate.root.and_then(|(service, _)| names.service_of(service));
        Some(Trace {
            id: hex(&fate.id),
            kept: fate.kept,
            rule: self.get(fate.rule)?,
            namespace: service.and_then(|service| service.namespace.as_deref()),
            service: service.and_then(|service| service.name.as_deref()),
            route: fate.root.and_then(|(_, route)| names.route_of(route)),
            spans: fate.spans(),
            bytes: fate.bytes(),
            timing: fate.timing.map(crate::simulate::Timing::as_str),
        })
    }

    pub(super) fn get(&self, rule: RuleId) -> Option<&Rule> {
        self.0.get(rule.index())
    }
}

/// Prints traces as they come.
pub(super) struct Traces {
    rules: Rules,
    list: List,
}

impl Traces {
    pub(super) fn new(subject: &Subject<'_>) -> Self {
        Self { rules: Rules::new(subject), list: List::new() }
    }

    pub(super) fn fate(&mut self, fate: &Fate, names: &Names) {
        if let Some(trace) = self.rules.trace(fate, names) {
            self.list.push(&trace);
        }
    }

    /// Prints what they add up to.
    pub(super) fn end(self, outcome: &Outcome<'_>) -> Exit {
        self.list.end(&summary(outcome))
    }

    /// What was begun is ended, without a summary.
    pub(super) fn give_up(self) {
        self.list.give_up();
    }
}

/// `traces` as they come, one a line, and `summary` at the end.
pub(super) struct List {
    out: BufWriter<io::Stdout>,
    is_first: bool,
    /// The first fault: nothing is written after it.
    fault: Option<io::Error>,
}

impl List {
    pub(super) fn new() -> Self {
        Self { out: BufWriter::with_capacity(1 << 16, io::stdout()), is_first: true, fault: None }
    }

    pub(super) fn push(&mut self, trace: &impl Serialize) {
        if self.fault.is_some() {
            return;
        }
        let begins = if self.is_first { BEGINNING } else { ",\n" };
        self.is_first = false;
        let written = self.out.write_all(begins.as_bytes());
        let written = written.and_then(|()| serde_json::to_writer(&mut self.out, trace).map_err(io::Error::from));
        self.fault = written.err();
    }

    /// What was begun is ended, without a summary.
    pub(super) fn give_up(self) {
        if !self.is_first {
            self.end(&Value::Null);
        }
    }

    pub(super) fn end(mut self, summary: &Value) -> Exit {
        let begins = if self.is_first { BEGINNING } else { "" };
        let written = self.fault.take().map_or(Ok(()), Err);
        let written = written.and_then(|()| write!(self.out, "{begins}\n],\"summary\":{summary:#}}}\n"));
        match written.and_then(|()| self.out.flush()) {
            Ok(()) => Exit::Success,
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Success,
            Err(error) => fail(&format!("cannot write to standard output: {error}"), Exit::Unreadable),
        }
    }
}

const BEGINNING: &str = "{\"version\":1,\"traces\":[\n";

pub(super) fn hex(id: &[u8]) -> String {
    let digits = id.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

/// Everything that is counted.
pub(super) fn summary(outcome: &Outcome<'_>) -> Value {
    let Outcome { subject, summary, names, malformed, with_head } = outcome;
    let sampler = &subject.sampler;
    let services = summary.services.iter().map(|(number, one)| with(service(names, *number), one));
    let routes = summary.routes.iter().map(|(root, one)| {
        let mut route = root.map_or_else(|| service(names, Number::MAX), |(number, _)| service(names, number));
        route["route"] = root.and_then(|(_, route)| names.route_of(route)).into();
        with(route, one)
    });
    let rules = subject.rules(*with_head).map(|(id, place)| {
        let tally = summary.rules.get(id.index()).copied().unwrap_or_default();
        let by = sampler.rule(id).shadowed_by.map(|by| sampler.rule(by));
        let mut value = json!(Rule::new(subject, id, place));
        value["matched"] = tally.matched.into();
        value["decided"] = tally.decided.into();
        value["kept"] = tally.kept.into();
        value["shadowedBy"] =
            by.map(|by| json!({"rule": by.text, "policy": by.policy.as_ref().map(ToString::to_string)})).into();
        value
    });
    let scrubbed = summary.scrubbed.iter().map(|(name, count)| {
        let name = Some(name).filter(|name| !name.is_empty());
        json!({"attribute": name, "removed": count.removed, "cut": count.cut})
    });
    let (services, routes): (Vec<_>, Vec<_>) = (services.collect(), routes.collect());
    let (rules, scrubbed): (Vec<_>, Vec<_>) = (rules.collect(), scrubbed.collect());
    let all = json!({
        "collector": subject.collector.to_string(),
        "malformed": malformed,
        "notRecorded": summary.not_recorded,
        "timing": {"late": summary.late, "spread": summary.spread, "crowded": summary.crowded},
    });
    let mut all = with(all, &summary.all);
    for (name, list) in [("services", services), ("routes", routes), ("rules", rules), ("scrubbed", scrubbed)] {
        all[name] = list.into();
    }
    all
}

pub(super) fn service(names: &Names, number: Number) -> Value {
    let name = names.service_of(number);
    json!({
        "namespace": name.and_then(|name| name.namespace.as_deref()),
        "service": name.and_then(|name| name.name.as_deref()),
    })
}

/// An object with the numbers of a tally.
pub(super) fn with(mut value: Value, tally: &Tally) -> Value {
    let Tally { traces, kept, spans, spans_kept, bytes, bytes_kept } = *tally;
    let numbers = [
        ("traces", traces),
        ("kept", kept),
        ("spans", spans),
        ("spansKept", spans_kept),
        ("bytes", bytes),
        ("bytesKept", bytes_kept),
    ];
    for (name, number) in numbers {
        value[name] = number.into();
    }
    value["share"] = super::table::share(kept, traces).into();
    value
}
