//! The documentation says what the code does, as far as a check can see.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says why and stops"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tracesteward::api::crds;
use tracesteward::diagnostics::Code;
use tracesteward::index::ENV_NAMES;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every page that users and contributors read.
fn pages() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join("docs"), root().join("charts")];
    let is_page = |path: &Path| path.extension().is_some_and(|extension| extension == "md");
    found.extend(fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path()).filter(|path| is_page(path)));
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if is_page(&path) {
                found.push(path);
            }
        }
    }
    assert!(found.len() > 5, "{found:?}");
    found
}

/// Paths of all fields below a schema: `targets[].kind`.
fn fields(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    for (name, below) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        found.insert(path.clone());
        // Conditions are Kubernetes' own type.
        if name != "conditions" {
            fields(below, &path, found);
            fields(&below["items"], &format!("{path}[]"), found);
        }
    }
}

/// The first cells of the rows of all tables.
fn first_cells(page: &str) -> BTreeSet<String> {
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| row.split('`').next().unwrap().to_owned()).collect()
}

/// All fields of a kind.
fn known_fields(kind: &str) -> BTreeSet<String> {
    let (_, crd) = crds().unwrap().into_iter().find(|(_, crd)| crd.spec.names.kind == kind).unwrap();
    let crd = serde_json::to_value(crd).unwrap();
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
    let mut known = BTreeSet::new();
    fields(&schema["spec"], "", &mut known);
    fields(&schema["status"], "", &mut known);
    known
}

/// Compares what a page has in its tables with what there is.
fn lists_exactly(page: &str, known: &BTreeSet<String>) {
    let documented = first_cells(&read(page));
    let missing: Vec<_> = known.difference(&documented).collect();
    let unknown: Vec<_> = documented.difference(known).collect();
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "{page}: not documented: {missing:?}; documented, but not there: {unknown:?}"
    );
}

#[test]
fn the_reference_has_every_field_and_every_variable_and_no_other() {
    let mut known = known_fields("TracingPolicy");
    known.extend(ENV_NAMES.map(str::to_owned));
    lists_exactly("docs/reference/policy.md", &known);
    lists_exactly("docs/reference/collector.md", &known_fields("TracingCollector"));
    // What the blocks have in common with a TracingPolicy is on its page.
    let policy = known_fields("TracingPolicy");
    let is_shared = |field: &String| {
        let block = field.strip_prefix("defaults.").or_else(|| field.strip_prefix("overrides."));
        policy.contains(field) && field != "priority"
            || block.is_some_and(|rest| rest != "enabled" && policy.contains(rest))
    };
    let own = known_fields("ClusterTracingPolicy").into_iter().filter(|field| !is_shared(field)).collect();
    lists_exactly("docs/reference/cluster-policy.md", &own);
}

#[test]
fn variables_are_listed_in_their_order() {
    let page = read("docs/reference/policy.md");
    let at = ENV_NAMES.map(|name| page.find(&format!("| `{name}`")).unwrap());
    assert!(at.is_sorted());
}

#[test]
fn links_lead_somewhere() {
    let mut broken = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split('#').next().unwrap();
            if !path.is_empty() && !path.contains("://") && !page.parent().unwrap().join(path).exists() {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn policies_on_pages_are_valid() {
    let mut checked = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        if page.parent().unwrap().ends_with("docs/codes") {
            continue; // What is wrong with these is what they are about; tests/cli/codes.rs runs them.
        }
        for block in text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()) {
            if !block.contains("apiVersion: tracesteward.io/") {
                continue;
            }
            checked += 1;
            let mut command = Command::new(env!("CARGO_BIN_EXE_tracesteward"));
            command.args(["validate", "--fail-on", "warning", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = command.spawn().unwrap();
            std::io::Write::write_all(&mut child.stdin.take().unwrap(), block.as_bytes()).unwrap();
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{}:\n{}", page.display(), String::from_utf8_lossy(&output.stdout));
        }
    }
    assert!(checked > 0);
}

#[test]
fn the_readme_shows_what_validate_prints() {
    let folder = "config/samples/refused";
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracesteward"));
    let output = command.args(["validate", folder]).current_dir(root()).output().unwrap();
    let expected = format!("$ tracesteward validate {folder}\n{}```", String::from_utf8(output.stdout).unwrap());
    assert!(read("README.md").contains(&expected), "{expected}");
}

#[test]
fn the_pages_of_the_codes_are_those_of_the_catalogue() {
    let made = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracesteward"));
    assert!(command.args(["docs", "--output"]).arg(made.path()).status().unwrap().success());
    let files = |folder: &Path| -> BTreeMap<String, String> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
        entries
            .map(|entry| (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap()))
            .collect()
    };
    let (made, committed) = (files(made.path()), files(&root().join("docs/codes")));
    let names: BTreeSet<_> = made.keys().chain(committed.keys()).collect();
    let differing: Vec<_> = names.into_iter().filter(|name| made.get(*name) != committed.get(*name)).collect();
    assert!(differing.is_empty(), "run `make generate` and commit docs/codes: {differing:?} differ");
    assert_eq!(made.len(), Code::ALL.len() + 1, "a page for each code, and the table");
    let sources: BTreeSet<_> = files(&root().join("src/diagnostics/pages")).into_keys().collect();
    let codes: BTreeSet<_> = Code::ALL.iter().map(|code| format!("{code}.md")).collect();
    assert_eq!(sources, codes, "a text in src/diagnostics/pages for each code, and no other");
}

#[test]
fn the_page_of_the_command_line_has_every_option_and_format() {
    let page = read("docs/reference/cli.md");
    let help = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_tracesteward")).args(args).arg("--help").output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let overview = help(&[]);
    let listed = overview.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap();
    let commands: Vec<_> = listed.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next()).collect();
    let commands: Vec<_> = commands.into_iter().filter(|name| !["", "help"].contains(name)).collect();
    assert!(commands.contains(&"validate") && !commands.contains(&"docs"), "{commands:?}");
    for command in commands {
        assert!(page.contains(&format!("| [`{command}`](#{command}) |")), "{command}");
        if command == "operator" {
            continue; // It has a page of its own.
        }
        let help = help(&[command]);
        for word in help.split_whitespace().filter(|word| word.starts_with("--") && word.len() > 2) {
            let option = word.trim_end_matches(|character: char| !character.is_ascii_alphanumeric());
            let is_known =
                option == "--help" || page.contains(&format!("`{option}`")) || page.contains(&format!("`{option} "));
            assert!(is_known, "{command} {option} is not in docs/reference/cli.md");
        }
        // The values of an option, one a line.
        for line in help.lines().filter_map(|line| line.trim_start().strip_prefix("- ")) {
            let value = line.split(':').next().unwrap();
            assert!(page.contains(&format!("`{value}`")), "{command}: {value} is not in docs/reference/cli.md");
        }
    }
}

#[test]
fn the_pages_name_targets_that_the_makefile_has() {
    let makefile = read("Makefile");
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for rest in text.split("`make ").skip(1) {
            let target = rest.split(['`', ' ']).next().unwrap();
            assert!(makefile.contains(&format!("\n{target}:")), "{}: make {target}", page.display());
        }
    }
}

#[test]
fn the_page_of_the_operator_has_every_flag_and_variable_and_no_other() {
    let output = Command::new(env!("CARGO_BIN_EXE_tracesteward")).args(["operator", "--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let page = read("docs/reference/operator.md");
    let flags: BTreeSet<String> = help
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("--")?.split([' ', '=', '[']).next())
        .filter(|flag| *flag != "help")
        .map(|flag| format!("--{flag}"))
        .collect();
    assert!(flags.len() > 15, "{help}");
    let documented: BTreeSet<String> = first_cells(&page).into_iter().filter(|cell| cell.starts_with("--")).collect();
    assert_eq!(documented, flags);
    for variable in help.split("[env: ").skip(1).filter_map(|rest| rest.split(['=', ']']).next()) {
        let flag = variable.trim_start_matches("TRACESTEWARD_").to_lowercase().replace('_', "-");
        assert!(flags.contains(&format!("--{flag}")), "{variable} is not called after its flag");
    }
}
