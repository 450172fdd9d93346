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

/// Runs a program that says nothing where all is well.
pub(crate) fn run(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {}: {}", args.join(" "), said.trim());
}
