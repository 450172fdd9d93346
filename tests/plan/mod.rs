//! By subject.

mod attach;
mod collector;
mod collectors;
mod common;
mod env;
mod ignored;
mod inject;
mod laws;
mod merge;
