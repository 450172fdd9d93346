//! Tracesteward: one declared intent, `TracingPolicy`, becomes everything that distributed tracing needs in a cluster.
//!
//! Data flows one way: watch -> index -> plan (pure) -> apply -> status. ARCHITECTURE.md says where what lives.

pub mod admission;
pub mod api;
pub mod apply;
pub mod cli;
pub mod controller;
pub mod diagnostics;
pub mod http;
pub mod index;
pub mod plan;
pub mod simulate;
pub mod telemetry;
pub mod watch;
pub mod web;
