//! Leader election by Lease: every replica keeps its index warm, only the leader writes.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use kube::Client;
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder, LeaseManagerError};
use tokio::{sync::watch, task::JoinHandle};

use crate::api::MANAGER_OWNED;

/// The name of the Lease.
const LEASE: &str = "tracesteward";
/// How long a lease holds after its last renewal, in seconds.
const DURATION: u64 = 15;
/// How long before its end it is renewed, in seconds.
const GRACE: u64 = 5;
/// Pause after a failure.
const RETRY: Duration = Duration::from_secs(2);

/// Takes part in the election; true is said while this process leads. The task ends, and gives the lease back, when
/// nobody listens any more.
pub fn elect(client: Client, namespace: &str, identity: Option<&str>) -> (watch::Receiver<bool>, JoinHandle<()>) {
    let (sender, receiver) = watch::channel(false);
    let namespace = namespace.to_owned();
    // Two processes may share a name (host network, a developer's machine), and each must know its own lease.
    let identity = format!("{}_{:016x}", identity.unwrap_or("tracesteward"), RandomState::new().hash_one(0));
    let task = tokio::spawn(async move {
        loop {
            if let Err(error) = stand(&client, &namespace, &identity, &sender).await {
                tracing::warn!(%error, namespace, "leader election failed; trying again");
            }
            // Whatever happened, nothing is written until the lease is confirmed anew.
            sender.send_replace(false);
            if tokio::time::timeout(RETRY, sender.closed()).await.is_ok() {
                return;
            }
        }
    });
    (receiver, task)
}

async fn stand(
    client: &Client,
    namespace: &str,
    identity: &str,
    sender: &watch::Sender<bool>,
) -> Result<(), LeaseManagerError> {
    let manager: LeaseManager = LeaseManagerBuilder::new(client.clone(), LEASE)
        .with_namespace(namespace)
        .with_identity(identity)
        .with_duration(DURATION)
        .with_grace(GRACE)
        .with_field_manager(MANAGER_OWNED)
        .build()
        .await?;
    loop {
        tokio::select! {
            () = sender.closed() => return manager.release().await,
            changed = manager.changed() => {
                let leads = changed?;
                tracing::info!(leads, "leadership");
                sender.send_replace(leads);
            }
        }
    }
}
