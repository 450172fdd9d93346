//! A TracingPolicy or ClusterTracingPolicy as the index holds it.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    api::{
        ClusterTracingPolicySpec, CollectorRef, LabelSelector, Settings, Target, TracingPolicySpec, TracingPolicyStatus,
    },
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
    /// The whole specification of a TracingPolicy.
    Readable(Arc<TracingPolicySpec>),
    /// The whole specification of a ClusterTracingPolicy.
    Cluster(Arc<ClusterTracingPolicySpec>),
    /// A specification that this version cannot read. The targets are kept where at least those are readable, so that
    /// what is in their workloads is left as it is.
    Unreadable {
        /// The targets; `None` where they cannot be read either.
        targets: Option<Vec<Target>>,
    },
}

/// A namespace as ClusterTracingPolicies select it.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its labels; where they are not known, its name is still the label `kubernetes.io/metadata.name`.
    pub labels: Option<&'a BTreeMap<String, String>>,
}

impl Place<'_> {
    fn is_selected(&self, selector: &LabelSelector) -> bool {
        if let Some(labels) = self.labels {
            return selector.matches(labels);
        }
        let name = ("kubernetes.io/metadata.name".to_owned(), self.name.to_owned());
        selector.matches(&BTreeMap::from([name]))
    }
}

impl Policy {
    /// Whether nothing is wrong with the object alone.
    pub fn is_valid(&self) -> bool {
        let readable = !matches!(self.spec, PolicySpec::Unreadable { .. });
        readable && self.findings.iter().all(|finding| finding.severity() != Severity::Error)
    }

    /// The specification of a TracingPolicy, where it could be read.
    pub fn spec(&self) -> Option<&TracingPolicySpec> {
        match &self.spec {
            PolicySpec::Readable(spec) => Some(spec),
            PolicySpec::Cluster(_) | PolicySpec::Unreadable { .. } => None,
        }
    }

    /// The specification of a ClusterTracingPolicy, where it could be read.
    pub fn cluster(&self) -> Option<&ClusterTracingPolicySpec> {
        match &self.spec {
            PolicySpec::Cluster(spec) => Some(spec),
            PolicySpec::Readable(_) | PolicySpec::Unreadable { .. } => None,
        }
    }

    /// The settings of a TracingPolicy, where they could be read.
    pub fn settings(&self) -> Option<&Settings> {
        self.spec().map(|spec| &spec.settings)
    }

    /// Its priority between those of the same rank.
    pub fn priority(&self) -> i32 {
        match &self.spec {
            PolicySpec::Readable(spec) => spec.priority.unwrap_or_default(),
            PolicySpec::Cluster(spec) => spec.priority.unwrap_or_default(),
            PolicySpec::Unreadable { .. } => 0,
        }
    }

    /// The targets; empty means every workload.
    pub fn targets(&self) -> &[Target] {
        match &self.spec {
            PolicySpec::Readable(spec) => &spec.targets,
            PolicySpec::Cluster(spec) => &spec.targets,
            PolicySpec::Unreadable { targets } => targets.as_deref().unwrap_or_default(),
        }
    }

    /// Whether it is about workloads of this namespace at all.
    pub fn covers(&self, place: &Place<'_>) -> bool {
        match &self.spec {
            _ if !self.id.is_cluster() => self.id.namespace == place.name,
            PolicySpec::Cluster(spec) => {
                spec.namespace_selector.as_ref().is_none_or(|selector| place.is_selected(selector))
            }
            // Which namespaces are meant cannot be read.
            PolicySpec::Readable(_) | PolicySpec::Unreadable { .. } => true,
        }
    }

    /// Whether this workload is meant, in a namespace that the policy covers.
    pub fn selects(&self, workload: &Workload) -> bool {
        let (id, targets) = (&workload.id, self.targets());
        let meant = |target: &Target| target.matches(id.kind.target(), &id.name, &workload.labels);
        !workload.is_collector && (targets.is_empty() || targets.iter().any(meant))
    }

    /// Whether it takes its export from above.
    pub fn inherits(&self) -> bool {
        let export = self.spec().filter(|spec| spec.enabled).and_then(|spec| spec.settings.export.as_ref());
        export.is_some_and(|export| export.inherit == Some(true))
    }

    /// The collector that a TracingPolicy names, if it is enabled.
    pub fn collector(&self) -> Option<CollectorId> {
        let spec = self.spec().filter(|spec| spec.enabled)?;
        Some(spec.settings.export.as_ref()?.collector_ref.as_ref()?.id(&self.id.namespace))
    }

    /// The collectors that it names for workloads of this namespace.
    pub fn collectors(&self, namespace: &str) -> Vec<CollectorId> {
        let Some(spec) = self.cluster() else { return self.collector().into_iter().collect() };
        let defaults = spec.defaults.as_ref().map(|block| &block.settings);
        let overrides = spec.overrides.as_ref().map(|block| &block.settings);
        let exports = [defaults, overrides].into_iter().flatten().filter_map(|settings| settings.export.as_ref());
        exports.filter_map(|export| Some(export.collector_ref.as_ref()?.id(namespace))).collect()
    }

    /// Whether it says anything of sampling.
    pub fn samples(&self) -> bool {
        let defaults = self.cluster().and_then(|spec| spec.defaults.as_ref()).map(|block| &block.settings);
        let overrides = self.cluster().and_then(|spec| spec.overrides.as_ref()).map(|block| &block.settings);
        [self.settings(), defaults, overrides].into_iter().flatten().any(|settings| settings.sampling.is_some())
    }

    /// The headers Secret that a TracingPolicy names, if it is enabled and has an export of its own.
    pub fn secret(&self) -> Option<SecretId> {
        let spec = self.spec().filter(|spec| spec.enabled && !self.inherits())?;
        let secret = spec.settings.export.as_ref()?.headers_secret_ref.as_ref()?;
        Some(SecretId { namespace: self.id.namespace.clone(), name: secret.name.clone() })
    }
}
