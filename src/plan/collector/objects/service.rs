//! The ServiceAccount of a collector and the Services before its pods.

use k8s_openapi::{
    api::core::v1::{Service, ServiceAccount, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::{
    super::{Tier, collector_name},
    Made, OwnedObject,
    labels::{selector_labels, tier_name},
    pod::{GRPC, HTTP, SAMPLER_PORT},
};
use crate::index::OwnedKind;

/// The name of the headless Service that a tier's StatefulSet is under.
pub(super) fn headless_name(collector: &str, tier: Tier) -> String {
    let name = tier_name(collector, tier);
    match tier {
        // Beside the Service that senders use.
        Tier::Collector => format!("{name}-headless"),
        Tier::Sampler => name,
    }
}

impl Made<'_> {
    /// The account of all pods. Pods that need its token say so themselves.
    pub(super) fn service_account(&self) -> OwnedObject {
        let name = collector_name(&self.collector.id.name);
        let object = ServiceAccount {
            metadata: self.metadata(name, Tier::Collector),
            automount_service_account_token: Some(false),
            ..ServiceAccount::default()
        };
        self.owned(OwnedKind::ServiceAccount, &object)
    }

    pub(super) fn services(&self) -> Vec<OwnedObject> {
        let mut services = vec![self.service()];
        let stateful = self.tiers().filter(|tier| self.is_stateful(*tier));
        services.extend(stateful.map(|tier| self.headless_service(tier)));
        services
    }

    /// Where senders send.
    fn service(&self) -> OwnedObject {
        let spec = ServiceSpec { type_: Some("ClusterIP".to_owned()), ..ServiceSpec::default() };
        self.make_service(collector_name(&self.collector.id.name), Tier::Collector, spec)
    }

    fn headless_service(&self, tier: Tier) -> OwnedObject {
        let spec = ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            // Routers spread traces over the addresses that they are told. Did a pod that restarts leave them, its traces
            // would move to other pods and back, and each time one trace would be decided in two places.
            publish_not_ready_addresses: (tier == Tier::Sampler).then_some(true),
            ..ServiceSpec::default()
        };
        self.make_service(headless_name(&self.collector.id.name, tier), tier, spec)
    }

    fn make_service(&self, name: String, tier: Tier, spec: ServiceSpec) -> OwnedObject {
        let ports = match tier {
            Tier::Collector => {
                vec![port(&GRPC, self.settings.grpc_port), port(&HTTP, self.settings.http_port)]
            }
            Tier::Sampler => vec![port(&GRPC, SAMPLER_PORT)],
        };
        let selector = Some(selector_labels(&self.collector.id.name, tier));
        let spec = ServiceSpec { ports: Some(ports), selector, ..spec };
        let object = Service { metadata: self.metadata(name, tier), spec: Some(spec), ..Service::default() };
        self.owned(OwnedKind::Service, &object)
    }
}

/// A port of a Service. It leads to the port of that name, so that pods of two revisions may listen on different ones.
fn port((name, protocol): &(&str, &str), port: i32) -> ServicePort {
    ServicePort {
        name: Some((*name).to_owned()),
        app_protocol: Some((*protocol).to_owned()),
        protocol: Some("TCP".to_owned()),
        port,
        target_port: Some(IntOrString::String((*name).to_owned())),
        ..ServicePort::default()
    }
}
