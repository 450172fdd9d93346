//! What becomes of traces, for people.

use std::cmp::Reverse;

use super::single::Outcome;
use crate::{
    cli::table::{Style, Table, say},
    diagnostics::format::visible,
    plan::collector::{Effect, Rule},
    simulate::{Names, Number, RuleTally, ServiceName, Tally, Timing},
};

/// The most rows of a table; the JSON has all.
const ROWS: usize = 50;
/// The most characters of a name.
const WIDEST: usize = 80;
/// The most traces that are named one by one.
const NAMED: usize = 10;

/// The part that is kept, in ten thousandths, so that it reads the same everywhere.
pub(super) fn share(kept: u64, all: u64) -> f64 {
    if all == 0 {
        return 0.0;
    }
    let parts = u128::from(kept) * 10_000 / u128::from(all);
    f64::from(u32::try_from(parts).unwrap_or_default()) / 10_000.0
}

pub(super) fn table(outcome: &Outcome<'_>, style: Style) -> String {
    let Outcome { subject, summary, names, .. } = outcome;
    let mut text = format!("{}\n", style.bold(&visible(&format!("TracingCollector {}", subject.collector))));
    let all = &summary.all;
    say(
        &mut text,
        format!(
            "  kept: {} of {} traces ({}), {} of {} spans, {} of {}",
            all.kept,
            all.traces,
            percent(all.kept, all.traces),
            all.spans_kept,
            all.spans,
            bytes(all.bytes_kept),
            bytes(all.bytes)
        ),
    );
    if summary.not_recorded > 0 {
        say(&mut text, format!("  not recorded, by head sampling: {} traces", summary.not_recorded));
    }
    if outcome.malformed > 0 {
        say(&mut text, format!("  parts of the recording that cannot be read: {}", outcome.malformed));
    }
    let services = summary.services.iter().map(|(number, tally)| (vec![service(names, Some(*number))], tally));
    tallies(&mut text, style, "SERVICES", &["SERVICE"], services.collect());
    let routes = summary.routes.iter().map(|(root, tally)| {
        let route = root.map_or("(no root)", |(_, route)| names.route_of(route).unwrap_or("(others)"));
        (vec![cut(route), root.map_or_else(|| "-".to_owned(), |(own, _)| service(names, Some(own)))], tally)
    });
    tallies(&mut text, style, "ROUTES OF ROOTS", &["ROUTE", "SERVICE"], routes.collect());
    rules(&mut text, outcome, style);
    scrubbed(&mut text, outcome, style);
    timing(&mut text, outcome, style);
    text
}

pub(super) fn heading(text: &mut String, style: Style, name: &str) {
    say(text, format!("\n{}", style.bold(name)));
}

/// Rows with the most traces first.
fn tallies(text: &mut String, style: Style, name: &str, heads: &[&'static str], mut rows: Vec<(Vec<String>, &Tally)>) {
    if rows.is_empty() {
        return;
    }
    rows.sort_by(|(names, tally), (others, other)| {
        Reverse(tally.traces).cmp(&Reverse(other.traces)).then_with(|| names.cmp(others))
    });
    heading(text, style, name);
    let mut table = Table::new(&[heads, &["TRACES", "KEPT", "SHARE", "SPANS KEPT", "BYTES KEPT"]].concat());
    for (names, tally) in rows.iter().take(ROWS) {
        let Tally { traces, kept, spans, spans_kept, bytes: all, bytes_kept } = tally;
        let numbers = [traces.to_string(), kept.to_string(), percent(*kept, *traces)];
        let volume = [format!("{spans_kept} of {spans}"), format!("{} of {}", bytes(*bytes_kept), bytes(*all))];
        table.row(names.iter().cloned().chain(numbers).chain(volume));
    }
    text.push_str(&table.print("  ", style));
    more(text, rows.len());
}

pub(super) fn more(text: &mut String, rows: usize) {
    if rows > ROWS {
        say(text, format!("  {} more (-o json has all)", rows - ROWS));
    }
}

fn rules(text: &mut String, outcome: &Outcome<'_>, style: Style) {
    heading(text, style, "RULES");
    let mut table = Table::new(&["RULE", "POLICY", "RATIO", "MATCHED", "DECIDED", "KEPT", "WHERE", "NOTE"]);
    let rules: Vec<_> = outcome.subject.rules(outcome.with_head).collect();
    let all = rules.len();
    for (id, place) in rules.into_iter().take(ROWS) {
        let rule = outcome.subject.sampler.rule(id);
        let tally = outcome.summary.rules.get(id.index()).copied().unwrap_or_default();
        table.row([
            rule.text.clone(),
            policy(rule),
            match rule.effect {
                Effect::Ratio(ratio) | Effect::Head(ratio) => format!("{ratio}"),
                Effect::Keep | Effect::Drop => "-".to_owned(),
            },
            tally.matched.to_string(),
            tally.decided.to_string(),
            tally.kept.to_string(),
            place.words(),
            note(rule, tally, rule.shadowed_by.map(|by| outcome.subject.sampler.rule(by))),
        ]);
    }
    text.push_str(&table.print("  ", style));
    more(text, all);
}

fn policy(rule: &Rule) -> String {
    rule.policy.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string)
}

/// What makes a rule superfluous, for certain or as far as the recording shows.
fn note(rule: &Rule, tally: RuleTally, by: Option<&Rule>) -> String {
    match by {
        Some(by) if by.policy == rule.policy => format!("never decides: {} is before it", by.text),
        Some(by) => format!("never decides: {} of {} is before it", by.text, described(by)),
        None if tally.matched == 0 => "never matched".to_owned(),
        None if tally.decided == 0 => "others decided".to_owned(),
        None => String::new(),
    }
}

fn described(rule: &Rule) -> String {
    rule.policy.as_ref().map_or_else(|| "the collector".to_owned(), ToString::to_string)
}

fn scrubbed(text: &mut String, outcome: &Outcome<'_>, style: Style) {
    let scrubbed = &outcome.summary.scrubbed;
    if scrubbed.is_empty() {
        return;
    }
    heading(text, style, "SCRUBBED");
    let mut table = Table::new(&["ATTRIBUTE", "REMOVED", "CUT"]);
    let mut scrubbed: Vec<_> = scrubbed.iter().collect();
    scrubbed.sort_by_key(|(_, count)| Reverse(count.removed + count.cut));
    for (name, count) in scrubbed.iter().take(ROWS) {
        let name = if name.is_empty() { "(others)" } else { name };
        table.row([cut(name), count.removed.to_string(), count.cut.to_string()]);
    }
    text.push_str(&table.print("  ", style));
    more(text, scrubbed.len());
}

fn timing(text: &mut String, outcome: &Outcome<'_>, style: Style) {
    let summary = &outcome.summary;
    if summary.timed.is_empty() {
        return;
    }
    heading(text, style, "DEPENDS ON TIMING");
    let wait = outcome.subject.sampler.decision_wait() / 1_000_000_000;
    for (count, why) in [
        (summary.spread, format!("spans end more than {wait}s apart (decisionWait)")),
        (summary.late, "spans come after the decision, for more traces are open than tracesInMemory".to_owned()),
        (summary.crowded, "more traces are open than tracesInMemory: the collector loses some of them".to_owned()),
    ] {
        if count > 0 {
            say(text, format!("  {why}: {count}"));
        }
    }
    for (id, timing) in summary.timed.iter().take(NAMED) {
        let id = super::json::hex(id);
        let word = if *timing == Timing::Late { "late spans" } else { timing.as_str() };
        say(text, format!("    {id}  {word}"));
    }
    let named = summary.spread + summary.late + summary.crowded;
    if named > NAMED as u64 {
        say(text, format!("    {} more (-o json has all)", named - NAMED as u64));
    }
}

/// `NAMESPACE/NAME`, as far as the spans say it.
pub(super) fn service(names: &Names, number: Option<Number>) -> String {
    service_words(number.and_then(|number| names.service_of(number)))
}

/// The same; `None` for those that are too many to be told apart.
pub(super) fn service_words(service: Option<&ServiceName>) -> String {
    let Some(service) = service else { return "(others)".to_owned() };
    let part = |part: &Option<String>| part.clone().unwrap_or_else(|| "?".to_owned());
    cut(&format!("{}/{}", part(&service.namespace), part(&service.name)))
}

/// Rounded down: only what is all is 100 %.
pub(super) fn percent(part: u64, all: u64) -> String {
    let tenths = (u128::from(part) * 1_000).checked_div(all.into()).unwrap_or_default();
    format!("{}.{} %", tenths / 10, tenths % 10)
}

/// What a table has room for; the JSON has all of it.
pub(super) fn cut(text: &str) -> String {
    match text.char_indices().nth(WIDEST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// A size that people can read.
pub(super) fn bytes(count: u64) -> String {
    let scaled = |unit: u64, name: &str| {
        let tenths = u128::from(count) * 10 / u128::from(unit);
        format!("{}.{} {name}", tenths / 10, tenths % 10)
    };
    match count {
        0..1_000 => format!("{count} B"),
        1_000..1_000_000 => scaled(1_000, "kB"),
        1_000_000..1_000_000_000 => scaled(1_000_000, "MB"),
        1_000_000_000..1_000_000_000_000 => scaled(1_000_000_000, "GB"),
        _ => scaled(1_000_000_000_000, "TB"),
    }
}
