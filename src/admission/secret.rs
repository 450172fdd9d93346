//! The Secret of the authority, as it is read: every replica gets it by name, the leader alone writes it.

use std::collections::HashMap;

use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Api, Client, Resource};
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use super::authority::Material;

/// Its name.
pub const SECRET: &str = "tracesteward-webhook-ca";

/// The Secret; what it holds is overwritten when it is dropped, and never printed.
#[derive(Clone, Debug, Deserialize, Resource)]
#[resource(inherit = Secret)]
struct AuthoritySecret {
    #[serde(default)]
    metadata: ObjectMeta,
    #[serde(default, rename = "type")]
    type_: Option<String>,
    #[serde(default)]
    data: Option<HashMap<String, Hidden>>,
}

#[derive(Clone)]
struct Hidden(Zeroizing<Vec<u8>>);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("...")
    }
}

impl<'de> Deserialize<'de> for Hidden {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Zeroizing::new(ByteString::deserialize(deserializer)?.0)))
    }
}

/// The Secret as it was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// What is in it; empty where it is not text.
    pub material: Material,
    /// Which one it is.
    pub uid: Option<String>,
    /// What version of it.
    pub version: Option<String>,
    /// Its type, which nobody can change.
    pub type_: Option<String>,
}

/// Gets the Secret, if it is there.
///
/// # Errors
/// Where the API server does not answer, or does not allow it.
pub async fn read(client: &Client, namespace: &str) -> Result<Option<Found>, kube::Error> {
    let api: Api<AuthoritySecret> = Api::namespaced(client.clone(), namespace);
    Ok(api.get_opt(SECRET).await?.map(found))
}

fn found(secret: AuthoritySecret) -> Found {
    let data = secret.data.unwrap_or_default();
    let text = |key: &str| data.get(key).and_then(|value| std::str::from_utf8(&value.0).ok()).unwrap_or_default();
    let material = Material {
        certificate: text("tls.crt").to_owned(),
        key: Zeroizing::new(text("tls.key").to_owned()),
        bundle: text("ca.crt").to_owned(),
    };
    Found { material, uid: secret.metadata.uid, version: secret.metadata.resource_version, type_: secret.type_ }
}
