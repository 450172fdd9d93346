//! What holds for every policy and every workload.

use proptest::prelude::*;
use serde_json::{Value, json};
use tracesteward::index::{Change, Dirty, ENV_NAMES, Policy, SecretId, SecretState, Source, Watched, WorkloadKind};
use tracesteward::plan::{apply_patch, plan, plan_workload, read_policy};

use super::common::{
    NAMESPACE, Tracked, applied, cluster_policy_from, managed, plan_of, policy, policy_at, policy_object, read,
    workload_object,
};

fn kind() -> impl Strategy<Value = WorkloadKind> {
    prop::sample::select(WorkloadKind::ALL.to_vec())
}

fn target() -> impl Strategy<Value = Value> {
    let name = prop::sample::select(vec!["web", "api", "db"]);
    (kind(), prop_oneof![Just(Value::Null), name.prop_map(Value::from)], any::<bool>()).prop_map(|(kind, name, by_label)| {
        let selector = (by_label && name.is_null()).then(|| json!({"matchLabels": {"app": "web"}}));
        json!({"kind": kind.as_str(), "name": name, "selector": selector, "serviceName": by_label.then_some("shared")})
    })
}

/// A specification, mostly valid.
fn spec() -> impl Strategy<Value = Value> {
    let endpoint = prop::sample::select(vec![
        json!({"endpoint": "http://otel:4317", "headersSecretRef": {"name": "h"}}),
        json!({"endpoint": "http://otel:4318/$(X)", "timeout": "1500ms", "compression": "gzip"}),
        json!({"endpoint": "http://otel:4317"}),
        json!({"collectorRef": {"name": "gateway"}}),
        json!({"inherit": true}),
        json!({}),
    ]);
    let limits = prop::sample::select(vec![json!(null), json!({"queueSize": 600}), json!({"batchSize": 1000})]);
    let sampling =
        prop::sample::select(vec![json!(null), json!({"ratio": 0.1}), json!({"profile": "low"}), json!({"ratio": 7})]);
    let service = prop::sample::select(vec![
        json!(null),
        json!({"name": "yes", "version": "1.0"}),
        json!({"attributes": {"a b": "c,d=$(E)", "ü": "\n"}}),
    ]);
    let language = prop::sample::select(
        ["", "python", "java", "nodejs", "dotnet"]
            .map(|name| if name.is_empty() { json!(null) } else { json!(name) })
            .to_vec(),
    );
    let instrumentation = prop::sample::select(vec![json!(null), json!({}), json!({"image": "registry/agent:2"})]);
    let mode = prop::sample::select(vec![json!(null), json!({"mode": "Workload"}), json!({"mode": "None"})]);
    let rest = (prop::collection::vec(target(), 0..3), 0..3_i32, prop::bool::weighted(0.9), limits, instrumentation);
    (endpoint, sampling, service, language, mode, rest).prop_map(
        |(export, sampling, service, language, injection, (targets, priority, enabled, limits, instrumentation))| {
            json!({
                "enabled": enabled, "priority": priority, "targets": targets, "export": export, "sampling": sampling,
                "service": service, "language": language, "injection": injection, "logs": {"correlation": true}, "limits": limits,
                "instrumentation": instrumentation,
            })
        },
    )
}

/// The specification of a ClusterTracingPolicy, mostly valid.
fn cluster_spec() -> impl Strategy<Value = Value> {
    let labels = prop::sample::select(vec![
        json!(null),
        json!({"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}}),
        json!({"matchLabels": {"team": "x"}}),
    ]);
    let block = || {
        (prop::bool::weighted(0.7), prop::option::of(any::<bool>()), spec()).prop_map(|(is, enabled, mut block)| {
            let fields = block.as_object_mut().unwrap();
            fields.remove("targets");
            fields.remove("priority");
            fields.insert("enabled".into(), json!(enabled));
            if fields["service"]["name"].is_string() {
                fields.remove("service");
            }
            if is { block } else { json!(null) }
        })
    };
    let hosts = prop::sample::select(vec![json!(null), json!(null), json!(["otel"]), json!(["*.example.com"])]);
    (labels, prop::collection::vec(target(), 0..2), 0..2_i32, block(), block(), hosts).prop_map(
        |(namespaces, targets, priority, defaults, mut overrides, hosts)| {
            if overrides.is_object() {
                overrides["allowedEndpointHosts"] = hosts;
            }
            json!({"namespaceSelector": namespaces, "targets": targets, "priority": priority,
                "defaults": defaults, "overrides": overrides})
        },
    )
}

/// Of both kinds.
fn policies() -> impl Strategy<Value = Vec<Policy>> {
    let teams = prop::collection::vec(spec(), 0..4);
    let above = prop::collection::vec(cluster_spec(), 0..3);
    (teams, above).prop_map(|(teams, above)| {
        let name = |index| format!("p{index}");
        let teams = teams.iter().enumerate();
        let teams =
            teams.map(|(index, spec)| read_policy(&policy_object(&name(index), spec, NAMESPACE, None), NAMESPACE));
        let above = above.iter().enumerate().map(|(index, spec)| cluster_policy_from(&name(index), spec));
        teams.chain(above).collect()
    })
}

/// Users' variables: of ours, and of others.
fn env() -> impl Strategy<Value = Value> {
    let names: Vec<_> =
        ENV_NAMES.into_iter().chain(["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "PATH", "LOG_LEVEL"]).collect();
    prop::sample::subsequence(names, 0..4)
        .prop_map(|names| names.iter().map(|name| json!({"name": name, "value": "mine"})).collect())
}

/// A workload as its user applied it.
fn workload() -> impl Strategy<Value = Value> {
    let name = prop::sample::select(vec!["web", "api", "db"]);
    let label = prop::sample::select(vec![
        json!({}),
        json!({"app": "web"}),
        json!({"app": "web", "app.kubernetes.io/version": "1"}),
    ]);
    let containers = prop::collection::vec(env(), 1..4);
    // Of the user's own, now and then under the operator's names.
    let parts = prop::sample::select(vec![
        json!({}),
        json!({}),
        json!({"initContainers": [{"name": "migrate", "image": "m"}], "volumes": [{"name": "data", "emptyDir": {}}]}),
        json!({"initContainers": [{"name": "tracesteward-java", "image": "m"}]}),
        json!({"volumes": [{"name": "tracesteward-instrumentation", "emptyDir": {}}]}),
        json!({"os": {"name": "windows"}}),
        json!({"securityContext": {"runAsUser": 1000}}),
    ]);
    (kind(), name, label, containers, parts).prop_map(|(kind, name, labels, containers, parts)| {
        let names = ["app", "worker", "istio-proxy"];
        let containers: Vec<_> = containers
            .into_iter()
            .zip(names)
            .map(|(env, name)| {
                let mut container = json!({"name": name, "image": "i", "args": ["a"], "tty": true});
                if env != json!([]) {
                    container["env"] = env;
                }
                container
            })
            .collect();
        let mut template = json!({"metadata": {"labels": labels}, "spec": {"containers": containers}});
        template["spec"].as_object_mut().unwrap().extend(parts.as_object().unwrap().clone());
        let mut object = workload_object(kind.api_version(), kind.as_str(), name, &template);
        let all: Vec<(String, Vec<String>)> = containers
            .iter()
            .map(|container| {
                let env = container["env"].as_array().into_iter().flatten();
                (
                    container["name"].as_str().unwrap().to_owned(),
                    env.map(|entry| entry["name"].as_str().unwrap().to_owned()).collect(),
                )
            })
            .collect();
        let mut entries = Vec::new();
        for (container, names) in &all {
            let names: Vec<_> = names.iter().map(String::as_str).collect();
            let entry = managed(kind.as_str(), &[("kubectl", "Update", container, &names)]);
            entries.extend(entry.as_array().unwrap().clone());
        }
        object["metadata"]["managedFields"] = entries.into();
        object
    })
}

/// Without what the API server keeps for itself.
fn bare(object: &Value) -> Value {
    let mut object = object.clone();
    object["metadata"].as_object_mut().unwrap().remove("managedFields");
    object
}

/// Names of all variables in a patch.
fn names(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for entry in fields.get("env").and_then(Value::as_array).into_iter().flatten() {
                found.push(entry["name"].as_str().unwrap().to_owned());
            }
            fields.values().for_each(|value| names(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| names(item, found)),
        _ => {}
    }
}

/// Every object once, as changes.
fn changes(policies: &[Policy], workloads: &[Value]) -> Vec<Change> {
    let policies = policies.iter().map(|policy| Change::Policy(policy.clone(), None));
    let workloads = workloads.iter().map(|object| Change::Workload(read(object), None));
    let secret = SecretId { namespace: NAMESPACE.to_owned(), name: "h".to_owned() };
    policies.chain(workloads).chain([Change::Secret(secret, SecretState::NotFound)]).collect()
}

proptest! {
    #[test]
    fn applying_what_is_planned_leaves_nothing_to_write(policies in policies(), object in workload()) {
        let first = plan_of(policies.clone(), &object);
        if first.needs_write {
            let after = applied(&object, first.intent());
            let second = plan_of(policies, &after);
            prop_assert!(!second.needs_write, "{first:#?}\n{second:#?}");
            prop_assert_eq!(first.containers, second.containers);
        }
    }

    #[test]
    fn withdrawing_gives_back_what_the_user_applied(policies in policies(), object in workload()) {
        let injected = applied(&object, plan_of(policies, &object).intent());
        let withdrawal = plan_of(vec![], &injected);
        let after = applied(&injected, withdrawal.intent());
        prop_assert_eq!(bare(&after), bare(&object));
        prop_assert!(!plan_of(vec![], &after).needs_write);
    }

    #[test]
    fn from_one_policy_to_another_is_the_same_as_from_none(one in policies(), other in policies(), object in workload()) {
        // What is not valid now leaves in place what was there.
        let mut other = other;
        other.retain(|policy| policy.is_valid() && policy.collector().is_none());
        let through = applied(&object, plan_of(one, &object).intent());
        let held = plan_of(other.clone(), &through);
        prop_assume!(!matches!(held.decision, tracesteward::plan::Decision::Hold(_)));
        let direct = applied(&object, plan_of(other.clone(), &object).intent());
        let through = applied(&through, held.intent());
        let sorted = |object: &Value| {
            let workload = read(object);
            let containers = workload.containers.into_iter().map(|mut container| {
                container.env.sort_by_key(|variable| variable.name);
                container
            });
            (containers.collect::<Vec<_>>(), workload.pod)
        };
        prop_assert_eq!(sorted(&through), sorted(&direct));
    }

    #[test]
    fn only_known_names_are_ever_written(policies in policies(), object in workload()) {
        let planned = plan_of(policies, &object);
        let patch = apply_patch(&read(&object), planned.rendered());
        let mut found = Vec::new();
        names(&patch, &mut found);
        for name in &found {
            prop_assert!(ENV_NAMES.contains(&name.as_str()), "{}", name);
        }
        // Nor one that the user has.
        let users = object.to_string();
        for container in planned.rendered() {
            prop_assert!(container.variables.iter().all(|variable| !container.withheld.contains(&variable.name)));
        }
        prop_assert_eq!(users, object.to_string());
    }

    #[test]
    fn the_order_of_events_does_not_matter(
        policies in policies(),
        workloads in prop::collection::vec(workload(), 0..4),
        seed in prop::collection::vec(any::<prop::sample::Index>(), 12),
    ) {
        let workloads: std::collections::BTreeMap<_, _> = workloads.into_iter().map(|object| (read(&object).id, object)).collect();
        let workloads: Vec<_> = workloads.into_values().collect();
        let ordered = changes(&policies, &workloads);
        let mut shuffled = ordered.clone();
        for (position, index) in seed.iter().enumerate().take(shuffled.len()) {
            let other = index.index(shuffled.len());
            shuffled.swap(position, other);
        }
        // An event that comes again changes nothing.
        shuffled.extend(shuffled.first().cloned());
        let result = |changes: Vec<Change>| {
            let mut index = Tracked::new(None, []);
            for change in changes {
                index.update(change);
            }
            let (plan, findings) = plan(index.snapshot());
            (plan.workloads, plan.policies, findings)
        };
        prop_assert_eq!(result(ordered), result(shuffled));
    }

    #[test]
    fn a_policy_of_another_namespace_changes_nothing(policies in policies(), other in spec(), object in workload()) {
        let before = plan_of(policies.clone(), &object);
        let mut more = policies;
        more.push(read_policy(&policy_object("p0", &other, "elsewhere", None), NAMESPACE));
        prop_assert_eq!(before, plan_of(more, &object));
    }

    #[test]
    fn a_policy_that_selects_nothing_here_changes_nothing(policies in policies(), mut other in spec(), object in workload()) {
        let before = plan_of(policies.clone(), &object);
        let mut more = policies;
        other["targets"] = json!([{"kind": "Deployment", "name": "nobody"}, {"kind": "CronJob", "selector": {"matchLabels": {"no": "body"}}}]);
        more.push(read_policy(&policy_object("a", &other, NAMESPACE, None), NAMESPACE));
        let elsewhere = json!({"namespaceSelector": {"matchLabels": {"no": "body"}}, "defaults": {"propagators": ["b3"]}, "overrides": {"enabled": false}});
        more.push(cluster_policy_from("a", &elsewhere));
        prop_assert_eq!(before, plan_of(more, &object));
    }

    #[test]
    fn what_is_kept_up_to_date_is_what_is_made_anew(
        one in policies(),
        other in policies(),
        workloads in prop::collection::vec(workload(), 0..4),
        later in prop::collection::vec(workload(), 0..3),
        gone in prop::collection::vec(any::<prop::sample::Index>(), 3),
    ) {
        let mut tracked = Tracked::new(None, []);
        for change in changes(&one, &workloads).into_iter().chain(changes(&other, &later)) {
            tracked.update(change);
        }
        let labels = std::collections::BTreeMap::from([("team".to_owned(), "x".to_owned())]);
        tracked.update(Change::Namespace(NAMESPACE.into(), labels.into()));
        for index in gone {
            let ids: Vec<_> = tracked.snapshot().policies().map(|policy| policy.id.clone()).collect();
            if !ids.is_empty() {
                tracked.update(Change::PolicyGone(index.get(&ids).clone()));
            }
            let ids: Vec<_> = tracked.snapshot().namespaces.values().flat_map(|known| known.workloads.keys()).cloned().collect();
            if ids.len() > 1 {
                tracked.update(Change::WorkloadGone(index.get(&ids).clone()));
            }
        }
        let (anew, _) = plan(tracked.snapshot());
        for policy in tracked.snapshot().policies() {
            let report = tracked.planner.report(tracked.snapshot(), policy);
            prop_assert_eq!(&report.status, &anew.policies[&policy.id], "{}", policy.id);
        }
    }

    #[test]
    fn the_index_names_every_workload_whose_plan_changes(
        policies in policies(),
        workloads in prop::collection::vec(workload(), 1..4),
        changed in spec(),
        above in cluster_spec(),
    ) {
        let mut index = Tracked::new(None, []);
        for change in changes(&policies, &workloads) {
            index.update(change);
        }
        let (before, _) = plan(index.snapshot());
        let changed = read_policy(&policy_object("p0", &changed, NAMESPACE, None), NAMESPACE);
        let mut before = before;
        for change in [changed, cluster_policy_from("p0", &above)] {
            let dirty = index.update(Change::Policy(change, None));
            let (after, _) = plan(index.snapshot());
            for (id, planned) in &after.workloads {
                prop_assert!(before.workloads.get(id) == Some(planned) || dirty.workloads.contains(id), "{}", id);
            }
            for (id, status) in &after.policies {
                prop_assert!(before.policies.get(id) == Some(status) || dirty.policies.contains(id), "{}", id);
            }
            before = after;
        }
    }
}

const SPEC: &str = "{enabled: true, export: {endpoint: \"http://c:4317\"}}";

#[test]
fn events_from_before_an_own_write_are_ignored() {
    let object = super::common::plain();
    let mut index = Tracked::new(None, []);
    index.update(Change::Policy(policy("p", SPEC), Some(1)));
    let dirty = index.update(Change::Workload(read(&object), Some(5)));
    assert_eq!(dirty.workloads.len(), 1);
    let needs_write = |index: &Tracked| {
        let namespace = &index.snapshot().namespaces[NAMESPACE];
        plan_workload(index.snapshot(), namespace, namespace.workloads.values().next().unwrap()).needs_write
    };
    assert!(needs_write(&index));
    let planned = plan_of(vec![policy("p", SPEC)], &object);
    let written = applied(&object, planned.intent());
    index.update(Change::Written(read(&written), Some(9)));
    assert!(!needs_write(&index));
    // What was on its way when we wrote.
    for version in [5, 6, 8] {
        assert_eq!(index.update(Change::Workload(read(&object), Some(version))), tracesteward::index::Dirty::default());
        assert!(!needs_write(&index), "{version}");
    }
    // Our own event; from then on the world counts again.
    index.update(Change::Workload(read(&written), Some(9)));
    let dirty = index.update(Change::Workload(read(&object), Some(10)));
    assert_eq!(dirty.workloads.len(), 1);
    assert!(needs_write(&index), "somebody took it out");
}

#[test]
fn the_answer_to_a_write_brings_nothing_back() {
    let object = super::common::plain();
    let written = applied(&object, plan_of(vec![policy("p", SPEC)], &object).intent());
    let mut index = Tracked::new(None, []);
    let nothing = tracesteward::index::Dirty::default();
    index.update(Change::Workload(read(&object), Some(5)));
    index.update(Change::WorkloadGone(read(&object).id));
    assert_eq!(index.update(Change::Written(read(&written), Some(9))), nothing);
    // Of a namespace that holds nothing any more, nothing is kept.
    assert!(!index.snapshot().namespaces.contains_key(NAMESPACE), "it was deleted");
    index.update(Change::Workload(read(&object), Some(11)));
    assert_eq!(index.update(Change::Written(read(&written), Some(10))), nothing, "somebody changed it since");

    let (before, after) = (policy("p", SPEC), policy("p", "{enabled: false}"));
    index.update(Change::Policy(before.clone(), Some(5)));
    index.update(Change::Policy(after.clone(), Some(11)));
    assert_eq!(index.update(Change::PolicyWritten(before.clone(), Some(10))), nothing);
    assert_eq!(index.snapshot().namespaces[NAMESPACE].policies["p"], after, "an edit is not lost");
    index.update(Change::PolicyGone(after.id));
    assert_eq!(index.update(Change::PolicyWritten(before, Some(12))), nothing);
    assert!(index.snapshot().namespaces[NAMESPACE].policies.is_empty(), "the workload is still there");
}

#[test]
fn a_fault_stays_until_a_write_goes_through() {
    let object = super::common::plain();
    let mut other = object.clone();
    other["spec"]["template"]["metadata"]["labels"] = json!({"a": "b"});
    let mut index = Tracked::new(None, []);
    index.update(Change::Policy(policy("p", SPEC), Some(1)));
    index.update(Change::Workload(read(&object), Some(2)));
    let id = read(&object).id;
    let fault = tracesteward::index::Fault { reason: "Refused".into(), message: "no".into() };
    index.update(Change::Failed(id.clone(), fault));
    index.update(Change::Workload(read(&other), Some(3)));
    assert!(index.snapshot().namespaces[NAMESPACE].faults.contains_key(&id), "a label says nothing about the write");
    index.update(Change::Written(read(&other), Some(4)));
    assert!(index.snapshot().namespaces[NAMESPACE].faults.is_empty());
}

#[test]
fn a_newer_event_ends_the_wait_for_our_own() {
    let object = super::common::plain();
    let written = applied(&object, plan_of(vec![policy("p", SPEC)], &object).intent());
    let mut index = Tracked::new(None, []);
    index.update(Change::Written(read(&written), Some(9)));
    assert_eq!(index.update(Change::Workload(read(&object), Some(12))).workloads.len(), 1);
    assert_eq!(index.update(Change::Workload(read(&written), Some(13))).workloads.len(), 1);
    // Made anew under the same name: nothing is awaited any more.
    index.update(Change::Written(read(&written), Some(20)));
    index.update(Change::WorkloadGone(read(&written).id));
    assert_eq!(index.update(Change::Workload(read(&object), Some(2))).workloads.len(), 1);
}

#[test]
fn nothing_is_planned_before_every_source_was_heard_of() {
    let policies = Source { watched: Watched::Policies, namespace: None };
    let workloads = Source { watched: Watched::Workloads(WorkloadKind::Deployment), namespace: None };
    let mut index = Tracked::new(None, [policies.clone(), workloads.clone()]);
    let written = applied(&super::common::plain(), plan_of(vec![policy("p", SPEC)], &super::common::plain()).intent());
    let dirty = index.update(Change::Workloads(workloads, vec![(read(&written), None)]));
    assert!(dirty.workloads.is_empty() && !index.is_synced(), "without the policies this would be withdrawn");
    assert_eq!(index.everything(), Dirty::default(), "nor where a Lease is won meanwhile");
    let dirty = index.update(Change::Policies(policies, vec![(policy("p", SPEC), None)]));
    assert!(index.is_synced());
    assert_eq!((dirty.workloads.len(), dirty.policies.len()), (1, 1));
    assert_eq!(index.everything(), Dirty { checks: std::collections::BTreeSet::default(), ..dirty });
    let (planned, _) = plan(index.snapshot());
    assert!(planned.workloads.values().all(|planned| !planned.needs_write));
}

#[test]
fn what_a_list_leaves_out_is_gone() {
    let mut index = Tracked::new(None, []);
    let elsewhere = policy_at("q", SPEC, "elsewhere", None);
    index.update(Change::Policy(policy("p", SPEC), None));
    index.update(Change::Policy(elsewhere, None));
    index.update(Change::Workload(read(&super::common::plain()), None));
    let dirty = index
        .update(Change::Policies(Source { watched: Watched::Policies, namespace: Some(NAMESPACE.to_owned()) }, vec![]));
    assert_eq!(dirty.workloads.len(), 1);
    assert!(index.snapshot().namespaces[NAMESPACE].policies.is_empty());
    assert_eq!(index.snapshot().namespaces["elsewhere"].policies.len(), 1);
}
