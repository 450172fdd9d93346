//! The certificate that is served at this moment, and the one that follows it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use time::OffsetDateTime;
use tokio_rustls::rustls::{
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::authority::{self, Authority, CertificateError, Leaf, Lifetimes, Material, Validity};

/// What TLS asks for at every handshake: swapped as a whole, so that no connection sees half of a change.
#[derive(Debug, Default)]
pub struct Certificates {
    served: RwLock<Option<Served>>,
    signing: Mutex<Option<Signing>>,
}

#[derive(Clone, Debug)]
struct Served {
    key: Arc<CertifiedKey>,
    until: Option<OffsetDateTime>,
}

/// The authority that the served certificate comes from.
#[derive(Debug)]
struct Signing {
    authority: Authority,
    leaf: Validity,
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.served().map(|served| served.key)
    }
}

impl Certificates {
    /// Whether there is a certificate to be served that has not expired.
    pub fn is_loaded(&self, now: OffsetDateTime) -> bool {
        self.served().is_some_and(|served| served.until.is_none_or(|until| now < until))
    }

    /// When what is served expires, where that is known.
    pub fn expiry(&self) -> Option<OffsetDateTime> {
        self.served().and_then(|served| served.until)
    }

    /// Takes in what is in the Secret: signs a certificate where there is none, where it is time for the next one, and where the
    /// authority is a new one that everybody has had the time to hear of. Says whether the certificate changed.
    ///
    /// # Errors
    /// Where the authority cannot be used; what was served is served on.
    pub fn take(
        &self,
        material: &Material,
        hosts: &[String],
        lifetimes: Lifetimes,
        now: OffsetDateTime,
    ) -> Result<bool, CertificateError> {
        let found = Authority::read(material, now)?;
        let mut signing = self.signing();
        let next = match signing.as_ref() {
            None => Some(found),
            Some(known) => {
                // Until the API server knows the new authority, what the old one signs is trusted, and the other is not.
                let stays = known.authority.differs(&found)
                    && known.authority.is_trusted_by(&material.bundle)
                    && known.authority.is_valid(now)
                    && !found.is_settled(lifetimes, now);
                let authority = if stays { known.authority.clone() } else { found };
                let is_due = authority.differs(&known.authority) || now >= known.leaf.renewal();
                is_due.then_some(authority)
            }
        };
        next.map_or(Ok(false), |authority| self.serve(&mut signing, authority, hosts, lifetimes, now).map(|()| true))
    }

    /// Signs the next certificate from the known authority where it is time: also while the Secret cannot be read.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn renew(&self, hosts: &[String], lifetimes: Lifetimes, now: OffsetDateTime) -> Result<(), CertificateError> {
        let mut signing = self.signing();
        let due = signing.as_ref().filter(|known| now >= known.leaf.renewal() && known.authority.is_valid(now));
        let authority = due.map(|known| known.authority.clone());
        authority.map_or(Ok(()), |authority| self.serve(&mut signing, authority, hosts, lifetimes, now))
    }

    fn serve(
        &self,
        signing: &mut Option<Signing>,
        authority: Authority,
        hosts: &[String],
        lifetimes: Lifetimes,
        now: OffsetDateTime,
    ) -> Result<(), CertificateError> {
        let Leaf { certificate, key, validity } = authority.sign(hosts, lifetimes, now)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.as_slice()));
        self.swap(vec![certificate], &key, Some(validity.until))?;
        *signing = Some(Signing { authority, leaf: validity });
        Ok(())
    }

    /// Serves a certificate that was made elsewhere.
    ///
    /// # Errors
    /// Where it is none, or its key is another one; what was served is served on.
    pub fn mount(&self, material: &Material) -> Result<(), CertificateError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(material.certificate.as_bytes()).collect();
        let chain = chain.ok().filter(|chain| !chain.is_empty());
        let chain = chain.ok_or(CertificateError::Unusable("tls.crt is no certificate"))?;
        let key = PrivateKeyDer::from_pem_slice(material.key.as_bytes())
            .map_err(|_| CertificateError::Unusable("tls.key is no private key"))?;
        let until = chain.first().and_then(authority::validity).map(|validity| validity.until);
        self.swap(chain, &key, until)
    }

    fn swap(
        &self,
        chain: Vec<CertificateDer<'static>>,
        key: &PrivateKeyDer<'_>,
        until: Option<OffsetDateTime>,
    ) -> Result<(), CertificateError> {
        let key = CertifiedKey::from_der(chain, key.clone_key(), &provider())?;
        let served = Some(Served { key: Arc::new(key), until });
        *self.served.write().unwrap_or_else(PoisonError::into_inner) = served;
        Ok(())
    }

    fn served(&self) -> Option<Served> {
        self.served.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn signing(&self) -> MutexGuard<'_, Option<Signing>> {
        self.signing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The one provider of this program, named so that nothing depends on a global.
pub(super) fn provider() -> CryptoProvider {
    ring::default_provider()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SHORT: Lifetimes = Lifetimes { authority: Duration::from_secs(300), leaf: Duration::from_secs(90) };

    fn served(certificates: &Certificates) -> Vec<u8> {
        certificates.served().unwrap().key.cert[0].to_vec()
    }

    #[test]
    fn a_new_authority_signs_only_once_it_is_known() {
        let start = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        let after = |seconds: u64| start + Duration::from_secs(seconds);
        let hosts = ["localhost".to_owned()];
        let (certificates, first) = (Certificates::default(), Authority::make(SHORT, "", start).unwrap());
        let take = |material: &Material, seconds| certificates.take(material, &hosts, SHORT, after(seconds)).unwrap();
        assert!(!certificates.is_loaded(start));
        assert!(take(&first, 0) && certificates.is_loaded(start), "the first one signs at once");
        assert!(!take(&first, 59) && take(&first, 60), "renewed at two thirds");
        assert!(!certificates.is_loaded(after(151)), "and over at its end");

        let second = Authority::make(SHORT, &first.bundle, after(200)).unwrap();
        assert!(take(&first, 200));
        let before = served(&certificates);
        assert!(!take(&second, 229), "the old one still signs");
        assert_eq!(served(&certificates), before);
        assert!(take(&second, 230), "now everybody knows the new one");
        let third = Authority::make(SHORT, "", after(240)).unwrap();
        assert!(take(&third, 240), "what is trusted no more is served no more");
        let broken = Material { key: first.key.clone(), ..third.clone() };
        let kept = served(&certificates);
        certificates.take(&broken, &hosts, SHORT, after(250)).unwrap_err();
        assert_eq!(served(&certificates), kept, "what cannot be used changes nothing");
        certificates.renew(&hosts, SHORT, after(299)).unwrap();
        assert_eq!(served(&certificates), kept);
        certificates.renew(&hosts, SHORT, after(300)).unwrap();
        assert_ne!(served(&certificates), kept, "also without the Secret");
    }

    #[test]
    fn mounted_certificates_must_fit_their_keys() {
        let now = OffsetDateTime::now_utc();
        let (one, other) = (Authority::make(SHORT, "", now).unwrap(), Authority::make(SHORT, "", now).unwrap());
        let certificates = Certificates::default();
        for broken in [Material::default(), Material { key: other.key.clone(), ..one.clone() }] {
            certificates.mount(&broken).unwrap_err();
            assert!(!certificates.is_loaded(now));
        }
        certificates.mount(&one).unwrap();
        assert!(certificates.is_loaded(now));
    }
}
