//! What a run has on the machine: a folder with a lock, and cgroups. Both bear the run's name.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use super::cgroup;

/// How folders of runs begin. The rest is random.
const PREFIX: &str = "tracesteward-e2e-";
/// Held by the process that owns the run: the kernel lets go of it however that ends.
const LOCK: &str = "lock";
/// The first process of the sandbox, as the machine sees it.
const PID: &str = "pid";
/// The kernel takes a moment to end what was killed.
const PATIENCE: Duration = Duration::from_secs(15);

/// A run that this process owns.
pub(crate) struct Run {
    folder: PathBuf,
    _lock: File,
}

impl Run {
    /// Makes the folder and the cgroups.
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir().expect("a temporary folder").keep();
        // Locked before it has its name, or another run could take this one for an old one.
        let unnamed = folder.join("lock.new");
        let lock = File::create(&unnamed).expect("the folder is writable");
        lock.lock().expect("a new file is not locked");
        fs::rename(&unnamed, folder.join(LOCK)).expect("the folder is writable");
        cgroup::make(&name(&folder));
        Self { folder, _lock: lock }
    }

    /// Where everything of this run is.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Notes the child of `unshare`, so that others can enter the sandbox.
    pub(crate) fn note_first_process(&self, unshare: u32) {
        let children = format!("/proc/{unshare}/task/{unshare}/children");
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            match fs::read_to_string(&children) {
                Ok(pid) if !pid.trim().is_empty() => {
                    return fs::write(self.folder.join(PID), pid.trim()).expect("the folder is writable");
                }
                Ok(_) => std::thread::sleep(Duration::from_millis(5)),
                Err(_) => return,
            }
        }
    }

    /// Copies what tells why the run failed to `target/e2e`, and returns where it is.
    pub(crate) fn keep_logs(&self) -> Option<PathBuf> {
        let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/e2e").join(name(&self.folder));
        let script = r#"cd "$1" && find . -path ./containerd -prune -o -path ./var-lib -prune -o -path ./kubelet -prune \
            -o -type f \( -name '*.log' -o -path './report/*' \) -exec cp --parents -t "$2" {} +"#;
        fs::create_dir_all(&kept).ok()?;
        Command::new("sh").args(["-c", script, "sh"]).args([&self.folder, &kept]).status().ok()?;
        Some(kept)
    }

    /// Removes the folder and the cgroups.
    pub(crate) fn remove(self) {
        if let Err(reason) = remove(&self.folder) {
            eprintln!("e2e: {reason}; `make e2e-clean` tries again");
        }
    }
}

/// Removes what runs have left whose owner is gone. With `talk`, says what there was.
pub(crate) fn sweep(talk: bool) -> ExitCode {
    let mut result = ExitCode::SUCCESS;
    for folder in folders() {
        // Without the lock's file, a run is just beginning, or almost removed.
        let Ok(lock) = File::open(folder.join(LOCK)) else { continue };
        if lock.try_lock().is_err() {
            if talk {
                say!("{} is running: left alone", folder.display());
            }
            continue;
        }
        match remove(&folder) {
            Ok(()) => say!("removed what {} had left", name(&folder)),
            Err(reason) => {
                eprintln!("e2e: {reason}");
                result = ExitCode::FAILURE;
            }
        }
    }
    result
}

fn folders() -> Vec<PathBuf> {
    let entries = fs::read_dir(std::env::temp_dir()).into_iter().flatten().filter_map(Result::ok);
    let mut folders: Vec<_> =
        entries.map(|entry| entry.path()).filter(|path| name(path).starts_with(PREFIX) && path.is_dir()).collect();
    folders.sort();
    folders
}

fn name(folder: &Path) -> String {
    folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The cgroups first: the folder is what tells of them.
fn remove(folder: &Path) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let removed = cgroup::remove(&name(folder)).and_then(|()| fs::remove_dir_all(folder));
        match removed {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() > deadline => {
                return Err(format!("{} is not removed: {error}", folder.display()));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}
