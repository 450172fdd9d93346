//! The loop: changes into the index, keys out of it, one reconcile a key at a time.

mod admission;
mod collector;
mod context;
pub mod leader;
mod measure;
mod queue;
mod reconcile;
mod rollout;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};

use kube::Client;
use tokio::{
    sync::{mpsc, watch},
    task::{self, JoinSet},
};
use tracing::{Instrument, Span};

use crate::{
    admission::Admission,
    apply::{Announcement, Events, Leadership, Writer},
    index::{Change, CollectorId, Dirty, Index, PodHook, PolicyId, SecretId, SecretKeyId, Source, WorkloadId},
    telemetry::metrics::Metrics,
    watch::{follow, sources},
};

pub use admission::{Managed, Repair};
pub use context::Context;
use queue::Queue;
use reconcile::Reconciled;

/// Reconciles that run at the same time.
const CONCURRENCY: usize = 8;
/// Changes that may wait to be taken in; watches pause when it is full.
const CHANGES: usize = 1_024;
/// How long a workload waits, so that policies that arrive together make one rollout.
const WORKLOAD_DELAY: Duration = Duration::from_millis(100);
/// How long a policy's status waits for further changes, so that a wave of workloads is one write.
const STATUS_DELAY: Duration = Duration::from_millis(300);
/// How long admission waits, so that policies that arrive together make one write.
const ADMISSION_DELAY: Duration = Duration::from_millis(50);
/// How long a collector's objects wait, so that policies that arrive together make one rollout.
const COLLECTOR_DELAY: Duration = Duration::from_millis(500);
/// The first retry of a key that failed; doubled up to [`MAX_BACKOFF`].
const MIN_BACKOFF: Duration = Duration::from_millis(500);
/// The longest pause before a retry.
const MAX_BACKOFF: Duration = Duration::from_secs(60);

/// Events that are written at the same time; what is to be said waits for them, so that it is never more than this.
const ANNOUNCEMENTS: usize = 16;
/// How long an Event may take to be written.
const EVENT_TIMEOUT: Duration = Duration::from_secs(10);

/// What is reconciled.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// A workload's fields.
    Workload(WorkloadId),
    /// A look at a workload whose pods are being replaced.
    Rollout(WorkloadId),
    /// A policy's status.
    Policy(PolicyId),
    /// A look at a headers Secret.
    Secret(SecretId),
    /// A collector's objects.
    Collector(CollectorId),
    /// A collector's status.
    CollectorStatus(CollectorId),
    /// A look at a key of a Secret.
    SecretKey(SecretKeyId),
    /// The binding that lets collectors look up senders.
    Identity,
    /// What admission needs in the cluster.
    Admission,
}

/// What the controller was told to do.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The operator's own namespace.
    pub own_namespace: Option<String>,
    /// The namespaces to watch; all where empty.
    pub watch_namespaces: Vec<String>,
    /// Whether headers Secrets may be looked at.
    pub verify_secrets: bool,
    /// The pod's name, for Events.
    pub instance: Option<String>,
    /// How long pods of a new configuration may take to become ready.
    pub ready_timeout: Duration,
    /// The webhook, where there is one.
    pub admission: Option<Arc<Admission>>,
    /// What is kept in the cluster for admission; `None` where somebody else does that.
    pub managed: Option<Managed>,
    /// Where everything is counted.
    pub metrics: Arc<Metrics>,
}

/// Where pods are looked at before anything was written.
fn hook(options: &Options) -> PodHook {
    match (&options.admission, &options.managed) {
        (Some(_), None) => PodHook::Unmanaged,
        (Some(admission), Some(_)) if admission.options().reach.is_some() => PodHook::In(BTreeSet::new()),
        _ => PodHook::Off,
    }
}

/// What a reconcile asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing until something changes.
    Done,
    /// Another look after this time.
    Again(Duration),
    /// Another try with back-off.
    Failed,
}

/// A watch has ended by itself.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("a watch has ended unexpectedly; start the operator again, and report its log")]
pub struct ControllerError;

/// A reconcile that has ended.
type Finished = (Key, Reconciled);

/// The controller.
#[derive(Debug)]
pub struct Controller {
    context: Arc<Context>,
    sources: Vec<Source>,
}

impl Controller {
    /// A controller that writes only while this process leads, which `writer` sees to; it keeps its index warm at all times.
    pub fn new(client: Client, writer: Writer, options: &Options, leadership: Leadership) -> Self {
        let sources = sources(&options.watch_namespaces);
        let mut index = Index::new(options.own_namespace.clone(), sources.iter().cloned());
        index.update(Change::Hook(hook(options)));
        options.metrics.know_controllers(&measure::CONTROLLERS, i64::try_from(CONCURRENCY).unwrap_or(i64::MAX));
        let context = Context {
            events: Events::new(&writer, options.instance.clone()),
            client,
            writer,
            verify_secrets: options.verify_secrets,
            ready_timeout: options.ready_timeout,
            admission: options.admission.clone(),
            keeper: admission::Keeper::new(options.managed.clone(), options.own_namespace.as_deref()),
            leadership,
            metrics: Arc::clone(&options.metrics),
            index: Mutex::new(index),
            planner: Mutex::default(),
        };
        Self { context: Arc::new(context), sources }
    }

    /// What reconciles share, for probes.
    pub fn context(&self) -> Arc<Context> {
        Arc::clone(&self.context)
    }

    /// Runs until `stop` turns true, then lets running reconciles finish.
    ///
    /// # Errors
    /// Where a watch has ended, which only a fault in this program can cause: going on would mean to plan from the past.
    pub async fn run(self, mut stop: watch::Receiver<bool>) -> Result<(), ControllerError> {
        let (sender, mut changes) = mpsc::channel(CHANGES);
        let mut watches = JoinSet::new();
        for source in &self.sources {
            watches.spawn(follow(self.context.client.clone(), source.clone(), sender.clone()));
        }
        let mut queue = Queue::new(Arc::clone(&self.context.metrics));
        queue.add(Key::Admission, Duration::ZERO);
        let mut running: JoinSet<Finished> = JoinSet::new();
        let mut announcements = JoinSet::new();
        let mut keys: HashMap<task::Id, Key> = HashMap::new();
        let leadership = self.context.leadership.clone();
        let mut term = leadership.term();
        loop {
            let leads = term.is_some();
            // Whoever plans without the policies withdraws everything: a Lease that is won early has to wait.
            let may_write = leads && self.context.index().is_synced();
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                Some(finished) = running.join_next_with_id() => {
                    if let Some((announcement, span)) = self.finish(finished, &mut queue, &mut keys, leads) {
                        let events = self.context.events.clone();
                        // One of its own, so that the reconcile does not seem to take longer.
                        let span = tracing::info_span!(parent: &span, "event");
                        let said = async move { events.write(announcement).await }.instrument(span);
                        announcements.spawn(async move { drop(tokio::time::timeout(EVENT_TIMEOUT, said).await) });
                    }
                }
                Some(_) = announcements.join_next() => {}
                Some(_) = watches.join_next() => return Err(ControllerError),
                Some(change) = changes.recv() => self.take(change, &mut queue, leads),
                turned = leadership.turned(term) => {
                    term = turned;
                    tracing::info!(leads = term.is_some(), "leadership");
                    // What is under way belongs to a term that is over. Dropped, its connections close.
                    running.abort_all();
                    announcements.abort_all();
                    if term.is_some() {
                        let everything = self.context.everything();
                        enqueue(&mut queue, everything, &self.context);
                        queue.add(Key::Admission, Duration::ZERO);
                    }
                }
                key = queue.next(),
                    if may_write && running.len() < CONCURRENCY && announcements.len() < ANNOUNCEMENTS => {
                    let task = reconcile::reconcile(Arc::clone(&self.context), key.clone());
                    let named = key.clone();
                    let handle = running.spawn(async move { (named, task.await) });
                    keys.insert(handle.id(), key);
                }
            }
        }
        watches.abort_all();
        loop {
            tokio::select! {
                finished = running.join_next() => if finished.is_none() { break },
                _ = leadership.turned(term) => return Ok(()),
            }
        }
        let said = async { while announcements.join_next().await.is_some() {} };
        // Events are worth a moment, not a delayed stop.
        drop(tokio::time::timeout(Duration::from_secs(2), said).await);
        Ok(())
    }

    fn take(&self, change: Change, queue: &mut Queue, leads: bool) {
        let dirty = self.context.take(change);
        if leads {
            enqueue(queue, dirty, &self.context);
        }
    }

    fn finish(
        &self,
        finished: Result<(task::Id, Finished), task::JoinError>,
        queue: &mut Queue,
        keys: &mut HashMap<task::Id, Key>,
        leads: bool,
    ) -> Option<(Announcement, Span)> {
        match finished {
            Ok((id, (key, reconciled))) => {
                keys.remove(&id);
                for change in reconciled.changes {
                    self.take(change, queue, leads);
                }
                if leads && let Some((id, generation)) = &reconciled.absolved {
                    enqueue(queue, self.context.absolve(id, *generation), &self.context);
                }
                // What was written and still differs was changed on its way: sending it again at once would go on for ever.
                let again = self.ended(&key, false, queue, leads);
                let outcome = if again { Outcome::Failed } else { reconciled.outcome };
                queue.finished(&key, outcome);
                reconciled.announcement.map(|announcement| (announcement, reconciled.span))
            }
            Err(error) if error.is_cancelled() => {
                // Everything is looked at again by who leads next.
                if let Some(key) = keys.remove(&error.id()) {
                    self.ended(&key, true, queue, leads);
                    queue.finished(&key, Outcome::Done);
                }
                None
            }
            Err(error) => {
                // A panic in one reconcile must not end the others; its key is tried again.
                tracing::error!(%error, "a reconcile panicked");
                if let Some(key) = keys.remove(&error.id()) {
                    self.context.metrics.panicked(key.controller());
                    self.ended(&key, false, queue, leads);
                    queue.finished(&key, Outcome::Failed);
                }
                None
            }
        }
    }

    fn ended(&self, key: &Key, was_cut_off: bool, queue: &mut Queue, leads: bool) -> bool {
        let (again, dirty) = self.context.ended(key, was_cut_off);
        if leads {
            enqueue(queue, dirty, &self.context);
        }
        again
    }
}

fn enqueue(queue: &mut Queue, dirty: Dirty, context: &Context) {
    dirty.starts.into_iter().for_each(|id| queue.add(Key::Workload(id), WORKLOAD_DELAY));
    dirty.holders.into_iter().for_each(|id| queue.add(Key::Rollout(id), rollout::SELDOM));
    dirty.checks.into_iter().for_each(|id| queue.add(Key::Rollout(id), rollout::FIRST_LOOK));
    dirty.secrets.into_iter().for_each(|id| queue.add(Key::Secret(id), Duration::ZERO));
    dirty.keys.into_iter().for_each(|id| queue.add(Key::SecretKey(id), Duration::ZERO));
    if dirty.admission {
        queue.add(Key::Admission, ADMISSION_DELAY);
    }
    if dirty.identity {
        queue.add(Key::Identity, COLLECTOR_DELAY);
    }
    for id in dirty.collectors {
        queue.add(Key::CollectorStatus(id.clone()), status_delay(context, &id));
        queue.add(Key::Collector(id), COLLECTOR_DELAY);
    }
    for id in dirty.collector_statuses {
        let delay = status_delay(context, &id);
        queue.add(Key::CollectorStatus(id), delay);
    }
    for id in dirty.policies {
        // A policy that nobody has said anything about yet hears at once; counts of a wave are gathered first.
        let is_new = {
            let index = context.index();
            index.snapshot().policy(&id).is_some_and(|policy| policy.status.is_none())
        };
        queue.add(Key::Policy(id), if is_new { Duration::ZERO } else { STATUS_DELAY });
    }
}

/// After the objects, so that a change that is written at once makes one status; a new collector hears at once.
fn status_delay(context: &Context, id: &CollectorId) -> Duration {
    let index = context.index();
    let is_new = index.snapshot().collectors.get(id).is_some_and(|collector| collector.status.is_none());
    if is_new { Duration::ZERO } else { COLLECTOR_DELAY + STATUS_DELAY }
}
