//! Runs the binary.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// A policy with nothing to complain about.
pub(super) const GOOD: &str = "apiVersion: tracesteward.io/v1alpha1
kind: TracingPolicy
metadata: {name: good, namespace: shop}
spec: {enabled: true, export: {endpoint: http://otel:4317}}
";

/// Enabled without an endpoint.
pub(super) const BAD: &str = "apiVersion: tracesteward.io/v1alpha1
kind: TracingPolicy
metadata: {name: bad, namespace: shop}
spec: {enabled: true}
";

/// A warning: the port speaks gRPC.
pub(super) const WARNING: &str = "apiVersion: tracesteward.io/v1alpha1
kind: TracingPolicy
metadata: {name: warning, namespace: shop}
spec: {enabled: true, export: {endpoint: http://otel:4317, protocol: http/protobuf}}
";

/// A Deployment with one container.
pub(super) const WORKLOAD: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: app, image: web:1}]}
";

/// What the binary answered.
#[derive(Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) code: Option<i32>,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Answer {
    /// Standard output as JSON.
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The codes of all findings (of `validate -o json`).
    pub(super) fn codes(&self) -> Vec<String> {
        let json = self.json();
        let findings = json["diagnostics"].as_array().unwrap();
        findings.iter().map(|found| found["code"].as_str().unwrap().to_owned()).collect()
    }
}

pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The binary, in the repository, without settings of whoever runs the tests.
pub(super) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracesteward"));
    command.args(args).current_dir(root()).env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
    command
}

pub(super) fn run(args: &[&str]) -> Answer {
    finish(command(args), b"")
}

pub(super) fn run_with(args: &[&str], input: &str) -> Answer {
    finish(command(args), input.as_bytes())
}

pub(super) fn finish(mut command: Command, input: &[u8]) -> Answer {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    // It may end without reading everything.
    let feeder = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
    Answer { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// A folder with files in it.
pub(super) struct Files(tempfile::TempDir);

impl Files {
    pub(super) fn new(files: &[(&str, &str)]) -> Self {
        let files_made = Self(tempfile::tempdir().unwrap());
        for (name, text) in files {
            let path = files_made.path(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        files_made
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs the binary within the folder, so that findings name files as the arguments do.
    pub(super) fn run(&self, args: &[&str]) -> Answer {
        let mut command = command(args);
        command.current_dir(self.0.path());
        finish(command, b"")
    }
}
