//! The state of a cluster as a [`Snapshot`], read once: lists in pages, and what somebody may not see is a note.

mod managers;

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    io::{IsTerminal, Write as _},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api, Client, Config,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::Value;

use super::Exit;
use crate::{
    api::{ClusterTracingPolicy, TracingCollector, TracingPolicy},
    index::{
        Change, Child, Index, LivingPod, MANAGED_BY, MANAGED_BY_LABEL, OwnedKind, PodDefaults, PodHook, PolicyId,
        SecretId, SecretState, Snapshot, Watched, WorkloadId, WorkloadKind, raw::read_workload,
    },
    plan::{Plan, difference::Rollout},
    watch::{cluster_policy_from, collector_from, look_at, look_at_key, owned_from, policy_from},
};

pub(super) use managers::managers;

/// How long a connection to the API server may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Objects of one page of a list.
const PAGE_SIZE: u32 = 500;

/// Which cluster.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Cluster {
    /// The kubeconfig; else KUBECONFIG, else ~/.kube/config, else the ServiceAccount of the pod.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
}

/// Why a cluster cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum LiveError {
    #[error("no cluster: {0}; give --kubeconfig and --context, or set KUBECONFIG")]
    NoCluster(String),
    #[error("the cluster cannot be read: {0}")]
    Unreachable(String),
    #[error("cannot start: {0}")]
    Runtime(std::io::Error),
}

impl LiveError {
    /// The exit code that it deserves.
    pub(super) const fn exit(&self) -> Exit {
        match self {
            Self::NoCluster(_) | Self::Unreachable(_) => Exit::Unreachable,
            Self::Runtime(_) => Exit::Unreadable,
        }
    }
}

/// A way to a cluster.
pub(super) struct Connection {
    pub(super) client: Client,
    /// The namespace of the context.
    pub(super) namespace: String,
}

impl Cluster {
    /// Prepares a client; nothing is asked yet.
    pub(super) async fn connect(&self) -> Result<Connection, LiveError> {
        let no_cluster = |error: &dyn std::fmt::Display| LiveError::NoCluster(error.to_string());
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        let mut config = match (&self.kubeconfig, &self.context) {
            (Some(path), _) => {
                let kubeconfig = Kubeconfig::read_from(path).map_err(|error| no_cluster(&error))?;
                Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| no_cluster(&error))?
            }
            (None, Some(_)) => Config::from_kubeconfig(&options).await.map_err(|error| no_cluster(&error))?,
            (None, None) => Config::infer().await.map_err(|error| no_cluster(&error))?,
        };
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        let namespace = config.default_namespace.clone();
        let client = Client::try_from(config).map_err(|error| no_cluster(&error))?;
        Ok(Connection { client, namespace })
    }
}

/// A runtime for one command.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, LiveError> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(LiveError::Runtime)
}

/// What is read.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope {
    /// All namespaces, where that is allowed.
    pub(super) everywhere: bool,
    /// The namespaces that matter in any case.
    pub(super) namespaces: BTreeSet<String>,
    /// Workloads that are kept as they are.
    pub(super) whole: BTreeSet<WorkloadId>,
}

/// The state of a cluster.
#[derive(Debug, Default)]
pub(super) struct Live {
    pub(super) snapshot: Snapshot,
    /// What could not be seen.
    pub(super) notes: Vec<String>,
    /// The managed fields of policies.
    pub(super) managed: BTreeMap<PolicyId, Value>,
    /// How a change of each workload's template rolls out.
    pub(super) rollouts: BTreeMap<WorkloadId, Rollout>,
    /// The workloads of [`Scope::whole`].
    pub(super) whole: BTreeMap<WorkloadId, Value>,
    /// Pods, and what lies between them and their workloads.
    pods: Index,
    /// What may be listed, and where: `None` is everywhere.
    pub(super) seen: Vec<(Watched, Option<String>)>,
}

/// Reads the state of a cluster.
pub(super) async fn load(client: &Client, scope: &Scope) -> Result<Live, LiveError> {
    let mut live = Live::default();
    // Whether the API server asks about pods is in the statuses of policies.
    live.snapshot.hook = PodHook::Unmanaged;
    let kinds = [Watched::Namespaces, Watched::ClusterPolicies, Watched::Policies, Watched::Collectors]
        .into_iter()
        .chain(WorkloadKind::ALL.into_iter().map(Watched::Workloads))
        .chain([Watched::ReplicaSets])
        .chain(OwnedKind::ALL.into_iter().map(Watched::Owned));
    for watched in kinds {
        live.read(client, watched, scope).await?;
    }
    progress("");
    for (name, known) in &live.pods.snapshot().namespaces {
        live.snapshot.namespaces.entry(name.clone()).or_default().pods = known.pods.clone();
    }
    Ok(live)
}

/// On a terminal, one line that is written over.
fn progress(what: &str) {
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        let text = if what.is_empty() { String::new() } else { format!("reading {what} ...") };
        // Where standard error is gone, there is nobody to tell.
        write!(stderr, "\r\u{1b}[K{text}").and_then(|()| stderr.flush()).unwrap_or_default();
    }
}

enum Denied {
    Forbidden,
    Absent,
}

impl Live {
    async fn read(&mut self, client: &Client, watched: Watched, scope: &Scope) -> Result<(), LiveError> {
        // What is of the cluster, or may be referred to from any namespace, is looked for everywhere.
        let wide =
            scope.everywhere || !matches!(watched, Watched::Policies | Watched::Workloads(_) | Watched::ReplicaSets);
        if wide {
            match self.list(client, watched, None, scope).await? {
                Ok(()) => {
                    self.seen.push((watched, None));
                    return Ok(());
                }
                Err(Denied::Absent) => {
                    self.notes.push(format!("{} are not known to this cluster", watched.name()));
                    return Ok(());
                }
                Err(Denied::Forbidden) => {}
            }
        }
        if matches!(watched, Watched::Namespaces | Watched::ClusterPolicies) {
            self.notes.push(format!("no right to list {}: taken for none", watched.name()));
            return Ok(());
        }
        let mut denied = Vec::new();
        for namespace in &scope.namespaces {
            match self.list(client, watched, Some(namespace), scope).await? {
                Ok(()) => self.seen.push((watched, Some(namespace.clone()))),
                Err(Denied::Forbidden) => denied.push(namespace.as_str()),
                Err(Denied::Absent) => {
                    self.notes.push(format!("{} are not known to this cluster", watched.name()));
                    return Ok(());
                }
            }
        }
        if wide || !denied.is_empty() {
            let places = if denied.is_empty() { "all namespaces".to_owned() } else { denied.join(", ") };
            self.notes.push(format!("no right to list {} in {places}", watched.name()));
        }
        Ok(())
    }

    async fn list(
        &mut self,
        client: &Client,
        watched: Watched,
        namespace: Option<&str>,
        scope: &Scope,
    ) -> Result<Result<(), Denied>, LiveError> {
        let resource = resource(watched);
        progress(&watched.name());
        let api: Api<DynamicObject> = match namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
            None => Api::all_with(client.clone(), &resource),
        };
        let mut params = ListParams::default().limit(PAGE_SIZE);
        if let Watched::Owned(_) = watched {
            params = params.labels(&format!("{MANAGED_BY_LABEL}={MANAGED_BY}"));
        }
        loop {
            let answer = tokio::time::timeout(ANSWER_TIMEOUT, api.list(&params)).await;
            let Ok(answer) = answer else { return Err(LiveError::Unreachable("no answer in time".to_owned())) };
            let page = match answer {
                Ok(page) => page,
                Err(kube::Error::Api(status)) if status.code == 403 => return Ok(Err(Denied::Forbidden)),
                Err(kube::Error::Api(status)) if status.code == 404 => return Ok(Err(Denied::Absent)),
                Err(error) => return Err(LiveError::Unreachable(words(&error))),
            };
            for object in page.items {
                self.take(watched, object, scope);
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params.continue_token = Some(token),
                None => return Ok(Ok(())),
            }
        }
    }

    fn take(&mut self, watched: Watched, object: DynamicObject, scope: &Scope) {
        match watched {
            Watched::Namespaces => {
                let labels = object.metadata.labels.unwrap_or_default();
                let name = object.metadata.name.unwrap_or_default();
                let namespace = self.snapshot.namespaces.entry(name).or_default();
                namespace.labels = Some(labels);
                namespace.pod_defaults = PodDefaults::read(&object.metadata.annotations.unwrap_or_default());
            }
            Watched::Policies => {
                let policy = policy_from(&object).0;
                self.managed.insert(policy.id.clone(), managed(&object));
                let namespace = self.snapshot.namespaces.entry(policy.id.namespace.clone()).or_default();
                namespace.policies.insert(policy.id.name.clone(), policy);
            }
            Watched::ClusterPolicies => {
                let policy = cluster_policy_from(&object).0;
                self.managed.insert(policy.id.clone(), managed(&object));
                self.snapshot.cluster_policies.insert(policy.id.name.clone(), policy);
            }
            Watched::Collectors => {
                let collector = collector_from(&object).0;
                self.snapshot.collectors.insert(collector.id.clone(), collector);
            }
            Watched::Workloads(kind) => self.workload(kind, object, scope),
            Watched::ReplicaSets => self.child(Child::ReplicaSet, &object.metadata),
            // With the workloads of these kinds.
            Watched::JobOwners | Watched::Pods => {}
            Watched::Owned(kind) => {
                if let Some(owned) = owned_from(kind, object) {
                    self.snapshot.owned.insert(owned.id.clone(), owned);
                }
            }
        }
    }

    /// What lies between pods and their workloads.
    fn child(&mut self, child: fn(String) -> Child, meta: &ObjectMeta) {
        let child = child(meta.name.clone().unwrap_or_default());
        let parent = child.parent(meta);
        self.pods.update(Change::Child(meta.namespace.clone().unwrap_or_default(), child, parent));
    }

    fn workload(&mut self, kind: WorkloadKind, object: DynamicObject, scope: &Scope) {
        let phase = object.data.pointer("/status/phase").and_then(Value::as_str).unwrap_or_default();
        match kind {
            WorkloadKind::Job => self.child(Child::Job, &object.metadata),
            WorkloadKind::Pod if !matches!(phase, "Succeeded" | "Failed") => {
                if let Some(pod) = LivingPod::reduce(&object.metadata) {
                    self.pods.update(Change::Pod(Box::new(pod)));
                }
            }
            _ => {}
        }
        let mut value = serde_json::to_value(object).unwrap_or_default();
        // The items of a list do not say what they are.
        value["apiVersion"] = kind.api_version().into();
        value["kind"] = kind.as_str().into();
        let Some(Ok(workload)) = read_workload(&value, "") else { return };
        let id = workload.id.clone();
        self.rollouts.insert(id.clone(), Rollout::of(kind, &value));
        if scope.whole.contains(&id) {
            self.whole.insert(id.clone(), value);
        }
        let namespace = self.snapshot.namespaces.entry(id.namespace.clone()).or_default();
        namespace.workloads.insert(id, Arc::new(workload));
    }
}

fn managed(object: &DynamicObject) -> Value {
    serde_json::to_value(&object.metadata.managed_fields).unwrap_or_default()
}

/// How workloads of a kind are asked for.
pub(super) fn of_kind(kind: WorkloadKind) -> ApiResource {
    resource(Watched::Workloads(kind))
}

fn resource(watched: Watched) -> ApiResource {
    let of = |version: &str, kind: &str, plural: &str| {
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
    };
    match watched {
        Watched::Policies => ApiResource::erase::<TracingPolicy>(&()),
        Watched::ClusterPolicies => ApiResource::erase::<ClusterTracingPolicy>(&()),
        Watched::Collectors => ApiResource::erase::<TracingCollector>(&()),
        Watched::Namespaces => of("v1", "Namespace", "namespaces"),
        Watched::ReplicaSets => of("apps/v1", "ReplicaSet", "replicasets"),
        Watched::JobOwners => of("batch/v1", "Job", "jobs"),
        Watched::Pods => of("v1", "Pod", "pods"),
        Watched::Workloads(kind) => {
            of(kind.api_version(), kind.as_str(), &format!("{}s", kind.as_str().to_ascii_lowercase()))
        }
        Watched::Owned(kind) => of(kind.api_version(), kind.as_str(), kind.plural()),
    }
}

/// An error with what caused it, which says more than that there was one.
fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        source = inner.source();
    }
    text
}

/// Looks at the Secrets that a plan needs and that are not known yet, by name. Values are never kept.
pub(super) async fn secrets(client: &Client, snapshot: &mut Snapshot, plan: &Plan) {
    let own = snapshot.policies().filter_map(crate::index::Policy::secret);
    let needed: BTreeSet<SecretId> =
        plan.workloads.values().filter_map(|plan| plan.secret.clone()).chain(own).collect();
    for id in needed {
        let known = &mut snapshot.namespaces.entry(id.namespace.clone()).or_default().secrets;
        if let Entry::Vacant(place) = known.entry(id.name.clone()) {
            place.insert(look_at(client, &id).await.unwrap_or(SecretState::Unverified));
        }
    }
    let keys: BTreeSet<_> = snapshot.collectors.values().flat_map(crate::index::Collector::secrets).collect();
    for id in keys {
        let known = &mut snapshot.namespaces.entry(id.namespace.clone()).or_default().keys;
        if let Entry::Vacant(place) = known.entry((id.name.clone(), id.key.clone())) {
            place.insert(look_at_key(client, &id).await.unwrap_or(SecretState::Unverified));
        }
    }
}
