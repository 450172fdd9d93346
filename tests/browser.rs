//! Pages as people see them: in a real headless Chromium.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says why and stops"
)]

#[path = "cli/common.rs"]
#[allow(dead_code, reason = "the tests of the command line use more of it")]
mod common;
#[path = "browser/driver.rs"]
mod driver;
#[path = "browser/simulate.rs"]
mod simulate;
mod support;
