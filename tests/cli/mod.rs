//! By subject.

mod codes;
mod collectors;
mod common;
mod completions;
mod crds;
mod explain;
mod formats;
mod hostile;
mod render;
mod simulate;
mod snapshots;
mod suppression;
mod validate;
