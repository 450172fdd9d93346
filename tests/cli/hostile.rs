//! Input that is too much, or no text at all.

use std::fmt::Write as _;
use std::fs::File;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::common::{Answer, Files, GOOD, command, finish, run_with};

/// Debug builds on a busy machine take seconds; what is quadratic takes minutes.
const PATIENCE: Duration = Duration::from_secs(60);

fn quickly(what: &str, answer: impl FnOnce() -> Answer) -> Answer {
    let start = Instant::now();
    let answer = answer();
    assert!(start.elapsed() < PATIENCE, "{what}: {:?}", start.elapsed());
    assert!(!answer.stderr.contains("panicked") && !answer.stderr.contains("overflowed"), "{what}: {}", answer.stderr);
    answer
}

#[test]
fn ten_megabytes_of_policies() {
    let mut text = String::new();
    let mut count = 0;
    while text.len() < 10 << 20 {
        write!(
            text,
            "---\n{}",
            GOOD.replace("good", &format!("policy-{count}")).replace("shop", &format!("ns-{}", count % 500))
        )
        .unwrap();
        count += 1;
    }
    let answer = quickly("10 MB", || run_with(&["validate", "-"], &text));
    assert_eq!((answer.code, answer.stdout), (Some(0), format!("{count} objects checked: no findings\n")));
}

#[test]
fn many_documents_of_others() {
    let text = "a: 1\n---\n".repeat(100_000);
    let answer = quickly("others", || run_with(&["validate", "--skip-others", "-"], &text));
    assert_eq!((answer.code, answer.stdout), (Some(0), "100000 objects checked: no findings\n".to_owned()));
}

#[test]
fn nesting_without_end() {
    for (what, text) in [
        ("flow lists", "[".repeat(100_000)),
        ("closed flow lists", "[".repeat(100_000) + &"]".repeat(100_000)),
        ("flow maps", "{a: ".repeat(100_000)),
        ("JSON", "{\"a\":".repeat(100_000)),
        ("block lists", "- ".repeat(100_000)),
    ] {
        let answer = quickly(what, || run_with(&["validate", "-o", "json", "-"], &text));
        assert_eq!(answer.code, Some(3), "{what}: {answer:?}");
        assert!(answer.stdout.len() < 10_000, "{what}");
    }
}

#[test]
fn aliases_that_explode() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let alias = format!("*a{}", level - 1);
        writeln!(text, "a{level}: &a{level} [{}]", [alias.as_str(); 10].join(", ")).unwrap();
    }
    let answer = quickly("aliases", || run_with(&["validate", "-o", "json", "-"], &text));
    assert_eq!((answer.codes(), answer.code), (vec!["TRC0005".to_owned()], Some(3)));
}

#[test]
fn what_is_no_text() {
    for (what, bytes, code) in [
        (
            "a program",
            std::fs::read(env!("CARGO_BIN_EXE_tracesteward")).unwrap().into_iter().take(1 << 20).collect(),
            "TRC0002",
        ),
        ("Latin-1", b"a: caf\xe9\n".to_vec(), "TRC0002"),
        ("UTF-16", b"\xff\xfea\0:\0".to_vec(), "TRC0002"),
        ("zero bytes", vec![0; 1000], "TRC0002"),
    ] {
        let answer: Answer = quickly(what, || finish(command(&["validate", "-o", "json", "-"]), &bytes));
        assert_eq!((answer.codes(), answer.code), (vec![code.to_owned()], Some(3)), "{what}");
    }
}

#[test]
fn input_without_end_is_refused_in_bounded_memory() {
    for args in ["validate -o json -", "validate -o json /dev/stdin"] {
        let line = format!("ulimit -v 1000000; exec {} {args}", env!("CARGO_BIN_EXE_tracesteward"));
        let mut limited = Command::new("bash");
        limited
            .args(["-c", &line])
            .stdin(File::open("/dev/zero").unwrap())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let answer = quickly(args, || {
            let output = limited.spawn().unwrap().wait_with_output().unwrap();
            let text = |bytes| String::from_utf8(bytes).unwrap();
            Answer { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
        });
        assert_eq!((answer.codes(), answer.code), (vec!["TRC0005".to_owned()], Some(3)), "{args}");
    }
    // A device that is named could be waited for without end.
    let answer = quickly("/dev/zero", || finish(command(&["validate", "-o", "json", "/dev/zero"]), b""));
    assert_eq!((answer.codes(), answer.code), (vec!["TRC0001".to_owned()], Some(3)));
}

#[test]
fn names_that_command_a_terminal_are_made_visible() {
    let files = Files::new(&[("evil\u{1b}[2J.yaml", "spec: [\u{7}\n")]);
    let answer = files.run(&["validate", "."]);
    assert_eq!(answer.code, Some(3));
    assert!(!answer.stdout.contains('\u{1b}') && !answer.stdout.contains('\u{7}'), "{:?}", answer.stdout);
}
