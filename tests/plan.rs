//! What applies to a workload (DESIGN section 2), line by line, and the laws of planning. Pure.

#[path = "plan/mod.rs"]
mod cases;
