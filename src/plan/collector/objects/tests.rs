//! The objects of a collector as values.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};

use super::{
    super::{
        CONFIGURATION_KEY, Configuration, HeaderVariable, IDENTITY_ROLE, POD_KEY, configuration_name, identity_binding,
        revision,
    },
    *,
};
use crate::{
    api::{SecretKeyRef, TracingCollectorSpec},
    index::{CollectorId, Ignored},
};

/// The specification of this name in the table that the tests on a real API server use too.
fn case(name: &str) -> Collector {
    let text = include_str!("../../../../tests/cases/collector-objects.yaml");
    let mut cases: BTreeMap<String, TracingCollectorSpec> = serde_saphyr::from_str(text).unwrap();
    of(cases.remove(name).unwrap())
}

fn spec(spec: &Value) -> Collector {
    of(serde_json::from_value(spec.clone()).unwrap())
}

fn of(spec: TracingCollectorSpec) -> Collector {
    Collector {
        id: CollectorId { namespace: "observability".to_owned(), name: "gateway".to_owned() },
        uid: Some("6d1ff3c4".to_owned()),
        generation: 1,
        deleting: false,
        spec: Some(Arc::new(spec)),
        findings: Vec::new(),
        ignored: Ignored::default(),
        status: None,
    }
}

fn settings(collector: &Collector) -> CollectorSettings<'_> {
    CollectorSettings::new(collector.valid().unwrap())
}

fn configuration(tier: Tier, text: &str, with_secrets: bool) -> Configuration {
    let secret = SecretKeyRef { name: "tempo".to_owned(), key: "token".to_owned() };
    let variable = HeaderVariable { name: "TEMPO_AUTHORIZATION".to_owned(), secret };
    Configuration { tier, text: text.to_owned(), variables: with_secrets.then_some(variable).into_iter().collect() }
}

/// The revisions that the tiers of these settings run.
fn revisions(collector: &Collector) -> Vec<Revision> {
    let settings = settings(collector);
    let tiers: &[_] = if settings.has_sampler_tier() { &[Tier::Collector, Tier::Sampler] } else { &[Tier::Collector] };
    let text = |tier: Tier| format!("receivers: {{}} # {}\n", tier.as_str());
    let has_headers = settings.spec.backends.iter().any(|backend| !backend.headers.is_empty());
    let configurations = tiers.iter().map(|tier| {
        let sends = *tier == sending_tier(settings.has_sampler_tier());
        configuration(*tier, &text(*tier), has_headers && sends)
    });
    configurations.map(|configuration| revision(collector, &settings, &configuration)).collect()
}

fn all(collector: &Collector) -> Vec<OwnedObject> {
    objects(collector, &settings(collector), &revisions(collector))
}

fn manifest(objects: &[OwnedObject], kind: OwnedKind, name: &str) -> Value {
    let found = objects.iter().find(|object| object.id.kind == kind && object.id.name == name);
    found.unwrap_or_else(|| panic!("no {kind:?} {name}")).manifest.clone()
}

fn names(objects: &[OwnedObject]) -> Vec<String> {
    objects.iter().map(|object| format!("{}/{}", object.id.kind.as_str(), object.id.name)).collect()
}

fn manifests(name: &str) -> Vec<Value> {
    all(&case(name)).into_iter().map(|object| object.manifest).collect()
}

/// The pod template of a tier alone.
fn pod(collector: &Collector, tier: Tier, text: &str) -> Value {
    let made = revision(collector, &settings(collector), &configuration(tier, text, true));
    serde_json::from_str(&made.data[POD_KEY]).unwrap()
}

#[test]
fn a_minimal_collector() {
    insta::assert_yaml_snapshot!(manifests("minimal"));
}

#[test]
fn everything_in_one_tier() {
    insta::assert_yaml_snapshot!(manifests("one-tier"));
}

#[test]
fn everything_in_two_tiers() {
    insta::assert_yaml_snapshot!(manifests("two-tiers"));
}

#[test]
fn objects_are_in_order_and_named_after_their_manifests() {
    for name in ["minimal", "one-tier", "two-tiers"] {
        let objects = all(&case(name));
        assert!(objects.is_sorted_by_key(|object| object.id.kind), "{:?}", names(&objects));
        for OwnedObject { id, manifest } in &objects {
            assert_eq!(manifest["kind"], id.kind.as_str());
            assert_eq!(manifest["apiVersion"], id.kind.api_version());
            assert_eq!(manifest["metadata"]["name"], id.name.as_str());
            assert_eq!(manifest["metadata"]["namespace"], "observability");
            assert_eq!(manifest["metadata"]["ownerReferences"][0]["uid"], "6d1ff3c4");
        }
    }
}

#[test]
fn nothing_is_said_that_means_nothing() {
    fn check(path: &str, value: &Value) {
        match value {
            Value::Null => panic!("{path} is null"),
            Value::Object(fields) => {
                let selects_all = path.ends_with("podSelector") || path.ends_with("namespaceSelector");
                assert!(!fields.is_empty() || selects_all, "{path} is empty");
                for (name, value) in fields {
                    check(&format!("{path}.{name}"), value);
                }
            }
            Value::Array(items) => {
                assert!(!items.is_empty(), "{path} is empty");
                for value in items {
                    check(path, value);
                }
            }
            _ => {}
        }
    }
    for name in ["minimal", "one-tier", "two-tiers"] {
        for manifest in manifests(name) {
            check("", &manifest);
        }
    }
}

#[test]
fn without_a_uid_there_is_no_owner() {
    let collector = Collector { uid: None, ..case("two-tiers") };
    assert!(all(&collector).iter().all(|object| object.manifest["metadata"].get("ownerReferences").is_none()));
}

#[test]
fn somebody_elses_collector_gets_the_configuration_alone() {
    let backends = json!([{"name": "a", "endpoint": "http://a:4317"}]);
    let collector =
        spec(&json!({"management": "ConfigOnly", "replicas": 3, "backends": backends, "networkPolicy": {}}));
    let made = revision(&collector, &settings(&collector), &configuration(Tier::Collector, "text", false));
    let objects = objects(&collector, &settings(&collector), std::slice::from_ref(&made));
    assert_eq!(names(&objects), ["ConfigMap/gateway-collector"]);
    let manifest = &objects[0].manifest;
    assert_eq!(manifest["data"], json!({"collector.yaml": "text"}));
    assert_eq!(manifest["metadata"]["annotations"], json!({"tracesteward.io/config-hash": made.hash}));
    assert!(manifest.get("immutable").is_none());

    let other = spec(&json!({"management": "ConfigOnly", "image": "other", "backends": backends}));
    let other = revision(&other, &settings(&other), &configuration(Tier::Collector, "text", false));
    assert_eq!(made.hash, other.hash, "what runs it is not ours to say");
}

#[test]
fn a_revision_is_the_configuration_and_its_pod() {
    let collector = case("minimal");
    let made = |collector: &Collector, text: &str, with_secrets: bool| {
        revision(collector, &settings(collector), &configuration(Tier::Collector, text, with_secrets))
    };
    let first = made(&collector, "a", false);
    assert_eq!(first, made(&collector, "a", false));
    assert_eq!(first.data.keys().collect::<Vec<_>>(), [CONFIGURATION_KEY, POD_KEY]);
    assert!(!first.data[POD_KEY].contains(&first.hash) && !first.data[POD_KEY].contains('\n'));
    let other_image = spec(&json!({"image": "other", "backends": [{"name": "a", "endpoint": "http://a:4317"}]}));
    for other in [made(&collector, "b", false), made(&collector, "a", true), made(&other_image, "a", false)] {
        assert_ne!(first.hash, other.hash);
    }
    assert_eq!(configuration_name("gateway", Tier::Sampler, "0123456789"), "gateway-sampler-0123456789");
}

#[test]
fn selectors_never_change_and_always_select() {
    let (before, mut after) = (case("two-tiers"), case("two-tiers"));
    let mut changed = after.valid().unwrap().clone();
    (changed.version, changed.replicas, changed.identity) = (Some("0.151.0".to_owned()), Some(5), None);
    after.spec = Some(Arc::new(changed));
    let (before, after) = (all(&before), all(&after));
    for (kind, name) in [(OwnedKind::Deployment, "gateway-collector"), (OwnedKind::StatefulSet, "gateway-sampler")] {
        let (before, after) = (manifest(&before, kind, name), manifest(&after, kind, name));
        assert_eq!(before["spec"]["selector"], after["spec"]["selector"]);
        let template = |object: &Value| object["spec"]["template"]["metadata"]["labels"].clone();
        assert_ne!(template(&before), template(&after), "the hash is a label");
        for object in [&before, &after] {
            for (label, value) in object["spec"]["selector"]["matchLabels"].as_object().unwrap() {
                assert_eq!(template(object)[label], *value);
            }
        }
    }
}

#[test]
fn a_return_to_an_earlier_revision_brings_its_tiers_back() {
    // Two tiers with a volume before, one tier without now.
    let earlier = revisions(&case("two-tiers"));
    let collector = case("minimal");
    let objects = objects(&collector, &settings(&collector), &earlier);
    let sampler = manifest(&objects, OwnedKind::StatefulSet, "gateway-sampler");
    assert_eq!(sampler["spec"]["replicas"], 1);
    assert!(sampler["spec"].get("volumeClaimTemplates").is_none());
    let volumes = &sampler["spec"]["template"]["spec"]["volumes"];
    assert_eq!(volumes[0]["configMap"]["name"], configuration_name("gateway", Tier::Sampler, &earlier[1].hash));
    assert_eq!(volumes[1], json!({"name": "queue", "emptyDir": {}}), "what mounts it must find it");
    manifest(&objects, OwnedKind::Deployment, "gateway-collector");
}

#[test]
fn what_is_no_pod_makes_no_workload() {
    let collector = case("minimal");
    let broken = Revision::new(Tier::Collector, [(POD_KEY.to_owned(), "{".to_owned())].into());
    let objects = objects(&collector, &settings(&collector), &[broken]);
    assert!(objects.iter().all(|object| object.id.kind < OwnedKind::Deployment), "{:?}", names(&objects));
}

#[test]
fn resources_are_completed_within_limits() {
    let resources = |resources: Value| {
        let collector =
            spec(&json!({"backends": [{"name": "a", "endpoint": "http://a:4317"}], "resources": resources}));
        let container = pod(&collector, Tier::Collector, "")["spec"]["containers"][0].clone();
        assert_eq!(container["env"][0]["name"], "GOMEMLIMIT");
        let of = |which: &str, what: &str| container["resources"][which][what].as_str().unwrap_or("-").to_owned();
        let limit = container["env"][0]["value"].as_str().unwrap().to_owned();
        [of("limits", "cpu"), of("limits", "memory"), of("requests", "cpu"), of("requests", "memory"), limit].join(" ")
    };
    assert_eq!(resources(json!({})), "- 1Gi 100m 256Mi 819MiB");
    assert_eq!(resources(json!({"limits": {"memory": "512Mi"}})), "- 512Mi 100m 256Mi 409MiB");
    assert_eq!(resources(json!({"limits": {"memory": "200Mi", "cpu": "0.05"}})), "0.05 200Mi 0.05 200Mi 160MiB");
    assert_eq!(resources(json!({"requests": {"memory": "3Gi"}})), "- 3Gi 100m 3Gi 2457MiB");
    assert_eq!(
        resources(json!({"limits": {"memory": 1_000_000_000}, "requests": {"cpu": 1}})),
        "- 1000000000 1 256Mi 762MiB"
    );
}

#[test]
fn the_environment_has_what_the_configuration_needs() {
    let variables = |text: &str| {
        let pod = pod(&case("minimal"), Tier::Collector, text);
        let env = pod["spec"]["containers"][0]["env"].as_array().unwrap().clone();
        env.into_iter().skip(1).collect::<Vec<_>>()
    };
    let reference = json!({"name": "tempo", "key": "token"});
    let secret = json!({"name": "TEMPO_AUTHORIZATION", "valueFrom": {"secretKeyRef": reference}});
    assert_eq!(variables("nothing"), std::slice::from_ref(&secret));
    let node = json!({"fieldRef": {"apiVersion": "v1", "fieldPath": "spec.nodeName"}});
    assert_eq!(
        variables("node_from_env_var: KUBE_NODE_NAME"),
        [json!({"name": "KUBE_NODE_NAME", "valueFrom": node}), secret]
    );
}

#[test]
fn only_what_looks_up_pods_gets_a_token() {
    let token = |name: &str, tier| pod(&case(name), tier, "")["spec"]["automountServiceAccountToken"] == true;
    assert!(token("one-tier", Tier::Collector) && token("two-tiers", Tier::Collector));
    assert!(!token("two-tiers", Tier::Sampler) && !token("minimal", Tier::Collector));
}

#[test]
fn pods_get_the_time_to_decide_and_to_send() {
    let grace = |name: &str, tier| pod(&case(name), tier, "")["spec"]["terminationGracePeriodSeconds"].clone();
    assert_eq!(grace("one-tier", Tier::Collector), 55);
    assert_eq!(grace("two-tiers", Tier::Sampler), 45);
    assert_eq!(grace("two-tiers", Tier::Collector), 35, "routers decide nothing");
}

#[test]
fn network_policies_let_in_who_may_send() {
    let senders = |allowed: Value| {
        let backends = json!([{"name": "a", "endpoint": "http://a:4317"}]);
        let collector = spec(&json!({"backends": backends, "networkPolicy": {}, "allowedNamespaces": allowed}));
        let policy = manifest(&all(&collector), OwnedKind::NetworkPolicy, "gateway-collector");
        policy["spec"]["ingress"][0]["from"].clone()
    };
    let own = json!({"matchLabels": {"kubernetes.io/metadata.name": "observability"}});
    assert_eq!(senders(json!({})), json!([{"podSelector": {}}]));
    assert_eq!(senders(json!({"from": "All"})), json!([{"namespaceSelector": {}}]));
    assert_eq!(
        senders(json!({"from": "Selector", "selector": {"matchLabels": {"a": "b"}}})),
        json!([{"namespaceSelector": {"matchLabels": {"a": "b"}}}, {"namespaceSelector": own}])
    );
    let policy = manifest(&all(&case("two-tiers")), OwnedKind::NetworkPolicy, "gateway-sampler");
    let routers = selector_labels("gateway", Tier::Collector);
    assert_eq!(policy["spec"]["ingress"][0]["from"], json!([{"podSelector": {"matchLabels": routers}}]));
    assert!(policy["spec"]["ingress"][1].get("from").is_none(), "probes and metrics come from anywhere");
}

#[test]
fn limits_on_access_are_settings() {
    let count = |extra: Value| {
        let mut wanted = json!({"backends": [{"name": "a", "endpoint": "http://a:4317"}]});
        wanted.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let objects = all(&spec(&wanted));
        objects
            .into_iter()
            .filter(|object| (OwnedKind::PodDisruptionBudget..=OwnedKind::NetworkPolicy).contains(&object.id.kind))
            .collect::<Vec<_>>()
    };
    assert_eq!(count(json!({})), []);
    assert_eq!(count(json!({"networkPolicy": {"enabled": false}})), []);
    let budget = |budget: Value| {
        let spec = count(json!({"podDisruptionBudget": budget}))[0].manifest["spec"].clone();
        (spec["minAvailable"].clone(), spec["maxUnavailable"].clone())
    };
    assert_eq!(budget(json!({})), (Value::Null, json!(1)));
    assert_eq!(budget(json!({"minAvailable": 2})), (json!(2), Value::Null));
    assert_eq!(budget(json!({"maxUnavailable": 0})), (Value::Null, json!(0)));
}

#[test]
fn one_binding_for_all_that_look_up_pods() {
    let named = |namespace: &str, name: &str, collector: Collector| Collector {
        id: CollectorId { namespace: namespace.to_owned(), name: name.to_owned() },
        ..collector
    };
    let (one, two) = (named("b", "x", case("one-tier")), named("a", "y", case("two-tiers")));
    let others = [
        case("minimal"),
        Collector { deleting: true, ..case("one-tier") },
        Collector { spec: None, ..case("one-tier") },
    ];
    let binding = identity_binding([&one, &two].into_iter().chain(&others)).unwrap();
    assert_eq!(binding["roleRef"]["name"], IDENTITY_ROLE);
    assert_eq!(
        binding["subjects"],
        json!([
            {"kind": "ServiceAccount", "name": "y-collector", "namespace": "a"},
            {"kind": "ServiceAccount", "name": "x-collector", "namespace": "b"},
        ])
    );
    assert_eq!(Some(binding), identity_binding([&two, &one].into_iter()));
    assert_eq!(identity_binding(others.iter()), None);
}
