//! The invariants of ARCHITECTURE.md, checked on the sources.
#![allow(clippy::unwrap_used, reason = "clippy's exception for tests does not reach their helpers")]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Modules that use no client, clock, file or environment.
const PURE: [&str; 5] = ["api", "index", "plan", "simulate", "diagnostics"];

/// What makes a module impure.
const IMPURE: [&str; 18] = [
    "kube::Client",
    "kube::Api",
    "Client,",
    "Api<",
    "tokio",
    "std::fs",
    "std::env",
    "std::io",
    "std::net::Tcp",
    "std::net::Udp",
    "std::process",
    "SystemTime",
    "Instant",
    "Timestamp::now",
    "async fn",
    ".await",
    "print!(",
    "println!(",
];

/// Layers that pure modules must not know of.
const OUTER: [&str; 8] = [
    "crate::watch",
    "crate::apply",
    "crate::controller",
    "crate::admission",
    "crate::telemetry",
    "crate::web",
    "crate::cli",
    "crate::{",
];

/// Calls that write to the API server; only `apply` has any.
const WRITES: [&str; 8] = [
    ".patch(",
    ".patch_status(",
    ".create(",
    "api.replace(",
    ".replace_status(",
    ".delete(",
    ".delete_collection(",
    ".publish(",
];

#[test]
fn pure_modules_stay_pure() {
    let mut faults = Vec::new();
    for (path, text) in sources() {
        let Some(module) = module(&path).filter(|module| PURE.contains(&module.as_str())) else { continue };
        for (number, line) in code(&text) {
            let line = &line.replace(".awaited", "");
            let words = IMPURE.iter().chain(OUTER.iter().filter(|outer| **outer != "crate::{"));
            for word in words.filter(|word| line.contains(**word)) {
                faults.push(format!("{}:{number}: `{word}` in the pure module {module}", path.display()));
            }
            // `use crate::{watch::…}` in one line or over several.
            for outer in OUTER.iter().filter_map(|outer| outer.strip_prefix("crate::")).filter(|outer| *outer != "{") {
                if line.trim_start().starts_with(&format!("{outer}::")) || line.contains(&format!("crate::{{{outer}::"))
                {
                    faults.push(format!("{}:{number}: uses {outer} from the pure module {module}", path.display()));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn only_apply_writes() {
    let mut faults = Vec::new();
    for (path, text) in sources() {
        if module(&path).as_deref() == Some("apply") {
            continue;
        }
        for (number, line) in code(&text) {
            for word in WRITES.iter().filter(|word| line.contains(**word)) {
                faults.push(format!("{}:{number}: `{word}` outside of src/apply", path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn workloads_are_never_forced() {
    let text = fs::read_to_string(root().join("src/apply/mod.rs")).unwrap();
    let forced: Vec<_> = code(&text).filter(|(_, line)| line.contains(".force()")).collect();
    // The other one is for annotations of the operator's own that `kubectl rollout undo` has taken over (decision 7).
    assert_eq!(forced.len(), 2, "only the status of the operator's own kinds is forced: {forced:?}");
    assert!(forced[0].1.contains("params.force()") && forced[1].1.contains("MANAGER_OWNED"), "{forced:?}");
    assert_eq!(text.matches("notes_taken_back(").count(), 2, "defined, and used once");
    assert!(text.contains("status.code == 409 && is_notes_alone("), "nothing of anybody's else is in such a patch");
    for file in ["owned.rs", "admission.rs"] {
        let owned = fs::read_to_string(root().join("src/apply").join(file)).unwrap();
        assert!(!owned.contains("MANAGER_INJECTED"), "{file}: the operator's own objects have a manager of their own");
    }
}

#[test]
fn files_are_short_and_say_what_they_are() {
    let mut faults = Vec::new();
    for (path, text) in sources() {
        let lines = text.lines().count();
        if lines > 450 {
            faults.push(format!("{}: {lines} lines; is it still one idea?", path.display()));
        }
        if !text.starts_with("//!") {
            faults.push(format!("{}: does not begin with what it is for", path.display()));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_architecture_names_every_module() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    for entry in fs::read_dir(root().join("src")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let module = name.trim_end_matches(".rs");
        assert!(text.contains(&format!("`src/{module}")), "ARCHITECTURE.md does not mention src/{module}");
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The first folder or file below src.
fn module(path: &Path) -> Option<String> {
    let first = path.components().nth(1)?.as_os_str().to_str()?;
    Some(first.trim_end_matches(".rs").to_owned())
}

/// Lines of code with their numbers: no comments, nothing of the unit tests at the end of a file.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(number, line)| (number + 1, line))
}

/// Every source file but unit tests, relative to the repository, with its text.
fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("tests") {
                folders.push(path);
            } else if path.ends_with("tests.rs") || path.is_dir() {
                // Tests may read clocks and files.
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(root()).unwrap().to_owned(), text));
            }
        }
    }
    assert!(found.len() > 20, "the sources were not found");
    found.sort();
    found
}
