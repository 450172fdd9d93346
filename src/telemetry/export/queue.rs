//! The bounded queue between what makes spans and who takes them.

use std::{pin::pin, sync::Arc, time::Duration};

use opentelemetry::Context;
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{Span, SpanData, SpanExporter, SpanProcessor},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};

use super::variable;
use crate::telemetry::metrics::Metrics;

/// The standard variables of a batch processor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) queue: usize,
    batch: usize,
    delay: Duration,
    timeout: Duration,
}

impl Limits {
    pub(super) fn from_environment() -> Self {
        let number = |name: &str| variable(name)?.parse::<u32>().ok().filter(|number| *number > 0);
        let size = |name, default| number(name).and_then(|size| usize::try_from(size).ok()).unwrap_or(default);
        let time = |name, default: u32| Duration::from_millis(number(name).unwrap_or(default).into());
        // More would be memory that somebody else needs.
        let queue = size("OTEL_BSP_MAX_QUEUE_SIZE", 2048).min(65_536);
        Self {
            queue,
            batch: size("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512).min(queue),
            delay: time("OTEL_BSP_SCHEDULE_DELAY", 5_000),
            timeout: time("OTEL_BSP_EXPORT_TIMEOUT", 30_000),
        }
    }
}

/// Puts what has ended into the queue, or drops it.
#[derive(Debug)]
pub(super) struct Bounded {
    pub(super) queue: mpsc::Sender<SpanData>,
    pub(super) metrics: Arc<Metrics>,
}

impl SpanProcessor for Bounded {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() && self.queue.try_send(span).is_err() {
            self.metrics.spans_dropped("queue_full", 1);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Sends batches until it is told to stop; then what waits.
pub(super) async fn send(
    mut queue: mpsc::Receiver<SpanData>,
    exporter: impl SpanExporter,
    limits: Limits,
    metrics: Arc<Metrics>,
    mut stopping: oneshot::Receiver<()>,
) {
    let sender = Sender { exporter, limits, metrics };
    let (mut is_failing, mut is_last) = (false, false);
    while !is_last {
        let mut batch = Vec::new();
        tokio::select! {
            biased;
            _ = &mut stopping => is_last = true,
            () = gather(&mut queue, &mut batch, limits) => {}
        }
        if is_last {
            queue.close();
            while let Ok(span) = queue.try_recv() {
                batch.push(span);
            }
        }
        while !batch.is_empty() {
            let rest = batch.split_off(batch.len().min(limits.batch));
            is_failing = sender.export(batch, is_failing).await;
            batch = rest;
        }
    }
}

/// A batch: as soon as it is full, or some time after its first span. Safe to drop at any moment.
async fn gather(queue: &mut mpsc::Receiver<SpanData>, batch: &mut Vec<SpanData>, limits: Limits) {
    if queue.recv_many(batch, limits.batch).await == 0 {
        // Nobody makes spans any more; a stop is all that can come.
        return std::future::pending().await;
    }
    let mut full = pin!(sleep(limits.delay));
    while batch.len() < limits.batch {
        let room = limits.batch - batch.len();
        tokio::select! {
            () = &mut full => return,
            more = queue.recv_many(batch, room) => if more == 0 { return },
        }
    }
}

struct Sender<E> {
    exporter: E,
    limits: Limits,
    metrics: Arc<Metrics>,
}

impl<E: SpanExporter> Sender<E> {
    /// Sends a batch; whether that failed. Said once, and again when it has been well meanwhile.
    async fn export(&self, batch: Vec<SpanData>, was_failing: bool) -> bool {
        let spans = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        let failure = match timeout(self.limits.timeout, self.exporter.export(batch)).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("no answer within {:?}", self.limits.timeout)),
        };
        match failure {
            None => {
                self.metrics.spans_exported(spans);
                if was_failing {
                    tracing::info!("spans are exported again");
                }
                false
            }
            Some(error) => {
                self.metrics.spans_dropped("not_taken", spans);
                if !was_failing {
                    tracing::warn!(error, "spans could not be exported, and are dropped");
                }
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use opentelemetry::trace::{Tracer, TracerProvider};
    use opentelemetry_sdk::{error::OTelSdkError, trace::SdkTracerProvider};
    use tokio::time::Instant;

    use super::*;

    /// How an exporter answers.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Mood {
        Takes,
        Refuses,
        Hangs,
    }

    #[derive(Clone, Debug)]
    struct Fake(Mood, Arc<Mutex<Vec<usize>>>);

    impl SpanExporter for Fake {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.1.lock().unwrap().push(batch.len());
            match self.0 {
                Mood::Takes => Ok(()),
                Mood::Refuses => Err(OTelSdkError::InternalFailure("no".to_owned())),
                Mood::Hangs => std::future::pending().await,
            }
        }
    }

    const LIMITS: Limits =
        Limits { queue: 10, batch: 4, delay: Duration::from_secs(5), timeout: Duration::from_secs(30) };

    /// Makes so many spans at once, waits, and stops; says the sizes of batches, what was exported and what was dropped.
    async fn after(mood: Mood, spans: usize, wait: Duration) -> (Vec<usize>, [String; 3]) {
        let metrics = Arc::new(Metrics::default());
        let (sender, queue) = mpsc::channel(LIMITS.queue);
        let (stop, stopping) = oneshot::channel();
        let fake = Fake(mood, Arc::default());
        let worker = tokio::spawn(send(queue, fake.clone(), LIMITS, Arc::clone(&metrics), stopping));
        let bounded = Bounded { queue: sender, metrics: Arc::clone(&metrics) };
        let provider = SdkTracerProvider::builder().with_span_processor(bounded).build();
        let tracer = provider.tracer("test");
        (0..spans).for_each(|_| drop(tracer.start("span")));
        tokio::time::sleep(wait).await;
        stop.send(()).unwrap();
        if mood != Mood::Hangs {
            worker.await.unwrap();
        }
        let text = metrics.text(&crate::telemetry::metrics::Census::default()).unwrap();
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.map(|value| value.trim().to_owned()).unwrap_or_default()
        };
        let dropped = |reason: &str| value(&format!("tracesteward_spans_dropped_total{{reason=\"{reason}\"}}"));
        let sizes = fake.1.lock().unwrap().clone();
        (sizes, [value("tracesteward_spans_exported_total"), dropped("queue_full"), dropped("not_taken")])
    }

    fn counts(counts: [&str; 3]) -> [String; 3] {
        counts.map(str::to_owned)
    }

    #[tokio::test(start_paused = true)]
    async fn batches_are_bounded_and_what_does_not_fit_is_counted() {
        let (sizes, seen) = after(Mood::Takes, 25, Duration::from_secs(60)).await;
        assert_eq!((sizes, seen), (vec![4, 4, 2], counts(["10", "15", ""])));
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_goes_out_at_the_end() {
        let start = Instant::now();
        let (sizes, seen) = after(Mood::Takes, 3, Duration::from_millis(1)).await;
        assert_eq!((sizes, seen), (vec![3], counts(["3", "", ""])));
        assert!(start.elapsed() < LIMITS.delay, "nobody waits for more");
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_takes_is_counted() {
        let (sizes, seen) = after(Mood::Refuses, 6, Duration::from_secs(60)).await;
        assert_eq!((sizes, seen), (vec![4, 2], counts(["0", "", "6"])));
        // One batch after the other has its time.
        let (sizes, seen) = after(Mood::Hangs, 10, Duration::from_secs(70)).await;
        assert_eq!((sizes, seen), (vec![4, 4, 2], counts(["0", "", "8"])));
    }
}
