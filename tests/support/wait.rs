//! Waiting for a state of the world, never for a fixed time.

use std::future::Future;
use std::panic::Location;
use std::time::{Duration, Instant};

/// How often a probe is asked.
const INTERVAL: Duration = Duration::from_millis(100);

/// Asks `probe` until it answers `Ok`, and returns that.
///
/// # Panics
/// After `timeout`, with the place of the call, `what`, and the last reason.
#[track_caller]
pub(crate) fn eventually<T, F, A>(what: &str, timeout: Duration, mut probe: F) -> impl Future<Output = T>
where
    F: FnMut() -> A,
    A: Future<Output = Result<T, String>>,
{
    let caller = Location::caller();
    async move {
        let deadline = Instant::now() + timeout;
        loop {
            let reason = match probe().await {
                Ok(answer) => return answer,
                Err(reason) => reason,
            };
            assert!(Instant::now() < deadline, "{caller}: {what}: not within {timeout:?}: {reason}");
            tokio::time::sleep(INTERVAL).await;
        }
    }
}

/// Asks `probe` for the whole `duration`: the counterpart of [`eventually`] for what must not happen.
///
/// # Panics
/// As soon as the probe answers `Err`.
#[track_caller]
pub(crate) fn consistently<F, A>(what: &str, duration: Duration, mut probe: F) -> impl Future<Output = ()>
where
    F: FnMut() -> A,
    A: Future<Output = Result<(), String>>,
{
    let caller = Location::caller();
    async move {
        let start = Instant::now();
        while start.elapsed() < duration {
            if let Err(reason) = probe().await {
                panic!("{caller}: {what}: broken after {:?}: {reason}", start.elapsed());
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }
}
