//! `make demo` shows what the README says that it shows, and leaves nothing behind.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says why and stops"
)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The demo's binary. `cargo test` builds examples, `cargo test --test demo` does not: so it is built here, where it is
/// missing or old, into the folder that this test comes from.
fn demo() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let profile_folder = own.ancestors().nth(2).unwrap();
    let mut build = Command::new(env!("CARGO"));
    // What cargo says to tests would make build scripts run again, and with them half of the dependencies.
    let said = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];
    for (variable, _) in std::env::vars_os() {
        if said.iter().any(|prefix| variable.to_string_lossy().starts_with(prefix)) {
            build.env_remove(variable);
        }
    }
    build
        .args(["build", "--locked", "--quiet", "--example", "demo", "--target-dir"])
        .arg(profile_folder.parent().unwrap());
    if profile_folder.ends_with("release") {
        build.arg("--release");
    }
    assert!(build.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap().success());
    profile_folder.join("examples/demo")
}

fn position(text: &str, wanted: &str) -> usize {
    text.find(wanted).unwrap_or_else(|| panic!("{wanted:?} is not in:\n{text}"))
}

#[test]
fn shows_the_main_job_once() {
    let output = Command::new(demo()).arg("--once").env_remove("TRACESTEWARD_KEEP").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(!text.contains('\u{1b}'), "no colour on a pipe");

    let parts = ["before", "The team's policies", "After", "is refused", "What the operator says"]
        .map(|part| position(&text, part));
    assert!(parts.is_sorted(), "{text}");
    let [before, policies, after, refused, says] = parts;
    let part = |from: usize, to: usize| text.get(from..to).unwrap();
    assert!(part(before, policies).contains("    LOG_LEVEL=info"), "{text}");
    assert!(!part(before, policies).contains("OTEL_EXPORTER"), "{text}");
    for line in [
        "  = LOG_LEVEL=info",
        "  + OTEL_EXPORTER_OTLP_ENDPOINT=http://otel-collector.observability:4317",
        "  + OTEL_EXPORTER_OTLP_HEADERS=<Secret otel-headers>",
        "  + OTEL_SERVICE_NAME=fulfilment-report",
        "  = OTEL_TRACES_SAMPLER=always_on",
        "Writes of the operator, from the API server's audit log: 4 for 4 workloads.",
        "Pending",
    ] {
        assert!(part(after, refused).contains(line), "{line} is not in:\n{text}");
    }
    let refusal = part(refused, says);
    assert!(
        refusal.contains(r#"The TracingPolicy "no-endpoint" is invalid: spec: Invalid value: TRC0101: "#),
        "{text}"
    );
    assert!(refusal.contains("error[TRC0101]") && refusal.contains("no-endpoint.yaml:9:3"), "{text}");
    assert!(refusal.contains("(exit code 1)"), "{text}");
    let status = part(says, text.len());
    assert!(status.contains("    Ready         True     Ready "), "{text}");
    assert!(status.contains("attention: Deployment fulfilment-worker Overridden"), "{text}");
}

#[test]
fn stays_until_it_is_interrupted_and_then_cleans_up() {
    let mut demo = Command::new(demo()).env_remove("TRACESTEWARD_KEEP").stdout(Stdio::piped()).spawn().unwrap();
    let mut kubeconfig = None;
    let mut invited = false;
    for line in BufReader::new(demo.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        if let Some(path) = line.strip_prefix("export KUBECONFIG=") {
            kubeconfig = Some(PathBuf::from(path));
        }
        if line.starts_with("Ctrl-C") {
            invited = true;
            break;
        }
    }
    let kubeconfig = kubeconfig.expect("the kubeconfig is printed");
    assert!(invited && kubeconfig.is_file());
    assert!(demo.try_wait().unwrap().is_none(), "it stays");
    assert!(Command::new("kill").args(["-INT", &demo.id().to_string()]).status().unwrap().success());
    assert!(demo.wait().unwrap().success());
    let folder: &Path = kubeconfig.parent().unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while folder.exists() {
        assert!(Instant::now() < deadline, "{} is still there", folder.display());
        std::thread::sleep(Duration::from_millis(50));
    }
}
