//! The control plane of the node: that of the tests, open to the kubelet and to pods, with all controllers, and a scheduler.

use std::path::Path;
use std::process::Command;

use super::{component, network};
use crate::support::{ControlPlane, Process, Shape, tools::tool};

/// Starts etcd, the API server and the controller manager.
pub(super) async fn start() -> ControlPlane {
    let apiserver = vec![
        "--bind-address=0.0.0.0".to_owned(),
        format!("--advertise-address={}", network::NODE),
        // Which makes the endpoints of the Service `kubernetes`.
        "--endpoint-reconciler-type=lease".to_owned(),
        "--authorization-mode=Node,RBAC".to_owned(),
        "--enable-admission-plugins=NodeRestriction".to_owned(),
        format!("--service-cluster-ip-range={}", network::SERVICES),
        // For `kubectl logs`; nobody resolves the node's name.
        "--kubelet-preferred-address-types=InternalIP".to_owned(),
    ];
    let controller_manager = vec![
        "--controllers=*".to_owned(),
        "--allocate-node-cidrs=true".to_owned(),
        format!("--cluster-cidr={}", network::PODS),
    ];
    let hosts = [network::NODE, network::API_SERVICE, "kubernetes", "kubernetes.default"].map(str::to_owned).to_vec();
    ControlPlane::start_as(Shape { apiserver, controller_manager, hosts }).await
}

/// Starts the scheduler.
pub(super) fn scheduler(plane: &ControlPlane, folder: &Path) -> Process {
    let kubeconfig = plane.write_client_kubeconfig("scheduler", "system:kube-scheduler", None);
    let mut command = Command::new(tool("kube-scheduler"));
    command.arg(format!("--kubeconfig={}", kubeconfig.display())).args([
        "--leader-elect=false",
        "--secure-port=0",
        "--kube-api-qps=500",
        "--kube-api-burst=1000",
    ]);
    component(folder, "kube-scheduler", &command)
}
