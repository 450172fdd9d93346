//! What is around the templates: README, notes, the package, the kustomize base.

use std::process::Command;

use serde_json::{Value, json};

use crate::common::{
    NAMESPACE, container, documents, file, helm_template, identities, identity, refused, render, run, text, yaml,
};

#[test]
fn notes_say_what_comes_next() {
    let notes = |args: &[&str]| {
        let mut all =
            vec!["install", "tracesteward", "charts/tracesteward", "-n", NAMESPACE, "--dry-run=client", "-o", "json"];
        all.extend(args);
        let output = run("helm", &all);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let release: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        release["info"]["notes"].as_str().expect("notes").to_owned()
    };
    let plain = notes(&[]);
    assert!(plain.contains("kubectl -n tracesteward-system rollout status deployment/tracesteward"), "{plain}");
    assert!(plain.contains("looks at all namespaces"), "{plain}");
    let (_, example) = plain.split_once("<<'END'\n").expect("an example");
    let (example, _) = example.split_once("END").expect("its end");
    assert_eq!(documents(example)[0]["kind"], "TracingPolicy");
    let all = notes(&["--values", "charts/tracesteward/ci/all-values.yaml", "--set", "crds.preinstall=true"]);
    assert!(all.contains("looks at team-a, team-b"), "{all}");
    assert!(all.contains("2 policies"), "{all}");
    assert!(all.contains("helm show crds"), "{all}");
}

#[test]
fn chart_says_where_it_runs() {
    let chart = yaml("charts/tracesteward/Chart.yaml");
    assert_eq!(chart["kubeVersion"], ">=1.30.0-0");
    let message = refused(&["--kube-version", "1.29.9"]);
    assert!(message.contains("kubeVersion"), "{message}");
    render(&["--kube-version", "1.30.0-eks-1"]);
}

#[test]
fn every_place_has_the_version_of_the_crate() {
    let version = env!("CARGO_PKG_VERSION");
    let chart = yaml("charts/tracesteward/Chart.yaml");
    let crds = yaml("charts/tracesteward/charts/crds/Chart.yaml");
    for place in [&chart["version"], &chart["appVersion"], &chart["dependencies"][0]["version"], &crds["version"]] {
        assert_eq!(place, version);
    }
    let images = documents(chart["annotations"]["artifacthub.io/images"].as_str().expect("a list"));
    assert_eq!(images[0][0]["image"], container(&render(&[]))["image"]);
}

#[test]
fn package_holds_no_test_values() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_string_lossy().into_owned();
    let output = run("helm", &["package", "charts/tracesteward", "--destination", &path]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let archive = folder.path().join(format!("tracesteward-{}.tgz", env!("CARGO_PKG_VERSION")));
    let listing = Command::new("tar").arg("-tzf").arg(&archive).output().expect("tar");
    let listing = text(&listing.stdout);
    assert!(!listing.contains("/ci/"), "{listing}");
    for needed in ["values.schema.json", "files/crds/", "charts/crds/crds/", "README.md"] {
        assert!(listing.contains(needed), "{needed} is missing in\n{listing}");
    }
}

#[test]
fn install_yaml_is_the_chart_with_its_defaults() {
    let rendered = helm_template(&[]).expect("the defaults render");
    assert!(
        file("config/default/install.yaml") == rendered,
        "config/default/install.yaml is out of date: run `make generate`"
    );
}

#[test]
fn namespaced_install_yaml_is_the_chart_with_those_values() {
    let rendered = helm_template(&["--values", "charts/tracesteward/ci/namespaced-values.yaml"]).expect("they render");
    assert!(
        file("config/namespaced/install.yaml") == rendered,
        "config/namespaced/install.yaml is out of date: run `make generate`"
    );
}

/// What kustomize builds, and the objects of the chart as kustomize would name their manager; both in a fixed order.
fn built_and_rendered(folder: &str, values: &[&str]) -> (Vec<Value>, Vec<Value>) {
    let output = run("kubectl", &["kustomize", folder]);
    assert!(output.status.success(), "{folder}: {}", text(&output.stderr));
    let rendered =
        helm_template(values).expect("the values render").replace("managed-by: Helm", "managed-by: kustomize");
    let mut wanted = documents(&rendered);
    wanted.push(json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": NAMESPACE, "labels": {"app.kubernetes.io/managed-by": "kustomize"}},
    }));
    let sorted = |mut objects: Vec<Value>| {
        objects.sort_by_key(identity);
        objects
    };
    (sorted(documents(&text(&output.stdout))), sorted(wanted))
}

#[test]
fn kustomize_builds_what_the_chart_makes() {
    let ha = ["--values", "charts/tracesteward/ci/ha-values.yaml"];
    let namespaced = ["--values", "charts/tracesteward/ci/namespaced-values.yaml"];
    for (folder, values) in
        [("config/default", &[][..]), ("config/overlays/ha", &ha), ("config/namespaced", &namespaced)]
    {
        let (built, wanted) = built_and_rendered(folder, values);
        assert_eq!(identities(&built), identities(&wanted), "{folder}");
        for (built, wanted) in built.iter().zip(&wanted) {
            assert_eq!(canonical(built), canonical(wanted), "{folder}: {}", identity(built));
        }
    }
}

/// Keys in order, so that what differs stands out; numbers by their value.
fn canonical(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let sorted: std::collections::BTreeMap<_, _> =
                map.iter().map(|(key, inner)| (key, canonical(inner))).collect();
            json!(sorted)
        }
        Value::Array(items) => items.iter().map(canonical).collect(),
        // kustomize writes 1000000 as 1e+06.
        Value::Number(number) => json!(number.as_f64()),
        other => other.clone(),
    }
}
