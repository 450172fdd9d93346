//! The operator's own logs.

use std::io::IsTerminal;

use clap::ValueEnum;
use tracing_subscriber::{EnvFilter, filter::ParseError};

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

/// Starts logging to standard error. `level` is a level (`info`) or a filter (`tracesteward=debug,kube=warn`).
///
/// # Errors
/// Where `level` is neither.
pub fn start(format: LogFormat, level: &str) -> Result<(), ParseError> {
    let filter = EnvFilter::builder().parse(level)?;
    let terminal = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let as_text = format == LogFormat::Text || (format == LogFormat::Auto && terminal);
    if as_text {
        builder.with_ansi(terminal && std::env::var_os("NO_COLOR").is_none()).init();
    } else {
        builder.json().flatten_event(true).with_current_span(false).with_span_list(false).init();
    }
    Ok(())
}
