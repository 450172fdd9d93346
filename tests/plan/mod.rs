//! By subject.

mod attach;
mod common;
mod env;
mod inject;
mod laws;
