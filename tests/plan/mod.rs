//! By subject.

mod attach;
mod collectors;
mod common;
mod env;
mod inject;
mod laws;
