//! The operator's own logs, spans and metrics.
//!
//! Every reconcile and every HTTP request is a span, whether or not spans are exported: its ids are in each of its log lines, and go
//! with its requests to the API server.

mod export;
pub mod level;
mod log;
pub mod metrics;
mod sampler;
pub mod trace;

use std::{io::IsTerminal, sync::Arc};

use clap::ValueEnum;
use opentelemetry::trace::TracerProvider;
use tracing::{Level, Metadata};
use tracing_subscriber::{Layer, filter::filter_fn, fmt, layer::SubscriberExt, util::SubscriberInitExt};

pub use export::Export;
use level::{LevelError, LogLevel};
use metrics::Metrics;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// What was started: to be changed and ended by who started it.
#[derive(Debug)]
pub struct Telemetry {
    /// What is logged.
    pub level: LogLevel,
    /// Who sends spans; does nothing where nobody wants any.
    pub export: Export,
}

/// Starts logging to standard error, and the export of spans where the environment names an endpoint for them (`OTEL_...`). `level` is a
/// level (`info`) or a filter (`tracesteward=debug,kube=warn`). Within a runtime.
///
/// # Errors
/// Where `level` is neither.
pub fn start(format: LogFormat, level: &str, metrics: &Arc<Metrics>) -> Result<Telemetry, LevelError> {
    let (filter, level) = LogLevel::new(level)?;
    let (provider, export, trouble) = export::provider(metrics);
    let spans = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("tracesteward"))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_filter(filter_fn(|metadata| is_own(metadata) && *metadata.level() <= Level::INFO));
    let terminal = std::io::stderr().is_terminal();
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = if format == LogFormat::Text || (format == LogFormat::Auto && terminal) {
        lines.with_ansi(terminal && std::env::var_os("NO_COLOR").is_none()).fmt_fields(log::Text).boxed()
    } else {
        lines.fmt_fields(log::Unsaid).event_format(log::Json::default()).boxed()
    };
    // The spans come first: they are entered before a line asks for their ids.
    tracing_subscriber::registry().with(spans).with(log::Carry).with(lines.with_filter(filter)).init();
    std::panic::set_hook(Box::new(log::panicked));
    if let Some(trouble) = trouble {
        tracing::warn!(trouble, "spans are not exported");
    }
    Ok(Telemetry { level, export })
}

/// Whether this is the operator's own.
fn is_own(metadata: &Metadata<'_>) -> bool {
    metadata.target().split("::").next() == Some("tracesteward")
}
