//! The rules that decide, each with where it is written.

use crate::{
    diagnostics::{FieldPath, ObjectId},
    index::PolicyId,
};

/// The number of a rule. The lower one is named where several would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(u32);

impl RuleId {
    pub(super) fn new(at: usize) -> Self {
        Self(u32::try_from(at).unwrap_or(u32::MAX))
    }

    /// Its place among the rules.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Effect {
    /// It drops traces.
    Drop,
    /// It keeps traces.
    Keep,
    /// It offers a ratio.
    Ratio(f64),
    /// It decides which traces are recorded at all.
    Head(f64),
}

/// A rule of the collector or of a policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// A short name: `drop[0]`, `keep.errors`, `routes[1]`, `ratio`, `head`; `baseline` and `collector.…` are the collector's.
    pub text: String,
    /// The policy that it is from.
    pub policy: Option<PolicyId>,
    /// The object that it is written in.
    pub object: ObjectId,
    /// Where in that object.
    pub path: FieldPath,
    /// What it does.
    pub effect: Effect,
    /// The rule that leaves it nothing to decide, whatever the traces are.
    pub shadowed_by: Option<RuleId>,
}
