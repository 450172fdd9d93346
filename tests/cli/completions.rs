//! `completions`: a real bash completes with what is printed.

use std::process::Command;

use super::common::run;

fn completed(words: &[&str]) -> Vec<String> {
    let script = run(&["completions", "bash"]);
    assert_eq!(script.code, Some(0), "{script:?}");
    let ask = format!(
        "{}\nCOMP_WORDS=(tracesteward {}); COMP_CWORD={}; _tracesteward tracesteward '{}' '{}'; echo \"${{COMPREPLY[@]}}\"",
        script.stdout,
        words.join(" "),
        words.len(),
        words[words.len() - 1],
        words.len().checked_sub(2).map_or("tracesteward", |before| words[before]),
    );
    let output = Command::new("bash").args(["--norc", "-c", &ask]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().split_whitespace().map(str::to_owned).collect()
}

#[test]
fn commands_options_and_values() {
    assert_eq!(completed(&["sim"]), ["simulate"]);
    assert!(completed(&["simulate", "--comp"]).contains(&"--compare".to_owned()));
    assert_eq!(completed(&["simulate", "--output", "h"]), ["html"]);
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        assert!(run(&["completions", shell]).stdout.contains("simulate"), "{shell}");
    }
    assert_eq!(run(&["completions", "cmd"]).code, Some(2));
}
