//! What becomes of all traces together: by service, by route, by rule.

use std::collections::BTreeMap;

use super::{Fate, Timing, names::Number};
use crate::plan::collector::{RuleId, Sampler};

/// The most different names of attributes that are counted; what is beyond them is one.
const MOST_ATTRIBUTES: usize = 1_000;
/// The most traces that are named as depending on timing; the others are counted.
const MOST_TIMED: usize = 1_000;

/// How many came in, and how many of them are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Traces.
    pub traces: u64,
    /// Traces that are kept.
    pub kept: u64,
    /// Spans.
    pub spans: u64,
    /// Spans of kept traces.
    pub spans_kept: u64,
    /// Bytes of spans.
    pub bytes: u64,
    /// Bytes of spans of kept traces.
    pub bytes_kept: u64,
}

/// A service, by number.
pub type Service = Number;
/// The service and route of a root, by number.
pub type Route = (Number, Number);

/// What one rule did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuleTally {
    /// Traces with a span that it matches; of ratios of whole services, those with a span of them.
    pub matched: u64,
    /// Traces that it decided.
    pub decided: u64,
    /// Traces that it kept.
    pub kept: u64,
}

/// What scrubbing does to attributes of a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// How often it is removed.
    pub removed: u64,
    /// How often it is cut.
    pub cut: u64,
}

/// Everything that became of a recording.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// All traces.
    pub all: Tally,
    /// By service; a trace counts for each of its services.
    pub services: BTreeMap<Service, Tally>,
    /// By the route of the root; `None` for traces without a root in the recording.
    pub routes: BTreeMap<Option<Route>, Tally>,
    /// By rule, in their order.
    pub rules: Vec<RuleTally>,
    /// What scrubbing does, by the name of the attribute; the empty name is all others.
    pub scrubbed: BTreeMap<String, Removed>,
    /// Traces whose spans end further apart than the collector waits.
    pub spread: u64,
    /// Traces with spans that came after the decision.
    pub late: u64,
    /// Traces of which the collector loses some, because more are open than it holds.
    pub crowded: u64,
    /// The first of all these.
    pub timed: Vec<([u8; 16], Timing)>,
    /// Traces that SDKs do not record.
    pub not_recorded: u64,
}

impl Tally {
    fn add(&mut self, kept: bool, spans: u64, bytes: u64) {
        self.traces += 1;
        self.spans += spans;
        self.bytes += bytes;
        if kept {
            self.kept += 1;
            self.spans_kept += spans;
            self.bytes_kept += bytes;
        }
    }
}

impl Summary {
    pub(super) fn new(sampler: &Sampler) -> Self {
        Self { rules: vec![RuleTally::default(); sampler.rules().count()], ..Self::default() }
    }

    pub(super) fn add(&mut self, fate: &Fate) {
        let Fate { kept, .. } = *fate;
        self.all.add(kept, fate.spans(), fate.bytes());
        for share in &fate.services {
            self.services.entry(share.service).or_default().add(kept, share.spans, share.bytes);
        }
        self.routes.entry(fate.root).or_default().add(kept, fate.spans(), fate.bytes());
        for rule in &fate.matched {
            self.rule(*rule, |tally| tally.matched += 1);
        }
        self.rule(fate.rule, |tally| {
            tally.decided += 1;
            tally.kept += u64::from(kept);
        });
        self.not_recorded += u64::from(fate.services.is_empty());
        if let Some(timing) = fate.timing {
            match timing {
                Timing::Spread => self.spread += 1,
                Timing::Late => self.late += 1,
                Timing::Crowded => self.crowded += 1,
            }
            if self.timed.len() < MOST_TIMED {
                self.timed.push((fate.id, timing));
            }
        }
    }

    fn rule(&mut self, rule: RuleId, change: impl FnOnce(&mut RuleTally)) {
        self.rules.get_mut(rule.index()).map(change).unwrap_or_default();
    }

    pub(super) fn removed(&mut self, name: &str) {
        self.attribute(name).removed += 1;
    }

    pub(super) fn cut(&mut self, name: &str) {
        self.attribute(name).cut += 1;
    }

    fn attribute(&mut self, name: &str) -> &mut Removed {
        let is_known = self.scrubbed.contains_key(name) || self.scrubbed.len() < MOST_ATTRIBUTES;
        self.scrubbed.entry(if is_known { name } else { "" }.to_owned()).or_default()
    }
}
