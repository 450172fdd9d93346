//! Objects that the operator makes for collectors: applied, never taken over, deleted only as the object that is meant.

use kube::{
    Api,
    api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams, Preconditions},
};
use serde_json::{Value, json};

use super::{ApplyError, Writer};
use crate::{
    api::MANAGER_OWNED,
    index::{Change, Collector, Contested, LiveObject, MANAGED_BY, MANAGED_BY_LABEL, OwnedKind},
    plan::collector::converge::{Application, answered, applied, is_as_meant, is_own},
    watch::{owned_api, owned_from},
};

/// What came of an object that was to be applied.
#[derive(Debug, Default)]
pub struct Applied {
    /// What was learnt.
    pub changes: Vec<Change>,
    /// Whether anything was written.
    pub was_written: bool,
    /// Whether it has to be looked at again, because nothing will be heard of it: it is about to go.
    pub is_going: bool,
}

impl Applied {
    fn learnt(live: LiveObject) -> Self {
        Self { changes: vec![Change::Owned(live)], ..Self::default() }
    }

    fn going() -> Self {
        Self { is_going: true, ..Self::default() }
    }
}

/// Applies an object of a collector; no change where it is as it should be already.
///
/// An object of this name that is somebody else's is left alone. One that the index does not know is looked for first: it
/// may be somebody else's, or have lost the label by which it is watched. A workload of ours that is found in this way says
/// by its annotations what it is to run, so it is only learnt of: the caller plans again.
///
/// # Errors
/// See [`ApplyError`].
pub async fn apply_owned(
    writer: &Writer,
    collector: &Collector,
    application: &Application,
) -> Result<Applied, ApplyError> {
    let (id, mut manifest) = (&application.object.id, application.object.manifest.clone());
    let api = owned_api(writer.client(), id.kind, Some(&id.collector.namespace));
    let live = match &application.live {
        Some(live) => Some(live.clone()),
        None => api.get_opt(&id.name).await?.and_then(|object| owned_from(id.kind, object)),
    };
    if let Some(live) = &live {
        check_owner(collector, live)?;
        if live.is_deleting() {
            return Ok(Applied::going());
        }
        if is_as_meant(&live.value, &manifest) {
            return Ok(Applied::default());
        }
        if application.is_new_workload() {
            return Ok(Applied::learnt(live.clone()));
        }
        // A name that was freed and taken meanwhile is another object.
        if let Some(uid) = &live.uid {
            manifest["metadata"]["uid"] = Value::String(uid.clone());
        }
    }
    let params = PatchParams::apply(MANAGER_OWNED);
    // What is only now made can conflict with nobody.
    let params = if live.is_some() { params.force() } else { params };
    let mut answer = api.patch(&id.name, &params, &Patch::Apply(&manifest)).await;
    if has_code(&answer, 422) && id.kind == OwnedKind::Service {
        // Ports are merged by their number: where somebody has changed one, theirs stays beside ours, and both have one name.
        let ports =
            json!({"metadata": {"uid": manifest["metadata"]["uid"]}, "spec": {"ports": manifest["spec"]["ports"]}});
        let replaced = PatchParams { field_manager: Some(MANAGER_OWNED.to_owned()), ..PatchParams::default() };
        api.patch(&id.name, &replaced, &Patch::Merge(&ports)).await?;
        answer = api.patch(&id.name, &params, &Patch::Apply(&manifest)).await;
    }
    let sealed = live.as_ref().filter(|live| is_sealed_otherwise(&live.value, &manifest));
    if let Some(live) = sealed.filter(|_| has_code(&answer, 422)) {
        // Nothing can change it any more, so that it is made anew.
        let gone = delete_owned(writer, live).await?;
        if let Change::OwnedWritten(_) = gone {
            return Ok(Applied { changes: vec![gone], was_written: true, is_going: true });
        }
        let anew = &application.object.manifest;
        let made = api.patch(&id.name, &PatchParams::apply(MANAGER_OWNED), &Patch::Apply(anew)).await;
        let made = owned_from(id.kind, made?).map(Change::OwnedWritten);
        return Ok(Applied { changes: [gone].into_iter().chain(made).collect(), was_written: true, is_going: false });
    }
    if let Some(known) = live.as_ref().filter(|_| has_code(&answer, 409)) {
        let now = api.get_opt(&id.name).await?;
        if now.and_then(|object| object.metadata.uid) != known.uid {
            // Without its label nobody says that an object is gone.
            let gone = Change::OwnedGone(known.id.clone(), known.uid.clone());
            return Ok(Applied { changes: vec![gone], ..Applied::default() });
        }
    }
    let Some(written) = owned_from(id.kind, answer?) else { return Ok(Applied::default()) };
    let meant = &application.object.manifest;
    let contested = applied(meant)
        .filter(|_| !is_as_meant(&written.value, meant))
        .map(|sent| Contested { sent: sent.to_owned(), answered: answered(&written.value, meant) });
    if contested.is_some() {
        let (kind, name) = (id.kind.as_str(), id.name.as_str());
        tracing::warn!(kind, name, "something on the way to the API server changes this object; it is left at that");
    }
    let contested = contested.map(|contested| Change::Contested(id.clone(), contested));
    let changes = contested.into_iter().chain([Change::OwnedWritten(written)]).collect();
    Ok(Applied { changes, was_written: true, is_going: false })
}

fn has_code<T>(answer: &Result<T, kube::Error>, code: u16) -> bool {
    matches!(answer, Err(kube::Error::Api(status)) if status.code == code)
}

/// Whether this is an immutable ConfigMap with other data than those that are meant.
fn is_sealed_otherwise(live: &Value, manifest: &Value) -> bool {
    live["kind"] == "ConfigMap" && live["immutable"] == true && live["data"] != manifest["data"]
}

fn check_owner(collector: &Collector, live: &LiveObject) -> Result<(), ApplyError> {
    let what = format!("{} {}", live.id.kind.as_str(), live.id.name);
    if is_own(collector, live) {
        return Ok(());
    }
    if live.owner.is_some() && live.id.collector == collector.id {
        return Err(ApplyError::Predecessor(what));
    }
    Err(ApplyError::NameTaken(what))
}

/// Deletes an object of a collector, and no other of its name.
///
/// # Errors
/// See [`ApplyError`]; that it is gone is none.
pub async fn delete_owned(writer: &Writer, live: &LiveObject) -> Result<Change, ApplyError> {
    let api = owned_api(writer.client(), live.id.kind, Some(&live.id.collector.namespace));
    let preconditions = Preconditions { uid: live.uid.clone(), resource_version: None };
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
    let gone = || Change::OwnedGone(live.id.clone(), live.uid.clone());
    match api.delete(&live.id.name, &params).await {
        Ok(either) => {
            let left = either.left().and_then(|object| owned_from(live.id.kind, object));
            let left = left.filter(LiveObject::is_deleting);
            Ok(left.map_or_else(gone, Change::OwnedWritten))
        }
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(gone()),
        Err(error) => Err(error.into()),
    }
}

/// Brings the cluster-wide binding of collectors that look up their senders to what it should be: applied, or deleted where
/// no collector needs it. Says whether anything was written.
///
/// # Errors
/// See [`ApplyError`].
pub async fn apply_binding(writer: &Writer, name: &str, wanted: Option<&Value>) -> Result<bool, ApplyError> {
    let kind = GroupVersionKind::gvk("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding");
    let api: Api<DynamicObject> = Api::all_with(writer.client(), &ApiResource::from_gvk(&kind));
    let live = api.get_opt(name).await?;
    let is_ours = |object: &DynamicObject| {
        object.metadata.labels.as_ref().and_then(|labels| labels.get(MANAGED_BY_LABEL)).map(String::as_str)
            == Some(MANAGED_BY)
    };
    if live.as_ref().is_some_and(|live| !is_ours(live)) {
        // Without a wish there is nothing to complain about either.
        return wanted.map_or(Ok(false), |_| Err(ApplyError::NameTaken(format!("ClusterRoleBinding {name}"))));
    }
    match (wanted, live) {
        (None, None) => Ok(false),
        (None, Some(live)) => {
            let preconditions = Preconditions { uid: live.metadata.uid, resource_version: None };
            api.delete(name, &DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() }).await?;
            Ok(true)
        }
        (Some(wanted), live) => {
            let live = live.and_then(|live| serde_json::to_value(live).ok());
            if live.is_some_and(|live| is_as_meant(&live, wanted)) {
                return Ok(false);
            }
            api.patch(name, &PatchParams::apply(MANAGER_OWNED).force(), &Patch::Apply(wanted)).await?;
            Ok(true)
        }
    }
}
