//! Findings that the owner of an object does not want to hear of: codes in an annotation.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::diagnostics::{Code, Diagnostic, FieldPath, Severity};

/// The annotation on a policy, a collector or a workload: codes, with commas or blanks between them.
pub const IGNORE: &str = "tracesteward.io/ignore";
/// Words without effect that a finding repeats, and characters of each.
const REPEATED: (usize, usize) = (3, 40);

/// What an object's annotation says. Warnings and infos can be ignored; errors are refused by the API server anyway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ignored {
    codes: BTreeSet<Code>,
    /// Why words of it have no effect.
    without_effect: Vec<String>,
}

impl Ignored {
    /// Reads the annotation of an object.
    pub fn of(object: &Value) -> Self {
        let annotations = object.get("metadata").and_then(|metadata| metadata.get("annotations"));
        Self::read(annotations.and_then(|annotations| annotations.get(IGNORE)?.as_str()).unwrap_or_default())
    }

    /// Reads the value of the annotation.
    pub fn read(value: &str) -> Self {
        let mut ignored = Self::default();
        for word in value.split([',', ' ', '\t', '\n', '\r']).filter(|word| !word.is_empty()) {
            match Code::parse(word) {
                Some(code) if code.severity() != Severity::Error => {
                    ignored.codes.insert(code);
                }
                _ if ignored.without_effect.len() == REPEATED.0 => {}
                Some(code) => ignored.without_effect.push(format!("{code} is an error")),
                None => {
                    let word: String = word.chars().take(REPEATED.1).collect();
                    ignored.without_effect.push(Code::unknown(&word.escape_debug().to_string()));
                }
            }
        }
        ignored
    }

    /// Whether findings of this code are left out.
    pub fn covers(&self, code: Code) -> bool {
        self.codes.contains(&code)
    }

    /// What remains of the findings about the object itself: without those that are ignored, with one about words that
    /// have no effect.
    pub fn apply(&self, findings: &mut Vec<Diagnostic>) {
        if !self.without_effect.is_empty() {
            let path = FieldPath::fields("metadata.annotations").key(IGNORE);
            findings.push(Diagnostic::new(Code::TRC0133, path).detail(self.without_effect.join("; ")));
        }
        self.leave_out(findings);
    }

    /// Takes out what is ignored.
    pub fn leave_out(&self, findings: &mut Vec<Diagnostic>) {
        findings.retain(|finding| !self.covers(finding.code));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(annotation: &str) -> Vec<String> {
        let found = [Code::TRC0101, Code::TRC0120, Code::TRC0501, Code::TRC0503];
        let mut findings: Vec<_> = found.map(|code| Diagnostic::new(code, FieldPath::root())).into();
        Ignored::read(annotation).apply(&mut findings);
        findings.iter().map(|finding| finding.code.to_string()).collect()
    }

    #[test]
    fn warnings_and_infos_are_left_out_and_errors_are_not() {
        assert_eq!(left(""), ["TRC0101", "TRC0120", "TRC0501", "TRC0503"]);
        for both in ["TRC0503,TRC0501", "trc0501 TRC0503", " TRC0501 ,\n TRC0503, "] {
            assert_eq!(left(both), ["TRC0101", "TRC0120"], "{both}");
        }
        assert_eq!(left("TRC0101 TRC0120 TRC0501 TRC0503"), ["TRC0101", "TRC0133"]);
        assert_eq!(left("nonsense,TRC0133"), ["TRC0101", "TRC0120", "TRC0501", "TRC0503"], "it can itself be ignored");
    }

    #[test]
    fn words_without_effect_are_said_shortly() {
        let mut findings = Vec::new();
        Ignored::read(&format!("TRC503, TRC0101; {} {}", "x".repeat(10_000), "y ".repeat(1_000))).apply(&mut findings);
        let [finding] = findings.as_slice() else { panic!("one finding, not {findings:?}") };
        assert_eq!(finding.path.to_string(), "metadata.annotations[tracesteward.io/ignore]");
        assert!(finding.message.contains(": TRC503 is no code; did you mean TRC0503"), "{}", finding.message);
        assert!(finding.message.contains("; TRC0101; is no code; did you mean TRC0101"), "{}", finding.message);
        assert!(finding.message.len() < 400, "{}", finding.message);
    }
}
