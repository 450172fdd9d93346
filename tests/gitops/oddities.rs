//! Rarer things between appliers and the operator: duplicates, a second applier, a second source, empty variables.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tracesteward::api::{MANAGER_INJECTED, MANAGER_OWNED};

use super::appliers::Applier;
use super::common::{apply, inject, repaired_everywhere};
use crate::fixtures::{
    World, container, env, held, names, policy, template, text, traced, value, workload, workload_of,
};
use crate::support::consistently;

const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";

fn plain(name: &str, value: &str) -> Value {
    json!({"name": name, "value": value})
}

fn web(name: &str, env: &[Value]) -> Value {
    workload_of("Deployment", name, &json!([container("app", &json!(env))]))
}

/// The entries of the container `app` that the operator does not hold.
fn users(live: &Value) -> Vec<Value> {
    let held = held(live, "app");
    env(live, "app").iter().filter(|variable| !held.contains(&text(&variable["name"]))).cloned().collect()
}

/// Variables in short: `MODE=one`.
fn short(variables: &[Value]) -> Vec<String> {
    variables.iter().map(|known| format!("{}={}", text(&known["name"]), text(&known["value"]))).collect()
}

#[tokio::test]
async fn duplicate_names_come_out_as_they_do_without_the_operator_but_for_their_order() {
    let plane = repaired_everywhere().await;
    let (world, without) = (World::new(plane, "twice").await, World::new(plane, "twice-without").await);
    world.apply(&policy("all", &traced(0.5)));
    let _operator = world.operator(&[]).await;
    let twice = ["one", "x", "two"].map(|value| plain(if value == "x" { "OTHER" } else { "MODE" }, value));
    // One too many, three times; then put right; then gone.
    let right = [plain("MODE", "two"), plain("OTHER", "x")];
    let steps: [&[Value]; 5] = [&twice, &twice, &twice, &right, &[plain("OTHER", "y")]];
    for applier in Applier::ALL {
        let mut generations = Vec::new();
        for (step, env_in_git) in steps.iter().enumerate() {
            let case = format!("{applier:?} {step}");
            let manifest = web(applier.name(), env_in_git);
            let (with, alone) = (applier.apply(&world, &manifest).await, applier.apply(&without, &manifest).await);
            assert_eq!(with.is_ok(), alone.is_ok(), "{case}: {with:?} {alone:?}");
            // Server-side apply of a list with duplicates is refused by the API server, whoever asks.
            assert_eq!(with.is_ok(), step > 2 || !applier.is_server_side(), "{case}: {with:?}");
            if with.is_err() {
                continue;
            }
            let live = world
                .until("it is injected", "Deployment", applier.name(), |live| {
                    (!held(live, "app").is_empty()).then_some(()).ok_or_else(|| template(live).to_string())
                })
                .await;
            generations.push(live["metadata"]["generation"].clone());
            let alone = without.get("Deployment", applier.name()).await;
            let (mut with, mut alone) = (short(&users(&live)), short(env(&alone, "app")));
            // kubectl's merge moves the second one beside the first, once, where entries of others are in the list.
            let expected: &[&str] = match step {
                0 => &["MODE=one", "OTHER=x", "MODE=two"],
                1 | 2 => &["MODE=one", "MODE=two", "OTHER=x"],
                // And it deletes both where one of them goes (kubernetes#58477), also without the operator.
                3 if !applier.is_server_side() => &["OTHER=x"],
                3 => &["MODE=two", "OTHER=x"],
                _ => &["OTHER=y"],
            };
            assert_eq!(with, expected, "{case}");
            with.sort();
            alone.sort();
            assert_eq!(with, alone, "{case}");
        }
        let expected = if applier.is_server_side() { json!([2, 3]) } else { json!([2, 3, 3, 4, 5]) };
        assert_eq!(Value::Array(generations), expected, "{applier:?}");
    }
}

#[tokio::test]
async fn flux_takes_over_from_kubectl_and_leaves_what_is_injected() {
    for manager in [MANAGER_INJECTED, MANAGER_OWNED] {
        assert!(!manager.starts_with("kubectl"), "Flux would strip {manager}");
    }
    let world = World::new(repaired_everywhere().await, "over").await;
    let manifest = web("web", &[plain("MODE", "fast"), plain("OLD", "1")]);
    world.apply(&manifest);
    world.apply(&policy("all", &traced(0.5)));
    let _operator = world.operator(&[]).await;
    world.settled("all", "True/Ready", "matched=1 injected=1").await;
    let before = world.get("Deployment", "web").await;
    let mark = world.plane.audit_mark();
    let wanted = web("web", &[plain("MODE", "fast"), plain("NEW", "1")]);
    Applier::Flux.apply(&world, &wanted).await.unwrap();
    let live = world.get("Deployment", "web").await;
    let managers = live["metadata"]["managedFields"].as_array().unwrap();
    assert!(managers.iter().all(|entry| !text(&entry["manager"]).starts_with("kubectl")), "{managers:#?}");
    assert_eq!(held(&live, "app"), held(&before, "app"));
    for name in ["MODE", "NEW"] {
        assert!(value(&live, name).is_some(), "{name}");
    }
    assert_eq!(Applier::Flux.drift(&world, &wanted).await, Ok(None));
    assert_eq!(world.counted(mark), [""; 0]);
}

#[tokio::test]
async fn two_writers_that_force_do_not_fight() {
    let world = World::new(repaired_everywhere().await, "war").await;
    let wanted = web("web", &[plain("OTEL_TRACES_SAMPLER_ARG", "0.9")]);
    Applier::ArgoServer.apply(&world, &web("web", &[])).await.unwrap();
    world.apply(&policy("all", &traced(0.5)));
    let _operator = world.operator(&[]).await;
    world.settled("all", "True/Ready", "matched=1 injected=1").await;
    let mark = world.plane.audit_mark();
    // Self-heal: whenever a difference is seen, Git is applied again.
    let healed = AtomicUsize::new(0);
    consistently("Argo CD heals once at most", Duration::from_secs(3), async || {
        let drift = Applier::ArgoServer.drift(&world, &wanted).await?;
        let healed = healed.fetch_add(usize::from(drift.is_some()), Ordering::Relaxed);
        Applier::ArgoServer.apply(&world, &wanted).await?;
        (healed == 0 || drift.is_none()).then_some(()).ok_or_else(|| format!("{drift:?}"))
    })
    .await;
    let live = world.get("Deployment", "web").await;
    assert_eq!(value(&live, "OTEL_TRACES_SAMPLER_ARG"), Some("0.9"));
    assert_eq!(world.counted(mark), ["patch deployments/web 200"]);
}

#[tokio::test]
async fn a_second_source_for_the_headers_is_refused_until_the_policy_has_none() {
    let world = World::new(repaired_everywhere().await, "source").await;
    world.kubectl(&["create", "secret", "generic", "headers", &format!("--from-literal={HEADERS}=a=b")]).success();
    let source = json!({"name": HEADERS, "valueFrom": {"configMapKeyRef": {"name": "mine", "key": "headers"}}});
    let mut spec = traced(0.5);
    for applier in Applier::ALL {
        applier.apply(&world, &web(applier.name(), &[])).await.unwrap();
    }
    world.apply(&policy("without", &spec));
    spec["export"]["headersSecretRef"] = json!({"name": "headers"});
    spec["priority"] = json!(1);
    world.apply(&policy("with", &spec));
    let _operator = world.operator(&[]).await;
    world.settled("with", "True/Ready", "matched=8 injected=8").await;
    for applier in Applier::ALL {
        let said = applier.apply(&world, &web(applier.name(), std::slice::from_ref(&source))).await.unwrap_err();
        assert!(said.contains("may not have more than one field specified at a time"), "{applier:?}: {said}");
    }
    world.kubectl(&["delete", "tracingpolicies.tracesteward.io", "with"]).success();
    world.settled("without", "True/Ready", "matched=8 injected=8").await;
    for applier in Applier::ALL {
        applier.apply(&world, &web(applier.name(), std::slice::from_ref(&source))).await.unwrap();
    }
}

#[tokio::test]
async fn a_replacement_takes_everything_out_each_time() {
    let world = World::new(repaired_everywhere().await, "replace").await;
    let manifest = web("web", &[plain("MODE", "fast")]);
    world.apply(&manifest);
    world.apply(&policy("all", &traced(0.5)));
    let _operator = world.operator(&[]).await;
    world.settled("all", "True/Ready", "matched=1 injected=1").await;
    let mark = world.plane.audit_mark();
    for round in 0..2 {
        let replaced = world.kubectl_stdin(&["replace", "-o", "json", "-f", "-"], &manifest.to_string()).success();
        let replaced: Value = serde_json::from_str(&replaced).unwrap();
        assert_eq!(names(&replaced, "app"), ["MODE"], "{round}");
        world
            .until("it is injected again", "Deployment", "web", |live| {
                (held(live, "app").len() > 1).then_some(()).ok_or_else(|| template(live).to_string())
            })
            .await;
        assert_eq!(world.counted(mark).len(), round + 1);
    }
}

#[tokio::test]
async fn a_place_in_the_middle_keeps_references_to_earlier_variables() {
    let world = World::new(repaired_everywhere().await, "order").await;
    let three = ["TRACESTEWARD_POD_NAME", "TRACESTEWARD_NODE_NAME", "OTEL_RESOURCE_ATTRIBUTES"];
    for kind in ["StatefulSet", "CronJob"] {
        for applied in
            [vec!["FIRST", "LAST"], vec!["FIRST"], vec!["FIRST", "MIDDLE", "LAST"], vec!["LAST", "MIDDLE", "FIRST"]]
        {
            let own: Vec<_> = applied.iter().map(|name| plain(name, "1")).collect();
            apply(&world, &workload(kind, "web", &json!(own)), "team", true).await.unwrap();
            for ours in [&three[..], &three[..1], &[three[0], three[2]], &three] {
                let ours: Vec<_> = ours.iter().map(|name| plain(name, "1")).collect();
                let live = inject(&world, kind, "web", &["app"], &json!(ours)).await;
                let seen: Vec<_> = names(&live, "app").into_iter().filter(|name| three.contains(name)).collect();
                assert!(
                    seen.is_sorted_by_key(|name| three.iter().position(|known| known == name)),
                    "{kind} {applied:?}: {seen:?}"
                );
            }
        }
    }
}
