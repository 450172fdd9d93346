//! The kubelet and kube-proxy.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::{NAME, component, network, runtime};
use crate::support::{ControlPlane, Process, tools::tool};

/// Starts the kubelet.
pub(super) fn start(plane: &ControlPlane, folder: &Path) -> Process {
    let kubeconfig = plane.write_client_kubeconfig("kubelet", &format!("system:node:{NAME}"), Some("system:nodes"));
    let config = folder.join("kubelet.json");
    fs::write(&config, configuration(plane, folder).to_string()).expect("the run's folder is writable");
    let mut command = Command::new(tool("kubelet"));
    command
        .arg(format!("--config={}", config.display()))
        .arg(format!("--kubeconfig={}", kubeconfig.display()))
        .arg(format!("--root-dir={}", folder.join("kubelet").display()))
        .arg(format!("--cert-dir={}", folder.join("kubelet/pki").display()))
        .arg(format!("--hostname-override={NAME}"))
        .arg(format!("--node-ip={}", network::NODE));
    component(folder, "kubelet", &command)
}

fn configuration(plane: &ControlPlane, folder: &Path) -> Value {
    let serving = plane.authority().server("kubelet", &[network::NODE]);
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": format!("unix://{}", runtime::socket(folder).display()),
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": plane.authority().ca()},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": serving.cert,
        "tlsPrivateKeyFile": serving.key,
        "clusterDNS": [network::DNS_SERVICE],
        "clusterDomain": "cluster.local",
        // The machine's own would send names of elsewhere to servers that cannot be reached.
        "resolvConf": "",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}", folder.file_name().unwrap_or_default().to_string_lossy()),
        // Machines are taken as they are.
        "failCgroupV1": false,
        "failSwapOn": false,
        "localStorageCapacityIsolation": false,
        "evictionHard": {"nodefs.available": "1%", "imagefs.available": "1%", "memory.available": "50Mi"},
        // No registry has what a full disk would make the kubelet remove.
        "imageGCHighThresholdPercent": 100,
        "podLogsDir": folder.join("pods"),
        "volumePluginDir": folder.join("volume-plugins"),
    })
}

/// Starts kube-proxy.
pub(super) fn proxy(plane: &ControlPlane, folder: &Path) -> Process {
    let kubeconfig = plane.write_client_kubeconfig("kube-proxy", "system:kube-proxy", None);
    let configuration = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": kubeconfig},
        "mode": "nftables",
        "nftables": {"minSyncPeriod": "100ms"},
        "clusterCIDR": network::PODS,
        "hostnameOverride": NAME,
        // Sizes of tables are the machine's.
        "conntrack": {"maxPerCore": 0, "min": 0},
    });
    let config = folder.join("kube-proxy.json");
    fs::write(&config, configuration.to_string()).expect("the run's folder is writable");
    let mut command = Command::new(tool("kube-proxy"));
    command.arg(format!("--config={}", config.display()));
    component(folder, "kube-proxy", &command)
}
