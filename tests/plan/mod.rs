//! By subject.

mod attach;
mod collector;
mod common;
mod env;
mod inject;
mod laws;
