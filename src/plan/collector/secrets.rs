//! Secrets that the headers of backends come from: what is known about them, and which values can be sent.

use crate::{
    diagnostics::{Code, Diagnostic, FieldPath},
    index::{Collector, SecretState, Snapshot},
};

/// Whether a collector sends this value as it is: it resolves `${...}` and `$$` in the values of its variables too, and a
/// header of gRPC holds printable ASCII alone.
pub fn is_sendable(value: &[u8]) -> bool {
    let is_resolved = value.windows(2).any(|pair| pair == b"$$" || pair == b"${");
    !is_resolved && value.iter().all(|byte| (b' '..=b'~').contains(byte))
}

/// What is wrong with the Secrets that a collector refers to (TRC0209 to TRC0211), as far as they were looked at.
pub fn secret_findings(snapshot: &Snapshot, collector: &Collector) -> Vec<Diagnostic> {
    let Some(namespace) = snapshot.namespaces.get(&collector.id.namespace) else { return Vec::new() };
    let mut findings = Vec::new();
    for (position, backend) in collector.valid().into_iter().flat_map(|spec| &spec.backends).enumerate() {
        for (header, reference) in backend.headers.iter().map(|header| &header.secret_key_ref).enumerate() {
            let (name, key) = (reference.name.clone(), reference.key.clone());
            let whole = format!("{name}, key {key}");
            let (code, detail) = match namespace.keys.get(&(name.clone(), key)) {
                Some(SecretState::NotFound) => (Code::TRC0209, name),
                Some(SecretState::KeyMissing) => (Code::TRC0210, whole),
                Some(SecretState::Unsendable) => (Code::TRC0211, whole),
                Some(SecretState::Present | SecretState::Unverified) | None => continue,
            };
            let path = FieldPath::fields("spec.backends").index(position).field("headers").index(header);
            let finding = Diagnostic::new(code, path.field("secretKeyRef")).detail(detail);
            findings.push(finding.on(collector.id.object()));
        }
    }
    collector.ignored.leave_out(&mut findings);
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_would_arrive_changed_are_not_sendable() {
        for good in ["", "Bearer abc", "a=b,c=d", "pa$word", "$", "{}"] {
            assert!(is_sendable(good.as_bytes()), "{good}");
        }
        for bad in ["pa$$word", "${env:X}", "a${", "token\n", "a\rb", "a\tb", "a\0", "a\u{7f}", "Bearer ü"] {
            assert!(!is_sendable(bad.as_bytes()), "{bad:?}");
        }
    }
}
