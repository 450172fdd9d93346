//! See `tests/fuzz/harness.rs`. The corpus to begin with is `tests/fuzz/corpus/review`.
#![no_main]

#[path = "../../tests/fuzz/harness.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| harness::review(bytes));
