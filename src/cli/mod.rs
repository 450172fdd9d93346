//! The command line: one file a command.

/// Files, folders and standard input.
pub mod input;
