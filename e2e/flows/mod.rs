//! The flows: each asks something of the cluster and says whether it got it.

mod smoke;

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::time::Instant;

use futures::FutureExt;

use crate::cluster::Cluster;
use crate::table::{self, Failure, Outcome, Report};

type Running<'a> = Pin<Box<dyn Future<Output = Result<(), Failure>> + 'a>>;

/// A flow by its name.
pub(crate) struct Flow {
    /// As `make e2e FLOW=NAME` has it.
    pub(crate) name: &'static str,
    run: for<'a> fn(&'a Cluster, &'a mut Report) -> Running<'a>,
}

/// All of them, in the order in which they run.
pub(crate) const FLOWS: &[Flow] =
    &[Flow { name: "smoke", run: |cluster, report| Box::pin(smoke::run(cluster, report)) }];

/// Runs the flows of these names, or all; prints the table. Whether all have passed.
pub(crate) async fn run(cluster: &Cluster, names: &[String]) -> bool {
    let mut outcomes = Vec::new();
    for flow in FLOWS.iter().filter(|flow| names.is_empty() || names.iter().any(|name| name == flow.name)) {
        say!("\n== {}", flow.name);
        let (start, mut report) = (Instant::now(), Report::default());
        // A flow that panics must not keep the others from running.
        let ended = AssertUnwindSafe((flow.run)(cluster, &mut report)).catch_unwind().await;
        let failure = ended.unwrap_or_else(|panic| Err(Failure(words(panic.as_ref())))).err();
        if let Some(failure) = &failure {
            say!("   FAILED: {failure}");
            cluster.report(flow.name);
        }
        outcomes.push(Outcome { name: flow.name, report, time: start.elapsed(), failure });
    }
    say!("\n{}", table::render(&outcomes));
    for outcome in &outcomes {
        if let Some(failure) = &outcome.failure {
            say!("{} failed: {failure}", outcome.name);
        }
    }
    outcomes.iter().all(|outcome| outcome.failure.is_none())
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    format!("panicked: {}", text.unwrap_or("without a word"))
}
