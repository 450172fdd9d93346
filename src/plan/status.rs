//! The status of a policy, from what the workloads that it is about contribute. No clock: times of transitions are the
//! caller's (`finish`).

mod attention;
mod conditions;
mod reach;
mod tally;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::condition::carry_times;
use crate::{
    api::{TracingPolicyStatus, condition as types},
    diagnostics::Diagnostic,
    index::{Policy, Snapshot},
};

pub(super) use tally::Beaten;
pub use tally::Tally;
pub(super) use tally::why;

/// At most this many entries of `status.attention`.
const MAX_ATTENTION: usize = 16;
/// Characters of a message of an entry; what the API server says can be long.
const MAX_MESSAGE: usize = 512;

/// What there is to say about a policy.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The status, with transition times at the epoch.
    pub status: TracingPolicyStatus,
    /// Findings about references and targets (TRC02xx, TRC04xx, TRC0504).
    pub findings: Vec<Diagnostic>,
}

/// The report of one policy.
pub fn report(snapshot: &Snapshot, policy: &Policy, tally: &Tally) -> Report {
    let view = View { snapshot, policy, tally };
    let findings = attention::findings(&view);
    let status = TracingPolicyStatus {
        observed_generation: Some(policy.generation),
        conditions: conditions::conditions(&view),
        workloads: Some(tally.counts.clone()),
        attention: attention::attention(&view, &findings),
    };
    Report { status, findings: findings.into_iter().map(|finding| finding.on(policy.id.object())).collect() }
}

/// Carries times over from the status before: a condition keeps its time unless its status flipped.
pub fn finish(
    mut status: TracingPolicyStatus,
    before: Option<&TracingPolicyStatus>,
    now: &Time,
) -> TracingPolicyStatus {
    carry_times(&mut status.conditions, before.map(|before| before.conditions.as_slice()), now);
    status
}

/// Whether two statuses say the same, apart from conditions of others, which server-side apply leaves alone.
pub fn is_same(said: &TracingPolicyStatus, wanted: &TracingPolicyStatus) -> bool {
    let own = |status: &TracingPolicyStatus| {
        let mut status = status.clone();
        status.conditions.retain(|condition| types::ALL.contains(&condition.type_.as_str()));
        status
    };
    own(said) == own(wanted)
}

/// Everything that a status is made of.
struct View<'a> {
    snapshot: &'a Snapshot,
    policy: &'a Policy,
    tally: &'a Tally,
}
