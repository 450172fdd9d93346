//! Input that nobody has looked at, on stable Rust: mutations of small corpora through `tests/fuzz/harness.rs`. `PROPTEST_CASES` runs more of
//! them; `fuzz/` has the same for cargo-fuzz, which looks for what is not covered yet.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says why and stops")]

#[path = "fuzz/harness.rs"]
mod harness;

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use serde_json::Value;

/// Texts that have broken parsers, templates and terminals before.
const WORDS: [&str; 18] = [
    "",
    " ",
    "${env:HOME}",
    "$",
    "%s",
    "a\nb",
    "\u{0}",
    "\u{1b}[31m",
    "'\"",
    "{{ .Values }}",
    "- x",
    "---",
    "~",
    "1e999",
    "\u{2028}",
    "é",
    "*",
    "0s",
];

/// One change.
#[derive(Clone, Debug)]
enum Edit {
    Flip(usize, u8),
    Insert(usize, u8),
    Remove(usize, usize),
    Repeat(usize, usize),
    Word(usize, usize),
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(name);
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let at = any::<usize>;
    let edit = prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Edit::Flip(at, byte)),
        (at(), any::<u8>()).prop_map(|(at, byte)| Edit::Insert(at, byte)),
        (at(), 1..40_usize).prop_map(|(at, length)| Edit::Remove(at, length)),
        (at(), 1..80_usize).prop_map(|(at, length)| Edit::Repeat(at, length)),
        (at(), 0..WORDS.len()).prop_map(|(at, word)| Edit::Word(at, word)),
    ];
    prop::collection::vec(edit, 0..12)
}

fn edited(mut bytes: Vec<u8>, edits: &[Edit]) -> Vec<u8> {
    for edit in edits {
        let place = |at: usize| at % (bytes.len() + 1);
        match *edit {
            Edit::Flip(at, with) => {
                let at = place(at);
                bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= with);
            }
            Edit::Insert(at, byte) => bytes.insert(place(at), byte),
            Edit::Remove(at, length) => {
                let at = place(at);
                bytes.drain(at..(at + length).min(bytes.len()));
            }
            Edit::Repeat(at, length) => {
                let at = place(at);
                let part = bytes[at..(at + length).min(bytes.len())].to_vec();
                bytes.splice(at..at, part);
            }
            Edit::Word(at, word) => {
                let at = place(at);
                bytes.splice(at..at, WORDS[word].bytes());
            }
        }
    }
    bytes
}

/// Puts something else in some places of a value: what remains is JSON, and gets further than the parser.
fn replaced(value: &mut Value, choices: &mut impl Iterator<Item = u8>) {
    let Some(choice) = choices.next() else { return };
    match (choice, &mut *value) {
        (0..=7, _) => *value = Value::from(WORDS[usize::from(choices.next().unwrap_or_default()) % WORDS.len()]),
        (8..=14, _) => *value = serde_json::json!([null, true, -1, 1e300, {}, [], 0.5])[usize::from(choice) - 8].take(),
        (15, _) => *value = Value::from(i64::MIN + i64::from(choices.next().unwrap_or_default())),
        (16, Value::Array(list)) => list.extend(list.clone()),
        (_, Value::Array(list)) => list.iter_mut().for_each(|inner| replaced(inner, choices)),
        (17, Value::Object(fields)) if !fields.is_empty() => {
            let name = fields.keys().nth(usize::from(choices.next().unwrap_or_default()) % fields.len()).cloned();
            fields.remove(&name.unwrap_or_default());
        }
        (_, Value::Object(fields)) => fields.values_mut().for_each(|inner| replaced(inner, choices)),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn yaml(seed in any::<usize>(), edits in edits()) {
        let corpus = corpus("yaml");
        harness::yaml(&edited(corpus[seed % corpus.len()].clone(), &edits));
    }

    #[test]
    fn objects(seed in any::<usize>(), choices in prop::collection::vec(any::<u8>(), 0..60)) {
        let corpus = corpus("objects");
        let mut choices = choices.into_iter();
        let lines = corpus[seed % corpus.len()].split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let lines = lines.map(|line| {
            let mut object: Value = serde_json::from_slice(line).unwrap();
            replaced(&mut object, &mut choices);
            format!("{object}\n")
        });
        harness::objects(lines.collect::<String>().as_bytes());
    }

    #[test]
    fn review(seed in any::<usize>(), choices in prop::collection::vec(any::<u8>(), 0..60)) {
        let corpus = corpus("review");
        let mut choices = choices.into_iter();
        let mut review: Value = serde_json::from_slice(&corpus[seed % corpus.len()]).unwrap();
        for part in ["/request/object", "/request/oldObject", "/request"] {
            review.pointer_mut(part).into_iter().for_each(|part| replaced(part, &mut choices));
        }
        harness::review(review.to_string().as_bytes());
    }

    #[test]
    fn otlp(seed in any::<usize>(), edits in edits()) {
        let corpus = corpus("otlp");
        harness::otlp(&edited(corpus[seed % corpus.len()].clone(), &edits));
    }
}

#[test]
fn the_corpora_themselves() {
    for (name, harness) in [
        ("yaml", harness::yaml as fn(&[u8])),
        ("objects", harness::objects),
        ("review", harness::review),
        ("otlp", harness::otlp),
    ] {
        for bytes in corpus(name) {
            harness(&bytes);
        }
    }
}
