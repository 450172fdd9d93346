//! `tracesteward completions`: what makes a shell complete its command line.

use clap_complete::{Shell, generate};

use super::{Exit, output::print};

/// Prints what a shell needs to complete commands, options and their values.
#[derive(Debug, clap::Args)]
#[command(after_help = "bash: source <(tracesteward completions bash)\n\
    zsh:  tracesteward completions zsh > \"${fpath[1]}/_tracesteward\"\n\
    fish: tracesteward completions fish > ~/.config/fish/completions/tracesteward.fish")]
pub(super) struct Args {
    /// The shell.
    shell: Shell,
}

pub(super) fn run(args: &Args, command: &mut clap::Command) -> Exit {
    let mut script = Vec::new();
    generate(args.shell, command, "tracesteward", &mut script);
    print(&String::from_utf8_lossy(&script))
}
