//! Where spans go: an endpoint, or something that has to be found first.

use std::net::Ipv6Addr;

use crate::{
    api::{Compression, DurationText, Export, Language, Protocol, Settings, patterns},
    diagnostics::Code,
    index::{CollectorId, PolicyId, Snapshot},
    plan::collector::{CollectorSettings, allows, collector_name},
};

/// An export whose endpoint is known.
#[derive(Clone, Debug, PartialEq)]
pub struct ResolvedExport {
    /// The URL.
    pub endpoint: String,
    /// The transport.
    pub protocol: Protocol,
    /// The headers Secret.
    pub headers_secret: Option<String>,
    /// How long one export may take.
    pub timeout: Option<DurationText>,
    /// Compression.
    pub compression: Option<Compression>,
}

/// Why there is no endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unresolved {
    /// The collector is not there.
    CollectorNotFound,
    /// The collector does not take policies of this namespace.
    CollectorNotPermitted,
    /// The collector has errors.
    CollectorInvalid,
    /// Nothing above the policy has an export.
    NothingToInherit,
    /// A ClusterTracingPolicy does not allow to send to the endpoint's host.
    HostNotAllowed(PolicyId),
    /// There is no export at all; validation has said so.
    NoExport,
}

impl Unresolved {
    /// One CamelCase word for conditions.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::CollectorNotFound => "CollectorNotFound",
            Self::CollectorNotPermitted => "CollectorNotPermitted",
            Self::CollectorInvalid => "CollectorInvalid",
            Self::NothingToInherit => "NothingToInherit",
            Self::HostNotAllowed(_) => "HostNotAllowed",
            Self::NoExport => "NoExport",
        }
    }

    /// The code of the finding.
    pub const fn code(&self) -> Code {
        match self {
            Self::CollectorNotFound => Code::TRC0205,
            Self::CollectorNotPermitted => Code::TRC0207,
            Self::CollectorInvalid => Code::TRC0208,
            Self::NothingToInherit => Code::TRC0206,
            Self::HostNotAllowed(_) => Code::TRC0212,
            Self::NoExport => Code::TRC0101,
        }
    }

    /// Whether it is the collector that is missing something.
    pub const fn is_about_collector(&self) -> bool {
        matches!(self, Self::CollectorNotFound | Self::CollectorNotPermitted | Self::CollectorInvalid)
    }
}

/// The export of these settings of a policy in this namespace.
pub(super) fn resolve(snapshot: &Snapshot, namespace: &str, settings: &Settings) -> Result<ResolvedExport, Unresolved> {
    let export = settings.export.as_ref().ok_or(Unresolved::NoExport)?;
    let (endpoint, protocol) = if let Some(reference) = &export.collector_ref {
        collector(snapshot, &reference.id(namespace), namespace, settings)?
    } else if export.inherit == Some(true) {
        return Err(Unresolved::NothingToInherit);
    } else {
        let endpoint = export.endpoint.clone().filter(|endpoint| !endpoint.is_empty()).ok_or(Unresolved::NoExport)?;
        let protocol = protocol(settings, export, &endpoint);
        (endpoint, protocol)
    };
    Ok(ResolvedExport {
        protocol,
        endpoint,
        headers_secret: export.headers_secret_ref.as_ref().map(|secret| secret.name.clone()),
        timeout: export.timeout.clone(),
        compression: export.compression,
    })
}

/// Where a collector receives what these settings send, and how.
fn collector(
    snapshot: &Snapshot,
    id: &CollectorId,
    namespace: &str,
    settings: &Settings,
) -> Result<(String, Protocol), Unresolved> {
    let collector = snapshot.collectors.get(id).filter(|found| !found.deleting).ok_or(Unresolved::CollectorNotFound)?;
    let labels = snapshot.namespaces.get(namespace).and_then(|namespace| namespace.labels.as_ref());
    let spec = collector.valid().ok_or(Unresolved::CollectorInvalid)?;
    // In a cluster, labels that are not known allow nothing: a handshake that cannot be seen is none.
    if !allows(spec, &id.namespace, namespace, labels).unwrap_or(snapshot.assumes_permission) {
        return Err(Unresolved::CollectorNotPermitted);
    }
    let python = settings.instrumentation.is_some() && settings.language == Some(Language::Python);
    let wanted = settings.export.as_ref().and_then(|export| export.protocol).unwrap_or(Protocol::Grpc);
    let protocol = if python { Protocol::HttpProtobuf } else { wanted };
    let port = CollectorSettings::new(spec).port(protocol);
    Ok((format!("http://{}.{}.svc:{port}", collector_name(&id.name), id.namespace), protocol))
}

/// Policies whose collector decides by labels of their namespace that are not known, each with that collector.
pub fn assumptions(snapshot: &Snapshot) -> Vec<(&PolicyId, CollectorId)> {
    let policies = snapshot.namespaces.values().flat_map(|namespace| namespace.policies.values());
    let assumed = policies.filter_map(|policy| {
        let id = policy.collector()?;
        let spec = snapshot.collectors.get(&id)?.valid()?;
        let home = &policy.id.namespace;
        let labels = snapshot.namespaces.get(home).and_then(|namespace| namespace.labels.as_ref());
        allows(spec, &id.namespace, home, labels).is_none().then_some((&policy.id, id))
    });
    assumed.collect()
}

/// Python instrumentation can only speak HTTP; else what the user says; else by the port.
fn protocol(settings: &Settings, export: &Export, endpoint: &str) -> Protocol {
    if settings.instrumentation.is_some() && settings.language == Some(Language::Python) {
        return Protocol::HttpProtobuf;
    }
    let by_port = || if port(endpoint) == Some(4318) { Protocol::HttpProtobuf } else { Protocol::Grpc };
    export.protocol.unwrap_or_else(by_port)
}

/// The port that a URL names.
pub(in crate::plan) fn port(endpoint: &str) -> Option<u16> {
    let (_, rest) = endpoint.split_once("://")?;
    let authority = rest.split(['/', '?']).next()?;
    let host_and_port = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let after_host = host_and_port.rsplit_once(']').map_or(host_and_port, |(_, after)| after);
    after_host.rsplit_once(':')?.1.parse().ok()
}

/// The host that a URL names, without brackets taken off.
pub(in crate::plan) fn host(endpoint: &str) -> &str {
    let authority = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest);
    let authority = authority.split(['/', '?']).next().unwrap_or_default();
    let host_and_port = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match host_and_port.rfind(']') {
        Some(end) => host_and_port.get(..=end).unwrap_or(host_and_port),
        None => host_and_port.split(':').next().unwrap_or(host_and_port),
    }
}

/// Whether this is an http(s) URL with a host and a port that exists.
pub(super) fn is_endpoint(endpoint: &str) -> bool {
    if !patterns::matches(patterns::ENDPOINT, endpoint) {
        return false;
    }
    let bracketed = endpoint.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map(|(address, _)| address);
    if bracketed.is_some_and(|address| address.parse::<Ipv6Addr>().is_err()) {
        return false;
    }
    let authority = endpoint.split_once("://").map(|(_, rest)| rest.split(['/', '?']).next().unwrap_or_default());
    let has_port = authority.is_some_and(|authority| {
        let after_user = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        after_user.rsplit_once(']').map_or(after_user, |(_, after)| after).contains(':')
    });
    !has_port || port(endpoint).is_some()
}

/// Whether the URL carries user information.
pub(super) fn has_user_information(endpoint: &str) -> bool {
    let authority = endpoint.split_once("://").map(|(_, rest)| rest.split(['/', '?']).next().unwrap_or_default());
    authority.is_some_and(|authority| authority.contains('@'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_from_every_form_of_url() {
        assert_eq!(port("http://a:4317"), Some(4317));
        assert_eq!(port("http://u:p@a:4318/x:9"), Some(4318));
        assert_eq!(port("http://[::1]:4317"), Some(4317));
        assert_eq!(port("http://[::1]"), None);
        assert_eq!(port("https://a/b:1"), None);
        assert!(is_endpoint("http://a:65535") && !is_endpoint("http://a:65536") && !is_endpoint("a:1"));
        assert_eq!(host("http://u:p@A.b:1/x@c"), "A.b");
        assert_eq!(host("https://[::1]:4317/a"), "[::1]");
        assert_eq!(host("http://a?b"), "a");
        assert!(has_user_information("http://u:p@a") && !has_user_information("http://a/@"));
    }
}
