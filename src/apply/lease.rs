//! The Lease of the election: read and written as a whole, and only in place of what was read.

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};

use crate::api::MANAGER_OWNED;

/// The Lease in one namespace. It is written by who wants to lead, and so before anybody leads.
#[derive(Clone, Debug)]
pub struct Leases {
    api: Api<Lease>,
    name: &'static str,
}

impl Leases {
    /// The Lease of this name.
    pub fn new(client: Client, namespace: &str, name: &'static str) -> Self {
        Self { api: Api::namespaced(client, namespace), name }
    }

    /// What is there now.
    ///
    /// # Errors
    /// Where the API server does not answer, or not with a Lease.
    pub async fn read(&self) -> Result<Option<Lease>, kube::Error> {
        self.api.get_opt(self.name).await
    }

    /// Writes a Lease in place of this one, and of no later one; makes it where there was none.
    ///
    /// # Errors
    /// 409 where somebody else was faster.
    pub async fn write(&self, present: Option<&Lease>, spec: LeaseSpec) -> Result<Lease, kube::Error> {
        let parameters = PostParams { field_manager: Some(MANAGER_OWNED.to_owned()), ..PostParams::default() };
        if let Some(present) = present {
            // With its version. Labels and annotations of others stay.
            let next = Lease { spec: Some(spec), ..present.clone() };
            return self.api.replace(self.name, &parameters, &next).await;
        }
        let metadata = ObjectMeta { name: Some(self.name.to_owned()), ..ObjectMeta::default() };
        self.api.create(&parameters, &Lease { metadata, spec: Some(spec) }).await
    }
}
