//! What a collector would keep of recorded traces, and by which rule. Pure: bytes go in, decisions come out.
//!
//! `read` makes spans of bytes. A trace is what the sampler has seen of it (`trace`), until it is decided; `recent` bounds how many
//! are remembered. What became of a trace is given to whoever asks, one by one; `summary` adds up.

mod compare;
mod names;
mod outline;
pub mod read;
mod recent;
mod summary;
mod trace;

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use crate::plan::collector::{
    HeadVerdict, ResourceFacts, Sampler, Scrubbed, Source, SpanAttributes, SpanFacts, TraceId, Value,
};

use outline::Examples;
use read::{Attribute, Batch, Span};
use recent::Recent;
use trace::Open;

pub use compare::{Comparison, Half, Pair, Pairs, Side, Turn, Verdict};
pub use names::{Names, Number, ServiceName};
pub use outline::{Bar, Outline};
pub use summary::{Removed, Route, RuleTally, Service, Summary, Tally};
pub use trace::{Fate, Share, Timing};

/// How many decided traces are remembered for each that can be open, as in the collector.
const DECIDED: usize = 10;
/// How many names of attributes are remembered with what becomes of them.
const KNOWN_KEYS: usize = 10_000;

/// Takes what becomes of each trace.
pub trait Fates {
    /// This became of a trace. It is said once, when nothing can change it any more.
    fn fate(&mut self, fate: &Fate, names: &Names);
}

/// A simulation that is running.
#[derive(Debug)]
pub struct Simulation<'s> {
    sampler: &'s Sampler,
    /// Whether SDKs decide before the collector does.
    with_head: bool,
    open: Recent<Open>,
    decided: Recent<Fate>,
    /// Which traces are given with their spans, where any are.
    examples: Option<Examples>,
    /// Traces so far.
    count: u64,
    spans: u64,
    keys: HashMap<String, Scrubbed>,
    names: Names,
    summary: Summary,
}

/// Where a span is from.
#[derive(Clone, Copy)]
struct Origin<'a> {
    source: &'a Source,
    service: Number,
}

impl<'s> Simulation<'s> {
    /// Nothing seen so far.
    pub fn new(sampler: &'s Sampler, with_head: bool) -> Self {
        let open = sampler.traces_in_memory();
        Self {
            sampler,
            with_head,
            open: Recent::new(open),
            decided: Recent::new(open.saturating_mul(DECIDED)),
            examples: None,
            count: 0,
            spans: 0,
            keys: HashMap::new(),
            names: Names::default(),
            summary: Summary::new(sampler),
        }
    }

    /// Gives some traces of each rule and service with their spans, as examples. While they are open, all traces are held with theirs.
    #[must_use]
    pub fn with_examples(self) -> Self {
        Self { examples: Some(Examples::default()), ..self }
    }

    /// Spans so far.
    pub fn spans(&self) -> u64 {
        self.spans
    }

    /// Takes in the spans of a resource.
    pub fn take(&mut self, batch: &Batch<'_>, fates: &mut dyn Fates) {
        let mut facts = ResourceFacts::default();
        for attribute in &batch.resource {
            if let Some(value) = self.scrubbed(attribute) {
                facts.attribute(&attribute.key, value);
            }
        }
        let source = self.sampler.source(&facts);
        let service = self.names.service(self.sampler.namespace(&facts), facts.name());
        for scope in &batch.scopes {
            for attribute in &scope.attributes {
                self.scrubbed(attribute);
            }
            for span in &scope.spans {
                self.span(Origin { source: &source, service }, span, fates);
            }
        }
    }

    fn span(&mut self, origin: Origin<'_>, span: &Span<'_>, fates: &mut dyn Fates) {
        self.spans += 1;
        let mut attributes = SpanAttributes::default();
        for attribute in &span.attributes {
            if let Some(value) = self.scrubbed(attribute) {
                attributes.attribute(&attribute.key, value);
            }
        }
        for attribute in span.events.iter().flatten() {
            self.scrubbed(attribute);
        }
        let mut facts = SpanFacts {
            is_root: span.is_root(),
            name: &span.name,
            is_error: span.is_error,
            start: span.start,
            end: span.end,
            ..SpanFacts::default()
        };
        attributes.complete(&mut facts);
        let head = if self.with_head { self.sampler.head(origin.source, &span.trace) } else { HeadVerdict::AsRoot };
        if let Some(decided) = self.decided.touch(&span.trace) {
            let head = decided.late(origin.service, span.bytes, head);
            if let Some(outline) = &mut decided.outline {
                outline.span(span, self.names.span(&span.name), origin.service, head);
            }
            return;
        }
        if !self.open.contains(&span.trace) {
            self.make_room(span.end, fates);
            self.count += 1;
        }
        let open = self.open.touch_or_insert(&span.trace, || Open::new(self.count));
        if head == HeadVerdict::NotRecorded {
            open.refused_by = self.sampler.begins(origin.source, &span.trace).1;
        }
        if facts.is_root && open.root.is_none() {
            let begins = if self.with_head { self.sampler.begins(origin.source, &span.trace) } else { (true, None) };
            let route = self.names.route(facts.route.unwrap_or(facts.name));
            open.root = Some(trace::Root { service: origin.service, route, begins });
        }
        if self.examples.is_some() {
            let outline = open.outline.get_or_insert_default();
            outline.span(span, self.names.span(&span.name), origin.service, head);
        }
        open.span(origin.service, span, head, |seen| self.sampler.see(origin.source, &facts, seen));
    }

    /// Takes note of what scrubbing does to an attribute, and gives what is left of its value.
    fn scrubbed<'a>(&mut self, attribute: &'a Attribute<'_>) -> Option<Value<'a>> {
        let fate = self.keys.get(&*attribute.key).copied().unwrap_or_else(|| {
            let fate = self.sampler.scrubber().fate(&attribute.key);
            if self.keys.len() < KNOWN_KEYS {
                self.keys.insert(attribute.key.clone().into_owned(), fate);
            }
            fate
        });
        let value = attribute.value.plain();
        match (fate, value) {
            (Scrubbed::Removed, _) => {
                self.summary.removed(&attribute.key);
                None
            }
            (Scrubbed::Cut(bytes), Value::Text(text)) if text.len() > bytes => {
                self.summary.cut(&attribute.key);
                fate.left(text).map(Value::Text)
            }
            (Scrubbed::Stays | Scrubbed::Cut(_), _) => Some(value),
        }
    }

    /// Where as many traces are open as the collector holds, the one that has been quiet longest is decided. Where the collector would
    /// still be waiting for it as the next one comes, it has more traces than it holds, and loses one.
    fn make_room(&mut self, now: u64, fates: &mut dyn Fates) {
        if self.open.is_full()
            && let Some((id, mut open)) = self.open.pop()
        {
            open.is_crowded = now.abs_diff(open.first_end) < self.sampler.decision_wait();
            self.decide(id, open, fates);
        }
    }

    fn decide(&mut self, id: TraceId, open: Open, fates: &mut dyn Fates) {
        let mut fate = open.decide(id, self.sampler);
        if !self.examples.as_mut().is_some_and(|examples| examples.choose(&fate)) {
            fate.outline = None;
        }
        if self.decided.is_full()
            && let Some((_, forgotten)) = self.decided.pop()
        {
            self.tell(&forgotten, fates);
        }
        self.decided.touch_or_insert(&id, || fate);
    }

    fn tell(&mut self, fate: &Fate, fates: &mut dyn Fates) {
        self.summary.add(fate);
        fates.fate(fate, &self.names);
    }

    /// Decides on everything that is left, in the order of the recording, and adds up.
    pub fn finish(mut self, fates: &mut dyn Fates) -> (Summary, Names) {
        while let Some((id, open)) = self.open.pop() {
            self.decide(id, open, fates);
        }
        let mut rest: Vec<Fate> = std::iter::from_fn(|| self.decided.pop()).map(|(_, fate)| fate).collect();
        rest.sort_by_key(|fate| fate.number);
        for fate in &rest {
            self.tell(fate, fates);
        }
        (self.summary, self.names)
    }
}
