//! How the chart is rendered, and what is read of it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

pub(crate) const NAMESPACE: &str = "tracesteward-system";

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The tool that the environment names, else the one in KUBEBUILDER_ASSETS, else the one that `make tools` built.
pub(crate) fn tool(name: &str) -> PathBuf {
    let named = std::env::var_os(name.to_uppercase()).map(PathBuf::from);
    if let Some(path) = named {
        assert!(path.is_file(), "{}={} is no file", name.to_uppercase(), path.display());
        return path;
    }
    let assets = std::env::var_os("KUBEBUILDER_ASSETS").map(|folder| Path::new(&folder).join(name));
    let built = root().join("target/tools/bin").join(name);
    assets
        .into_iter()
        .chain([built])
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("{name} is missing: run `make tools`, or set {} to the binary", name.to_uppercase()))
}

pub(crate) fn run(name: &str, args: &[&str]) -> Output {
    let binary = tool(name);
    // No cluster, no plugins, no settings of whoever runs the tests.
    Command::new(&binary)
        .args(args)
        .current_dir(root())
        .env("KUBECONFIG", "/dev/null")
        .env("HELM_CONFIG_HOME", root().join("target/tmp/helm"))
        .env("HELM_CACHE_HOME", root().join("target/tmp/helm"))
        .env("HELM_DATA_HOME", root().join("target/tmp/helm"))
        .output()
        .unwrap_or_else(|error| panic!("{} cannot run: {error}", binary.display()))
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(crate) fn helm_template(args: &[&str]) -> Result<String, String> {
    let all = ["template", "tracesteward", "charts/tracesteward", "--namespace", NAMESPACE, "--skip-tests"];
    helm(&[&all, args].concat())
}

/// What Helm prints, or what it complains of.
pub(crate) fn helm(args: &[&str]) -> Result<String, String> {
    let output = run("helm", args);
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

pub(crate) fn documents(yaml: &str) -> Vec<Value> {
    let all: Vec<Value> = serde_saphyr::from_multiple(yaml).unwrap_or_else(|error| panic!("not YAML: {error}\n{yaml}"));
    all.into_iter().filter(|value| !value.is_null()).collect()
}

pub(crate) fn render(args: &[&str]) -> Vec<Value> {
    documents(&helm_template(args).unwrap_or_else(|error| panic!("helm template {args:?}: {error}")))
}

pub(crate) fn refused(args: &[&str]) -> String {
    match helm_template(args) {
        Ok(_) => panic!("helm template {args:?} succeeded"),
        Err(message) => message,
    }
}

pub(crate) fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

pub(crate) fn one<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    match of_kind(objects, kind)[..] {
        [object] => object,
        ref others => panic!("{} objects of kind {kind}", others.len()),
    }
}

pub(crate) fn named<'o>(objects: &'o [Value], kind: &str, name: &str) -> &'o Value {
    let found = of_kind(objects, kind).into_iter().find(|object| object["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("no {kind} {name}"))
}

pub(crate) fn file(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub(crate) fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&file(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub(crate) fn names_in(folder: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(root().join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

pub(crate) fn identity(object: &Value) -> String {
    let field = |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    [field("/apiVersion"), field("/kind"), field("/metadata/namespace"), field("/metadata/name")].join(" ")
}

pub(crate) fn identities(objects: &[Value]) -> BTreeSet<String> {
    let all: BTreeSet<String> = objects.iter().map(identity).collect();
    assert_eq!(all.len(), objects.len(), "an object is there twice");
    all
}

pub(crate) const VALUES: &str = "charts/tracesteward/values.yaml";
pub(crate) const ALL_VALUES: &str = "charts/tracesteward/ci/all-values.yaml";
pub(crate) const SCHEMA: &str = "charts/tracesteward/values.schema.json";

/// The files with values of the main shapes of the chart; one of them sets everything.
pub(crate) fn shapes() -> Vec<String> {
    let files: Vec<_> =
        names_in("charts/tracesteward/ci").into_iter().map(|name| format!("charts/tracesteward/ci/{name}")).collect();
    assert!(files.len() > 5 && files.iter().all(|file| file.ends_with("-values.yaml")), "{files:?}");
    files
}

/// What the chart makes with this file of `ci`.
pub(crate) fn shape(name: &str) -> Vec<Value> {
    render(&["--values", &format!("charts/tracesteward/ci/{name}-values.yaml")])
}

/// A default of `values.yaml`, with its dotted path and its schema.
pub(crate) struct Leaf {
    pub(crate) path: String,
    pub(crate) default: Value,
    pub(crate) schema: Value,
}

/// All values, in the order of the file. What the schema leaves open inside is one value.
pub(crate) fn leaves() -> Vec<Leaf> {
    let mut all = Vec::new();
    collect(&yaml(VALUES), &yaml(SCHEMA), "", &mut all);
    assert!(all.len() > 50);
    all
}

fn collect(value: &Value, schema: &Value, path: &str, into: &mut Vec<Leaf>) {
    match (value, schema.get("properties")) {
        (Value::Object(map), Some(_)) => {
            for (key, inner) in map {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                collect(inner, &schema["properties"][key], &path, into);
            }
        }
        _ => into.push(Leaf { path: path.to_owned(), default: value.clone(), schema: schema.clone() }),
    }
}

/// Where a dotted path is.
pub(crate) fn pointer(path: &str) -> String {
    format!("/{}", path.replace('.', "/"))
}

pub(crate) fn container(objects: &[Value]) -> &Value {
    let containers = &one(objects, "Deployment")["spec"]["template"]["spec"]["containers"];
    assert_eq!(containers.as_array().map(Vec::len), Some(1));
    &containers[0]
}

pub(crate) fn args_of(objects: &[Value]) -> Vec<String> {
    let args = container(objects)["args"].as_array().expect("args");
    args.iter().map(|arg| arg.as_str().expect("an argument is text").to_owned()).collect()
}

pub(crate) fn strings(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}
