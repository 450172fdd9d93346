//! The cgroup of a run, beneath which the kubelet makes those of its pods.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

const MOUNT: &str = "/sys/fs/cgroup";

/// Makes the group in every hierarchy.
pub(crate) fn make(name: &str) {
    for hierarchy in hierarchies() {
        let group = hierarchy.join(name);
        fs::create_dir(&group).unwrap_or_else(|error| panic!("the cgroup {}: {error}", group.display()));
        // In version 1, a set without processors or memory takes no process.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if let (Ok(all), true) = (fs::read(hierarchy.join(file)), hierarchy.ends_with("cpuset")) {
                fs::write(group.join(file), all).expect("a cpuset is written");
            }
        }
    }
}

/// Removes the group with all beneath it.
pub(crate) fn remove(name: &str) -> Result<(), std::io::Error> {
    hierarchies().iter().try_for_each(|hierarchy| remove_tree(&hierarchy.join(name)))
}

/// Files of a cgroup cannot be removed; they go with their folder.
fn remove_tree(group: &Path) -> Result<(), std::io::Error> {
    let entries = match fs::read_dir(group) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    fs::remove_dir(group)
}

/// One in version 2; one for each controller in version 1, by some of several names.
fn hierarchies() -> Vec<PathBuf> {
    let mount = PathBuf::from(MOUNT);
    if is_group(&mount) {
        return vec![mount];
    }
    let entries = fs::read_dir(&mount).expect("cgroups are mounted at /sys/fs/cgroup");
    let folders = entries.filter_map(Result::ok).filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_symlink()));
    folders.map(|entry| entry.path()).filter(|path| is_group(path)).collect()
}

fn is_group(folder: &Path) -> bool {
    folder.join("cgroup.procs").is_file()
}
