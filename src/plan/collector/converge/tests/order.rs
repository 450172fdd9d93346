//! Samplers and routers, one after the other.

use super::*;

/// Replicas by name and kind of each workload, with whether it runs what is desired.
fn sizes(cluster: &Cluster) -> Vec<String> {
    let views = cluster.views();
    let hashes: Vec<_> = views.iter().map(|view| view.desired.hash.as_str()).collect();
    let all = cluster.index.snapshot().owned.values().filter(|live| live.id.is_workload());
    let line = |live: &LiveObject| {
        let template = TierState::read(live).template.unwrap_or_default();
        let word = if hashes.contains(&template.as_str()) { "new" } else { "old" };
        format!("{} {} {word}", live.id.name, live.value["spec"]["replicas"])
    };
    all.map(line).collect()
}

#[test]
fn samplers_come_before_routers_and_go_after_them() {
    let mut cluster = Cluster::live();
    cluster.set(&json!({"replicas": 2}));
    cluster.round();
    assert_eq!(sizes(&cluster), ["gw-collector 1 old", "gw-sampler 2 new"], "one pod that samples by itself");
    assert_eq!(cluster.round(), [""; 0]);
    cluster.ready();
    cluster.round();
    assert_eq!(sizes(&cluster), ["gw-collector 2 new", "gw-sampler 2 new"]);
    cluster.ready();
    cluster.round();
    // More samplers before routers name them.
    cluster.set(&json!({"replicas": 3}));
    cluster.round();
    assert_eq!(sizes(&cluster), ["gw-collector 2 old", "gw-sampler 3 new"]);
    cluster.ready();
    cluster.round();
    assert_eq!(sizes(&cluster), ["gw-collector 3 new", "gw-sampler 3 new"]);
    cluster.ready();
    cluster.round();
    // Fewer only after no router names them.
    cluster.set(&json!({"replicas": 2}));
    cluster.round();
    assert_eq!(sizes(&cluster), ["gw-collector 2 new", "gw-sampler 3 new"]);
    cluster.unready();
    assert_eq!(cluster.round(), [""; 0]);
    cluster.ready();
    cluster.round();
    assert_eq!(sizes(&cluster), ["gw-collector 2 new", "gw-sampler 2 new"]);
    cluster.ready();
    cluster.round();
    cluster.set(&json!({}));
    cluster.round();
    assert_eq!(sizes(&cluster), ["gw-collector 1 new", "gw-sampler 2 old"]);
    cluster.unready();
    cluster.round();
    cluster.ready();
    cluster.round();
    assert_eq!(sizes(&cluster), ["gw-collector 1 new"]);
}

#[test]
fn what_samples_on_a_volume_serves_until_the_samplers_are_there() {
    let mut cluster = Cluster::new();
    let storage = json!({"storage": {"size": "1Gi"}});
    cluster.set(&json!({"queue": storage}));
    cluster.round();
    cluster.ready();
    cluster.round();
    cluster.set(&json!({"queue": storage, "replicas": 2}));
    cluster.round();
    assert_eq!(sizes(&cluster), ["gw-collector 1 old", "gw-sampler 2 new"]);
    cluster.ready();
    cluster.round();
    assert_eq!(sizes(&cluster), ["gw-collector 2 new", "gw-collector 1 old", "gw-sampler 2 new"]);
    cluster.ready();
    cluster.round();
    assert_eq!(sizes(&cluster), ["gw-collector 2 new", "gw-sampler 2 new"]);
}
