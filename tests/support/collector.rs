//! A real OpenTelemetry Collector on loopback, running a configuration as it was rendered.
//!
//! The rendered bytes go to the collector unchanged: a parser of ours in between could mend what the collector would
//! stumble over. Listen addresses come from a second configuration, which the collector merges over the first.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::http;
use super::process::{Process, Scratch, free_port};
use super::tools::tool;
use super::wait::eventually;

/// A running collector. Dropping it kills it; where a test is failing, the end of its log is printed then.
pub(crate) struct Collector {
    process: Process,
    command: Command,
    folder: Scratch,
    ports: Ports,
}

#[derive(Clone, Copy)]
struct Ports {
    grpc: u16,
    http: u16,
    health: u16,
    metrics: u16,
}

/// What a collector has used so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// Memory in RAM, in bytes.
    pub(crate) resident: u64,
    /// Time on processors.
    pub(crate) cpu: Duration,
}

impl Collector {
    /// Starts a collector with this configuration (YAML or JSON) and waits until it is healthy.
    pub(crate) async fn start(configuration: &str) -> Self {
        Self::start_with(configuration, &[], &json!({})).await
    }

    /// The same with environment variables, and with values that are merged over the configuration's.
    pub(crate) async fn start_with(configuration: &str, environment: &[(&str, &str)], over: &Value) -> Self {
        let mut collector = Self::spawn(configuration, environment, over);
        collector.wait_ready().await;
        collector
    }

    /// Starts a collector without waiting for it.
    pub(crate) fn spawn(configuration: &str, environment: &[(&str, &str)], over: &Value) -> Self {
        let folder = Scratch::new();
        let ports = Ports { grpc: free_port(), http: free_port(), health: free_port(), metrics: free_port() };
        let addresses = addresses(&parse(configuration), ports);
        let files = [
            ("rendered.yaml", configuration.to_owned()),
            ("addresses.yaml", addresses.to_string()),
            ("over.yaml", over.to_string()),
        ];
        let mut command = Command::new(tool("otelcol"));
        for (name, text) in files {
            fs::write(folder.path().join(name), text).expect("the scratch folder can be written");
            command.arg(format!("--config=file:{}", folder.path().join(name).display()));
        }
        command.current_dir(folder.path()).envs(environment.iter().copied());
        let process = Process::start("the collector", &command, &folder.path().join("collector.log"));
        Self { process, command, folder, ports }
    }

    /// Waits until the health check answers.
    pub(crate) async fn wait_ready(&mut self) {
        let Self { process, ports, .. } = self;
        eventually("the collector is healthy", Duration::from_secs(30), || {
            process.assert_alive();
            let answer = http::get(ports.health, "/").and_then(|answer| match answer.status {
                200 => Ok(()),
                status => Err(format!("{status} {}", answer.body)),
            });
            async move { answer }
        })
        .await;
    }

    /// Starts a stopped or killed collector again, on the same ports.
    pub(crate) async fn start_again(&mut self) {
        assert!(self.process.exited().is_some(), "the collector is still running");
        self.process = Process::start("the collector", &self.command, &self.folder.path().join("collector.log"));
        self.wait_ready().await;
    }

    /// The port of OTLP over HTTP.
    pub(crate) fn http_port(&self) -> u16 {
        self.ports.http
    }

    /// The port of OTLP over gRPC.
    pub(crate) fn grpc_port(&self) -> u16 {
        self.ports.grpc
    }

    /// The folder that it runs in.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The sum of the series of one of its own metrics whose labels contain `label`.
    pub(crate) fn metric(&self, name: &str, label: &str) -> f64 {
        let answer = http::get(self.ports.metrics, "/metrics").expect("the collector's own metrics");
        let series = answer.body.lines().filter_map(|line| line.strip_prefix(name));
        let series = series.filter(|rest| rest.starts_with(['{', ' ']) && rest.contains(label));
        series.filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// How the collector ended, once it has.
    pub(crate) fn exited(&mut self) -> Option<ExitStatus> {
        self.process.exited()
    }

    /// Asks it to end (SIGTERM) and waits: it decides on every trace in memory and exports what is kept.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.process.stop(Duration::from_secs(30))
    }

    /// Kills it at once (SIGKILL).
    pub(crate) fn kill9(&mut self) {
        self.process.kill9();
    }

    /// Everything that it has logged.
    pub(crate) fn logs(&self) -> String {
        self.process.logs()
    }

    /// What it has used so far.
    pub(crate) fn usage(&self) -> Usage {
        let read = |file: &str| {
            fs::read_to_string(format!("/proc/{}/{file}", self.process.pid())).expect("the collector is running")
        };
        let status = read("status");
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let resident = resident.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        let stat = read("stat");
        // After the name, which is in parentheses: fields 14 and 15 of the line, in hundredths of a second.
        let fields = stat.rsplit(')').next().expect("fields").split_whitespace().skip(11).take(2);
        let ticks: u64 = fields.map(|field| field.parse::<u64>().expect("a number")).sum();
        Usage { resident: resident.expect("VmRSS") * 1024, cpu: Duration::from_millis(ticks * 10) }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the collector's log ends with:\n{}", self.process.log_tail());
        }
    }
}

/// What `otelcol validate` says about a configuration.
pub(crate) fn validate(configuration: &str) -> Result<(), String> {
    let folder = Scratch::new();
    let file = folder.path().join("configuration.yaml");
    fs::write(&file, configuration).expect("the scratch folder can be written");
    let mut command = Command::new(tool("otelcol"));
    let output = command.arg("validate").arg(format!("--config=file:{}", file.display())).output();
    let output = output.expect("the collector can be run");
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// A configuration (YAML or JSON) as a value.
pub(crate) fn parse(configuration: &str) -> Value {
    serde_saphyr::from_str(configuration).expect("the configuration is YAML")
}

/// Only what a process listens on, for everything in the configuration that listens.
fn addresses(configuration: &Value, ports: Ports) -> Value {
    let local = |port: u16| format!("127.0.0.1:{port}");
    let mut receivers = Map::new();
    for (name, receiver) in configuration["receivers"].as_object().into_iter().flatten() {
        let mut protocols = Map::new();
        for (protocol, port) in [("grpc", ports.grpc), ("http", ports.http)] {
            if receiver["protocols"].get(protocol).is_some() {
                protocols.insert(protocol.to_owned(), json!({"endpoint": local(port)}));
            }
        }
        receivers.insert(name.clone(), json!({"protocols": protocols}));
    }
    let mut extensions = Map::new();
    for name in configuration["extensions"].as_object().into_iter().flatten().map(|(name, _)| name) {
        if name.starts_with("health_check") {
            extensions.insert(name.clone(), json!({"endpoint": local(ports.health)}));
        }
    }
    // A list is replaced whole where configurations are merged.
    let mut readers = configuration["service"]["telemetry"]["metrics"]["readers"].clone();
    for reader in readers.as_array_mut().into_iter().flatten() {
        if let Some(prometheus) = reader.pointer_mut("/pull/exporter/prometheus") {
            prometheus["host"] = json!("127.0.0.1");
            prometheus["port"] = json!(ports.metrics);
        }
    }
    let mut all = json!({"receivers": receivers, "extensions": extensions});
    if readers.is_array() {
        all["service"] = json!({"telemetry": {"metrics": {"readers": readers}}});
    }
    all
}
