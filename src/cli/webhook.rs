//! The flags of the admission webhook.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use super::operator::{address, duration};
use crate::{
    admission::{Options, Origin, authority::Lifetimes},
    controller::{Managed, Repair},
    plan::admission::Reach,
};

/// The admission webhook.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Admission webhook")]
pub(super) struct WebhookArgs {
    /// Where the webhook is served, over HTTPS; empty: not at all.
    #[arg(long, env = "TRACESTEWARD_WEBHOOK_ADDRESS", value_name = "ADDRESS", default_value = "0.0.0.0:9443", value_parser = optional_address)]
    webhook_address: OptionalAddress,
    /// The Service in the own namespace by which the API server reaches the webhook.
    #[arg(long, env = "TRACESTEWARD_WEBHOOK_SERVICE", value_name = "NAME", default_value = "tracesteward-webhook")]
    webhook_service: String,
    /// The address by which the API server reaches it in place of a Service, such as https://10.0.0.5:9443: for an operator
    /// outside of the cluster.
    #[arg(long, env = "TRACESTEWARD_WEBHOOK_URL", value_name = "URL", value_parser = url)]
    webhook_url: Option<String>,
    /// A folder with tls.crt, tls.key and perhaps ca.crt, in place of certificates of the operator's own.
    #[arg(long, env = "TRACESTEWARD_WEBHOOK_CERT_DIR", value_name = "DIR")]
    webhook_cert_dir: Option<PathBuf>,
    /// How long the API server waits for the webhook, in seconds.
    #[arg(long, env = "TRACESTEWARD_WEBHOOK_TIMEOUT_SECONDS", value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=5))]
    webhook_timeout_seconds: u8,
    /// Keeps the webhook's configurations and the admission policy in the cluster.
    #[arg(long, env = "TRACESTEWARD_MANAGE_ADMISSION", value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    manage_admission: bool,
    /// The ClusterRole with which these are garbage collected.
    #[arg(long, env = "TRACESTEWARD_ADMISSION_OWNER", value_name = "CLUSTERROLE")]
    admission_owner: Option<String>,
    /// For tests: how updates of workloads are repaired.
    #[arg(long, env = "TRACESTEWARD_ADMISSION_POLICY", value_name = "HOW", default_value = "auto", hide = true)]
    admission_policy: Repair,
    /// For tests: how long the authority is valid.
    #[arg(long, env = "TRACESTEWARD_WEBHOOK_CA_LIFETIME", value_name = "DURATION", default_value = "8760h", value_parser = duration, hide = true)]
    webhook_ca_lifetime: Duration,
    /// For tests: how long certificates are valid.
    #[arg(long, env = "TRACESTEWARD_WEBHOOK_CERT_LIFETIME", value_name = "DURATION", default_value = "168h", value_parser = duration, hide = true)]
    webhook_cert_lifetime: Duration,
}

#[derive(Clone, Copy, Debug)]
struct OptionalAddress(Option<SocketAddr>);

impl WebhookArgs {
    /// What the webhook is to do; `None`, and a word in the log, where it is off.
    pub(super) fn options(&self, own_namespace: Option<&str>, is_in_cluster: bool) -> Option<Options> {
        let off = |why: &str| tracing::info!(why, "no admission webhook");
        let Some(address) = self.webhook_address.0 else {
            off("no --webhook-address");
            return None;
        };
        let lifetimes = Lifetimes { authority: self.webhook_ca_lifetime, leaf: self.webhook_cert_lifetime };
        let origin = match (&self.webhook_cert_dir, own_namespace) {
            (Some(folder), _) => Origin::Mounted(folder.clone()),
            (None, Some(namespace)) => Origin::Own { namespace: namespace.to_owned(), lifetimes },
            (None, None) => {
                off("certificates need --namespace, POD_NAMESPACE or --webhook-cert-dir");
                return None;
            }
        };
        let service = own_namespace
            .map(|namespace| Reach::Service { namespace: namespace.to_owned(), name: self.webhook_service.clone() });
        let by_service = service.filter(|_| is_in_cluster);
        let reach = self.webhook_url.clone().map(Reach::Url).or(by_service);
        if reach.is_none() && self.manage_admission {
            tracing::info!("the API server is not told of the webhook: outside of a cluster that needs --webhook-url");
        }
        Some(Options {
            address,
            origin,
            hosts: self.hosts(own_namespace),
            own_namespace: own_namespace.map(str::to_owned),
            reach,
            timeout: self.webhook_timeout_seconds,
        })
    }

    /// What is kept in the cluster.
    pub(super) fn managed(&self) -> Option<Managed> {
        self.manage_admission.then(|| Managed { owner: self.admission_owner.clone(), repair: self.admission_policy })
    }

    /// By which names and addresses the webhook may be called.
    fn hosts(&self, own_namespace: Option<&str>) -> Vec<String> {
        let service = own_namespace.map(|namespace| format!("{}.{namespace}.svc", self.webhook_service));
        let full = service.as_ref().map(|name| format!("{name}.cluster.local"));
        let url = self.webhook_url.as_deref().and_then(host);
        service.into_iter().chain(full).chain(url).collect()
    }
}

fn optional_address(text: &str) -> Result<OptionalAddress, String> {
    if text.is_empty() {
        Ok(OptionalAddress(None))
    } else {
        address(text).map(|address| OptionalAddress(Some(address)))
    }
}

/// An address that the API server takes: https, a host, no more than a path.
fn url(text: &str) -> Result<String, String> {
    let is_plain = !text.contains(['?', '#', '@', ' ']);
    host(text)
        .filter(|_| is_plain)
        .map(|_| text.to_owned())
        .ok_or_else(|| "not a URL such as https://10.0.0.5:9443".to_owned())
}

fn host(url: &str) -> Option<String> {
    let authority = url.strip_prefix("https://")?.split('/').next()?;
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0,
        None => authority.split(':').next()?,
    };
    (!host.is_empty()).then(|| host.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Cli {
        #[command(flatten)]
        webhook: WebhookArgs,
    }

    fn options(args: &[&str], own_namespace: Option<&str>, is_in_cluster: bool) -> Option<Options> {
        use clap::Parser;
        let cli = Cli::try_parse_from(["test"].iter().chain(args)).unwrap();
        cli.webhook.options(own_namespace, is_in_cluster)
    }

    #[test]
    fn without_what_it_needs_there_is_no_webhook() {
        assert!(options(&[], None, false).is_none(), "a laptop without a namespace");
        assert!(options(&["--webhook-address="], Some("home"), true).is_none(), "turned off");
        assert_eq!(options(&[], Some("home"), false).unwrap().reach, None, "no Service reaches a laptop");
        let found = options(&[], Some("home"), true).unwrap();
        let service = Reach::Service { namespace: "home".to_owned(), name: "tracesteward-webhook".to_owned() };
        assert_eq!(found.reach, Some(service));
        let names = ["tracesteward-webhook.home.svc", "tracesteward-webhook.home.svc.cluster.local"];
        assert_eq!(found.hosts, names);
        let found = options(&["--webhook-cert-dir=/a", "--webhook-url=https://10.0.0.5:9443"], None, false).unwrap();
        assert!(matches!(found.origin, Origin::Mounted(_)));
        assert_eq!(
            (found.reach, found.hosts),
            (Some(Reach::Url("https://10.0.0.5:9443".to_owned())), vec!["10.0.0.5".to_owned()])
        );
    }

    #[test]
    fn the_host_of_a_url() {
        let hosts = ["https://10.0.0.5:9443", "https://[::1]:9443/x", "https://a.b"].map(host);
        assert_eq!(hosts.map(Option::unwrap), ["10.0.0.5", "::1", "a.b"]);
        for wrong in ["http://a", "https://", "https:///x", "https://a?b", "https://u@a", "a"] {
            assert!(url(wrong).is_err(), "{wrong}");
        }
    }
}
