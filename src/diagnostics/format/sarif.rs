//! Findings as SARIF 2.1.0 (OASIS), which code scanning of GitHub and other services keep track of.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Located, Place, about, escape_json, sorted};
use crate::diagnostics::{Code, Diagnostic, ObjectId, Severity, pages::Page};

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";
const INFORMATION: &str = "https://tracesteward.io";
/// What our fingerprints are called; another way to make them would need another name.
const FINGERPRINT: &str = "tracesteward/v1";

/// One line of JSON, without a line break at its end.
pub fn sarif(findings: &[Located]) -> String {
    let findings = sorted(findings);
    let codes: BTreeSet<Code> = findings.iter().map(|found| found.diagnostic.code).collect();
    let codes: Vec<Code> = codes.into_iter().collect();
    let mut seen = BTreeMap::new();
    let results: Vec<Value> = findings.iter().map(|found| result(found, &codes, &mut seen)).collect();
    let log = json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "tracesteward",
                "version": env!("CARGO_PKG_VERSION"),
                "informationUri": INFORMATION,
                "rules": codes.iter().copied().map(rule).collect::<Vec<_>>(),
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    });
    escape_json(&log.to_string())
}

fn level(code: Code) -> &'static str {
    match code.severity() {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "note",
    }
}

fn rule(code: Code) -> Value {
    json!({
        "id": code.as_str(),
        "shortDescription": {"text": plain(code.message())},
        "fullDescription": {"text": plain(Page::of(code).meaning)},
        "help": {"text": plain(code.help())},
        "helpUri": code.url(),
        "defaultConfiguration": {"level": level(code)},
    })
}

fn result(found: &Located, codes: &[Code], seen: &mut BTreeMap<String, usize>) -> Value {
    let diagnostic = &found.diagnostic;
    let print = fingerprint(found);
    let count = seen.entry(print.clone()).and_modify(|count| *count += 1).or_insert(1);
    let mut location = json!({});
    if let Some(place) = &found.place {
        location["physicalLocation"] = physical(place);
    }
    if let Some(object) = &diagnostic.object {
        location["logicalLocations"] = json!([logical(diagnostic, object)]);
    }
    let mut result = json!({
        "ruleId": diagnostic.code.as_str(),
        "ruleIndex": codes.binary_search(&diagnostic.code).unwrap_or_default(),
        "level": level(diagnostic.code),
        "message": {"text": plain(&format!("{}\n{}", diagnostic.message, diagnostic.help))},
        "partialFingerprints": {FINGERPRINT: format!("{print}:{count}")},
    });
    if location.as_object().is_some_and(|location| !location.is_empty()) {
        result["locations"] = json!([location]);
    }
    result
}

fn physical(place: &Place) -> Value {
    // Code scanning refuses places without a line: what is about a whole file stands at its first one.
    let mut region = json!({"startLine": place.line.unwrap_or(1)});
    if let (Some(_), Some(column)) = (place.line, place.column) {
        region["startColumn"] = column.into();
    }
    json!({"artifactLocation": {"uri": uri(&place.file)}, "region": region})
}

fn logical(diagnostic: &Diagnostic, object: &ObjectId) -> Value {
    json!({
        "name": object.name,
        "fullyQualifiedName": about(diagnostic, " ").unwrap_or_default(),
        "kind": "resource",
    })
}

/// The same for the same finding wherever in its file it stands, so that nobody is told twice: made of the code, the
/// object, the field and the file.
fn fingerprint(found: &Located) -> String {
    let diagnostic = &found.diagnostic;
    let path = diagnostic.path.to_string();
    let object = diagnostic.object.as_ref();
    let object = object.map(|object| [object.kind.as_str(), &object.namespace, &object.name]).unwrap_or_default();
    let file = found.place.as_ref().map(|place| uri(&place.file)).unwrap_or_default();
    let mut hash = Sha256::new();
    for part in [diagnostic.code.as_str(), object[0], object[1], object[2], &path, &file] {
        // With their lengths, no two lists of parts are the same text.
        hash.update(part.len().to_le_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().iter().take(16).fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        write!(text, "{byte:02x}").unwrap_or_default();
        text
    })
}

/// A file's name as a reference relative to where the command runs, or as an absolute one. `./` says nothing.
fn uri(file: &str) -> String {
    let mut text = if file.starts_with('/') { "file://".to_owned() } else { String::new() };
    let mut file = file;
    while let Some(rest) = file.strip_prefix("./") {
        file = rest.trim_start_matches('/');
    }
    for byte in file.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            text.push(char::from(byte));
        } else {
            write!(text, "%{byte:02X}").unwrap_or_default();
        }
    }
    text
}

/// Text in which nothing is a link: SARIF takes `[text](target)` for one, also in plain text.
fn plain(text: &str) -> String {
    text.replace("](", "] (")
}
