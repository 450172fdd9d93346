//! What changes, for people.

use std::cmp::Reverse;

use super::{
    super::{
        json::{Rule, Rules, hex},
        subject::Subject,
        table::{bytes, cut, heading, more, percent, service, service_words},
    },
    Both, Tallies,
};
use crate::{
    cli::table::{Style, Table, say},
    diagnostics::format::visible,
    plan::collector::RuleId,
    simulate::{Pair, Turn},
};

/// The most rows of a table; the JSON has all.
const ROWS: usize = 50;
/// The most traces that are named one by one.
const NAMED: usize = 10;

/// Remembers the first traces that change.
pub(super) struct Traces {
    rules: [Rules; 2],
    first: Vec<[String; 5]>,
    count: usize,
}

impl Traces {
    pub(super) fn new(subjects: &[Subject<'_>; 2]) -> Self {
        Self { rules: subjects.each_ref().map(Rules::new), first: Vec::new(), count: 0 }
    }

    pub(super) fn changed(&mut self, pair: &Pair<'_>) {
        self.count += 1;
        if self.first.len() >= NAMED {
            return;
        }
        let Pair { fate, names, old, new, .. } = pair;
        let route = fate.root.map_or("(no root)", |(_, route)| names.route_of(route).unwrap_or("(others)"));
        let own = fate.root.map_or_else(|| "-".to_owned(), |(own, _)| service(names, Some(own)));
        let [of_old, of_new] = &self.rules;
        let side = |kept: bool, rules: &Rules, rule| {
            format!("{}, {}", if kept { "kept" } else { "dropped" }, words(rules.get(rule)))
        };
        self.first.push([
            hex(pair.id),
            cut(route),
            own,
            side(old.kept, of_old, old.rule),
            side(new.kept, of_new, new.rule),
        ]);
    }

    pub(super) fn end(&self, both: &Both<'_>, style: Style) -> String {
        let mut text = String::new();
        let (old, new) = (&both.old, &both.new);
        let names = [old, new].map(|side| side.subject.collector.to_string());
        let [before, after] = &names;
        let name = if before == after { before.clone() } else { format!("{before}, {after}") };
        say(&mut text, style.bold(&visible(&format!("TracingCollector {name}"))));
        let turns = both.turns();
        let changed = turns.to_dropped + turns.to_kept;
        say(
            &mut text,
            format!(
                "  change their fate: {changed} of {} traces ({} from kept to dropped, {} from dropped to kept)",
                changed + turns.alike,
                turns.to_dropped,
                turns.to_kept
            ),
        );
        let unpaired = both.comparison.unpaired();
        if unpaired > 0 {
            say(&mut text, format!("  met again after they were forgotten, and not compared: {unpaired} traces"));
        }
        if old.malformed > 0 {
            say(&mut text, format!("  parts of the recording that cannot be read: {}", old.malformed));
        }
        volume(&mut text, both, style);
        self.rules(&mut text, both, style);
        let services = both.services().into_iter().map(|(name, tallies)| (vec![service_words(name.as_ref())], tallies));
        rows(&mut text, style, "SERVICES", &["SERVICE"], services.collect());
        let routes = both.routes().into_iter().map(|(root, tallies)| {
            let names = root.map_or_else(
                || vec!["(no root)".to_owned(), "-".to_owned()],
                |(own, route)| vec![cut(&route.unwrap_or_else(|| "(others)".to_owned())), service_words(own.as_ref())],
            );
            (names, tallies)
        });
        rows(&mut text, style, "ROUTES OF ROOTS", &["ROUTE", "SERVICE"], routes.collect());
        self.traces(&mut text, style);
        text
    }

    /// Which rules decided the traces that change, and which ones would.
    fn rules(&self, text: &mut String, both: &Both<'_>, style: Style) {
        let [of_old, of_new] = &self.rules;
        let mut turns: Vec<(&(RuleId, RuleId), &Turn)> = both.comparison.turns.iter().collect();
        turns.retain(|(_, turn)| turn.to_kept + turn.to_dropped > 0);
        if turns.is_empty() {
            return;
        }
        turns.sort_by_key(|(rules, turn)| (Reverse(turn.to_kept + turn.to_dropped), **rules));
        heading(text, style, "WHY");
        let mut table = Table::new(&["OLD RULE", "NEW RULE", "TO DROPPED", "TO KEPT", "UNCHANGED"]);
        for ((old, new), turn) in turns.iter().take(ROWS) {
            let numbers = [turn.to_dropped, turn.to_kept, turn.alike].map(|count| count.to_string());
            table.row([words(of_old.get(*old)), words(of_new.get(*new))].into_iter().chain(numbers));
        }
        text.push_str(&table.print("  ", style));
        more(text, turns.len());
    }

    fn traces(&self, text: &mut String, style: Style) {
        if self.first.is_empty() {
            return;
        }
        heading(text, style, "TRACES");
        let mut table = Table::new(&["TRACE", "ROUTE", "SERVICE", "OLD", "NEW"]);
        self.first.iter().for_each(|row| table.row(row.clone()));
        text.push_str(&table.print("  ", style));
        if self.count > NAMED {
            say(text, format!("  {} more (-o json has all)", self.count - NAMED));
        }
    }
}

/// A rule of a policy, with its place.
fn words(rule: Option<&Rule>) -> String {
    let Some(rule) = rule else { return "-".to_owned() };
    let of = rule.policy.as_ref().map_or_else(String::new, |policy| format!(" of {policy}"));
    format!("{}{of} ({})", rule.text, rule.place().words())
}

fn volume(text: &mut String, both: &Both<'_>, style: Style) {
    let [old, new] = [&both.old, &both.new].map(|side| side.summary.all);
    heading(text, style, "VOLUME");
    let mut table = Table::new(&["KEPT", "ALL", "OLD", "NEW", "CHANGE"]);
    let lines = [
        ("traces", [old.traces, new.traces, old.kept, new.kept]),
        ("spans", [old.spans, new.spans, old.spans_kept, new.spans_kept]),
        ("bytes", [old.bytes, new.bytes, old.bytes_kept, new.bytes_kept]),
    ];
    for (name, [old_all, new_all, old, new]) in lines {
        let words = |count: u64| if name == "bytes" { bytes(count) } else { count.to_string() };
        // With head sampling, what reaches the collector differs, too.
        let all =
            if old_all == new_all { words(new_all) } else { format!("{} and {}", words(old_all), words(new_all)) };
        let side = |kept: u64, all: u64| format!("{} ({})", words(kept), percent(kept, all));
        table.row([name.to_owned(), all, side(old, old_all), side(new, new_all), change(old, new)]);
    }
    text.push_str(&table.print("  ", style));
}

/// How much more or less, of what was.
fn change(old: u64, new: u64) -> String {
    let sign = if new >= old { '+' } else { '-' };
    match (old, new) {
        (0, 0) => "-".to_owned(),
        (0, _) => "+".to_owned(),
        _ => format!("{sign}{}", percent(new.abs_diff(old), old)),
    }
}

/// Rows that change come first, those with the most traces before the others.
fn rows(text: &mut String, style: Style, name: &str, heads: &[&'static str], mut rows: Vec<(Vec<String>, Tallies)>) {
    rows.sort_by_key(|(names, [old, new])| {
        (Reverse(old.kept.abs_diff(new.kept)), Reverse(old.traces.max(new.traces)), names.clone())
    });
    if rows.is_empty() {
        return;
    }
    heading(text, style, name);
    let mut table = Table::new(&[heads, &["TRACES", "OLD", "NEW", "SPANS", "BYTES"]].concat());
    for (names, [old, new]) in rows.iter().take(ROWS) {
        let traces = old.traces.max(new.traces);
        let side = |kept: u64| format!("{kept} ({})", percent(kept, traces));
        let changes = [change(old.spans_kept, new.spans_kept), change(old.bytes_kept, new.bytes_kept)];
        table.row(names.iter().cloned().chain([traces.to_string(), side(old.kept), side(new.kept)]).chain(changes));
    }
    text.push_str(&table.print("  ", style));
    more(text, rows.len());
}
