//! Findings for programs. The shape is a promise (DESIGN section 7): fields may be added, none changes its meaning.

use serde::Serialize;

use super::{Located, Summary, escape_json, sorted};
use crate::diagnostics::Severity;

#[derive(Serialize)]
struct Report<'f> {
    version: u32,
    diagnostics: Vec<Finding<'f>>,
    summary: Summary,
}

#[derive(Serialize)]
struct Finding<'f> {
    code: &'static str,
    severity: Severity,
    path: String,
    message: &'f str,
    help: &'f str,
    file: Option<&'f str>,
    line: Option<usize>,
    column: Option<usize>,
    kind: Option<&'f str>,
    namespace: Option<&'f str>,
    name: Option<&'f str>,
}

/// One line of JSON, without a line break at its end. Every key is always there; what is not known is null.
pub fn json(findings: &[Located], summary: Summary) -> String {
    let diagnostics = sorted(findings).into_iter().map(finding).collect();
    let report = Report { version: 1, diagnostics, summary };
    // Strings, numbers and null only: nothing that could fail.
    escape_json(&serde_json::to_string(&report).unwrap_or_default())
}

fn finding(found: &Located) -> Finding<'_> {
    let diagnostic = &found.diagnostic;
    let known = |text: &'_ str| !text.is_empty();
    let object = diagnostic.object.as_ref();
    Finding {
        code: diagnostic.code.as_str(),
        severity: diagnostic.severity(),
        path: diagnostic.path.to_string(),
        message: &diagnostic.message,
        help: &diagnostic.help,
        file: found.place.as_ref().map(|place| place.file.as_str()),
        line: found.place.as_ref().and_then(|place| place.line),
        column: found.place.as_ref().and_then(|place| place.column),
        kind: object.map(|object| object.kind.as_str()).filter(|text| known(text)),
        namespace: object.map(|object| object.namespace.as_str()).filter(|text| known(text)),
        name: object.map(|object| object.name.as_str()).filter(|text| known(text)),
    }
}
