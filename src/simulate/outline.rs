//! Traces as they are drawn: a few of each kind, with their spans.

use std::collections::HashMap;

use super::{Fate, names::Number, read::Span};
use crate::plan::collector::{HeadVerdict, RuleId};

/// The most spans of a trace that are drawn.
const MOST_SPANS: usize = 200;
/// The most traces that are examples of a rule, and as many more of services.
const MOST_EXAMPLES: usize = 200;
/// So many of each rule and of each service, kept ones and others.
const OF_EACH: u32 = 4;

/// A trace as it is drawn.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outline {
    /// Its first spans, in the order of the recording.
    pub spans: Vec<Bar>,
    /// How many more there are.
    pub more: u64,
}

/// A span as it is drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Bar {
    /// Its id.
    pub id: [u8; 8],
    /// The id of its parent; zeros where it has none.
    pub parent: [u8; 8],
    /// Its name.
    pub name: Number,
    /// Its service.
    pub service: Number,
    /// When it began, in nanoseconds since 1970.
    pub start: u64,
    /// When it ended.
    pub end: u64,
    /// Whether its status is error.
    pub is_error: bool,
    /// Whether its SDK records it; until the root is known, whether that depends on the root.
    pub head: HeadVerdict,
}

impl Outline {
    pub(super) fn span(&mut self, span: &Span<'_>, name: Number, service: Number, head: HeadVerdict) {
        if self.spans.len() >= MOST_SPANS {
            self.more += 1;
            return;
        }
        self.spans.push(Bar {
            id: span.id,
            parent: span.parent,
            name,
            service,
            start: span.start,
            end: span.end,
            is_error: span.is_error,
            head,
        });
    }

    /// What the SDK of the root has decided.
    pub(super) fn begins(&mut self, is_recorded: bool) {
        let verdict = if is_recorded { HeadVerdict::Recorded } else { HeadVerdict::NotRecorded };
        let undecided = self.spans.iter_mut().filter(|bar| bar.head == HeadVerdict::AsRoot);
        undecided.for_each(|bar| bar.head = verdict);
    }
}

/// Chooses examples: the first ones of each rule and of each service.
#[derive(Debug, Default)]
pub(super) struct Examples {
    for_rules: usize,
    for_services: usize,
    of_rules: HashMap<(RuleId, bool), u32>,
    of_services: HashMap<(Number, bool), u32>,
}

impl Examples {
    /// Whether this one is an example; it counts as one then.
    pub(super) fn choose(&mut self, fate: &Fate) -> bool {
        let is_wanted = |count: Option<&u32>| count.is_none_or(|count| *count < OF_EACH);
        let services = || fate.services.iter().map(|share| share.service);
        let for_rule = self.for_rules < MOST_EXAMPLES && is_wanted(self.of_rules.get(&(fate.rule, fate.kept)));
        let for_service = self.for_services < MOST_EXAMPLES
            && services().any(|service| is_wanted(self.of_services.get(&(service, fate.kept))));
        let is_chosen = for_rule || for_service;
        if is_chosen {
            // Many services leave the rules their places.
            *(if for_rule { &mut self.for_rules } else { &mut self.for_services }) += 1;
            *self.of_rules.entry((fate.rule, fate.kept)).or_default() += 1;
            services().for_each(|service| *self.of_services.entry((service, fate.kept)).or_default() += 1);
        }
        is_chosen
    }
}
