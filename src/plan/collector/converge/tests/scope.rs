//! Whose objects count, which namespaces are left alone, and what is forgotten.

use crate::index::NamespaceMeta;

use super::*;

#[test]
fn only_an_account_of_its_own_may_look_up_senders() {
    let mut cluster = Cluster::new();
    cluster.set(&json!({"identity": "Connection"}));
    let has = |cluster: &Cluster| {
        let snapshot = cluster.index.snapshot();
        has_account(snapshot, snapshot.collectors.values().next().unwrap())
    };
    assert!(!has(&cluster), "not made yet");
    let account = |owner: &str| {
        let owner =
            json!([{"apiVersion": "tracesteward.io/v1alpha1", "kind": "TracingCollector", "name": "gw", "uid": owner}]);
        let value =
            json!({"metadata": {"name": "gw-collector", "namespace": "ns", "uid": "x", "ownerReferences": owner}});
        LiveObject::read(OwnedKind::ServiceAccount, value).unwrap()
    };
    assert!(cluster.index.update(Change::Owned(account("an earlier one"))).identity);
    assert!(!has(&cluster));
    assert!(cluster.index.update(Change::Owned(account("u"))).identity);
    assert!(has(&cluster));
    let live = account("u");
    assert!(cluster.index.update(Change::OwnedGone(live.id, live.uid)).identity);
    assert!(!has(&cluster));
}

#[test]
fn collectors_in_excluded_namespaces_are_refused() {
    for (own_namespace, namespace) in [(None, "kube-system"), (Some("home".to_owned()), "home")] {
        let mut index = Index::new(own_namespace, []);
        let object = json!({"metadata": {"name": "gw", "namespace": namespace, "uid": "u"},
            "spec": {"backends": [{"name": "tempo", "endpoint": "http://tempo:4317"}], "identity": "Connection"},
            "apiVersion": "tracesteward.io/v1alpha1", "kind": "TracingCollector"});
        index.update(Change::Collector(read_collector(&object, namespace), None));
        let snapshot = index.snapshot();
        let collector = snapshot.collectors.values().next().unwrap();
        assert!(collector.valid().is_none(), "{namespace}");
        let plan = compile(snapshot, collector);
        let tiers = tiers(snapshot, collector, &plan, Timestamp::UNIX_EPOCH, Duration::ZERO);
        assert_eq!(goal(snapshot, collector, &tiers, &BTreeMap::new(), Timestamp::UNIX_EPOCH), Goal::default());
        assert_eq!(identity_binding(snapshot.collectors.values()), None);
        let status = crate::plan::collector::status::status(snapshot, collector, &plan, &tiers);
        let said: Vec<_> = status.conditions.iter().map(|said| (said.type_.as_str(), said.status.as_str())).collect();
        assert!(said.contains(&("Accepted", "False")) && said.contains(&("Stalled", "True")), "{said:?}");
        let accepted = status.conditions.iter().find(|said| said.type_ == "Accepted").unwrap();
        assert_eq!(accepted.reason, "NamespaceExcluded");
    }
}

#[test]
fn nothing_is_remembered_of_what_is_gone() {
    let mut cluster = Cluster::live();
    let id = CollectorId { namespace: "ns".into(), name: "gw".into() };
    cluster.index.update(Change::Namespace("ns".into(), NamespaceMeta::default()));
    cluster.index.update(Change::NamespaceGone("ns".into()));
    cluster.index.update(Change::Namespace("ns".into(), NamespaceMeta::default()));
    cluster.index.update(Change::CollectorGone(id.clone()));
    cluster.index.update(Change::Trouble(id.clone(), Some("late".to_owned())));
    let fault = crate::index::Fault { reason: "Late".into(), message: String::new() };
    cluster.index.update(Change::CollectorFault(id, Some(fault)));
    let snapshot = cluster.index.snapshot();
    assert!(snapshot.troubles.is_empty() && snapshot.collector_faults.is_empty());
    assert!(snapshot.namespaces.contains_key("ns"), "its labels are known");
    cluster.index.update(Change::NamespaceGone("ns".into()));
    assert!(cluster.index.snapshot().namespaces.is_empty());
}
