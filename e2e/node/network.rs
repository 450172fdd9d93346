//! The network of the node: nobody outside of the sandbox sees it, so its addresses are always the same.

use std::fs;
use std::time::Duration;

use tokio::net::TcpStream;

use crate::sandbox::run_tool;

/// The node's own address.
pub(super) const NODE: &str = "10.90.0.1";
/// Of all pods; the only node has the first part of it.
pub(super) const PODS: &str = "10.91.0.0/16";
/// Of the pods of this node.
pub(super) const OWN_PODS: &str = "10.91.0.0/24";
/// Of Services.
pub(super) const SERVICES: &str = "10.92.0.0/16";
/// Of the Service `kubernetes`, which is the first address of all.
pub(super) const API_SERVICE: &str = "10.92.0.1";
/// Of the Service `kube-dns`.
pub(super) const DNS_SERVICE: &str = "10.92.0.10";

/// A device with the node's address and a default route, since what goes to a Service needs some route before kube-proxy
/// sees it. A bridge, because not every kernel has dummy devices.
pub(super) fn make() {
    let commands: [&[&str]; 5] = [
        &["link", "set", "lo", "up"],
        &["link", "add", "node0", "type", "bridge"],
        &["address", "add", "10.90.0.1/24", "dev", "node0"],
        &["link", "set", "node0", "up"],
        &["route", "add", "default", "dev", "node0"],
    ];
    for command in commands {
        run_tool("ip", command);
    }
    fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("the sandbox's own network is configurable");
}

/// What CNI does for a pod: a pair of devices and routes, so that everything passes the node and its rules. (Pods on one
/// bridge reach each other without them, unless the kernel has `br_netfilter`, and then Services do not work.)
pub(super) fn cni() -> serde_json::Value {
    serde_json::json!({
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [
            {
                "type": "ptp",
                "ipMasq": false,
                "ipam": {"type": "host-local", "ranges": [[{"subnet": OWN_PODS}]], "routes": [{"dst": "0.0.0.0/0"}]},
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    })
}

/// Somebody listens there.
pub(super) async fn connects(address: &str, port: u16) -> Result<(), String> {
    match tokio::time::timeout(Duration::from_secs(1), TcpStream::connect((address, port))).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(format!("{address}:{port}: {error}")),
        Err(_) => Err(format!("{address}:{port}: no answer")),
    }
}
