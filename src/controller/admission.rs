//! What the leader keeps in the cluster for admission: the authority of the webhook, the configurations by which the API server
//! finds it, and the policy that repairs workloads.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use clap::ValueEnum;
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::{Api, Client};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::{Context, Outcome, reconcile::Reconciled};
use crate::{
    admission::{Admission, Origin, authority, secret},
    apply::{ApplyError, apply_authority, apply_configuration, delete_configuration},
    index::{Change, PodHook},
    plan::{
        admission::{Hook, MUTATING, NAME, PODS, VALIDATING, WEBHOOKS, repairing},
        pod::namespaces,
        repair::POLICY_NAME,
    },
};

/// When somebody who lacks a right is tried again.
const DENIED: Duration = Duration::from_secs(300);
/// When a policy that the API server refused is tried again: it may have been upgraded.
const REFUSED: Duration = Duration::from_secs(3600);
/// How long an API server may take to follow what was written.
const SETTLE: Duration = Duration::from_secs(1);
/// How often somebody looks whether everything is still there.
const PERIOD: Duration = Duration::from_secs(30);
/// The versions in which the API server may serve admission policies that mutate, the best first.
const POLICIES: [&str; 2] = ["admissionregistration.k8s.io/v1", "admissionregistration.k8s.io/v1beta1"];

/// How updates of workloads are repaired that would fail because of the operator's variables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Repair {
    /// By a policy in the API server where it has that API and accepts the policy, else by the webhook.
    #[default]
    Auto,
    /// By a policy.
    Policy,
    /// By the webhook.
    Webhook,
}

/// What is kept in the cluster.
#[derive(Clone, Debug, Default)]
pub struct Managed {
    /// The ClusterRole with which everything goes when the operator is uninstalled.
    pub owner: Option<String>,
    /// How workloads are repaired.
    pub repair: Repair,
}

/// What the leader was told to keep, and whether it lacks a right for that, which is said once.
pub(crate) struct Keeper {
    managed: Option<Managed>,
    own_namespace: String,
    is_denied: AtomicBool,
    /// When the API server last refused the policy.
    refused: Mutex<Option<Instant>>,
}

impl Keeper {
    pub(super) fn new(managed: Option<Managed>, own_namespace: Option<&str>) -> Self {
        let own_namespace = own_namespace.unwrap_or_default().to_owned();
        Self { managed, own_namespace, is_denied: AtomicBool::new(false), refused: Mutex::default() }
    }

    /// Whether the API server has refused the policy, and not so long ago that it may be a newer one by now.
    fn is_refused(&self) -> bool {
        self.refused().is_some_and(|at| at.elapsed() < REFUSED)
    }

    fn refused(&self) -> MutexGuard<'_, Option<Instant>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Said once, and tried again later.
    fn note_refusal(&self, version: &str, why: &str) {
        if self.refused().replace(Instant::now()).is_none() {
            tracing::warn!(
                version,
                why,
                "the API server refuses the admission policy: the webhook repairs workloads instead"
            );
        }
    }
}

/// Why something is not as it should be.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Apply(#[from] ApplyError),
    #[error("no authority can be made: {0}")]
    Certificate(#[from] authority::CertificateError),
}

impl Trouble {
    const fn is_forbidden(&self) -> bool {
        matches!(self, Self::Apply(ApplyError::Forbidden(_)))
    }
}

impl From<kube::Error> for Trouble {
    fn from(error: kube::Error) -> Self {
        Self::Apply(error.into())
    }
}

/// Looks at everything, and writes what differs.
pub(super) async fn reconcile(context: &Context) -> Reconciled {
    let (admission, keeper) = (context.admission.as_deref(), &context.keeper);
    if !context.leads() || admission.is_none() && keeper.managed.is_none() {
        return Reconciled::new(Outcome::Done, None);
    }
    let mut changes = Vec::new();
    let outcome = match keep(context, admission).await {
        Ok(hook) => {
            keeper.is_denied.store(false, Ordering::Relaxed);
            let period = admission.map_or(PERIOD, Admission::period);
            let is_settling = hook == Hooked::Written;
            if let Hooked::Known(hook) = hook {
                changes.push(Change::Hook(hook));
            }
            Outcome::Again(if is_settling { SETTLE.min(period) } else { period })
        }
        Err(Trouble::Apply(ApplyError::NotLeading)) => Outcome::Done,
        Err(Trouble::Apply(error @ ApplyError::Forbidden(_))) => {
            if !keeper.is_denied.swap(true, Ordering::Relaxed) {
                tracing::warn!(%error, "admission is not set up: a right is missing (or --manage-admission=false)");
            }
            // Nobody is to wait for it.
            changes.push(Change::Hook(PodHook::Off));
            // What there is a right for is looked after as ever.
            Outcome::Again(admission.map_or(DENIED, |admission| admission.period().max(PERIOD)))
        }
        Err(error) => {
            tracing::warn!(%error, "admission is not as it should be; trying again");
            Outcome::Failed
        }
    };
    Reconciled::new(outcome, changes)
}

/// What is known of where pods are looked at.
#[derive(Debug, PartialEq, Eq)]
enum Hooked {
    /// Nothing.
    Unknown,
    /// It was written just now: the API server takes a moment to follow.
    Written,
    /// This, for some time.
    Known(PodHook),
}

/// One part that fails holds up no other. Says where pods are looked at now.
async fn keep(context: &Context, admission: Option<&Admission>) -> Result<Hooked, Trouble> {
    let bundle = match admission {
        Some(admission) => bundle(context, admission).await.map(Some),
        None => Ok(None),
    };
    let (bundle, authorized) = match bundle {
        Ok(bundle) => (bundle, Ok(())),
        Err(error) => (None, Err(error)),
    };
    if let Some(admission) = admission {
        admission.note_leader(authorized.as_ref().err().filter(|error| error.is_forbidden()).map(ToString::to_string));
    }
    let Some(managed) = context.keeper.managed.as_ref().filter(|_| context.leads()) else {
        return authorized.map(|()| Hooked::Unknown);
    };
    // Written without its owner, a configuration would outlive the operator.
    let (owner, looked_up) = match owner(&context.client, managed).await {
        Ok(owner) => (owner, Ok(())),
        Err(error) => (None, Err(error)),
    };
    // Nobody is sent to a door that is still closed.
    let loaded = admission.filter(|admission| admission.is_loaded() && bundle.is_some() && looked_up.is_ok());
    let reach = loaded.and_then(|admission| Some((admission, admission.options().reach.as_ref()?)));
    let hook = reach.map(|(admission, reach)| Hook {
        reach,
        bundle: bundle.as_ref().and_then(Option::as_deref),
        timeout: admission.options().timeout,
        owner: owner.as_ref(),
    });
    let validated = match &hook {
        Some(hook) => write(context, &hook.validating()).await.map(drop),
        // Nobody serves it, and nobody is about to.
        None if admission.is_none() && !context.keeper.own_namespace.is_empty() => {
            let removed = remove(context, WEBHOOKS, VALIDATING, NAME).await;
            removed
                .and(remove(context, WEBHOOKS, MUTATING, NAME).await)
                .and(remove(context, WEBHOOKS, MUTATING, PODS).await)
        }
        None => Ok(()),
    };
    let hooked = match &hook {
        Some(hook) => pods(context, hook).await,
        None => Ok(Hooked::Unknown),
    };
    if looked_up.is_err() {
        return authorized.and(validated).and(looked_up).and(hooked);
    }
    let repaired = repair(context, managed.repair, hook.as_ref(), owner.as_ref()).await;
    authorized.and(validated).and(repaired).and(hooked)
}

/// Has pods looked at in exactly the namespaces where policies want that.
async fn pods(context: &Context, hook: &Hook<'_>) -> Result<Hooked, Trouble> {
    let namespaces: BTreeSet<String> = {
        let index = context.index();
        namespaces(index.snapshot())
    };
    if namespaces.is_empty() {
        remove(context, WEBHOOKS, MUTATING, PODS).await?;
    } else if write(context, &hook.pods(&namespaces)).await? {
        return Ok(Hooked::Written);
    }
    Ok(Hooked::Known(PodHook::In(namespaces)))
}

/// Says whether anything was written.
async fn write(context: &Context, wanted: &Value) -> Result<bool, Trouble> {
    let is_written = context.leads() && apply_configuration(&context.writer, wanted).await?;
    if is_written {
        tracing::info!(kind = wanted["kind"].as_str(), name = wanted["metadata"]["name"].as_str(), "written");
    }
    Ok(is_written)
}

async fn remove(context: &Context, api_version: &str, kind: &str, name: &str) -> Result<(), Trouble> {
    if context.leads() && delete_configuration(&context.writer, api_version, kind, name).await? {
        tracing::info!(kind, name, "deleted");
    }
    Ok(())
}

/// The policy, or the webhook behind its conditions, and never both.
async fn repair(context: &Context, how: Repair, hook: Option<&Hook<'_>>, owner: Option<&Value>) -> Result<(), Trouble> {
    let served = policy_version(&context.client).await?;
    let own_namespace = &context.keeper.own_namespace;
    let is_meant = how == Repair::Policy || how == Repair::Auto && !context.keeper.is_refused();
    if let Some(version) = served.filter(|_| is_meant) {
        match write_policy(context, version, owner).await {
            Ok(()) => return remove(context, WEBHOOKS, MUTATING, NAME).await,
            // An earlier version of Kubernetes may serve the kind and not know all that the policy is written in.
            Err(Trouble::Apply(ApplyError::Refused(why))) if how == Repair::Auto => {
                context.keeper.note_refusal(version, &why);
            }
            Err(error) => return Err(error),
        }
    }
    if let Some(hook) = hook.filter(|_| how != Repair::Policy) {
        write(context, &hook.mutating(own_namespace)).await?;
        for kind in served.iter().flat_map(|_| ["MutatingAdmissionPolicyBinding", "MutatingAdmissionPolicy"]) {
            remove(context, served.unwrap_or_default(), kind, POLICY_NAME).await?;
        }
    }
    Ok(())
}

async fn write_policy(context: &Context, version: &str, owner: Option<&Value>) -> Result<(), Trouble> {
    for object in repairing(version, &context.keeper.own_namespace, owner) {
        write(context, &object).await?;
    }
    *context.keeper.refused() = None;
    Ok(())
}

/// The version in which this API server has admission policies that mutate: asked, not guessed from its own version.
async fn policy_version(client: &Client) -> Result<Option<&'static str>, Trouble> {
    for version in POLICIES {
        match client.list_api_group_resources(version).await {
            Ok(list) if list.resources.iter().any(|resource| resource.name == "mutatingadmissionpolicies") => {
                return Ok(Some(version));
            }
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

/// The authorities to be trusted, where the operator knows them.
async fn bundle(context: &Context, admission: &Admission) -> Result<Option<String>, Trouble> {
    match &admission.options().origin {
        Origin::Own { namespace, lifetimes } => authority(context, admission, namespace, *lifetimes).await.map(Some),
        Origin::Mounted(_) => Ok(admission.mounted_bundle()),
    }
}

/// Brings the Secret to what it should be; returns the authorities in it.
async fn authority(
    context: &Context,
    admission: &Admission,
    namespace: &str,
    lifetimes: authority::Lifetimes,
) -> Result<String, Trouble> {
    let found = secret::read(&context.client, namespace).await?;
    let present = found.as_ref().map(|found| &found.material);
    let next = authority::replacement(present, lifetimes, OffsetDateTime::now_utc())?;
    let material = match (next, found) {
        (Some((material, why)), found) => {
            apply_authority(&context.writer, namespace, found.as_ref(), &material).await?;
            tracing::info!(namespace, secret = secret::SECRET, why, "the authority of the webhook was written");
            material
        }
        (None, Some(found)) => found.material,
        (None, None) => return Ok(String::new()),
    };
    admission.take(&material)?;
    Ok(material.bundle)
}

/// The ClusterRole that everything goes with; none where there is no such role, or no right to look.
async fn owner(client: &Client, managed: &Managed) -> Result<Option<Value>, Trouble> {
    let Some(name) = &managed.owner else { return Ok(None) };
    let roles: Api<ClusterRole> = Api::all(client.clone());
    let uid = match roles.get_metadata_opt(name).await {
        Ok(role) => role.and_then(|role| role.metadata.uid),
        Err(kube::Error::Api(status)) if status.code == 403 => None,
        Err(error) => return Err(error.into()),
    };
    let owner =
        |uid| json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "name": name, "uid": uid});
    Ok(uid.map(owner))
}
