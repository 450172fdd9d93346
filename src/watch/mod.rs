//! Watch streams in, [`Change`]s out. Each stream has its own back-off: one that fails holds up no other.

mod evidence;
mod pods;
mod secrets;

use std::{fmt::Debug, time::Duration};

use futures::StreamExt;
use k8s_openapi::api::{apps::v1::ReplicaSet, batch::v1::Job, core::v1 as core};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ApiResource, DynamicObject, GroupVersionKind},
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use crate::{
    api::{ClusterTracingPolicy, TracingCollector, TracingPolicy},
    index::{
        Bare, Change, Child, Collector, LiveObject, LivingPod, MANAGED_BY, MANAGED_BY_LABEL, NamespaceMeta, OwnedKind,
        PodDefaults, Policy, Source, Watched, Workload, WorkloadId, WorkloadKind,
        raw::{RawCronJob, RawDaemonSet, RawDeployment, RawJob, RawStatefulSet, RawWorkload},
    },
    plan::{read_cluster_policy, read_collector, read_policy},
};

pub use evidence::evidence;
pub use pods::pods;
pub use secrets::{SecretError, look_at, look_at_key};

/// Objects of one page of a list: bounds what is in memory at once, a workload being some tens of kilobytes on the way.
const PAGE_SIZE: u32 = 50;

/// Owned objects of one page: a ConfigMap may be as large as a megabyte.
const OWNED_PAGE_SIZE: u32 = 20;

/// Objects of one page of which there is only metadata.
const METADATA_PAGE_SIZE: u32 = 200;

/// How long a watch waits before it lists anew because its version is gone.
const RELIST_DELAY: Duration = Duration::from_secs(1);

/// Pods that have ended carry nothing any more.
const LIVING: &str = "status.phase!=Succeeded,status.phase!=Failed";

/// The streams that are watched, in all namespaces or in the given ones. Namespaces themselves and ClusterTracingPolicies are
/// watched only where all are: who may see a few has no right to the list.
pub fn sources(namespaces: &[String]) -> Vec<Source> {
    let scopes: Vec<Option<String>> =
        if namespaces.is_empty() { vec![None] } else { namespaces.iter().cloned().map(Some).collect() };
    let watched = [Watched::Policies, Watched::Collectors]
        .into_iter()
        .chain(WorkloadKind::WRITABLE.into_iter().map(Watched::Workloads))
        .chain([Watched::Workloads(WorkloadKind::Job), Watched::JobOwners, Watched::ReplicaSets, Watched::Pods])
        .chain(OwnedKind::ALL.into_iter().map(Watched::Owned));
    let by_scope =
        watched.flat_map(|watched| scopes.iter().map(move |scope| Source { watched, namespace: scope.clone() }));
    let of_cluster = [Watched::Namespaces, Watched::ClusterPolicies];
    let of_cluster = of_cluster.map(|watched| Source { watched, namespace: None });
    by_scope.chain(of_cluster.into_iter().filter(|_| namespaces.is_empty())).collect()
}

/// Follows one source for good; ends when nobody listens any more.
pub async fn follow(client: Client, source: Source, changes: mpsc::Sender<Change>) {
    match source.watched {
        Watched::Policies => follow_policies(client, source, changes).await,
        Watched::ClusterPolicies => follow_cluster_policies(client, source, changes).await,
        Watched::Collectors => follow_collectors(client, source, changes).await,
        Watched::Namespaces => follow_namespaces(client, source, changes).await,
        Watched::Workloads(WorkloadKind::Deployment) => {
            follow_workloads::<RawDeployment>(client, source, changes).await;
        }
        Watched::Workloads(WorkloadKind::StatefulSet) => {
            follow_workloads::<RawStatefulSet>(client, source, changes).await;
        }
        Watched::Workloads(WorkloadKind::DaemonSet) => follow_workloads::<RawDaemonSet>(client, source, changes).await,
        Watched::Workloads(WorkloadKind::CronJob) => follow_workloads::<RawCronJob>(client, source, changes).await,
        Watched::Workloads(WorkloadKind::Job) => follow_jobs(client, source, changes).await,
        Watched::Workloads(WorkloadKind::Pod) | Watched::Pods => follow_pods(client, source, changes).await,
        Watched::ReplicaSets => follow_children::<ReplicaSet>(client, source, Child::ReplicaSet, changes).await,
        Watched::JobOwners => follow_children::<Job>(client, source, Child::Job, changes).await,
        Watched::Owned(kind) => follow_owned(client, source, kind, changes).await,
    }
}

/// A policy as it came from the API server.
///
/// Policies are read as plain objects, so that one of an older schema neither breaks the stream nor hides behind it.
pub fn policy_from(object: &DynamicObject) -> (Policy, Option<u64>) {
    // An object that was just parsed from JSON can be written as JSON; if not, it is a policy that cannot be read.
    let value = serde_json::to_value(object).unwrap_or_default();
    (read_policy(&value, object.metadata.namespace.as_deref().unwrap_or_default()), version(object))
}

/// A ClusterTracingPolicy as it came from the API server, read as policies are.
pub fn cluster_policy_from(object: &DynamicObject) -> (Policy, Option<u64>) {
    let value = serde_json::to_value(object).unwrap_or_default();
    (read_cluster_policy(&value), version(object))
}

/// A collector as it came from the API server, read as policies are.
pub fn collector_from(object: &DynamicObject) -> (Collector, Option<u64>) {
    let value = serde_json::to_value(object).unwrap_or_default();
    (read_collector(&value, object.metadata.namespace.as_deref().unwrap_or_default()), version(object))
}

/// A workload as it came from the API server.
pub fn workload_from<R: RawWorkload + Resource>(raw: R) -> (Workload, Option<u64>) {
    let version = version(&raw);
    (Workload::reduce(raw), version)
}

/// An object that was made for a collector, as it came from the API server.
pub fn owned_from(kind: OwnedKind, object: DynamicObject) -> Option<LiveObject> {
    let mut value = serde_json::to_value(object).ok()?;
    // The items of a list do not say what they are.
    value["apiVersion"] = kind.api_version().into();
    value["kind"] = kind.as_str().into();
    LiveObject::read(kind, value)
}

/// The API of objects that are made for collectors.
pub fn owned_api(client: Client, kind: OwnedKind, namespace: Option<&str>) -> Api<DynamicObject> {
    let (group, version) = kind.api_version().split_once('/').unwrap_or_else(|| ("", kind.api_version()));
    let resource =
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind.as_str()), kind.plural());
    match namespace {
        None => Api::all_with(client, &resource),
        Some(namespace) => Api::namespaced_with(client, namespace, &resource),
    }
}

/// Resource versions are decimal numbers that grow (KEP-5504; true of every API server with etcd before that).
fn version<K: Resource>(object: &K) -> Option<u64> {
    object.meta().resource_version.as_deref()?.parse().ok()
}

fn own_api<K: Resource<DynamicType = ()>>(client: Client, namespace: Option<&str>) -> Api<DynamicObject> {
    let resource = ApiResource::erase::<K>(&());
    match namespace {
        None => Api::all_with(client, &resource),
        Some(namespace) => Api::namespaced_with(client, namespace, &resource),
    }
}

async fn follow_policies(client: Client, source: Source, changes: mpsc::Sender<Change>) {
    let kind = Kind {
        reduce: |object: DynamicObject| Some(policy_from(&object)),
        applied: |(policy, version)| Change::Policy(policy, version),
        gone: |(policy, _)| Change::PolicyGone(policy.id),
        all: Change::Policies,
    };
    run(own_api::<TracingPolicy>(client, source.namespace.as_deref()), config(), source, changes, kind).await;
}

async fn follow_cluster_policies(client: Client, source: Source, changes: mpsc::Sender<Change>) {
    let kind = Kind {
        reduce: |object: DynamicObject| Some(cluster_policy_from(&object)),
        applied: |(policy, version)| Change::Policy(policy, version),
        gone: |(policy, _)| Change::PolicyGone(policy.id),
        all: Change::Policies,
    };
    run(own_api::<ClusterTracingPolicy>(client, None), config(), source, changes, kind).await;
}

async fn follow_collectors(client: Client, source: Source, changes: mpsc::Sender<Change>) {
    let kind = Kind {
        reduce: |object: DynamicObject| Some(collector_from(&object)),
        applied: |(collector, version)| Change::Collector(collector, version),
        gone: |(collector, _)| Change::CollectorGone(collector.id),
        all: Change::Collectors,
    };
    run(own_api::<TracingCollector>(client, source.namespace.as_deref()), config(), source, changes, kind).await;
}

async fn follow_namespaces(client: Client, source: Source, changes: mpsc::Sender<Change>) {
    let api: Api<Bare<core::Namespace>> = Api::all(client);
    let kind = Kind {
        reduce: |object: Bare<core::Namespace>| {
            let pods = PodDefaults::read(&object.metadata.annotations.unwrap_or_default());
            Some((object.metadata.name?, NamespaceMeta { labels: object.metadata.labels.unwrap_or_default(), pods }))
        },
        applied: |(name, meta)| Change::Namespace(name, meta),
        gone: |(name, _)| Change::NamespaceGone(name),
        all: Change::Namespaces,
    };
    run(api, config(), source, changes, kind).await;
}

async fn follow_owned(client: Client, source: Source, kind: OwnedKind, changes: mpsc::Sender<Change>) {
    let api = owned_api(client, kind, source.namespace.as_deref());
    let selector = format!("{MANAGED_BY_LABEL}={MANAGED_BY}");
    let config = watcher::Config::default().page_size(OWNED_PAGE_SIZE).labels(&selector);
    let kind = Kind {
        reduce: move |object: DynamicObject| owned_from(kind, object),
        applied: Change::Owned,
        gone: |live: LiveObject| Change::OwnedGone(live.id, live.uid),
        all: Change::AllOwned,
    };
    run(api, config, source, changes, kind).await;
}

async fn follow_workloads<R>(client: Client, source: Source, changes: mpsc::Sender<Change>)
where
    R: RawWorkload + Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    R: Clone + Debug + DeserializeOwned + Send + 'static,
{
    let api: Api<R> = match &source.namespace {
        None => Api::all(client),
        Some(namespace) => Api::namespaced(client, namespace),
    };
    let kind = Kind {
        reduce: |raw: R| Some(workload_from::<R>(raw)),
        applied: |(workload, version)| Change::Workload(workload, version),
        gone: |(workload, _)| Change::WorkloadGone(workload.id),
        all: Change::Workloads,
    };
    run(api, config(), source, changes, kind).await;
}

/// A Job, and whether it counts.
type SeenJob = (bool, (Workload, Option<u64>));
/// What a workload of a namespace makes, and which.
type SeenChild = (String, Child, Option<WorkloadId>);

/// Jobs of their own, until they end.
async fn follow_jobs(client: Client, source: Source, changes: mpsc::Sender<Change>) {
    let api: Api<RawJob> = match &source.namespace {
        None => Api::all(client),
        Some(namespace) => Api::namespaced(client, namespace),
    };
    let kind = Kind {
        reduce: |raw: RawJob| Some((raw.is_own() && !raw.is_over(), workload_from(raw))),
        applied: |(counts, (workload, version)): SeenJob| {
            if counts { Change::Workload(workload, version) } else { Change::WorkloadGone(workload.id) }
        },
        gone: |(_, (workload, _)): SeenJob| Change::WorkloadGone(workload.id),
        all: |source, all: Vec<SeenJob>| {
            Change::Workloads(source, all.into_iter().filter(|(counts, _)| *counts).map(|(_, seen)| seen).collect())
        },
    };
    run(api, config(), source, changes, kind).await;
}

/// The metadata of pods that have not ended.
async fn follow_pods(client: Client, source: Source, changes: mpsc::Sender<Change>) {
    let api: Api<Bare<core::Pod>> = match &source.namespace {
        None => Api::all(client),
        Some(namespace) => Api::namespaced(client, namespace),
    };
    let kind = Kind {
        reduce: |object: Bare<core::Pod>| LivingPod::reduce(&object.metadata),
        applied: |pod| Change::Pod(Box::new(pod)),
        gone: |pod: LivingPod| Change::PodGone(pod.namespace, pod.name),
        all: Change::Pods,
    };
    let config = watcher::Config::default().page_size(METADATA_PAGE_SIZE).fields(LIVING);
    run(api, config, source, changes, kind).await;
}

/// The metadata of what workloads make to run their pods: whose it is.
async fn follow_children<K>(client: Client, source: Source, child: fn(String) -> Child, changes: mpsc::Sender<Change>)
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    K: Clone + Debug + DeserializeOwned + Send + 'static,
{
    let api: Api<Bare<K>> = match &source.namespace {
        None => Api::all(client),
        Some(namespace) => Api::namespaced(client, namespace),
    };
    let kind = Kind {
        reduce: move |object: Bare<K>| {
            let meta = object.metadata;
            let child = child(meta.name.clone()?);
            let parent = child.parent(&meta);
            Some((meta.namespace.unwrap_or_default(), child, parent))
        },
        applied: |(namespace, child, parent): SeenChild| Change::Child(namespace, child, parent),
        gone: |(namespace, child, _): SeenChild| Change::ChildGone(namespace, child),
        all: Change::Children,
    };
    let config = watcher::Config::default().page_size(METADATA_PAGE_SIZE);
    run(api, config, source, changes, kind).await;
}

fn config() -> watcher::Config {
    watcher::Config::default().page_size(PAGE_SIZE)
}

/// How objects of one type become changes.
struct Kind<T, R> {
    reduce: R,
    applied: fn(T) -> Change,
    gone: fn(T) -> Change,
    all: fn(Source, Vec<T>) -> Change,
}

async fn run<K, T, R>(
    api: Api<K>,
    config: watcher::Config,
    source: Source,
    changes: mpsc::Sender<Change>,
    kind: Kind<T, R>,
) where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
    R: Fn(K) -> Option<T>,
{
    let start = || Box::pin(watcher::watcher(api.clone(), config.clone()).default_backoff());
    let mut events = start();
    let mut listed = Vec::new();
    while let Some(event) = events.next().await {
        let change = match event {
            Ok(Event::Init) => {
                listed.clear();
                continue;
            }
            Ok(Event::InitApply(object)) => {
                listed.extend((kind.reduce)(object));
                continue;
            }
            Ok(Event::InitDone) => Some((kind.all)(source.clone(), std::mem::take(&mut listed))),
            Ok(Event::Apply(object)) => {
                tracing::trace!(name = object.name_any(), "changed");
                (kind.reduce)(object).map(kind.applied)
            }
            Ok(Event::Delete(object)) => (kind.reduce)(object).map(kind.gone),
            Err(error) => {
                let namespace = source.namespace.as_deref().unwrap_or("all");
                tracing::warn!(kind = source.watched.name(), namespace, %error, "watch failed; trying again");
                if is_gone(&error) {
                    tokio::time::sleep(RELIST_DELAY).await;
                    events = start();
                }
                continue;
            }
        };
        let Some(change) = change else { continue };
        if changes.send(change).await.is_err() {
            return;
        }
    }
}

/// Whether the API server has refused to go on from the version that was heard last. The library lists anew where an event of
/// the stream says that, but asks for the same version for ever where the status of the answer says it.
fn is_gone(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::WatchStartFailed(kube::Error::Api(status)) if status.code == 410)
}
