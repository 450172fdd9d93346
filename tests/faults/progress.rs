//! How many Deployments roll out at the same time, from a watch: each state that the API server had, and none in between.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::StreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use kube::runtime::watcher::{self, Event, watcher};
use tokio::task::JoinHandle;

use crate::fixtures::World;

/// Looks at the Deployments of a namespace until it is dropped.
pub(crate) struct Progress {
    most: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Progress {
    /// Begins to look. Nobody else may change these Deployments: whatever rolls out is taken for the operator's doing.
    pub(crate) fn watch(world: &World<'_>) -> Self {
        let api: Api<Deployment> = Api::namespaced(world.client.clone(), &world.namespace);
        let most = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&most);
        let task = tokio::spawn(async move {
            let mut rolling: BTreeMap<String, bool> = BTreeMap::new();
            let mut events = Box::pin(watcher(api, watcher::Config::default()));
            while let Some(event) = events.next().await {
                let Ok(Event::Apply(object) | Event::InitApply(object)) = event else { continue };
                rolling.insert(object.metadata.name.clone().unwrap_or_default(), rolls(&object));
                seen.fetch_max(rolling.values().filter(|rolls| **rolls).count(), Ordering::Relaxed);
            }
        });
        Self { most, task }
    }

    /// The most that ever were in progress at the same time.
    pub(crate) fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Whether it is in progress: not all is seen, or updated, or available.
fn rolls(object: &Deployment) -> bool {
    let wanted = object.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let status = object.status.clone().unwrap_or_default();
    let least = status.updated_replicas.unwrap_or(0).min(status.available_replicas.unwrap_or(0));
    status.observed_generation != object.metadata.generation || least < wanted
}
