//! What a change would do: computed from two snapshots, and compared with what the plan then says.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tracesteward::index::{Policy, Snapshot, WorkloadId, WorkloadKind};
use tracesteward::plan::difference::{Difference, Known, Rollout, difference};
use tracesteward::plan::explain::Verdict;
use tracesteward::plan::{plan_workload, read_collector};

use super::common::{NAMESPACE, applied, plain, policy, snapshot, workload_object};

fn traced(settings: &str) -> Policy {
    policy("p", &format!("{{enabled: true, export: {{endpoint: \"http://c:4317\"}}, {settings}}}"))
}

fn web() -> WorkloadId {
    WorkloadId { namespace: NAMESPACE.to_owned(), kind: WorkloadKind::Deployment, name: "web".to_owned() }
}

/// As the operator leaves it.
fn settled(policies: Vec<Policy>, object: &Value) -> Snapshot {
    let before = snapshot(policies.clone(), std::slice::from_ref(object));
    let home = &before.namespaces[NAMESPACE];
    let planned = plan_workload(&before, home, &home.workloads[&web()]);
    snapshot(policies, &[applied(object, planned.intent())])
}

fn with(snapshot: &Snapshot, policy: Policy) -> Snapshot {
    let mut after = snapshot.clone();
    after.namespaces.get_mut(NAMESPACE).unwrap().policies.insert(policy.id.name.clone(), policy);
    after
}

fn changes(difference: &Difference) -> Vec<String> {
    let changes = difference.workloads.iter().flat_map(|workload| &workload.variables);
    changes
        .map(|change| {
            let sign = match (&change.before, &change.after) {
                (None, _) => '+',
                (_, None) => '-',
                _ => '~',
            };
            format!("{sign}{}/{}", change.container, change.name)
        })
        .collect()
}

#[test]
fn only_what_changes_is_listed() {
    let before = settled(vec![traced("sampling: {ratio: 0.5}, limits: {spanEvents: 7}")], &plain());
    let same = difference(&before, &before, &Known::default());
    assert!(same.is_empty(), "{same:?}");
    let after = with(&before, traced("sampling: {ratio: 0.25}, limits: {spanAttributes: 7}"));
    let found = difference(&before, &after, &Known::default());
    let expected =
        ["~app/OTEL_TRACES_SAMPLER_ARG", "+app/OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "-app/OTEL_SPAN_EVENT_COUNT_LIMIT"];
    assert_eq!(changes(&found), expected);
    assert_eq!(found.counts(), (1, 3));
    assert!(found.policies.is_empty(), "the policy is as ready as before: {:?}", found.policies);
}

#[test]
fn withdrawing_removes_everything_and_holding_nothing() {
    let before = settled(vec![traced("")], &plain());
    let off = difference(&before, &with(&before, policy("p", "{enabled: false}")), &Known::default());
    assert!(!off.workloads[0].variables.is_empty() && changes(&off).iter().all(|change| change.starts_with('-')));
    assert_eq!((off.workloads[0].before, off.workloads[0].after), (Verdict::Traced, Verdict::Disabled));
    assert_eq!((off.policies[0].after.status.as_str(), off.policies[0].after.reason.as_str()), ("True", "Disabled"));
    let held = difference(&before, &with(&before, policy("p", "{enabled: true}")), &Known::default());
    assert!(held.workloads.is_empty(), "{held:?}");
    assert_eq!((held.policies[0].after.status.as_str(), held.counts()), ("False", (0, 0)));
}

#[test]
fn a_new_policy_is_ready_once_it_is_written() {
    let before = snapshot(vec![], &[plain()]);
    let found = difference(&before, &with(&before, traced("")), &Known::default());
    let policy = &found.policies[0];
    assert!(policy.before.is_none());
    assert_eq!((policy.after.reason.as_str(), policy.after.counts.injected), ("Ready", 1));
    assert!(changes(&found).iter().all(|change| change.starts_with('+')));
}

#[test]
fn what_does_not_roll_out_does_not_restart() {
    let of = |kind: &str, spec: Value| {
        let object = json!({"apiVersion": "apps/v1", "kind": kind, "spec": spec});
        let kind = WorkloadKind::ALL.into_iter().find(|known| known.as_str() == kind).unwrap();
        Rollout::of(kind, &object)
    };
    assert_eq!(of("Deployment", json!({})), Rollout::Restarts);
    assert_eq!(of("Deployment", json!({"replicas": 0})), Rollout::NoReplicas);
    assert_eq!(of("Deployment", json!({"paused": true})), Rollout::Paused);
    assert_eq!(of("StatefulSet", json!({"updateStrategy": {"type": "OnDelete"}})), Rollout::OnDelete);
    assert_eq!(of("DaemonSet", json!({"updateStrategy": {"type": "OnDelete"}})), Rollout::OnDelete);
    assert_eq!(of("DaemonSet", json!({"replicas": 0})), Rollout::Restarts);
    assert_eq!(of("CronJob", json!({})), Rollout::NextJob);
    let before = snapshot(vec![], &[plain()]);
    let known = |rollout| Known { rollouts: BTreeMap::from([(web(), rollout)]), templates: BTreeSet::new() };
    for rollout in [Rollout::NoReplicas, Rollout::Paused, Rollout::OnDelete, Rollout::NextJob] {
        let found = difference(&before, &with(&before, traced("")), &known(rollout));
        assert!(!found.workloads[0].restarts() && !changes(&found).is_empty());
    }
}

#[test]
fn workloads_that_are_new_or_change_by_themselves() {
    let before = snapshot(vec![traced("")], &[]);
    let after = snapshot(vec![traced("")], &[plain()]);
    let found = difference(&before, &after, &Known::default());
    assert!(found.workloads[0].is_new && !found.workloads[0].restarts());
    let before = settled(vec![], &plain());
    let known = Known { templates: BTreeSet::from([web()]), ..Known::default() };
    let found = difference(&before, &before, &known);
    assert_eq!(found.counts(), (1, 0));
}

#[test]
fn a_file_over_a_live_workload_keeps_what_the_operator_holds() {
    let before = settled(vec![traced("")], &plain());
    let mut applied = super::common::read(&plain());
    applied.succeed(before.workload(&web()).unwrap());
    let mut after = before.clone();
    after.namespaces.get_mut(NAMESPACE).unwrap().workloads.insert(web(), applied.into());
    assert!(difference(&before, &after, &Known::default()).is_empty());
    // A variable that the file declares is the user's from then on.
    let own = super::common::deployment("{}", "[{name: app, env: [{name: OTEL_PROPAGATORS, value: b3}]}]");
    let mut applied = super::common::read(&own);
    applied.succeed(before.workload(&web()).unwrap());
    after.namespaces.get_mut(NAMESPACE).unwrap().workloads.insert(web(), applied.into());
    assert_eq!(changes(&difference(&before, &after, &Known::default())), ["-app/OTEL_PROPAGATORS"]);
}

#[test]
fn collectors_change_with_their_policies() {
    let object = workload_object("apps/v1", "Deployment", "web", &json!({"spec": {"containers": [{"name": "app"}]}}));
    let exporting = |tail: &str| {
        policy(
            "p",
            &format!("{{enabled: true, export: {{collectorRef: {{name: g}}}}, sampling: {{tail: {{{tail}}}}}}}"),
        )
    };
    let gateway = |replicas: i32| {
        read_collector(
            &json!({"apiVersion": "tracesteward.io/v1alpha1", "kind": "TracingCollector", "metadata": {"name": "g", "namespace": NAMESPACE},
            "spec": {"replicas": replicas, "backends": [{"name": "b", "endpoint": "http://b:4317"}]}}),
            NAMESPACE,
        )
    };
    let state = |policy: Policy, replicas: i32| {
        let mut seen = settled(vec![policy], &object);
        let made = gateway(replicas);
        seen.collectors.insert(made.id.clone(), made);
        seen
    };
    let before = state(exporting("ratio: 0.5"), 1);
    let found = difference(&before, &state(exporting("ratio: 0.25"), 1), &Known::default());
    let [collector] = found.collectors.as_slice() else { panic!("{found:?}") };
    assert!(collector.restarts && !collector.is_new && collector.configurations.len() == 1);
    assert!(collector.configurations[0].2.contains("25"), "{}", collector.configurations[0].2);
    let none = snapshot(vec![], &[]);
    assert!(difference(&none, &before, &Known::default()).collectors[0].is_new);
    let two = difference(&before, &state(exporting("ratio: 0.5"), 2), &Known::default());
    let made: Vec<_> = two.collectors[0].objects.iter().filter(|(_, change)| *change == "created").collect();
    assert!(!made.is_empty() && two.collectors[0].configurations.len() == 2, "{:?}", two.collectors[0]);
}
