//! The fault matrix: what breaks around the operator, and the operator itself. After each fault everything is as it should
//! be again: nothing is lost, nothing of others was touched, nothing was written twice, and the operator has not ended. Each
//! test prints a line of a table: the fault, the time from its end until all was well, writes, and how many were due.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failing helper is a failing test")]

#[path = "faults/apiserver.rs"]
mod apiserver;
#[path = "faults/certificate.rs"]
mod certificate;
#[path = "faults/clock.rs"]
mod clock;
#[path = "faults/common.rs"]
mod common;
mod fixtures;
#[path = "faults/killed.rs"]
mod killed;
#[path = "faults/malformed.rs"]
mod malformed;
#[path = "faults/network.rs"]
mod network;
#[path = "faults/progress.rs"]
mod progress;
#[path = "faults/storm.rs"]
mod storm;
mod support;
#[path = "faults/two.rs"]
mod two;
#[path = "faults/watches.rs"]
mod watches;
