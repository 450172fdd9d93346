//! The admission webhook: what the API server makes of it, what the operator keeps for it in the cluster, its certificates.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failing helper is a failing test")]

#[path = "admission/common.rs"]
mod common;
mod fixtures;
#[path = "admission/kept.rs"]
mod kept;
#[path = "admission/life.rs"]
mod life;
#[path = "admission/pods.rs"]
mod pods;
#[path = "admission/repair.rs"]
mod repair;
#[path = "admission/requests.rs"]
mod requests;
#[path = "admission/rights.rs"]
mod rights;
#[path = "admission/rotation.rs"]
mod rotation;
mod support;
