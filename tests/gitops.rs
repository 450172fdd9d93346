//! The operator beside GitOps: what appliers and it do to each other on a real API server (facts/gitops.md, sections 1 and 10).
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "clippy's exception for tests does not reach their helpers"
)]

#[path = "gitops/agreement.rs"]
mod agreement;
#[path = "gitops/appliers.rs"]
mod appliers;
#[path = "gitops/common.rs"]
mod common;
mod fixtures;
#[path = "gitops/health.rs"]
mod health;
#[path = "gitops/hook.rs"]
mod hook;
#[path = "gitops/matrix.rs"]
mod matrix;
#[path = "gitops/oddities.rs"]
mod oddities;
#[path = "gitops/repair.rs"]
mod repair;
mod support;
