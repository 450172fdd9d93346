//! The Helm chart and the kustomize base, rendered by the real Helm and kubectl.
#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot go on says why and stops")]

#[path = "chart/common.rs"]
mod common;
#[path = "chart/crds.rs"]
mod crds;
mod fixtures;
#[path = "chart/live.rs"]
mod live;
#[path = "chart/monitoring.rs"]
mod monitoring;
#[path = "chart/objects.rs"]
mod objects;
#[path = "chart/package.rs"]
mod package;
#[path = "chart/policies.rs"]
mod policies;
#[path = "chart/readme.rs"]
mod readme;
#[path = "chart/rights.rs"]
mod rights;
mod support;
#[path = "chart/values.rs"]
mod values;
#[path = "chart/webhook.rs"]
mod webhook;
