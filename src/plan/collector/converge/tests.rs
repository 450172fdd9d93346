//! Rounds of convergence against a make-believe API server that keeps what is applied.

mod order;
mod scope;

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::{
    index::{Change, CollectorId, Contested, Index},
    plan::{
        collector::{compile, has_account, identity_binding},
        read_collector,
    },
};

/// A collector, and what was made for it.
struct Cluster {
    index: Index,
    version: u64,
    now: i64,
}

impl Cluster {
    fn new() -> Self {
        Self { index: Index::new(None, []), version: 0, now: 0 }
    }

    fn set(&mut self, more: &Value) {
        let mut spec = json!({"backends": [{"name": "tempo", "endpoint": "http://tempo:4317"}]});
        more.as_object().unwrap().iter().for_each(|(key, value)| spec[key] = value.clone());
        let object = json!({"metadata": {"name": "gw", "namespace": "ns", "uid": "u"}, "spec": spec,
            "apiVersion": "tracesteward.io/v1alpha1", "kind": "TracingCollector"});
        let collector = read_collector(&object, "ns");
        assert!(collector.valid().is_some(), "{:?}", collector.findings);
        self.index.update(Change::Collector(collector, None));
    }

    fn views(&self) -> Vec<TierView> {
        let snapshot = self.index.snapshot();
        let collector = snapshot.collectors.values().next().unwrap();
        let now = Timestamp::from_second(self.now).unwrap();
        tiers(snapshot, collector, &compile(snapshot, collector), now, Duration::from_secs(120))
    }

    fn goal(&self) -> Goal {
        let snapshot = self.index.snapshot();
        let collector = snapshot.collectors.values().next().unwrap();
        let said = [(Tier::Collector, "Error: x".to_owned())].into();
        goal(snapshot, collector, &self.views(), &said, Timestamp::from_second(self.now).unwrap())
    }

    /// The status; without a plan, where no configuration can be made.
    fn status(&self, has_plan: bool) -> crate::api::TracingCollectorStatus {
        let snapshot = self.index.snapshot();
        let collector = snapshot.collectors.values().next().unwrap();
        let (plan, views) = if has_plan { (compile(snapshot, collector), self.views()) } else { Default::default() };
        crate::plan::collector::status::status(snapshot, collector, &plan, &views)
    }

    /// One round; what was applied and deleted, in order.
    fn round(&mut self) -> Vec<String> {
        let goal = self.goal();
        let mut done = Vec::new();
        for Application { object, .. } in goal.applies {
            done.push(format!("{} {}", object.id.kind.as_str(), object.id.name));
            let before = self.index.snapshot().owned.get(&object.id).map(|live| live.value.as_ref().clone());
            self.put(object.id.kind, before, object.manifest);
        }
        for live in goal.deletes {
            done.push(format!("- {} {}", live.id.kind.as_str(), live.id.name));
            self.index.update(Change::OwnedGone(live.id, live.uid));
        }
        done
    }

    fn put(&mut self, kind: OwnedKind, before: Option<Value>, mut value: Value) {
        self.version += 1;
        let time = |second: i64| Timestamp::from_second(second).unwrap().to_string();
        let created = before.as_ref().map(|before| before["metadata"]["creationTimestamp"].clone());
        // What others own stays.
        if let Some(paused) = before.as_ref().and_then(|before| before.pointer("/spec/paused")) {
            value["spec"]["paused"] = paused.clone();
        }
        let status = before.map(|before| before["status"].clone()).unwrap_or_default();
        value["metadata"]["uid"] = json!(format!("{}", self.version));
        value["metadata"]["resourceVersion"] = json!(self.version.to_string());
        value["metadata"]["generation"] = json!(self.version);
        value["metadata"]["creationTimestamp"] = created.unwrap_or_else(|| json!(time(self.now)));
        if status.is_object() {
            value["status"] = status;
        }
        self.index.update(Change::Owned(LiveObject::read(kind, value).unwrap()));
    }

    /// All pods are ready with what is in the template.
    fn ready(&mut self) {
        let workloads: Vec<_> =
            self.index.snapshot().owned.values().filter(|live| live.id.is_workload()).cloned().collect();
        for live in workloads {
            let mut value = live.value.as_ref().clone();
            let replicas = value["spec"]["replicas"].as_i64().unwrap_or(1);
            value["status"] = json!({"observedGeneration": 1_000_000, "replicas": replicas, "updatedReplicas": replicas,
                "readyReplicas": replicas, "availableReplicas": replicas});
            self.index.update(Change::Owned(LiveObject::read(live.id.kind, value).unwrap()));
        }
    }

    /// The controller has seen a new template, and no pod of it is ready.
    fn unready(&mut self) {
        let live = self.workload();
        let mut value = live.value.as_ref().clone();
        value["status"]["updatedReplicas"] = json!(0);
        self.index.update(Change::Owned(LiveObject::read(live.id.kind, value).unwrap()));
    }

    /// Somebody changes the workload; null removes.
    fn change(&mut self, pointer: &str, to: Value) {
        let live = self.workload();
        let mut value = live.value.as_ref().clone();
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        let parent = value.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        let field = field.replace("~1", "/");
        if to.is_null() {
            parent.remove(&field)
        } else {
            parent.insert(field, to)
        };
        self.index.update(Change::Owned(LiveObject::read(live.id.kind, value).unwrap()));
    }

    fn workload(&self) -> LiveObject {
        self.index.snapshot().owned.values().find(|live| live.id.is_workload()).unwrap().clone()
    }

    fn configurations(&self) -> usize {
        self.index.snapshot().owned.keys().filter(|id| id.kind == OwnedKind::ConfigMap).count()
    }

    /// A cluster whose collector is live and noted as good.
    fn live() -> Self {
        let mut cluster = Self::new();
        cluster.set(&json!({}));
        cluster.round();
        cluster.ready();
        cluster.round();
        assert_eq!(cluster.round(), [""; 0]);
        cluster
    }
}

fn ratio(number: f64) -> Value {
    json!({"sampling": {"baselineRatio": number}})
}

#[test]
fn everything_is_made_in_order_once_and_noted_as_good() {
    let mut cluster = Cluster::new();
    cluster.set(&json!({}));
    let first = cluster.round();
    let kinds: Vec<_> = first.iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(kinds, ["ServiceAccount", "ConfigMap", "Service", "Deployment"], "{first:?}");
    assert_eq!(cluster.round(), [""; 0]);
    cluster.ready();
    assert_eq!(cluster.round(), ["Deployment gw-collector"], "that it was good");
    assert_eq!(cluster.round(), [""; 0]);
    assert_eq!(cluster.workload().annotation(LAST_GOOD), Some(cluster.views()[0].desired.hash.as_str()));
}

#[test]
fn three_configurations_are_kept_and_always_what_runs() {
    let mut cluster = Cluster::live();
    for number in 1..=6_i32 {
        cluster.now += 10;
        cluster.set(&ratio(f64::from(number) / 10.0));
        cluster.round();
        cluster.ready();
        cluster.round();
        assert_eq!(cluster.round(), [""; 0]);
        assert_eq!(cluster.configurations(), usize::try_from(number + 1).unwrap().min(3), "{number}");
    }
    // Many edits while none of them becomes ready: the last good one stays, however old it is.
    let good = cluster.workload().annotation(LAST_GOOD).unwrap().to_owned();
    for number in 1..=5_i32 {
        cluster.now += 10;
        cluster.set(&ratio(f64::from(number) / 100.0));
        cluster.round();
        cluster.unready();
        cluster.round();
    }
    assert_eq!(cluster.configurations(), 4);
    let last_good = cluster.workload().annotation(LAST_GOOD).map(str::to_owned);
    assert_eq!(last_good, Some(good.clone()));
    assert!(cluster.index.snapshot().owned.keys().any(|id| id.name.ends_with(&good)));
}

#[test]
fn what_is_not_ready_in_time_is_taken_back_by_one_write() {
    let mut cluster = Cluster::live();
    let good = cluster.views()[0].desired.hash.clone();
    cluster.now = 1_000;
    cluster.set(&ratio(0.5));
    cluster.round();
    cluster.unready();
    assert_eq!(cluster.goal().again, Some(Timestamp::from_second(1_120).unwrap()));
    cluster.now = 1_119;
    assert_eq!(cluster.round(), [""; 0]);
    cluster.now = 1_120;
    assert_eq!(cluster.round(), ["Deployment gw-collector"]);
    let live = cluster.workload();
    let state = TierState::read(&live);
    assert_eq!(state.template.as_deref(), Some(good.as_str()));
    assert_eq!(
        (state.refused, state.because.as_deref()),
        (Some(cluster.views()[0].desired.hash.clone()), Some("Error: x"))
    );
    cluster.ready();
    assert_eq!(cluster.round(), [""; 0]);
    cluster.set(&ratio(0.25));
    cluster.round();
    assert_eq!(cluster.workload().annotation(REFUSED), None, "tried afresh");
}

#[test]
fn what_others_change_is_written_again_and_what_they_add_is_theirs() {
    let mut cluster = Cluster::live();
    let change = |cluster: &mut Cluster, pointer: &str, to: Value| {
        let live =
            cluster.index.snapshot().owned.values().find(|live| live.id.kind == OwnedKind::Service).unwrap().clone();
        let mut value = live.value.as_ref().clone();
        *value.pointer_mut(pointer).unwrap() = to;
        cluster.index.update(Change::Owned(LiveObject::read(OwnedKind::Service, value).unwrap()));
    };
    change(&mut cluster, "/spec/ports/0/port", json!(1));
    assert_eq!(cluster.round(), ["Service gw-collector"]);
    change(&mut cluster, "/metadata/annotations", json!({}));
    assert_eq!(cluster.round(), ["Service gw-collector"], "the note of what was applied");
    let spec = cluster.goal();
    assert_eq!(spec, Goal::default());
    // Something between changes what is sent: it is left at that.
    change(&mut cluster, "/spec/ports/0/port", json!(1));
    let Application { object, .. } = cluster.goal().applies.remove(0);
    let live = cluster.index.snapshot().owned[&object.id].clone();
    let sent = applied(&object.manifest).unwrap().to_owned();
    let answered = answered(&live.value, &object.manifest);
    cluster.index.update(Change::Contested(object.id, Contested { sent, answered }));
    assert_eq!(cluster.round(), [""; 0]);
    // That it is doing something is no change of it, another change is.
    let mut value = live.value.as_ref().clone();
    value["status"] = json!({"loadBalancer": {}});
    value["metadata"]["annotations"]["example.com/note"] = json!("mine");
    cluster.index.update(Change::Owned(LiveObject::read(OwnedKind::Service, value).unwrap()));
    assert_eq!(cluster.round(), [""; 0]);
    change(&mut cluster, "/spec/selector", json!({"app": "other"}));
    assert_eq!(cluster.round(), ["Service gw-collector"], "drift beside what is contested");
}

#[test]
fn what_served_before_serves_until_what_follows_is_ready() {
    let mut cluster = Cluster::live();
    cluster.set(&json!({"queue": {"storage": {"size": "1Gi"}}}));
    let round = cluster.round();
    assert!(
        round.contains(&"StatefulSet gw-collector".to_owned()) && !round.iter().any(|line| line.starts_with('-')),
        "{round:?}"
    );
    assert_eq!(cluster.round(), [""; 0]);
    cluster.ready();
    let round = cluster.round();
    assert!(round.contains(&"- Deployment gw-collector".to_owned()), "{round:?}");
    cluster.set(&json!({"management": "ConfigOnly"}));
    let round = cluster.round();
    assert!(
        round.contains(&"ConfigMap gw-collector".to_owned())
            && round.contains(&"- StatefulSet gw-collector".to_owned()),
        "{round:?}"
    );
    // What its pods mounted goes after it.
    let round = cluster.round();
    assert!(round.iter().all(|line| line.starts_with("- ConfigMap gw-collector-")), "{round:?}");
    assert_eq!((cluster.round().len(), cluster.index.snapshot().owned.len()), (0, 1));
    cluster.set(&json!({}));
    let round = cluster.round();
    assert!(round.iter().all(|line| !line.starts_with('-')), "somebody else's pods still read it: {round:?}");
    cluster.ready();
    let round = cluster.round();
    assert!(round.contains(&"- ConfigMap gw-collector".to_owned()), "{round:?}");
}

#[test]
fn objects_of_others_are_never_among_what_is_deleted() {
    let mut cluster = Cluster::live();
    let foreign = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "gw-collector", "namespace": "ns", "uid": "x",
        "labels": {"app.kubernetes.io/instance": "gw", "app.kubernetes.io/managed-by": "tracesteward"}}});
    cluster.index.update(Change::Owned(LiveObject::read(OwnedKind::StatefulSet, foreign).unwrap()));
    assert_eq!(cluster.round(), [""; 0]);
    let id = CollectorId { namespace: "ns".into(), name: "gw".into() };
    assert_eq!(cluster.index.snapshot().owned_by(&id).filter(|(id, _)| id.kind == OwnedKind::StatefulSet).count(), 1);
}

#[test]
fn the_successor_of_what_was_deleted_stays() {
    let mut cluster = Cluster::live();
    let live = cluster.workload();
    let before = Some("an earlier one".to_owned());
    assert_eq!(cluster.index.update(Change::OwnedGone(live.id.clone(), before)), crate::index::Dirty::default());
    assert_eq!(cluster.workload(), live);
    cluster.index.update(Change::OwnedGone(live.id.clone(), live.uid));
    assert!(!cluster.index.snapshot().owned.contains_key(&live.id));
}

#[test]
fn the_time_of_a_rollout_runs_from_the_write_of_its_template_by_the_operators_clock() {
    let mut cluster = Cluster::live();
    cluster.now = 1_000;
    cluster.set(&ratio(0.5));
    cluster.round();
    cluster.unready();
    // Another write that leaves the template alone does not renew it.
    cluster.now = 1_100;
    cluster.change("/spec/replicas", json!(7));
    assert_eq!(cluster.round(), ["Deployment gw-collector"]);
    cluster.unready();
    assert_eq!(cluster.goal().again, Some(Timestamp::from_second(1_120).unwrap()));
    // Without it, the rollout begins now; while it is paused, not at all.
    cluster.change("/metadata/annotations/tracesteward.io~1rollout-started", Value::Null);
    assert_eq!(cluster.round(), ["Deployment gw-collector"]);
    assert_eq!(cluster.goal().again, Some(Timestamp::from_second(1_220).unwrap()));
    let mut paused = cluster.workload().value["spec"].clone();
    paused["paused"] = json!(true);
    cluster.change("/spec", paused);
    cluster.now = 5_000;
    assert_eq!(cluster.round(), ["Deployment gw-collector"]);
    assert_eq!((cluster.round(), cluster.workload().annotation(STARTED)), (Vec::new(), None));
    cluster.change("/spec/paused", json!(false));
    assert_eq!(cluster.round(), ["Deployment gw-collector"]);
    assert_eq!(cluster.goal().again, Some(Timestamp::from_second(5_120).unwrap()));
}

#[test]
fn what_lacks_a_secret_is_held_and_not_refused() {
    let mut cluster = Cluster::live();
    let good = cluster.views()[0].desired.hash.clone();
    let header = json!({"name": "authorization", "secretKeyRef": {"name": "tempo", "key": "token"}});
    let backends = json!([{"name": "tempo", "endpoint": "http://tempo:4317", "headers": [header]}]);
    cluster.set(&json!({"backends": backends}));
    assert_eq!(cluster.views()[0].choice.outcome, Outcome::Held, "nobody has looked yet");
    let key = |cluster: &mut Cluster, state: SecretState| {
        let id = cluster.index.snapshot().collectors.values().next().unwrap().secrets().next().unwrap();
        cluster.index.update(Change::SecretKey(id, state));
    };
    key(&mut cluster, SecretState::Present);
    cluster.round();
    cluster.unready();
    key(&mut cluster, SecretState::NotFound);
    cluster.now = 1_000;
    assert_eq!(cluster.round(), ["Deployment gw-collector"]);
    let state = TierState::read(&cluster.workload());
    assert_eq!((state.template, state.refused), (Some(good), None));
    cluster.ready();
    assert_eq!(cluster.round(), [""; 0]);
    key(&mut cluster, SecretState::Present);
    assert_eq!(cluster.views()[0].choice.run, RevisionRef::Desired, "it is tried again");
}

#[test]
fn there_is_no_way_back_to_content_whose_whole_digest_is_another() {
    let mut cluster = Cluster::live();
    cluster.set(&ratio(0.5));
    cluster.round();
    cluster.unready();
    cluster.now = 1_000;
    assert_eq!(cluster.views()[0].choice.outcome, Outcome::TakenBack);
    let digest = cluster.workload().annotation(LAST_GOOD_DIGEST).unwrap().to_owned();
    let forged = format!("{:.10}{}", digest, "0".repeat(54));
    cluster.change("/metadata/annotations/tracesteward.io~1last-good-digest", json!(forged));
    assert_eq!(cluster.views()[0].choice.outcome, Outcome::Waiting(None));
}

#[test]
fn what_an_earlier_workload_mounts_is_kept_until_it_goes() {
    let mut cluster = Cluster::live();
    let first = cluster.views()[0].desired.hash.clone();
    for number in 1..=5_i32 {
        cluster.now += 10;
        cluster.set(&json!({"queue": {"storage": {"size": "1Gi"}},
            "sampling": {"baselineRatio": f64::from(number) / 10.0}}));
        cluster.round();
    }
    assert!(cluster.index.snapshot().owned.keys().any(|id| id.name.ends_with(&first)));
    let status = cluster.status(true);
    assert_eq!(status.configuration.unwrap().live, Some(first), "what is ready");
    assert_eq!(status.replicas.unwrap().ready, 1);
}

#[test]
fn where_nothing_desired_can_be_the_status_says_what_runs() {
    let mut cluster = Cluster::live();
    let before = cluster.status(true);
    let mut collector = cluster.index.snapshot().collectors.values().next().unwrap().clone();
    collector.status = Some(before.clone());
    cluster.index.update(Change::Collector(collector, None));
    let after = cluster.status(false);
    assert_eq!((after.configuration, after.replicas), (before.configuration, before.replicas));
    assert_ne!(after.conditions, before.conditions);
}
