//! What is taken in, and who waits for it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use kube::{Client, Config};
use serde_json::json;

use super::{Context, Controller, Key, Options};
use crate::{
    apply::{Leadership, Writer},
    index::{Change, Fault, PolicyId, WorkloadId, WorkloadKind, raw::read_workload},
    plan::read_policy,
};

const WORKLOADS: usize = 4_000;

fn policy(ratio: f64) -> Change {
    let spec = json!({"enabled": true, "export": {"endpoint": "http://collector:4317"}, "sampling": {"ratio": ratio}});
    Change::Policy(read_policy(&json!({"metadata": {"name": "all", "namespace": "team"}, "spec": spec}), "team"), None)
}

/// A controller that was heard of everything, with one policy and its workloads.
fn context(workloads: usize) -> Arc<Context> {
    let config = Config::new("http://127.0.0.1:9".parse().unwrap());
    let (client, leadership) = (Client::try_from(config).unwrap(), Leadership::for_good());
    let writer = Writer::over(client.clone(), leadership.clone());
    let context = Controller::new(client, writer, &Options::default(), leadership).context();
    *context.index() = crate::index::Index::new(None, []);
    context.take(policy(0.5));
    for number in 0..workloads {
        let env: Vec<_> = (0..20).map(|name| json!({"name": format!("V{name}"), "value": "x"})).collect();
        let template = json!({"spec": {"containers": [{"name": "app", "env": env}, {"name": "worker", "env": env}]}});
        let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"template": template},
            "metadata": {"name": format!("web-{number}"), "namespace": "team"}});
        context.take(Change::Workload(read_workload(&object, "team").unwrap().unwrap(), None));
    }
    context
}

#[tokio::test]
async fn a_change_of_everything_holds_up_nobody_for_long() {
    let context = context(WORKLOADS);
    let (other, end) = (Arc::clone(&context), Arc::new(AtomicBool::new(false)));
    let ended = Arc::clone(&end);
    let asking = thread::spawn(move || {
        let mut worst = Duration::ZERO;
        while !ended.load(Ordering::Relaxed) {
            let start = Instant::now();
            drop(other.index());
            worst = worst.max(start.elapsed());
        }
        worst
    });
    let start = Instant::now();
    let dirty = context.take(policy(0.25));
    let took = start.elapsed();
    end.store(true, Ordering::Relaxed);
    let worst = asking.join().unwrap();
    assert_eq!(dirty.workloads.len(), WORKLOADS);
    assert!(dirty.policies.contains(&PolicyId { namespace: "team".into(), name: "all".into() }));
    assert!(worst < took / 3, "somebody waited {worst:?} of {took:?}");
}

#[tokio::test]
async fn what_failed_waits_for_its_next_try_whatever_is_heard_of_it() {
    let context = context(3);
    let id = WorkloadId { namespace: "team".into(), kind: WorkloadKind::Deployment, name: "web-0".into() };
    let workload = Arc::clone(&context.index().snapshot().namespaces["team"].workloads[&id]);
    assert!(context.planner().begin(&workload));
    let failed =
        |message: &str| Change::Failed(id.clone(), Fault { reason: "Refused".into(), message: message.into() });
    context.take(failed("no"));
    let (again, _) = context.ended(&Key::Workload(id.clone()), false);
    assert!(again);
    let dirty = context.take(failed("not now"));
    assert!(dirty.reports.contains(&id) && !dirty.starts.contains(&id), "{:?}", dirty.starts);
}
