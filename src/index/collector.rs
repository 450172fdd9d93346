//! A TracingCollector as the index holds it.

use std::{fmt, sync::Arc};

use super::Ignored;
use crate::{
    api::{SecretKeyRef, TracingCollectorSpec, TracingCollectorStatus},
    diagnostics::{Diagnostic, ObjectId, Severity},
};

/// A TracingCollector.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CollectorId {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl CollectorId {
    /// The collector as diagnostics name it.
    pub fn object(&self) -> ObjectId {
        ObjectId { kind: "TracingCollector".to_owned(), namespace: self.namespace.clone(), name: self.name.clone() }
    }
}

impl fmt::Display for CollectorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A key of a Secret that holds the value of a backend's header.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretKeyId {
    /// The Secret's namespace.
    pub namespace: String,
    /// The Secret's name.
    pub name: String,
    /// The key.
    pub key: String,
}

/// A collector with what was found wrong with it when it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Collector {
    /// Which one.
    pub id: CollectorId,
    /// Identifies this incarnation; the owner of everything that is made for it.
    pub uid: Option<String>,
    /// The generation of the specification.
    pub generation: i64,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// What it asks for; `None` where this version cannot read it.
    pub spec: Option<Arc<TracingCollectorSpec>>,
    /// Findings about the object alone (TRC06xx).
    pub findings: Vec<Diagnostic>,
    /// What is not to be said about it.
    pub ignored: Ignored,
    /// The status that the API server has.
    pub status: Option<TracingCollectorStatus>,
}

impl Collector {
    /// The specification, where nothing is wrong with the object alone.
    pub fn valid(&self) -> Option<&TracingCollectorSpec> {
        let faulty = self.findings.iter().any(|finding| finding.severity() == Severity::Error);
        self.spec.as_deref().filter(|_| !faulty)
    }

    /// The keys of Secrets that its backends' headers come from.
    pub fn secrets(&self) -> impl Iterator<Item = SecretKeyId> {
        let headers = self.valid().into_iter().flat_map(|spec| &spec.backends).flat_map(|backend| &backend.headers);
        headers.map(|header| {
            let SecretKeyRef { name, key } = header.secret_key_ref.clone();
            SecretKeyId { namespace: self.id.namespace.clone(), name, key }
        })
    }
}
