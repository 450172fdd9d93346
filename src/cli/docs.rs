//! `tracesteward docs`: writes the pages of `docs/codes`. For this repository, so that it is hidden.

use std::{fs, io, path::PathBuf};

use super::{Exit, output::fail};
use crate::diagnostics::{Code, pages};

/// Writes the pages about the codes into a folder.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The folder.
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
}

pub(super) fn run(args: &Args) -> Exit {
    match write(args) {
        Ok(()) => Exit::Success,
        Err(error) => fail(&format!("cannot write into {}: {error}", args.output.display()), Exit::Unreadable),
    }
}

fn write(args: &Args) -> io::Result<()> {
    fs::create_dir_all(&args.output)?;
    fs::write(args.output.join("README.md"), pages::index())?;
    Code::ALL.iter().try_for_each(|code| fs::write(args.output.join(format!("{code}.md")), pages::markdown(*code)))
}
