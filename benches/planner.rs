//! What one change costs in an index of 100, 1,000 and 10,000 workloads: the same on every line, in time and in allocations.
//! Workloads are in namespaces of fifty with two policies each, below a ClusterTracingPolicy; and once all in one namespace.

use divan::{AllocProfiler, Bencher};
use serde_json::json;
use tracesteward::{
    index::{Change, Dirty, Index, raw::read_workload},
    plan::{Planner, read_cluster_policy, read_policy},
};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

const SIZES: [usize; 3] = [100, 1_000, 10_000];

struct World {
    index: Index,
    planner: Planner,
}

impl World {
    fn new(workloads: usize, per_namespace: usize) -> Self {
        let mut world = Self { index: Index::new(None, []), planner: Planner::default() };
        let spec = json!({"defaults": {"propagators": ["tracecontext"]}, "overrides": {"limits": {"spanEvents": 64}}});
        let above = json!({"metadata": {"name": "platform"}, "spec": spec});
        world.update(Change::Policy(read_cluster_policy(&above), None));
        for number in 0..workloads {
            let namespace = format!("team-{}", number / per_namespace);
            if number % per_namespace == 0 {
                let targets = json!([{"kind": "Deployment", "selector": {"matchLabels": {"tier": "front"}}}]);
                world.update(policy(&namespace, "whole", &json!([]), 0.5));
                world.update(policy(&namespace, "front", &targets, 0.1));
            }
            world.update(workload(&namespace, number, "back"));
        }
        world
    }

    fn update(&mut self, change: Change) -> Dirty {
        let mut dirty = self.index.update(change);
        self.planner.update(self.index.snapshot(), &mut dirty);
        dirty
    }
}

fn policy(namespace: &str, name: &str, targets: &serde_json::Value, ratio: f64) -> Change {
    let spec = json!({"enabled": true, "targets": targets, "export": {"endpoint": "http://otel-collector.observability:4317"},
        "sampling": {"ratio": ratio}});
    let object = json!({"metadata": {"name": name, "namespace": namespace}, "spec": spec});
    Change::Policy(read_policy(&object, namespace), None)
}

fn workload(namespace: &str, number: usize, tier: &str) -> Change {
    let object = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": format!("web-{number}"), "namespace": namespace, "uid": format!("{number}")},
        "spec": {"template": {
            "metadata": {"labels": {"app": format!("web-{number}"), "tier": tier}},
            "spec": {"containers": [{"name": "app", "image": "x", "env": [{"name": "LEVEL", "value": "info"}]}]},
        }},
    });
    match read_workload(&object, namespace) {
        Some(Ok(workload)) => Change::Workload(workload, None),
        _ => Change::WorkloadGone(tracesteward::index::WorkloadId {
            namespace: namespace.to_owned(),
            kind: tracesteward::index::WorkloadKind::Deployment,
            name: String::new(),
        }),
    }
}

/// A label changes, so that another policy comes first; and back.
fn label(bencher: Bencher<'_, '_>, mut world: World) {
    let mut is_front = false;
    bencher
        .with_inputs(|| {
            is_front = !is_front;
            workload("team-0", 7, if is_front { "front" } else { "back" })
        })
        .bench_local_values(|change| world.update(change));
}

#[divan::bench(args = SIZES)]
fn one_label(bencher: Bencher<'_, '_>, workloads: usize) {
    label(bencher, World::new(workloads, 50));
}

#[divan::bench(args = SIZES)]
fn one_label_in_one_namespace(bencher: Bencher<'_, '_>, workloads: usize) {
    label(bencher, World::new(workloads, workloads));
}

/// A policy about the fifty workloads of a namespace changes its ratio; and back.
#[divan::bench(args = SIZES)]
fn one_policy(bencher: Bencher<'_, '_>, workloads: usize) {
    let mut world = World::new(workloads, 50);
    let mut is_new = false;
    bencher
        .with_inputs(|| {
            is_new = !is_new;
            policy("team-0", "whole", &json!([]), if is_new { 0.25 } else { 0.5 })
        })
        .bench_local_values(|change| world.update(change));
}
