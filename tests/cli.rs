//! The command line as users have it: the real binary, its exit codes and its bytes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says why and stops"
)]

#[path = "cli/mod.rs"]
mod cases;
