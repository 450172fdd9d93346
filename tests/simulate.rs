//! `simulate` against the real OpenTelemetry Collector: what it says has to be what the collector does, trace by trace.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says why and stops"
)]

#[path = "conformance/compare.rs"]
#[allow(dead_code, reason = "only its way to render is of use here")]
mod compare;
#[path = "simulate/equality.rs"]
mod equality;
#[path = "conformance/generate.rs"]
#[allow(dead_code, reason = "the conformance tests use more of it")]
mod generate;
#[path = "conformance/model.rs"]
#[allow(dead_code, reason = "the conformance tests use more of it")]
mod model;
#[path = "simulate/mutations.rs"]
mod mutations;
#[path = "conformance/oracle.rs"]
#[allow(dead_code, reason = "random cases are made with its hash; nothing here asks it for a verdict")]
mod oracle;
#[path = "simulate/recordings.rs"]
mod recordings;
#[path = "simulate/run.rs"]
mod run;
mod support;
