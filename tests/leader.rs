//! Several replicas, of which one writes: whatever becomes of it, another one goes on, and the two never write at once.

#![allow(clippy::unwrap_used, reason = "clippy's exception for tests does not reach their helpers")]

#[path = "leader/common.rs"]
mod common;
mod fixtures;
#[path = "leader/handover.rs"]
mod handover;
#[path = "leader/loss.rs"]
mod loss;
mod support;
