//! A look at a headers Secret: does it exist, does it have the key? Values are skipped while parsing.

use std::collections::HashMap;

use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Api, Client, Resource};
use serde::{Deserialize, de::IgnoredAny};

use crate::{
    api::HEADERS_KEY,
    index::{SecretId, SecretState},
};

/// A Secret of which only the keys are kept.
#[derive(Clone, Debug, Deserialize, Resource)]
#[resource(inherit = Secret)]
struct SecretKeys {
    #[serde(default)]
    metadata: ObjectMeta,
    #[serde(default)]
    #[allow(clippy::zero_sized_map_values, reason = "a map is what serde reads; its values are skipped")]
    data: HashMap<String, IgnoredAny>,
}

/// Why a Secret could not be looked at.
#[derive(Debug, thiserror::Error)]
#[error("cannot look at Secret {namespace}/{name}: {source}")]
pub struct SecretError {
    namespace: String,
    name: String,
    source: kube::Error,
}

/// Looks at one Secret by name.
///
/// # Errors
/// Where the API server does not answer; not being allowed to look is an answer ([`SecretState::Unverified`]).
pub async fn look_at(client: &Client, id: &SecretId) -> Result<SecretState, SecretError> {
    let api: Api<SecretKeys> = Api::namespaced(client.clone(), &id.namespace);
    match api.get_opt(&id.name).await {
        Ok(None) => Ok(SecretState::NotFound),
        Ok(Some(secret)) if secret.data.contains_key(HEADERS_KEY) => Ok(SecretState::Present),
        Ok(Some(_)) => Ok(SecretState::KeyMissing),
        Err(kube::Error::Api(status)) if status.code == 403 => Ok(SecretState::Unverified),
        Err(source) => Err(SecretError { namespace: id.namespace.clone(), name: id.name.clone(), source }),
    }
}
