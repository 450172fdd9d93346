//! What follows from the objects: effective settings, findings, objects to write. Pure.

pub mod schema;
