//! The CRDs of the chart are the generated ones.

use serde_json::{Value, json};

use crate::common::{file, named, names_in, of_kind, render, yaml};

/// The CRDs as they are generated, each with its name.
fn generated() -> Vec<(String, Value)> {
    let read = |name: String| {
        let crd = yaml(&format!("crds/{name}"));
        (crd["metadata"]["name"].as_str().expect("a name").to_owned(), crd)
    };
    let all: Vec<_> = names_in("crds").into_iter().map(read).collect();
    assert!(all.len() > 1);
    all
}

#[test]
fn crds_equal_the_generated_ones() {
    let objects = render(&["--set", "crds.annotations.example\\.com/a=b"]);
    for (name, generated) in generated() {
        let rendered = named(&objects, "CustomResourceDefinition", &name);
        assert_eq!(rendered["spec"], generated["spec"], "numbers and texts must survive the template");
        let annotations = json!({"example.com/a": "b", "helm.sh/resource-policy": "keep"});
        assert_eq!(rendered["metadata"]["annotations"], annotations);
    }
}

#[test]
fn crds_are_kept_and_left_out_as_told() {
    let objects = render(&["--set", "crds.keep=false"]);
    for (name, _) in generated() {
        assert!(named(&objects, "CustomResourceDefinition", &name)["metadata"].get("annotations").is_none());
    }
    let objects = render(&["--include-crds", "--set", "crds.enabled=false"]);
    assert!(of_kind(&objects, "CustomResourceDefinition").is_empty());
}

#[test]
fn preinstalled_crds_come_from_the_folder_and_only_once() {
    let objects = render(&["--set", "crds.preinstall=true"]);
    assert!(of_kind(&objects, "CustomResourceDefinition").is_empty(), "not a template then");
    let count = generated().len();
    let objects = render(&["--include-crds", "--set", "crds.preinstall=true"]);
    for (name, generated) in generated() {
        assert_eq!(*named(&objects, "CustomResourceDefinition", &name), generated);
    }
    assert_eq!(of_kind(&objects, "CustomResourceDefinition").len(), count);
    assert_eq!(of_kind(&render(&["--include-crds"]), "CustomResourceDefinition").len(), count);
}

#[test]
fn crds_in_the_chart_are_copies_of_the_generated_ones() {
    let generated = names_in("crds");
    assert!(!generated.is_empty());
    for folder in ["charts/tracesteward/files/crds", "charts/tracesteward/charts/crds/crds"] {
        assert_eq!(names_in(folder), generated, "{folder}: run `make generate`");
        for name in &generated {
            let path = format!("{folder}/{name}");
            assert_eq!(file(&path), file(&format!("crds/{name}")), "{path} is out of date: run `make generate`");
        }
    }
}
