//! Every applier beside the running operator, case by case. What is already proven in `tests/injection/users.rs` is the
//! same with less: here each case is one row for each applier, and generations and writes are counted.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::appliers::Applier;
use super::common::{SERVICE, repaired_everywhere};
use crate::fixtures::{World, container, env, held, managed, names, policy, template, value, workload_of};
use crate::support::consistently;

const KIND: &str = "Deployment";
const SAMPLER: [&str; 2] = ["OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"];
const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";

/// What the policy sets, in order.
const ALL: [&str; 11] = [
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    HEADERS,
    "OTEL_TRACES_EXPORTER",
    SERVICE,
    "TRACESTEWARD_POD_NAME",
    "TRACESTEWARD_NODE_NAME",
    "OTEL_RESOURCE_ATTRIBUTES",
    SAMPLER[0],
    SAMPLER[1],
    "OTEL_PROPAGATORS",
];

fn all_but(left_out: &[&str]) -> Vec<&'static str> {
    ALL.into_iter().filter(|name| !left_out.contains(name)).collect()
}

fn settings(sampling: Option<f64>) -> Value {
    let export = json!({"endpoint": "http://collector:4317", "headersSecretRef": {"name": "headers"}});
    let mut spec = json!({"enabled": true, "export": export});
    if let Some(ratio) = sampling {
        spec["sampling"] = json!({"ratio": ratio});
    }
    spec
}

fn plain(name: &str, value: &str) -> Value {
    json!({"name": name, "value": value})
}

/// What is in Git for this applier: a container `app` with MODE and these variables.
fn git(applier: Applier, more: &[Value]) -> Value {
    let env: Vec<_> = [plain("MODE", "fast")].into_iter().chain(more.iter().cloned()).collect();
    workload_of(KIND, applier.name(), &json!([container("app", &json!(env))]))
}

/// A namespace in which every applier has brought its workload, with the policy in force.
struct Stage {
    world: World<'static>,
    operator: crate::support::Operator,
    /// The workloads before anything was injected.
    before: BTreeMap<&'static str, Value>,
}

const WHOLE: &str = "matched=8 injected=8";

impl Stage {
    async fn new(prefix: &str) -> Self {
        Self::of(prefix, |applier| git(applier, &[])).await
    }

    async fn of(prefix: &str, git: impl Fn(Applier) -> Value) -> Self {
        let world = World::new(repaired_everywhere().await, prefix).await;
        world.kubectl(&["create", "secret", "generic", "headers", &format!("--from-literal={HEADERS}=a=b")]).success();
        let mut before = BTreeMap::new();
        for applier in Applier::ALL {
            applier.apply(&world, &git(applier)).await.unwrap_or_else(|said| panic!("{applier:?}: {said}"));
            before.insert(applier.name(), world.get(KIND, applier.name()).await);
        }
        world.apply(&policy("all", &settings(Some(0.25))));
        let operator = world.operator(&[]).await;
        let stage = Self { world, operator, before };
        stage.settled(WHOLE).await;
        stage
    }

    async fn settled(&self, counts: &str) {
        self.world.settled("all", "True/Ready", counts).await;
    }

    async fn get(&self, applier: Applier) -> Value {
        self.world.get(KIND, applier.name()).await
    }

    /// Generations of all workloads, in the order of the appliers.
    async fn generations(&self) -> Vec<i64> {
        let mut found = Vec::new();
        for applier in Applier::ALL {
            found.push(self.get(applier).await["metadata"]["generation"].as_i64().unwrap());
        }
        found
    }

    /// Each applier brings what is in Git, and again: nothing is left to do, nobody fights, no pod restarts.
    async fn rest(&self, git: impl Fn(Applier) -> Value) {
        let (mark, generations) = (self.world.plane.audit_mark(), self.generations().await);
        for applier in Applier::ALL {
            for _ in 0..2 {
                let drift = applier.drift(&self.world, &git(applier)).await;
                assert_eq!(drift, Ok(None), "{applier:?}");
                applier.apply(&self.world, &git(applier)).await.unwrap_or_else(|said| panic!("{applier:?}: {said}"));
            }
        }
        consistently("the operator has nothing to do", Duration::from_secs(1), async || {
            let writes = self.world.counted(mark);
            writes.is_empty().then_some(()).ok_or_else(|| format!("{writes:?}"))
        })
        .await;
        assert_eq!(self.generations().await, generations, "{:?}", Applier::ALL);
    }
}

#[tokio::test]
async fn what_is_injected_survives_the_same_manifest_and_a_changed_one() {
    let stage = Stage::new("keep").await;
    assert_eq!(stage.generations().await, [2; 8]);
    stage.rest(|applier| git(applier, &[])).await;
    let mark = stage.world.plane.audit_mark();
    let changed = |applier: Applier| {
        let mut manifest = git(applier, &[plain("MORE", "1")]);
        manifest["spec"]["template"]["spec"]["containers"][0]["image"] = json!("registry.example/app:2");
        manifest
    };
    for applier in Applier::ALL {
        assert!(
            matches!(applier, Applier::HelmServer | Applier::HelmClient)
                || applier.drift(&stage.world, &changed(applier)).await.unwrap().is_some(),
            "{applier:?}"
        );
        applier.apply(&stage.world, &changed(applier)).await.unwrap();
        let live = stage.get(applier).await;
        assert_eq!(template(&live)["spec"]["containers"][0]["image"], "registry.example/app:2", "{applier:?}");
        assert_eq!(held(&live, "app"), ALL, "{applier:?}");
    }
    assert_eq!(stage.generations().await, [3; 8]);
    stage.rest(changed).await;
    assert_eq!(stage.world.counted(mark), [""; 0]);
}

#[tokio::test]
async fn the_same_value_in_git_is_nobodys_trouble() {
    let stage = Stage::new("same").await;
    let same = |applier: Applier| git(applier, &[plain("OTEL_PROPAGATORS", "tracecontext,baggage")]);
    let mut injected = BTreeMap::new();
    for applier in Applier::ALL {
        injected.insert(applier.name(), template(&stage.get(applier).await).clone());
    }
    let mark = stage.world.plane.audit_mark();
    for applier in Applier::ALL {
        applier.apply(&stage.world, &same(applier)).await.unwrap_or_else(|said| panic!("{applier:?}: {said}"));
    }
    // Who compares first sees no difference and applies nothing, and client-side apply changes nothing: no owner is recorded.
    let recorded = [Applier::KubectlServer, Applier::KubectlForced, Applier::HelmServer];
    stage.settled("matched=8 injected=8 overridden=3").await;
    for applier in Applier::ALL {
        let live = stage.get(applier).await;
        let expected = if recorded.contains(&applier) { all_but(&["OTEL_PROPAGATORS"]) } else { ALL.to_vec() };
        assert_eq!(held(&live, "app"), expected, "{applier:?}");
        assert_eq!(value(&live, "OTEL_PROPAGATORS"), Some("tracecontext,baggage"), "{applier:?}");
    }
    // kubectl keeps what it applied in an annotation, and any annotation counts in the generation of a Deployment; no pod
    // restarts for it.
    assert_eq!(stage.generations().await, [3, 2, 2, 2, 2, 2, 2, 2]);
    for applier in Applier::ALL {
        assert_eq!(template(&stage.get(applier).await), &injected[applier.name()], "{applier:?}");
    }
    assert_eq!(stage.world.counted(mark).len(), 3);
    stage.rest(same).await;

    // Where no owner is recorded, a policy that changes wins until Git is applied the next time; then Git does, for good.
    let mut changed = settings(Some(0.25));
    changed["propagators"] = json!(["b3"]);
    stage.world.apply(&policy("all", &changed));
    stage.settled("matched=8 injected=8 overridden=3").await;
    for applier in Applier::ALL {
        let expected = if recorded.contains(&applier) { "tracecontext,baggage" } else { "b3" };
        assert_eq!(value(&stage.get(applier).await, "OTEL_PROPAGATORS"), Some(expected), "{applier:?}");
        applier.apply(&stage.world, &same(applier)).await.unwrap_or_else(|said| panic!("{applier:?}: {said}"));
    }
    stage.settled("matched=8 injected=8 overridden=8").await;
    for applier in Applier::ALL {
        let live = stage.get(applier).await;
        assert_eq!(value(&live, "OTEL_PROPAGATORS"), Some("tracecontext,baggage"), "{applier:?}");
    }
    stage.rest(same).await;
}

#[tokio::test]
async fn another_value_in_git_wins_by_force_and_comes_back_when_dropped() {
    let stage = Stage::new("other").await;
    let world = &stage.world;
    let other = |applier: Applier| git(applier, &[plain(SAMPLER[1], "0.9")]);
    for applier in Applier::ALL {
        let answer = applier.apply(world, &other(applier)).await;
        if applier.stops_at_conflicts() {
            let said = answer.unwrap_err();
            assert!(
                said.contains(r#"conflict with "tracesteward""#) && said.contains(SAMPLER[1]),
                "{applier:?}: {said}"
            );
            let live = stage.get(applier).await;
            assert_eq!((held(&live, "app"), value(&live, SAMPLER[1])), (ALL.to_vec(), Some("0.25")), "{applier:?}");
            // The first way out.
            applier.apply_with(world, &other(applier), &["--force-conflicts"]).await.unwrap();
        } else {
            answer.unwrap_or_else(|said| panic!("{applier:?}: {said}"));
        }
    }
    stage.settled("matched=8 injected=8 overridden=8").await;
    for applier in Applier::ALL {
        let live = stage.get(applier).await;
        let mut present = names(&live, "app");
        present.retain(|name| SAMPLER.contains(name));
        assert_eq!(
            (present, value(&live, SAMPLER[1])),
            (vec![SAMPLER[1]], Some("0.9")),
            "{applier:?}: the whole group"
        );
    }
    // One for the user's value, and one for the sampler that goes with it.
    assert_eq!(stage.generations().await, [4; 8]);
    stage.rest(other).await;

    // Dropped: ours comes back, and no empty variable stays behind.
    let dropped = |applier: Applier| git(applier, &[]);
    for applier in Applier::ALL {
        applier.apply(world, &dropped(applier)).await.unwrap_or_else(|said| panic!("{applier:?}: {said}"));
    }
    stage.settled(WHOLE).await;
    for applier in Applier::ALL {
        let live = stage.get(applier).await;
        assert_eq!((held(&live, "app"), value(&live, SAMPLER[1])), (ALL.to_vec(), Some("0.25")), "{applier:?}");
        assert_eq!(names(&live, "app").len(), ALL.len() + 1, "{applier:?}");
    }
    stage.rest(dropped).await;
}

#[tokio::test]
async fn a_conflict_has_two_more_ways_out() {
    let stage = Stage::new("ways").await;
    let world = &stage.world;
    let stopped: Vec<_> = Applier::ALL.into_iter().filter(|applier| applier.stops_at_conflicts()).collect();
    let sampled = |applier: Applier, value: &str| git(applier, &[plain(SAMPLER[1], value)]);
    for applier in &stopped {
        applier.apply(world, &sampled(*applier, "0.9")).await.unwrap_err();
    }
    // The same value first; the operator lets go, and then any value will do.
    let first = stopped[0];
    first.apply(world, &sampled(first, "0.25")).await.unwrap();
    stage.settled("matched=8 injected=8 overridden=1").await;
    first.apply(world, &sampled(first, "0.9")).await.unwrap();
    stage.settled("matched=8 injected=8 overridden=1").await;
    assert_eq!(value(&stage.get(first).await, SAMPLER[1]), Some("0.9"));
    // The policy's setting away first.
    let second = stopped[1];
    second.apply(world, &sampled(second, "0.9")).await.unwrap_err();
    world.apply(&policy("all", &settings(None)));
    stage.settled(WHOLE).await;
    second.apply(world, &sampled(second, "0.9")).await.unwrap();
    assert_eq!(value(&stage.get(second).await, SAMPLER[1]), Some("0.9"));
    // Now that the names are the users', the setting may come back.
    world.apply(&policy("all", &settings(Some(0.5))));
    stage.settled("matched=8 injected=8 overridden=2").await;
    for applier in [first, second] {
        let live = stage.get(applier).await;
        assert_eq!((value(&live, SAMPLER[1]), value(&live, SAMPLER[0])), (Some("0.9"), None), "{applier:?}");
        applier.apply(world, &sampled(applier, "0.9")).await.unwrap();
    }
}

#[tokio::test]
async fn the_other_form_in_git_works_and_comes_back_when_dropped() {
    let stage = Stage::new("form").await;
    let field = json!({"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}});
    let entries = [json!({"name": SERVICE, "valueFrom": field}), plain(HEADERS, "x=y")];
    let other = |applier: Applier| git(applier, &entries);
    for applier in Applier::ALL {
        applier.apply(&stage.world, &other(applier)).await.unwrap_or_else(|said| panic!("{applier:?}: {said}"));
    }
    stage.settled("matched=8 injected=8 overridden=8").await;
    for applier in Applier::ALL {
        let live = stage.get(applier).await;
        for entry in &entries {
            assert!(env(&live, "app").contains(entry), "{applier:?}: {:?}", env(&live, "app"));
        }
        assert_eq!(names(&live, "app").len(), ALL.len() + 1, "{applier:?}");
    }
    assert_eq!(stage.generations().await, [3; 8]);
    stage.rest(other).await;
    let dropped = |applier: Applier| git(applier, &[]);
    for applier in Applier::ALL {
        applier.apply(&stage.world, &dropped(applier)).await.unwrap_or_else(|said| panic!("{applier:?}: {said}"));
    }
    stage.settled(WHOLE).await;
    for applier in Applier::ALL {
        assert_eq!(held(&stage.get(applier).await, "app"), ALL, "{applier:?}");
    }
    stage.rest(dropped).await;
}

#[tokio::test]
async fn containers_are_renamed_and_removed() {
    let of = |names: [&'static str; 2]| {
        move |applier: Applier| {
            let containers: Vec<_> =
                names.iter().map(|name| container(name, &json!([plain("MODE", "fast")]))).collect();
            workload_of(KIND, applier.name(), &json!(containers))
        }
    };
    let stage = Stage::of("rename", of(["app", "side"])).await;
    let (renamed, removed) = (of(["web", "side"]), |applier: Applier| {
        workload_of(KIND, applier.name(), &json!([container("web", &json!([plain("MODE", "fast")]))]))
    });
    for (manifest, gone, kept) in
        [(&renamed as &dyn Fn(Applier) -> Value, "app", &["web", "side"][..]), (&removed, "side", &["web"][..])]
    {
        for applier in Applier::ALL {
            applier.apply(&stage.world, &manifest(applier)).await.unwrap_or_else(|said| panic!("{applier:?}: {said}"));
        }
        for applier in Applier::ALL {
            let live = stage
                .world
                .until("all containers have all variables", KIND, applier.name(), |live| {
                    let whole = kept.iter().all(|container| held(live, container) == ALL);
                    whole.then_some(()).ok_or_else(|| template(live).to_string())
                })
                .await;
            let containers = template(&live)["spec"]["containers"].as_array().unwrap();
            assert_eq!(containers.len(), kept.len(), "{applier:?}: {gone} is gone");
        }
        stage.settled(WHOLE).await;
        stage.rest(manifest).await;
    }
}

#[tokio::test]
async fn uninstalling_leaves_what_was_before() {
    let stage = Stage::new("uninstall").await;
    let world = &stage.world;
    world.kubectl(&["delete", "tracingpolicies.tracesteward.io", "all"]).success();
    for applier in Applier::ALL {
        let live = world
            .until("withdrawn", KIND, applier.name(), |live| managed(live).map_or(Ok(()), |held| Err(held.to_string())))
            .await;
        assert_eq!(template(&live), template(&stage.before[applier.name()]), "{applier:?}");
    }
    assert_eq!(stage.generations().await, [3; 8]);
    stage.rest(|applier| git(applier, &[])).await;

    // The other way round: the release goes while it is injected.
    world.apply(&policy("all", &settings(Some(0.25))));
    stage.settled(WHOLE).await;
    let mark = world.plane.audit_mark();
    for applier in Applier::ALL {
        applier.uninstall(world, KIND).unwrap_or_else(|said| panic!("{applier:?}: {said}"));
    }
    world.settled("all", "True/NoWorkloads", "").await;
    assert_eq!(world.counted(mark), [""; 0]);
    assert!(stage.operator.stop().success());
}
