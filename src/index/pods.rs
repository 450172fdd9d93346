//! Pods, as far as they matter to workloads that are injected pod by pod: whose they are, and which settings they were given.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::{Dirty, Index, Namespace, Source, Watched, Workload, WorkloadId, WorkloadKind};
use crate::api::CONFIGURATION_ANNOTATION;

/// Set by the kubelet on the mirrors of static pods, which the API server does not run.
const MIRROR: &str = "kubernetes.io/config.mirror";
/// Set by controllers of ReplicaSets on their pods: the last part of the ReplicaSet's name.
const TEMPLATE_HASHES: [&str; 2] = ["pod-template-hash", "rollouts-pod-template-hash"];

/// Who controls a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// This StatefulSet.
    StatefulSet(String),
    /// This DaemonSet.
    DaemonSet(String),
    /// Something that a workload has made.
    Child(Child),
    /// Nobody, or somebody that is not known here.
    Own,
    /// The kubelet of a node, from a file.
    Static,
}

/// What a workload makes to run its pods.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Child {
    /// apps/v1 ReplicaSet of a Deployment.
    ReplicaSet(String),
    /// batch/v1 Job of a CronJob, or by itself.
    Job(String),
}

/// A pod that is there.
#[derive(Clone, Debug)]
pub struct LivingPod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Who controls it.
    pub origin: Origin,
    /// The hash of the settings that it was given as it was created.
    pub configuration: Option<String>,
    /// Itself as a workload, without containers: of a pod that is there only metadata is watched.
    pub workload: Workload,
    /// Whether it is being deleted.
    pub deleting: bool,
}

/// A workload, as a pod is about to become one of its pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// Which one.
    pub id: WorkloadId,
    /// What its service is called, other than by its name.
    pub called: Option<String>,
}

/// The pods of a namespace, and what lies between them and their workloads.
#[derive(Clone, Debug, Default)]
pub struct Pods {
    known: BTreeMap<String, (Origin, Option<String>)>,
    by_origin: BTreeMap<Origin, BTreeSet<String>>,
    parents: BTreeMap<Child, Option<WorkloadId>>,
    children: BTreeMap<WorkloadId, BTreeSet<Child>>,
    /// Those of ReplicaSets that were not heard of yet.
    waiting: BTreeMap<String, LivingPod>,
}

impl Origin {
    /// Reads the controller of a pod.
    pub fn of(meta: &ObjectMeta) -> Self {
        if meta.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(MIRROR)) {
            return Self::Static;
        }
        let Some(owner) = controller(meta) else { return Self::Own };
        match (group(owner), owner.kind.as_str()) {
            ("apps", "StatefulSet") => Self::StatefulSet(owner.name.clone()),
            ("apps", "DaemonSet") => Self::DaemonSet(owner.name.clone()),
            ("apps", "ReplicaSet") => Self::Child(Child::ReplicaSet(owner.name.clone())),
            ("batch", "Job") => Self::Child(Child::Job(owner.name.clone())),
            ("", "Node") => Self::Static,
            _ => Self::Own,
        }
    }
}

impl Child {
    /// The workload that controls it, by its metadata.
    pub fn parent(&self, meta: &ObjectMeta) -> Option<WorkloadId> {
        let owner = controller(meta)?;
        let kind = match (self, group(owner), owner.kind.as_str()) {
            (Self::ReplicaSet(_), "apps", "Deployment") => WorkloadKind::Deployment,
            (Self::Job(_), "batch", "CronJob") => WorkloadKind::CronJob,
            _ => return None,
        };
        let namespace = meta.namespace.clone().unwrap_or_default();
        Some(WorkloadId { namespace, kind, name: owner.name.clone() })
    }
}

impl LivingPod {
    /// Reduces the metadata of a pod.
    pub fn reduce(meta: &ObjectMeta) -> Option<Self> {
        let name = meta.name.clone()?;
        let namespace = meta.namespace.clone().unwrap_or_default();
        let configuration = meta.annotations.as_ref().and_then(|all| all.get(CONFIGURATION_ANNOTATION)).cloned();
        let id = WorkloadId { namespace: namespace.clone(), kind: WorkloadKind::Pod, name: name.clone() };
        let root = Root { called: called(meta), id };
        let workload = Workload::of_pod(root, meta, None);
        let (origin, deleting) = (Origin::of(meta), meta.deletion_timestamp.is_some());
        Some(Self { namespace, name, origin, configuration, workload, deleting })
    }
}

impl Pods {
    /// The settings that each living pod of a workload was given; `None` for a pod that was given none.
    pub fn configurations<'a>(&'a self, id: &'a WorkloadId) -> impl Iterator<Item = Option<&'a str>> {
        let own = self.known.get(&id.name).filter(|_| id.kind == WorkloadKind::Pod);
        let direct = match id.kind {
            WorkloadKind::StatefulSet => Some(Origin::StatefulSet(id.name.clone())),
            WorkloadKind::DaemonSet => Some(Origin::DaemonSet(id.name.clone())),
            WorkloadKind::Job => Some(Origin::Child(Child::Job(id.name.clone()))),
            WorkloadKind::Deployment | WorkloadKind::CronJob | WorkloadKind::Pod => None,
        };
        let children = self.children.get(id).into_iter().flatten().map(|child| Origin::Child(child.clone()));
        let names = direct.into_iter().chain(children).filter_map(|origin| self.by_origin.get(&origin)).flatten();
        let pods = names.filter_map(|name| self.known.get(name));
        own.into_iter().chain(pods).map(|(_, configuration)| configuration.as_deref())
    }

    /// How many pods were given settings as they were created.
    pub fn injected(&self) -> usize {
        self.known.values().filter(|(_, configuration)| configuration.is_some()).count()
    }

    fn root(&self, namespace: &str, name: &str, origin: &Origin) -> Option<WorkloadId> {
        let of = |kind, name: &str| WorkloadId { namespace: namespace.to_owned(), kind, name: name.to_owned() };
        match origin {
            Origin::StatefulSet(name) => Some(of(WorkloadKind::StatefulSet, name)),
            Origin::DaemonSet(name) => Some(of(WorkloadKind::DaemonSet, name)),
            Origin::Child(child) => match (self.parents.get(child)?, child) {
                (Some(parent), _) => Some(parent.clone()),
                (None, Child::Job(job)) => Some(of(WorkloadKind::Job, job)),
                (None, Child::ReplicaSet(_)) => None,
            },
            Origin::Own => Some(of(WorkloadKind::Pod, name)),
            Origin::Static => None,
        }
    }

    fn put(&mut self, pod: LivingPod) {
        self.remove(&pod.name);
        self.by_origin.entry(pod.origin.clone()).or_default().insert(pod.name.clone());
        if let Origin::Child(child @ Child::ReplicaSet(_)) = &pod.origin
            && !self.parents.contains_key(child)
        {
            self.waiting.insert(pod.name.clone(), pod.clone());
        }
        self.known.insert(pod.name, (pod.origin, pod.configuration));
    }

    fn remove(&mut self, name: &str) -> Option<Origin> {
        self.waiting.remove(name);
        let (origin, _) = self.known.remove(name)?;
        if let Some(names) = self.by_origin.get_mut(&origin) {
            names.remove(name);
            if names.is_empty() {
                self.by_origin.remove(&origin);
            }
        }
        Some(origin)
    }

    fn unlink(&mut self, child: &Child) -> Option<WorkloadId> {
        let parent = self.parents.remove(child)??;
        if let Some(children) = self.children.get_mut(&parent) {
            children.remove(child);
            if children.is_empty() {
                self.children.remove(&parent);
            }
        }
        Some(parent)
    }

    fn link(&mut self, child: Child, parent: Option<WorkloadId>) {
        if let Some(parent) = &parent {
            self.children.entry(parent.clone()).or_default().insert(child.clone());
        }
        self.parents.insert(child, parent);
    }

    /// Whether nothing is known.
    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty() && self.parents.is_empty()
    }
}

impl Namespace {
    /// The workload that a pod is about to belong to; none for static pods. What has made it may be newer than the index: then its name
    /// says whose it is.
    pub fn root(&self, name: &str, meta: &ObjectMeta) -> Option<Root> {
        let of =
            |kind, name: &str| WorkloadId { namespace: name_of(meta.namespace.as_ref()), kind, name: name.to_owned() };
        let known = |kind, name: &str| Some(of(kind, name)).filter(|id| self.workloads.contains_key(id));
        let own = || Root { id: of(WorkloadKind::Pod, name), called: called(meta) };
        let id = match Origin::of(meta) {
            Origin::Static => return None,
            Origin::Own => return Some(own()),
            Origin::StatefulSet(name) => of(WorkloadKind::StatefulSet, &name),
            Origin::DaemonSet(name) => of(WorkloadKind::DaemonSet, &name),
            Origin::Child(child) => match (self.pods.parents.get(&child), &child) {
                (Some(Some(parent)), _) => parent.clone(),
                (Some(None), Child::ReplicaSet(_)) => return Some(own()),
                (Some(None), Child::Job(job)) => of(WorkloadKind::Job, job),
                (None, Child::ReplicaSet(set)) => {
                    let deployment = without_hash(set, meta).and_then(|name| known(WorkloadKind::Deployment, name));
                    match deployment {
                        Some(deployment) => deployment,
                        None => return Some(own()),
                    }
                }
                (None, Child::Job(job)) => {
                    // The Jobs of a CronJob end in the minute for which they were made.
                    let minute = |minute: &str| minute.bytes().all(|byte| byte.is_ascii_digit());
                    let name = job.rsplit_once('-').filter(|(_, last)| minute(last)).map(|(name, _)| name);
                    let cron_job = name.and_then(|name| known(WorkloadKind::CronJob, name));
                    cron_job.unwrap_or_else(|| of(WorkloadKind::Job, job))
                }
            },
        };
        Some(Root { id, called: None })
    }
}

impl Index {
    pub(super) fn put_pod(&mut self, mut pod: LivingPod, dirty: &mut Dirty) {
        if pod.deleting {
            return self.drop_pod(&pod.namespace, &pod.name, dirty);
        }
        let pods = &self.namespace(&pod.namespace).pods;
        if let Origin::Child(child @ Child::ReplicaSet(_)) = &pod.origin
            && pods.parents.get(child) == Some(&None)
        {
            pod.origin = Origin::Own;
        }
        let state = (pod.origin.clone(), pod.configuration.clone());
        let is_same = pods.known.get(&pod.name) == Some(&state);
        let was_own = pods.known.get(&pod.name).is_some_and(|(origin, _)| *origin == Origin::Own);
        let is_own = pod.origin == Origin::Own;
        if !is_same {
            self.touch_pod(&pod.namespace, &pod.name, dirty);
        }
        if is_own {
            self.put_workload(pod.workload.clone(), dirty);
        } else if was_own {
            self.drop_workload(&pod.workload.id, dirty);
        }
        if !is_same {
            let (namespace, name) = (pod.namespace.clone(), pod.name.clone());
            self.namespace(&namespace).pods.put(pod);
            self.touch_pod(&namespace, &name, dirty);
        }
    }

    pub(super) fn drop_pod(&mut self, namespace: &str, name: &str, dirty: &mut Dirty) {
        self.touch_pod(namespace, name, dirty);
        let origin = self.namespace(namespace).pods.remove(name);
        if origin == Some(Origin::Own) {
            let namespace = namespace.to_owned();
            self.drop_workload(&WorkloadId { namespace, kind: WorkloadKind::Pod, name: name.to_owned() }, dirty);
        }
        self.forget(namespace);
    }

    pub(super) fn reset_pods(&mut self, source: &Source, pods: Vec<LivingPod>, dirty: &mut Dirty) {
        let listed: BTreeSet<(&str, &str)> = pods.iter().map(|pod| (&*pod.namespace, &*pod.name)).collect();
        let all = self.snapshot.namespaces.iter().filter(|(name, _)| source.covers(name));
        let all = all.flat_map(|(name, namespace)| namespace.pods.known.keys().map(move |pod| (name, pod)));
        let gone = all.filter(|(namespace, pod)| !listed.contains(&(namespace.as_str(), pod.as_str())));
        let gone: Vec<_> = gone.map(|(namespace, pod)| (namespace.clone(), pod.clone())).collect();
        for (namespace, pod) in gone {
            self.drop_pod(&namespace, &pod, dirty);
        }
        for pod in pods {
            self.put_pod(pod, dirty);
        }
        self.awaited.remove(source);
    }

    pub(super) fn put_child(&mut self, namespace: &str, child: Child, parent: Option<WorkloadId>, dirty: &mut Dirty) {
        let pods = &mut self.namespace(namespace).pods;
        if pods.parents.get(&child) == Some(&parent) {
            return;
        }
        dirty.reports.extend(pods.unlink(&child));
        dirty.reports.extend(parent.clone());
        let origin = Origin::Child(child.clone());
        pods.link(child, parent);
        // Pods of this ReplicaSet may be workloads of their own.
        let names = pods.by_origin.get(&origin).into_iter().flatten();
        let waiting: Vec<_> = names.filter_map(|name| pods.waiting.get(name).cloned()).collect();
        for pod in waiting {
            self.namespace(namespace).pods.waiting.remove(&pod.name);
            self.put_pod(pod, dirty);
        }
    }

    pub(super) fn drop_child(&mut self, namespace: &str, child: &Child, dirty: &mut Dirty) {
        dirty.reports.extend(self.namespace(namespace).pods.unlink(child));
        self.forget(namespace);
    }

    pub(super) fn reset_children(
        &mut self,
        source: &Source,
        children: Vec<(String, Child, Option<WorkloadId>)>,
        dirty: &mut Dirty,
    ) {
        let listed: BTreeSet<(&str, &Child)> = children.iter().map(|(place, child, _)| (&**place, child)).collect();
        let is_meant = |child: &Child| match child {
            Child::ReplicaSet(_) => source.watched == Watched::ReplicaSets,
            Child::Job(_) => source.watched == Watched::JobOwners,
        };
        let all = self.snapshot.namespaces.iter().filter(|(name, _)| source.covers(name));
        let all = all.flat_map(|(name, namespace)| namespace.pods.parents.keys().map(move |child| (name, child)));
        let gone = all.filter(|(name, child)| is_meant(child) && !listed.contains(&(name.as_str(), *child)));
        let gone: Vec<_> = gone.map(|(name, child)| (name.clone(), child.clone())).collect();
        for (namespace, child) in gone {
            self.drop_child(&namespace, &child, dirty);
        }
        for (namespace, child, parent) in children {
            self.put_child(&namespace, child, parent, dirty);
        }
        self.awaited.remove(source);
    }

    /// The workload of a pod has something else to say.
    fn touch_pod(&self, namespace: &str, name: &str, dirty: &mut Dirty) {
        let pods = self.snapshot.namespaces.get(namespace).map(|known| &known.pods);
        let root = pods.and_then(|pods| pods.root(namespace, name, &pods.known.get(name)?.0));
        dirty.reports.extend(root);
    }
}

fn controller(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

fn group(owner: &OwnerReference) -> &str {
    owner.api_version.split_once('/').map_or("", |(group, _)| group)
}

fn name_of(name: Option<&String>) -> String {
    name.cloned().unwrap_or_default()
}

/// What the service of a pod is called that is nobody's, or somebody's who is not known: by its controller, or by what its own name
/// was made from. The name itself is another one with each pod.
pub(super) fn called(meta: &ObjectMeta) -> Option<String> {
    if let Some(owner) = controller(meta) {
        return Some(without_hash(&owner.name, meta).unwrap_or(&owner.name).to_owned());
    }
    let made_from = meta.generate_name.as_deref()?.trim_end_matches(['-', '.']);
    (!made_from.is_empty()).then(|| made_from.to_owned())
}

/// The name of a ReplicaSet without the hash of its template.
fn without_hash<'a>(name: &'a str, meta: &ObjectMeta) -> Option<&'a str> {
    let labels = meta.labels.as_ref()?;
    TEMPLATE_HASHES.iter().find_map(|label| name.strip_suffix(labels.get(*label)?.as_str())?.strip_suffix('-'))
}
