//! One real Kubernetes node with its control plane, inside the sandbox.

mod addons;
mod control_plane;
mod kubelet;
mod network;
mod runtime;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::sandbox;
use crate::support::{ControlPlane, Process, eventually, tools::tool};

/// Of the Node object, and in the name of the kubelet's user.
const NAME: &str = "node0";
/// Longer than a loaded machine needs to start a component.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running node. It ends with the sandbox.
pub(crate) struct Node {
    folder: PathBuf,
    plane: ControlPlane,
    _components: Vec<Process>,
}

impl Node {
    /// Starts the node and waits until pods run on it, Services work and their names resolve.
    pub(crate) async fn start(images: &[PathBuf], folder: &Path) -> Self {
        let start = Instant::now();
        sandbox::prepare(folder);
        network::make();
        fs::create_dir_all(folder.join("logs")).expect("the run's folder is writable");
        let containerd = runtime::start(folder);
        // Unpacking is what takes longest, and needs nobody else.
        let importing = runtime::import(folder, images);
        let plane = control_plane::start().await;
        let mut components = vec![
            containerd,
            control_plane::scheduler(&plane, folder),
            kubelet::start(&plane, folder),
            kubelet::proxy(&plane, folder),
        ];
        addons::apply(&plane);
        importing.await.expect("importing does not panic").unwrap_or_else(|reason| panic!("{reason}"));
        ready(&plane, &mut components).await;
        say!(
            "The node is up ({:.1} s): {} images, KUBECONFIG={}",
            start.elapsed().as_secs_f64(),
            images.len(),
            plane.admin_kubeconfig().display()
        );
        Self { folder: folder.to_owned(), plane, _components: components }
    }

    /// The control plane of the node.
    pub(crate) fn plane(&self) -> &ControlPlane {
        &self.plane
    }

    /// How a person gets in.
    pub(crate) fn invitation(&self) -> String {
        let folder = self.folder.display();
        format!(
            "The node stays. From another terminal, as root:\n\n\
             export KUBECONFIG={kubeconfig}\n\
             enter() {{ nsenter --target \"$(cat {folder}/pid)\" --net --mount --pid \"$@\"; }}\n\
             enter {kubectl} get pods --all-namespaces\n\
             enter ctr --address {socket} --namespace k8s.io containers list\n\n\
             Logs of components: {folder}/logs and {plane}",
            kubeconfig = self.plane.admin_kubeconfig().display(),
            kubectl = tool("kubectl").display(),
            socket = runtime::socket(&self.folder).display(),
            plane = self.plane.folder().display(),
        )
    }
}

/// The node takes pods, the DNS answers, and Services can be reached from here, as the API server reaches webhooks.
async fn ready(plane: &ControlPlane, components: &mut [Process]) {
    let say = |output: crate::support::Output| {
        if output.status.success() { Ok(output.stdout) } else { Err(output.stderr.trim().to_owned()) }
    };
    let steps: [&[&str]; 2] = [
        &["wait", "--for=condition=Ready", "--timeout=1s", "node", NAME],
        &["rollout", "status", "--timeout=1s", "-n", "kube-system", "deployment/coredns"],
    ];
    for step in steps {
        eventually(&format!("kubectl {}", step.join(" ")), PATIENCE, || {
            components.iter_mut().for_each(Process::assert_alive);
            let answer = say(plane.kubectl(step));
            async move { answer }
        })
        .await;
    }
    for (service, port) in [(network::API_SERVICE, 443), (network::DNS_SERVICE, 53)] {
        eventually("Services are reached", PATIENCE, || {
            components.iter_mut().for_each(Process::assert_alive);
            network::connects(service, port)
        })
        .await;
    }
}

/// Starts a component with its log in the run's folder.
fn component(folder: &Path, name: &str, command: &Command) -> Process {
    Process::start(name, command, &folder.join("logs").join(format!("{name}.log")))
}
