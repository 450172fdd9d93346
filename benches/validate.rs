//! What `validate` costs: documents of text to findings.

use divan::{AllocProfiler, Bencher, counter::ItemsCount};
use tracesteward::{diagnostics::source::read, plan::read_policy};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

fn document(number: usize) -> String {
    format!(
        "---\napiVersion: tracesteward.io/v1alpha1\nkind: TracingPolicy\nmetadata:\n  name: policy-{number}\n  namespace: team-{}\nspec:\n  \
         enabled: true\n  language: java\n  targets:\n  - kind: Deployment\n    selector:\n      matchLabels: {{app: web-{number}}}\n  export:\n    \
         endpoint: http://otel-collector.observability:4317\n    timeout: 10s\n  sampling:\n    ratio: 1.{}\n",
        number % 100,
        number % 2
    )
}

/// Reading and checking; every second document has a finding. Linear growth: the same throughput on every line.
#[divan::bench(args = [1_000, 10_000, 80_000], sample_count = 5)]
fn validate(bencher: Bencher<'_, '_>, count: usize) {
    let text = (0..count).map(document).collect::<String>().into_bytes();
    bencher.counter(ItemsCount::new(count)).bench_local(|| {
        let reading = read("policies.yaml", text.clone());
        reading.documents.iter().map(|document| read_policy(document.value(), "default").findings.len()).sum::<usize>()
    });
}
