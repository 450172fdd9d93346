//! The Rust of the repairs, behind a webhook, and the CEL of the policy: the same updates in two namespaces, and they must
//! come out the same. A third namespace without either says what the API server makes of them alone.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};

use super::common::{SERVICE, apply, bare, bytes, minimal, put, repair_by};
use super::hook::Hook;
use crate::fixtures::{KINDS, World, managed, workload_of};

const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";
const VARIABLES: [&str; 4] = [SERVICE, HEADERS, "OTEL_TRACES_SAMPLER", "MODE"];

/// One variable in one of the forms.
#[derive(Clone, Debug)]
struct Variable {
    name: &'static str,
    form: usize,
}

impl Variable {
    fn entry(&self) -> Value {
        let source = json!({"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}});
        match self.form {
            0 => json!({"name": self.name, "value": "one"}),
            1 => json!({"name": self.name, "value": "two"}),
            2 => json!({"name": self.name, "valueFrom": source}),
            3 => json!({"name": self.name}),
            _ => json!({"name": self.name, "value": "one", "valueFrom": source}),
        }
    }
}

#[derive(Clone, Debug)]
struct Part {
    name: &'static str,
    image: bool,
    env: Vec<Variable>,
}

impl Part {
    fn container(&self) -> Value {
        let env: Vec<_> = self.env.iter().map(Variable::entry).collect();
        let mut container = json!({"name": self.name, "env": env});
        if self.image {
            container["image"] = json!("registry.example/any:1");
        }
        container
    }
}

/// Who does what last.
#[derive(Clone, Copy, Debug)]
enum Way {
    Unforced,
    Forced,
    Third,
    Operator,
    Put,
}

#[derive(Clone, Debug)]
struct Script {
    kind: &'static str,
    before: Vec<Part>,
    ours: Vec<Part>,
    after: Vec<Part>,
    way: Way,
}

fn part(
    name: &'static str,
    forms: &'static [usize],
    variables: &'static [&'static str],
    image: f64,
) -> impl Strategy<Value = Part> {
    let variable = move |name: &'static str| {
        (prop::bool::weighted(0.6), prop::sample::select(forms))
            .prop_map(move |(there, form)| there.then_some(Variable { name, form }))
    };
    let env: Vec<_> = variables.iter().map(|name| variable(name)).collect();
    (env, prop::bool::weighted(image)).prop_map(move |(env, image)| Part {
        name,
        image,
        env: env.into_iter().flatten().collect(),
    })
}

fn parts(
    forms: &'static [usize],
    variables: &'static [&'static str],
    image: f64,
    there: f64,
) -> impl Strategy<Value = Vec<Part>> {
    let one = move |name| (prop::bool::weighted(there), part(name, forms, variables, image));
    ["a", "b", "c", "d"]
        .map(one)
        .prop_map(|all| all.into_iter().filter_map(|(there, part)| there.then_some(part)).collect())
}

fn scripts() -> impl Strategy<Value = Script> {
    let ours = parts(&[0, 2], &VARIABLES[..3], 0.0, 0.8);
    let after = parts(&[0, 1, 2, 2, 3, 4], &VARIABLES, 0.95, 0.5);
    let way = prop::sample::select(
        &[Way::Unforced, Way::Unforced, Way::Forced, Way::Forced, Way::Third, Way::Operator, Way::Put][..],
    );
    let kind = prop::sample::select(&KINDS[..]).prop_map(|(kind, _)| kind);
    (kind, parts(&[0, 2], &VARIABLES[2..], 1.0, 0.75), ours, after, way)
        .prop_filter("something to start with", |script| !script.1.is_empty())
        .prop_map(|(kind, before, ours, after, way)| {
            // The controller of Deployments writes an annotation, which a PUT may or may not take out again.
            let kind = if kind == "Deployment" && matches!(way, Way::Put) { "StatefulSet" } else { kind };
            Script { kind, before, ours, after, way }
        })
}

/// Runs the script up to the update, and the update; `None` where already its beginning is refused.
async fn run(world: &World<'_>, name: &str, script: &Script) -> Option<Result<String, String>> {
    let containers = |parts: &[Part]| Value::Array(parts.iter().map(Part::container).collect());
    let manifest = |parts: &[Part]| workload_of(script.kind, name, &containers(parts));
    apply(world, &manifest(&script.before), "team", false).await.ok()?;
    let there = |part: &&Part| script.before.iter().any(|known| known.name == part.name);
    let ours: Vec<_> = script.ours.iter().filter(there).cloned().collect();
    let live = apply(world, &minimal(script.kind, name, &containers(&ours)), "tracesteward", false).await.ok()?;
    let update = match script.way {
        Way::Unforced => apply(world, &manifest(&script.after), "team", false).await,
        Way::Forced => apply(world, &manifest(&script.after), "team", true).await,
        Way::Third => apply(world, &minimal(script.kind, name, &containers(&script.after)), "third", true).await,
        Way::Operator => {
            apply(world, &minimal(script.kind, name, &containers(&script.after)), "tracesteward", true).await
        }
        Way::Put => {
            let mut object = live;
            let path =
                if script.kind == "CronJob" { "/spec/jobTemplate/spec/template/spec" } else { "/spec/template/spec" };
            object.pointer_mut(path).unwrap()["containers"] = containers(&script.after);
            put(world, &object, "somebody").await
        }
    };
    Some(match update {
        Ok(object) => Ok(format!("{} {:?}", bytes(&object), managed(&object))),
        Err(said) => Err(said.replace(&world.namespace, "NAMESPACE")),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_webhook_and_the_policy_agree() {
    let plane = bare().await;
    let hook = Hook::start(plane).await;
    let [policy, webhook, neither] =
        [World::new(plane, "agree").await, World::new(plane, "agree-hook").await, World::new(plane, "agree-not").await];
    repair_by(&policy, "policy").await;
    repair_by(&webhook, "webhook").await;
    let cases = std::env::var("TRACESTEWARD_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(120);
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let (mut repaired, mut accepted, mut refused) = (0, 0, 0);
    for number in 0..cases {
        let script = scripts().new_tree(&mut runner).unwrap().current();
        let name = format!("case-{number}");
        let Some(by_policy) = run(&policy, &name, &script).await else { continue };
        hook.asked();
        let by_webhook = run(&webhook, &name, &script).await.unwrap();
        let asked = hook.asked();
        let alone = run(&neither, &name, &script).await.unwrap();
        assert_eq!(by_policy, by_webhook, "{script:#?}");
        for asked in &asked {
            assert!(alone.is_err(), "asked for an update that needs no repair: {script:#?}\n{}", asked.object);
        }
        let operations: usize = asked.iter().map(|asked| asked.operations.len()).sum();
        if operations == 0 {
            assert_eq!(by_policy, alone, "{script:#?}");
        }
        match (&by_policy, &alone) {
            (Ok(_), Ok(_)) => accepted += 1,
            (Ok(_), Err(_)) => repaired += 1,
            (Err(_), _) => refused += 1,
        }
    }
    // The generator must keep to what the test is about.
    assert!(
        repaired * 10 > cases && accepted * 10 > cases && refused * 10 > cases,
        "{repaired} {accepted} {refused} of {cases}"
    );
}
