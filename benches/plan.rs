//! What planning costs: time and allocations for whole snapshots, growing tenfold, with one policy for every twenty workloads
//! (10,000 workloads and 500 policies in the middle).

use std::sync::Arc;

use divan::{AllocProfiler, Bencher, counter::ItemsCount};
use serde_json::json;
use tracesteward::{
    index::{Snapshot, raw::read_workload},
    plan::{plan, read_policy},
};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// Workloads of one namespace.
const PER_NAMESPACE: usize = 50;

fn snapshot(workloads: usize) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for number in 0..workloads {
        let name = format!("ns-{}", number / PER_NAMESPACE);
        let namespace = snapshot.namespaces.entry(name.clone()).or_default();
        let object = json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": format!("web-{number}"), "namespace": name, "uid": format!("{number}")},
            "spec": {"template": {
                "metadata": {"labels": {"app": format!("web-{number}"), "app.kubernetes.io/version": "1.0"}},
                "spec": {"containers": [{"name": "app", "image": "x", "env": [{"name": "LEVEL", "value": "info"}]}]},
            }},
        });
        if let Some(Ok(workload)) = read_workload(&object, "default") {
            namespace.workloads.insert(workload.id.clone(), Arc::new(workload));
        }
        if number % 20 == 0 {
            let object = json!({
                "apiVersion": "tracesteward.io/v1alpha1",
                "kind": "TracingPolicy",
                "metadata": {"name": format!("policy-{number}"), "namespace": name},
                "spec": {
                    "enabled": true,
                    "language": "java",
                    "targets": [{"kind": "Deployment", "selector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]}}],
                    "export": {"endpoint": "http://otel-collector.observability:4317", "timeout": "10s"},
                    "sampling": {"ratio": 0.1},
                },
            });
            let policy = read_policy(&object, "default");
            namespace.policies.insert(policy.id.name.clone(), policy);
        }
    }
    snapshot
}

/// The whole plan; items are workloads. Linear growth: the same throughput on every line.
#[divan::bench(args = [1_000, 10_000, 100_000], sample_count = 10)]
fn whole_plan(bencher: Bencher<'_, '_>, workloads: usize) {
    let snapshot = snapshot(workloads);
    bencher.counter(ItemsCount::new(workloads)).bench_local(|| plan(&snapshot));
}
