//! The admission webhook: HTTPS for the API server, its certificates, and what the operator keeps in the cluster for it.
//!
//! Every replica serves. Each signs a certificate for itself, in memory, from the authority that the leader keeps in a Secret; or
//! all serve what is mounted. The webhook is a convenience: with every replica dead the rules of the CRDs still hold, and
//! what only the webhook knows is in the status.

pub mod authority;
mod certificates;
mod mounted;
mod review;
pub mod secret;
mod server;

use std::{
    future::Future,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kube::Client;
use serde_json::Value;
use time::OffsetDateTime;
use tokio::time::sleep;

use crate::{plan::admission::Reach, telemetry::metrics::Metrics};
use authority::{CertificateError, Lifetimes, Material};
use certificates::Certificates;
use mounted::Mounted;

pub use server::{ServeError, Server};

/// What the webhook answers to these bytes: as a review of an object of the API group, and as one of an update of a workload. `None` where they are
/// no review. Without a server, so that any bytes can be tried.
pub fn answers(body: &[u8]) -> Option<[serde_json::Value; 2]> {
    let request = review::Request::read(body).ok()?;
    Some([request.validate(None).1, request.repair()])
}

/// How often somebody looks while there is no certificate yet.
const IMPATIENT: Duration = Duration::from_secs(1);
/// How often mounted files are looked at.
const FILES: Duration = Duration::from_secs(10);

/// Who knows what becomes of pods.
pub trait Injector: Send + Sync {
    /// What has to be done to a pod of this namespace that is about to be created, as a JSON patch; nothing to most.
    fn inject(&self, namespace: &str, pod: &Value) -> Vec<Value>;
}

/// Where the certificates come from.
#[derive(Clone, Debug)]
pub enum Origin {
    /// Signed by the operator's own authority, which is in a Secret of this namespace.
    Own {
        /// The operator's own namespace.
        namespace: String,
        /// How long certificates are valid.
        lifetimes: Lifetimes,
    },
    /// Files of this folder.
    Mounted(PathBuf),
}

/// What the webhook was told to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it is served.
    pub address: SocketAddr,
    /// Where the certificates come from.
    pub origin: Origin,
    /// Names and addresses for which a certificate is signed.
    pub hosts: Vec<String>,
    /// The operator's own namespace.
    pub own_namespace: Option<String>,
    /// Where the API server reaches it; `None` where the operator does not know.
    pub reach: Option<Reach>,
    /// How long the API server waits for an answer, in seconds.
    pub timeout: u8,
}

/// The webhook as the rest of the operator sees it.
#[derive(Debug)]
pub struct Admission {
    options: Options,
    certificates: Arc<Certificates>,
    mounted: Option<Mounted>,
    /// Why there is no certificate yet.
    trouble: Mutex<Trouble>,
    /// The right that this replica lacks to make the authority.
    denied: Mutex<Option<String>>,
}

/// Why the certificate could not be brought up to date; nothing where it could.
#[derive(Clone, Debug, Default)]
struct Trouble {
    message: String,
    /// A right is missing: no other replica has it either, and the rest of the operator does not need it.
    is_denied: bool,
}

impl From<CertificateError> for Trouble {
    fn from(error: CertificateError) -> Self {
        Self { message: error.to_string(), is_denied: false }
    }
}

impl Admission {
    /// Binds the address.
    ///
    /// # Errors
    /// See [`ServeError`].
    pub async fn bind(options: Options) -> Result<(Arc<Self>, Server), ServeError> {
        let certificates = Arc::new(Certificates::default());
        let server = Server::bind(options.address, Arc::clone(&certificates)).await?;
        let mounted = match &options.origin {
            Origin::Mounted(folder) => Some(Mounted::new(folder.clone())),
            Origin::Own { .. } => None,
        };
        let trouble = Mutex::new(Trouble { message: "not looked for yet".to_owned(), is_denied: false });
        let admission = Self { options, certificates, mounted, trouble, denied: Mutex::default() };
        Ok((Arc::new(admission), server))
    }

    /// Serves, and looks after the certificate, until `stop` resolves.
    pub async fn run(
        self: Arc<Self>,
        server: Server,
        client: Client,
        injector: Arc<dyn Injector>,
        metrics: Arc<Metrics>,
        stop: impl Future<Output = ()>,
    ) {
        let own_namespace = self.options.own_namespace.clone();
        tokio::select! {
            () = self.follow(client) => {}
            () = server.run(own_namespace, injector, metrics, stop) => {}
        }
    }

    /// Keeps the served certificate in step with the Secret or the files, for good.
    async fn follow(&self, client: Client) {
        let mut failed = String::new();
        loop {
            let looked = self.look(&client).await;
            let trouble = looked.err().unwrap_or_default();
            if !trouble.message.is_empty() && trouble.message != failed {
                tracing::warn!(
                    trouble = trouble.message,
                    "the certificate of the webhook could not be brought up to date"
                );
            }
            failed.clone_from(&trouble.message);
            *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
            let is_loaded = self.certificates.is_loaded(OffsetDateTime::now_utc());
            sleep(if is_loaded { self.period() } else { IMPATIENT.min(self.period()) }).await;
        }
    }

    async fn look(&self, client: &Client) -> Result<(), Trouble> {
        match (&self.options.origin, &self.mounted) {
            (Origin::Own { namespace, lifetimes }, _) => {
                // Also while the API server does not answer.
                self.certificates.renew(&self.options.hosts, *lifetimes, OffsetDateTime::now_utc())?;
                let found = secret::read(client, namespace).await.map_err(|error| Trouble {
                    message: format!("Secret {namespace}/{}: {error}", secret::SECRET),
                    is_denied: matches!(&error, kube::Error::Api(status) if status.code == 403),
                })?;
                Ok(found.map_or(Ok(()), |found| self.take(&found.material))?)
            }
            (Origin::Mounted(_), Some(mounted)) => {
                let is_new = mounted.load(&self.certificates);
                let is_new = is_new.map_err(|error| Trouble {
                    message: format!("{}: {error}", mounted.folder().display()),
                    is_denied: false,
                })?;
                if is_new {
                    tracing::info!(folder = %mounted.folder().display(), "certificate of the webhook loaded");
                }
                Ok(())
            }
            (Origin::Mounted(_), None) => Ok(()),
        }
    }

    /// Takes in what is in the Secret.
    ///
    /// # Errors
    /// Where the authority cannot be used.
    pub(crate) fn take(&self, material: &Material) -> Result<(), CertificateError> {
        let Origin::Own { lifetimes, .. } = &self.options.origin else { return Ok(()) };
        let now = OffsetDateTime::now_utc();
        if self.certificates.take(material, &self.options.hosts, *lifetimes, now)? {
            tracing::info!("certificate of the webhook signed");
        }
        Ok(())
    }

    /// What it was told.
    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    /// The authorities in mounted files.
    pub(crate) fn mounted_bundle(&self) -> Option<String> {
        self.mounted.as_ref().and_then(Mounted::bundle)
    }

    /// Whether there is a certificate to be served.
    pub(crate) fn is_loaded(&self) -> bool {
        self.certificates.is_loaded(OffsetDateTime::now_utc())
    }

    /// When the certificate that is served expires, in seconds since 1970.
    pub(crate) fn expiry(&self) -> Option<i64> {
        self.certificates.expiry().map(OffsetDateTime::unix_timestamp)
    }

    /// How often somebody has to look at what can change unheard.
    pub(crate) fn period(&self) -> Duration {
        match &self.options.origin {
            Origin::Own { lifetimes, .. } => lifetimes.period(),
            Origin::Mounted(_) => FILES,
        }
    }

    /// What the leader lacks a right for when it makes the authority, if anything.
    pub(crate) fn note_leader(&self, denied: Option<String>) {
        *self.denied.lock().unwrap_or_else(PoisonError::into_inner) = denied;
    }

    /// Whether the certificate is there, and what is wrong where it is not. Who does not lead waits for the one that does without
    /// being unready: or a rollout that turns the webhook on would wait for a leader that knows nothing of it. A missing right
    /// is no reason either: waiting does not grant it, and injection works without.
    pub(crate) fn probe(&self, leads: bool) -> (bool, String) {
        if self.is_loaded() {
            return (true, "loaded".to_owned());
        }
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if !trouble.message.is_empty() {
            return (trouble.is_denied, trouble.message);
        }
        let denied = self.denied.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let is_own = matches!(self.options.origin, Origin::Own { .. });
        match (denied, leads || !is_own) {
            (Some(denied), true) => (true, denied),
            (None, true) => (false, "not there yet".to_owned()),
            (_, false) => (true, "the leader has not made the authority yet".to_owned()),
        }
    }
}
