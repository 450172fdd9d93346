//! What breaks a workload is taken out of it again, and nothing else is.

use serde_json::{Value, json};
use tracesteward::api::{REFUSED_ANNOTATION, REFUSED_BECAUSE_ANNOTATION};

use super::common::{ROLLED_OUT, is_complete, is_injected, plane, pods, running, traced, until_complete};
use crate::fixtures::{SOON, World, attention, condition, condition_of, counts_of, managed, names, policy, text};
use crate::support::kwok::{Failure, has_env, has_env_value, has_label};
use crate::support::{Scrape, consistently, eventually};

fn refused(object: &Value) -> Option<&str> {
    object["metadata"]["annotations"][REFUSED_ANNOTATION].as_str()
}

async fn until_refused(world: &World<'_>, kind: &str, name: &str) -> Value {
    eventually(&format!("{kind} {name}: taken back"), ROLLED_OUT, async || {
        let live = world.get(kind, name).await;
        if refused(&live).is_some() { Ok(live) } else { Err(live["status"].to_string()) }
    })
    .await
}

#[tokio::test]
async fn what_new_pods_cannot_run_with_is_taken_out_and_the_wave_stops() {
    let plane = plane().await;
    let world = World::new(&plane, "crash").await;
    let mut kwok = plane.simulate_pods().await;
    for name in ["a", "b", "c", "d"] {
        world.apply(&running("Deployment", name, &json!([])));
        until_complete(&world, "Deployment", name).await;
    }
    let untouched = [pods(&world, "b").await, pods(&world, "c").await, pods(&world, "d").await];
    let first = pods(&world, "a").await;
    kwok.crash_where(&has_env("OTEL_SERVICE_NAME"), "ImportError: no module named otel");
    let mark = plane.audit_mark();
    let operator = world.operator(&[]).await;
    world.apply(&policy("p", &traced(4317, &json!({"maxConcurrent": 1}))));
    let live = until_refused(&world, "Deployment", "a").await;
    assert!(!is_injected(&live) && names(&live, "app").is_empty(), "{live:#}");
    let because = text(&live["metadata"]["annotations"][REFUSED_BECAUSE_ANNOTATION]).to_owned();
    assert_eq!(because, "ImportError: no module named otel");
    until_complete(&world, "Deployment", "a").await;
    assert_eq!(pods(&world, "a").await, first, "the pods that ran run on");

    let seen = world.settled("p", "False/RolloutHalted", "matched=4 pending=3 reverted=1").await;
    let message = text(&condition_of(&seen, "Ready").unwrap()["message"]).to_owned();
    assert!(message.contains("Deployment a did not run") && message.contains("no module named otel"), "{message}");
    assert_eq!(condition(&seen, "Accepted"), "True/Accepted");
    assert!(attention(&seen)[0].starts_with("Deployment/a Reverted: ImportError"), "{:?}", attention(&seen));
    eventually("the Event is written", SOON, async || {
        let events = world.events().await;
        let found =
            events.iter().any(|(about, reason, _)| (&**about, &**reason) == ("Deployment/a", "TracingReverted"));
        found.then_some(()).ok_or_else(|| format!("{events:?}"))
    })
    .await;
    let reverts =
        Scrape::parse(&operator.get("/metrics").unwrap().body).unwrap().sum("tracesteward_reverts_total", &[]);
    assert!((reverts - 1.0).abs() < 0.1, "{reverts}");
    let expected = ["patch deployments/a 200"; 2];
    assert_eq!(world.counted(mark), expected, "in, and out again");

    // Whoever starts anew knows it, and tries nothing.
    assert!(operator.stop().success());
    let operator = world.operator(&[]).await;
    consistently("nothing more is written", std::time::Duration::from_secs(4), async || {
        let written = world.counted(mark);
        (written == expected).then_some(()).ok_or_else(|| format!("{written:?}"))
    })
    .await;
    assert_eq!([pods(&world, "b").await, pods(&world, "c").await, pods(&world, "d").await], untouched);

    // A changed policy is tried afresh, there and elsewhere.
    kwok.heal();
    world.apply(&policy("p", &traced(4318, &json!({"maxConcurrent": 1}))));
    let seen = world.settled("p", "True/Ready", "matched=4 injected=4").await;
    assert_eq!(attention(&seen), [""; 0]);
    let live = until_complete(&world, "Deployment", "a").await;
    assert!(is_injected(&live) && refused(&live).is_none(), "{live:#}");
    drop(operator);
}

#[tokio::test]
async fn the_note_can_be_taken_off_to_try_once_more_and_goes_with_the_policy() {
    let plane = plane().await;
    let world = World::new(&plane, "note").await;
    let mut kwok = plane.simulate_pods().await;
    world.apply(&running("Deployment", "web", &json!([])));
    until_complete(&world, "Deployment", "web").await;
    kwok.pull_fails_where(&has_env("OTEL_SERVICE_NAME"), "no such image");
    let _operator = world.operator(&[]).await;
    world.apply(&policy("p", &traced(4317, &json!({}))));
    let live = until_refused(&world, "Deployment", "web").await;
    assert_eq!(live["metadata"]["annotations"][REFUSED_BECAUSE_ANNOTATION], "ImagePullBackOff: no such image");
    until_complete(&world, "Deployment", "web").await;
    world.settled("p", "False/RolloutHalted", "matched=1 reverted=1").await;
    kwok.heal();
    world.kubectl(&["annotate", "deployment/web", &format!("{REFUSED_ANNOTATION}-")]).success();
    world.settled("p", "True/Ready", "matched=1 injected=1").await;
    assert!(is_injected(&until_complete(&world, "Deployment", "web").await));

    kwok.crash_where(&has_env_value("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4319"), "boom");
    world.apply(&policy("p", &traced(4319, &json!({}))));
    until_refused(&world, "Deployment", "web").await;
    world.settled("p", "False/RolloutHalted", "matched=1 reverted=1").await;
    world.kubectl(&["delete", "tracingpolicies.tracesteward.io", "p"]).success();
    world
        .until("nothing of the operator's is left", "Deployment", "web", |live| {
            managed(live).map_or(Ok(()), |fields| Err(fields.to_string()))
        })
        .await;
}

#[tokio::test]
async fn with_auto_revert_off_it_stays() {
    let plane = plane().await;
    let world = World::new(&plane, "stays").await;
    let mut kwok = plane.simulate_pods().await;
    for name in ["judged", "left"] {
        world.apply(&running("Deployment", name, &json!([])));
        until_complete(&world, "Deployment", name).await;
    }
    kwok.crash_where(&has_env("OTEL_SERVICE_NAME"), "boom");
    let _operator = world.operator(&[]).await;
    let only = |name: &str, auto_revert: bool| {
        let mut spec = traced(4317, &json!({"autoRevert": auto_revert}));
        spec["targets"] = json!([{"kind": "Deployment", "name": name}]);
        policy(name, &spec)
    };
    world.apply(&only("left", false));
    world.settled("left", "True/Ready", "matched=1 injected=1").await;
    world.apply(&only("judged", true));
    until_refused(&world, "Deployment", "judged").await;
    let live = world.get("Deployment", "left").await;
    assert!(is_injected(&live) && refused(&live).is_none(), "{live:#}");
}

#[tokio::test]
async fn failures_of_before_and_changes_of_users_are_not_blamed_on_it() {
    let plane = plane().await;
    let world = World::new(&plane, "innocent").await;
    let mut kwok = plane.simulate_pods().await;
    for name in ["before", "judged", "together"] {
        world.apply(&running("Deployment", name, &json!([])));
        until_complete(&world, "Deployment", name).await;
    }
    // One does not run before; of one the user changes the image in the moment in which it is injected.
    kwok.crash_where(&has_label("app", "before"), "no database");
    kwok.crash_where(&has_env("BROKEN"), "the user's own fault");
    kwok.crash_where(&has_env_value("OTEL_SERVICE_NAME", "judged"), "boom");
    world
        .until("it is broken", "Deployment", "before", |live| {
            (!is_complete(live)).then_some(()).ok_or_else(|| live["status"].to_string())
        })
        .await;
    // So that both changes come in one rollout.
    plane.stop_controller_manager();
    let operator = world.operator(&["--log-level=tracesteward=debug"]).await;
    world.apply(&policy("p", &traced(4317, &json!({}))));
    for name in ["before", "judged", "together"] {
        world
            .until("it is injected", "Deployment", name, |live| {
                is_injected(live).then_some(()).ok_or_else(|| live["spec"].to_string())
            })
            .await;
    }
    world.apply(&running("Deployment", "together", &json!([{"name": "BROKEN", "value": "1"}])));
    plane.start_controller_manager();
    until_refused(&world, "Deployment", "judged").await;
    eventually("both were looked at", SOON, async || {
        let logs = operator.logs();
        let seen = ["before", "together"]
            .iter()
            .all(|name| logs.lines().any(|line| line.contains("not to blame") && line.contains(&format!("/{name}"))));
        seen.then_some(()).ok_or(logs)
    })
    .await;
    for name in ["before", "together"] {
        let live = world.get("Deployment", name).await;
        assert!(is_injected(&live) && refused(&live).is_none(), "{name}: {live:#}");
    }
}

#[tokio::test]
async fn pods_that_admission_refuses_and_rollouts_that_take_too_long() {
    const GATE: &str = r#"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: gate}
spec:
  matchConstraints: {resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods]}]}
  validations:
  - expression: "!(object.metadata.labels.app in ['gated', 'db', 'agent']) || !object.spec.containers.exists(c, has(c.env) && c.env.exists(e, e.name == 'OTEL_SERVICE_NAME'))"
    message: no tracing here
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: gate}
spec: {policyName: gate, validationActions: [Deny]}
"#;
    let plane = plane().await;
    let world = World::new(&plane, "gated").await;
    let mut kwok = plane.simulate_pods().await;
    let mut late = running("Deployment", "late", &json!([]));
    late["spec"]["progressDeadlineSeconds"] = json!(5);
    let all = [("Deployment", "gated"), ("Deployment", "late"), ("StatefulSet", "db"), ("DaemonSet", "agent")];
    for (kind, name) in all {
        world.apply(&if name == "late" { late.clone() } else { running(kind, name, &json!([])) });
        until_complete(&world, kind, name).await;
    }
    kwok.fail_where(&has_env_value("OTEL_SERVICE_NAME", "late"), Failure::NeverReady);
    world.kubectl_stdin(&["apply", "-f", "-"], GATE).success();
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe", "labels": {"app": "gated"}},
        "spec": {"containers": [{"name": "app", "image": "x", "env": [{"name": "OTEL_SERVICE_NAME", "value": "x"}]}]}});
    eventually("the gate is shut", SOON, async || {
        let tried = world.kubectl_stdin(&["create", "--dry-run=server", "-f", "-"], &pod.to_string());
        tried.stderr.contains("no tracing here").then_some(()).ok_or(tried.stderr)
    })
    .await;
    let _operator = world.operator(&[]).await;
    world.apply(&policy("p", &traced(4317, &json!({}))));
    for (kind, name) in all {
        let live = until_refused(&world, kind, name).await;
        let because = text(&live["metadata"]["annotations"][REFUSED_BECAUSE_ANNOTATION]);
        let expected = if name == "late" { "ProgressDeadlineExceeded" } else { "no tracing here" };
        assert!(because.contains(expected), "{kind} {name}: {because}");
        until_complete(&world, kind, name).await;
    }
    let seen = world.settled("p", "False/RolloutHalted", "matched=4 reverted=4").await;
    assert_eq!(counts_of(&seen), "matched=4 reverted=4");
}

#[tokio::test]
async fn stateful_sets_and_daemon_sets_run_again_too() {
    let plane = plane().await;
    let world = World::new(&plane, "sets").await;
    let mut kwok = plane.simulate_pods().await;
    let all = [("StatefulSet", "db"), ("DaemonSet", "agent")];
    for (kind, name) in all {
        world.apply(&running(kind, name, &json!([])));
        until_complete(&world, kind, name).await;
    }
    kwok.crash_where(&has_env("OTEL_SERVICE_NAME"), "boom");
    let _operator = world.operator(&[]).await;
    world.apply(&policy("p", &traced(4317, &json!({}))));
    for (kind, name) in all {
        let live = until_refused(&world, kind, name).await;
        assert_eq!(live["metadata"]["annotations"][REFUSED_BECAUSE_ANNOTATION], "boom", "{kind}");
    }
    for (kind, name) in all {
        let live = until_complete(&world, kind, name).await;
        assert!(!is_injected(&live), "{kind}");
        assert!(pods(&world, name).await.iter().all(|(_, ready)| *ready), "{kind}");
    }
}

#[tokio::test]
async fn an_operator_that_starts_anew_finds_what_is_broken() {
    let plane = plane().await;
    let world = World::new(&plane, "anew").await;
    let mut kwok = plane.simulate_pods().await;
    world.apply(&running("Deployment", "web", &json!([])));
    until_complete(&world, "Deployment", "web").await;
    kwok.crash_where(&has_env("OTEL_SERVICE_NAME"), "boom");
    // Nothing is rolled out before the one that has written it is gone.
    plane.stop_controller_manager();
    let operator = world.operator(&[]).await;
    world.apply(&policy("p", &traced(4317, &json!({}))));
    world
        .until("it is injected", "Deployment", "web", |live| {
            is_injected(live).then_some(()).ok_or_else(|| live["spec"].to_string())
        })
        .await;
    operator.kill9();
    plane.start_controller_manager();
    let _operator = world.operator(&[]).await;
    let live = until_refused(&world, "Deployment", "web").await;
    assert_eq!(live["metadata"]["annotations"][REFUSED_BECAUSE_ANNOTATION], "boom");
    until_complete(&world, "Deployment", "web").await;
}

#[tokio::test]
async fn a_replica_set_that_is_used_again_is_judged_again() {
    let plane = plane().await;
    let world = World::new(&plane, "again").await;
    let mut kwok = plane.simulate_pods().await;
    let mut object = running("Deployment", "web", &json!([]));
    object["spec"]["strategy"] = json!({"type": "Recreate"});
    object["spec"]["replicas"] = json!(1);
    world.apply(&object);
    until_complete(&world, "Deployment", "web").await;
    kwok.crash_where(&has_env("OTEL_SERVICE_NAME"), "boom");
    let _operator = world.operator(&[]).await;
    world.apply(&policy("p", &traced(4317, &json!({}))));
    for round in 1..=2 {
        let live = until_refused(&world, "Deployment", "web").await;
        assert!(!is_injected(&live), "{round}");
        until_complete(&world, "Deployment", "web").await;
        if round == 1 {
            // Its pod is gone before there is a new one, and nothing says that a rollout has begun.
            world.kubectl(&["annotate", "deployment/web", &format!("{REFUSED_ANNOTATION}-")]).success();
            world
                .until("it is injected again", "Deployment", "web", |live| {
                    is_injected(live).then_some(()).ok_or_else(|| live["metadata"].to_string())
                })
                .await;
        }
    }
}

#[tokio::test]
async fn withdrawing_frees_a_stateful_set_and_waits_for_nobody() {
    let plane = plane().await;
    let world = World::new(&plane, "freed").await;
    let mut kwok = plane.simulate_pods().await;
    for name in ["db", "other"] {
        world.apply(&running("StatefulSet", name, &json!([])));
        until_complete(&world, "StatefulSet", name).await;
    }
    kwok.crash_where(&has_env_value("OTEL_SERVICE_NAME", "db"), "boom");
    let _operator = world.operator(&[]).await;
    let spec = traced(4317, &json!({"maxConcurrent": 1, "autoRevert": false}));
    world.apply(&policy("p", &spec));
    world
        .until("one of its pods does not run", "StatefulSet", "db", |live| {
            (is_injected(live) && live["status"]["readyReplicas"] == 1)
                .then_some(())
                .ok_or_else(|| live["status"].to_string())
        })
        .await;
    world.kubectl(&["delete", "tracingpolicies.tracesteward.io", "p"]).success();
    for name in ["db", "other"] {
        let live = until_complete(&world, "StatefulSet", name).await;
        assert!(managed(&live).is_none(), "{live:#}");
        assert!(pods(&world, name).await.iter().all(|(_, ready)| *ready), "{name}");
    }
}
