//! Against the real thing: the expectations were printed by a Go program with sigs.k8s.io/yaml 1.6.0 (go-yaml v2 2.4.4)
//! that turns YAML into JSON and numbers into int64, else float64 (here with an exponent), as kubectl does.

use serde_json::{Value, json};

use super::{FieldPath, faults, text, values};

/// Input, and the JSON that kubectl makes of it. `ERR` where it refuses.
const KUBECTL: &str = include_str!("kubectl.tsv");

/// Where we differ on purpose: duplicate keys are refused (as the API server does with JSON), text behind `...` is not
/// passed over, YAML 1.2 escapes are understood, `!!binary` is refused; and corners that nobody writes.
const STRICTER_OR_NEWER: [&str; 14] = [
    "a: 0b-1",
    "a: !!timestamp 2001-99-99",
    "a: 1\na: 2",
    "a: {b: 1, b: 2}",
    "\"1\": a\n1: b",
    "d: {<<: {a: 1}, <<: {b: 2}}",
    "a: 1\n...\nb: 2",
    "a: \"\\ud83d\\ude00\"",
    "a: \"\\/\"",
    "a: !!binary aGVsbG8=",
    "--- {a: 1}",
    "a: \u{85}",
    "a: \u{2028}x",
    "a: \u{feff}b",
];

#[test]
fn yaml_means_what_it_means_to_kubectl() {
    let mut wrong = Vec::new();
    for line in KUBECTL.lines() {
        let (input, expected) = line.split_once('\t').unwrap();
        let input: String = serde_json::from_str(input).unwrap();
        if STRICTER_OR_NEWER.contains(&input.as_str()) {
            continue;
        }
        let reading = text(&input);
        let found = match (values(&reading).as_slice(), reading.diagnostics.is_empty()) {
            ([value], true) => (*value).clone(),
            ([], true) => Value::Null,
            _ => json!("ERR"),
        };
        let expected: Value = if expected == "ERR" { json!("ERR") } else { exact(expected) };
        // 1 and 1.0 are different here, as they are to an API server.
        if found != expected {
            wrong.push(format!("{input:?}: expected {expected}, found {found} {}", super::detail(&reading)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Numbers as Rust reads them: serde_json may miss the last digit of a float.
fn exact(json: &str) -> Value {
    let mut value: Value = serde_json::from_str(json).unwrap();
    let number = json.trim_start_matches("{\"a\":").trim_end_matches('}');
    if let (Some(float), true) = (value.get_mut("a").filter(|value| value.is_f64()), number.parse::<f64>().is_ok()) {
        *float = number.parse::<f64>().unwrap().into();
    }
    value
}

#[test]
fn what_differs_from_kubectl_differs_on_purpose() {
    assert_eq!(faults(&text("a: 1\nb: 2\na: 2")), [("TRC0004", 3, 1)]);
    assert_eq!(faults(&text("a: {b: 1, b: 2, b: 3}")), [("TRC0004", 1, 11), ("TRC0004", 1, 17)]);
    assert_eq!(faults(&text("\"1\": a\n1: b")), [("TRC0004", 2, 1)]);
    assert_eq!(faults(&text("a: 1\n...\nb: 2")), [("TRC0003", 3, 1)]);
    assert_eq!(values(&text("a: \"\\ud83d\\ude00\"")), [&json!({"a": "😀"})]);
    assert_eq!(faults(&text("--- {a: 1}\n")), [("TRC0003", 1, 1)]);
}

#[test]
fn merged_keys_keep_their_positions() {
    let reading = text("base: &b {x: 1, z: 2}\nuse:\n  z: 3\n  <<: *b\n  x: 4\n");
    let document = &reading.documents[0];
    assert_eq!(document.value()["use"], json!({"z": 2, "x": 4}));
    let place =
        |path| (document.locate(&FieldPath::fields(path)).line, document.locate(&FieldPath::fields(path)).column);
    assert_eq!((place("use.z"), place("use.x"), place("use.none")), ((1, 17), (5, 3), (2, 1)));
}
