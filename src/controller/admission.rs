//! What the leader keeps in the cluster for the webhook: its authority, and the configuration by which the API server finds it.

use std::time::Duration;

use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::Api;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::{Context, Outcome, reconcile::Reconciled};
use crate::{
    admission::{Admission, Managed, Origin, authority, secret},
    apply::{ApplyError, apply_authority, apply_configuration},
    plan::admission::Hook,
};

/// When somebody who lacks a right is tried again.
const DENIED: Duration = Duration::from_secs(300);

/// Why the webhook is not as it should be.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Apply(#[from] ApplyError),
    #[error("no authority can be made: {0}")]
    Certificate(#[from] authority::CertificateError),
}

impl From<kube::Error> for Trouble {
    fn from(error: kube::Error) -> Self {
        Self::Apply(error.into())
    }
}

/// Looks at everything, and writes what differs.
pub(super) async fn reconcile(context: &Context) -> Reconciled {
    let Some(admission) = context.admission.as_deref().filter(|_| context.leads()) else {
        return Reconciled::new(Outcome::Done, None);
    };
    let outcome = match keep(context, admission).await {
        Ok(()) => {
            admission.is_denied(false);
            Outcome::Again(admission.period())
        }
        Err(Trouble::Apply(ApplyError::Forbidden(message))) => {
            if admission.is_denied(true) {
                tracing::warn!(message, "the webhook is not set up: a right is missing (or --manage-admission=false)");
            }
            Outcome::Again(DENIED)
        }
        Err(error) => {
            tracing::warn!(%error, "the webhook is not as it should be; trying again");
            Outcome::Failed
        }
    };
    Reconciled::new(outcome, None)
}

async fn keep(context: &Context, admission: &Admission) -> Result<(), Trouble> {
    let bundle = match &admission.options().origin {
        Origin::Own { namespace, lifetimes } => Some(authority(context, admission, namespace, *lifetimes).await?),
        Origin::Mounted(_) => admission.mounted_bundle(),
    };
    let Some((reach, managed)) = &admission.options().managed else { return Ok(()) };
    // Nobody is sent to a door that is still closed.
    if !admission.is_loaded() || !context.leads() {
        return Ok(());
    }
    let owner = owner(context, managed).await?;
    let hook = Hook { reach, bundle: bundle.as_deref(), timeout: managed.timeout, owner: owner.as_ref() };
    if apply_configuration(&context.client, &hook.validating()).await? {
        tracing::info!("the configuration of the webhook was written");
    }
    Ok(())
}

/// Brings the Secret to what it should be; returns the authorities to be trusted.
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
            apply_authority(&context.client, namespace, found.as_ref(), &material).await?;
            tracing::info!(namespace, secret = secret::SECRET, why, "the authority of the webhook was written");
            material
        }
        (None, Some(found)) => found.material,
        (None, None) => return Ok(String::new()),
    };
    admission.take(&material)?;
    Ok(material.bundle)
}

/// The ClusterRole that the configurations go with; none where there is no such role, or no right to look.
async fn owner(context: &Context, managed: &Managed) -> Result<Option<Value>, Trouble> {
    let Some(name) = &managed.owner else { return Ok(None) };
    let roles: Api<ClusterRole> = Api::all(context.client.clone());
    let uid = match roles.get_metadata_opt(name).await {
        Ok(role) => role.and_then(|role| role.metadata.uid),
        Err(kube::Error::Api(status)) if status.code == 403 => None,
        Err(error) => return Err(error.into()),
    };
    Ok(uid.map(
        |uid| json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "name": name, "uid": uid}),
    ))
}
