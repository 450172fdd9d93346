//! What becomes of traces, as one file for a browser: figures as bars, filters, and examples as timelines.
//!
//! The figures are those of the JSON, made by the same function. They stand in the page as data, which its script puts in place as text:
//! nothing that a recording says is ever read as HTML.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    json::{self, Rules},
    single::Outcome,
    subject::Subject,
    table::service,
};
use crate::{
    plan::collector::{HeadVerdict, RuleId},
    simulate::{Bar, Fate, Names, Number, Outline, Route},
};

const PAGE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");

/// The most services, and routes, that the page lists.
const ROWS: usize = 300;

/// How many traces a rule decided, and how many of them are kept.
type Decided = BTreeMap<RuleId, (u64, u64)>;

/// Collects what the page shows beside the summary.
pub(super) struct Page {
    rules: Rules,
    services: BTreeMap<Number, Decided>,
    routes: BTreeMap<Option<Route>, Decided>,
    examples: Vec<(RuleId, Value)>,
}

impl Page {
    pub(super) fn new(subject: &Subject<'_>) -> Self {
        let rules = Rules::new(subject);
        Self { rules, services: BTreeMap::new(), routes: BTreeMap::new(), examples: Vec::new() }
    }

    pub(super) fn fate(&mut self, fate: &Fate, names: &Names) {
        for share in &fate.services {
            count(self.services.entry(share.service).or_default(), fate);
        }
        count(self.routes.entry(fate.root).or_default(), fate);
        if let Some(outline) = &fate.outline
            && let Some(trace) = self.rules.trace(fate, names)
        {
            let services = fate.services.iter().map(|share| share.service);
            let example = example(json!(trace), services, outline, names);
            self.examples.push((fate.rule, example));
        }
    }

    /// The page.
    pub(super) fn end(self, outcome: &Outcome<'_>, recordings: &[String]) -> String {
        // What is not less than `<` in JSON can neither end the element nor begin a comment in it.
        let data = self.data(outcome, recordings).to_string().replace('<', "\\u003c");
        let policy = format!(
            "default-src 'none'; style-src '{}'; script-src '{}'; base-uri 'none'; form-action 'none'",
            fingerprint(STYLE),
            fingerprint(SCRIPT)
        );
        let parts = [("{policy}", policy.as_str()), ("{style}", STYLE), ("{script}", SCRIPT), ("{data}", &data)];
        let mut page = String::with_capacity(PAGE.len() + STYLE.len() + SCRIPT.len() + data.len());
        let mut rest = PAGE;
        // In the order in which they stand there: what is put in is not looked at again.
        while let Some((at, (mark, text))) =
            parts.iter().filter_map(|part| Some((rest.find(part.0)?, part))).min_by_key(|(at, _)| *at)
        {
            let (before, after) = rest.split_at(at);
            page.push_str(before);
            page.push_str(text);
            rest = after.strip_prefix(mark).unwrap_or_default();
        }
        page + rest
    }

    fn data(self, outcome: &Outcome<'_>, recordings: &[String]) -> Value {
        let Outcome { subject, summary, names, with_head, .. } = outcome;
        let mut figures = json::summary(outcome);
        let places: BTreeMap<RuleId, usize> =
            subject.rules(*with_head).enumerate().map(|(at, (id, _))| (id, at)).collect();
        let by = |decided: Option<&Decided>| -> Vec<Value> {
            let rules = decided.into_iter().flatten();
            rules.filter_map(|(rule, (traces, kept))| Some(json!([places.get(rule)?, traces, kept]))).collect()
        };
        let services = summary.services.keys().map(|number| {
            let by = by(self.services.get(number));
            json!({"key": number, "label": service(names, Some(*number)), "by": by})
        });
        let services = rows(figures["services"].take(), services);
        let routes = summary.routes.keys().map(|root| {
            let by = by(self.routes.get(root));
            let (key, label, name) = match root {
                None => (None, "-".to_owned(), "(no root)"),
                Some((own, route)) => {
                    (Some(*own), service(names, Some(*own)), names.route_of(*route).unwrap_or("(others)"))
                }
            };
            json!({"key": key, "label": label, "name": name, "by": by})
        });
        let routes = rows(figures["routes"].take(), routes);
        let [rules, scrubbed] = ["rules", "scrubbed"].map(|list| figures[list].take());
        let timed = summary.timed.iter().take(ROWS);
        let timed: Vec<_> =
            timed.map(|(id, timing)| json!({"traceId": json::hex(id), "timing": timing.as_str()})).collect();
        let more = json!({
            "services": summary.services.len().saturating_sub(ROWS),
            "routes": summary.routes.len().saturating_sub(ROWS),
            "timed": (summary.spread + summary.late + summary.crowded).saturating_sub(timed.len() as u64),
        });
        let examples = self.examples.into_iter().filter_map(|(rule, mut example)| {
            example["ruleAt"] = (*places.get(&rule)?).into();
            Some(example)
        });
        json!({
            "version": 1, "recordings": recordings, "withHead": with_head, "summary": figures,
            "services": services, "routes": routes, "rules": rules, "scrubbed": scrubbed, "timed": timed, "more": more,
            "examples": examples.collect::<Vec<_>>(),
        })
    }
}

fn count(decided: &mut Decided, fate: &Fate) {
    let (traces, kept) = decided.entry(fate.rule).or_default();
    *traces += 1;
    *kept += u64::from(fate.kept);
}

/// The rows with the most traces, with what they are called and which rules decided them.
fn rows(figures: Value, with: impl Iterator<Item = Value>) -> Vec<Value> {
    let Value::Array(mut rows) = figures else { return Vec::new() };
    for (row, more) in rows.iter_mut().zip(with) {
        if let (Value::Object(row), Value::Object(more)) = (row, more) {
            row.extend(more);
        }
    }
    rows.sort_by_key(|row| std::cmp::Reverse(row["traces"].as_u64()));
    rows.truncate(ROWS);
    rows
}

fn example(mut trace: Value, services: impl Iterator<Item = Number>, outline: &Outline, names: &Names) -> Value {
    let first = outline.spans.iter().map(|span| span.start).min().unwrap_or_default();
    let last = outline.spans.iter().map(|span| span.end).max().unwrap_or_default();
    let services: BTreeSet<Number> = services.chain(outline.spans.iter().map(|span| span.service)).collect();
    let services = services.into_iter().map(|number| json!([number, service(names, Some(number))]));
    trace["services"] = services.collect();
    trace["duration"] = last.saturating_sub(first).into();
    trace["spans"] = outline.spans.iter().map(|span| drawn(span, first, names)).collect();
    trace["more"] = outline.more.into();
    trace
}

fn drawn(span: &Bar, first: u64, names: &Names) -> Value {
    json!({
        "id": json::hex(&span.id), "parent": json::hex(&span.parent),
        "name": names.span_of(span.name).unwrap_or("(others)"), "service": service(names, Some(span.service)),
        "start": span.start - first, "duration": span.end.saturating_sub(span.start),
        "error": span.is_error, "recorded": span.head != HeadVerdict::NotRecorded,
    })
}

/// How a Content-Security-Policy names a text that may run or apply.
fn fingerprint(text: &str) -> String {
    format!("sha256-{}", BASE64_STANDARD.encode(Sha256::digest(text.as_bytes())))
}
