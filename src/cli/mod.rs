//! The command line: one file a command.

mod completions;
mod crds;
mod diff;
mod docs;
mod explain;
pub mod input;
mod live;
mod load;
mod operator;
mod output;
mod render;
mod simulate;
mod status;
mod table;
mod validate;
mod webhook;
mod withdraw;

use clap::{CommandFactory, Parser, Subcommand};

/// One declared intent, TracingPolicy, becomes everything that distributed tracing needs in a Kubernetes cluster.
#[derive(Debug, Parser)]
#[command(name = "tracesteward", version, about, arg_required_else_help = true, max_term_width = 120)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Operator(operator::Args),
    Validate(validate::Args),
    Render(render::Args),
    Crds(crds::Args),
    Explain(explain::Args),
    Simulate(simulate::Args),
    Diff(diff::Args),
    Status(status::Args),
    Withdraw(withdraw::Args),
    Completions(completions::Args),
    #[command(hide = true)]
    Docs(docs::Args),
}

/// How a command ended (DESIGN section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// Nothing to complain about.
    Success = 0,
    /// Findings.
    Findings = 1,
    /// The command line is wrong.
    Usage = 2,
    /// Input cannot be read.
    Unreadable = 3,
    /// The cluster cannot be reached.
    Unreachable = 4,
}

/// Runs the command line; what is wrong is on standard error, the answer is the exit code.
pub fn run() -> u8 {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { Exit::Usage } else { Exit::Success };
            // Help that cannot be printed has nobody to read it.
            error.print().unwrap_or_default();
            return code as u8;
        }
    };
    let exit = match cli.command {
        Command::Operator(args) => operator::run(&args),
        Command::Validate(args) => validate::run(&args),
        Command::Render(args) => render::run(&args),
        Command::Crds(args) => crds::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Simulate(args) => simulate::run(&args),
        Command::Diff(args) => diff::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Withdraw(args) => withdraw::run(&args),
        Command::Completions(args) => completions::run(&args, &mut Cli::command()),
        Command::Docs(args) => docs::run(&args),
    };
    exit as u8
}
