//! Watch streams in, [`Change`]s out. Each stream has its own back-off: one that fails holds up no other.

mod secrets;

use std::fmt::Debug;

use futures::{StreamExt, pin_mut};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ApiResource, DynamicObject},
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use crate::{
    api::TracingPolicy,
    index::{
        Change, Policy, Source, Workload, WorkloadKind,
        raw::{RawCronJob, RawDaemonSet, RawDeployment, RawStatefulSet, RawWorkload},
    },
    plan::read_policy,
};

pub use secrets::{SecretError, look_at};

/// Objects of one page of a list: bounds what is in memory at once.
const PAGE_SIZE: u32 = 200;

/// The streams that are watched: policies and every kind of workload, in all namespaces or in the given ones.
pub fn sources(namespaces: &[String]) -> Vec<Source> {
    let scopes: Vec<Option<String>> =
        if namespaces.is_empty() { vec![None] } else { namespaces.iter().cloned().map(Some).collect() };
    let kinds = std::iter::once(None).chain(WorkloadKind::ALL.into_iter().map(Some));
    kinds.flat_map(|kind| scopes.iter().map(move |namespace| Source { kind, namespace: namespace.clone() })).collect()
}

/// Follows one source for good; ends when nobody listens any more.
pub async fn follow(client: Client, source: Source, changes: mpsc::Sender<Change>) {
    match source.kind {
        None => follow_policies(client, source, changes).await,
        Some(WorkloadKind::Deployment) => follow_workloads::<RawDeployment>(client, source, changes).await,
        Some(WorkloadKind::StatefulSet) => follow_workloads::<RawStatefulSet>(client, source, changes).await,
        Some(WorkloadKind::DaemonSet) => follow_workloads::<RawDaemonSet>(client, source, changes).await,
        Some(WorkloadKind::CronJob) => follow_workloads::<RawCronJob>(client, source, changes).await,
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

/// A workload as it came from the API server.
pub fn workload_from<R: RawWorkload + Resource>(raw: R) -> (Workload, Option<u64>) {
    let version = version(&raw);
    (Workload::reduce(raw), version)
}

/// Resource versions are decimal numbers that grow (KEP-5504; true of every API server with etcd before that).
fn version<K: Resource>(object: &K) -> Option<u64> {
    object.meta().resource_version.as_deref()?.parse().ok()
}

async fn follow_policies(client: Client, source: Source, changes: mpsc::Sender<Change>) {
    let resource = ApiResource::erase::<TracingPolicy>(&());
    let api: Api<DynamicObject> = match &source.namespace {
        None => Api::all_with(client, &resource),
        Some(namespace) => Api::namespaced_with(client, namespace, &resource),
    };
    let kind = Kind {
        reduce: |object: DynamicObject| policy_from(&object),
        applied: |(policy, version)| Change::Policy(policy, version),
        gone: |(policy, _)| Change::PolicyGone(policy.id),
        all: Change::Policies,
    };
    run(api, source, changes, kind).await;
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
        reduce: workload_from::<R>,
        applied: |(workload, version)| Change::Workload(workload, version),
        gone: |(workload, _)| Change::WorkloadGone(workload.id),
        all: Change::Workloads,
    };
    run(api, source, changes, kind).await;
}

/// How objects of one type become changes.
struct Kind<K, T> {
    reduce: fn(K) -> T,
    applied: fn(T) -> Change,
    gone: fn(T) -> Change,
    all: fn(Source, Vec<T>) -> Change,
}

async fn run<K, T>(api: Api<K>, source: Source, changes: mpsc::Sender<Change>, kind: Kind<K, T>)
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let config = watcher::Config::default().page_size(PAGE_SIZE);
    let events = watcher::watcher(api, config).default_backoff();
    pin_mut!(events);
    let mut listed = Vec::new();
    while let Some(event) = events.next().await {
        let change = match event {
            Ok(Event::Init) => {
                listed.clear();
                continue;
            }
            Ok(Event::InitApply(object)) => {
                listed.push((kind.reduce)(object));
                continue;
            }
            Ok(Event::InitDone) => (kind.all)(source.clone(), std::mem::take(&mut listed)),
            Ok(Event::Apply(object)) => {
                tracing::trace!(name = object.name_any(), "changed");
                (kind.applied)((kind.reduce)(object))
            }
            Ok(Event::Delete(object)) => (kind.gone)((kind.reduce)(object)),
            Err(error) => {
                let kind = source.kind.map_or("TracingPolicy", WorkloadKind::as_str);
                let namespace = source.namespace.as_deref().unwrap_or("all");
                tracing::warn!(kind, namespace, %error, "watch failed; trying again");
                continue;
            }
        };
        if changes.send(change).await.is_err() {
            return;
        }
    }
}
