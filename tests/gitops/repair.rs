//! The MutatingAdmissionPolicy alone: what it makes possible, and that it touches nothing else. No operator runs here: its
//! variables are written under its field manager by the test.

use serde_json::{Value, json};

use super::common::{OWN_NAMESPACE, REPAIRED_BY, SERVICE, apply, bare, bytes, inject, put, repair_by};
use crate::fixtures::{KINDS, World, container, env, names, template, workload, workload_of};

const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";

/// Two namespaces on the bare control plane: in the first the policy is in force.
async fn pair(prefix: &str) -> [World<'static>; 2] {
    let plane = bare().await;
    let repaired = World::new(plane, prefix).await;
    repair_by(&repaired, "policy").await;
    [repaired, World::new(plane, &format!("{prefix}-plain")).await]
}

/// A value, and a reference, as the operator writes them.
fn ours() -> Value {
    let secret = json!({"secretKeyRef": {"name": "headers", "key": HEADERS, "optional": true}});
    json!([{"name": HEADERS, "valueFrom": secret}, {"name": SERVICE, "value": "ours"}])
}

fn mode() -> Value {
    json!([{"name": "MODE", "value": "fast"}])
}

#[tokio::test]
async fn containers_can_be_renamed_and_removed_in_every_kind() {
    let [repaired, plain] = pair("rename").await;
    let before = json!([container("app", &mode()), container("side", &json!([])), container("third", &json!([]))]);
    let after = [
        ("renamed", json!([container("web", &mode()), container("side", &json!([])), container("third", &json!([]))])),
        ("removed", json!([container("side", &json!([])), container("third", &json!([]))])),
        ("both", json!([container("other", &json!([])), container("third", &json!([]))])),
    ];
    for (kind, _) in KINDS {
        for force in [false, true] {
            for (what, after) in &after {
                let name = format!("{what}-{force}");
                let case = format!("{kind} {name}");
                for world in [&repaired, &plain] {
                    apply(world, &workload_of(kind, &name, &before), "team", false).await.unwrap();
                    inject(world, kind, &name, &["app", "side"], &ours()).await;
                }
                let wanted = workload_of(kind, &name, after);
                let said = apply(&plain, &wanted, "team", force).await.unwrap_err();
                assert!(said.contains("].image: Required value"), "{case}: {said}");
                let live =
                    apply(&repaired, &wanted, "team", force).await.unwrap_or_else(|said| panic!("{case}: {said}"));
                // What the same manifest makes where nothing was injected, plus ours in what is still there.
                let mut expected = apply(&plain, &workload_of(kind, "new", after), "team", true).await.unwrap();
                let kept = containers(&mut expected).iter_mut().find(|container| container["name"] == "side");
                if let Some(kept) = kept {
                    kept["env"] = ours();
                }
                assert_eq!(template(&live)["spec"], template(&expected)["spec"], "{case}");
            }
        }
    }
}

fn containers(object: &mut Value) -> &mut Vec<Value> {
    let path = if object["kind"] == "CronJob" { "/spec/jobTemplate/spec/template" } else { "/spec/template" };
    object.pointer_mut(path).unwrap()["spec"]["containers"].as_array_mut().unwrap()
}

/// Our variable in the other form.
fn other_forms() -> [Value; 2] {
    let field = json!({"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}});
    [json!({"name": SERVICE, "valueFrom": field}), json!({"name": HEADERS, "value": "mine=1"})]
}

#[tokio::test]
async fn the_other_form_can_be_declared_in_every_kind_and_way() {
    let [repaired, plain] = pair("form").await;
    let manifest = |kind: &str, name: &str, entry: Option<&Value>| {
        let env: Vec<_> = mode().as_array().unwrap().iter().cloned().chain(entry.cloned()).collect();
        workload(kind, name, &json!(env))
    };
    for (kind, _) in KINDS {
        for (number, entry) in other_forms().iter().enumerate() {
            for way in ["unforced", "forced", "client"] {
                let name = format!("{way}-{number}");
                let case = format!("{kind} {name}");
                let before = manifest(kind, &name, None);
                let after = manifest(kind, &name, Some(entry));
                for world in [&repaired, &plain] {
                    match way {
                        "client" => world.apply(&before),
                        _ => drop(apply(world, &before, "team", false).await.unwrap()),
                    }
                    inject(world, kind, &name, &["app"], &ours()).await;
                }
                let update = async |world: &World<'_>| match way {
                    "client" => {
                        let output = world.kubectl_stdin(&["apply", "-f", "-"], &after.to_string());
                        if output.status.success() { Ok(()) } else { Err(output.stderr) }
                    }
                    _ => apply(world, &after, "team", way == "forced").await.map(drop),
                };
                let said = update(&plain).await.unwrap_err();
                assert!(said.contains("may not be specified when `value` is not empty"), "{case}: {said}");
                update(&repaired).await.unwrap_or_else(|said| panic!("{case}: {said}"));
                let live = repaired.get(kind, &name).await;
                let mut expected = [ours().as_array().unwrap().clone(), mode().as_array().unwrap().clone()].concat();
                *expected.iter_mut().find(|known| known["name"] == entry["name"]).unwrap() = entry.clone();
                let mut live = env(&live, "app").to_vec();
                for list in [&mut live, &mut expected] {
                    list.sort_by_key(|variable| variable["name"].to_string());
                }
                assert_eq!(live, expected, "{case}");
            }
        }
    }
}

/// A StatefulSet, because the controller of Deployments writes to more than their status.
///
/// An update of the objects below: whose, with what; `Ok` where the API server accepts it without the policy too.
type Case<'a> = (&'a str, Update, Result<(), &'a str>);

enum Update {
    Apply(&'static str, bool, Value),
    /// `kubectl` with these arguments.
    Kubectl(Vec<&'static str>),
    /// The live object with this change, by PUT.
    Put(fn(&mut Value)),
}

async fn perform(world: &World<'_>, update: &Update) -> Result<Value, String> {
    match update {
        Update::Apply(manager, force, manifest) => apply(world, manifest, manager, *force).await,
        Update::Kubectl(args) => {
            let output = world.kubectl(args);
            if !output.status.success() {
                return Err(output.stderr);
            }
            Ok(world.get("StatefulSet", "web").await)
        }
        Update::Put(change) => {
            let mut object = world.get("StatefulSet", "web").await;
            change(&mut object);
            put(world, &object, "somebody").await
        }
    }
}

fn cases() -> Vec<Case<'static>> {
    let web = |containers: &Value| workload_of("StatefulSet", "web", containers);
    let side = || container("side", &json!([]));
    let app = |env: Value| container("app", &env);
    let both =
        |name: &str| json!({"name": name, "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}});
    let team = |force: bool, containers: Value| Update::Apply("team", force, web(&containers));
    let extra = json!({"name": "EXTRA", "valueFrom": both("")["valueFrom"]});
    let no_image = "].image: Required value";
    let two_forms = "may not be specified when `value` is not empty";
    let forgotten = json!({"name": "app", "env": mode()});
    let over = super::common::minimal(
        "StatefulSet",
        "web",
        &json!([{"name": "app", "env": [both("MODE").as_object().map(|known| json!({"name": "MODE", "valueFrom": known["valueFrom"]}))]}]),
    );
    vec![
        ("a new container without an image", team(false, json!([app(mode()), side(), {"name": "new"}])), Err(no_image)),
        ("the same, forced", team(true, json!([app(mode()), side(), {"name": "new"}])), Err(no_image)),
        ("a forgotten image", team(false, json!([forgotten, side()])), Err(no_image)),
        ("a forgotten image, forced", team(true, json!([forgotten, side()])), Err(no_image)),
        (
            "a forgotten image beside a new container",
            team(false, json!([forgotten, side(), container("n", &json!([]))])),
            Err(no_image),
        ),
        (
            "two forms of a variable of the user's",
            team(false, json!([app(json!([both("MODE")])), side()])),
            Err(two_forms),
        ),
        ("two forms of one of ours", team(true, json!([app(json!([both(SERVICE)])), side()])), Err(two_forms)),
        ("two forms by somebody else", Update::Apply("third", true, over.clone()), Err(two_forms)),
        (
            "the other form of a name that no policy writes",
            team(false, json!([app(json!([extra])), side()])),
            Err(two_forms),
        ),
        ("the operator over the user's form", Update::Apply("tracesteward", false, over), Err(two_forms)),
        (
            "an image that is taken out by update",
            Update::Put(|object| drop(object["spec"]["template"]["spec"]["containers"][0]["image"].take())),
            Err(no_image),
        ),
        (
            "another value, unforced",
            team(false, json!([app(json!([{"name": SERVICE, "value": "mine"}])), side()])),
            Err("conflict with \"tracesteward\""),
        ),
        (
            "another value, forced",
            team(true, json!([app(json!([{"name": SERVICE, "value": "mine"}])), side()])),
            Ok(()),
        ),
        ("a container more", team(false, json!([app(mode()), side(), container("more", &json!([]))])), Ok(())),
        ("a container that is not injected goes", team(false, json!([app(mode())])), Ok(())),
        ("the same again", team(false, json!([app(mode()), side()])), Ok(())),
        ("a variable is dropped", team(false, json!([app(json!([])), side()])), Ok(())),
        ("a label", Update::Kubectl(vec!["label", "statefulset", "web", "a=b"]), Ok(())),
        ("an annotation", Update::Kubectl(vec!["annotate", "statefulset", "web", "a=b"]), Ok(())),
        ("a scale", Update::Kubectl(vec!["scale", "statefulset", "web", "--replicas=2"]), Ok(())),
        ("a restart", Update::Kubectl(vec!["rollout", "restart", "statefulset", "web"]), Ok(())),
        ("set env", Update::Kubectl(vec!["set", "env", "statefulset/web", "OTEL_SERVICE_NAME=x"]), Ok(())),
        ("set image", Update::Kubectl(vec!["set", "image", "statefulset/web", "app=registry.example/other:1"]), Ok(())),
        ("an update that changes nothing", Update::Put(|_| ()), Ok(())),
        (
            "a container is taken out by update",
            Update::Put(|object| {
                drop(object["spec"]["template"]["spec"]["containers"].as_array_mut().unwrap().remove(0));
            }),
            Ok(()),
        ),
    ]
}

#[tokio::test]
async fn nothing_else_is_touched() {
    let mut ours_and_more = ours();
    ours_and_more.as_array_mut().unwrap().push(json!({"name": "EXTRA", "value": "of no policy"}));
    let [repaired, plain] = pair("nothing").await;
    for (case, update, expected) in cases() {
        let mut seen = Vec::new();
        for world in [&repaired, &plain] {
            world.kubectl(&["delete", "statefulset", "web", "--ignore-not-found", "--cascade=foreground"]).success();
            let manifest =
                workload_of("StatefulSet", "web", &json!([container("app", &mode()), container("side", &json!([]))]));
            apply(world, &manifest, "team", false).await.unwrap();
            inject(world, "StatefulSet", "web", &["app"], &ours_and_more).await;
            seen.push(perform(world, &update).await.map(|object| bytes(&object)));
        }
        match expected {
            Ok(()) => assert!(seen[0].is_ok(), "{case}: {:?}", seen[0]),
            Err(words) => {
                let said = seen[0].as_ref().expect_err(case);
                assert!(said.contains(words), "{case}: {said}");
            }
        }
        let neutral =
            |seen: &Result<String, String>| format!("{seen:?}").replace(&repaired.namespace, &plain.namespace);
        assert_eq!(neutral(&seen[0]), neutral(&seen[1]), "{case}");
    }
}

#[tokio::test]
async fn system_namespaces_and_the_operators_own_are_left_alone() {
    let plane = bare().await;
    let [repaired, _] = pair("system").await;
    let before = workload_of("Deployment", "web", &json!([container("app", &mode())]));
    let after = workload_of("Deployment", "web", &json!([container("web", &mode())]));
    for namespace in ["kube-gitops", OWN_NAMESPACE] {
        plane.named_namespace(namespace).await;
        plane.kubectl(&["label", "namespace", namespace, &format!("{REPAIRED_BY}=policy")]).success();
        let mut world = World::new(plane, "unused").await;
        namespace.clone_into(&mut world.namespace);
        apply(&world, &before, "team", false).await.unwrap();
        inject(&world, "Deployment", "web", &["app"], &ours()).await;
        let said = apply(&world, &after, "team", false).await.unwrap_err();
        assert!(said.contains("image: Required value"), "{namespace}: {said}");
    }
    // In force all the while.
    apply(&repaired, &before, "team", false).await.unwrap();
    inject(&repaired, "Deployment", "web", &["app"], &ours()).await;
    let live = apply(&repaired, &after, "team", false).await.unwrap();
    assert_eq!(names(&live, "web"), ["MODE"]);
}

#[tokio::test]
async fn large_workloads_are_within_the_budget_of_expressions() {
    let [repaired, _] = pair("large").await;
    let many = |prefix: &str| -> Vec<Value> {
        (0..200).map(|number| json!({"name": format!("{prefix}_{number}"), "value": "x"})).collect()
    };
    let containers = |last: &str, more: Option<Value>| {
        let env: Vec<_> = many("USER").into_iter().chain(more).collect();
        let names: Vec<_> = (0..9).map(|number| format!("app-{number}")).chain([last.to_owned()]).collect();
        Value::Array(names.iter().map(|name| container(name, &json!(env))).collect())
    };
    let manifest = |containers: Value| workload_of("Deployment", "web", &containers);
    apply(&repaired, &manifest(containers("old", None)), "team", false).await.unwrap();
    let names: Vec<_> = (0..9).map(|number| format!("app-{number}")).chain(["old".to_owned()]).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    inject(&repaired, "Deployment", "web", &names, &ours()).await;
    let [other, _] = other_forms();
    let live = apply(&repaired, &manifest(containers("new", Some(other.clone()))), "team", false).await.unwrap();
    assert_eq!(template(&live)["spec"]["containers"].as_array().unwrap().len(), 10);
    assert!(env(&live, "app-8").contains(&other));
}
