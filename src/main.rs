//! The `tracesteward` binary: see the library.

fn main() {}
