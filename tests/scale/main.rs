//! `make scale`: what the operator costs in large clusters, on a real API server. Prints a table for all sizes side by side, and
//! fails where one of the promises that it names is broken. Not part of `cargo test`: it takes half an hour.
//!
//! Arguments: sizes (numbers of Deployments; 1000 10000), and `--rest SECONDS` (300).
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a program of the tests: what it prints is what it is for"
)]

#[path = "../fixtures/mod.rs"]
mod fixtures;
mod objects;
mod process;
mod run;
#[path = "../support/mod.rs"]
mod support;
mod table;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use objects::Size;

fn main() -> ExitCode {
    let mut rest = Duration::from_secs(300);
    let mut sizes = Vec::new();
    let mut args = std::env::args().skip(1);
    while let Some(argument) = args.next() {
        let number = |text: Option<String>| text.and_then(|text| text.parse::<u64>().ok()).expect("a number");
        if argument == "--rest" {
            rest = Duration::from_secs(number(args.next()));
        } else {
            sizes.push(usize::try_from(number(Some(argument))).expect("a number of Deployments"));
        }
    }
    if sizes.is_empty() {
        sizes = vec![1_000, 10_000];
    }
    let start = Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let measured: Vec<_> =
        sizes.into_iter().map(|workloads| (workloads, runtime.block_on(run::run(Size { workloads }, rest)))).collect();
    let broken = table::print(&measured);
    println!("\ntook {} s", start.elapsed().as_secs());
    for promise in &broken {
        println!("broken: {promise}");
    }
    if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
