//! Inside the sandbox: what programs write to fixed places of the machine goes to the run's own folder or nowhere.

use std::fs;
use std::path::Path;
use std::process::Command;

/// What the kubelet sets for the whole machine where it finds something else. It finds them set, in files of ours: the
/// machine keeps its own.
const TUNABLES: [(&str, &str); 6] = [
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];

/// With so much free memory (in KiB), images are unpacked into it: about 1 GB, which a busy disk takes half a minute to
/// write and to delete.
const ENOUGH_MEMORY: u64 = 8 << 20;

/// Makes the places.
pub(crate) fn prepare(folder: &Path) {
    // Sockets of shims, locks of iptables, links to the logs of containers.
    for place in ["/run", "/var/log"] {
        run("mount", &["-t", "tmpfs", "tmpfs", place]);
    }
    // CNI and the kubelet's plugins have folders there that cannot be configured; what is there stays readable.
    let layers = folder.join("var-lib");
    for layer in ["upper", "work"] {
        fs::create_dir_all(layers.join(layer)).expect("the run's folder is writable");
    }
    let layers = layers.display();
    let options = format!("lowerdir=/var/lib,upperdir={layers}/upper,workdir={layers}/work");
    run("mount", &["-t", "overlay", "overlay", "-o", &options, "/var/lib"]);
    if free_memory() >= ENOUGH_MEMORY {
        let containers = folder.join("containerd");
        fs::create_dir_all(&containers).expect("the run's folder is writable");
        run("mount", &["-t", "tmpfs", "tmpfs", "-o", "size=6g", &containers.to_string_lossy()]);
    }
    for (tunable, value) in TUNABLES {
        let real = Path::new("/proc/sys").join(tunable);
        let own = folder.join("sysctl").join(tunable);
        fs::create_dir_all(own.parent().expect("a file is in a folder")).expect("the run's folder is writable");
        fs::write(&own, value).expect("the run's folder is writable");
        if real.exists() {
            run("mount", &["--bind", &own.to_string_lossy(), &real.to_string_lossy()]);
        }
    }
}

/// What programs can have without swapping, in KiB; 0 where the kernel does not say.
fn free_memory() -> u64 {
    let facts = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = facts.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
}

/// Runs a program that says nothing where all is well.
pub(crate) fn run(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {}: {}", args.join(" "), said.trim());
}
