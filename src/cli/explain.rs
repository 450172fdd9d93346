//! `tracesteward explain`: what a code means. Works offline.

pub(super) mod code;

use super::{Exit, output::fail};

/// Prints what a diagnostic code means, what causes it, and how to mend it.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A code, such as TRC0101.
    #[arg(value_name = "CODE")]
    what: String,
}

pub(super) fn run(args: &Args) -> Exit {
    if args.what.contains('/') {
        let message = format!("explain {}: only codes are explained by this version, for example TRC0101", args.what);
        return fail(&message, Exit::Usage);
    }
    code::explain(&args.what)
}
