//! Which policy decides about a workload, and what it decides.

use super::common::{NAMESPACE, deployment, plain, plan_of, policy, policy_at, snapshot};
use tracesteward::index::Policy;
use tracesteward::plan::{Decision, HoldReason, Unresolved, plan, plan_workload};

const EXPORT: &str = "export: {endpoint: \"http://c:4317\"}";

fn enabled(name: &str, settings: &str) -> Policy {
    policy(name, &format!("{{enabled: true, {EXPORT}, {settings}}}"))
}

fn created(name: &str, time: Option<&str>, settings: &str) -> Policy {
    policy_at(name, &format!("{{enabled: true, {EXPORT}, {settings}}}"), NAMESPACE, time)
}

/// The names of the policies that are about `web`, the winner first.
fn order(policies: Vec<Policy>) -> Vec<String> {
    let object = deployment("{labels: {app: web}}", "[{name: app}]");
    let plan = plan_of(policies, &object);
    plan.winner.into_iter().chain(plan.superseded).map(|id| id.name).collect()
}

#[test]
fn the_more_precise_wins() {
    let by_name = "targets: [{kind: Deployment, name: web}]";
    let by_selector = "targets: [{kind: Deployment, selector: {matchLabels: {app: web}}}]";
    let by_kind = "targets: [{kind: Deployment}]";
    // Whatever the priority and the names say.
    let all = vec![
        enabled("a-whole", "priority: 100"),
        enabled("b-selector", &format!("priority: 10, {by_selector}")),
        enabled("c-name", by_name),
        enabled("d-kind", &format!("priority: 101, {by_kind}")),
        enabled("e-other", "targets: [{kind: Deployment, name: api}]"),
        enabled("f-other", "targets: [{kind: StatefulSet}]"),
    ];
    assert_eq!(
        order(all),
        ["c-name", "b-selector", "d-kind", "a-whole"],
        "a kind alone is as precise as the namespace"
    );
    // The most precise of a policy's targets counts.
    let both =
        format!("targets: [{{kind: Deployment}}, {}]", by_name.trim_start_matches("targets: [").trim_end_matches(']'));
    assert_eq!(order(vec![enabled("a", by_selector), enabled("b", &both)]), ["b", "a"]);
}

#[test]
fn then_priority_then_age_then_name() {
    let (old, new) = (Some("2024-01-01T00:00:00Z"), Some("2025-01-01T00:00:00Z"));
    assert_eq!(order(vec![created("a", old, ""), created("b", new, "priority: 1")]), ["b", "a"]);
    assert_eq!(order(vec![created("a", old, "priority: -1"), created("b", new, "")]), ["b", "a"]);
    assert_eq!(order(vec![created("a", new, ""), created("b", old, "")]), ["b", "a"]);
    assert_eq!(order(vec![created("b", old, ""), created("a", old, "")]), ["a", "b"]);
    assert_eq!(
        order(vec![created("a", None, ""), created("b", new, "")]),
        ["b", "a"],
        "what is in a file only is younger"
    );
}

#[test]
fn decisions() {
    let decision = |policies| plan_of(policies, &plain()).decision;
    assert_eq!(decision(vec![]), Decision::Withdraw);
    assert_eq!(decision(vec![enabled("p", "")]), Decision::Inject);
    assert_eq!(decision(vec![policy("p", "{enabled: false}")]), Decision::Withdraw);
    assert_eq!(decision(vec![enabled("p", "injection: {mode: None}")]), Decision::Manual);
    assert_eq!(decision(vec![enabled("p", "injection: {mode: Pod}")]), Decision::AtPods);
    assert_eq!(decision(vec![enabled("p", "injection: {mode: Workload}")]), Decision::Inject);
    let hold = |reason| Decision::Hold(HoldReason::Unresolved(reason));
    let collector = policy("p", "{enabled: true, export: {collectorRef: {name: gateway}}}");
    assert_eq!(decision(vec![collector]), hold(Unresolved::CollectorNotFound));
    let inherit = policy("p", "{enabled: true, export: {inherit: true}}");
    assert_eq!(decision(vec![inherit]), hold(Unresolved::NothingToInherit));
    assert_eq!(decision(vec![policy("p", "{enabled: true}")]), Decision::Hold(HoldReason::Invalid));
}

#[test]
fn only_what_is_written_needs_a_write() {
    let plan_in = |mode: &str| plan_of(vec![enabled("p", &format!("injection: {{mode: {mode}}}"))], &plain());
    assert!(plan_in("Workload").needs_write);
    for mode in ["None", "Pod"] {
        let plan = plan_in(mode);
        assert!(!plan.needs_write && plan.intent().is_empty(), "{mode}");
        assert!(plan.rendered().iter().any(|container| !container.variables.is_empty()), "{mode}: render shows them");
    }
}

#[test]
fn an_invalid_policy_holds_its_workloads_and_no_others() {
    // Also where a valid one is behind it: what it asked for must not be replaced in passing.
    let invalid = policy("p", "{enabled: true, targets: [{kind: Deployment, name: web}]}");
    let plan = plan_of(vec![invalid.clone(), enabled("whole", "")], &plain());
    assert_eq!((plan.decision, plan.needs_write), (Decision::Hold(HoldReason::Invalid), false));
    let api = super::common::workload_object(
        "apps/v1",
        "Deployment",
        "api",
        &serde_json::json!({"spec": {"containers": [{"name": "app"}]}}),
    );
    assert_eq!(plan_of(vec![invalid, enabled("whole", "")], &api).decision, Decision::Inject);
    // Where not even the targets can be read, it may mean anything; it is the weakest.
    let unreadable = policy("a", "{enabled: maybe, targets: 7}");
    assert_eq!(plan_of(vec![unreadable.clone()], &plain()).decision, Decision::Hold(HoldReason::Invalid));
    assert_eq!(plan_of(vec![unreadable, enabled("whole", "")], &plain()).decision, Decision::Inject);
}

#[test]
fn excluded_namespaces_are_never_touched() {
    for (namespace, own) in
        [("kube-system", None), ("kube-public", None), ("tracesteward-system", Some("tracesteward-system"))]
    {
        let mut object = plain();
        object["metadata"]["namespace"] = namespace.into();
        let policy = policy_at("p", &format!("{{enabled: true, {EXPORT}}}"), namespace, None);
        let mut snapshot = snapshot(vec![policy], &[object]);
        snapshot.own_namespace = own.map(str::to_owned);
        let there = &snapshot.namespaces[namespace];
        let planned = plan_workload(&snapshot, there, there.workloads.values().next().unwrap());
        assert_eq!((planned.decision, planned.needs_write), (Decision::Excluded, false), "{namespace}");
    }
}

#[test]
fn findings_do_not_stop_the_others() {
    let (made, findings) = plan(&snapshot(
        vec![policy("bad", "{enabled: true, targets: [{kind: CronJob}]}"), enabled("good", "")],
        &[plain()],
    ));
    assert!(made.workloads.values().all(|planned| planned.decision == Decision::Inject));
    assert_eq!(made.policies.len(), 2);
    let codes: Vec<_> = findings.iter().map(|finding| finding.code.as_str()).collect();
    assert_eq!(codes, ["TRC0101", "TRC0203"]);
}
