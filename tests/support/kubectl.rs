//! kubectl and kubeconfig files.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use serde_json::{Value, json};

/// What a program printed and how it ended.
#[derive(Debug)]
pub(crate) struct Output {
    /// How it ended.
    pub(crate) status: ExitStatus,
    /// Standard output.
    pub(crate) stdout: String,
    /// Standard error.
    pub(crate) stderr: String,
}

impl Output {
    /// Standard output of a program that succeeded.
    ///
    /// # Panics
    /// Where it failed, with what it said.
    #[track_caller]
    pub(crate) fn success(self) -> String {
        assert!(self.status.success(), "{}: {}{}", self.status, self.stdout, self.stderr);
        self.stdout
    }

    /// Standard error of a program that failed.
    ///
    /// # Panics
    /// Where it succeeded.
    #[track_caller]
    pub(crate) fn failure(self) -> String {
        assert!(!self.status.success(), "succeeded: {}", self.stdout);
        self.stderr
    }
}

/// Runs `command` to its end with `input` on its standard input. Blocks the thread.
pub(crate) fn run(command: &mut Command, input: &str) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    let mut stdin = child.stdin.take().expect("standard input is piped");
    let input = input.to_owned();
    // In a thread, because a program may fill its output before it has read its input; and it may end without reading it.
    let feeder = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let output = child.wait_with_output().expect("a child can be waited for");
    feeder.join().expect("the feeder does not panic");
    Output {
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Writes a kubeconfig with one context (JSON is YAML). `user` is the entry's `user`: paths of certificates, or a token.
pub(crate) fn write_kubeconfig(path: &Path, server: &str, ca: &Path, user: &Value) {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": server, "certificate-authority": ca}}],
        "users": [{"name": "test", "user": user}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "current-context": "test",
    });
    fs::write(path, config.to_string()).expect("the kubeconfig is written");
}
