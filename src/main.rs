//! The `tracesteward` binary: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(tracesteward::cli::run())
}
