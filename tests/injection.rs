//! What the operator writes into workloads, and what it says about it: against a real API server, under the chart's rights.

mod fixtures;
#[path = "injection/instrumentation.rs"]
mod instrumentation;
#[path = "injection/lifecycle.rs"]
mod lifecycle;
#[path = "injection/quiet.rs"]
mod quiet;
#[path = "injection/secrets.rs"]
mod secrets;
#[path = "injection/selection.rs"]
mod selection;
#[path = "injection/status.rs"]
mod status;
mod support;
#[path = "injection/users.rs"]
mod users;
