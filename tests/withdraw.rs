//! `withdraw`: what the operator has put into workloads is taken out, without it.
#![allow(clippy::panic, clippy::unwrap_used, reason = "clippy's exception for tests does not reach their helpers")]

mod fixtures;
mod support;

use std::process::Command;

use fixtures::{World, container, env, managed, names, policy, shared, traced, workload, workload_of};
use serde_json::{Value, json};
use support::Output;

fn withdraw(world: &World<'_>, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracesteward"));
    command.arg("withdraw").args(args).env("KUBECONFIG", world.plane.admin_kubeconfig()).env("NO_COLOR", "1");
    support::kubectl::run(&mut command, "")
}

fn results(output: &Output) -> Vec<(String, String)> {
    let json: Value = serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let workloads = json["workloads"].as_array().unwrap().iter();
    workloads
        .map(|one| {
            (
                format!("{}/{}", one["kind"].as_str().unwrap(), one["name"].as_str().unwrap()),
                one["result"].as_str().unwrap().to_owned(),
            )
        })
        .collect()
}

#[tokio::test]
async fn what_is_the_operators_goes_and_what_is_the_users_stays() {
    let plane = shared().await;
    let world = World::new(plane, "withdraw").await;
    let kwok = plane.simulate_pods().await;
    let user = json!([{"name": "LOG_LEVEL", "value": "debug"}, {"name": "OTEL_SERVICE_NAME", "value": "mine"}]);
    let mut web = workload("Deployment", "web", &user);
    web["spec"]["replicas"] = json!(2);
    world.apply(&web);
    world.apply(&workload_of(
        "StatefulSet",
        "db",
        &json!([container("app", &json!([])), container("side", &json!([]))]),
    ));
    world.apply(&workload("CronJob", "nightly", &json!([])));
    // What has none of it is not written.
    world.apply(&workload("Deployment", "other", &json!([])));
    let targets = json!([{"kind": "Deployment", "name": "web"}, {"kind": "StatefulSet"}, {"kind": "CronJob"}]);
    let mut spec = traced(1.0);
    spec["targets"] = targets;
    world.apply(&policy("all", &spec));
    let operator = world.operator(&["--leader-elect=true"]).await;
    world
        .until("web is injected", "Deployment", "web", |live| {
            let has_endpoint = names(live, "app").contains(&"OTEL_EXPORTER_OTLP_ENDPOINT");
            has_endpoint.then_some(()).ok_or_else(|| live.to_string())
        })
        .await;
    for (kind, name) in [("StatefulSet", "db"), ("CronJob", "nightly")] {
        world.until("it is injected", kind, name, |live| managed(live).map(drop).ok_or_else(|| live.to_string())).await;
    }

    // Beside an operator it would be in vain.
    let refused = withdraw(&world, &["-n", &world.namespace]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(refused.stderr.contains("an operator runs"), "{refused:?}");
    assert!(operator.stop().success());

    let planned = withdraw(&world, &["-n", &world.namespace, "--dry-run", "-o", "json"]);
    let expected = ["CronJob/nightly", "Deployment/web", "StatefulSet/db"].map(str::to_owned);
    let mut named: Vec<String> = results(&planned).into_iter().map(|(name, _)| name).collect();
    named.sort();
    assert_eq!(named, expected);
    assert!(managed(&world.get("Deployment", "web").await).is_some(), "nothing was written");

    let done = withdraw(&world, &["-n", &world.namespace, "-o", "json"]);
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    assert!(results(&done).iter().all(|(_, result)| result == "withdrawn"), "{done:?}");
    let web = world.get("Deployment", "web").await;
    assert_eq!(env(&web, "app"), user.as_array().unwrap());
    // Its pods run without: it was waited for.
    assert_eq!(web["status"]["observedGeneration"], web["metadata"]["generation"]);
    assert_eq!(web["status"]["updatedReplicas"], 2, "{web}");
    assert_eq!(web["status"]["availableReplicas"], 2, "{web}");
    for (kind, name) in [("Deployment", "web"), ("StatefulSet", "db"), ("CronJob", "nightly")] {
        let live = world.get(kind, name).await;
        assert!(managed(&live).is_none(), "{live}");
    }
    let again = withdraw(&world, &["-A"]);
    assert_eq!((again.status.code(), again.stdout.as_str()), (Some(0), "nothing to withdraw\n"), "{again:?}");
    // Who may not look everywhere is not told that there is nothing.
    let kubeconfig = world.kubeconfig.to_str().unwrap().to_owned();
    let blind = withdraw(&world, &["-A", "--kubeconfig", &kubeconfig]);
    assert_eq!(blind.status.code(), Some(1), "{blind:?}");
    assert!(blind.stderr.contains("may not be listed"), "{blind:?}");
    drop(kwok);
}
