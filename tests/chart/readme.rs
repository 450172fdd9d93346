//! The tables of the chart's README are made of `values.yaml` and `values.schema.json`. With `TRACESTEWARD_UPDATE=1` they are written
//! (`make generate`).

use std::fmt::Write as _;
use std::fs;

use serde_json::Value;

use crate::common::{Leaf, SCHEMA, file, leaves, root, yaml};

const README: &str = "charts/tracesteward/README.md";
const BEGIN: &str = "<!-- begin: made by `make generate` from values.yaml and values.schema.json -->\n";
const END: &str = "<!-- end -->\n";

/// A value in one line of YAML.
fn flow(value: &Value) -> String {
    let list = |parts: Vec<String>| parts.join(", ");
    match value {
        Value::Object(map) => {
            format!("{{{}}}", list(map.iter().map(|(key, inner)| format!("{key}: {}", flow(inner))).collect()))
        }
        Value::Array(items) => format!("[{}]", list(items.iter().map(flow).collect())),
        Value::String(text) if serde_saphyr::from_str(text).is_ok_and(|read: Value| read == *value) => text.clone(),
        other => other.to_string(),
    }
}

fn meaning(schema: &Value, path: &str) -> String {
    let text = schema["description"].as_str().unwrap_or_else(|| panic!("{path} has no description"));
    assert!(!text.contains('|') && !text.contains('\n'), "{path}: not for a table");
    text.trim_end_matches('.').to_owned()
}

fn tables() -> String {
    let mut text = "| Value | Default | Meaning |\n|---|---|---|\n".to_owned();
    for Leaf { path, default, schema } in leaves() {
        writeln!(text, "| `{path}` | `{}` | {} |", flow(&default), meaning(&schema, &path)).expect("memory");
    }
    text.push_str("\n### Default policies\n| Entry of `defaultPolicies` | Meaning |\n|---|---|\n");
    let schema = yaml(SCHEMA);
    let fields = &schema["properties"]["defaultPolicies"]["items"]["properties"];
    for (name, field) in fields.as_object().expect("fields") {
        writeln!(text, "| `{name}` | {} |", meaning(field, name)).expect("memory");
    }
    text
}

#[test]
fn the_tables_of_the_readme_are_made_of_the_schema() {
    let readme = file(README);
    let (before, rest) = readme.split_once(BEGIN).expect("where the tables begin");
    let (_, after) = rest.split_once(END).expect("where they end");
    let made = format!("{before}{BEGIN}{}{END}{after}", tables());
    if std::env::var_os("TRACESTEWARD_UPDATE").is_some() {
        fs::write(root().join(README), &made).expect("the README is written");
    } else {
        assert!(readme == made, "{README} is out of date: run `make generate`");
    }
}
