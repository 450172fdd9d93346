//! What should be: effective settings, findings, the variables of every container, statuses. Pure.
//!
//! Everything here is a function of a [`Snapshot`]; nothing awaits, reads a clock or fails: what is wrong becomes a
//! [`Diagnostic`] and stops nobody else. The controller and the CLI call the same functions.

pub mod admission;
mod attach;
pub mod collector;
mod condition;
mod env;
mod export;
mod findings;
mod inject;
mod patch;
mod read;
pub mod repair;
pub mod schema;
pub mod status;
mod validate;
mod workload;

use std::collections::BTreeMap;

use crate::{
    api::TracingPolicyStatus,
    diagnostics::Diagnostic,
    index::{CollectorId, PolicyId, Snapshot, WorkloadId},
};

pub use attach::{Attached, Specificity, attached, is_excluded};
pub use collector::{CollectorPlan, read_collector};
pub use env::Variable;
pub use export::{ResolvedExport, Unresolved, assumptions};
pub use inject::ContainerPlan;
pub use patch::{apply_patch, merge_into};
pub use read::{read_policy, schema_of};
pub use validate::validate;
pub use workload::{Decision, HoldReason, WorkloadPlan, plan_workload, workload_findings};

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
    for namespace in snapshot.namespaces.values() {
        let mut plans = Vec::with_capacity(namespace.workloads.len());
        for workload in namespace.workloads.values() {
            let planned = plan_workload(snapshot, namespace, workload);
            findings.extend(workload_findings(workload, &planned));
            plans.push((workload.as_ref(), planned));
        }
        for policy in namespace.policies.values() {
            findings.extend(policy.findings.iter().cloned().map(|finding| finding.on(policy.id.object())));
        }
        let reports = status::reports(snapshot, namespace, &plans);
        for (id, report) in reports {
            findings.extend(report.findings);
            plan.policies.insert(id, report.status);
        }
        let relevant = plans.into_iter().filter(|(workload, planned)| planned.is_relevant(workload));
        plan.workloads.extend(relevant.map(|(workload, planned)| (workload.id.clone(), planned)));
    }
    for collector in snapshot.collectors.values() {
        findings.extend(collector.findings.iter().cloned().map(|finding| finding.on(collector.id.object())));
        findings.extend(collector::secret_findings(snapshot, collector));
        let planned = collector::compile(snapshot, collector);
        findings.extend(planned.findings.iter().cloned());
        plan.collectors.insert(collector.id.clone(), planned);
    }
    (plan, findings)
}
