//! explain, diff and status against a real control plane: what they say is what the operator does.
#![allow(clippy::panic, clippy::unwrap_used, reason = "clippy's exception for tests does not reach their helpers")]

mod fixtures;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use fixtures::{SOON, World, condition, env, install_crds, policy, text, traced, workload};
use serde_json::{Value, json};
use support::{ControlPlane, Output, Process, eventually};

/// The binary against the control plane, as an administrator.
fn inspect(world: &World<'_>, args: &[&str], input: &str) -> Output {
    support::kubectl::run(&mut command(world, args), input)
}

fn command(world: &World<'_>, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracesteward"));
    command
        .args(args)
        .args(["-n", &world.namespace])
        .env("KUBECONFIG", world.plane.admin_kubeconfig())
        .env("NO_COLOR", "1");
    command
}

fn json_of(output: Output) -> Value {
    let text = output.success();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn stream(objects: &[Value]) -> String {
    let documents: Vec<_> = objects.iter().map(|object| format!("---\n{object}\n")).collect();
    documents.concat()
}

/// Without what only a cluster knows: names and values of fields, names and values of variables.
fn essence(explanation: &Value) -> Value {
    let fields: Vec<_> = explanation["fields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|field| {
            json!([
                field["field"],
                field["value"],
                field["policy"],
                field["path"],
                field["lost"].as_array().unwrap().len()
            ])
        })
        .collect();
    let containers: Vec<_> = explanation["containers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|container| {
            let variables: Vec<_> = container["variables"]
                .as_array()
                .unwrap()
                .iter()
                .map(|variable| json!([variable["name"], variable["value"], variable["valueFrom"], variable["from"]]))
                .collect();
            json!([container["name"], variables, container["withheld"]])
        })
        .collect();
    json!({"decision": explanation["decision"], "fields": fields, "containers": containers})
}

/// The operator's variables of a live workload, by name, as `diff` prints them.
fn carried(live: &Value) -> BTreeMap<String, Value> {
    let held: BTreeSet<&str> = fixtures::held(live, "app").into_iter().collect();
    let own = env(live, "app").iter().filter(|variable| held.contains(text(&variable["name"])));
    own.map(|variable| {
        let mut value = variable.clone();
        value.as_object_mut().unwrap().remove("name");
        if let Some(field) = value.pointer_mut("/valueFrom/fieldRef").and_then(Value::as_object_mut) {
            field.remove("apiVersion");
        }
        (text(&variable["name"]).to_owned(), value)
    })
    .collect()
}

/// What a prediction makes of what is there.
fn predicted(mut before: BTreeMap<String, Value>, workload: Option<&Value>) -> BTreeMap<String, Value> {
    for change in workload.into_iter().flat_map(|workload| workload["variables"].as_array().unwrap()) {
        let name = text(&change["name"]).to_owned();
        assert_eq!(change["before"], before.get(&name).cloned().unwrap_or_default(), "{name} before");
        if change["after"].is_null() {
            before.remove(&name);
        } else {
            before.insert(name, change["after"].clone());
        }
    }
    before
}

#[tokio::test(flavor = "multi_thread")]
async fn what_they_say_is_what_happens() {
    let plane = ControlPlane::start().await;
    install_crds(&plane);
    let world = World::cluster_wide(&plane, "inspect").await;
    let own = json!([{"name": "OTEL_PROPAGATORS", "value": "b3"}]);
    let mut running = workload("Deployment", "running", &json!([]));
    running["spec"]["replicas"] = json!(1);
    let workloads = [
        workload("Deployment", "web", &json!([])),
        running,
        workload("Deployment", "own", &own),
        workload("StatefulSet", "db", &json!([])),
        workload("CronJob", "nightly", &json!([])),
    ];
    for workload in &workloads {
        world.apply(workload);
    }
    let mut named = traced(0.5);
    named["targets"] = json!([{"kind": "Deployment"}]);
    world.apply(&policy("p", &named));
    // Nobody has counted yet: no numbers.
    let table = inspect(&world, &["status"], "").success();
    let row = table.lines().find(|line| line.contains("not reported")).unwrap_or_default();
    assert!(row.split_whitespace().filter(|cell| *cell == "-").count() >= 4, "{table}");
    assert!(!row.split_whitespace().any(|cell| cell == "0"), "{table}");
    let shown = json_of(inspect(&world, &["status", "-o", "json"], ""));
    assert_eq!(shown["policies"][0]["workloads"], Value::Null, "{shown:#}");
    let _operator = world.operator(&[]).await;
    world.settled("p", "True/Ready", "matched=3 injected=3 overridden=1").await;

    explain_says_the_same_from_files_and_live(&world);
    diff_predicts(&world, &named).await;
    status_shows(&world).await;
    rights(&world).await;
}

fn explain_says_the_same_from_files_and_live(world: &World<'_>) {
    for name in ["web", "own"] {
        let live = json_of(inspect(world, &["explain", &format!("deploy/{name}"), "-o", "json"], ""));
        let objects: Vec<Value> = [("deployment", name), ("tracingpolicy", "p")]
            .iter()
            .map(|(kind, name)| {
                serde_json::from_str(
                    &world.kubectl(&["get", kind, name, "-o", "json", "--show-managed-fields"]).success(),
                )
                .unwrap()
            })
            .collect();
        let files =
            json_of(inspect(world, &["explain", &format!("deploy/{name}"), "-o", "json", "-"], &stream(&objects)));
        assert_eq!(essence(&live), essence(&files));
        assert_eq!((live["decision"].as_str(), live["pending"].as_bool()), (Some("Traced"), Some(false)), "{live}");
        let states: BTreeSet<_> = live["containers"][0]["variables"]
            .as_array()
            .unwrap()
            .iter()
            .map(|variable| text(&variable["state"]))
            .collect();
        assert_eq!(states, BTreeSet::from(["in place"]));
        let ratio = live["fields"].as_array().unwrap().iter().find(|field| field["field"] == "sampling.ratio").unwrap();
        assert_eq!(ratio["managers"], json!(["kubectl-client-side-apply"]), "who set it");
        let ratio =
            files["fields"].as_array().unwrap().iter().find(|field| field["field"] == "sampling.ratio").unwrap();
        assert_eq!(ratio["file"], "<stdin>");
    }
    let missing = inspect(world, &["explain", "deploy/wbe"], "");
    assert_eq!(missing.status.code(), Some(1));
    assert!(missing.stderr.contains("nearest: web"), "{}", missing.stderr);
    // A file laid over the cluster.
    let over = policy("p", &json!({"enabled": false}));
    let laid = json_of(inspect(world, &["explain", "deploy/web", "--live", "-o", "json", "-"], &over.to_string()));
    assert_eq!((laid["decision"].as_str(), laid["pending"].as_bool()), (Some("Disabled"), Some(true)), "{laid}");
}

async fn diff_predicts(world: &World<'_>, named: &Value) {
    let mut changed = named.clone();
    changed["sampling"] = json!({"ratio": 0.25});
    changed["limits"] = json!({"spanEvents": 7});
    changed["targets"] =
        json!([{"kind": "Deployment", "name": "web"}, {"kind": "Deployment", "name": "running"}, {"kind": "CronJob"}]);
    let collector = json!({"apiVersion": "tracesteward.io/v1alpha1", "kind": "TracingCollector", "metadata": {"name": "gateway"},
        "spec": {"backends": [{"name": "b", "endpoint": "http://b:4317"}]}});
    let input = stream(&[policy("p", &changed), collector]);
    let all = [
        ("Deployment", "web"),
        ("Deployment", "running"),
        ("Deployment", "own"),
        ("StatefulSet", "db"),
        ("CronJob", "nightly"),
    ];
    let mut before = BTreeMap::new();
    for (kind, name) in all {
        before.insert((kind, name), world.get(kind, name).await);
    }
    let found = json_of(inspect(world, &["diff", "-o", "json", "-"], &input));
    let pretty = inspect(world, &["diff", "-"], &input).success();
    assert!(
        pretty.contains("+ OTEL_SPAN_EVENT_COUNT_LIMIT=7") && pretty.contains("--- collector.yaml (now)"),
        "{pretty}"
    );
    assert!(pretty.ends_with("1 workload would restart, ") || pretty.contains("1 workload would restart"), "{pretty}");
    assert_eq!(inspect(world, &["diff", "--exit-code", "-"], &input).status.code(), Some(1));
    let listed: BTreeMap<(&str, &str), &Value> = found["workloads"]
        .as_array()
        .unwrap()
        .iter()
        .map(|workload| ((text(&workload["kind"]), text(&workload["name"])), workload))
        .collect();
    let restarting: Vec<_> =
        listed.iter().filter(|(_, workload)| workload["restarts"] == true).map(|(id, _)| *id).collect();
    assert_eq!(restarting, [("Deployment", "running")], "{found:#}");
    world.kubectl_stdin(&["apply", "-f", "-"], &input).success();
    world.settled("p", "True/Ready", "matched=3 injected=3").await;
    for (kind, name) in all {
        let (old, new) = (&before[&(kind, name)], world.get(kind, name).await);
        let has_changed = old["metadata"]["generation"] != new["metadata"]["generation"];
        assert_eq!(has_changed, listed.contains_key(&(kind, name)), "{kind} {name}");
        assert_eq!(carried(&new), predicted(carried(old), listed.get(&(kind, name)).copied()), "{kind} {name}");
    }
    let of_policy = found["policies"].as_array().unwrap().iter().find(|policy| policy["name"] == "p").unwrap();
    let live = world.get("TracingPolicy", "p").await;
    assert_eq!(
        format!("{}/{}", text(&of_policy["after"]["status"]), text(&of_policy["after"]["reason"])),
        condition(&live, "Ready")
    );
    assert_eq!(of_policy["after"]["workloads"], live["status"]["workloads"]);
    // Nothing is left to change.
    let again = json_of(inspect(world, &["diff", "-o", "json", "-"], &input));
    assert_eq!(
        again["summary"],
        json!({"restarts": 0, "variables": 0, "workloads": 0, "policies": 0, "collectors": 0}),
        "{again:#}"
    );
    assert!(inspect(world, &["diff", "--exit-code", "-"], &input).success().contains("Nothing would change"));
    // Input that cannot be read, by itself and beside other input.
    for (args, input) in [(["diff", "nofile.yaml"], ""), (["diff", "-"], "a: [\n")] {
        let answer = inspect(world, &args, input);
        assert_eq!((answer.status.code(), answer.stdout.as_str()), (Some(3), ""), "{answer:?}");
        assert!(answer.stderr.contains("what it would change is not known"), "{answer:?}");
    }
    let more = policy("q", &traced(0.5)).to_string();
    let partly = inspect(world, &["diff", "nofile.yaml", "-"], &more);
    assert!(partly.status.code() == Some(3) && partly.stdout.contains("TracingPolicy"), "{partly:?}");
    assert!(partly.stderr.contains("what is printed is without it"), "{partly:?}");
    // An error in the files.
    let bad = policy("bad", &json!({"enabled": true})).to_string();
    let answer = inspect(world, &["diff", "-"], &bad);
    assert!(answer.status.code() == Some(1) && answer.stderr.contains("TRC0101"), "{answer:?}");
}

async fn status_shows(world: &World<'_>) {
    let shown = json_of(inspect(world, &["status", "-o", "json", "--workloads"], ""));
    let policy_shown = &shown["policies"][0];
    assert_eq!(
        (text(&policy_shown["name"]), text(&policy_shown["ready"]["reason"]), text(&policy_shown["sampler"])),
        ("p", "Ready", "0.25"),
        "{shown:#}"
    );
    let home = &shown["namespaces"][0];
    assert_eq!(
        (home["traced"].as_i64(), home["notSelected"].as_i64(), home["pending"].as_i64()),
        (Some(3), Some(2), Some(0)),
        "{shown:#}"
    );
    assert_eq!(shown["collectors"][0]["name"], "gateway");
    let table = inspect(world, &["status"], "").success();
    assert!(
        table.contains("POLICIES") && table.contains("COLLECTORS") && table.contains("http://collector:4317"),
        "{table}"
    );

    let log = world.plane.folder().join("status-watch.log");
    let mut watching = Process::start("status --watch", &command(world, &["status", "--watch", "-o", "json"]), &log);
    let seen = |wanted: &str| {
        let text = fs::read_to_string(&log).unwrap_or_default();
        let last = text.lines().last().and_then(|line| serde_json::from_str::<Value>(line).ok()).unwrap_or_default();
        let policies = last["policies"].as_array().into_iter().flatten();
        let reasons: Vec<_> = policies.map(|policy| text_of(&policy["ready"]["reason"])).collect();
        (reasons == [wanted]).then_some(()).ok_or_else(|| format!("{reasons:?}"))
    };
    eventually("the picture is shown", SOON, async || seen("Ready")).await;
    world.kubectl(&["patch", "tracingpolicy", "p", "--type=merge", "-p", r#"{"spec": {"enabled": false}}"#]).success();
    eventually("the change is shown", SOON, async || seen("Disabled")).await;
    watching.assert_alive();
    interrupt(&mut watching).await;
}

fn text_of(value: &Value) -> String {
    text(value).to_owned()
}

/// Ctrl-C ends it well.
async fn interrupt(process: &mut Process) {
    let status = Command::new("sh").args(["-c", "kill -INT \"$1\"", "sh", &process.pid().to_string()]).status();
    assert!(status.unwrap().success());
    let status = eventually("it ends", SOON, || {
        let exited = process.exited().ok_or_else(|| "it runs".to_owned());
        async move { exited }
    })
    .await;
    assert_eq!(status.code(), Some(0), "{}", process.log_tail());
}

/// With rights to a part, that part is shown.
async fn rights(world: &World<'_>) {
    let rbac = format!(
        "
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: reader, namespace: {0}}}
rules:
- {{apiGroups: [tracesteward.io], resources: [tracingpolicies], verbs: [list, watch]}}
- {{apiGroups: [apps], resources: [deployments], verbs: [list, watch]}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: reader, namespace: {0}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}}
subjects: [{{kind: ServiceAccount, name: reader, namespace: {0}}}]
",
        world.namespace
    );
    let kubeconfig = world.plane.service_account_kubeconfig(&world.namespace, "reader", &rbac).await;
    let mut command = command(world, &["status", "-o", "json"]);
    command.env("KUBECONFIG", kubeconfig);
    let answer = support::kubectl::run(&mut command, "");
    assert!(
        answer.stderr.contains("no right to list StatefulSet") && answer.stderr.contains("no right to list Namespace"),
        "{}",
        answer.stderr
    );
    let shown = json_of(answer);
    assert_eq!(shown["policies"][0]["name"], "p", "{shown}");
    assert_eq!(shown["namespaces"][0]["disabled"], 2, "{shown}");
}
