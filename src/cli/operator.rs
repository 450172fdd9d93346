//! `tracesteward operator`: the controller and its probes, until a signal says stop.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use kube::{
    Client, Config,
    client::ClientBuilder,
    config::{KubeConfigOptions, Kubeconfig},
};
use tokio::sync::watch;
use tower::{layer::layer_fn, timeout::TimeoutLayer};

use super::{Exit, output::fail, webhook::WebhookArgs};
use crate::{
    admission::{self, Admission},
    api::DurationText,
    apply::{Leadership, Writer},
    controller::{Controller, ControllerError, Options, leader::Candidate},
    telemetry::{
        self, LogFormat, Telemetry,
        level::{LevelError, LogLevel},
        metrics::Metrics,
    },
    web,
};

/// Runs the operator.
///
/// A flag that is given twice counts as it is given last.
#[derive(Debug, clap::Args)]
#[command(args_override_self = true)]
pub(super) struct Args {
    /// The kubeconfig; else KUBECONFIG, else the ServiceAccount of the pod.
    #[arg(long, env = "TRACESTEWARD_KUBECONFIG", value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The operator's own namespace; else POD_NAMESPACE. It is never touched.
    #[arg(long, env = "TRACESTEWARD_NAMESPACE", value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// Watches only this namespace; may be repeated.
    #[arg(long, env = "TRACESTEWARD_WATCH_NAMESPACE", value_name = "NAMESPACE", value_delimiter = ',')]
    watch_namespace: Vec<String>,
    /// Writes only while holding the Lease `tracesteward` in the own namespace.
    #[arg(long, env = "TRACESTEWARD_LEADER_ELECT", value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    leader_elect: bool,
    /// Where the probes and the metrics are served.
    #[arg(long, env = "TRACESTEWARD_HTTP_ADDRESS", value_name = "ADDRESS", default_value = "0.0.0.0:8080", value_parser = address)]
    http_address: SocketAddr,
    /// How log lines look.
    #[arg(long, env = "TRACESTEWARD_LOG_FORMAT", value_name = "FORMAT", default_value = "auto")]
    log_format: LogFormat,
    /// A level, or a filter such as tracesteward=debug,kube=warn.
    #[arg(long, env = "TRACESTEWARD_LOG_LEVEL", value_name = "LEVEL", default_value = "info")]
    log_level: String,
    /// Looks whether headers Secrets exist and have their key; needs the right to get Secrets.
    #[arg(long, env = "TRACESTEWARD_SECRETS_VERIFY", value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    secrets_verify: bool,
    /// How long the pods of a collector's new configuration may take to become ready, before it is taken back.
    #[arg(long, env = "TRACESTEWARD_COLLECTOR_READY_TIMEOUT", value_name = "DURATION", default_value = "120s", value_parser = duration)]
    collector_ready_timeout: Duration,
    #[command(flatten)]
    webhook: WebhookArgs,
}

/// How long the API server may take to begin an answer, which includes what is tried again: more than it gives itself
/// (`--request-timeout`, a minute).
const ANSWER_TIMEOUT: Duration = Duration::from_secs(65);
/// How long nothing may come on a connection that waits for something: more than the five minutes of a watch.
const READ_TIMEOUT: Duration = Duration::from_secs(330);
/// How long a connection to the API server may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
enum OperatorError {
    #[error("no cluster: {0}; give --kubeconfig, set KUBECONFIG, or run in a pod")]
    NoCluster(String),
    #[error("--log-level: {0}")]
    LogLevel(#[from] LevelError),
    #[error("leader election needs --namespace or POD_NAMESPACE (or --leader-elect=false)")]
    NoNamespace,
    #[error("cannot start: {0}")]
    Runtime(std::io::Error),
    #[error(transparent)]
    Controller(#[from] ControllerError),
    #[error(transparent)]
    Serve(#[from] web::ServeError),
    #[error(transparent)]
    Webhook(#[from] admission::ServeError),
}

impl OperatorError {
    const fn exit(&self) -> Exit {
        match self {
            Self::LogLevel(_) | Self::NoNamespace | Self::Serve(_) | Self::Webhook(_) => Exit::Usage,
            Self::NoCluster(_) => Exit::Unreachable,
            Self::Runtime(_) | Self::Controller(_) => Exit::Unreadable,
        }
    }
}

pub(super) fn run(args: &Args) -> Exit {
    // Two at least, so that the webhook answers while a large change is planned; few, because each has memory of its own.
    let workers = std::thread::available_parallelism().map_or(2, |processors| processors.get().clamp(2, 8));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build();
    let runtime = runtime.map_err(OperatorError::Runtime);
    match runtime.and_then(|runtime| runtime.block_on(operate(args))) {
        Ok(()) => Exit::Success,
        Err(error) => fail(&error.to_string(), error.exit()),
    }
}

async fn operate(args: &Args) -> Result<(), OperatorError> {
    let metrics = Arc::new(Metrics::default());
    let Telemetry { level, export } = telemetry::start(args.log_format, &args.log_level, &metrics)?;
    let ran = serve(args, metrics, level).await;
    export.finish().await;
    ran
}

async fn serve(args: &Args, metrics: Arc<Metrics>, level: LogLevel) -> Result<(), OperatorError> {
    let own_namespace = args.namespace.clone().or_else(|| variable("POD_NAMESPACE"));
    let config = config(args.kubeconfig.as_ref()).await?;
    let client = connected(config.clone(), &metrics)?;
    let listener = web::bind(args.http_address).await?;
    let webhook = args.webhook.options(own_namespace.as_deref(), variable("KUBERNETES_SERVICE_HOST").is_some());
    let webhook = match webhook {
        Some(options) => Some(Admission::bind(options).await?),
        None => None,
    };
    let instance = variable("POD_NAME").or_else(|| variable("HOSTNAME"));
    let candidate = if args.leader_elect {
        let namespace = own_namespace.as_deref().ok_or(OperatorError::NoNamespace)?;
        // It has connections of its own, and tries again by itself.
        let mut config = config.clone();
        config.default_retry = false;
        let client = connected(config, &metrics)?;
        Some(Candidate::stand(client, namespace, instance.as_deref()))
    } else {
        None
    };
    let leadership = candidate.as_ref().map_or_else(Leadership::for_good, Candidate::leadership);
    let writer = Writer::connect(config, leadership.clone(), &metrics).map_err(no_cluster)?;
    let options = Options {
        own_namespace,
        watch_namespaces: args.watch_namespace.iter().filter(|name| !name.is_empty()).cloned().collect(),
        verify_secrets: args.secrets_verify,
        instance,
        ready_timeout: args.collector_ready_timeout,
        admission: webhook.as_ref().map(|(admission, _)| Arc::clone(admission)),
        managed: args.webhook.managed(),
        metrics: Arc::clone(&metrics),
    };
    let controller = Controller::new(client.clone(), writer, &options, leadership);
    let stop = stop_signal();
    let stop_web = wait_for(stop.clone());
    let webhook = webhook.map(|(admission, server)| {
        let (client, context, stop) = (client.clone(), controller.context(), wait_for(stop.clone()));
        tokio::spawn(admission.run(server, client, context, metrics, stop))
    });
    let probes = tokio::spawn(web::serve(listener, controller.context(), client, level, stop_web));
    tracing::info!(version = env!("CARGO_PKG_VERSION"), http = %args.http_address, "started");
    let ran = controller.run(stop).await;
    // After the last write.
    if let Some(candidate) = candidate {
        candidate.resign().await;
    }
    ran?;
    if let Some(webhook) = webhook {
        // It ends by itself: it has its own limit for requests that are under way.
        drop(webhook.await);
    }
    probes.abort();
    tracing::info!("stopped");
    Ok(())
}

fn no_cluster(error: impl std::fmt::Display) -> OperatorError {
    OperatorError::NoCluster(error.to_string())
}

fn connected(config: Config, metrics: &Metrics) -> Result<Client, OperatorError> {
    let builder = ClientBuilder::try_from(config).map_err(no_cluster)?;
    // A list or a watch that is accepted and never answered would be waited for for ever, and nothing seen meanwhile.
    Ok(builder.with_layer(&layer_fn(metrics.layer())).with_layer(&TimeoutLayer::new(ANSWER_TIMEOUT)).build())
}

async fn config(kubeconfig: Option<&PathBuf>) -> Result<Config, OperatorError> {
    let mut config = match kubeconfig {
        Some(path) => {
            let kubeconfig = Kubeconfig::read_from(path).map_err(no_cluster)?;
            let options = KubeConfigOptions::default();
            Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(no_cluster)?
        }
        None => Config::infer().await.map_err(no_cluster)?,
    };
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.read_timeout = Some(READ_TIMEOUT);
    config.reset_reader_on_write = true;
    Ok(config)
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Accepts `:8080` as the other Kubernetes operators do.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let full = if text.starts_with(':') { format!("0.0.0.0{text}") } else { text.to_owned() };
    full.parse().map_err(|_| "not an address such as 0.0.0.0:8080 or :8080".to_owned())
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    DurationText(text.to_owned()).get().ok_or_else(|| "not a positive duration such as 120s or 5m".to_owned())
}

/// Turns true at SIGTERM or SIGINT.
fn stop_signal() -> watch::Receiver<bool> {
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        let interrupted = tokio::signal::ctrl_c();
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut terminated) => {
                tokio::select! { _ = interrupted => {}, _ = terminated.recv() => {} }
            }
            // Without a handler for SIGTERM the default holds: the process ends at once, which is safe too.
            Err(_) => drop(interrupted.await),
        }
        sender.send_replace(true);
        // The receivers must still hear it: the sender lives as long as the process.
        std::future::pending::<()>().await;
    });
    receiver
}

async fn wait_for(mut stop: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a stop too.
    drop(stop.wait_for(|stop| *stop).await);
}
