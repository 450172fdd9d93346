//! Findings as a report of tests (JUnit), which nearly every CI server shows: one suite, one case for each finding.

use super::{Located, about, sorted, visible};
use crate::diagnostics::Severity;

/// The report. Errors are failures, warnings where `warnings_fail`; other findings are cases that pass and say something.
/// A suite without any case is a fault to some readers, so that without findings there is one which passes.
pub fn junit(findings: &[Located], warnings_fail: bool) -> String {
    let fails = |found: &Located| match found.diagnostic.severity() {
        Severity::Error => true,
        Severity::Warning => warnings_fail,
        Severity::Info => false,
    };
    let mut cases: Vec<_> = sorted(findings).into_iter().map(|found| case(found, fails(found))).collect();
    if cases.is_empty() {
        cases.push("  <testcase classname=\"tracesteward\" name=\"no findings\" time=\"0\"/>\n".to_owned());
    }
    let failures = findings.iter().filter(|found| fails(found)).count();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n<testsuite name=\"tracesteward\" tests=\"{}\" \
         failures=\"{failures}\" errors=\"0\" skipped=\"0\" time=\"0\">\n{}</testsuite>\n</testsuites>\n",
        cases.len(),
        cases.concat(),
    )
}

fn case(found: &Located, fails: bool) -> String {
    let diagnostic = &found.diagnostic;
    let file = found.place.as_ref().map(|place| text(&place.file));
    let line = found.place.as_ref().and_then(|place| place.line);
    let about = about(diagnostic, " ").map(|about| format!(" {}", text(&about)));
    let attributes = [
        Some(format!("classname=\"{}\"", file.as_deref().unwrap_or("tracesteward"))),
        Some(format!("name=\"{}{}\"", diagnostic.code, about.unwrap_or_default())),
        file.map(|file| format!("file=\"{file}\"")),
        line.map(|line| format!("line=\"{line}\"")),
    ];
    let attributes: Vec<_> = attributes.into_iter().flatten().collect();
    let (message, help) = (text(&diagnostic.message), text(&diagnostic.help));
    let (severity, page) = (diagnostic.severity(), diagnostic.code.url());
    let body = if fails {
        let kind = diagnostic.code;
        format!("    <failure type=\"{kind}\" message=\"{message}\">{severity}: {message}\n{help}\n{page}</failure>\n")
    } else {
        format!("    <system-out>{severity}: {message}\n{help}\n{page}</system-out>\n")
    };
    format!("  <testcase {} time=\"0\">\n{body}  </testcase>\n", attributes.join(" "))
}

/// Text for attributes and elements alike, without what XML 1.0 cannot hold even escaped.
fn text(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in visible(text).chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            character => escaped.push(character),
        }
    }
    escaped
}
