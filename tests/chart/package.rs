//! What is around the templates: README, notes, the package, the kustomize base.

use std::process::Command;

use serde_json::Value;

use crate::common::{NAMESPACE, documents, file, helm_template, identities, refused, render, run, text, yaml};

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
fn kustomize_base_builds_the_objects_of_the_chart() {
    let output = run("kubectl", &["kustomize", "config/default"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let built = documents(&text(&output.stdout));
    let mut want = identities(&render(&[]));
    want.insert(format!("v1 Namespace  {NAMESPACE}"));
    assert_eq!(identities(&built), want);
    assert!(!text(&output.stdout).contains("managed-by: Helm"));
}
