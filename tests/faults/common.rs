//! Workloads with a policy, and what has to hold once a fault is over.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::{Duration, Instant};

use futures::future::join_all;
use kube::api::{ListParams, PostParams};
use serde_json::{Value, json};

use crate::fixtures::{
    KINDS, World, condition, container, counts_of, env, held, managed, policy, text, traced, value, workload_of,
};
use crate::support::{ControlPlane, Mark, Operator, consistently, eventually};

/// How long an operator may take to recover: a retry waits for a minute at most, after a long fault.
pub(crate) const RECOVERY: Duration = Duration::from_secs(90);

/// What other writers of a Deployment change, and what counts changes: no part of what a user has written.
const CHANGING: [&str; 4] = ["managedFields", "resourceVersion", "generation", "creationTimestamp"];

/// Answers of an API server that cannot do its work at the moment; one that has just come back does not know yet whom it may
/// let in. 0: it was cut off.
const PASSING: [u16; 7] = [0, 403, 429, 500, 502, 503, 504];

/// A namespace with Deployments `web-0`, `web-1`, ..., a workload of each other kind, and a policy `all` for them.
pub(crate) struct Ground<'a> {
    pub(crate) world: World<'a>,
    before: BTreeMap<String, Value>,
    mark: Mark,
    ratio: f64,
    /// How often the policy has changed: so many writes of each workload are due.
    changes: usize,
}

impl<'a> Ground<'a> {
    /// Workloads without replicas, and no policy yet.
    pub(crate) async fn new(plane: &'a ControlPlane, prefix: &str, deployments: usize) -> Self {
        let world = World::new(plane, prefix).await;
        Self::with(world, deployments, 0).await
    }

    /// The same in this world; the Deployments want so many pods.
    pub(crate) async fn with(world: World<'a>, deployments: usize, replicas: usize) -> Self {
        let names = (0..deployments).map(|number| ("Deployment", format!("web-{number}")));
        let others = KINDS.into_iter().filter(|(kind, _)| *kind != "Deployment" && replicas == 0);
        let all: Vec<_> = names.chain(others.map(|(kind, _)| (kind, kind.to_lowercase()))).collect();
        let created = all.iter().map(async |(kind, name)| {
            let mut object = written(kind, name);
            if replicas > 0 {
                object["spec"]["replicas"] = json!(replicas);
            }
            world.api(kind).create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap()
        });
        join_all(created).await;
        let mark = world.plane.audit_mark();
        let mut ground = Self { world, before: BTreeMap::new(), mark, ratio: 0.0, changes: 0 };
        ground.before = ground.stripped().await;
        ground
    }

    /// Further workloads, before the policy is there.
    pub(crate) async fn add(&mut self, objects: &[Value]) {
        for object in objects {
            self.world.apply(object);
        }
        self.before = self.stripped().await;
    }

    /// How many workloads there are.
    pub(crate) fn count(&self) -> usize {
        self.before.len()
    }

    pub(crate) fn mark(&self) -> Mark {
        self.mark
    }

    /// Changes the policy: a write of each workload is due.
    pub(crate) fn change(&mut self) {
        self.changes += 1;
        self.ratio = 1.0 / f64::from(1 << self.changes.min(20));
        let mut spec = traced(self.ratio);
        spec["rollout"] = json!({"maxConcurrent": 10});
        self.world.apply(&policy("all", &spec));
    }

    /// What the workloads are to carry of the policy as it is now.
    pub(crate) fn ratio(&self) -> String {
        self.ratio.to_string()
    }

    /// How many workloads carry the policy as it is now.
    pub(crate) async fn reached(&self) -> usize {
        let (wanted, live) = (self.ratio(), self.live().await);
        live.values().filter(|object| value(object, "OTEL_TRACES_SAMPLER_ARG") == Some(&wanted)).count()
    }

    /// Waits until at least so many writes of workloads were answered since the change.
    pub(crate) async fn until_reached(&self, count: usize) {
        eventually("work has begun", RECOVERY, async || {
            let reached = self.reached().await;
            (reached >= count).then_some(()).ok_or_else(|| reached.to_string())
        })
        .await;
    }

    /// Waits until every workload carries the policy as it is now, and its status says so.
    pub(crate) async fn converged(&self) {
        let counts = format!("matched={0} injected={0}", self.count());
        eventually("everything is as it should be", RECOVERY, async || {
            let live = self.world.api("TracingPolicy").get("all").await.map_err(|error| error.to_string())?;
            let live = serde_json::to_value(live).map_err(|error| error.to_string())?;
            let is_current = live["metadata"]["generation"] == live["status"]["observedGeneration"];
            let seen = (condition(&live, "Ready"), counts_of(&live));
            if !is_current || seen != ("True/Ready".to_owned(), counts.clone()) {
                return Err(format!("{seen:?} {}", live["status"]));
            }
            let reached = self.reached().await;
            (reached == self.count()).then_some(()).ok_or_else(|| format!("{reached} carry {}", self.ratio))
        })
        .await;
    }

    /// Every workload of the namespace, by kind and name.
    async fn live(&self) -> BTreeMap<String, Value> {
        let mut all = BTreeMap::new();
        for (kind, _) in KINDS {
            let Ok(list) = self.world.api(kind).list(&ListParams::default()).await else { continue };
            for object in list {
                let object = serde_json::to_value(object).expect("an object is JSON");
                all.insert(format!("{kind}/{}", text(&object["metadata"]["name"])), object);
            }
        }
        all
    }

    async fn stripped(&self) -> BTreeMap<String, Value> {
        self.live().await.into_iter().map(|(id, object)| (id, stripped(object))).collect()
    }

    /// What has to hold now that it has converged; prints the line of the table. The fault ended at `since`.
    pub(crate) async fn finish(&self, fault: &str, since: Instant, operators: &mut [&mut Operator]) {
        let recovered = since.elapsed();
        let mut succeeded: BTreeMap<String, usize> = BTreeMap::new();
        let writes = self.world.writes(self.mark).counted();
        for write in writes.iter() {
            let is_known = KINDS.iter().any(|(_, resource)| write.resource == *resource);
            assert!(write.verb == "patch" && is_known, "{write:?}");
            assert!(write.code == 200 || PASSING.contains(&write.code), "{write:?}");
            let id = format!("{}/{}", write.resource, write.name);
            *succeeded.entry(id).or_default() += usize::from(write.code == 200);
        }
        let operating = operators.len();
        let often: Vec<_> = succeeded.iter().filter(|(_, times)| **times > self.changes * operating).collect();
        assert!(often.is_empty(), "due are {} for each of {operating} operators: {often:?}", self.changes);
        let total: usize = succeeded.values().sum();
        for (id, object) in self.live().await {
            // Generations count what was effective: each change once.
            assert_eq!(object["metadata"]["generation"], 1 + self.changes, "{id}");
            assert!(managed(&object).is_some(), "{id}");
        }
        self.nothing_foreign_was_touched().await;
        let mark = self.world.plane.audit_mark();
        consistently("there is rest", Duration::from_secs(2), async || {
            let writes = self.world.writes(mark).only(|write| write.resource != "leases" && write.resource != "events");
            writes.is_empty().then_some(()).ok_or_else(|| format!("{:#?}", writes.0))
        })
        .await;
        for operator in operators {
            operator.assert_alive();
            assert!(!operator.logs().contains("panicked"), "{}", operator.logs());
        }
        row(fault, recovered, total, writes.len() - total, self.changes * self.count());
    }

    /// What users have written is there, and as it was.
    pub(crate) async fn nothing_foreign_was_touched(&self) {
        let after = self.stripped().await;
        assert_eq!(after.len(), self.before.len());
        for (id, object) in after {
            assert_eq!(object.to_string(), self.before[&id].to_string(), "{id}");
        }
    }
}

/// A workload with more in it than the operator reads.
fn written(kind: &str, name: &str) -> Value {
    let own = json!([
        {"name": "FIRST", "value": "1"},
        {"name": "SECOND", "value": "$(FIRST)2"},
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
    ]);
    let mut app = container("app", &own);
    app["args"] = json!(["--verbose", "$(SECOND)"]);
    app["resources"] = json!({"requests": {"cpu": "10m"}});
    let mut object = workload_of(kind, name, &json!([app, container("worker", &json!([]))]));
    object["metadata"]["annotations"] = json!({"team.example/owner": "payments"});
    object["metadata"]["labels"] = json!({"app.kubernetes.io/part-of": "shop"});
    object
}

/// An object without what is the operator's, and without what changes by itself: what users have written.
pub(crate) fn stripped(mut object: Value) -> Value {
    let containers: Vec<String> = containers(&object).iter().map(|known| text(&known["name"]).to_owned()).collect();
    for name in containers {
        let ours: Vec<String> = held(&object, &name).into_iter().map(str::to_owned).collect();
        let mut kept = env(&object, &name).to_vec();
        kept.retain(|variable| !ours.iter().any(|known| variable["name"] == *known));
        let found = containers_mut(&mut object).iter_mut().find(|known| known["name"] == name).unwrap();
        if kept.is_empty() {
            found.as_object_mut().unwrap().shift_remove("env");
        } else {
            found["env"] = kept.into();
        }
    }
    let metadata = object["metadata"].as_object_mut().expect("an object has metadata");
    for field in CHANGING {
        metadata.shift_remove(field);
    }
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.shift_remove("deployment.kubernetes.io/revision");
        annotations.shift_remove("deprecated.daemonset.template.generation");
    }
    object.as_object_mut().expect("an object").shift_remove("status");
    object
}

/// The items of a list do not say of which kind they are.
fn pod_spec(object: &Value) -> &'static str {
    if object["spec"]["jobTemplate"].is_object() {
        "/spec/jobTemplate/spec/template/spec"
    } else {
        "/spec/template/spec"
    }
}

fn containers(object: &Value) -> &[Value] {
    object.pointer(pod_spec(object)).and_then(|spec| spec["containers"].as_array()).map_or(&[], Vec::as_slice)
}

fn containers_mut(object: &mut Value) -> &mut Vec<Value> {
    let path = pod_spec(object);
    object.pointer_mut(path).and_then(|spec| spec["containers"].as_array_mut()).expect("a workload has containers")
}

/// A line of the table. Past the test harness, which keeps to itself what a test prints that succeeds.
pub(crate) fn row(fault: &str, recovered: Duration, written: usize, failed: usize, due: usize) {
    let line = format!(
        "fault matrix | {fault:<44} | recovered in {:>5.1} s | {written:>5} writes + {failed:>3} failed | {due:>5} due\n",
        recovered.as_secs_f64()
    );
    drop(std::io::stderr().write_all(line.as_bytes()));
}
