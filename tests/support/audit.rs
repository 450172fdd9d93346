//! The API server's audit log: who wrote what.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Deref;
use std::path::PathBuf;

use serde_json::Value;

/// Writes at Metadata level; reads are not logged. `RequestReceived` tells nothing that `ResponseComplete` does not.
pub(crate) const POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: Metadata, verbs: [create, update, patch, delete, deletecollection]}
- {level: None}
";

/// Every event begins so; what a killed API server left half-written may stand before it in the same line.
const EVENT: &str = r#"{"kind":"Event","apiVersion":"audit.k8s.io/"#;

/// One request that writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Write {
    pub(crate) user: String,
    /// `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub(crate) verb: String,
    /// The API group; empty for the core group.
    pub(crate) group: String,
    pub(crate) resource: String,
    pub(crate) subresource: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) dry_run: bool,
    /// The HTTP status of the answer.
    pub(crate) code: u16,
    pub(crate) stage: String,
    pub(crate) user_agent: String,
    /// With its query, which names the field manager.
    pub(crate) uri: String,
}

impl Write {
    fn parse(line: &str) -> Option<Self> {
        let event: Value = serde_json::from_str(line.get(line.rfind(EVENT)?..)?).ok()?;
        let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let uri = text("/requestURI");
        let query = uri.split_once('?').map_or("", |(_, query)| query);
        Some(Self {
            user: text("/user/username"),
            verb: text("/verb"),
            group: text("/objectRef/apiGroup"),
            resource: text("/objectRef/resource"),
            subresource: text("/objectRef/subresource"),
            namespace: text("/objectRef/namespace"),
            name: text("/objectRef/name"),
            dry_run: query.split('&').any(|pair| pair.starts_with("dryRun=")),
            code: event.pointer("/responseStatus/code").and_then(Value::as_u64)?.try_into().ok()?,
            stage: text("/stage"),
            user_agent: text("/userAgent"),
            uri,
        })
    }

    fn counts(&self) -> bool {
        let own_status = self.group == "tracesteward.io" && self.subresource == "status";
        !(self.resource == "leases" || self.resource == "events" || own_status)
    }
}

/// Writes in the order in which they were answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Writes(pub(crate) Vec<Write>);

impl Writes {
    /// What the promise of "one write" counts: no Leases, no Events, no status of the operator's own kinds.
    pub(crate) fn counted(&self) -> Self {
        self.only(Write::counts)
    }

    /// The writes for which `keep` holds.
    pub(crate) fn only(&self, keep: impl Fn(&Write) -> bool) -> Self {
        Self(self.iter().filter(|write| keep(write)).cloned().collect())
    }
}

impl Deref for Writes {
    type Target = [Write];

    fn deref(&self) -> &[Write] {
        &self.0
    }
}

/// A place in the log: what was written before it is of no interest.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mark(u64);

/// The log of one control plane, over all lives of its API server.
pub(crate) struct AuditLog {
    path: PathBuf,
}

impl AuditLog {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The present end.
    pub(crate) fn mark(&self) -> Mark {
        Mark(self.path.metadata().map_or(0, |metadata| metadata.len()))
    }

    /// The answered writes after `mark` that were no dry run, refused and ineffective ones too; of one user, in one
    /// namespace, or of all where `None`.
    ///
    /// Making a namespace is no write in that namespace: a Namespace is cluster-scoped.
    ///
    /// The API server logs before an answer ends, so what a client has seen answered is there.
    pub(crate) fn writes(&self, since: Mark, user: Option<&str>, namespace: Option<&str>) -> Writes {
        let mut bytes = Vec::new();
        if let Ok(mut file) = File::open(&self.path) {
            file.seek(SeekFrom::Start(since.0)).expect("the audit log is seekable");
            file.read_to_end(&mut bytes).expect("the audit log is readable");
        }
        let writes = String::from_utf8_lossy(&bytes)
            .lines()
            // Parsing is what costs in a large log.
            .filter(|line| user.is_none_or(|user| line.contains(user)))
            .filter_map(Write::parse)
            .filter(|write| write.stage == "ResponseComplete" && !write.dry_run)
            .filter(|write| user.is_none_or(|user| write.user == user))
            .filter(|write| namespace.is_none_or(|namespace| write.namespace == namespace))
            .collect();
        Writes(writes)
    }
}
