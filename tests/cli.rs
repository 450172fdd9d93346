//! The command line as users have it: the real binary, its exit codes and its bytes.

#[path = "cli/mod.rs"]
mod cases;
