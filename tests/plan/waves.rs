//! Waves: how many workloads of a policy replace their pods at one time, and in which order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};
use tracesteward::api::{REFUSED_ANNOTATION, REFUSED_BECAUSE_ANNOTATION};
use tracesteward::index::{Change, Dirty, Fault, PolicyId, WorkloadId, WorkloadKind};
use tracesteward::plan::{Decision, plan_workload};

use super::common::{NAMESPACE, Tracked, applied, managed_by, plan_of, policy, policy_at, read, workload_object};

const SPEC: &str = "{enabled: true, export: {endpoint: \"http://c:4317\"}, rollout: {maxConcurrent: 2}}";

fn id(name: &str) -> WorkloadId {
    WorkloadId { namespace: NAMESPACE.into(), kind: WorkloadKind::Deployment, name: name.into() }
}

/// A Deployment whose three pods run well.
fn healthy(name: &str) -> Value {
    let mut object = workload_object(
        "apps/v1",
        "Deployment",
        name,
        &json!({"spec": {"containers": [{"name": "app", "image": "x"}]}}),
    );
    object["metadata"]["generation"] = json!(1);
    object["spec"]["replicas"] = json!(3);
    settle(&mut object);
    object
}

/// Its controller has done all that there is to do.
fn settle(object: &mut Value) {
    let replicas = object["spec"]["replicas"].clone();
    object["status"] = json!({
        "observedGeneration": object["metadata"]["generation"],
        "replicas": replicas, "updatedReplicas": replicas, "availableReplicas": replicas,
    });
}

/// A cluster without a clock: workloads, an index, and who has been told to begin.
struct Cluster {
    tracked: Tracked,
    objects: BTreeMap<String, Value>,
    starts: BTreeSet<WorkloadId>,
    version: u64,
}

impl Cluster {
    fn new(spec: &str, objects: impl IntoIterator<Item = Value>) -> Self {
        let mut cluster =
            Self { tracked: Tracked::new(None, []), objects: BTreeMap::new(), starts: BTreeSet::new(), version: 1 };
        for object in objects {
            cluster.set(object);
        }
        cluster.policy(spec);
        cluster
    }

    fn change(&mut self, change: Change) {
        let dirty = self.tracked.update(change);
        self.starts.extend(dirty.starts);
    }

    fn policy(&mut self, spec: &str) {
        self.change(Change::Policy(policy("p", spec), None));
    }

    fn set(&mut self, object: Value) {
        self.version += 1;
        self.change(Change::Workload(read(&object), Some(self.version)));
        self.objects.insert(object["metadata"]["name"].as_str().unwrap().to_owned(), object);
    }

    fn edit(&mut self, name: &str, edit: impl FnOnce(&mut Value)) {
        let mut object = self.objects[name].clone();
        edit(&mut object);
        self.set(object);
    }

    /// Who may begin, in order.
    fn next(&self) -> Vec<&str> {
        self.starts.iter().map(|id| id.name.as_str()).collect()
    }

    /// Writes one of those that were told to begin, as the controller does; says whether it was allowed after all.
    fn write(&mut self, name: &str) -> bool {
        assert!(self.starts.remove(&id(name)), "{name} was not told to begin");
        self.begin(name) && {
            self.written(name);
            true
        }
    }

    fn begin(&mut self, name: &str) -> bool {
        let namespace = &self.tracked.snapshot().namespaces[NAMESPACE];
        let planned = plan_workload(self.tracked.snapshot(), namespace, &namespace.workloads[&id(name)]);
        let workload = Arc::clone(&namespace.workloads[&id(name)]);
        planned.needs_write && self.tracked.planner.begin(&workload)
    }

    fn written(&mut self, name: &str) {
        let namespace = &self.tracked.snapshot().namespaces[NAMESPACE];
        let planned = plan_workload(self.tracked.snapshot(), namespace, &namespace.workloads[&id(name)]);
        let mut after = applied(&self.objects[name], planned.intent());
        let generation = after["metadata"]["generation"].as_i64().unwrap_or_default();
        after["metadata"]["generation"] = json!(generation + 1);
        self.version += 1;
        self.change(Change::Written(read(&after), Some(self.version)));
        self.objects.insert(name.to_owned(), after);
        let (again, starts) = self.tracked.planner.end(&id(name), false);
        assert!(!again, "{name} is as it should be");
        self.starts.extend(starts);
    }

    /// Writes all that may be written, until there is nothing more.
    fn write_all(&mut self) -> Vec<String> {
        let mut written = Vec::new();
        while let Some(first) = self.starts.first().map(|id| id.name.clone()) {
            if self.write(&first) {
                written.push(first);
            }
        }
        written
    }

    fn complete(&mut self, name: &str) {
        self.edit(name, settle);
    }

    /// Another operator takes over: it knows what the objects say.
    fn takes_over(&mut self) {
        self.starts.clear();
        let dirty = self.tracked.anew();
        self.starts = dirty.starts;
    }

    /// Its pods do not run, and that is not the operator's doing.
    fn absolve(&mut self, name: &str) {
        let dirty = self.tracked.absolve(&id(name));
        self.starts.extend(dirty.starts);
    }

    fn under_way(&self) -> usize {
        let is = |object: &&Value| object["metadata"]["generation"] != object["status"]["observedGeneration"];
        self.objects.values().filter(is).count()
    }

    fn is_injected(&self, name: &str) -> bool {
        self.objects[name]["metadata"].get("managedFields").is_some_and(|entries| entries != &json!([]))
    }

    fn status(&self) -> tracesteward::api::TracingPolicyStatus {
        let id = PolicyId { namespace: NAMESPACE.into(), name: "p".into() };
        let policy = self.tracked.snapshot().policy(&id).unwrap();
        self.tracked.planner.report(self.tracked.snapshot(), policy).status
    }

    fn condition(&self, kind: &str) -> (String, String, String) {
        let conditions = self.status().conditions;
        let found = conditions.into_iter().find(|known| known.type_ == kind).unwrap();
        (found.status, found.reason, found.message)
    }

    fn attention(&self) -> Vec<(String, String)> {
        self.status().attention.into_iter().map(|entry| (entry.name, entry.reason)).collect()
    }
}

fn names() -> [&'static str; 5] {
    ["a", "b", "c", "d", "e"]
}

#[test]
fn the_next_begins_when_one_is_complete() {
    let mut cluster = Cluster::new(SPEC, names().map(healthy));
    assert_eq!(cluster.next(), ["a", "b"]);
    assert_eq!(cluster.write_all(), ["a", "b"]);
    assert_eq!(cluster.next(), [""; 0], "two are under way");
    let (status, reason, message) = cluster.condition("Programmed");
    assert_eq!((status.as_str(), reason.as_str()), ("Unknown", "Reconciling"));
    assert_eq!(message, "Workloads still to be written: 3. Workloads that are replacing their pods: 2.");
    cluster.edit("b", |object| object["status"]["observedGeneration"] = json!(2));
    assert_eq!(cluster.write_all(), ["c"], "b is complete");
    // Seen, and not all pods of it are there.
    cluster.edit("a", |object| {
        object["status"] =
            json!({"observedGeneration": 2, "replicas": 4, "updatedReplicas": 2, "availableReplicas": 3});
    });
    assert_eq!(cluster.next(), [""; 0]);
    cluster.complete("a");
    assert_eq!(cluster.write_all(), ["d"]);
    for name in ["c", "d", "e"] {
        cluster.complete(name);
        cluster.write_all();
    }
    cluster.complete("e");
    assert!(names().iter().all(|name| cluster.is_injected(name)));
    assert_eq!(cluster.condition("Ready").0, "True");
}

#[test]
fn another_operator_goes_on_where_the_wave_was() {
    let mut cluster = Cluster::new(SPEC, names().map(healthy));
    cluster.write("a");
    cluster.takes_over();
    assert_eq!(cluster.write_all(), ["b"], "a is under way");
    cluster.takes_over();
    assert_eq!(cluster.next(), [""; 0]);
    cluster.complete("a");
    assert_eq!(cluster.next(), ["c"]);
}

#[test]
fn what_replaces_no_pods_waits_for_nobody() {
    let scaled_to_zero = |name: &str| {
        let mut object = healthy(name);
        object["spec"]["replicas"] = json!(0);
        object
    };
    let mut cluster =
        Cluster::new(SPEC, ["a", "b", "c"].map(healthy).into_iter().chain(["x", "y", "z"].map(scaled_to_zero)));
    assert_eq!(cluster.write_all(), ["a", "b", "x", "y", "z"]);
}

#[test]
fn what_does_not_run_comes_last_and_what_is_paused_or_under_way_waits() {
    let with = |name: &str, edit: &dyn Fn(&mut Value)| {
        let mut object = healthy(name);
        edit(&mut object);
        object
    };
    let came = json!([{"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}]);
    let objects = [
        with("crashing", &|object| {
            object["status"]["availableReplicas"] = json!(1);
            object["status"]["conditions"] = came.clone();
        }),
        with("paused", &|object| object["spec"]["paused"] = json!(true)),
        with("rolling", &|object| object["status"]["updatedReplicas"] = json!(1)),
        with("starting", &|object| object["status"] = json!({})),
        healthy("well"),
    ];
    // One of two places is taken by the rollout of the user's own.
    let mut cluster = Cluster::new(SPEC, objects);
    assert_eq!(cluster.write_all(), ["well"]);
    let expected = [("crashing", "Unhealthy"), ("paused", "Paused"), ("rolling", "RolloutUnderWay")];
    assert_eq!(cluster.attention(), expected.map(|(name, reason)| (name.to_owned(), reason.to_owned())));
    cluster.complete("well");
    assert_eq!(cluster.write_all(), ["starting"]);
    cluster.complete("starting");
    assert_eq!(cluster.write_all(), ["crashing"]);
    cluster.edit("crashing", |object| object["status"]["observedGeneration"] = json!(2));
    assert_eq!(cluster.next(), [""; 0], "these wait, whoever is done");
    cluster.edit("paused", |object| object["spec"]["paused"] = json!(false));
    assert_eq!(cluster.write_all(), ["paused"]);
    cluster.complete("paused");
    cluster.complete("rolling");
    assert_eq!(cluster.write_all(), ["rolling"]);
}

#[test]
fn withdrawing_is_bounded_too_and_waits_for_no_health() {
    let mut cluster = Cluster::new(SPEC, names().map(healthy));
    for _ in 0..3 {
        cluster.write_all();
        for name in names() {
            cluster.complete(name);
        }
    }
    assert!(names().iter().all(|name| cluster.is_injected(name)));
    // Broken since, and being worked on: what is to blame has to go first.
    cluster.edit("e", |object| object["status"]["availableReplicas"] = json!(0));
    cluster.edit("d", |object| object["spec"]["paused"] = json!(true));
    cluster.policy(&SPEC.replace("enabled: true", "enabled: false"));
    assert_eq!(cluster.next(), ["a", "d", "e"], "d is paused, and replaces nothing");
    cluster.write_all();
    assert_eq!(cluster.under_way(), 3);
    // Without any policy the bound is that of the defaults, in each namespace.
    let mut cluster = Cluster::new(SPEC, (10..30).map(|number| healthy(&number.to_string())));
    while !cluster.write_all().is_empty() {
        (10..30).for_each(|number| cluster.complete(&number.to_string()));
    }
    cluster.change(Change::PolicyGone(PolicyId { namespace: NAMESPACE.into(), name: "p".into() }));
    assert_eq!(cluster.write_all().len(), 10);
    cluster.takes_over();
    assert_eq!(cluster.write_all().len(), 0, "it sees them under way");
}

#[test]
fn a_write_that_fails_lets_others_go_first_and_takes_no_place() {
    let spec = SPEC.replace("maxConcurrent: 2", "maxConcurrent: 1");
    let mut cluster = Cluster::new(&spec, ["a", "b"].map(healthy));
    cluster.starts.clear();
    assert!(cluster.begin("a"));
    cluster.change(Change::Failed(id("a"), Fault { reason: "Refused".into(), message: "no".into() }));
    let (again, starts) = cluster.tracked.planner.end(&id("a"), false);
    assert!(again);
    cluster.starts.extend(starts);
    assert_eq!(cluster.next(), ["b"]);
    cluster.write("b");
    // It is tried again by who has tried it, with back-off; there is no room, so it waits for that.
    assert!(!cluster.begin("a"));
    assert_eq!(cluster.next(), [""; 0]);
    cluster.complete("b");
    assert_eq!(cluster.write_all(), ["a"]);
}

fn refused(object: &mut Value, configuration: &str) {
    object["metadata"]["annotations"] = json!({REFUSED_ANNOTATION: configuration, REFUSED_BECAUSE_ANNOTATION: "boom"});
    let fields = json!({"f:metadata": {"f:annotations": {format!("f:{REFUSED_ANNOTATION}"): {}, format!("f:{REFUSED_BECAUSE_ANNOTATION}"): {}}}});
    object["metadata"]["managedFields"] = json!([managed_by("tracesteward", "Apply", &fields)]);
}

#[test]
fn what_was_taken_back_halts_the_wave_until_the_policy_changes() {
    let mut cluster = Cluster::new(SPEC, names().map(healthy));
    cluster.write_all();
    let namespace = &cluster.tracked.snapshot().namespaces[NAMESPACE];
    let configuration =
        tracesteward::plan::configuration(cluster.tracked.snapshot(), namespace, &namespace.workloads[&id("a")])
            .unwrap();
    cluster.edit("a", |object| {
        *object = healthy("a");
        refused(object, &configuration);
    });
    cluster.complete("b");
    assert_eq!(cluster.next(), [""; 0], "halted");
    cluster.takes_over();
    assert_eq!(cluster.next(), [""; 0], "halted, whoever looks");
    let (status, reason, message) = cluster.condition("Programmed");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "RolloutHalted"));
    assert!(message.contains("Deployment a") && message.contains("boom."), "{message}");
    assert_eq!(cluster.condition("Ready").0, "False");
    let counts = cluster.status().workloads.unwrap();
    assert_eq!((counts.injected, counts.reverted, counts.pending), (1, 1, 3));
    assert_eq!(cluster.attention()[0], ("a".to_owned(), "Reverted".to_owned()));
    // Withdrawing goes on.
    cluster.policy(&SPEC.replace("enabled: true", "enabled: false"));
    assert_eq!(cluster.next(), ["a", "b"]);
    cluster.starts.clear();
    // A changed policy is tried afresh, there too.
    cluster.policy(&SPEC.replace(":4317", ":4318"));
    assert_eq!(cluster.write_all(), ["a", "b"]);
    assert!(cluster.objects["a"]["metadata"]["managedFields"].to_string().contains("OTEL_SERVICE_NAME"));
}

#[test]
fn the_note_stays_as_long_as_it_is_true_and_goes_with_it() {
    let mut object = healthy("a");
    refused(&mut object, "x");
    let plan = plan_of(vec![policy("p", SPEC)], &object);
    assert!(plan.needs_write && !plan.refused, "it was about something else");
    let configuration = plan.configuration.unwrap();
    refused(&mut object, &configuration);
    let plan = plan_of(vec![policy("p", SPEC)], &object);
    assert!(plan.refused && !plan.needs_write && plan.intent().is_empty(), "{plan:#?}");
    assert_eq!(plan.intended(&read(&object))["metadata"]["annotations"][REFUSED_BECAUSE_ANNOTATION], "boom");
    // Without the policy nothing of the operator's stays.
    let plan = plan_of(vec![], &object);
    assert!(plan.needs_write);
    assert_eq!(plan.intended(&read(&object))["metadata"].get("annotations"), None);
    // What somebody else has written says nothing, and is left alone.
    object["metadata"].as_object_mut().unwrap().remove("managedFields");
    assert!(!plan_of(vec![policy("p", SPEC)], &object).refused);
    assert!(!plan_of(vec![], &object).needs_write);
}

#[test]
fn two_policies_have_two_waves() {
    let mut cluster = Cluster::new(SPEC, names().map(healthy));
    let other = format!(
        "{}, targets: [{{kind: Deployment, name: d}}, {{kind: Deployment, name: e}}]}}",
        SPEC.trim_end_matches('}').to_owned() + "}"
    );
    cluster.change(Change::Policy(policy_at("q", &other, NAMESPACE, None), None));
    assert_eq!(cluster.write_all(), ["a", "b", "d", "e"]);
}

#[test]
fn nobody_waits_for_whom_the_operator_cannot_help() {
    let spec = SPEC.replace("maxConcurrent: 2", "maxConcurrent: 1");
    let mut cluster = Cluster::new(&spec, ["a", "b"].map(healthy));
    cluster.write("a");
    assert_eq!(cluster.next(), [""; 0], "a is under way");
    assert!(cluster.tracked.planner.counts(&id("a")));
    assert_eq!(cluster.tracked.anew().holders, [id("a")].into(), "b waits for it");
    cluster.absolve("a");
    assert_eq!(cluster.write_all(), ["b"]);
    cluster.complete("b");
    // The user repairs it: that is another rollout, into which nothing is written.
    cluster.edit("a", |object| {
        object["metadata"]["generation"] = json!(3);
        object["status"] =
            json!({"observedGeneration": 3, "replicas": 3, "updatedReplicas": 1, "availableReplicas": 2});
    });
    cluster.policy(&spec.replace(":4317", ":4318"));
    assert_eq!(cluster.next(), [""; 0], "a has its place again, and waits");
    cluster.complete("a");
    assert_eq!(cluster.write_all(), ["a"]);
}

#[test]
fn an_update_of_an_absolved_workload_is_not_taken_for_its_first_failure() {
    let mut cluster = Cluster::new(SPEC, [healthy("a")]);
    cluster.write("a");
    assert!(!cluster.tracked.planner.was_frail(&id("a")));
    cluster.edit("a", |object| {
        object["status"] =
            json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 0});
    });
    cluster.absolve("a");
    cluster.policy(&SPEC.replace(":4317", ":4318"));
    cluster.write("a");
    assert!(cluster.tracked.planner.was_frail(&id("a")));
}

#[test]
fn a_halt_also_stops_those_that_were_told_to_begin() {
    let mut cluster = Cluster::new(SPEC, ["a", "b", "c"].map(healthy));
    assert_eq!(cluster.next(), ["a", "b"]);
    let namespace = &cluster.tracked.snapshot().namespaces[NAMESPACE];
    let configuration =
        tracesteward::plan::configuration(cluster.tracked.snapshot(), namespace, &namespace.workloads[&id("c")])
            .unwrap();
    cluster.edit("c", |object| refused(object, &configuration));
    assert!(!cluster.write("a") && !cluster.write("b"));
    cluster.policy(&SPEC.replace(":4317", ":4318"));
    assert_eq!(cluster.write_all(), ["a", "b"]);
}

#[test]
fn what_does_not_run_is_relieved_first() {
    let spec = SPEC.replace("maxConcurrent: 2", "maxConcurrent: 1");
    let mut cluster = Cluster::new(&spec, ["a", "b"].map(healthy));
    for name in ["a", "b"] {
        assert_eq!(cluster.write_all(), [name]);
        cluster.complete(name);
    }
    cluster.edit("b", |object| {
        object["status"]["availableReplicas"] = json!(1);
        object["status"]["conditions"] =
            json!([{"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}]);
    });
    cluster.policy(&spec.replace("enabled: true", "enabled: false"));
    assert_eq!(cluster.write_all(), ["b"]);
}

#[test]
fn all_kinds_share_the_bound() {
    let of = |kind: &str, name: &str| {
        let mut object = healthy(name);
        object["kind"] = json!(kind);
        if kind == "DaemonSet" {
            object["status"] = json!({"observedGeneration": 1, "desiredNumberScheduled": 3,
                "updatedNumberScheduled": 3, "numberAvailable": 3});
        }
        object
    };
    let objects = [of("DaemonSet", "a"), healthy("b"), of("StatefulSet", "c"), of("StatefulSet", "d")];
    let cluster = Cluster::new(SPEC, objects);
    let first: Vec<String> = cluster.starts.iter().map(ToString::to_string).collect();
    assert_eq!(first.len(), 2, "{first:?}");
    // One of which a pod does not run: nobody says of these two kinds that a rollout has come to its end.
    let mut broken = of("StatefulSet", "c");
    broken["status"]["availableReplicas"] = json!(2);
    let cluster = Cluster::new(SPEC, [broken, healthy("b")]);
    assert_eq!(cluster.attention(), [("c".to_owned(), "Unhealthy".to_owned())]);
}

#[test]
fn what_only_is_to_be_seen_is_watched_whatever_the_policy_has_become() {
    let mut object = healthy("a");
    let mut cluster = Cluster::new(SPEC, [object.clone()]);
    cluster.write("a");
    object = cluster.objects["a"].clone();
    let invalid = policy("p", &SPEC.replace("endpoint: \"http://c:4317\"", "endpoint: \"nonsense\""));
    let plan = plan_of(vec![invalid], &object);
    assert!(matches!(plan.decision, Decision::Hold(_)), "{plan:#?}");
    assert!(plan.is_watched(&read(&object)));
    settle(&mut object);
    assert!(!plan.is_watched(&read(&object)));
}

#[test]
fn who_does_not_want_it_taken_back_gets_it() {
    let mut object = healthy("a");
    refused(&mut object, "x");
    let configuration = plan_of(vec![policy("p", SPEC)], &object).configuration.unwrap();
    refused(&mut object, &configuration);
    assert!(plan_of(vec![policy("p", SPEC)], &object).refused);
    let plan = plan_of(vec![policy("p", &SPEC.replace("maxConcurrent: 2", "autoRevert: false"))], &object);
    assert!(!plan.refused && plan.needs_write);
}

#[test]
fn of_a_change_in_pieces_only_its_end_says_who_may_begin() {
    let spec = SPEC.replace("maxConcurrent: 2", "maxConcurrent: 1");
    let mut cluster = Cluster::new(&spec, ["a", "b"].map(healthy));
    assert_eq!(cluster.next(), ["a"]);
    let piece = Dirty { workloads: [id("b")].into(), ..Dirty::default() };
    cluster.tracked.plan_piece(piece);
    assert!(cluster.tracked.planner.is_unfinished());
    cluster.starts.clear();
    assert!(!cluster.begin("a"), "what is to come may take its place");
    let mut dirty = Dirty::default();
    cluster.tracked.planner.offer(&mut dirty);
    assert_eq!(dirty.starts, [id("a")].into());
    assert!(cluster.begin("a") && !cluster.tracked.planner.is_unfinished());
}

#[derive(Clone, Debug)]
enum Step {
    Write(prop::sample::Index),
    Fail(prop::sample::Index),
    Complete(prop::sample::Index),
    Restart,
    Edit(usize),
    Resize(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => any::<prop::sample::Index>().prop_map(Step::Write),
        1 => any::<prop::sample::Index>().prop_map(Step::Fail),
        5 => any::<prop::sample::Index>().prop_map(Step::Complete),
        1 => Just(Step::Restart),
        1 => (0..3_usize).prop_map(Step::Edit),
        1 => (1..4_usize).prop_map(Step::Resize),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever happens in whichever order, the bound holds, and in the end everything is as it should be.
    #[test]
    fn never_more_than_allowed_and_never_stuck(steps in prop::collection::vec(step(), 1..60)) {
        let all: Vec<String> = (0..8).map(|number| format!("w{number}")).collect();
        let (mut limit, mut port, mut enabled, mut most) = (2_usize, 4317, true, 2_usize);
        let spec = |limit: usize, port: i32, enabled: bool| SPEC.replace("maxConcurrent: 2", &format!("maxConcurrent: {limit}")).replace("4317", &port.to_string()).replace("enabled: true", &format!("enabled: {enabled}"));
        let mut cluster = Cluster::new(&spec(limit, port, enabled), all.iter().map(|name| healthy(name)));
        let mut failed: Vec<String> = Vec::new();
        for step in steps {
            match step {
                Step::Write(index) if !cluster.starts.is_empty() => {
                    let names: Vec<String> = cluster.next().into_iter().map(str::to_owned).collect();
                    let before = cluster.under_way();
                    if cluster.write(index.get::<String>(&names)) {
                        prop_assert!(before < limit || cluster.under_way() == before, "{before} were under way, of {limit}");
                    }
                }
                Step::Fail(index) if !cluster.starts.is_empty() => {
                    let names: Vec<String> = cluster.next().into_iter().map(str::to_owned).collect();
                    let name = index.get::<String>(&names);
                    cluster.starts.remove(&id(name));
                    if cluster.begin(name) {
                        cluster.change(Change::Failed(id(name), Fault { reason: "Refused".into(), message: "no".into() }));
                        let (_, starts) = cluster.tracked.planner.end(&id(name), false);
                        cluster.starts.extend(starts);
                        failed.push(name.clone());
                    }
                }
                Step::Complete(index) => cluster.complete(index.get::<String>(&all)),
                Step::Restart => {
                    cluster.takes_over();
                    failed.clear();
                }
                Step::Edit(which) => {
                    (port, enabled) = [(4317, true), (4318, true), (4317, false)][which];
                    cluster.policy(&spec(limit, port, enabled));
                }
                Step::Resize(to) => {
                    limit = to;
                    most = most.max(to);
                    cluster.policy(&spec(limit, port, enabled));
                }
                Step::Write(_) | Step::Fail(_) => {}
            }
            prop_assert!(cluster.under_way() <= most);
        }
        enabled = true;
        cluster.policy(&spec(limit, port, enabled));
        // From here on every write goes through, and every rollout comes to its end.
        for _ in 0..40 {
            for name in std::mem::take(&mut failed) {
                if cluster.begin(&name) {
                    cluster.written(&name);
                }
            }
            cluster.write_all();
            prop_assert!(cluster.under_way() <= most);
            for name in &all {
                cluster.complete(name);
            }
        }
        let counts = cluster.status().workloads.unwrap();
        prop_assert_eq!((counts.injected, counts.pending), (8, 0));
    }
}
