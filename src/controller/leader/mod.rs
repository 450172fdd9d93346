//! Leader election by Lease: every replica keeps its index warm, only the leader writes.

mod election;

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use k8s_openapi::{api::coordination::v1::LeaseSpec, jiff::Timestamp};
use kube::Client;
use tokio::{
    sync::oneshot,
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::apply::{Leadership, Leases, Mandate, leadership, now};
use election::{Election, RETRY, Step, WRITES};

/// The name of the Lease.
pub const LEASE: &str = "tracesteward";
/// How long one look or renewal may take. A connection that hangs is given up with it, and there is time for another one.
const ATTEMPT: Duration = Duration::from_secs(4);
/// How long giving back the lease may take at the end.
const RELEASE: Duration = Duration::from_secs(3);
/// How soon a look is repeated where somebody else was faster.
const AGAIN: Duration = Duration::from_millis(50);

/// A process that takes part in the election.
#[derive(Debug)]
pub struct Candidate {
    leadership: Leadership,
    resign: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Candidate {
    /// Takes part in the election. The client should be nobody else's: a connection that hangs for others is not to be used,
    /// and nothing is to be repeated by itself.
    pub fn stand(client: Client, namespace: &str, name: Option<&str>) -> Self {
        let (mandate, leadership) = leadership();
        let (resign, resigned) = oneshot::channel();
        let hash = RandomState::new();
        // Two processes may share a name (host network, a developer's machine), and each must know its own lease.
        let identity = format!("{}_{:016x}", name.unwrap_or("tracesteward"), hash.hash_one(0));
        let leases = Leases::new(client, namespace, LEASE);
        let campaign = Campaign { leases, election: Election::new(identity), mandate, hash, rounds: 0 };
        Self { leadership, resign, task: tokio::spawn(campaign.run(resigned)) }
    }

    /// Whether this process leads.
    pub fn leadership(&self) -> Leadership {
        self.leadership.clone()
    }

    /// Leads no more from now on, and gives the lease back, so that the next replica need not wait it out.
    pub async fn resign(self) {
        // Where nobody listens, the task has ended.
        if self.resign.send(()).is_ok() {
            drop(self.task.await);
        }
    }
}

struct Campaign {
    leases: Leases,
    election: Election,
    mandate: Mandate,
    hash: RandomState,
    rounds: u64,
}

impl Campaign {
    async fn run(mut self, mut resigned: oneshot::Receiver<()>) {
        loop {
            let round = async {
                let pause = self.round().await;
                sleep(pause).await;
            };
            tokio::select! {
                biased;
                _ = &mut resigned => break,
                () = round => {}
            }
        }
        self.mandate.end();
        match timeout(RELEASE, self.release()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the Lease could not be given back: it has to run out"),
            Err(_) => tracing::warn!("the Lease could not be given back in time: it has to run out"),
        }
    }

    /// One look or renewal; says how long to wait for the next one.
    async fn round(&mut self) -> Duration {
        match timeout(ATTEMPT, self.attempt()).await {
            Ok(Ok(pause)) => pause,
            Ok(Err(error)) if is(&error, 409) => AGAIN,
            // Who leads goes on for as long as the last renewal allows: nobody else can have the lease earlier.
            Ok(Err(error)) => {
                tracing::warn!(%error, "the Lease could not be read or written; trying again");
                self.pause()
            }
            Err(_) => {
                tracing::warn!("the API server did not answer about the Lease in time; trying again");
                AGAIN
            }
        }
    }

    async fn attempt(&mut self) -> Result<Duration, kube::Error> {
        if self.election.holds() {
            // Nothing is read first: its version says whether it is still as it was.
            match self.claim().await {
                Err(error) if is(&error, 409) || is(&error, 404) => {}
                done => return done,
            }
        }
        let lease = self.leases.read().await?;
        self.election.see(lease, now());
        if !self.election.holds() && self.mandate.end() {
            tracing::warn!(holder = self.election.holder(), "the Lease was lost");
        }
        match self.election.step(now()) {
            Step::Write => self.claim().await,
            Step::Wait(until) => Ok(self.pause().min(until.saturating_sub(now()))),
        }
    }

    /// Acquires or renews.
    async fn claim(&mut self) -> Result<Duration, kube::Error> {
        // Taken before anything is sent: the others can have seen the change only later.
        let sent = now();
        let spec = self.election.claim(Timestamp::now());
        self.write(spec).await?;
        self.mandate.extend(sent + WRITES);
        Ok(self.pause())
    }

    async fn write(&mut self, spec: LeaseSpec) -> Result<(), kube::Error> {
        let written = self.leases.write(self.election.lease(), spec).await?;
        self.election.see(Some(written), now());
        Ok(())
    }

    async fn release(&mut self) -> Result<(), kube::Error> {
        // A request that was given up may have succeeded.
        let lease = self.leases.read().await?;
        self.election.see(lease, now());
        match self.election.release(Timestamp::now()) {
            Some(spec) => self.write(spec).await,
            None => Ok(()),
        }
    }

    /// A little longer each time by another amount, so that replicas do not ask in step.
    fn pause(&mut self) -> Duration {
        self.rounds += 1;
        let share = u32::try_from(self.hash.hash_one(self.rounds) % 256).unwrap_or_default();
        RETRY + RETRY / 1_024 * share
    }
}

fn is(error: &kube::Error, code: u16) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == code)
}

#[cfg(test)]
mod tests;
