//! Whether an injection has broken a workload: a function of what the objects say.
//!
//! It is to blame where new pods do not run, where their template differs from one whose pods ran well in nothing but what the
//! operator has set. Whatever else has changed at the same time, or failed before, is somebody else's.

mod template;

use std::collections::BTreeSet;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{
    collector::trouble::{not_scheduled, pod_trouble, stuck},
    workload::WorkloadPlan,
};
use crate::{
    api::MANAGER_INJECTED,
    index::{Workload, WorkloadKind},
};
use template::{bare, plain};

/// How long pods may fail to be created before it is more than a passing fault.
const CREATION_GRACE: SignedDuration = SignedDuration::from_secs(15);
/// How long what a container needs may fail to come before it is more than a passing fault.
const START_GRACE: SignedDuration = SignedDuration::from_secs(30);
/// How long pods of a `StatefulSet` or `DaemonSet` may take, which have no deadline of their own: as long as those of a Deployment by
/// default.
const DEADLINE: SignedDuration = SignedDuration::from_mins(10);
/// How long after a write of the operator a `DaemonSet` may still be rolling out, or a `StatefulSet` with a partition.
const HORIZON: SignedDuration = SignedDuration::from_hours(1);
/// How long after its start a pod has its first conditions.
const SETTLED: SignedDuration = SignedDuration::from_secs(10);
/// How much longer than a controller that says itself that it has given up.
const PATIENCE: SignedDuration = SignedDuration::from_mins(1);
/// Clocks of a cluster differ.
const SKEW: SignedDuration = SignedDuration::from_secs(2);
/// Why nobody waits for it any longer.
const STUCK: &str = "nothing has come of its rollout for a long time";
/// Restarts after which a container that ends is in a loop.
const RESTARTS: i64 = 2;

/// What is to be known for a verdict.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// The workload as it is.
    pub workload: Value,
    /// The `ReplicaSets`, or the `ControllerRevisions`, that it has made.
    pub revisions: Vec<Value>,
    /// Its pods.
    pub pods: Vec<Value>,
    /// Events about it, where it has no condition for what they say.
    pub events: Vec<Value>,
    /// Whether this process saw that it did not run well before it was written.
    pub was_frail: bool,
    /// Whether this process has written it since the operator's settings were in it, and its rollout is not complete since.
    pub was_ours: bool,
}

/// What comes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is nothing to be said yet.
    Open,
    /// Its pods do not run, and it is not the injection's fault: why.
    Innocent(&'static str),
    /// Its rollout had come to its end: whatever happens now has another reason.
    Over,
    /// The injection is to blame: what the pods say.
    Guilty(String),
}

/// Judges a workload whose pods are being replaced.
pub fn verdict(workload: &Workload, evidence: &Evidence, now: Timestamp) -> Verdict {
    let case = Case { workload, evidence, now };
    let nothing_to_say = || if case.is_stuck() { Verdict::Innocent(STUCK) } else { Verdict::Open };
    let Some(new) = case.newest() else { return nothing_to_say() };
    if case.has_ended(new) {
        return Verdict::Over;
    }
    let Some(because) = case.trouble(new) else { return nothing_to_say() };
    if case.is_old() && !case.is_late() {
        return Verdict::Over;
    }
    let baseline = case.baseline(new);
    if baseline.is_empty() {
        return Verdict::Innocent("its own pod template has changed at the same time, or is its first one");
    }
    if !case.ran_well(new, &baseline) {
        return Verdict::Innocent("its pods did not run before either");
    }
    // One of its pods may have failed before, and have been the first to be replaced: then it takes all of the time that there is.
    if evidence.was_frail && case.is_deployment() && !case.is_late() {
        return nothing_to_say();
    }
    Verdict::Guilty(because)
}

/// Whether nothing comes of a rollout, so that nobody needs to wait for it: no pod was made for so long, and none is ready that was not.
pub fn is_stuck(workload: &Workload, evidence: &Evidence, now: Timestamp) -> bool {
    Case { workload, evidence, now }.is_stuck()
}

/// Pods of a `StatefulSet` that do not run and belong to a template which differs from the present one in nothing but what the
/// operator had set: by name and uid. Their controller waits for them for ever, and never replaces them (Kubernetes, `StatefulSets`,
/// "Forced rollback"; measured with 1.36).
pub fn left_over(
    workload: &Workload,
    plan: &WorkloadPlan,
    evidence: &Evidence,
    is_halted: bool,
    now: Timestamp,
) -> Vec<(String, String)> {
    let case = Case { workload, evidence, now };
    let partition = evidence.workload.pointer("/spec/updateStrategy/rollingUpdate/partition").and_then(Value::as_i64);
    let is_ours = workload.is_held() || evidence.was_ours || workload.refusal().is_some_and(|refusal| refusal.held);
    let may_delete = workload.id.kind == WorkloadKind::StatefulSet && plan.pace.auto_revert && is_ours;
    let Some(present) = case.newest().filter(|_| may_delete) else { return Vec::new() };
    let meant = case.bare(case.template(present));
    let name = |revision: &Value| text(revision, "/metadata/name").to_owned();
    let others = case.revisions().filter(|revision| name(revision) != name(present));
    // Only where the operator's own settings are what differs, and those of the pods are no longer meant.
    let others = others.filter(|revision| case.bare(case.template(revision)) == meant);
    let others = others.filter(|revision| plain(case.template(revision)) != case.bare(case.template(revision)));
    let others = others.filter(|_| plan.refused || is_halted || !plan.needs_write);
    // Below the partition a pod comes back as it was.
    let comes_back = |pod: &Value| {
        let ordinal = text(pod, "/metadata/name").rsplit_once('-').and_then(|(_, ordinal)| ordinal.parse::<i64>().ok());
        partition.unwrap_or_default() > ordinal.unwrap_or_default()
    };
    let pods = others.flat_map(|revision| case.pods_of(revision)).filter(|pod| !is_going(pod) && !is_ready(pod));
    let stuck = pods.filter(|pod| stuck(pod, RESTARTS, case.waits(pod) >= START_GRACE) && !comes_back(pod));
    stuck.map(|pod| (name(pod), text(pod, "/metadata/uid").to_owned())).collect()
}

struct Case<'a> {
    workload: &'a Workload,
    evidence: &'a Evidence,
    now: Timestamp,
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn number(value: &Value, pointer: &str) -> i64 {
    value.pointer(pointer).and_then(Value::as_i64).unwrap_or_default()
}

fn time(value: &Value, pointer: &str) -> Option<Timestamp> {
    text(value, pointer).parse().ok()
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    list(object, "/status/conditions").iter().find(|known| text(known, "/type") == kind)
}

fn is_ready(pod: &Value) -> bool {
    condition(pod, "Ready").is_some_and(|ready| text(ready, "/status") == "True")
}

fn is_owned(object: &Value, uid: &str) -> bool {
    list(object, "/metadata/ownerReferences")
        .iter()
        .any(|owner| text(owner, "/uid") == uid && owner["controller"] == true)
}

fn is_going(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some()
}

impl<'a> Case<'a> {
    fn is_deployment(&self) -> bool {
        self.workload.id.kind == WorkloadKind::Deployment
    }

    fn uid(&self) -> &'a str {
        text(&self.evidence.workload, "/metadata/uid")
    }

    /// The revisions of the workload.
    fn revisions(&self) -> impl Iterator<Item = &'a Value> {
        let uid = self.uid();
        self.evidence.revisions.iter().filter(move |revision| is_owned(revision, uid))
    }

    fn order(&self, revision: &Value) -> i64 {
        if self.is_deployment() {
            let annotations = revision.pointer("/metadata/annotations");
            let number =
                annotations.and_then(|all| all.get("deployment.kubernetes.io/revision")?.as_str()?.parse().ok());
            return number.unwrap_or_default();
        }
        number(revision, "/revision")
    }

    fn template(&self, revision: &'a Value) -> &'a Value {
        let pointer = if self.is_deployment() { "/spec/template" } else { "/data/spec/template" };
        revision.pointer(pointer).unwrap_or(&Value::Null)
    }

    /// The revision that the workload's controller is rolling out, once it has seen the present template.
    fn newest(&self) -> Option<&'a Value> {
        let workload = &self.evidence.workload;
        if number(workload, "/status/observedGeneration") < number(workload, "/metadata/generation") {
            return None;
        }
        if self.workload.id.kind == WorkloadKind::StatefulSet {
            let name = text(workload, "/status/updateRevision");
            return self.revisions().find(|revision| text(revision, "/metadata/name") == name);
        }
        let newest = self.revisions().max_by_key(|revision| self.order(revision))?;
        let wanted = plain(workload.pointer("/spec/template").unwrap_or(&Value::Null));
        (plain(self.template(newest)) == wanted).then_some(newest)
    }

    /// Older revisions that differ in nothing but what the operator sets.
    fn baseline(&self, new: &Value) -> Vec<&'a Value> {
        let order = self.order(new);
        let new_template =
            match self.revisions().find(|revision| text(revision, "/metadata/uid") == text(new, "/metadata/uid")) {
                Some(new) => self.template(new),
                None => return Vec::new(),
            };
        let meant = self.bare(new_template);
        let before = self.revisions().filter(|revision| self.order(revision) < order);
        before.filter(|revision| self.bare(self.template(revision)) == meant).collect()
    }

    fn bare(&self, template: &Value) -> Value {
        bare(self.workload, template)
    }

    fn pods_of(&self, revision: &'a Value) -> impl Iterator<Item = &'a Value> {
        let is_deployment = self.is_deployment();
        let owner = if is_deployment { text(revision, "/metadata/uid") } else { self.uid() };
        // The label of a StatefulSet's pod is the revision's name, that of a DaemonSet's its hash.
        let name = text(revision, "/metadata/name");
        let hash = text(revision, "/metadata/labels/controller-revision-hash");
        self.evidence.pods.iter().filter(move |pod| {
            let label = text(pod, "/metadata/labels/controller-revision-hash");
            is_owned(pod, owner) && (is_deployment || label == name || (!hash.is_empty() && label == hash))
        })
    }

    /// What keeps new pods from running, for good.
    fn trouble(&self, new: &'a Value) -> Option<String> {
        let pods: Vec<&Value> = self.pods_of(new).filter(|pod| !is_going(pod)).collect();
        let ready = pods.iter().filter(|pod| is_ready(pod)).count();
        let in_loop = pods.iter().filter(|pod| stuck(pod, RESTARTS, self.waits(pod) >= START_GRACE));
        let texts: BTreeSet<String> = in_loop.clone().filter_map(|pod| pod_trouble(pod)).collect();
        if in_loop.count() >= ready.max(1) {
            return texts.into_iter().next();
        }
        if let Some(refused) = self.not_created(&pods) {
            return Some(refused);
        }
        let late = self.late(&pods)?;
        let words =
            pods.iter().filter(|pod| !is_ready(pod)).filter_map(|pod| pod_trouble(pod).or_else(|| not_scheduled(pod)));
        Some(words.min().map_or_else(|| late.clone(), |words| format!("{late}: {words}")))
    }

    fn age(&self, object: &Value) -> SignedDuration {
        time(object, "/metadata/creationTimestamp")
            .map_or(SignedDuration::ZERO, |created| self.now.duration_since(created))
    }

    /// Since when its node has the pod; nothing counts before that.
    fn waits(&self, pod: &Value) -> SignedDuration {
        time(pod, "/status/startTime").map_or(SignedDuration::ZERO, |start| self.now.duration_since(start))
    }

    /// Whether its rollout has come to its end: what fails later fails for another reason.
    fn has_ended(&self, new: &Value) -> bool {
        let workload = &self.evidence.workload;
        match self.workload.id.kind {
            // Where a ReplicaSet is used again, the condition may be one of before.
            WorkloadKind::Deployment => condition(workload, "Progressing").is_some_and(|said| {
                text(said, "/reason") == "NewReplicaSetAvailable"
                    && text(said, "/message").contains(&format!("{:?}", text(new, "/metadata/name")))
                    && time(said, "/lastUpdateTime") >= self.written()
            }),
            WorkloadKind::StatefulSet => {
                text(workload, "/status/currentRevision") == text(workload, "/status/updateRevision")
                    && number(workload, "/status/updatedReplicas") >= number(workload, "/status/replicas")
            }
            _ => {
                let wanted = number(workload, "/status/desiredNumberScheduled");
                self.is_old() && number(workload, "/status/updatedNumberScheduled") >= wanted
            }
        }
    }

    /// Whether its template is older than any rollout should take.
    fn is_old(&self) -> bool {
        let newest = || self.revisions().filter_map(|revision| time(revision, "/metadata/creationTimestamp")).max();
        self.written().or_else(newest).is_some_and(|since| self.now.duration_since(since) >= HORIZON)
    }

    /// Whether the controller of a Deployment has given up.
    fn is_late(&self) -> bool {
        self.is_deployment() && self.late(&[]).is_some()
    }

    /// Whether nothing has come of its rollout for as long as a Deployment would be given, or longer where it is given longer.
    fn is_stuck(&self) -> bool {
        let given = number(&self.evidence.workload, "/spec/progressDeadlineSeconds");
        // The controller of a Deployment says so itself, a little later.
        let given = SignedDuration::from_secs(given).clamp(DEADLINE, HORIZON) + PATIENCE;
        let made = self.evidence.pods.iter().filter(|pod| !is_going(pod)).chain(self.revisions());
        let made = made.chain([&self.evidence.workload]);
        let made = made.filter_map(|object| time(object, "/metadata/creationTimestamp"));
        let became = |pod: &Value| condition(pod, "Ready").and_then(|ready| time(ready, "/lastTransitionTime"));
        let became_ready = self.evidence.pods.iter().filter(|pod| is_ready(pod)).filter_map(became);
        let last = made.chain(became_ready).chain(self.written()).max();
        last.is_some_and(|last| self.now.duration_since(last) >= given)
    }

    /// What keeps new pods from being created.
    fn not_created(&self, pods: &[&Value]) -> Option<String> {
        if !pods.is_empty() {
            return None;
        }
        let workload = &self.evidence.workload;
        if self.is_deployment() {
            let failure = condition(workload, "ReplicaFailure").filter(|failure| text(failure, "/status") == "True")?;
            // What failed before the write has another reason, until it goes on failing after it.
            let since = time(failure, "/lastTransitionTime").max(self.written())?;
            let said = format!("{}: {}", text(failure, "/reason"), text(failure, "/message"));
            return (self.now.duration_since(since) >= CREATION_GRACE).then_some(said);
        }
        let written = self.written();
        let is_meant = |event: &&Value| {
            let (first, last) = (time(event, "/firstTimestamp"), time(event, "/lastTimestamp"));
            let is_new = last.zip(written).is_some_and(|(last, written)| last >= written);
            let since = first.max(written);
            let lasts = since.zip(last).is_some_and(|(since, last)| last.duration_since(since) >= CREATION_GRACE);
            text(event, "/reason") == "FailedCreate"
                && text(event, "/involvedObject/uid") == self.uid()
                && is_new
                && lasts
        };
        let failure = self.evidence.events.iter().find(is_meant)?;
        Some(format!("FailedCreate: {}", text(failure, "/message")))
    }

    /// That the time for new pods is up.
    fn late(&self, pods: &[&Value]) -> Option<String> {
        if self.is_deployment() {
            let progress = condition(&self.evidence.workload, "Progressing")?;
            let is_over =
                text(progress, "/status") == "False" && text(progress, "/reason") == "ProgressDeadlineExceeded";
            return is_over.then(|| "ProgressDeadlineExceeded".to_owned());
        }
        // One that was ready once is late for nothing.
        let never_ready = |pod: &Value| {
            let since = condition(pod, "Ready").and_then(|ready| time(ready, "/lastTransitionTime"));
            let start = time(pod, "/status/startTime");
            since.zip(start).is_none_or(|(since, start)| since.duration_since(start) <= SETTLED)
        };
        let ready = pods.iter().filter(|pod| is_ready(pod)).count();
        let all = pods.iter().filter(|pod| !is_ready(pod) && never_ready(pod) && self.age(pod) >= DEADLINE);
        let late = all.clone().next().filter(|_| all.count() >= ready.max(1))?;
        Some(format!("Pod {} is not ready after {} minutes", text(late, "/metadata/name"), DEADLINE.as_mins()))
    }

    /// When the operator wrote the workload last, by the API server's clock.
    fn written(&self) -> Option<Timestamp> {
        let entries = list(&self.evidence.workload, "/metadata/managedFields").iter();
        entries
            .filter(|entry| text(entry, "/manager") == MANAGER_INJECTED)
            .filter_map(|entry| time(entry, "/time"))
            .max()
    }

    /// Whether pods of these revisions ran until the new one came.
    fn ran_well(&self, new: &'a Value, baseline: &[&'a Value]) -> bool {
        let fails = |pod: &&Value| !is_going(pod) && stuck(pod, RESTARTS, self.waits(pod) >= START_GRACE);
        let available = |revision: &&Value| number(revision, "/status/availableReplicas") > 0;
        let is_left = self.is_deployment() && baseline.iter().any(available);
        if self.evidence.was_frail && !is_left
            || baseline.iter().flat_map(|revision| self.pods_of(revision)).any(|pod| fails(&pod))
        {
            return false;
        }
        if !self.is_deployment() {
            let mut old =
                baseline.iter().flat_map(|revision| self.pods_of(revision)).filter(|pod| !is_going(pod)).peekable();
            // With one replica nothing is left of the old ones: then it is what was seen before that counts.
            return if old.peek().is_some() { old.any(is_ready) } else { true };
        }
        if is_left {
            return true;
        }
        let is_same = |one: &Value, other: &Value| text(one, "/metadata/uid") == text(other, "/metadata/uid");
        let others: Vec<&Value> = self.revisions().filter(|revision| !is_same(revision, new)).collect();
        let older = others.iter().filter(|revision| self.order(revision) < self.order(new));
        let previous = older.max_by_key(|revision| self.order(revision));
        let was_last = previous.is_some_and(|previous| baseline.iter().any(|revision| is_same(revision, previous)));
        let Some(state) = condition(&self.evidence.workload, "Available").filter(|_| was_last) else { return false };
        if text(state, "/status") == "True" {
            return others.iter().all(|revision| !available(revision));
        }
        let since = self.written().or_else(|| time(new, "/metadata/creationTimestamp"));
        time(state, "/lastTransitionTime").zip(since).is_some_and(|(down, since)| down.duration_since(since) >= -SKEW)
    }
}

#[cfg(test)]
mod tests;
