//! Who may hold the Lease, as a function of what was seen and when. Times come from a clock that never jumps; what is
//! written in the Lease as a time of day is for people to read, and is compared with no clock.

use std::time::Duration;

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};

/// How long its holder writes after a renewal. The rest is for requests that are under way.
pub(super) const WRITES: Duration = Duration::from_secs(10);
/// The pause between two renewals, and between two looks of who does not hold it.
pub(super) const RETRY: Duration = Duration::from_secs(2);
/// How long there has to be no Lease before one is made: its holder notices earlier that it is gone.
pub(super) const ABSENCE: Duration = Duration::from_secs(3);
/// How long a Lease holds after its last change, in seconds.
const SECONDS: i32 = 15;
/// No Lease may keep everybody waiting for longer, whatever is written in it.
const LONGEST: i32 = 3_600;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The Lease is this process's, or anybody's: it is to be written.
    Write,
    /// It is somebody else's until then, unless it changes.
    Wait(Duration),
}

/// What one process knows of the Lease.
#[derive(Debug)]
pub(super) struct Election {
    identity: String,
    /// As it was seen last.
    lease: Option<Lease>,
    /// When nobody can be leading by it any more.
    free: Option<Duration>,
}

impl Election {
    pub(super) fn new(identity: String) -> Self {
        Self { identity, lease: None, free: None }
    }

    /// The Lease as it was seen last.
    pub(super) fn lease(&self) -> Option<&Lease> {
        self.lease.as_ref()
    }

    /// Whether this process was seen to hold it.
    pub(super) fn holds(&self) -> bool {
        self.spec().and_then(|spec| spec.holder_identity.as_ref()) == Some(&self.identity)
    }

    /// Who was seen to hold it.
    pub(super) fn holder(&self) -> Option<&str> {
        self.spec().and_then(holder)
    }

    fn spec(&self) -> Option<&LeaseSpec> {
        self.lease.as_ref()?.spec.as_ref()
    }

    /// Takes in what was read or written. `now` is when it was known, and so no earlier than when it was so.
    pub(super) fn see(&mut self, lease: Option<Lease>, now: Duration) {
        let spec = lease.as_ref().and_then(|lease| lease.spec.as_ref());
        if lease.is_none() {
            // Somebody has deleted it, or nobody has led yet. Whoever else held it is still waited for.
            let known = self.free.filter(|_| self.holder().is_some() || self.lease.is_none());
            let free = if self.holds() { now } else { known.unwrap_or(now + ABSENCE) };
            self.free = Some(free);
        } else if self.free.is_none() || self.spec() != spec {
            let seconds = spec.and_then(|spec| spec.lease_duration_seconds).unwrap_or(SECONDS).clamp(0, LONGEST);
            let held =
                spec.and_then(holder).map_or(Duration::ZERO, |_| Duration::from_secs(seconds.unsigned_abs().into()));
            self.free = Some(now + held);
        }
        self.lease = lease;
    }

    /// What is to be done, after a look.
    pub(super) fn step(&self, now: Duration) -> Step {
        match self.free {
            _ if self.holds() => Step::Write,
            Some(free) if now < free => Step::Wait(free),
            _ => Step::Write,
        }
    }

    /// The Lease as it is to be written.
    pub(super) fn claim(&self, time: Timestamp) -> LeaseSpec {
        let before = self.spec();
        let transitions = before.and_then(|spec| spec.lease_transitions).unwrap_or_default();
        let time = MicroTime(time);
        let acquired = before.filter(|_| self.holds()).and_then(|spec| spec.acquire_time.clone());
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(SECONDS),
            acquire_time: Some(acquired.unwrap_or_else(|| time.clone())),
            renew_time: Some(time),
            lease_transitions: Some(transitions.saturating_add(i32::from(!self.holds() && before.is_some()))),
            ..LeaseSpec::default()
        }
    }

    /// The Lease as it is given back; none where it is not this process's.
    pub(super) fn release(&self, time: Timestamp) -> Option<LeaseSpec> {
        let before = self.spec().filter(|_| self.holds())?;
        let time = MicroTime(time);
        Some(LeaseSpec {
            lease_duration_seconds: Some(1),
            acquire_time: Some(time.clone()),
            renew_time: Some(time),
            lease_transitions: before.lease_transitions,
            ..LeaseSpec::default()
        })
    }
}

fn holder(spec: &LeaseSpec) -> Option<&str> {
    spec.holder_identity.as_deref().filter(|holder| !holder.is_empty())
}

#[cfg(test)]
mod tests;
