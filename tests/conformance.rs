//! The rendered configuration on the real OpenTelemetry Collector: does it keep what the words promise, scrub what they
//! say, and deliver what is left?
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says why and stops"
)]

#[path = "conformance/cases.rs"]
mod cases;
#[path = "conformance/compare.rs"]
mod compare;
#[path = "conformance/generate.rs"]
mod generate;
#[path = "conformance/model.rs"]
mod model;
#[path = "conformance/oracle.rs"]
mod oracle;
#[path = "conformance/sampling.rs"]
mod sampling;
#[path = "conformance/scrub.rs"]
mod scrub;
mod support;
#[path = "conformance/through.rs"]
mod through;
#[path = "conformance/traps.rs"]
mod traps;
