//! Findings in one line each, in the manner of compilers: editors and `grep` read it.

use super::{Located, about, sorted, visible};

/// `file:line:column: severity TRC0101 Kind namespace/name path: message`, without what is not known.
pub fn compact(findings: &[Located]) -> String {
    sorted(findings).into_iter().map(line).collect()
}

fn line(found: &Located) -> String {
    let diagnostic = &found.diagnostic;
    let place = found.place.as_ref().map(|place| {
        let file = visible(&place.file);
        match (place.line, place.column) {
            (Some(line), Some(column)) => format!("{file}:{line}:{column}: "),
            (Some(line), None) => format!("{file}:{line}: "),
            (None, _) => format!("{file}: "),
        }
    });
    let about = about(diagnostic, " ").map(|about| format!(" {about}"));
    let (place, about) = (place.unwrap_or_default(), about.unwrap_or_default());
    let message = visible(&diagnostic.message);
    format!("{place}{} {}{about}: {message}\n", diagnostic.severity(), diagnostic.code)
}
