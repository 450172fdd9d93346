//! The operator as a process, outside of the cluster, under the rights of a kubeconfig.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::http::{self, Answer};
use super::plane::ControlPlane;
use super::process::{Process, free_port};
use super::wait::eventually;

/// The operator's own namespace.
pub(crate) const NAMESPACE: &str = "tracesteward-system";

/// A running operator. Dropping it kills it; where a test is failing, the end of its log is printed then.
pub(crate) struct Operator {
    process: Process,
    http_port: u16,
}

impl Operator {
    /// Starts the operator and waits until it is ready. Its settings come through the
    /// environment: a flag in `extra_args` replaces the one of the same name.
    pub(crate) async fn start(plane: &ControlPlane, kubeconfig: &Path, extra_args: &[&str]) -> Self {
        let mut operator = Self::spawn(plane, kubeconfig, extra_args);
        operator.wait_ready().await;
        operator
    }

    /// Starts the operator without waiting. Each has a pod's name of its own, as the chart gives it: that is who it is
    /// in the election.
    pub(crate) fn spawn(plane: &ControlPlane, kubeconfig: &Path, extra_args: &[&str]) -> Self {
        Self::spawn_in(plane, kubeconfig, extra_args, &[])
    }

    /// The same with further variables in its environment.
    pub(crate) fn spawn_in(
        plane: &ControlPlane,
        kubeconfig: &Path,
        extra_args: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let http_port = free_port();
        let mut command = Command::new(binary());
        for (variable, _) in std::env::vars_os() {
            let name = variable.to_string_lossy();
            if name.starts_with("TRACESTEWARD_") || name.starts_with("OTEL_") {
                command.env_remove(&variable);
            }
        }
        command
            .arg("operator")
            .args(extra_args)
            .env("POD_NAME", format!("operator-{number}"))
            .env("TRACESTEWARD_KUBECONFIG", kubeconfig)
            .env("TRACESTEWARD_NAMESPACE", NAMESPACE)
            .env("TRACESTEWARD_HTTP_ADDRESS", format!("127.0.0.1:{http_port}"))
            // What is cluster-wide belongs to one operator: who tests admission turns it on ([`Self::webhook_args`]).
            .env("TRACESTEWARD_WEBHOOK_ADDRESS", "")
            .env("TRACESTEWARD_MANAGE_ADMISSION", "false")
            .env("TRACESTEWARD_LEADER_ELECT", "false")
            .env("TRACESTEWARD_LOG_FORMAT", "json")
            .env_remove("KUBECONFIG")
            .envs(environment.iter().copied());
        let log = format!("operator-{number}.log");
        Self { process: Process::start("the operator", &command, &plane.folder().join(log)), http_port }
    }

    /// Waits until `/readyz` answers 200.
    pub(crate) async fn wait_ready(&mut self) {
        let Self { process, http_port, .. } = self;
        eventually("the operator is ready", Duration::from_secs(60), || {
            process.assert_alive();
            let answer = http::get(*http_port, "/readyz").and_then(|answer| match answer.status {
                200 => Ok(()),
                status => Err(format!("/readyz: {status} {}", answer.body)),
            });
            async move { answer }
        })
        .await;
    }

    /// Asks its HTTP server (`/metrics`, `/healthz`, ...).
    pub(crate) fn get(&self, path: &str) -> Result<Answer, String> {
        http::get(self.http_port, path)
    }

    /// The port of `--http-address`.
    pub(crate) fn http_port(&self) -> u16 {
        self.http_port
    }

    /// The flags that turn the webhook on, at this port.
    pub(crate) fn webhook_args(port: u16) -> [String; 3] {
        [
            format!("--webhook-address=127.0.0.1:{port}"),
            format!("--webhook-url=https://127.0.0.1:{port}"),
            "--manage-admission".to_owned(),
        ]
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Panics where it has ended.
    pub(crate) fn assert_alive(&mut self) {
        self.process.assert_alive();
    }

    /// Kills it at once (SIGKILL).
    pub(crate) fn kill9(mut self) {
        self.process.kill9();
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    ///
    /// # Panics
    /// Where it has not within 30 s.
    pub(crate) fn stop(mut self) -> ExitStatus {
        self.process.stop(Duration::from_secs(30))
    }

    /// Everything that it has logged.
    pub(crate) fn logs(&self) -> String {
        self.process.logs()
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the operator's log ends with:\n{}", self.process.log_tail());
        }
    }
}

/// OPERATOR names another build of it. Cargo names the binary to integration tests; to an example it does not, but lies beside
/// it: `target/debug/examples/..`.
fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("OPERATOR") {
        return path.into();
    }
    if let Some(path) = option_env!("CARGO_BIN_EXE_tracesteward") {
        return path.into();
    }
    let own = std::env::current_exe().expect("an executable has a path");
    let beside = own.ancestors().skip(1).take(2).map(|folder| folder.join("tracesteward")).find(|path| path.is_file());
    beside.unwrap_or_else(|| panic!("no tracesteward beside {}: run `cargo build` first", own.display()))
}
