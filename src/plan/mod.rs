//! What should be: effective settings, findings, the variables of every container, statuses. Pure.
//!
//! Everything here is a function of a [`Snapshot`]; nothing awaits, reads a clock or fails: what is wrong becomes a
//! [`Diagnostic`] and stops nobody else. The controller and the CLI call the same functions.

pub mod admission;
mod attach;
pub mod collector;
mod condition;
pub mod difference;
mod effective;
mod env;
pub mod explain;
mod export;
mod findings;
mod inject;
pub mod instrument;
mod merge;
mod merge_into;
mod patch;
mod planner;
pub mod pod;
mod read;
pub mod repair;
mod rollout;
pub mod schema;
pub mod status;
mod validate;
pub mod verdict;
mod wave;
mod workload;

use std::collections::BTreeMap;

use crate::{
    api::TracingPolicyStatus,
    diagnostics::Diagnostic,
    index::{CollectorId, Dirty, PolicyId, Snapshot, WorkloadId},
};

pub use attach::{Attached, Attachment, Part, Specificity, attached, is_excluded};
pub use collector::{CollectorPlan, read_collector};
pub use env::Variable;
pub use export::{ResolvedExport, Unresolved, assumptions};
pub use inject::ContainerPlan;
pub use merge_into::merge_into;
pub use patch::{apply_patch, resolved};
pub use planner::Planner;
pub use read::{read_cluster_policy, read_policy, schema_of};
pub use rollout::{MAX_BECAUSE, Pace, refusal_patch};
pub use validate::{validate, validate_cluster};
pub use wave::Wait;
pub use workload::{Decision, HoldReason, WorkloadPlan, configuration, plan_workload, workload_findings};

/// What should be, for a whole snapshot.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The plan of every workload that a policy selects or that holds fields of the operator.
    pub workloads: BTreeMap<WorkloadId, WorkloadPlan>,
    /// The status of every policy, with the times of transitions left to the caller.
    pub policies: BTreeMap<PolicyId, TracingPolicyStatus>,
    /// The plan of every collector.
    pub collectors: BTreeMap<CollectorId, CollectorPlan>,
}

/// Plans a whole snapshot: what the CLI does with its files, and what the controller does key by key.
pub fn plan(snapshot: &Snapshot) -> (Plan, Vec<Diagnostic>) {
    let mut plan = Plan::default();
    let mut findings = Vec::new();
    let mut planner = Planner::default();
    let workloads = || snapshot.namespaces.values().flat_map(|namespace| namespace.workloads.keys().cloned());
    let mut everything = Dirty { workloads: workloads().collect(), ..Dirty::default() };
    planner.plan_with(snapshot, &mut everything, |workload, planned| {
        findings.extend(workload_findings(workload, &planned));
        if planned.is_relevant(workload) {
            plan.workloads.insert(workload.id.clone(), planned);
        }
    });
    for policy in snapshot.policies() {
        findings.extend(policy.findings.iter().cloned().map(|finding| finding.on(policy.id.object())));
        let report = planner.report(snapshot, policy);
        findings.extend(report.findings);
        plan.policies.insert(policy.id.clone(), report.status);
    }
    for collector in snapshot.collectors.values() {
        findings.extend(collector.findings.iter().cloned().map(|finding| finding.on(collector.id.object())));
        findings.extend(collector::secret_findings(snapshot, collector));
        let compiled = collector::compile(snapshot, collector);
        findings.extend(compiled.findings.iter().cloned());
        plan.collectors.insert(collector.id.clone(), compiled);
    }
    (plan, findings)
}
