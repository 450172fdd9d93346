//! The right to look up pods, which collectors need that know senders by their connections.

use k8s_openapi::{
    api::rbac::v1::{ClusterRoleBinding, RoleRef, Subject},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde_json::Value;

use super::{CollectorSettings, collector_name, converge::is_own, objects::value};
use crate::{
    api::{Identity, Management},
    index::{Collector, OwnedId, OwnedKind, Snapshot},
};

/// The ClusterRole that may read pods and namespaces (the chart has it), and the ClusterRoleBinding to it.
pub const IDENTITY_ROLE: &str = "tracesteward-collector-identity";

/// Whether the ServiceAccount of a collector is there, and was made for it.
pub fn has_account(snapshot: &Snapshot, collector: &Collector) -> bool {
    let (id, name) = (collector.id.clone(), collector_name(&collector.id.name));
    let account = snapshot.owned.get(&OwnedId { collector: id, kind: OwnedKind::ServiceAccount, name });
    account.is_some_and(|live| is_own(collector, live) && !live.is_deleting())
}

/// The one ClusterRoleBinding for the accounts of all collectors that look up pods, as it is applied; `None` where there is
/// none. One for all, because an object of the cluster cannot be owned by one of a namespace, and so would stay behind.
pub fn identity_binding<'a>(collectors: impl Iterator<Item = &'a Collector>) -> Option<Value> {
    let needing = collectors.filter(|collector| needs_pods(collector)).map(|collector| &collector.id);
    let mut accounts: Vec<_> = needing.map(|id| (id.namespace.clone(), collector_name(&id.name))).collect();
    if accounts.is_empty() {
        return None;
    }
    accounts.sort();
    let subject = |(namespace, name)| Subject {
        kind: "ServiceAccount".to_owned(),
        name,
        namespace: Some(namespace),
        api_group: None,
    };
    let labels = [("app.kubernetes.io/managed-by".to_owned(), "tracesteward".to_owned())].into();
    let binding = ClusterRoleBinding {
        metadata: ObjectMeta { name: Some(IDENTITY_ROLE.to_owned()), labels: Some(labels), ..ObjectMeta::default() },
        role_ref: RoleRef {
            api_group: Some("rbac.authorization.k8s.io".to_owned()),
            kind: "ClusterRole".to_owned(),
            name: IDENTITY_ROLE.to_owned(),
        },
        subjects: Some(accounts.into_iter().map(subject).collect()),
    };
    Some(value(&binding))
}

fn needs_pods(collector: &Collector) -> bool {
    let settings = collector.valid().map(CollectorSettings::new);
    let manages = |settings: CollectorSettings<'_>| {
        settings.identity == Identity::Connection && settings.management == Management::Managed
    };
    !collector.deleting && settings.is_some_and(manages)
}
