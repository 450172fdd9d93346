//! Until when this process may write. The end is known in advance: nobody has to say it in time.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::{sync::watch, time::sleep};

/// Of Linux the clock that goes on while the machine sleeps: the other replicas do not wait for it.
#[cfg(target_os = "linux")]
const CLOCK: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const CLOCK: ClockId = ClockId::Monotonic;

/// How often the clock is looked at while this process leads: timers stand still while the machine sleeps.
const LOOK: Duration = Duration::from_secs(1);

/// The time since an unknown but fixed moment. It never jumps, whatever is done to the time of day.
pub fn now() -> Duration {
    let time = clock_gettime(CLOCK);
    Duration::new(time.tv_sec.try_into().unwrap_or_default(), time.tv_nsec.try_into().unwrap_or_default())
}

/// A time of uninterrupted leadership.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Term {
    /// The first is 1.
    number: u64,
    /// When it is over, unless it is extended.
    until: Duration,
}

/// Whether this process may write, for those who ask.
#[derive(Clone, Debug)]
pub struct Leadership(watch::Receiver<Term>);

/// The same, for the one who knows.
#[derive(Debug)]
pub struct Mandate(watch::Sender<Term>);

/// Nobody leads until [`Mandate::extend`] is called.
pub fn leadership() -> (Mandate, Leadership) {
    let (sender, receiver) = watch::channel(Term::default());
    (Mandate(sender), Leadership(receiver))
}

impl Mandate {
    /// This process leads until then. Says whether that is news.
    pub fn extend(&self, until: Duration) -> bool {
        let mut is_news = false;
        self.0.send_modify(|term| {
            is_news = now() >= term.until;
            *term = Term { number: term.number + u64::from(is_news), until };
        });
        is_news
    }

    /// This process leads no more. Says whether that is news.
    pub fn end(&self) -> bool {
        let mut is_news = false;
        self.0.send_modify(|term| {
            is_news = now() < term.until;
            term.until = Duration::ZERO;
        });
        is_news
    }
}

impl Leadership {
    /// Of a process that has no rivals.
    pub fn for_good() -> Self {
        Self(watch::channel(Term { number: 1, until: Duration::MAX }).1)
    }

    /// Of a process that may never write.
    pub fn never() -> Self {
        leadership().1
    }

    /// Whether this process may write, now.
    pub fn leads(&self) -> bool {
        self.term().is_some()
    }

    /// The number of the present term. What is begun in one may not be finished in another one: between the two somebody else
    /// may have led.
    pub fn term(&self) -> Option<u64> {
        let term = *self.0.borrow();
        (now() < term.until).then_some(term.number)
    }

    /// When the present term is over, unless it is extended.
    #[cfg(test)]
    pub(crate) fn until(&self) -> Duration {
        self.0.borrow().until
    }

    /// Waits until the present term is another than this one. Safe to drop at any moment.
    pub async fn turned(&self, from: Option<u64>) -> Option<u64> {
        let mut heard = self.0.clone();
        // Without the one who knows, nothing changes but by time.
        let mut is_told = true;
        loop {
            let until = heard.borrow_and_update().until;
            let term = self.term();
            if term != from {
                return term;
            }
            let left = until.saturating_sub(now()).min(LOOK);
            tokio::select! {
                told = heard.changed(), if is_told => is_told = told.is_ok(),
                () = sleep(left), if term.is_some() => {}
                else => return std::future::pending().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_ends_by_time_alone_and_the_next_has_another_number() {
        let (mandate, leadership) = leadership();
        assert_eq!(leadership.term(), None);
        assert!(mandate.extend(now() + Duration::from_secs(60)));
        assert!(!mandate.extend(now() + Duration::from_millis(20)), "the same term");
        assert_eq!(leadership.term(), Some(1));
        // Nobody says anything from here on, and no timer runs.
        std::thread::sleep(Duration::from_millis(30));
        assert_eq!(leadership.term(), None);
        assert!(!mandate.end(), "it was over");
        assert!(mandate.extend(now() + Duration::from_secs(60)));
        assert_eq!(leadership.term(), Some(2));
        assert!(mandate.end());
        assert!(!leadership.leads());
        assert!(Leadership::for_good().leads() && !Leadership::never().leads());
    }

    #[tokio::test]
    async fn the_end_is_noticed_without_a_word() {
        let (mandate, leadership) = leadership();
        mandate.extend(now() + Duration::from_millis(50));
        assert_eq!(leadership.turned(None).await, Some(1));
        assert_eq!(leadership.turned(Some(1)).await, None);
        // Also where the one who knows is gone.
        mandate.extend(now() + Duration::from_millis(50));
        drop(mandate);
        assert_eq!(leadership.turned(Some(2)).await, None);
    }

    #[tokio::test]
    async fn a_term_that_is_missed_is_noticed() {
        let (mandate, leadership) = leadership();
        mandate.extend(now() + Duration::from_secs(60));
        let turned = leadership.turned(Some(1));
        mandate.end();
        mandate.extend(now() + Duration::from_secs(60));
        assert_eq!(turned.await, Some(2));
    }
}
