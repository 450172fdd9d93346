//! What the operator says about itself: logs, spans, HTTP answers, its log level.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failing helper is a failing test")]

#[path = "signals/common.rs"]
mod common;
mod fixtures;
#[path = "signals/http.rs"]
mod http;
#[path = "signals/level.rs"]
mod level;
#[path = "signals/outage.rs"]
mod outage;
#[path = "signals/spans.rs"]
mod spans;
mod support;
