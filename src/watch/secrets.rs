//! A look at a Secret: does it exist, does it have the key? Values are skipped while parsing, but for those that a
//! collector will send: they are decoded into a buffer that lives only for the check, and is overwritten after it.

use std::collections::HashMap;

use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Api, Client, Resource};
use serde::{Deserialize, Deserializer, de::IgnoredAny};
use zeroize::Zeroizing;

use crate::{
    api::HEADERS_KEY,
    index::{SecretId, SecretKeyId, SecretState},
    plan::collector::is_sendable,
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

/// A Secret of which only the keys are kept, each with whether its value can be sent as a header by a collector.
#[derive(Clone, Debug, Deserialize, Resource)]
#[resource(inherit = Secret)]
struct JudgedSecret {
    #[serde(default)]
    metadata: ObjectMeta,
    #[serde(default)]
    data: HashMap<String, Judged>,
}

#[derive(Clone, Copy, Debug)]
struct Judged {
    is_sendable: bool,
}

impl<'de> Deserialize<'de> for Judged {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Zeroizing::new(ByteString::deserialize(deserializer)?.0);
        Ok(Self { is_sendable: is_sendable(&value) })
    }
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

/// Looks at one key of a Secret by name, as the value of a collector's header.
///
/// # Errors
/// As of [`look_at`].
pub async fn look_at_key(client: &Client, id: &SecretKeyId) -> Result<SecretState, SecretError> {
    let api: Api<JudgedSecret> = Api::namespaced(client.clone(), &id.namespace);
    match api.get_opt(&id.name).await {
        Ok(None) => Ok(SecretState::NotFound),
        Ok(Some(secret)) => Ok(match secret.data.get(&id.key) {
            None => SecretState::KeyMissing,
            Some(Judged { is_sendable: true }) => SecretState::Present,
            Some(Judged { is_sendable: false }) => SecretState::Unsendable,
        }),
        Err(kube::Error::Api(status)) if status.code == 403 => Ok(SecretState::Unverified),
        Err(source) => Err(SecretError { namespace: id.namespace.clone(), name: id.name.clone(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_each_value_only_the_judgement_is_kept() {
        let read: JudgedSecret =
            serde_json::from_str(r#"{"metadata": {}, "data": {"a": "JHtlbnY6SE9NRX0=", "b": "YWJj"}}"#).unwrap();
        assert!(!read.data["a"].is_sendable && read.data["b"].is_sendable);
    }
}
