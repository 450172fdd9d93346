//! Findings as workflow commands of GitHub Actions, which shows them beside the lines of a change.

use super::{Located, about, sorted, visible};
use crate::diagnostics::Severity;

/// `::error file=...,line=...,col=...,title=TRC0101::message`, one command a line.
pub fn github(findings: &[Located]) -> String {
    sorted(findings).into_iter().map(command).collect()
}

fn command(found: &Located) -> String {
    let diagnostic = &found.diagnostic;
    let name = match diagnostic.severity() {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "notice",
    };
    let mut properties = Vec::new();
    if let Some(place) = &found.place {
        properties.push(format!("file={}", property(&place.file)));
        properties.extend(place.line.map(|line| format!("line={line}")));
        properties.extend(place.line.and(place.column).map(|column| format!("col={column}")));
    }
    properties.push(format!("title={}", diagnostic.code));
    // What is shown has lines of its own, and these are the only ones: no text of the input can begin one.
    let lines = [Some(visible(&diagnostic.message)), about(diagnostic, ": "), Some(visible(&diagnostic.help))];
    let lines: Vec<_> = lines.into_iter().flatten().map(|line| data(&line)).collect();
    format!("::{name} {}::{}\n", properties.join(","), lines.join("%0A"))
}

/// Text behind the command.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// The value of a property, which ends at a comma or a colon.
fn property(text: &str) -> String {
    data(&visible(text)).replace(':', "%3A").replace(',', "%2C")
}
