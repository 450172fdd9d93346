//! Input that wants to exhaust time, memory or the stack. Tests run on threads with 2 MiB of stack.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{faults, text};
use crate::diagnostics::FieldPath;
use crate::diagnostics::source::{MAX_BYTES, Reading, read};

/// Generous, for a busy machine: seconds are usual, and quadratic behaviour takes many minutes.
const PATIENCE: Duration = Duration::from_secs(120);

fn timed(input: &str) -> Reading {
    let start = Instant::now();
    let reading = text(input);
    assert!(start.elapsed() < PATIENCE, "{:?} for {} bytes", start.elapsed(), input.len());
    reading
}

fn policy(index: usize) -> String {
    format!(
        "apiVersion: tracesteward.io/v1alpha1\nkind: TracingPolicy\nmetadata:\n  name: policy-{index}\n  namespace: shop\nspec:\n  \
         enabled: true\n  targets:\n  - {{kind: Deployment, name: web-{index}}}\n  export:\n    endpoint: http://otel:4317 # comment\n"
    )
}

#[test]
fn ten_megabytes_of_yaml() {
    let mut input = String::new();
    for index in 0.. {
        input.push_str("---\n");
        input.push_str(&policy(index));
        if input.len() > 10 << 20 {
            break;
        }
    }
    let reading = timed(&input);
    assert_eq!(reading.diagnostics, []);
    let last = reading.documents.last().unwrap();
    assert_eq!(last.locate(&FieldPath::fields("spec.enabled")).line, reading.documents.len() * 12 - 4);
}

#[test]
fn ten_megabytes_in_one_document_and_one_scalar() {
    let mut input = String::from("items:\n");
    while input.len() < 10 << 20 {
        input.push_str("- {name: \"some name\", value: 12, flags: [a, b, c]}\n");
    }
    assert_eq!(timed(&input).diagnostics, []);
    let long = format!("a: {}\nb: \"{}\"\n", "x y ".repeat(1 << 20), "é\\n".repeat(1 << 20));
    assert_eq!(timed(&long).diagnostics, []);
}

#[test]
fn ten_megabytes_of_json_in_one_line() {
    let item = r#"{"kind":"TracingPolicy","metadata":{"name":"ä"},"spec":{"enabled":"x","n":[1,2.5,null]}}"#;
    let count = (10 << 20) / item.len();
    let input = format!(r#"{{"apiVersion":"v1","kind":"List","items":[{}]}}"#, vec![item; count].join(","));
    let reading = timed(&input);
    assert_eq!((reading.documents.len(), reading.diagnostics.len()), (count, 0));
    let start = Instant::now();
    let columns: usize = reading
        .documents
        .iter()
        .map(|document| document.locate(&FieldPath::fields("spec.enabled")).column)
        .max()
        .unwrap();
    assert!(columns > 9_000_000 && start.elapsed() < PATIENCE);
    // Broken at its very end, it is tried as YAML too.
    let reading = timed(input.strip_suffix('}').unwrap());
    assert_eq!((reading.documents.len(), faults(&reading)[0].0), (0, "TRC0003"));
}

#[test]
fn deep_nesting_is_refused() {
    let depth = 100_000;
    let flow = "[".repeat(depth);
    let braces = "{a: ".repeat(depth);
    let json = "{\"a\":".repeat(depth);
    let dashes = "- ".repeat(depth);
    let block = (0..3000).fold(String::new(), |mut text, level| {
        writeln!(text, "{}a:", " ".repeat(level)).unwrap();
        text
    });
    for input in [flow, braces, json, dashes, block] {
        assert_eq!(faults(&timed(&input))[0].0, "TRC0005", "{}", input.get(..20).unwrap());
    }
    let closed = format!("{{\"a\":{}{}}}", "[".repeat(99), "]".repeat(99));
    assert_eq!(text(&closed).documents.len(), 1);
    assert_eq!(faults(&text(&closed.replace("[]", "[[]]")))[0].0, "TRC0005");
    let keys = "? ".repeat(depth);
    assert!(!timed(&keys).diagnostics.is_empty());
}

#[test]
fn alias_bombs_are_refused() {
    let mut laughs = String::from("a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
    for level in 1..40 {
        let before = level - 1;
        writeln!(laughs, "a{level}: &a{level} [{}]", vec![format!("*a{before}"); 9].join(", ")).unwrap();
    }
    assert_eq!(faults(&timed(&laughs))[0].0, "TRC0005");
    let mut empty = String::from("a0: &a0 []\n");
    for level in 1..60 {
        let before = level - 1;
        writeln!(empty, "a{level}: &a{level} [*a{before}, *a{before}]").unwrap();
    }
    assert_eq!(faults(&timed(&empty))[0].0, "TRC0005");
    let big = format!("a: &a {}\nb: [{}]\n", "x".repeat(1 << 20), "*a,".repeat(100_000));
    assert_eq!(faults(&timed(&big))[0].0, "TRC0005");
    let merges = format!("a: &a {{x: 1}}\nb:\n{}", "  <<: *a\n".repeat(200_000));
    assert_eq!(timed(&merges).diagnostics, []);
}

#[test]
fn wide_merges_are_not_quadratic() {
    let mut input = String::from("a: &a\n");
    for key in 0..100_000 {
        writeln!(input, "  k{key}: 1").unwrap();
    }
    input.push_str("b:\n  <<: *a\n");
    for key in 0..100_000 {
        writeln!(input, "  k{key}: 2").unwrap();
    }
    input.push_str("c:\n  <<: [*a, *a]\n");
    assert_eq!(timed(&input).diagnostics, []);
}

#[test]
fn many_documents_and_many_faults() {
    let reading = timed(&"---\n".repeat(1_000_000));
    assert!(reading.documents.is_empty() && reading.diagnostics.is_empty());
    let reading = timed(&"---\na: [\n".repeat(1_000_000));
    assert_eq!((reading.diagnostics.len(), faults(&reading)[1000].0), (1001, "TRC0005"));
    let reading = timed(&format!("{{{}\"b\":1}}", "\"a\":1,".repeat(1_000_000)));
    assert_eq!(reading.diagnostics.len(), 1001);
    assert_eq!(timed(&"{}".repeat(1_000_000)).documents.len(), 1_000_000);
}

#[test]
fn size_and_number_of_values_are_limited() {
    let reading = read("in.yaml", vec![b' '; MAX_BYTES + 1]);
    assert_eq!(faults(&reading), [("TRC0005", 0, 0)]);
    assert!(timed(&" ".repeat(MAX_BYTES)).diagnostics.is_empty());
    let numbers = format!("{{\"a\":[{}1]}}", "1,".repeat(5_000_000));
    assert_eq!(faults(&timed(&numbers))[0].0, "TRC0005");
    assert_eq!(faults(&timed(&numbers.replace("\"a\":", "a: ")))[0].0, "TRC0005");
}

#[test]
fn broken_text_is_a_syntax_error() {
    let broken = [
        "a: \"unterminated",
        "a: 'unterminated",
        "\ta: 1\n\tb: 2",
        "a:\n\t- b",
        "{\"a\": \"\\ud800\"}",
        "a: \"\\udc00\"",
        "[",
        "}",
        "&a *a",
        "a: *",
        "? ",
        ": :",
        "%",
        "%YAML",
        "!<",
        "a: |9\n x",
        "- - -\n-x: [",
        "{\"a\": \"\u{1}\"}",
        "\u{7}",
    ];
    for input in broken {
        let reading = timed(input);
        let fine = ["? ", ": :"].contains(&input);
        assert!(fine || !reading.diagnostics.is_empty(), "{input:?} {:?}", reading.documents);
        assert!(reading.diagnostics.iter().all(|found| found.diagnostic.code.as_str() == "TRC0003"), "{input:?}");
    }
    assert_eq!(timed(&"x".repeat(20 << 20)).documents.len(), 1);
}

fn touch(reading: &Reading) {
    for found in &reading.diagnostics {
        assert!(found.place.is_some());
    }
    for document in &reading.documents {
        for path in ["", "a", "a.b", "spec.targets", "items"] {
            let place = document.place(&FieldPath::fields(path).index(0).key("x"));
            assert!(place.line > Some(0) && place.column > Some(0));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        touch(&read("in.yaml", bytes));
    }

    #[test]
    fn any_text(input in "[-a-c0-9:{}\\[\\],\"'&*!?|>#%<~. \\\\\t\n\ré\u{feff}\u{85}]{0,120}") {
        touch(&text(&input));
        touch(&text(&format!("{{{input}")));
    }

    #[test]
    fn json_means_what_serde_json_says(value in json_value(), pretty in any::<bool>()) {
        let value = serde_json::json!({"root": value});
        let input = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        let reading = text(&input);
        prop_assert_eq!(super::values(&reading), vec![&value]);
        let yaml = text(&format!("# not JSON\n{input}"));
        prop_assert_eq!(super::values(&yaml), vec![&value]);
        let path = FieldPath::fields("root").key("a");
        prop_assert_eq!(reading.documents[0].locate(&path).column, yaml.documents[0].locate(&path).column);
        prop_assert_eq!(reading.documents[0].locate(&path).line + 1, yaml.documents[0].locate(&path).line);
    }
}

fn json_value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        (-1000..1000).prop_map(|number| (f64::from(number) + 0.5).into()),
        "[ -~éü\n\t😀]{0,12}".prop_map(Into::into),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            proptest::collection::btree_map("[a-d \"é:]{0,4}", inner, 0..6)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}
