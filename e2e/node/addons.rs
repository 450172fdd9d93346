//! The cluster's DNS.

use super::network;
use crate::support::ControlPlane;

/// CoreDNS as clusters have it, on its Service's usual name. It knows the cluster's names alone: there is nobody else to ask.
const COREDNS: &str = include_str!("coredns.yaml");

/// Applies CoreDNS.
pub(super) fn apply(plane: &ControlPlane) {
    let yaml = COREDNS.replace("DNS_SERVICE", network::DNS_SERVICE);
    plane.kubectl_stdin(&["apply", "-f", "-"], &yaml).success();
}
