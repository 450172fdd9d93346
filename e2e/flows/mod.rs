//! The flows: each asks something of the cluster and says whether it got it.

mod aifactory;
mod caretaker;
mod common;
mod lifecycle;
mod rollback;
mod smoke;
mod trinity;

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::time::Instant;

use futures::future::join_all;
use futures::{FutureExt, StreamExt, stream};

use crate::cluster::Cluster;
use crate::operator;
use crate::table::{self, Failure, Outcome, Report};

type Running<'a> = Pin<Box<dyn Future<Output = Result<(), Failure>> + 'a>>;

/// A flow by its name.
pub(crate) struct Flow {
    /// As `make e2e FLOW=NAME` has it.
    pub(crate) name: &'static str,
    /// Whether it is about the operator.
    operator: bool,
    run: for<'a> fn(&'a Cluster, &'a mut Report) -> Running<'a>,
}

/// All of them, in the order in which they run.
pub(crate) const FLOWS: &[Flow] = &[
    Flow { name: "smoke", operator: false, run: |cluster, report| Box::pin(smoke::run(cluster, report)) },
    Flow { name: "trinity", operator: true, run: |cluster, report| Box::pin(trinity::run(cluster, report)) },
    Flow { name: "caretaker", operator: true, run: |cluster, report| Box::pin(caretaker::run(cluster, report)) },
    Flow { name: "aifactory", operator: true, run: |cluster, report| Box::pin(aifactory::run(cluster, report)) },
    Flow { name: "rollback", operator: true, run: |cluster, report| Box::pin(rollback::run(cluster, report)) },
    // The last: it uninstalls the operator.
    Flow { name: "lifecycle", operator: true, run: |cluster, report| Box::pin(lifecycle::run(cluster, report)) },
];

/// Which flows to run, and how.
pub(crate) struct Selection<'a> {
    /// Their names; all when there is none.
    pub(crate) names: &'a [String],
    /// Stop the operator before it can do anything. Then every flow has to fail: a flow that passes shows nothing.
    pub(crate) without_operator: bool,
}

impl Selection<'_> {
    fn flows(&self) -> Vec<&'static Flow> {
        let named = |flow: &&Flow| self.names.is_empty() || self.names.iter().any(|name| name == flow.name);
        FLOWS.iter().filter(named).filter(|flow| flow.operator || !self.without_operator).collect()
    }
}

/// Runs the flows and prints the table. Whether all have gone as they should.
pub(crate) async fn run(cluster: &Cluster, selection: &Selection<'_>) -> bool {
    let flows = selection.flows();
    if flows.iter().any(|flow| flow.operator)
        && let Err(reason) = install(cluster, selection).await
    {
        say!("The operator is not there: {reason}");
        cluster.report("operator");
        return false;
    }
    let outcomes = if selection.without_operator {
        // All of them wait in vain: together that takes no longer than one.
        join_all(flows.into_iter().map(|flow| go(cluster, flow))).await
    } else {
        stream::iter(flows).then(|flow| go(cluster, flow)).collect().await
    };
    say!("\n{}", table::render(&outcomes));
    for outcome in &outcomes {
        if let Some(failure) = &outcome.failure {
            say!("{} failed: {failure}", outcome.name);
        }
    }
    if selection.without_operator {
        return all_failed(&outcomes);
    }
    outcomes.iter().all(|outcome| outcome.failure.is_none())
}

/// The counter-test: whether no flow has passed that cannot have.
fn all_failed(outcomes: &[Outcome]) -> bool {
    let passed: Vec<_> =
        outcomes.iter().filter(|outcome| outcome.failure.is_none()).map(|outcome| outcome.name).collect();
    if passed.is_empty() {
        say!("\nWithout the operator every flow failed, as it has to.");
        return true;
    }
    say!("\nWithout the operator these flows passed, so they prove nothing: {}", passed.join(", "));
    false
}

async fn install(cluster: &Cluster, selection: &Selection<'_>) -> Result<(), String> {
    say!("\nInstalling the operator");
    operator::install(cluster).await?;
    if selection.without_operator {
        say!("Stopping it again, before it has anything to do");
        operator::stop(cluster).await?;
    }
    Ok(())
}

async fn go(cluster: &Cluster, flow: &Flow) -> Outcome {
    say!("\n== {}", flow.name);
    let (start, mut report) = (Instant::now(), Report::default());
    // A flow that panics must not keep the others from running.
    let ended = AssertUnwindSafe((flow.run)(cluster, &mut report)).catch_unwind().await;
    let failure = ended.unwrap_or_else(|panic| Err(Failure(words(panic.as_ref())))).err();
    if let Some(failure) = &failure {
        say!("   {} FAILED: {failure}", flow.name);
        cluster.report(flow.name);
    }
    Outcome { name: flow.name, report, time: start.elapsed(), failure }
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    format!("panicked: {}", text.unwrap_or("without a word"))
}
