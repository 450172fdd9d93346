//! What the user has set wins, and whose a variable is.

use super::common::{applied, container, deployment, lines, managed, plain, plan_of, policy, read};
use serde_json::Value;
use tracesteward::index::{EnvValue, Owner, Policy};
use tracesteward::plan::apply_patch;

const SPEC: &str = "{enabled: true, language: java, export: {endpoint: \"http://c:4317\", headersSecretRef: {name: h}, timeout: 1s, compression: gzip}, sampling: {ratio: 0.1}}";

fn everything() -> Policy {
    policy("p", SPEC)
}

fn with_env(names: &[&str]) -> Value {
    let env: Vec<_> = names.iter().map(|name| format!("{{name: {name}, value: mine}}")).collect();
    deployment(
        "{labels: {app.kubernetes.io/version: v1}}",
        &format!("[{{name: app, image: web, env: [{}]}}]", env.join(", ")),
    )
}

#[test]
fn groups_are_withheld_as_a_whole() {
    let export: &[&str] = &[
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        "OTEL_EXPORTER_OTLP_HEADERS",
        "OTEL_EXPORTER_OTLP_TIMEOUT",
        "OTEL_EXPORTER_OTLP_COMPRESSION",
    ];
    let sampler: &[&str] = &["OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"];
    let resource: &[&str] = &[
        "TRACESTEWARD_POD_NAME",
        "TRACESTEWARD_NODE_NAME",
        "TRACESTEWARD_SERVICE_VERSION",
        "OTEL_RESOURCE_ATTRIBUTES",
    ];
    for (users, withheld) in [
        (&["OTEL_EXPORTER_OTLP_ENDPOINT"][..], export),
        (&["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"], export),
        (&["OTEL_TRACES_SAMPLER"], sampler),
        (&["OTEL_TRACES_SAMPLER_ARG"], sampler),
        (&["OTEL_RESOURCE_ATTRIBUTES"], resource),
        (&["TRACESTEWARD_POD_NAME"], resource),
        // Alone in their effect.
        (&["OTEL_EXPORTER_OTLP_TIMEOUT"], &["OTEL_EXPORTER_OTLP_TIMEOUT"]),
        (&["OTEL_EXPORTER_OTLP_HEADERS"], &["OTEL_EXPORTER_OTLP_HEADERS"]),
        (&["OTEL_SERVICE_NAME"], &["OTEL_SERVICE_NAME"]),
        (&["OTEL_TRACES_EXPORTER"], &["OTEL_TRACES_EXPORTER"]),
        (&["OTEL_PROPAGATORS"], &["OTEL_PROPAGATORS"]),
        (&["OTEL_SDK_DISABLED", "PATH"], &[]),
        (&["OTEL_SERVICE_NAME", "OTEL_PROPAGATORS"], &["OTEL_SERVICE_NAME", "OTEL_PROPAGATORS"]),
    ] {
        let plan = plan_of(vec![everything()], &with_env(users));
        let [container] = plan.containers.as_slice() else { panic!("one container") };
        assert_eq!(container.withheld, withheld, "{users:?}");
        assert_eq!(plan.is_overridden(), !withheld.is_empty());
        let all = plan_of(vec![everything()], &with_env(&[])).containers.remove(0).variables;
        let rest: Vec<_> = all.into_iter().filter(|variable| !withheld.contains(&variable.name)).collect();
        assert_eq!(lines(&container.variables), lines(&rest), "{users:?}: the rest is set");
        let causes: Vec<_> = users.iter().filter(|_| !withheld.is_empty()).collect();
        assert_eq!(
            container.because.iter().collect::<Vec<_>>().len(),
            causes.len(),
            "{users:?}: {:?}",
            container.because
        );
    }
}

#[test]
fn a_name_listed_twice_is_the_users_even_where_the_operator_holds_it() {
    let twice = "[{name: app, image: web, env: [{name: OTEL_SERVICE_NAME, value: web}, {name: OTEL_SERVICE_NAME, value: mine}]}]";
    let mut object = deployment("{}", twice);
    object["metadata"]["managedFields"] =
        managed("Deployment", &[("tracesteward", "Apply", "app", &["OTEL_SERVICE_NAME"])]);
    let plan = plan_of(vec![everything()], &object);
    assert_eq!(plan.containers[0].withheld, ["OTEL_SERVICE_NAME"]);
}

/// The workload with a variable of the policy's in it, under these managers: `(manager, operation)`.
fn co_owned(managers: &[(&str, &str)], value: &str) -> Value {
    let mut object =
        deployment("{}", &format!("[{{name: app, image: web, env: [{{name: OTEL_SERVICE_NAME, value: {value}}}]}}]"));
    let entries: Vec<_> =
        managers.iter().map(|(manager, operation)| (*manager, *operation, "app", &["OTEL_SERVICE_NAME"][..])).collect();
    object["metadata"]["managedFields"] = managed("Deployment", &entries);
    object
}

#[test]
fn managed_fields_say_whose_a_variable_is() {
    let ours = ("tracesteward", "Apply");
    for (managers, is_ours) in [
        (&[][..], false),
        (&[ours], true),
        (&[("kubectl", "Apply")], false),
        (&[("kubectl-client-side-apply", "Update")], false),
        // Declared by the user as well: theirs, whoever came first.
        (&[ours, ("kubectl", "Apply")], false),
        (&[("helm", "Apply"), ours], false),
        // Somebody edits under our name: an Update is not our Apply.
        (&[("tracesteward", "Update")], false),
        (&[ours, ("tracesteward", "Update")], false),
        (&[("tracesteward-objects", "Apply")], false),
    ] {
        let object = co_owned(managers, "web");
        let app = container(&read(&object), "app");
        let owner = &app.variable("OTEL_SERVICE_NAME").unwrap().owner;
        let expected = if is_ours { Owner::Operator(EnvValue::Literal("web".to_owned())) } else { Owner::User };
        assert_eq!(*owner, expected, "{managers:?}");
        let plan = plan_of(vec![everything()], &object);
        assert_eq!(plan.containers[0].withheld.contains(&"OTEL_SERVICE_NAME"), !is_ours, "{managers:?}");
        let holds = managers.contains(&ours);
        assert_eq!(read(&object).is_held(), holds, "{managers:?}");
        // Held beside somebody else: let go of; and where no policy is left, withdrawn.
        assert_eq!(plan_of(vec![], &object).needs_write, holds, "{managers:?}");
    }
}

#[test]
fn values_of_users_are_not_kept() {
    let workload = read(&with_env(&["OTEL_SERVICE_NAME", "SECRET"]));
    assert!(!format!("{workload:?}").contains("mine"));
}

#[test]
fn what_was_taken_over_and_dropped_is_ours_to_fill() {
    // Another applier forced its value and dropped the variable again: a key is left that nobody but us holds.
    let mut object = deployment("{}", "[{name: app, image: web, env: [{name: OTEL_SERVICE_NAME}]}]");
    object["metadata"]["managedFields"] =
        managed("Deployment", &[("tracesteward", "Apply", "app", &["OTEL_SERVICE_NAME"])]);
    let plan = plan_of(vec![everything()], &object);
    assert!(plan.needs_write && plan.containers[0].withheld.is_empty());
    assert!(lines(&plan.containers[0].variables).contains(&"OTEL_SERVICE_NAME=web".to_owned()));
    assert!(plan_of(vec![], &object).needs_write, "or to remove");
}

#[test]
fn managed_fields_of_other_containers_kinds_and_subresources_do_not_count() {
    let mut object = co_owned(&[("tracesteward", "Apply")], "web");
    object["metadata"]["managedFields"][0]["subresource"] = "status".into();
    assert!(!read(&object).is_held());
    object["metadata"]["managedFields"] =
        managed("CronJob", &[("tracesteward", "Apply", "app", &["OTEL_SERVICE_NAME"])]);
    assert!(!read(&object).is_held());
    object["metadata"]["managedFields"] =
        managed("Deployment", &[("tracesteward", "Apply", "other", &["OTEL_SERVICE_NAME"])]);
    assert!(!read(&object).is_held());
}

#[test]
fn variables_of_a_later_version_are_withdrawn_too() {
    let mut object = deployment("{}", "[{name: app, env: [{name: OTEL_FROM_THE_FUTURE, value: x}]}]");
    object["metadata"]["managedFields"] =
        managed("Deployment", &[("tracesteward", "Apply", "app", &["OTEL_FROM_THE_FUTURE"])]);
    assert!(plan_of(vec![], &object).needs_write);
    assert!(plan_of(vec![everything()], &object).needs_write);
}

#[test]
fn an_empty_intent_withdraws_and_the_uid_guards() {
    let object = plain();
    let patch = apply_patch(&read(&object), plan_of(vec![], &object).intent());
    assert_eq!(
        patch.to_string(),
        r#"{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","namespace":"shop","uid":"1"}}"#
    );
}

#[test]
fn a_value_that_somebody_else_changed_is_set_again() {
    let plan = plan_of(vec![everything()], &plain());
    let object = applied(&plain(), plan.intent());
    assert!(!plan_of(vec![everything()], &object).needs_write);
    let mut changed = object.clone();
    changed["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"] = "http://elsewhere".into();
    assert!(plan_of(vec![everything()], &changed).needs_write);
    let mut removed = object;
    removed["spec"]["template"]["spec"]["containers"][0]["env"].as_array_mut().unwrap().remove(3);
    assert!(plan_of(vec![everything()], &removed).needs_write);
}

#[test]
fn what_is_listed_twice_is_the_users() {
    let mut object = deployment(
        "{}",
        "[{name: app, env: [{name: OTEL_SERVICE_NAME, value: a}, {name: OTEL_SERVICE_NAME, value: b}]}]",
    );
    object["metadata"]["managedFields"] =
        managed("Deployment", &[("tracesteward", "Apply", "app", &["OTEL_SERVICE_NAME"])]);
    let plan = plan_of(vec![everything()], &object);
    assert!(plan.containers[0].withheld.contains(&"OTEL_SERVICE_NAME"));
}

#[test]
fn a_value_taken_over_in_our_entry_stays_in_it() {
    // `kubectl set env` and `kubectl apply` hold the value alone: the entry would go with us.
    let mut object = applied(&plain(), plan_of(vec![everything()], &plain()).intent());
    let template = &mut object["spec"]["template"]["spec"]["containers"][0];
    template["env"][0]["value"] = "http://mine".into();
    let mut theirs = managed("Deployment", &[("kubectl-set", "Update", "app", &["OTEL_EXPORTER_OTLP_ENDPOINT"])]);
    let entry = "/0/fieldsV1/f:spec/f:template/f:spec/f:containers/k:{\"name\":\"app\"}/f:env/k:{\"name\":\"OTEL_EXPORTER_OTLP_ENDPOINT\"}";
    *theirs.pointer_mut(entry).unwrap() = serde_json::json!({"f:value": {}});
    let entries = object["metadata"]["managedFields"].as_array_mut().unwrap();
    entries.extend(theirs.as_array().unwrap().clone());

    for policies in [vec![everything()], vec![]] {
        let plan = plan_of(policies.clone(), &object);
        assert!(plan.needs_write, "the rest of the group goes");
        let patch = apply_patch(&read(&object), plan.intent());
        let env = patch.pointer("/spec/template/spec/containers/0/env").and_then(Value::as_array).unwrap();
        assert_eq!(env[0], serde_json::json!({"name": "OTEL_EXPORTER_OTLP_ENDPOINT"}), "by its name alone");
        let names: Vec<_> = env.iter().map(|entry| entry["name"].as_str().unwrap()).collect();
        assert!(!names.contains(&"OTEL_EXPORTER_OTLP_HEADERS"), "no credential for an endpoint of the user's");
        assert_eq!(names.len() > 1, !policies.is_empty());
    }
}
