//! Changes that cannot hurt: waves, what is taken back, and restarts of stale pods, on a real control plane whose pods kwok plays.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failing helper is a failing test")]

#[path = "rollout/common.rs"]
mod common;
mod fixtures;
#[path = "rollout/pods.rs"]
mod pods;
#[path = "rollout/revert.rs"]
mod revert;
mod support;
#[path = "rollout/waves.rs"]
mod waves;
