//! What is remembered of a trace: marks, rules, and its first and last moment.

use super::{MarkId, RuleId, SpanFacts};

/// What was seen of a trace so far.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Marks, each with the first of the rules that gave it.
    marks: Vec<(MarkId, RuleId)>,
    /// Rules that matched, in order.
    rules: Vec<RuleId>,
    /// 0 is "none yet", as it is to the collector.
    earliest: u64,
    latest: u64,
}

impl Seen {
    /// The rules that matched, in order.
    pub fn rules(&self) -> impl Iterator<Item = RuleId> {
        self.rules.iter().copied()
    }

    pub(super) fn marks(&self) -> impl Iterator<Item = (MarkId, RuleId)> {
        self.marks.iter().copied()
    }

    pub(super) fn has(&self, mark: MarkId) -> bool {
        self.marks.iter().any(|(known, _)| *known == mark)
    }

    pub(super) fn hit(&mut self, rule: RuleId) {
        if let Err(place) = self.rules.binary_search(&rule) {
            self.rules.insert(place, rule);
        }
    }

    pub(super) fn hits(&mut self, rule: Option<RuleId>) {
        if let Some(rule) = rule {
            self.hit(rule);
        }
    }

    pub(super) fn marked(&mut self, mark: MarkId, rule: RuleId) {
        self.hit(rule);
        match self.marks.iter_mut().find(|(known, _)| *known == mark) {
            Some((_, first)) => *first = rule.min(*first),
            None => self.marks.push((mark, rule)),
        }
    }

    /// How long the trace takes up to here, in whole milliseconds, with the oddities of the collector: it looks after every
    /// span, and takes a time of 0 for none.
    pub(super) fn lasts(&mut self, span: &SpanFacts<'_>) -> i128 {
        if self.earliest == 0 || span.start < self.earliest {
            self.earliest = span.start;
        }
        if self.latest == 0 || span.end > self.latest {
            self.latest = span.end;
        }
        self.length()
    }

    /// From its first moment to its last, in whole milliseconds.
    pub(super) fn length(&self) -> i128 {
        (i128::from(self.latest.cast_signed()) - i128::from(self.earliest.cast_signed())) / 1_000_000
    }

    /// Adds what was seen of the same trace elsewhere.
    pub fn merge(&mut self, other: &Self) {
        other.rules.iter().for_each(|rule| self.hit(*rule));
        other.marks.iter().for_each(|(mark, rule)| self.marked(*mark, *rule));
        if self.earliest == 0 || (other.earliest != 0 && other.earliest < self.earliest) {
            self.earliest = other.earliest;
        }
        self.latest = self.latest.max(other.latest);
    }
}
