mod conversions;
mod hostile;
mod positions;

use super::*;
use serde_json::Value;

fn text(input: &str) -> Reading {
    read("in.yaml", input.as_bytes().to_vec())
}

fn values(reading: &Reading) -> Vec<&Value> {
    reading.documents.iter().map(Document::value).collect()
}

/// Code, line and column of each finding.
fn faults(reading: &Reading) -> Vec<(&'static str, usize, usize)> {
    let fault = |found: &Located| {
        let place = found.place.as_ref().unwrap();
        (found.diagnostic.code.as_str(), place.line.unwrap_or(0), place.column.unwrap_or(0))
    };
    reading.diagnostics.iter().map(fault).collect()
}

fn detail(reading: &Reading) -> &str {
    reading.diagnostics.first().map_or("", |found| &found.diagnostic.message)
}
