//! Who may take pods away, and who may connect to them.

use k8s_openapi::{
    api::{
        networking::v1::{
            NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
        },
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, LabelSelectorRequirement},
        util::intstr::IntOrString,
    },
};

use super::{
    super::Tier,
    Made, OwnedObject,
    labels::{selector_labels, tier_name},
    pod::{GRPC, HEALTH, HTTP, METRICS},
};
use crate::{
    api::{FromNamespaces, LabelSelector as UserSelector, SelectorOperator},
    index::OwnedKind,
};

/// The label that every namespace carries.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

impl Made<'_> {
    /// How many pods of a tier a drain may take at a time, where the user limits it.
    pub(super) fn disruption_budget(&self, tier: Tier) -> Option<OwnedObject> {
        let budget = self.settings.spec.pod_disruption_budget.as_ref()?;
        let max_unavailable = match (budget.min_available, budget.max_unavailable) {
            (None, None) => Some(1),
            (_, max) => max,
        };
        let spec = PodDisruptionBudgetSpec {
            min_available: budget.min_available.map(IntOrString::Int),
            max_unavailable: max_unavailable.map(IntOrString::Int),
            selector: Some(self.pods(tier)),
            // Pods that do not run are no reason to keep a node.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
        };
        let metadata = self.metadata(tier_name(&self.collector.id.name, tier), tier);
        let object = PodDisruptionBudget { metadata, spec: Some(spec), status: None };
        Some(self.owned(OwnedKind::PodDisruptionBudget, &object))
    }

    /// Who may connect to the pods of a tier: where the user limits it, and always for samplers, which trust what they are
    /// sent and are nobody's business but the routers'.
    pub(super) fn network_policy(&self, tier: Tier) -> Option<OwnedObject> {
        let wanted = self.settings.spec.network_policy.as_ref().is_some_and(|wanted| wanted.enabled != Some(false));
        if !wanted && tier == Tier::Collector {
            return None;
        }
        let senders = match tier {
            Tier::Collector => rule(Some(self.senders()), &[GRPC.0, HTTP.0]),
            Tier::Sampler => {
                let routers = NetworkPolicyPeer { pod_selector: Some(self.pods(Tier::Collector)), ..everything() };
                rule(Some(vec![routers]), &[GRPC.0])
            }
        };
        let spec = NetworkPolicySpec {
            pod_selector: Some(self.pods(tier)),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(vec![senders, rule(None, &[METRICS, HEALTH])]),
            egress: None,
        };
        let metadata = self.metadata(tier_name(&self.collector.id.name, tier), tier);
        Some(self.owned(OwnedKind::NetworkPolicy, &NetworkPolicy { metadata, spec: Some(spec) }))
    }

    fn pods(&self, tier: Tier) -> LabelSelector {
        let labels = selector_labels(&self.collector.id.name, tier);
        LabelSelector { match_labels: Some(labels), ..LabelSelector::default() }
    }

    /// The pods of the namespaces whose policies may use the collector.
    fn senders(&self) -> Vec<NetworkPolicyPeer> {
        let allowed = self.settings.spec.allowed_namespaces.as_ref();
        let namespaces = |selector| NetworkPolicyPeer { namespace_selector: Some(selector), ..everything() };
        match allowed.and_then(|allowed| allowed.from).unwrap_or_default() {
            FromNamespaces::Same => {
                vec![NetworkPolicyPeer { pod_selector: Some(LabelSelector::default()), ..everything() }]
            }
            FromNamespaces::All => vec![namespaces(LabelSelector::default())],
            FromNamespaces::Selector => {
                let own = [(NAMESPACE_NAME.to_owned(), self.collector.id.namespace.clone())].into();
                let own = LabelSelector { match_labels: Some(own), ..LabelSelector::default() };
                let selected = allowed.and_then(|allowed| allowed.selector.as_ref()).map(selector);
                selected.into_iter().chain([own]).map(namespaces).collect()
            }
        }
    }
}

/// A peer without any restriction yet.
fn everything() -> NetworkPolicyPeer {
    NetworkPolicyPeer::default()
}

/// Ports by name, because pods of two revisions may listen on different ones. `None`: from anywhere.
fn rule(from: Option<Vec<NetworkPolicyPeer>>, ports: &[&str]) -> NetworkPolicyIngressRule {
    let port = |name: &&str| NetworkPolicyPort {
        port: Some(IntOrString::String((*name).to_owned())),
        protocol: Some("TCP".to_owned()),
        end_port: None,
    };
    NetworkPolicyIngressRule { from, ports: Some(ports.iter().map(port).collect()) }
}

fn selector(selector: &UserSelector) -> LabelSelector {
    let operator = |operator| match operator {
        SelectorOperator::In => "In",
        SelectorOperator::NotIn => "NotIn",
        SelectorOperator::Exists => "Exists",
        SelectorOperator::DoesNotExist => "DoesNotExist",
    };
    let requirements = selector.match_expressions.iter().map(|requirement| LabelSelectorRequirement {
        key: requirement.key.clone(),
        operator: operator(requirement.operator).to_owned(),
        values: Some(requirement.values.clone()).filter(|values| !values.is_empty()),
    });
    LabelSelector {
        match_labels: Some(selector.match_labels.clone()).filter(|labels| !labels.is_empty()),
        match_expressions: Some(requirements.collect()).filter(|all: &Vec<_>| !all.is_empty()),
    }
}
