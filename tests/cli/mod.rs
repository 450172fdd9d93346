//! By subject.

mod collectors;
mod common;
mod crds;
mod explain;
mod hostile;
mod render;
mod snapshots;
mod validate;
