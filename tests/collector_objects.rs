//! The objects of collectors on a real API server: accepted, quiet, recognized, admitted, run, and collected.
#![allow(clippy::panic, clippy::unwrap_used, reason = "clippy's exception for tests does not reach their helpers")]

mod fixtures;
mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fixtures::{SOON, file, shared, text};
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use support::{ControlPlane, consistently, eventually};
use tracesteward::api::{MANAGER_OWNED, SecretKeyRef, TracingCollectorSpec};
use tracesteward::index::{Collector, CollectorId, Ignored};
use tracesteward::plan::collector::{
    CollectorSettings, Configuration, HeaderVariable, OwnedObject, Revision, Tier, contains, identity_binding, objects,
    revision,
};

/// The garbage collector learns of new kinds every 30 s.
const COLLECTED: Duration = Duration::from_secs(120);

const CASES: [&str; 3] = ["minimal", "one-tier", "two-tiers"];

/// A collector of the table in a namespace that admits restricted pods only.
struct World {
    client: Client,
    namespace: String,
    collector: Collector,
}

impl World {
    async fn new(plane: &ControlPlane, case: &str) -> Self {
        let cases: BTreeMap<String, Value> =
            serde_saphyr::from_str(&file("tests/cases/collector-objects.yaml")).unwrap();
        Self::with(plane, case, &cases[case]).await
    }

    async fn with(plane: &ControlPlane, prefix: &str, spec: &Value) -> Self {
        let namespace = plane.namespace(prefix).await;
        plane.kubectl(&["label", "namespace", &namespace, "pod-security.kubernetes.io/enforce=restricted"]).success();
        let client = plane.client().await;
        let object = json!({
            "apiVersion": "tracesteward.io/v1alpha1", "kind": "TracingCollector",
            "metadata": {"name": "gateway", "namespace": namespace}, "spec": spec,
        });
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        let collectors = api(&client, &namespace, "tracesteward.io/v1alpha1", "TracingCollector");
        let uid = collectors.create(&PostParams::default(), &object).await.unwrap().metadata.uid;
        let spec: TracingCollectorSpec = serde_json::from_value(spec.clone()).unwrap();
        let id = CollectorId { namespace: namespace.clone(), name: "gateway".to_owned() };
        let spec = Some(Arc::new(spec));
        let collector = Collector {
            id,
            uid,
            generation: 1,
            deleting: false,
            spec,
            findings: Vec::new(),
            ignored: Ignored::default(),
            status: None,
        };
        Self { client, namespace, collector }
    }

    /// The revisions of all tiers with this in their configuration.
    fn revisions(&self, marker: &str) -> Vec<Revision> {
        let settings = self.settings();
        let tiers =
            if settings.has_sampler_tier() { &[Tier::Collector, Tier::Sampler][..] } else { &[Tier::Collector] };
        let secret = SecretKeyRef { name: "tempo".to_owned(), key: "token".to_owned() };
        let configuration = |tier: &Tier| Configuration {
            tier: *tier,
            text: format!("# {marker} {} KUBE_NODE_NAME KUBE_POD_IP\n", tier.as_str()),
            variables: vec![HeaderVariable { name: "TEMPO_AUTHORIZATION".to_owned(), secret: secret.clone() }],
        };
        tiers.iter().map(|tier| revision(&self.collector, &settings, &configuration(tier))).collect()
    }

    fn settings(&self) -> CollectorSettings<'_> {
        CollectorSettings::new(self.collector.valid().unwrap())
    }

    fn objects(&self, marker: &str) -> Vec<OwnedObject> {
        objects(&self.collector, &self.settings(), &self.revisions(marker))
    }

    async fn apply_all(&self, objects: &[OwnedObject]) {
        for object in objects {
            self.apply(object).await;
        }
    }

    async fn apply(&self, object: &OwnedObject) -> Value {
        let params = PatchParams::apply(MANAGER_OWNED).force();
        let answer = self.api_of(object).patch(&object.id.name, &params, &Patch::Apply(&object.manifest)).await;
        serde_json::to_value(answer.unwrap_or_else(|error| panic!("{:?}: {error}", object.id))).unwrap()
    }

    async fn live(&self, object: &OwnedObject) -> Option<Value> {
        let live = self.api_of(object).get_opt(&object.id.name).await.unwrap();
        live.map(|live| serde_json::to_value(live).unwrap())
    }

    fn api_of(&self, object: &OwnedObject) -> Api<DynamicObject> {
        api(&self.client, &self.namespace, object.id.kind.api_version(), object.id.kind.as_str())
    }

    /// The pods of the namespace.
    async fn pods(&self) -> Vec<Value> {
        let pods = api(&self.client, &self.namespace, "v1", "Pod").list(&ListParams::default()).await.unwrap();
        pods.items.into_iter().map(|pod| serde_json::to_value(pod).unwrap()).collect()
    }

    /// Says of these pods what a kubelet would.
    async fn make_ready(&self, names: &[&str]) {
        let since = "2024-01-01T00:00:00Z";
        let condition = json!({"type": "Ready", "status": "True", "lastTransitionTime": since});
        let ready = json!({"status": {"phase": "Running", "conditions": [condition]}});
        let pods = api(&self.client, &self.namespace, "v1", "Pod");
        for name in names {
            pods.patch_status(name, &PatchParams::default(), &Patch::Merge(&ready)).await.unwrap();
        }
    }

    /// The hashes of the configurations that pods run, sorted.
    async fn hashes(&self) -> Vec<String> {
        let pods = self.pods().await;
        let mut hashes: Vec<_> =
            pods.iter().map(|pod| text(&pod["metadata"]["labels"]["tracesteward.io/config-hash"]).to_owned()).collect();
        hashes.sort();
        hashes
    }

    async fn samplers(&self) -> Vec<String> {
        let pods = self.pods().await;
        let labels = pods.iter().map(|pod| &pod["metadata"]["labels"]);
        let samplers = labels.filter(|labels| labels["app.kubernetes.io/component"] == "sampler");
        samplers.map(|labels| text(&labels["tracesteward.io/config-hash"]).to_owned()).collect()
    }

    fn sampler_hash(&self, marker: &str) -> String {
        let revisions = self.revisions(marker);
        revisions.into_iter().find(|revision| revision.tier == Tier::Sampler).unwrap().hash
    }
}

fn api(client: &Client, namespace: &str, api_version: &str, kind: &str) -> Api<DynamicObject> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    Api::namespaced_with(client.clone(), namespace, &resource)
}

fn is_workload(object: &OwnedObject) -> bool {
    matches!(object.id.kind.as_str(), "Deployment" | "StatefulSet")
}

#[tokio::test]
async fn objects_are_accepted_and_a_second_apply_changes_nothing() {
    let plane = shared().await;
    for case in CASES {
        let world = World::new(plane, case).await;
        let objects = world.objects("a");
        world.apply_all(&objects).await;
        for object in &objects {
            // Controllers write statuses meanwhile; an apply that changes something changes it every time.
            eventually("an apply changes nothing", SOON, async || {
                let before = world.live(object).await.unwrap();
                let after = world.apply(object).await;
                (before == after).then_some(()).ok_or_else(|| format!("{before:#}\n{after:#}"))
            })
            .await;
        }
    }
}

#[tokio::test]
async fn live_objects_are_recognized_and_drift_is_seen() {
    let plane = shared().await;
    for case in CASES {
        let world = World::new(plane, case).await;
        let objects = world.objects("a");
        world.apply_all(&objects).await;
        for object in &objects {
            let live = world.live(object).await.unwrap();
            assert!(contains(&live, &object.manifest), "{case}: {live:#}\n{:#}", object.manifest);
        }
    }
    let world = World::new(plane, "one-tier").await;
    let objects = world.objects("a");
    world.apply_all(&objects).await;
    let edits = [
        ("Service", json!([{"op": "replace", "path": "/spec/ports/0/targetPort", "value": 1}])),
        ("Service", json!([{"op": "add", "path": "/spec/selector/never", "value": "there"}])),
        (
            "NetworkPolicy",
            json!([{"op": "add", "path": "/spec/ingress/0/from/-", "value": {"ipBlock": {"cidr": "0.0.0.0/0"}}}]),
        ),
        ("NetworkPolicy", json!([{"op": "add", "path": "/spec/ingress/-", "value": {}}])),
        ("PodDisruptionBudget", json!([{"op": "replace", "path": "/spec/maxUnavailable", "value": 2}])),
        ("StatefulSet", json!([{"op": "replace", "path": "/spec/replicas", "value": 0}])),
        ("StatefulSet", json!([{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "other"}])),
        (
            "StatefulSet",
            json!([{"op": "replace", "path": "/spec/template/spec/containers/0/resources/limits/memory", "value": "2Gi"}]),
        ),
        ("ServiceAccount", json!([{"op": "remove", "path": "/metadata/ownerReferences"}])),
    ];
    for (kind, edit) in edits {
        let object = objects.iter().find(|object| object.id.kind.as_str() == kind).unwrap();
        let patch: Patch<()> = Patch::Json(serde_json::from_value(edit.clone()).unwrap());
        world.api_of(object).patch(&object.id.name, &PatchParams::default(), &patch).await.unwrap();
        assert!(!contains(&world.live(object).await.unwrap(), &object.manifest), "not seen: {edit}");
        let mended = world.apply(object).await;
        assert!(contains(&mended, &object.manifest), "not mended: {edit} {mended:#}");
    }
}

#[tokio::test]
async fn pods_are_admitted_under_the_restricted_profile() {
    let plane = shared().await;
    for case in CASES {
        let world = World::new(plane, case).await;
        let objects = world.objects("a");
        world.apply_all(&objects).await;
        for object in objects.iter().filter(|object| is_workload(object)) {
            let mut pod = object.manifest["spec"]["template"].clone();
            pod["metadata"]["name"] = json!("probe");
            // What the StatefulSet's controller adds.
            if object.manifest["spec"].get("volumeClaimTemplates").is_some() {
                let claim = json!({"name": "queue", "persistentVolumeClaim": {"claimName": "queue-0"}});
                pod["spec"]["volumes"].as_array_mut().unwrap().push(claim);
            }
            let pod: k8s_openapi::api::core::v1::Pod = serde_json::from_value(pod).unwrap();
            let pods = Api::namespaced(world.client.clone(), &world.namespace);
            let dry_run = PostParams { dry_run: true, ..PostParams::default() };
            pods.create(&dry_run, &pod).await.unwrap_or_else(|error| panic!("{case} {}: {error}", object.id.name));
        }
    }
}

#[tokio::test]
async fn controllers_make_pods_and_everything_goes_with_the_collector() {
    let plane = shared().await;
    for case in CASES {
        let world = World::new(plane, case).await;
        let objects = world.objects("a");
        world.apply_all(&objects).await;
        let wanted: i64 = objects.iter().filter_map(|object| object.manifest["spec"]["replicas"].as_i64()).sum();
        eventually("there are pods", SOON, async || {
            let pods = i64::try_from(world.pods().await.len()).unwrap();
            (pods == wanted).then_some(()).ok_or_else(|| format!("{case}: {pods} of {wanted}"))
        })
        .await;

        let collectors = api(&world.client, &world.namespace, "tracesteward.io/v1alpha1", "TracingCollector");
        collectors.delete("gateway", &kube::api::DeleteParams::default()).await.unwrap();
        eventually("everything is collected", COLLECTED, async || {
            let mut left = Vec::new();
            for object in &objects {
                left.extend(world.live(object).await.map(|_| format!("{:?}", object.id)));
            }
            left.extend(world.pods().await.iter().map(|pod| pod["metadata"]["name"].to_string()));
            // This control plane has no controller that lets claims go.
            let claims = api(&world.client, &world.namespace, "v1", "PersistentVolumeClaim");
            let claims = claims.list(&ListParams::default()).await.unwrap();
            let held = claims.iter().filter(|claim| claim.metadata.deletion_timestamp.is_none());
            left.extend(held.map(|claim| format!("{:?}", claim.metadata.name)));
            left.is_empty().then_some(()).ok_or_else(|| format!("{case}: {left:?}"))
        })
        .await;
    }
}

#[tokio::test]
async fn old_pods_stay_until_new_ones_are_ready() {
    let world = World::new(shared().await, "minimal").await;
    world.apply_all(&world.objects("a")).await;
    let pod = eventually("there is a pod", SOON, async || {
        world.pods().await.first().cloned().ok_or_else(|| "none".to_owned())
    })
    .await;
    let name = text(&pod["metadata"]["name"]).to_owned();
    world.make_ready(&[&name]).await;
    let deployments = api(&world.client, &world.namespace, "apps/v1", "Deployment");
    eventually("the Deployment is ready", SOON, async || {
        let live = deployments.get("gateway-collector").await.unwrap();
        (live.data["status"]["readyReplicas"] == 1).then_some(()).ok_or_else(|| live.data["status"].to_string())
    })
    .await;

    world.apply_all(&world.objects("b")).await;
    let both = [world.revisions("a"), world.revisions("b")].concat();
    let mut both: Vec<_> = both.into_iter().map(|revision| revision.hash).collect();
    both.sort();
    let have_both = async || {
        let hashes = world.hashes().await;
        (hashes == both).then_some(()).ok_or_else(|| format!("{hashes:?}, not {both:?}"))
    };
    eventually("a new pod is beside the old one", SOON, have_both).await;
    consistently("the old pod stays", Duration::from_secs(2), have_both).await;
}

#[tokio::test]
async fn a_revision_that_never_becomes_ready_does_not_block_the_way_back() {
    let world = World::new(shared().await, "two-tiers").await;
    let samplers = async |marker: &str, wanted: [&str; 3]| {
        eventually("samplers run these configurations", SOON, async || {
            let mut hashes = world.samplers().await;
            hashes.sort();
            let mut wanted = wanted.map(|marker| world.sampler_hash(marker));
            wanted.sort();
            (hashes == wanted).then_some(()).ok_or_else(|| format!("{marker}: {hashes:?}, not {wanted:?}"))
        })
        .await;
    };
    world.apply_all(&world.objects("good")).await;
    samplers("first", ["good"; 3]).await;
    world.make_ready(&["gateway-sampler-0", "gateway-sampler-1", "gateway-sampler-2"]).await;
    // Nobody says of a broken pod that it is ready: the rollout stops at the first.
    world.apply_all(&world.objects("broken")).await;
    samplers("broken", ["good", "good", "broken"]).await;
    world.apply_all(&world.objects("good")).await;
    samplers("back", ["good"; 3]).await;
}

#[tokio::test]
async fn the_configuration_alone_is_for_somebody_elses_collector() {
    let spec = json!({"management": "ConfigOnly", "backends": [{"name": "tempo", "endpoint": "http://tempo:4317"}]});
    let world = World::with(shared().await, "config-only", &spec).await;
    for marker in ["a", "b"] {
        let objects = world.objects(marker);
        world.apply_all(&objects).await;
        let live = world.live(&objects[0]).await.unwrap();
        assert!(contains(&live, &objects[0].manifest) && objects.len() == 1, "{live:#}");
        assert_eq!(live["data"], objects[0].manifest["data"]);
    }
}

#[tokio::test]
async fn the_binding_of_identities_is_accepted() {
    let plane = shared().await;
    let world = World::new(plane, "one-tier").await;
    let binding = identity_binding([&world.collector].into_iter()).unwrap();
    let gvk = GroupVersionKind::gvk("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding");
    let bindings: Api<DynamicObject> = Api::all_with(world.client.clone(), &ApiResource::from_gvk(&gvk));
    let params = PatchParams::apply(MANAGER_OWNED).force();
    let name = text(&binding["metadata"]["name"]);
    let first = bindings.patch(name, &params, &Patch::Apply(&binding)).await.unwrap();
    let second = bindings.patch(name, &params, &Patch::Apply(&binding)).await.unwrap();
    assert_eq!(first, second);
    assert!(contains(&serde_json::to_value(second).unwrap(), &binding));
}
