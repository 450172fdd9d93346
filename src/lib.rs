//! Tracesteward: one declared intent, `TracingPolicy`, becomes everything that distributed tracing needs in a cluster.
//!
//! Data flows one way: watch -> index -> plan (pure) -> apply -> status. ARCHITECTURE.md says where what lives.

pub mod cli;
pub mod diagnostics;
pub mod plan;
