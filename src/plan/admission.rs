//! What the API server is told about the webhook: configurations as they are applied. Pure.

use std::collections::BTreeSet;

use k8s_openapi::ByteString;
use serde_json::{Value, json};

use super::{
    collector::converge::noted,
    repair::{match_conditions, policies, rules},
};
use crate::{
    api::{GROUP, VERSION, crds},
    index::{MANAGED_BY, MANAGED_BY_LABEL},
};

/// The name of every object of the cluster that the operator keeps for admission.
pub const NAME: &str = "tracesteward";

/// The name of the configuration behind which pods are looked at as they are created.
pub const PODS: &str = "tracesteward-pods";

/// The kind of the configuration behind which policies and collectors are looked at.
pub const VALIDATING: &str = "ValidatingWebhookConfiguration";

/// The kind of the configuration behind which workloads are repaired where the API server cannot do it alone.
pub const MUTATING: &str = "MutatingWebhookConfiguration";

/// The version of webhook configurations.
pub const WEBHOOKS: &str = "admissionregistration.k8s.io/v1";

/// Where the API server reaches the webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// By a Service, at port 443.
    Service {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// By an address, to which a path is appended.
    Url(String),
}

/// What a webhook configuration says.
#[derive(Clone, Debug)]
pub struct Hook<'a> {
    /// Where the API server reaches it.
    pub reach: &'a Reach,
    /// The authorities that it trusts, in PEM; `None` where somebody else says so.
    pub bundle: Option<&'a str>,
    /// How long it waits, in seconds.
    pub timeout: u8,
    /// What the configuration goes with.
    pub owner: Option<&'a Value>,
}

impl Hook<'_> {
    /// Policies and collectors are looked at before they are stored. The webhook says no more than what the controller would say
    /// later, so nothing is lost where it does not answer.
    pub fn validating(&self) -> Value {
        let webhook = json!({
            "name": format!("validate.{GROUP}"),
            "admissionReviewVersions": ["v1"],
            "clientConfig": self.client("/validate"),
            "failurePolicy": "Ignore",
            "matchPolicy": "Equivalent",
            "namespaceSelector": {},
            "objectSelector": {},
            "rules": [{
                "apiGroups": [GROUP], "apiVersions": [VERSION], "operations": ["CREATE", "UPDATE"],
                "resources": resources(), "scope": "*",
            }],
            "sideEffects": "None",
            "timeoutSeconds": self.timeout,
        });
        self.configuration(VALIDATING, NAME, &webhook)
    }

    /// Workloads are looked at where an update would be refused without a repair, and only there.
    pub fn mutating(&self, own_namespace: &str) -> Value {
        let webhook = json!({
            "name": format!("repair.{GROUP}"),
            "admissionReviewVersions": ["v1"],
            "clientConfig": self.client("/repair"),
            "failurePolicy": "Ignore",
            "matchConditions": match_conditions(own_namespace),
            "matchPolicy": "Equivalent",
            "namespaceSelector": {},
            "objectSelector": {},
            "reinvocationPolicy": "IfNeeded",
            "rules": rules(),
            "sideEffects": "None",
            "timeoutSeconds": self.timeout,
        });
        self.configuration(MUTATING, NAME, &webhook)
    }

    /// Pods of these namespaces are looked at as they are created. Where the webhook does not answer, they start as they are.
    pub fn pods(&self, namespaces: &BTreeSet<String>) -> Value {
        let webhook = json!({
            "name": format!("pods.{GROUP}"),
            "admissionReviewVersions": ["v1"],
            "clientConfig": self.client("/inject"),
            "failurePolicy": "Ignore",
            "matchPolicy": "Equivalent",
            "namespaceSelector": {"matchExpressions": [
                {"key": "kubernetes.io/metadata.name", "operator": "In", "values": namespaces},
            ]},
            "objectSelector": {},
            // Others may add containers afterwards.
            "reinvocationPolicy": "IfNeeded",
            "rules": [{
                "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"],
                "scope": "Namespaced",
            }],
            "sideEffects": "None",
            "timeoutSeconds": self.timeout,
        });
        self.configuration(MUTATING, PODS, &webhook)
    }

    fn client(&self, path: &str) -> Value {
        let mut client = match self.reach {
            Reach::Service { namespace, name } => {
                json!({"service": {"namespace": namespace, "name": name, "path": path, "port": 443}})
            }
            Reach::Url(url) => json!({"url": format!("{}{path}", url.trim_end_matches('/'))}),
        };
        if let Some(bundle) = self.bundle {
            client["caBundle"] = json!(ByteString(bundle.as_bytes().to_vec()));
        }
        client
    }

    fn configuration(&self, kind: &str, name: &str, webhook: &Value) -> Value {
        owned(
            json!({
                "apiVersion": WEBHOOKS, "kind": kind, "metadata": {"name": name},
                "webhooks": [webhook],
            }),
            self.owner,
        )
    }
}

/// The policy that repairs workloads in the API server itself, and its binding, in this version of its API.
pub fn repairing(api_version: &str, own_namespace: &str, owner: Option<&Value>) -> Vec<Value> {
    policies(api_version, own_namespace).into_iter().map(|object| owned(object, owner)).collect()
}

/// The object with the label by which it is known, its owner, and its own hash.
fn owned(mut object: Value, owner: Option<&Value>) -> Value {
    object["metadata"]["labels"][MANAGED_BY_LABEL] = json!(MANAGED_BY);
    if let Some(owner) = owner {
        object["metadata"]["ownerReferences"] = json!([owner]);
    }
    noted(object)
}

/// The resources of the API group, whatever there is.
fn resources() -> Vec<String> {
    let crds = crds().into_iter().flatten();
    let mut plurals: Vec<_> = crds.map(|(_, crd)| crd.spec.names.plural).collect();
    plurals.sort();
    plurals
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_fails_open_and_is_about_the_own_group_only() {
        let reach = Reach::Service { namespace: "home".to_owned(), name: "hook".to_owned() };
        let owner =
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "name": "a", "uid": "b"});
        let made = Hook { reach: &reach, bundle: Some("x"), timeout: 5, owner: Some(&owner) }.validating();
        assert_eq!(made["metadata"]["ownerReferences"], json!([owner]));
        let webhook = &made["webhooks"][0];
        assert_eq!((&webhook["failurePolicy"], &webhook["sideEffects"]), (&json!("Ignore"), &json!("None")));
        assert_eq!(webhook["clientConfig"]["caBundle"], "eA==");
        assert_eq!(webhook["clientConfig"]["service"]["path"], "/validate");
        assert_eq!(webhook["rules"].as_array().unwrap().len(), 1);
        assert_eq!(webhook["rules"][0]["apiGroups"], json!(["tracesteward.io"]));
        assert_eq!(webhook["rules"][0]["resources"].as_array().unwrap().len(), crds().unwrap().len());

        let reach = Reach::Url("https://127.0.0.1:9443/".to_owned());
        let made = Hook { reach: &reach, bundle: None, timeout: 5, owner: None }.validating();
        assert_eq!(made["webhooks"][0]["clientConfig"], json!({"url": "https://127.0.0.1:9443/validate"}));
    }
}
