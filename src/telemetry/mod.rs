//! The operator's own logs and metrics.

pub mod metrics;

use std::{io::IsTerminal, str::FromStr};

use clap::ValueEnum;
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

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

/// A level that is none.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is neither a level (error, warn, info, debug, trace) nor a filter such as tracesteward=debug,kube=warn")]
pub struct LevelError(String);

/// Starts logging to standard error. `level` is a level (`info`) or a filter (`tracesteward=debug,kube=warn`).
///
/// # Errors
/// Where `level` is neither.
pub fn start(format: LogFormat, level: &str) -> Result<(), LevelError> {
    // A bare word would be taken for the name of a module, and a misspelt level would silence everything.
    if !level.contains(['=', ',', '[']) {
        LevelFilter::from_str(level).map_err(|_| LevelError(level.to_owned()))?;
    }
    let filter = EnvFilter::builder().parse(level).map_err(|_| LevelError(level.to_owned()))?;
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
