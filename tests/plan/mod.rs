//! By subject.

mod attach;
mod collector;
mod collectors;
mod common;
mod difference;
mod env;
mod explain;
mod ignored;
mod inject;
mod instrument;
mod instrument_live;
mod laws;
mod merge;
mod pods;
mod waves;
