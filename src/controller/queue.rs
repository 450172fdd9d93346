//! Keys that wait: each at most once, never twice at the same time, with back-off for those that fail.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::Bound,
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::{Key, MAX_BACKOFF, MIN_BACKOFF, Outcome};
use crate::telemetry::metrics::Metrics;

/// When a key is due, and its number in the order of arrival.
type Place = (Instant, u64);

/// The keys to be reconciled, by time.
#[derive(Debug, Default)]
pub(super) struct Queue {
    due: BTreeMap<Place, Key>,
    place: HashMap<Key, Place>,
    running: HashSet<Key>,
    /// Keys that became due while they ran.
    again: HashMap<Key, Instant>,
    failures: HashMap<Key, u32>,
    arrivals: u64,
    metrics: Arc<Metrics>,
    /// Keys up to this place are due and counted as waiting.
    counted: Option<Place>,
}

impl Queue {
    /// An empty queue that tells these metrics how long it is.
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, ..Self::default() }
    }

    /// Adds a key, due after this time; of several requests the earliest counts.
    pub(super) fn add(&mut self, key: Key, after: Duration) {
        self.add_at(key, Instant::now() + after);
    }

    fn add_at(&mut self, key: Key, at: Instant) {
        if self.running.contains(&key) {
            let earliest = self.again.get(&key).map_or(at, |known| at.min(*known));
            self.again.insert(key, earliest);
            return;
        }
        if let Some(place) = self.place.get(&key) {
            if place.0 <= at {
                return;
            }
            let place = *place;
            self.take(place);
        } else {
            self.metrics.queued(key.controller());
        }
        self.arrivals += 1;
        let place = (at, self.arrivals);
        if self.is_counted(place) {
            self.metrics.waiting(key.controller(), 1);
        }
        self.place.insert(key.clone(), place);
        self.due.insert(place, key);
        self.count();
    }

    fn take(&mut self, place: Place) -> Option<Key> {
        let key = self.due.remove(&place)?;
        if self.is_counted(place) {
            self.metrics.waiting(key.controller(), -1);
        }
        self.place.remove(&key);
        Some(key)
    }

    fn is_counted(&self, place: Place) -> bool {
        self.counted.is_some_and(|counted| place <= counted)
    }

    /// Counts the keys that have become due since the last time.
    fn count(&mut self) {
        let now = (Instant::now(), u64::MAX);
        let from = self.counted.map_or(Bound::Unbounded, Bound::Excluded);
        if self.is_counted(now) {
            return;
        }
        for key in self.due.range((from, Bound::Included(now))).map(|(_, key)| key) {
            self.metrics.waiting(key.controller(), 1);
        }
        self.counted = Some(now);
    }

    /// Waits for the next key that is due. Safe to drop at any moment: a key leaves the queue only when it is returned.
    pub(super) async fn next(&mut self) -> Key {
        loop {
            let Some(first) = self.due.first_key_value().map(|(place, _)| *place) else {
                // Nothing waits: the caller drops this future as soon as something is added.
                std::future::pending::<()>().await;
                continue;
            };
            tokio::time::sleep_until(first.0).await;
            self.count();
            if let Some(key) = self.take(first) {
                self.metrics.waited(key.controller(), first.0.elapsed());
                self.running.insert(key.clone());
                return key;
            }
        }
    }

    /// A reconcile has ended.
    pub(super) fn finished(&mut self, key: &Key, outcome: Outcome) {
        self.running.remove(key);
        let now = Instant::now();
        let wanted = match outcome {
            Outcome::Done => {
                self.failures.remove(key);
                None
            }
            Outcome::Again(after) => {
                self.failures.remove(key);
                Some(now + after)
            }
            Outcome::Failed => {
                let failures = self.failures.entry(key.clone()).or_default();
                let pause = MIN_BACKOFF.saturating_mul(2_u32.saturating_pow(*failures)).min(MAX_BACKOFF);
                *failures = failures.saturating_add(1);
                self.metrics.retried(key.controller());
                Some(now + pause)
            }
        };
        let again = self.again.remove(key);
        if let Some(at) = [wanted, again].into_iter().flatten().min() {
            self.add_at(key.clone(), at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::PolicyId;

    fn key(name: &str) -> Key {
        Key::Policy(PolicyId { namespace: "ns".into(), name: name.into() })
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_waits_once_and_never_runs_twice_at_a_time() {
        let mut queue = Queue::default();
        queue.add(key("a"), Duration::from_secs(5));
        queue.add(key("a"), Duration::ZERO);
        queue.add(key("b"), Duration::from_secs(1));
        assert_eq!(queue.next().await, key("a"));
        queue.add(key("a"), Duration::ZERO);
        assert_eq!(queue.next().await, key("b"), "a is running");
        queue.finished(&key("a"), Outcome::Done);
        assert_eq!(queue.next().await, key("a"), "what came while it ran");
    }

    fn depth(queue: &Queue) -> i64 {
        queue.metrics.depth("policy")
    }

    #[tokio::test(start_paused = true)]
    async fn the_depth_is_what_is_due_and_waits() {
        let mut queue = Queue::default();
        queue.add(key("a"), Duration::ZERO);
        queue.add(key("b"), Duration::ZERO);
        queue.add(key("c"), Duration::from_secs(60));
        assert_eq!(depth(&queue), 2, "c is not due");
        queue.add(key("c"), Duration::ZERO);
        queue.add(key("d"), Duration::from_secs(60));
        assert_eq!(depth(&queue), 3, "c is wanted at once");
        for left in [2, 1, 0] {
            let got = queue.next().await;
            assert_eq!(depth(&queue), left);
            queue.finished(&got, Outcome::Again(Duration::from_secs(600)));
        }
        assert_eq!((queue.next().await, depth(&queue)), (key("d"), 0), "it has become due, and is taken");
        tokio::time::advance(Duration::from_secs(700)).await;
        queue.add(key("e"), Duration::ZERO);
        assert_eq!(depth(&queue), 4, "those of before are due again");
    }

    #[tokio::test(start_paused = true)]
    async fn failures_wait_longer_each_time() {
        let mut queue = Queue::default();
        queue.add(key("a"), Duration::ZERO);
        let mut waits = Vec::new();
        for _ in 0..9 {
            let start = Instant::now();
            let got = queue.next().await;
            waits.push(start.elapsed().as_millis());
            queue.finished(&got, Outcome::Failed);
        }
        // The timer of a paused clock is exact to a millisecond.
        let rounded: Vec<_> = waits.into_iter().map(|wait| wait / 100 * 100).collect();
        assert_eq!(rounded, [0, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000]);
    }
}
