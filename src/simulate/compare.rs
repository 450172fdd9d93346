//! The same recording under two sets of policies: which traces change their fate.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::{Fate, Fates, Names, Timing};
use crate::plan::collector::{RuleId, TraceId};

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// What was.
    Old,
    /// What would be.
    New,
}

/// What became of a trace under one set of policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it is kept.
    pub kept: bool,
    /// The rule that decided, of that set.
    pub rule: RuleId,
    /// Why a collector might decide otherwise.
    pub timing: Option<Timing>,
}

/// A trace under both.
#[derive(Clone, Copy, Debug)]
pub struct Pair<'a> {
    /// Its id.
    pub id: &'a TraceId,
    /// What became of it.
    pub old: Verdict,
    /// What would become of it.
    pub new: Verdict,
    /// The one that was asked last, as `names` has the service and route of the root.
    pub fate: &'a Fate,
    /// The names of that one.
    pub names: &'a Names,
}

/// What becomes of the traces that one rule decides now and another one would.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// Traces that are dropped now, and would be kept.
    pub to_kept: u64,
    /// Traces that are kept now, and would be dropped.
    pub to_dropped: u64,
    /// Traces that keep their fate.
    pub alike: u64,
}

/// Takes what becomes of each trace under both.
pub trait Pairs {
    /// This trace changes its fate.
    fn changed(&mut self, pair: &Pair<'_>);
}

/// Brings together what two simulations say of the same traces.
#[derive(Debug, Default)]
pub struct Comparison {
    /// Verdicts of traces on which the other simulation has not decided yet.
    waiting: HashMap<TraceId, (VecDeque<Verdict>, VecDeque<Verdict>)>,
    /// By the rule that decides now, and the one that would.
    pub turns: BTreeMap<(RuleId, RuleId), Turn>,
}

/// One of the simulations, which gives its fates to the comparison.
pub struct Half<'a> {
    comparison: &'a mut Comparison,
    side: Side,
    pairs: &'a mut dyn Pairs,
}

impl Comparison {
    /// Takes the fates of one side.
    pub fn half<'a>(&'a mut self, side: Side, pairs: &'a mut dyn Pairs) -> Half<'a> {
        Half { comparison: self, side, pairs }
    }

    /// Traces that one of the two had forgotten and met anew, and the other had not: they count twice on one side.
    pub fn unpaired(&self) -> u64 {
        self.waiting.values().map(|(old, new)| (old.len() + new.len()) as u64).sum()
    }

    /// The verdicts of both, where the other one is there.
    fn pair(&mut self, side: Side, id: &TraceId, verdict: Verdict) -> Option<(Verdict, Verdict)> {
        let (old, new) = self.waiting.entry(*id).or_default();
        let (own, others) = if side == Side::Old { (old, new) } else { (new, old) };
        let Some(other) = others.pop_front() else {
            own.push_back(verdict);
            return None;
        };
        if others.is_empty() {
            self.waiting.remove(id);
        }
        Some(if side == Side::Old { (verdict, other) } else { (other, verdict) })
    }
}

impl Fates for Half<'_> {
    fn fate(&mut self, fate: &Fate, names: &Names) {
        let Fate { kept, rule, timing, .. } = *fate;
        let verdict = Verdict { kept, rule, timing };
        let Some((old, new)) = self.comparison.pair(self.side, &fate.id, verdict) else { return };
        let turn = self.comparison.turns.entry((old.rule, new.rule)).or_default();
        match (old.kept, new.kept) {
            (false, true) => turn.to_kept += 1,
            (true, false) => turn.to_dropped += 1,
            _ => turn.alike += 1,
        }
        if old.kept != new.kept {
            self.pairs.changed(&Pair { id: &fate.id, old, new, fate, names });
        }
    }
}
