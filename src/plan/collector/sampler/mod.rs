//! The decisions of a collector, made here: the same [`Model`] that its configuration is rendered from, evaluated span by span.
//!
//! Nothing of a span is kept but the marks that it and its resource would get (`config::mark`), and which rules it matches. The
//! verdict on a trace is a function of those, as the policies of `config::sampling` are.

mod compile;
mod facts;
mod hash;
mod matcher;
mod rules;
mod scrubber;
mod seen;

use std::{cmp::Reverse, collections::HashMap};

use super::tail::Model;
use crate::{api::Identity, index::PolicyId};
use matcher::Matcher;

pub use facts::{ResourceFacts, SpanAttributes, SpanFacts, Value};
pub use hash::TraceId;
pub use rules::{Effect, Rule, RuleId};
pub use scrubber::{Scrubbed, Scrubber};
pub use seen::Seen;

/// The number of a mark.
type MarkId = u32;

/// What a collector keeps, drops and samples at which ratio.
#[derive(Clone, Debug)]
pub struct Sampler {
    identity: Identity,
    keep: CollectorRules,
    services: Vec<ServiceRules>,
    /// Numbers of services and of heads, by namespace and name.
    known: HashMap<String, HashMap<String, Known>>,
    heads: Vec<HeadRule>,
    marks: Vec<Mark>,
    rules: Vec<Rule>,
    baseline: RuleId,
    scrubber: Scrubber,
    unheard: Vec<PolicyId>,
    /// How long spans of a trace are waited for, in nanoseconds.
    decision_wait: u64,
    traces_in_memory: usize,
}

/// What the collector keeps of any service.
#[derive(Clone, Debug, Default)]
struct CollectorRules {
    services: HashMap<String, RuleId>,
    errors: Option<RuleId>,
    server_errors: Option<RuleId>,
    /// In milliseconds.
    slower: Option<(i128, RuleId)>,
}

/// What a service asks for.
#[derive(Clone, Debug)]
struct ServiceRules {
    /// The mark of its own offer, and the rule that makes it; none for the baseline.
    own: (MarkId, Option<RuleId>),
    routes: Vec<(Matcher, MarkId, RuleId)>,
    drop: Vec<(Matcher, RuleId)>,
    always: Option<RuleId>,
    errors: Option<RuleId>,
    server_errors: Option<RuleId>,
    /// In nanoseconds.
    slower: Option<(i64, RuleId)>,
}

/// What an SDK decides.
#[derive(Clone, Copy, Debug)]
struct HeadRule {
    ratio: f64,
    parent_based: bool,
    rule: RuleId,
}

#[derive(Clone, Copy, Debug, Default)]
struct Known {
    service: Option<usize>,
    head: Option<usize>,
}

/// What a mark offers.
#[derive(Clone, Debug, Default)]
struct Mark {
    ratio: f64,
    /// The highest hash that is kept; `None` where nothing is.
    threshold: Option<u64>,
    /// The marks that make it void.
    unless: Vec<MarkId>,
}

/// Whose a resource is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Source {
    known: Known,
    kept: Option<RuleId>,
}

/// What becomes of a trace, and by which rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it is kept.
    pub kept: bool,
    /// The rule that decided: with ratios, the one with the highest on offer.
    pub rule: RuleId,
}

/// What becomes of a span before any collector sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadVerdict {
    /// What becomes of the root of its trace.
    AsRoot,
    /// It is recorded, whatever its callers do.
    Recorded,
    /// It is not, whatever its callers do.
    NotRecorded,
}

impl Sampler {
    /// The namespace of a resource, as this collector sees it.
    pub fn namespace<'a>(&self, resource: &ResourceFacts<'a>) -> Option<&'a str> {
        resource.namespace(self.identity)
    }

    /// Whose a resource is.
    pub fn source(&self, resource: &ResourceFacts<'_>) -> Source {
        let Some(name) = resource.name() else { return Source::default() };
        let namespace = self.namespace(resource).and_then(|namespace| self.known.get(namespace));
        let known = namespace.and_then(|services| services.get(name)).copied().unwrap_or_default();
        Source { known, kept: self.keep.services.get(name).copied() }
    }

    /// Looks at a span.
    pub fn see(&self, source: &Source, span: &SpanFacts<'_>, seen: &mut Seen) {
        seen.hits(source.kept);
        seen.hits(self.keep.errors.filter(|_| span.is_error));
        seen.hits(self.keep.server_errors.filter(|_| span.is_server_error));
        let millis = seen.lasts(span);
        seen.hits(self.keep.slower.filter(|(limit, _)| millis >= *limit).map(|(_, rule)| rule));
        let Some(service) = source.known.service.map(|at| &self.services[at]) else {
            return seen.marked(BASE, self.baseline);
        };
        let (mark, rule) = service.own;
        seen.marked(mark, rule.unwrap_or(self.baseline));
        service.kept(span, seen);
        if span.is_root {
            service.drop.iter().filter(|(matcher, _)| matcher.matches(span)).for_each(|(_, rule)| seen.hit(*rule));
        }
        // A span carries the mark of the first rule that it matches; of the others it is only said that they match.
        let mut matching = service.routes.iter().filter(|(matcher, ..)| matcher.matches(span));
        if let Some((_, mark, rule)) = matching.next() {
            seen.marked(*mark, *rule);
        }
        matching.for_each(|(.., rule)| seen.hit(*rule));
    }

    /// Looks at a trace as a whole, once what was seen of its parts is merged.
    pub fn see_whole(&self, seen: &mut Seen) {
        let millis = seen.length();
        seen.hits(self.keep.slower.filter(|(limit, _)| millis >= *limit).map(|(_, rule)| rule));
    }

    /// Decides on what was seen of a trace.
    pub fn decide(&self, id: &TraceId, seen: &Seen) -> Verdict {
        let first = |effect: Effect| seen.rules().find(|rule| self.rule(*rule).effect == effect);
        if let Some(rule) = first(Effect::Drop) {
            return Verdict { kept: false, rule };
        }
        if let Some(rule) = first(Effect::Keep) {
            return Verdict { kept: true, rule };
        }
        let on_offer = seen.marks().map(|(mark, rule)| (&self.marks[mark as usize], rule));
        let on_offer = on_offer.filter(|(mark, _)| !mark.unless.iter().any(|earlier| seen.has(*earlier)));
        let best = on_offer.max_by(|(one, by), (other, also)| {
            one.ratio.total_cmp(&other.ratio).then_with(|| Reverse(by).cmp(&Reverse(also)))
        });
        let Some((mark, rule)) = best else { return Verdict { kept: false, rule: self.baseline } };
        Verdict { kept: mark.threshold.is_some_and(|threshold| hash::hash(id) <= threshold), rule }
    }

    /// What the SDK of a service does with its spans of this trace.
    pub fn head(&self, source: &Source, id: &TraceId) -> HeadVerdict {
        match source.known.head.map(|at| &self.heads[at]) {
            Some(head) if !head.parent_based && hash::begins(id, head.ratio) => HeadVerdict::Recorded,
            Some(head) if !head.parent_based => HeadVerdict::NotRecorded,
            _ => HeadVerdict::AsRoot,
        }
    }

    /// Whether a trace that begins in this service is recorded, and the rule that says so; without one it is.
    pub fn begins(&self, source: &Source, id: &TraceId) -> (bool, Option<RuleId>) {
        let head = source.known.head.map(|at| &self.heads[at]);
        head.map_or((true, None), |head| (hash::begins(id, head.ratio), Some(head.rule)))
    }

    /// A rule.
    pub fn rule(&self, id: RuleId) -> &Rule {
        &self.rules[id.index()]
    }

    /// All rules: those of the collector first, its baseline last but for those of SDKs.
    pub fn rules(&self) -> impl Iterator<Item = (RuleId, &Rule)> {
        self.rules.iter().enumerate().map(|(at, rule)| (RuleId::new(at), rule))
    }

    /// Policies with sampling that export to this collector, and of which no service is known.
    pub fn unheard(&self) -> &[PolicyId] {
        &self.unheard
    }

    /// What is taken out of spans before anything else.
    pub fn scrubber(&self) -> &Scrubber {
        &self.scrubber
    }

    /// How long the collector waits for the spans of a trace, in nanoseconds.
    pub fn decision_wait(&self) -> u64 {
        self.decision_wait
    }

    /// How many traces the collector holds undecided.
    pub fn traces_in_memory(&self) -> usize {
        self.traces_in_memory
    }

    /// Whether namespaces come from connections, which no recording shows.
    pub fn is_by_connection(&self) -> bool {
        self.identity == Identity::Connection
    }
}

/// The number of the mark of services without rules.
const BASE: MarkId = 0;

impl ServiceRules {
    fn kept(&self, span: &SpanFacts<'_>, seen: &mut Seen) {
        seen.hits(self.always);
        seen.hits(self.errors.filter(|_| span.is_error));
        seen.hits(self.server_errors.filter(|_| span.is_server_error));
        // Signed 64 bits, as the collector subtracts.
        let nanos = span.end.cast_signed().wrapping_sub(span.start.cast_signed());
        seen.hits(self.slower.filter(|(limit, _)| nanos >= *limit).map(|(_, rule)| rule));
    }
}
