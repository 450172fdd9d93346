//! Which workloads a policy is about.
#![allow(unreachable_pub, reason = "KubeSchema expands to a shadow type inside a function")]

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::patterns;
use crate::diagnostics::Code;

/// Some workloads of the policy's namespace: one by `name`, those with certain labels by `selector`, or all of a kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.name) && has(self.selector))").message(Code::TRC0109.rule_message()))]
#[x_kube(validation = Rule::new("!has(self.serviceName) || !self.serviceName.contains('${')").message(Code::TRC0131.rule_message()))]
pub struct Target {
    /// The kind of workload.
    pub kind: TargetKind,
    /// The name of one workload; not together with `selector`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub name: Option<String>,
    /// Selects by the labels of the pod template (of a Pod: its own); not together with `name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
    /// `service.name` for these workloads; stronger than `spec.service.name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub service_name: Option<String>,
}

/// The kinds of workload that can be traced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub enum TargetKind {
    /// apps/v1 Deployment.
    Deployment,
    /// apps/v1 StatefulSet.
    StatefulSet,
    /// apps/v1 DaemonSet.
    DaemonSet,
    /// batch/v1 CronJob.
    CronJob,
    /// batch/v1 Job; its template is immutable, so its pods are injected as they are created.
    Job,
    /// A bare Pod.
    Pod,
}

impl Target {
    /// Whether this workload is meant. `labels` are those of the pod template (of a Pod: its own).
    pub fn matches(&self, kind: TargetKind, name: &str, labels: &BTreeMap<String, String>) -> bool {
        self.kind == kind
            && self.name.as_deref().is_none_or(|wanted| wanted == name)
            && self.selector.as_ref().is_none_or(|selector| selector.matches(labels))
    }
}

impl TargetKind {
    /// Whether its workloads come and go by themselves. Their pod template cannot be changed.
    pub const fn comes_and_goes(self) -> bool {
        matches!(self, Self::Job | Self::Pod)
    }

    /// The kind's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
            Self::CronJob => "CronJob",
            Self::Job => "Job",
            Self::Pod => "Pod",
        }
    }
}

/// A label selector with the meaning of Kubernetes' own; an empty one selects everything.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct LabelSelector {
    /// Labels that must have exactly these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub match_labels: BTreeMap<String, String>,
    /// Further requirements; all must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub match_expressions: Vec<LabelRequirement>,
}

/// One requirement of a [`LabelSelector`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "self.operator in ['In', 'NotIn'] ? has(self.values) && size(self.values) > 0 : !has(self.values) || size(self.values) == 0"
).message(Code::TRC0124.rule_message()))]
pub struct LabelRequirement {
    /// The label.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,
    /// How the label is compared.
    pub operator: SelectorOperator,
    /// The values for `In` and `NotIn`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub values: Vec<String>,
}

/// Operators of a [`LabelRequirement`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum SelectorOperator {
    /// The label has one of the values.
    In,
    /// The label is absent or has none of the values.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is not there.
    DoesNotExist,
}

impl LabelSelector {
    /// Whether these labels are selected.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(|requirement| requirement.matches(labels))
    }
}

impl LabelRequirement {
    /// Whether the values fit the operator.
    pub fn is_valid(&self) -> bool {
        match self.operator {
            SelectorOperator::In | SelectorOperator::NotIn => !self.values.is_empty(),
            SelectorOperator::Exists | SelectorOperator::DoesNotExist => self.values.is_empty(),
        }
    }

    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        match self.operator {
            SelectorOperator::In => value.is_some_and(|value| self.values.contains(value)),
            SelectorOperator::NotIn => value.is_none_or(|value| !self.values.contains(value)),
            SelectorOperator::Exists => value.is_some(),
            SelectorOperator::DoesNotExist => value.is_none(),
        }
    }
}

/// Whether this is a name that a Kubernetes object can have (RFC 1123 subdomain, at most 253 characters).
pub(crate) fn is_object_name(name: &str) -> bool {
    name.len() <= 253 && patterns::matches(patterns::DNS_SUBDOMAIN, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn selector(yaml: &str) -> LabelSelector {
        serde_saphyr::from_str(yaml).unwrap()
    }

    #[test]
    fn selectors_match_as_in_kubernetes() {
        let web = labels(&[("app", "web"), ("tier", "front")]);
        assert!(selector("{}").matches(&web));
        assert!(selector("matchLabels: {app: web}").matches(&web));
        assert!(!selector("matchLabels: {app: api}").matches(&web));
        assert!(selector("matchExpressions: [{key: app, operator: In, values: [web, api]}]").matches(&web));
        assert!(selector("matchExpressions: [{key: zone, operator: NotIn, values: [a]}]").matches(&web));
        assert!(selector("matchExpressions: [{key: tier, operator: Exists}]").matches(&web));
        assert!(!selector("matchExpressions: [{key: tier, operator: DoesNotExist}]").matches(&web));
    }
}
