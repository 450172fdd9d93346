//! Reading input: `cargo bench --bench source`.

use divan::{Bencher, counter::BytesCount};
use tracesteward::diagnostics::FieldPath;
use tracesteward::diagnostics::source::read;

const TEN_MEGABYTES: usize = 10 << 20;

fn main() {
    divan::main();
}

fn policy(index: usize) -> String {
    format!(
        "---\napiVersion: tracesteward.io/v1alpha1\nkind: TracingPolicy\nmetadata:\n  name: policy-{index}\n  \
         namespace: shop\nspec:\n  enabled: true\n  targets:\n  - {{kind: Deployment, name: web-{index}}}\n  export:\n    \
         endpoint: http://otel:4317\n"
    )
}

fn yaml(documents: usize) -> Vec<u8> {
    (0..documents).map(policy).collect::<String>().into_bytes()
}

fn json(bytes: usize) -> Vec<u8> {
    let item = r#"{"kind":"TracingPolicy","metadata":{"name":"web"},"spec":{"enabled":true,"sampling":{"ratio":0.1}}}"#;
    let items = vec![item; bytes / (item.len() + 1)].join(",");
    format!(r#"{{"apiVersion":"v1","kind":"List","items":[{items}]}}"#).into_bytes()
}

fn reading(bencher: Bencher<'_, '_>, input: &[u8]) {
    bencher.counter(BytesCount::of_slice(input)).bench(|| read("input", input.to_vec()));
}

#[divan::bench(sample_count = 5)]
fn yaml_10_megabytes(bencher: Bencher<'_, '_>) {
    reading(bencher, &yaml(TEN_MEGABYTES / policy(50_000).len()));
}

#[divan::bench(sample_count = 5)]
fn yaml_10_000_documents(bencher: Bencher<'_, '_>) {
    reading(bencher, &yaml(10_000));
}

#[divan::bench(sample_count = 5)]
fn json_10_megabytes_in_one_line(bencher: Bencher<'_, '_>) {
    reading(bencher, &json(TEN_MEGABYTES));
}

#[divan::bench(sample_count = 5)]
fn places_in_10_megabytes_of_one_line(bencher: Bencher<'_, '_>) {
    let reading = read("input", json(TEN_MEGABYTES));
    let path = FieldPath::fields("spec.sampling.ratio");
    bencher.bench(|| reading.documents.iter().map(|document| document.place(&path)).collect::<Vec<_>>());
}
