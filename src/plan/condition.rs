//! What conditions of policies and collectors have in common.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};

/// Messages are cut here, so that a status stays small.
const MAX_MESSAGE: usize = 1024;

/// What a condition says.
#[derive(Clone, Debug)]
pub(super) struct State {
    /// `True`, `False` or `Unknown`: what passes by itself is Unknown; False is a fault (DESIGN section 6).
    pub(super) status: &'static str,
    /// One CamelCase word.
    pub(super) reason: &'static str,
    /// For people.
    pub(super) message: String,
}

impl State {
    pub(super) fn new(status: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { status, reason, message: message.into().chars().take(MAX_MESSAGE).collect() }
    }

    pub(super) fn is(&self, status: &str) -> bool {
        self.status == status
    }
}

/// A condition with its time at the epoch.
pub(super) fn condition(kind: &str, state: &State, generation: i64) -> Condition {
    Condition {
        last_transition_time: Time(Timestamp::UNIX_EPOCH),
        message: state.message.clone(),
        observed_generation: Some(generation),
        reason: state.reason.to_owned(),
        status: state.status.to_owned(),
        type_: kind.to_owned(),
    }
}

/// Carries times over from the conditions before: one keeps its time unless its status flipped.
pub(super) fn carry_times(conditions: &mut [Condition], before: Option<&[Condition]>, now: &Time) {
    for condition in conditions {
        let known = before.and_then(|before| before.iter().find(|known| known.type_ == condition.type_));
        condition.last_transition_time = match known {
            Some(known) if known.status == condition.status => known.last_transition_time.clone(),
            _ => now.clone(),
        };
    }
}
