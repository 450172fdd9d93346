//! Random policies and traces against the words.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::compare::check;
use crate::generate;

const CASES: usize = 18;
const TRACES: usize = 180;

#[tokio::test(flavor = "multi_thread")]
async fn the_collector_decides_as_the_words_say() {
    let (next, traces, kept) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    // A few at a time: what takes long is waiting for the collectors' decisions.
    let work = async || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= CASES {
                return;
            }
            let case = generate::case(u64::try_from(seed).expect("small") + 1, TRACES);
            let outcome = check(&case).await;
            outcome.assert_equal(&case);
            traces.fetch_add(outcome.traces, Ordering::Relaxed);
            kept.fetch_add(outcome.kept, Ordering::Relaxed);
        }
    };
    futures::join!(work(), work(), work(), work());
    let (traces, kept) = (traces.into_inner(), kept.into_inner());
    println!("{traces} traces, {kept} kept");
    assert!(traces >= 3000 && kept > traces / 5 && kept < traces * 4 / 5, "{kept} of {traces} kept shows little");
}
