//! What the controller tells its metrics.

use std::{collections::BTreeMap, fmt};

use super::{Context, Key, Outcome};
use crate::{
    api::condition,
    index::{Policy, Snapshot},
    telemetry::metrics::{Census, ReconcileResult},
};

/// What the keys are called in metrics.
pub(super) const CONTROLLERS: [&str; 9] =
    ["workload", "policy", "secret", "collector", "collectorstatus", "secretkey", "identity", "admission", "rollout"];

/// What a condition can be.
const STATES: [&str; 3] = ["True", "False", "Unknown"];

impl Key {
    /// What this kind of key is called in metrics.
    pub const fn controller(&self) -> &'static str {
        let place = match self {
            Self::Workload(_) => 0,
            Self::Policy(_) => 1,
            Self::Secret(_) => 2,
            Self::Collector(_) => 3,
            Self::CollectorStatus(_) => 4,
            Self::SecretKey(_) => 5,
            Self::Identity => 6,
            Self::Admission => 7,
            Self::Rollout(_) => 8,
        };
        CONTROLLERS[place]
    }
}

impl From<Outcome> for ReconcileResult {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done => Self::Success,
            Outcome::Again(_) => Self::RequeueAfter,
            Outcome::Failed => Self::Error,
        }
    }
}

impl Context {
    /// The text of `/metrics`. What is counted over policies is counted when somebody asks.
    ///
    /// # Errors
    /// None is known: the text is written to memory.
    pub fn metrics(&self) -> Result<String, fmt::Error> {
        let census = {
            let index = self.index();
            let certificate_expiry = self.admission.as_ref().and_then(|admission| admission.expiry());
            Census { certificate_expiry, leads: self.leads(), ..census(index.snapshot()) }
        };
        self.metrics.set_in_progress(self.planner().under_way());
        self.metrics.text(&census)
    }
}

fn census(snapshot: &Snapshot) -> Census {
    let kinds = ["TracingPolicy", "ClusterTracingPolicy"];
    // What is no more has to be said too, as zero.
    let all = kinds.into_iter().flat_map(|kind| STATES.into_iter().map(move |ready| ((kind, ready), 0)));
    let mut policies: Vec<_> = all.collect();
    let mut counts = crate::api::WorkloadCounts::default();
    for policy in snapshot.policies() {
        let key = (policy.id.kind(), ready(policy));
        policies.iter_mut().filter(|(known, _)| *known == key).for_each(|(_, count)| *count += 1);
        let Some(own) = policy.status.as_ref().and_then(|status| status.workloads.as_ref()) else { continue };
        counts.matched += own.matched;
        counts.injected += own.injected;
        counts.pending += own.pending;
        counts.superseded += own.superseded;
        counts.overridden += own.overridden;
        counts.stale += own.stale;
        counts.reverted += own.reverted;
    }
    let workloads = vec![
        ("matched", counts.matched),
        ("injected", counts.injected),
        ("pending", counts.pending),
        ("superseded", counts.superseded),
        ("overridden", counts.overridden),
        ("stale", counts.stale),
        ("reverted", counts.reverted),
    ];
    Census { policies, conditions: conditions(snapshot), workloads, ..Census::default() }
}

/// How many objects have which condition in which state. What was not said counts nowhere.
fn conditions(snapshot: &Snapshot) -> Vec<((&'static str, &'static str, &'static str), i64)> {
    let policies =
        snapshot.policies().map(|policy| (policy.id.kind(), policy.status.as_ref().map(|said| &said.conditions)));
    let collectors = snapshot.collectors.values();
    let collectors = collectors.map(|known| ("TracingCollector", known.status.as_ref().map(|said| &said.conditions)));
    let mut counts = BTreeMap::new();
    for kind in ["TracingPolicy", "ClusterTracingPolicy", "TracingCollector"] {
        for type_ in condition::ALL {
            for status in STATES {
                counts.insert((kind, type_, status), 0);
            }
        }
    }
    for (kind, said) in policies.chain(collectors) {
        for known in said.into_iter().flatten() {
            let type_ = condition::ALL.into_iter().find(|type_| *type_ == known.type_);
            let status = STATES.into_iter().find(|state| *state == known.status);
            if let (Some(type_), Some(status)) = (type_, status) {
                *counts.entry((kind, type_, status)).or_default() += 1;
            }
        }
    }
    counts.into_iter().collect()
}

/// The status of the condition Ready: `Unknown` where nothing was said yet.
fn ready(policy: &Policy) -> &'static str {
    let conditions = policy.status.iter().flat_map(|status| &status.conditions);
    let ready = conditions.filter(|known| known.type_ == condition::READY).map(|known| known.status.as_str()).next();
    match ready {
        Some("True") => "True",
        Some("False") => "False",
        _ => "Unknown",
    }
}
