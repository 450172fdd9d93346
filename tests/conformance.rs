//! The rendered configuration on the real OpenTelemetry Collector: does it keep what the words promise, scrub what they
//! say, and deliver what is left?
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says why and stops"
)]

#[path = "conformance/attachment.rs"]
mod attachment;
#[path = "conformance/cases.rs"]
mod cases;
#[path = "conformance/compare.rs"]
mod compare;
#[path = "conformance/delivery.rs"]
mod delivery;
#[path = "conformance/generate.rs"]
mod generate;
#[path = "conformance/identity.rs"]
mod identity;
#[path = "conformance/metrics.rs"]
mod metrics;
#[path = "conformance/model.rs"]
mod model;
#[path = "conformance/mutations.rs"]
mod mutations;
#[path = "conformance/oracle.rs"]
mod oracle;
#[path = "conformance/outage.rs"]
mod outage;
#[path = "conformance/samples.rs"]
mod samples;
#[path = "conformance/sampling.rs"]
mod sampling;
#[path = "conformance/scrub.rs"]
mod scrub;
#[path = "conformance/storage.rs"]
mod storage;
mod support;
#[path = "conformance/through.rs"]
mod through;
#[path = "conformance/traps.rs"]
mod traps;
