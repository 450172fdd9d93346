//! `tracesteward crds`.

use std::fs;

use super::common::{Files, root, run};

#[test]
fn what_is_committed_is_what_is_generated() {
    let files = Files::new(&[]);
    let answer = files.run(&["crds", "--output", "made/here"]);
    assert_eq!((answer.code, answer.stdout.as_str(), answer.stderr.as_str()), (Some(0), "", ""));
    let list = |folder: &std::path::Path| {
        let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let (made, committed) = (files.path("made/here"), root().join("crds"));
    assert_eq!(list(&made), list(&committed), "run `make generate`");
    let mut all = Vec::new();
    for name in list(&committed) {
        let text = fs::read_to_string(committed.join(&name)).unwrap();
        assert!(fs::read_to_string(made.join(&name)).unwrap() == text, "{name:?} differs: run `make generate`");
        all.push(text);
    }
    assert!(run(&["crds"]).stdout == all.join("---\n"), "to standard output: the same, as one stream");
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let files = Files::new(&[("file", "")]);
    let answer = files.run(&["crds", "--output", "file/below"]);
    assert_eq!(answer.code, Some(3));
    assert!(answer.stderr.contains("file/below"), "{}", answer.stderr);
}
