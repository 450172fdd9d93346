//! A TracingPolicy as the index holds it.

use std::sync::Arc;

use crate::{
    api::{CollectorRef, Settings, Target, TracingPolicySpec, TracingPolicyStatus},
    diagnostics::{Diagnostic, Severity},
};

use super::{CollectorId, Ignored, PolicyId, SecretId, Workload};

/// A policy with what was found wrong with it when it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Which one.
    pub id: PolicyId,
    /// Identifies this incarnation.
    pub uid: Option<String>,
    /// The generation of the specification.
    pub generation: i64,
    /// When it was created, RFC 3339 in UTC; older policies win ties. Absent in files.
    pub created: Option<String>,
    /// What it asks for.
    pub spec: PolicySpec,
    /// Findings about the object alone (TRC01xx).
    pub findings: Vec<Diagnostic>,
    /// What is not to be said about it.
    pub ignored: Ignored,
    /// The status that the API server has.
    pub status: Option<TracingPolicyStatus>,
}

impl CollectorRef {
    /// The collector that a policy of this namespace means.
    pub fn id(&self, namespace: &str) -> CollectorId {
        let namespace = self.namespace.as_deref().unwrap_or(namespace);
        CollectorId { namespace: namespace.to_owned(), name: self.name.clone() }
    }
}

/// What a policy asks for, as far as it can be read.
#[derive(Clone, Debug, PartialEq)]
pub enum PolicySpec {
    /// The whole specification.
    Readable(Arc<TracingPolicySpec>),
    /// A specification that this version cannot read. The targets are kept where at least those are readable, so that
    /// what is in their workloads is left as it is.
    Unreadable {
        /// The targets; `None` where they cannot be read either.
        targets: Option<Vec<Target>>,
    },
}

impl Policy {
    /// Whether nothing is wrong with the object alone.
    pub fn is_valid(&self) -> bool {
        self.spec().is_some() && self.findings.iter().all(|finding| finding.severity() != Severity::Error)
    }

    /// The specification, where it could be read.
    pub fn spec(&self) -> Option<&TracingPolicySpec> {
        match &self.spec {
            PolicySpec::Readable(spec) => Some(spec),
            PolicySpec::Unreadable { .. } => None,
        }
    }

    /// The settings, where they could be read.
    pub fn settings(&self) -> Option<&Settings> {
        self.spec().map(|spec| &spec.settings)
    }

    /// The targets; empty means every workload of the namespace.
    pub fn targets(&self) -> &[Target] {
        match &self.spec {
            PolicySpec::Readable(spec) => &spec.targets,
            PolicySpec::Unreadable { targets } => targets.as_deref().unwrap_or_default(),
        }
    }

    /// Whether this workload is meant.
    pub fn selects(&self, workload: &Workload) -> bool {
        let (id, targets) = (&workload.id, self.targets());
        let meant = |target: &Target| target.matches(id.kind.target(), &id.name, &workload.labels);
        self.id.namespace == id.namespace && !workload.is_collector && (targets.is_empty() || targets.iter().any(meant))
    }

    /// The collector that it exports to, if it is enabled.
    pub fn collector(&self) -> Option<CollectorId> {
        let spec = self.spec().filter(|spec| spec.enabled)?;
        Some(spec.settings.export.as_ref()?.collector_ref.as_ref()?.id(&self.id.namespace))
    }

    /// The headers Secret that it names, if it is enabled.
    pub fn secret(&self) -> Option<SecretId> {
        let spec = self.spec().filter(|spec| spec.enabled)?;
        let secret = spec.settings.export.as_ref()?.headers_secret_ref.as_ref()?;
        Some(SecretId { namespace: self.id.namespace.clone(), name: secret.name.clone() })
    }
}
