//! Who is to blame, by what the objects say.

use serde_json::json;

use super::*;
use crate::{
    api::RESTARTED_FOR_ANNOTATION,
    index::{AGENT_VOLUME, raw::read_workload},
};

const WRITTEN: &str = "2026-01-01T12:00:00Z";
const BEFORE: &str = "2026-01-01T11:00:00Z";
const AFTER: &str = "2026-01-01T12:00:10Z";

fn now() -> Timestamp {
    "2026-01-01T12:05:00Z".parse().unwrap()
}

fn template(image: &str, injected: bool) -> Value {
    let own = json!({"name": "OWN", "value": "1"});
    let ours = json!({"name": "OTEL_SERVICE_NAME", "value": "web"});
    let env = if injected { json!([own, ours]) } else { json!([own]) };
    json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "app", "image": image, "env": env}]}})
}

fn owned(by: &str) -> Value {
    json!([{"uid": by, "controller": true, "kind": "X", "name": "x", "apiVersion": "apps/v1"}])
}

/// A ReplicaSet of the Deployment.
fn replica_set(number: i64, template: &Value, available: i64) -> Value {
    let mut template = template.clone();
    template["metadata"]["labels"]["pod-template-hash"] = json!(format!("hash{number}"));
    json!({
        "metadata": {"name": format!("web-{number}"), "uid": format!("rs{number}"), "ownerReferences": owned("web"),
            "creationTimestamp": WRITTEN, "annotations": {"deployment.kubernetes.io/revision": number.to_string()}},
        "spec": {"template": template}, "status": {"availableReplicas": available},
    })
}

fn pod(owner: &str, created: &str, status: &Value) -> Value {
    let mut status = status.clone();
    status["startTime"] = json!(created);
    json!({"metadata": {"name": "pod", "creationTimestamp": created, "ownerReferences": owned(owner)}, "status": status})
}

fn ready() -> Value {
    json!({"conditions": [{"type": "Ready", "status": "True"}]})
}

fn waiting(reason: &str, restarts: i64) -> Value {
    let ended = json!({"terminated": {"exitCode": 3, "reason": "Error", "message": "cannot import otel"}});
    let last = if restarts > 0 { ended } else { json!({}) };
    let state = json!({"waiting": {"reason": reason, "message": "of it"}});
    json!({"containerStatuses": [{"name": "app", "ready": false, "restartCount": restarts, "state": state, "lastState": last}]})
}

fn deployment(template: &Value, conditions: &Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop", "uid": "web", "generation": 2, "managedFields": [
            {"manager": "tracesteward", "operation": "Apply", "time": WRITTEN, "fieldsV1": {"f:spec": {"f:template": {"f:spec": {
                "f:containers": {"k:{\"name\":\"app\"}": {"f:env": {"k:{\"name\":\"OTEL_SERVICE_NAME\"}": {".": {}, "f:name": {}, "f:value": {}}}}}}}}}},
            {"manager": "kubectl", "operation": "Update", "time": BEFORE, "fieldsV1": {}},
        ]},
        "spec": {"replicas": 2, "template": template},
        "status": {"observedGeneration": 2, "conditions": conditions},
    })
}

/// The injection came to a Deployment whose pods ran well, and one new pod is in a loop.
fn broken() -> Evidence {
    let (old, new) = (template("x", false), template("x", true));
    Evidence {
        workload: deployment(&new, &json!([{"type": "Available", "status": "True", "lastTransitionTime": BEFORE}])),
        revisions: vec![replica_set(1, &old, 2), replica_set(2, &new, 0)],
        pods: vec![pod("rs1", BEFORE, &ready()), pod("rs2", AFTER, &waiting("CrashLoopBackOff", 3))],
        ..Evidence::default()
    }
}

fn judged(evidence: &Evidence) -> Verdict {
    let workload = read_workload(&evidence.workload, "shop").unwrap().unwrap();
    verdict(&workload, evidence, now())
}

fn is_innocent(evidence: &Evidence) -> bool {
    matches!(judged(evidence), Verdict::Innocent(_))
}

#[test]
fn new_pods_in_a_loop_beside_old_ones_that_run() {
    assert_eq!(judged(&broken()), Verdict::Guilty("cannot import otel".into()));
    let mut once = broken();
    once.pods[1]["status"]["containerStatuses"][0]["restartCount"] = json!(1);
    assert_eq!(judged(&once), Verdict::Open, "one that ended once may yet run");
    let mut unseen = broken();
    unseen.workload["metadata"]["generation"] = json!(3);
    assert_eq!(judged(&unseen), Verdict::Open, "its controller has not seen the template");
    let mut going = broken();
    going.pods[1]["metadata"]["deletionTimestamp"] = json!(AFTER);
    assert_eq!(judged(&going), Verdict::Open);
    let mut most = broken();
    most.pods.extend([pod("rs2", AFTER, &ready()), pod("rs2", AFTER, &ready())]);
    assert_eq!(judged(&most), Verdict::Open, "more new pods run than do not");
}

#[test]
fn what_users_change_at_the_same_time_is_theirs() {
    let mut evidence = broken();
    let new = template("y", true);
    evidence.workload["spec"]["template"] = new.clone();
    evidence.revisions[1] = replica_set(2, &new, 0);
    assert!(is_innocent(&evidence), "another image");
    // A variable of the operator's names that the user sets: its value is theirs.
    let mut evidence = broken();
    let (mut old, mut new) = (template("x", false), template("x", true));
    let set = |template: &mut Value, sampler: &str| {
        let env = template["spec"]["containers"][0]["env"].as_array_mut().unwrap();
        env.push(json!({"name": "OTEL_TRACES_SAMPLER", "value": sampler}));
    };
    set(&mut old, "always_on");
    set(&mut new, "nonsense");
    evidence.workload["spec"]["template"] = new.clone();
    evidence.revisions = vec![replica_set(1, &old, 2), replica_set(2, &new, 0)];
    assert!(is_innocent(&evidence), "their own sampler");
    // The user's change came between: what ran is not what the injection was laid over.
    let (first, second, third) = (template("x", false), template("y", false), template("y", true));
    let mut evidence = broken();
    evidence.workload["spec"]["template"] = third.clone();
    evidence.revisions = vec![replica_set(1, &first, 2), replica_set(2, &second, 0), replica_set(3, &third, 0)];
    evidence.pods[1] = pod("rs3", AFTER, &waiting("CrashLoopBackOff", 3));
    assert!(is_innocent(&evidence), "the image did not run before the injection");
    let mut first = broken();
    first.revisions.remove(0);
    assert!(is_innocent(&first), "there never was another template");
}

#[test]
fn what_failed_before_is_not_blamed_on_the_injection() {
    let down = |since: &str| {
        let mut evidence = broken();
        evidence.revisions[0]["status"]["availableReplicas"] = json!(0);
        evidence.pods.remove(0);
        evidence.workload["status"]["conditions"] =
            json!([{"type": "Available", "status": "False", "lastTransitionTime": since}]);
        evidence
    };
    assert!(is_innocent(&down(BEFORE)));
    // Where all pods are replaced at once nothing is left of the old ones; they were there until the write.
    assert!(matches!(judged(&down(AFTER)), Verdict::Guilty(_)));
}

#[test]
fn pods_that_cannot_be_started_made_or_scheduled() {
    let mut pull = broken();
    pull.pods[1] = pod("rs2", AFTER, &waiting("ImagePullBackOff", 0));
    assert_eq!(judged(&pull), Verdict::Guilty("ImagePullBackOff: of it".into()));
    pull.pods[1]["status"]["startTime"] = json!("2026-01-01T12:04:50Z");
    assert_eq!(judged(&pull), Verdict::Open, "registries have bad moments");

    let mut refused = broken();
    refused.pods.remove(1);
    assert_eq!(judged(&refused), Verdict::Open);
    let failure = |since: &str| json!({"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "denied the request", "lastTransitionTime": since});
    refused.workload["status"]["conditions"] = json!([failure(AFTER)]);
    assert_eq!(judged(&refused), Verdict::Guilty("FailedCreate: denied the request".into()));
    refused.workload["status"]["conditions"] = json!([failure("2026-01-01T12:04:50Z")]);
    assert_eq!(judged(&refused), Verdict::Open, "so have webhooks");
    refused.workload["status"]["conditions"] = json!([failure(BEFORE)]);
    refused.workload["metadata"]["managedFields"][0]["time"] = json!("2026-01-01T12:04:50Z");
    assert_eq!(judged(&refused), Verdict::Open, "it failed long before, and nothing is known of what came now");

    let mut late = broken();
    let unscheduled = json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}]});
    late.pods[1]["status"] = unscheduled;
    assert_eq!(judged(&late), Verdict::Open);
    late.workload["status"]["conditions"] =
        json!([{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]);
    assert_eq!(judged(&late), Verdict::Guilty("ProgressDeadlineExceeded: Unschedulable: 0/3 nodes".into()));
}

fn revision(number: i64, template: &Value) -> Value {
    json!({
        "metadata": {"name": format!("db-{number}"), "uid": format!("r{number}"), "ownerReferences": owned("db"),
            "labels": {"controller-revision-hash": format!("h{number}")}},
        "revision": number, "data": {"spec": {"template": template}},
    })
}

/// Replaced pod by pod: with several replicas old ones are left.
fn replaced(kind: &str, label: &str, old: &[Value]) -> Evidence {
    let (before, new) = (template("x", false), template("x", true));
    let mut workload = deployment(&new, &json!([]));
    workload["kind"] = json!(kind);
    workload["metadata"]["uid"] = json!("db");
    workload["status"]["updateRevision"] = json!("db-2");
    workload["status"]["currentRevision"] = json!("db-1");
    let of = |revision: &str, pod: &Value| {
        let mut pod = pod.clone();
        pod["metadata"]["labels"] = json!({"controller-revision-hash": revision});
        pod
    };
    let crashing = of(&format!("{label}2"), &pod("db", AFTER, &waiting("CrashLoopBackOff", 3)));
    let mut pods: Vec<_> = old.iter().map(|status| of(&format!("{label}1"), &pod("db", BEFORE, status))).collect();
    pods.push(crashing);
    Evidence { workload, revisions: vec![revision(1, &before), revision(2, &new)], pods, ..Evidence::default() }
}

#[test]
fn stateful_sets_and_daemon_sets_keep_their_templates_as_revisions() {
    for (kind, label) in [("StatefulSet", "db-"), ("DaemonSet", "h")] {
        let guilty = Verdict::Guilty("cannot import otel".into());
        assert_eq!(judged(&replaced(kind, label, &[ready()])), guilty, "{kind}");
        assert!(is_innocent(&replaced(kind, label, &[json!({})])), "{kind}: the old ones do not run either");
        assert_eq!(judged(&replaced(kind, label, &[])), guilty, "{kind}: nothing is left of them");
        let mut theirs = replaced(kind, label, &[]);
        theirs.revisions[0] = revision(1, &template("y", false));
        assert!(is_innocent(&theirs), "{kind}: another image at the same time");
        let frail = Evidence { was_frail: true, ..replaced(kind, label, &[]) };
        assert!(is_innocent(&frail), "{kind}: it was seen before it was written");
        let mut late = replaced(kind, label, &[ready()]);
        let last = late.pods.len() - 1;
        late.pods[last]["status"] = json!({"startTime": "2026-01-01T11:50:00Z"});
        late.pods.retain(|pod| !is_ready(pod));
        let last = late.pods.len() - 1;
        assert_eq!(judged(&late), Verdict::Open, "{kind}");
        late.pods[last]["metadata"]["creationTimestamp"] = json!("2026-01-01T11:50:00Z");
        assert_eq!(judged(&late), Verdict::Guilty("Pod pod is not ready after 10 minutes".into()), "{kind}");
        late.pods.clear();
        let event = |first: &str| {
            json!([{"reason": "FailedCreate", "message": "denied", "involvedObject": {"uid": "db"},
            "firstTimestamp": first, "lastTimestamp": "2026-01-01T12:01:00Z"}])
        };
        late.events = event(AFTER).as_array().unwrap().clone();
        assert_eq!(judged(&late), Verdict::Guilty("FailedCreate: denied".into()), "{kind}");
        late.events = event("2026-01-01T12:00:55Z").as_array().unwrap().clone();
        assert_eq!(judged(&late), Verdict::Open, "{kind}: it may pass");
    }
}

#[test]
fn what_fails_after_the_rollout_fails_for_another_reason() {
    let mut over = replaced("StatefulSet", "db-", &[]);
    over.workload["status"]["currentRevision"] = json!("db-2");
    over.workload["status"]["replicas"] = json!(2);
    over.workload["status"]["updatedReplicas"] = json!(1);
    assert!(matches!(judged(&over), Verdict::Guilty(_)), "back to what was current, and a pod of between is left");
    over.workload["status"]["updatedReplicas"] = json!(2);
    assert_eq!(judged(&over), Verdict::Over);
    let mut slow = replaced("DaemonSet", "h", &[ready()]);
    slow.workload["metadata"]["managedFields"][0]["time"] = json!("2026-01-01T10:00:00Z");
    slow.workload["metadata"]["creationTimestamp"] = json!("2026-01-01T12:00:00Z");
    slow.workload["status"]["desiredNumberScheduled"] = json!(500);
    slow.pods.truncate(1);
    assert_eq!(judged(&slow), Verdict::Open, "it takes long, and nothing fails");
    let mut late = replaced("DaemonSet", "h", &[]);
    late.workload["metadata"]["managedFields"][0]["time"] = json!("2026-01-01T10:00:00Z");
    assert_eq!(judged(&late), Verdict::Over, "two hours ago");
    let mut partly = broken();
    partly.pods[0]["status"] = waiting("CrashLoopBackOff", 7);
    assert!(is_innocent(&partly), "one of the old ones did not run either");
}

#[test]
fn a_deployment_says_when_its_rollout_has_come_to_its_end() {
    let said = |updated: &str| {
        let mut evidence = broken();
        evidence.workload["status"]["conditions"] = json!([
            {"type": "Available", "status": "True", "lastTransitionTime": BEFORE},
            {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable", "lastUpdateTime": updated,
                "message": "ReplicaSet \"web-2\" has successfully progressed."},
        ]);
        evidence
    };
    let mut other = said(AFTER);
    other.workload["status"]["conditions"][1]["message"] = json!("ReplicaSet \"web-1\" has successfully progressed.");
    assert!(matches!(judged(&other), Verdict::Guilty(_)), "of another ReplicaSet, in the same second");
    assert_eq!(judged(&said(AFTER)), Verdict::Over, "what fails now has another reason");
    assert!(matches!(judged(&said(BEFORE)), Verdict::Guilty(_)), "a ReplicaSet is used again: it is one of before");
    let written = |mut evidence: Evidence| {
        evidence.workload["metadata"]["managedFields"][0]["time"] = json!("2026-01-01T10:00:00Z");
        evidence
    };
    assert_eq!(judged(&written(said("2026-01-01T09:00:00Z"))), Verdict::Over, "two hours ago");
    assert_eq!(judged(&written(broken())), Verdict::Over, "without a deadline there is no condition");
}

#[test]
fn one_that_did_not_run_well_is_given_all_of_its_time() {
    let frail = |available: i64| {
        let mut evidence = Evidence { was_frail: true, ..broken() };
        evidence.revisions[0]["status"]["availableReplicas"] = json!(available);
        evidence
    };
    let late = |mut evidence: Evidence| {
        evidence.workload["status"]["conditions"] =
            json!([{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]);
        evidence
    };
    assert_eq!(judged(&frail(1)), Verdict::Open, "the pod that failed before may have been replaced first");
    assert_eq!(judged(&late(frail(1))), Verdict::Guilty("cannot import otel".into()));
    assert!(is_innocent(&late(frail(0))), "nothing ran before");
    // Of a DaemonSet the pods that do not run are replaced first, and nobody says when it takes too long.
    let partly = Evidence { was_frail: true, ..replaced("DaemonSet", "h", &[ready()]) };
    assert!(is_innocent(&partly));
}

#[test]
fn nobody_waits_for_what_does_not_come() {
    let unready = |made: &str| {
        let mut evidence = replaced("StatefulSet", "db-", &[ready()]);
        evidence.workload["metadata"]["managedFields"][0]["time"] = json!(made);
        evidence.pods[1] = pod(
            "db",
            made,
            &json!({"conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": AFTER}]}),
        );
        evidence.pods[1]["metadata"]["labels"] = json!({"controller-revision-hash": "db-1"});
        evidence
    };
    assert_eq!(judged(&unready("2026-01-01T11:56:00Z")), Verdict::Open);
    assert_eq!(judged(&unready("2026-01-01T11:53:00Z")), Verdict::Innocent(STUCK));
    let mut longer = unready("2026-01-01T11:53:00Z");
    longer.workload["spec"]["progressDeadlineSeconds"] = json!(1_800);
    assert_eq!(judged(&longer), Verdict::Open);
    let mut coming = unready("2026-01-01T11:53:00Z");
    coming.pods[0]["status"]["conditions"][0]["lastTransitionTime"] = json!(AFTER);
    assert_eq!(judged(&coming), Verdict::Open, "one after the other becomes ready");
}

fn left(evidence: &Evidence, edit: impl FnOnce(&mut WorkloadPlan)) -> Vec<String> {
    left_over_of(evidence, false, edit)
}

fn left_over_of(evidence: &Evidence, is_halted: bool, edit: impl FnOnce(&mut WorkloadPlan)) -> Vec<String> {
    let workload = read_workload(&evidence.workload, "shop").unwrap().unwrap();
    let snapshot = crate::index::Snapshot::default();
    let mut plan = crate::plan::plan_workload(&snapshot, &crate::index::Namespace::default(), &workload);
    plan.needs_write = false;
    edit(&mut plan);
    left_over(&workload, &plan, evidence, is_halted, now()).into_iter().map(|(name, _)| name).collect()
}

/// A StatefulSet whose template was taken back, with a pod of the template before that is in a loop.
fn taken_back() -> Evidence {
    let mut evidence = replaced("StatefulSet", "db-", &[ready()]);
    evidence.workload["spec"]["template"] = template("x", false);
    evidence.workload["status"]["updateRevision"] = json!("db-1");
    evidence.revisions[0]["revision"] = json!(3);
    evidence.pods[1]["metadata"]["name"] = json!("db-1");
    evidence.was_ours = true;
    evidence
}

#[test]
fn only_pods_that_the_settings_keep_from_running_are_left_over() {
    assert_eq!(left(&taken_back(), |plan| plan.refused = true), ["db-1"]);
    assert_eq!(left(&taken_back(), |plan| plan.needs_write = true), [""; 0], "what is meant is still to be written");
    assert_eq!(left_over_of(&taken_back(), true, |plan| plan.needs_write = true), ["db-1"], "and will not be");
    assert_eq!(left(&taken_back(), |plan| plan.pace.auto_revert = false), [""; 0], "nobody has asked for it");
    // A variable of the user's own that was bad, in a StatefulSet that the operator never had a hand in.
    assert_eq!(left(&Evidence { was_ours: false, ..taken_back() }, |_| ()), [""; 0]);
    assert_eq!(left(&taken_back(), |_| ()), ["db-1"], "it was withdrawn just now");
    let mut once = taken_back();
    once.pods[1]["status"]["containerStatuses"][0]["restartCount"] = json!(1);
    assert_eq!(left(&once, |plan| plan.refused = true), [""; 0]);
    let mut unready = taken_back();
    unready.pods[1]["status"] = json!({});
    assert_eq!(left(&unready, |plan| plan.refused = true), [""; 0], "not ready is not broken");
    // An injection under way: the old pods carry nothing of the operator's, whatever ails them.
    let mut injected = replaced("StatefulSet", "db-", &[waiting("CrashLoopBackOff", 9)]);
    injected.pods.truncate(1);
    assert_eq!(left(&injected, |_| ()), [""; 0]);
    let mut partition = taken_back();
    partition.workload["spec"]["updateStrategy"] = json!({"rollingUpdate": {"partition": 2}});
    assert_eq!(left(&partition, |plan| plan.refused = true), [""; 0], "it would come back as it was");
}

#[test]
fn everything_that_the_operator_sets_is_left_out_of_the_comparison() {
    let mut evidence = broken();
    let mut new = template("x", true);
    new["metadata"]["annotations"] = json!({RESTARTED_FOR_ANNOTATION: "abc"});
    new["spec"]["initContainers"] = json!([{"name": "tracesteward-python", "image": "agent"}]);
    new["spec"]["volumes"] = json!([{"name": AGENT_VOLUME, "emptyDir": {}}]);
    new["spec"]["containers"][0]["volumeMounts"] = json!([{"name": AGENT_VOLUME, "mountPath": "/x"}]);
    evidence.workload["spec"]["template"] = new.clone();
    evidence.revisions[1] = replica_set(2, &new, 0);
    assert!(matches!(judged(&evidence), Verdict::Guilty(_)));
    let mut theirs = new.clone();
    theirs["spec"]["volumes"].as_array_mut().unwrap().push(json!({"name": "data", "emptyDir": {}}));
    evidence.workload["spec"]["template"] = theirs.clone();
    evidence.revisions[1] = replica_set(2, &theirs, 0);
    assert!(is_innocent(&evidence), "a volume of the user's");
}
