//! containerd with all that it has in the run's folder: no other containerd is disturbed, and none disturbs it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use tokio::task::JoinHandle;

use super::{PATIENCE, component, network};
use crate::support::Process;

/// Where distributions put the plugins of CNI.
const CNI_FOLDERS: [&str; 3] = ["/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"];

/// Where containerd listens.
pub(super) fn socket(folder: &Path) -> PathBuf {
    folder.join("containerd.sock")
}

/// Starts containerd.
pub(super) fn start(folder: &Path) -> Process {
    let cni = folder.join("cni");
    fs::create_dir_all(&cni).expect("the run's folder is writable");
    fs::write(cni.join("10-pods.conflist"), network::cni().to_string()).expect("the run's folder is writable");
    let plugins = CNI_FOLDERS.iter().find(|folder| Path::new(folder).join("ptp").is_file());
    let plugins =
        plugins.unwrap_or_else(|| panic!("no CNI plugins in {}: run e2e/packages.sh", CNI_FOLDERS.join(", ")));
    let config = folder.join("containerd.toml");
    fs::write(&config, configuration(folder, plugins)).expect("the run's folder is writable");
    let mut command = Command::new("containerd");
    command.arg("--config").arg(config);
    component(folder, "containerd", &command)
}

fn configuration(folder: &Path, plugins: &str) -> String {
    let own = folder.display();
    format!(
        r#"version = 2
root = "{own}/containerd/root"
state = "{own}/containerd/state"

[grpc]
  address = "{socket}"

[plugins."io.containerd.internal.v1.opt"]
  path = "{own}/containerd/opt"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "local.test/pause:1"
  # Without the right to lower it, sandboxes would not start.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{own}/cni"
"#,
        socket = socket(folder).display(),
    )
}

/// Imports images in the background, as soon as containerd answers.
pub(super) fn import(folder: &Path, images: &[PathBuf]) -> JoinHandle<Result<(), String>> {
    let (socket, images) = (socket(folder), images.to_vec());
    tokio::task::spawn_blocking(move || {
        let deadline = Instant::now() + PATIENCE;
        while let Err(reason) = ctr(&socket, &["version".as_ref()]) {
            if Instant::now() > deadline {
                return Err(reason);
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        images.iter().try_for_each(|image| ctr(&socket, &["images".as_ref(), "import".as_ref(), image]))
    })
}

/// Runs containerd's client in the namespace of Kubernetes.
fn ctr(socket: &Path, args: &[&Path]) -> Result<(), String> {
    let output = Command::new("ctr").arg("--address").arg(socket).args(["--namespace", "k8s.io"]).args(args).output();
    let output = output.map_err(|error| format!("ctr: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let words: Vec<_> = args.iter().map(|arg| arg.display().to_string()).collect();
    Err(format!("ctr {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}
