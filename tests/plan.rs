//! What applies to a workload (DESIGN section 2), line by line, and the laws of planning. Pure.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says why and stops"
)]

#[path = "plan/mod.rs"]
mod cases;
