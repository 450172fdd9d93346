//! One trace: while it is open, and what became of it.

use super::{names::Number, outline::Outline, read::Span};
use crate::plan::collector::{HeadVerdict, RuleId, Sampler, Seen, TraceId};

/// A trace whose spans are still coming.
#[derive(Debug, Default)]
pub(super) struct Open {
    /// Which one of the recording it is.
    number: u64,
    pub(super) root: Option<Root>,
    /// Spans of services that record what their callers record.
    following: Part,
    /// Spans that are recorded whatever becomes of the root.
    by_themselves: Option<Box<Part>>,
    /// Spans that no SDK would have recorded.
    unrecorded: u64,
    pub(super) first_end: u64,
    last_end: u64,
    /// The head rule of a span that is not recorded whatever becomes of the root.
    pub(super) refused_by: Option<RuleId>,
    /// Whether it had to be decided while the collector would still wait.
    pub(super) is_crowded: bool,
    /// What is to be drawn of it, where somebody wants that.
    pub(super) outline: Option<Box<Outline>>,
}

/// Where a trace begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Root {
    pub(super) service: Number,
    pub(super) route: Number,
    /// Whether its SDK records it, and by which rule.
    pub(super) begins: (bool, Option<RuleId>),
}

/// Spans that are recorded together.
#[derive(Debug, Default)]
struct Part {
    seen: Seen,
    services: Vec<Share>,
}

/// What a trace has of one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// The service.
    pub service: Number,
    /// Its spans.
    pub spans: u64,
    /// Their size.
    pub bytes: u64,
}

/// Why a collector might decide otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timing {
    /// Its spans end further apart than the collector waits for them.
    Spread,
    /// Spans came after it had to be decided.
    Late,
    /// More traces were open than the collector holds: it loses some of them.
    Crowded,
}

impl Timing {
    /// As JSON has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Spread => "spread",
            Self::Late => "late",
            Self::Crowded => "crowded",
        }
    }
}

/// What became of a trace.
#[derive(Clone, Debug, PartialEq)]
pub struct Fate {
    /// Which one of the recording it is, from 1.
    pub number: u64,
    /// Its id.
    pub id: TraceId,
    /// Whether it is kept.
    pub kept: bool,
    /// The rule that decided.
    pub rule: RuleId,
    /// Rules that matched, the deciding one among them.
    pub matched: Box<[RuleId]>,
    /// Service and route of its root, where the recording has one.
    pub root: Option<(Number, Number)>,
    /// What it has of each service.
    pub services: Vec<Share>,
    /// Spans that no SDK would have recorded, and that no collector sees.
    pub unrecorded: u64,
    /// Why a collector might decide otherwise.
    pub timing: Option<Timing>,
    /// Its spans, of those traces that are an example.
    pub outline: Option<Box<Outline>>,
    /// Whether its root was recorded.
    pub(super) begins: bool,
}

impl Part {
    fn add(&mut self, service: Number, spans: u64, bytes: u64) {
        add(&mut self.services, service, spans, bytes);
    }
}

fn add(services: &mut Vec<Share>, service: Number, spans: u64, bytes: u64) {
    match services.iter_mut().find(|share| share.service == service) {
        Some(share) => {
            share.spans += spans;
            share.bytes += bytes;
        }
        None => services.push(Share { service, spans, bytes }),
    }
}

impl Open {
    pub(super) fn new(number: u64) -> Self {
        Self { number, first_end: u64::MAX, ..Self::default() }
    }

    /// Takes in a span.
    pub(super) fn span(&mut self, service: Number, span: &Span<'_>, head: HeadVerdict, see: impl FnOnce(&mut Seen)) {
        if head != HeadVerdict::NotRecorded {
            self.first_end = self.first_end.min(span.end);
            self.last_end = self.last_end.max(span.end);
        }
        let part = match head {
            HeadVerdict::AsRoot => &mut self.following,
            HeadVerdict::Recorded => self.by_themselves.get_or_insert_default(),
            HeadVerdict::NotRecorded => {
                self.unrecorded += 1;
                return;
            }
        };
        part.add(service, 1, span.bytes);
        see(&mut part.seen);
    }

    /// What becomes of it.
    pub(super) fn decide(self, id: TraceId, sampler: &Sampler) -> Fate {
        let Self { number, root, mut following, by_themselves, mut unrecorded, first_end, last_end, .. } = self;
        let (mut outline, refused_by, is_crowded) = (self.outline, self.refused_by, self.is_crowded);
        let (begins, by_head) = root.map_or((true, None), |root| root.begins);
        if let Some(outline) = &mut outline {
            outline.begins(begins);
        }
        if !begins {
            unrecorded += following.services.iter().map(|share| share.spans).sum::<u64>();
            following = Part::default();
        }
        if let Some(others) = by_themselves {
            following.seen.merge(&others.seen);
            sampler.see_whole(&mut following.seen);
            others.services.iter().for_each(|share| following.add(share.service, share.spans, share.bytes));
        }
        let Part { seen, services } = following;
        let verdict = sampler.decide(&id, &seen);
        let is_recorded = !services.is_empty();
        let rule = by_head.or(refused_by).filter(|_| !is_recorded).unwrap_or(verdict.rule);
        let matched = if is_recorded { seen.rules().chain(by_head).collect() } else { Box::from([rule]) };
        let is_spread = last_end.saturating_sub(first_end) > sampler.decision_wait();
        let timing = if is_crowded { Some(Timing::Crowded) } else { is_spread.then_some(Timing::Spread) };
        Fate {
            number,
            id,
            kept: verdict.kept && is_recorded,
            rule,
            matched,
            root: root.map(|root| (root.service, root.route)),
            services,
            unrecorded,
            timing: timing.filter(|_| is_recorded),
            outline,
            begins,
        }
    }
}

impl Fate {
    /// A span that comes after the decision follows it, where an SDK records it.
    pub(super) fn late(&mut self, service: Number, bytes: u64, head: HeadVerdict) -> HeadVerdict {
        if head == HeadVerdict::NotRecorded || (head == HeadVerdict::AsRoot && !self.begins) {
            self.unrecorded += 1;
            return HeadVerdict::NotRecorded;
        }
        add(&mut self.services, service, 1, bytes);
        self.timing = Some(Timing::Late);
        HeadVerdict::Recorded
    }

    /// Its spans that reach the collector.
    pub fn spans(&self) -> u64 {
        self.services.iter().map(|share| share.spans).sum()
    }

    /// Their size.
    pub fn bytes(&self) -> u64 {
        self.services.iter().map(|share| share.bytes).sum()
    }
}
