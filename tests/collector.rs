//! What the operator makes of a TracingCollector: against a real API server, under the chart's rights. There are no nodes:
//! the tests say of pods what a kubelet would.

#[path = "collector/common.rs"]
mod common;
mod fixtures;
#[path = "collector/objects.rs"]
mod objects;
#[path = "collector/references.rs"]
mod references;
#[path = "collector/rollout.rs"]
mod rollout;
mod support;
