//! What the users and their tools have set wins, whoever came first, and nothing of theirs fails more than it must
//! (facts/gitops.md, section 1).

use serde_json::{Value, json};

use crate::fixtures::{
    World, attention, container, documents, env, held, managed, names, policy, shared, template, text, tracesteward,
    value, workload, workload_of,
};

const EXPORT: [&str; 5] = [
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_TIMEOUT",
    "OTEL_EXPORTER_OTLP_COMPRESSION",
];
const SAMPLER: [&str; 2] = ["OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"];
const RESOURCE: [&str; 3] = ["TRACESTEWARD_POD_NAME", "TRACESTEWARD_NODE_NAME", "OTEL_RESOURCE_ATTRIBUTES"];

/// What [`full`] sets, in order.
const ALL: [&str; 13] = [
    EXPORT[0],
    EXPORT[1],
    EXPORT[2],
    EXPORT[3],
    EXPORT[4],
    "OTEL_TRACES_EXPORTER",
    "OTEL_SERVICE_NAME",
    RESOURCE[0],
    RESOURCE[1],
    RESOURCE[2],
    SAMPLER[0],
    SAMPLER[1],
    "OTEL_PROPAGATORS",
];

fn all_but(left_out: &[&str]) -> Vec<&'static str> {
    ALL.into_iter().filter(|name| !left_out.contains(name)).collect()
}

/// A policy with every group.
fn full() -> Value {
    json!({
        "enabled": true, "language": "java",
        "export": {"endpoint": "http://collector:4317", "headersSecretRef": {"name": "headers"}, "timeout": "10s", "compression": "gzip"},
        "sampling": {"ratio": 0.25},
    })
}

fn plain(name: &str, value: &str) -> Value {
    json!({"name": name, "value": value})
}

/// A namespace with the headers Secret and a full policy.
async fn world(prefix: &str) -> World<'static> {
    let world = World::new(shared().await, prefix).await;
    world
        .kubectl(&["create", "secret", "generic", "headers", "--from-literal=OTEL_EXPORTER_OTLP_HEADERS=a=b"])
        .success();
    world.apply(&policy("all", &full()));
    world
}

/// The entries of a container that are not the operator's.
fn own(live: &Value) -> Vec<Value> {
    let held = held(live, "app");
    env(live, "app").iter().filter(|variable| !held.contains(&text(&variable["name"]))).cloned().collect()
}

#[tokio::test]
async fn what_is_set_before_is_left_alone_with_its_group() {
    let world = world("before").await;
    let from = |name: &str, source: Value| json!({"name": name, "valueFrom": source});
    let config = json!({"configMapKeyRef": {"name": "c", "key": "k"}});
    let secret = json!({"secretKeyRef": {"name": "s", "key": "k"}});
    let field = json!({"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}});
    let one = |name: &'static str| vec![name];
    let cases: Vec<(&str, Value, Vec<&str>)> = vec![
        ("endpoint", plain(EXPORT[0], "http://mine:4317"), EXPORT.to_vec()),
        ("endpoint-from", from(EXPORT[0], config), EXPORT.to_vec()),
        ("traces-endpoint", plain("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://mine:4318/v1/traces"), EXPORT.to_vec()),
        ("headers-from", from(EXPORT[2], secret), one(EXPORT[2])),
        ("protocol", plain(EXPORT[1], "http/protobuf"), one(EXPORT[1])),
        ("sampler", plain(SAMPLER[0], "always_off"), SAMPLER.to_vec()),
        ("sampler-arg", plain(SAMPLER[1], "0.5"), SAMPLER.to_vec()),
        ("attributes", plain(RESOURCE[2], "team=a"), RESOURCE.to_vec()),
        ("pod-name", plain(RESOURCE[0], "x"), RESOURCE.to_vec()),
        ("service-from", from("OTEL_SERVICE_NAME", field), one("OTEL_SERVICE_NAME")),
        ("propagators", plain("OTEL_PROPAGATORS", "b3"), one("OTEL_PROPAGATORS")),
        ("empty", json!({"name": "OTEL_TRACES_EXPORTER"}), one("OTEL_TRACES_EXPORTER")),
        ("other", plain("OTEL_METRICS_EXPORTER", "none"), vec![]),
    ];
    for (name, entry, _) in &cases {
        world.apply(&workload("Deployment", name, &json!([entry])));
    }
    let mark = world.plane.audit_mark();
    let _operator = world.operator(&[]).await;
    let status = world.settled("all", "True/Ready", "matched=13 injected=13 overridden=12").await;
    for (name, entry, left_out) in &cases {
        let live = world.get("Deployment", name).await;
        assert_eq!(held(&live, "app"), all_but(left_out), "{name}");
        assert_eq!(own(&live), std::slice::from_ref(entry), "{name}: untouched");
    }
    assert_eq!(world.counted(mark).len(), 13, "no write was tried that had to fail");
    let attention = attention(&status);
    assert_eq!(attention.len(), 12, "{attention:#?}");
    let words = "the container sets this variable itself, so it is left alone";
    let sampler = format!(
        "Deployment/sampler-arg Overridden: {words}: container app sets OTEL_TRACES_SAMPLER_ARG; \
         left out: OTEL_TRACES_SAMPLER, OTEL_TRACES_SAMPLER_ARG"
    );
    assert!(attention.contains(&sampler), "{attention:#?}");
    assert!(attention.iter().all(|line| line.contains(" Overridden: ")), "{attention:#?}");
    let said = status["status"].to_string();
    assert!(!said.contains("http://mine") && !said.contains("team=a"), "values of users are none of a status: {said}");
}

#[tokio::test]
async fn who_sets_one_later_by_client_side_apply_gets_the_group() {
    let world = world("later").await;
    world.apply(&workload("Deployment", "web", &json!([plain("MODE", "fast")])));
    let _operator = world.operator(&[]).await;
    world.settled("all", "True/Ready", "matched=1 injected=1").await;
    let mark = world.plane.audit_mark();
    world.apply(&workload("Deployment", "web", &json!([plain("MODE", "fast"), plain(EXPORT[0], "http://mine:4317")])));
    world.settled("all", "True/Ready", "matched=1 injected=1 overridden=1").await;
    let live = world.get("Deployment", "web").await;
    // The entry stays ours by its name: the user holds nothing but its value, and it would go with the entry.
    assert_eq!(held(&live, "app"), all_but(&EXPORT[1..]));
    assert_eq!(names(&live, "app"), [&["MODE"][..], &all_but(&EXPORT[1..])].concat());
    assert_eq!(value(&live, EXPORT[0]), Some("http://mine:4317"));
    assert_eq!(world.counted(mark), ["patch deployments/web 200"]);

    world.apply(&workload("Deployment", "web", &json!([plain("MODE", "fast")])));
    world.settled("all", "True/Ready", "matched=1 injected=1").await;
    let live = world.get("Deployment", "web").await;
    assert_eq!((held(&live, "app"), value(&live, EXPORT[0])), (ALL.to_vec(), Some("http://collector:4317")));
    assert_eq!(world.counted(mark).len(), 2);
}

#[tokio::test]
async fn kubectl_set_env_wins() {
    let world = world("set-env").await;
    world.apply(&workload("StatefulSet", "db", &json!([])));
    let _operator = world.operator(&[]).await;
    world.settled("all", "True/Ready", "matched=1 injected=1").await;
    world.kubectl(&["set", "env", "statefulset/db", "OTEL_TRACES_SAMPLER=always_off"]).success();
    world.settled("all", "True/Ready", "matched=1 injected=1 overridden=1").await;
    let live = world.get("StatefulSet", "db").await;
    let without_argument = all_but(&[SAMPLER[1]]);
    assert_eq!(names(&live, "app"), without_argument, "an argument of ours would change its meaning");
    assert_eq!(value(&live, SAMPLER[0]), Some("always_off"));

    // What the user has set survives the policy, and comes back under it.
    world.kubectl(&["delete", "tracingpolicies.tracesteward.io", "all"]).success();
    let live = world
        .until("the rest is withdrawn", "StatefulSet", "db", |live| {
            (names(live, "app") == [SAMPLER[0]]).then_some(()).ok_or_else(|| template(live).to_string())
        })
        .await;
    assert_eq!(value(&live, SAMPLER[0]), Some("always_off"));
    world.apply(&policy("all", &full()));
    world.settled("all", "True/Ready", "matched=1 injected=1 overridden=1").await;
    let live = world.get("StatefulSet", "db").await;
    assert_eq!(value(&live, SAMPLER[0]), Some("always_off"));
    assert!(!names(&live, "app").contains(&SAMPLER[1]));

    world.kubectl(&["set", "env", "statefulset/db", "OTEL_TRACES_SAMPLER-"]).success();
    world.settled("all", "True/Ready", "matched=1 injected=1").await;
    assert_eq!(held(&world.get("StatefulSet", "db").await, "app"), ALL);
}

#[tokio::test]
async fn an_unforced_server_side_apply_meets_a_conflict_that_names_us() {
    let world = world("conflict").await;
    let manifest = |env: Value| workload("Deployment", "web", &env);
    world.apply_server_side(&manifest(json!([])), "team", &[]).success();
    let _operator = world.operator(&[]).await;
    world.settled("all", "True/Ready", "matched=1 injected=1").await;
    let before = world.get("Deployment", "web").await;
    let mark = world.plane.audit_mark();
    let said = world.apply_server_side(&manifest(json!([plain("OTEL_SERVICE_NAME", "mine")])), "team", &[]).failure();
    assert!(said.contains(r#"conflict with "tracesteward""#) && said.contains("OTEL_SERVICE_NAME"), "{said}");
    let after = world.get("Deployment", "web").await;
    assert_eq!((&after["spec"], managed(&after)), (&before["spec"], managed(&before)));
    // What the user applies next is not in the way of anything.
    world.apply_server_side(&manifest(json!([plain("MODE", "fast")])), "team", &[]).success();
    world.settled("all", "True/Ready", "matched=1 injected=1").await;
    let live = world.get("Deployment", "web").await;
    assert_eq!((held(&live, "app"), own(&live)), (ALL.to_vec(), vec![plain("MODE", "fast")]));
    assert_eq!(world.counted(mark), [""; 0]);
}

#[tokio::test]
async fn who_forces_gets_the_group_and_gives_it_back() {
    let world = world("forced").await;
    let manifest = |env: Value| workload("Deployment", "web", &env);
    let taken = manifest(json!([plain(SAMPLER[1], "0.9")]));
    world.apply_server_side(&manifest(json!([])), "team", &[]).success();
    let operator = world.operator(&[]).await;
    world.settled("all", "True/Ready", "matched=1 injected=1").await;
    let mark = world.plane.audit_mark();
    world.apply_server_side(&taken, "team", &["--force-conflicts"]).success();
    world.settled("all", "True/Ready", "matched=1 injected=1 overridden=1").await;
    let live = world.get("Deployment", "web").await;
    assert_eq!((held(&live, "app"), own(&live)), (all_but(&SAMPLER), vec![plain(SAMPLER[1], "0.9")]));
    world.apply_server_side(&manifest(json!([])), "team", &[]).success();
    world.settled("all", "True/Ready", "matched=1 injected=1").await;
    assert_eq!(held(&world.get("Deployment", "web").await, "app"), ALL);
    assert_eq!(world.counted(mark).len(), 2);

    // While nobody lets go of the name: what is dropped then stays behind without a value (row h), and is filled again.
    assert!(operator.stop().success());
    world.apply_server_side(&taken, "team", &["--force-conflicts"]).success();
    world.apply_server_side(&manifest(json!([])), "team", &[]).success();
    let left = world.get("Deployment", "web").await;
    assert!(env(&left, "app").contains(&json!({"name": SAMPLER[1]})), "{}", template(&left));
    let mark = world.plane.audit_mark();
    let _operator = world.operator(&[]).await;
    world.settled("all", "True/Ready", "matched=1 injected=1").await;
    let live = world
        .until("the empty variable is filled", "Deployment", "web", |live| {
            (value(live, SAMPLER[1]) == Some("0.25")).then_some(()).ok_or_else(|| template(live).to_string())
        })
        .await;
    assert_eq!(held(&live, "app"), ALL);
    assert_eq!(names(&live, "app"), ALL);
    assert_eq!(world.counted(mark), ["patch deployments/web 200"]);
}

#[tokio::test]
async fn an_empty_variable_that_was_left_behind_goes_with_the_policy() {
    let world = world("left").await;
    let manifest = |env: Value| workload("Deployment", "web", &env);
    world.apply_server_side(&manifest(json!([])), "team", &[]).success();
    let before = world.get("Deployment", "web").await;
    let operator = world.operator(&[]).await;
    world.settled("all", "True/Ready", "matched=1 injected=1").await;
    assert!(operator.stop().success());
    let taken = manifest(json!([plain("OTEL_SERVICE_NAME", "mine")]));
    world.apply_server_side(&taken, "team", &["--force-conflicts"]).success();
    world.apply_server_side(&manifest(json!([])), "team", &[]).success();
    world.kubectl(&["delete", "tracingpolicies.tracesteward.io", "all"]).success();
    let _operator = world.operator(&[]).await;
    let live = world
        .until("nothing is left", "Deployment", "web", |live| {
            managed(live).map_or(Ok(()), |fields| Err(fields.to_string()))
        })
        .await;
    assert_eq!(template(&live), template(&before));
}

#[tokio::test]
async fn what_is_declared_with_the_same_value_is_the_users() {
    let world = world("same").await;
    let manifest = |env: Value| workload("Deployment", "web", &env);
    world.apply_server_side(&manifest(json!([])), "team", &[]).success();
    let _operator = world.operator(&[]).await;
    world.settled("all", "True/Ready", "matched=1 injected=1").await;
    let mark = world.plane.audit_mark();
    let same = plain("OTEL_PROPAGATORS", "tracecontext,baggage");
    world.apply_server_side(&manifest(json!([same])), "team", &[]).success();
    world.settled("all", "True/Ready", "matched=1 injected=1 overridden=1").await;
    let live = world.get("Deployment", "web").await;
    assert_eq!((held(&live, "app"), own(&live)), (all_but(&["OTEL_PROPAGATORS"]), vec![same]));
    assert_eq!(live["metadata"]["generation"], 2, "nobody's pods restart for a change of owners");
    world.apply_server_side(&manifest(json!([])), "team", &[]).success();
    world.settled("all", "True/Ready", "matched=1 injected=1").await;
    assert_eq!(held(&world.get("Deployment", "web").await, "app"), ALL);
    assert_eq!(world.counted(mark).len(), 2);
}

#[tokio::test]
async fn variables_listed_twice_stay_as_they_are() {
    let world = world("twice").await;
    let twice = |name: &str| json!([plain(name, "one"), plain("MODE", "fast"), plain(name, "two")]);
    for (name, variable) in [("foo", "FOO"), ("service", "OTEL_SERVICE_NAME"), ("endpoint", EXPORT[0])] {
        let object = workload("Deployment", name, &twice(variable)).to_string();
        world.kubectl_stdin(&["create", "-f", "-"], &object).success();
    }
    let mut before = Vec::new();
    for name in ["foo", "service", "endpoint"] {
        before.push(world.get("Deployment", name).await);
    }
    let mark = world.plane.audit_mark();
    let _operator = world.operator(&[]).await;
    let status = world.settled("all", "True/Ready", "matched=3 injected=3 overridden=2").await;
    let left_out: [(&str, &str, &[&str]); 3] = [
        ("foo", "FOO", &[]),
        ("service", "OTEL_SERVICE_NAME", &["OTEL_SERVICE_NAME"]),
        ("endpoint", EXPORT[0], &EXPORT),
    ];
    for (name, variable, left_out) in left_out {
        let live = world.get("Deployment", name).await;
        assert_eq!(held(&live, "app"), all_but(left_out), "{name}");
        assert_eq!(json!(own(&live)), twice(variable), "{name}");
    }
    let attention = attention(&status);
    for line in [
        "Deployment/foo DuplicateVariables: the container lists the same variable twice: container app lists FOO more than once",
        "Deployment/service DuplicateVariables: the container lists the same variable twice: container app lists OTEL_SERVICE_NAME more than once",
    ] {
        assert!(attention.iter().any(|known| known == line), "{attention:#?}");
    }
    assert_eq!(attention.len(), 5, "{attention:#?}");
    world.kubectl(&["delete", "tracingpolicies.tracesteward.io", "all"]).success();
    for (name, before) in ["foo", "service", "endpoint"].into_iter().zip(&before) {
        let live = world
            .until("withdrawn", "Deployment", name, |live| managed(live).map_or(Ok(()), |held| Err(held.to_string())))
            .await;
        assert_eq!(template(&live), template(before), "{name}");
    }
    assert_eq!(world.counted(mark).len(), 6);
}

#[tokio::test]
async fn applying_the_manifest_again_changes_nothing() {
    let world = world("again").await;
    let client_side = workload("Deployment", "client", &json!([plain("MODE", "fast")]));
    let server_side = workload("DaemonSet", "server", &json!([plain("MODE", "fast")]));
    world.apply(&client_side);
    world.apply_server_side(&server_side, "flux", &[]).success();
    let _operator = world.operator(&[]).await;
    world.settled("all", "True/Ready", "matched=2 injected=2").await;
    let mark = world.plane.audit_mark();
    let before = (world.get("Deployment", "client").await, world.get("DaemonSet", "server").await);
    for _ in 0..2 {
        world.apply(&client_side);
        world.apply_server_side(&server_side, "flux", &[]).success();
        world.apply_server_side(&server_side, "flux", &["--force-conflicts"]).success();
    }
    let after = (world.get("Deployment", "client").await, world.get("DaemonSet", "server").await);
    for (before, after) in [(&before.0, &after.0), (&before.1, &after.1)] {
        assert_eq!(template(after), template(before));
        assert_eq!(held(after, "app"), ALL);
    }
    // A change of the user's own keeps what is ours.
    let mut changed = client_side.clone();
    changed["spec"]["template"]["spec"]["containers"][0]["image"] = json!("registry.example/app:2");
    world.apply(&changed);
    let live = world.get("Deployment", "client").await;
    assert_eq!((held(&live, "app"), live["metadata"]["generation"].clone()), (ALL.to_vec(), json!(3)));
    assert_eq!(world.counted(mark), [""; 0]);
}

#[tokio::test]
async fn helm_upgrades_keep_what_is_ours() {
    let world = world("helm").await;
    let chart = world.plane.folder().join(format!("{}-chart", world.namespace));
    std::fs::create_dir_all(chart.join("templates")).unwrap();
    std::fs::write(chart.join("Chart.yaml"), "{apiVersion: v2, name: web, version: 1.0.0}").unwrap();
    std::fs::write(chart.join("values.yaml"), "image: registry.example/app:1").unwrap();
    let mut manifest = workload_of("Deployment", "WEB", &json!([container("app", &json!([plain("MODE", "fast")]))]));
    manifest["spec"]["template"]["spec"]["containers"][0]["image"] = json!("IMAGE");
    let template_text =
        manifest.to_string().replace("WEB", "{{ .Release.Name }}").replace("IMAGE", "{{ .Values.image }}");
    std::fs::write(chart.join("templates/web.yaml"), template_text).unwrap();
    let helm = |args: &[&str]| {
        let mut command = world.plane.command("helm", &world.plane.admin_kubeconfig());
        crate::support::kubectl::run(command.args(args).args(["--namespace", &world.namespace]), "").success()
    };
    let path = chart.to_string_lossy().into_owned();
    let methods = [("server", "--server-side=true"), ("client", "--server-side=false")];
    for (name, method) in methods {
        helm(&["install", name, &path, method]);
    }
    let _operator = world.operator(&[]).await;
    world.settled("all", "True/Ready", "matched=2 injected=2").await;
    let mark = world.plane.audit_mark();
    for (name, method) in methods {
        helm(&["upgrade", name, &path, method]);
        let live = world.get("Deployment", name).await;
        assert_eq!((held(&live, "app"), live["metadata"]["generation"].clone()), (ALL.to_vec(), json!(2)), "{name}");
        helm(&["upgrade", name, &path, method, "--set", "image=registry.example/app:2"]);
        let live = world.get("Deployment", name).await;
        assert_eq!((held(&live, "app"), live["metadata"]["generation"].clone()), (ALL.to_vec(), json!(3)), "{name}");
        assert_eq!(template(&live)["spec"]["containers"][0]["image"], "registry.example/app:2");
    }
    assert_eq!(world.counted(mark), [""; 0]);
}

/// Waits until the Deployment controller has made a ReplicaSet of the present template.
async fn rolled_out(world: &World<'_>) {
    world
        .until("the controller has seen it", "Deployment", "web", |object| {
            let seen = object["status"]["observedGeneration"] == object["metadata"]["generation"];
            seen.then_some(()).ok_or_else(|| object["status"].to_string())
        })
        .await;
}

#[tokio::test]
async fn a_rollout_that_is_undone_keeps_what_the_policy_says() {
    let world = world("undo").await;
    world.apply(&workload("Deployment", "web", &json!([])));
    let _operator = world.operator(&[]).await;
    world.settled("all", "True/Ready", "matched=1 injected=1").await;
    rolled_out(&world).await;
    let mut other = full();
    other["export"]["endpoint"] = json!("http://other:4317");
    world.apply(&policy("all", &other));
    world.settled("all", "True/Ready", "matched=1 injected=1").await;
    rolled_out(&world).await;
    world.kubectl(&["rollout", "undo", "deployment/web"]).success();
    world
        .until("the policy's endpoint is back, whole", "Deployment", "web", |object| {
            let whole = held(object, "app") == ALL && value(object, EXPORT[0]) == Some("http://other:4317");
            whole.then_some(()).ok_or_else(|| object["spec"]["template"].to_string())
        })
        .await;
    let status = world.settled("all", "True/Ready", "matched=1 injected=1").await;
    assert!(attention(&status).is_empty(), "{status}");
}

#[tokio::test]
async fn what_render_prints_can_be_committed_while_it_is_injected() {
    let world = world("commit").await;
    let manifest = workload("Deployment", "web", &json!([]));
    world.apply(&manifest);
    let _operator = world.operator(&[]).await;
    world.settled("all", "True/Ready", "matched=1 injected=1").await;
    let before = world.get("Deployment", "web").await;
    let input = format!("{manifest}\n---\n{}", policy("all", &full()));
    let rendered = documents(&tracesteward(&["render", "-n", &world.namespace, "-"], &input).success());
    world.apply_server_side(&rendered[0], "git", &[]).success();
    let after = world
        .until("the operator lets go", "Deployment", "web", |object| {
            managed(object).is_none().then_some(()).ok_or_else(|| object["metadata"]["managedFields"].to_string())
        })
        .await;
    assert_eq!(template(&after), template(&before), "nothing restarts");
}
