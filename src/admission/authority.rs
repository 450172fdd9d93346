//! The authority that signs for the webhook: made, judged, renewed. A function of what was found and of the time.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use time::OffsetDateTime;
use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};
use zeroize::{Zeroize, Zeroizing};

/// Clocks differ: a certificate is valid from so long before it was made.
const BACKDATE: Duration = Duration::from_secs(300);
/// How many earlier authorities are trusted beside the present one.
const PREVIOUS: usize = 2;
/// The longest time for which a new authority is made known before anybody signs with it.
const SETTLE: Duration = Duration::from_secs(300);
/// The longest time between two looks.
const PERIOD: Duration = Duration::from_secs(30);
const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// How long certificates are valid.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    /// The authority.
    pub authority: Duration,
    /// What it signs.
    pub leaf: Duration,
}

impl Lifetimes {
    /// For how long a new authority is made known before anybody signs with it.
    fn settle(self) -> Duration {
        (self.authority / 10).min(SETTLE)
    }

    /// How often somebody has to look, so that nothing is late.
    pub fn period(self) -> Duration {
        let least = self.settle().min(self.leaf / 4) / 3;
        least.clamp(Duration::from_millis(100), PERIOD)
    }
}

/// What is in the Secret, and in mounted files.
#[derive(Clone, Default)]
pub struct Material {
    /// `tls.crt`: certificates in PEM, the one of the key first.
    pub certificate: String,
    /// `tls.key`: the key in PEM.
    pub key: Zeroizing<String>,
    /// `ca.crt`: every authority that is to be trusted, in PEM.
    pub bundle: String,
}

impl std::fmt::Debug for Material {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Material").finish_non_exhaustive()
    }
}

/// Why a certificate cannot be used or made.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// What is there is no certificate with its key.
    #[error("{0}")]
    Unusable(&'static str),
    /// The library refuses.
    #[error("{0}")]
    Library(#[from] rcgen::Error),
    /// TLS refuses.
    #[error("{0}")]
    Tls(#[from] tokio_rustls::rustls::Error),
    /// Files cannot be read.
    #[error("{0}")]
    File(#[from] std::io::Error),
}

/// When a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    from: OffsetDateTime,
    /// Its end.
    pub until: OffsetDateTime,
}

impl Validity {
    fn new(now: OffsetDateTime, lifetime: Duration) -> Self {
        Self { from: now - BACKDATE, until: now + lifetime }
    }

    /// When it was made.
    fn made(self) -> OffsetDateTime {
        (self.from + BACKDATE).min(self.until)
    }

    /// When it is time for the next one: after two thirds.
    pub fn renewal(self) -> OffsetDateTime {
        self.made() + (self.until - self.made()) * 2 / 3
    }

    fn holds(self, now: OffsetDateTime) -> bool {
        self.from <= now && now < self.until
    }
}

/// An authority that can sign.
#[derive(Clone, Debug)]
pub struct Authority {
    der: CertificateDer<'static>,
    validity: Validity,
    material: Material,
}

/// A certificate for a server, with its key.
pub struct Leaf {
    /// The certificate.
    pub certificate: CertificateDer<'static>,
    /// The key, as PKCS #8.
    pub key: Zeroizing<Vec<u8>>,
    /// When it is valid.
    pub validity: Validity,
}

impl Authority {
    /// Reads an authority; one that is no longer valid, or not yet, is none.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn read(material: &Material, now: OffsetDateTime) -> Result<Self, CertificateError> {
        let der = CertificateDer::from_pem_slice(material.certificate.as_bytes())
            .map_err(|_| CertificateError::Unusable("tls.crt is no certificate"))?;
        let mut key = KeyPair::from_pem(&material.key)
            .map_err(|_| CertificateError::Unusable("tls.key is no key that can sign"))?;
        let is_its_key = parse(&der).is_some_and(|parsed| {
            parsed.tbs_certificate.subject_pki.subject_public_key.data.as_ref() == key.public_key_raw()
        });
        key.zeroize();
        let validity =
            authority(&der).ok_or(CertificateError::Unusable("tls.crt is no certificate of an authority"))?;
        if !is_its_key {
            return Err(CertificateError::Unusable("tls.key does not belong to tls.crt"));
        }
        if !validity.holds(now) {
            return Err(CertificateError::Unusable("tls.crt has expired, or is not valid yet"));
        }
        Ok(Self { der, validity, material: material.clone() })
    }

    /// Makes a new authority; `previous` stays trusted where it is valid.
    ///
    /// # Errors
    /// Where the library cannot.
    pub fn make(lifetimes: Lifetimes, previous: &str, now: OffsetDateTime) -> Result<Material, CertificateError> {
        let mut params = params("tracesteward-webhook-ca", Validity::new(now, lifetimes.authority));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let mut key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.pem();
        let pem = Zeroizing::new(key.serialize_pem());
        key.zeroize();
        let bundle = bundle(&certificate, previous, now);
        Ok(Material { certificate, key: pem, bundle })
    }

    /// Signs a certificate for a server of these names and addresses.
    ///
    /// # Errors
    /// Where the library cannot.
    pub fn sign(&self, hosts: &[String], lifetimes: Lifetimes, now: OffsetDateTime) -> Result<Leaf, CertificateError> {
        let mut validity = Validity::new(now, lifetimes.leaf);
        validity.until = validity.until.min(self.validity.until);
        let mut params = params("tracesteward-webhook", validity);
        params.subject_alt_names = CertificateParams::new(hosts.to_vec())?.subject_alt_names;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let (mut own, mut key) = (KeyPair::from_pem(&self.material.key)?, KeyPair::generate()?);
        let issuer = Issuer::from_ca_cert_der(&self.der, &own)?;
        let certificate = params.signed_by(&key, &issuer)?.der().clone();
        drop(issuer);
        let leaf = Leaf { certificate, key: Zeroizing::new(key.serialize_der()), validity };
        own.zeroize();
        key.zeroize();
        Ok(leaf)
    }

    /// Whether it is another one than `other`.
    pub fn differs(&self, other: &Self) -> bool {
        self.der != other.der
    }

    /// Whether it can still sign.
    pub fn is_valid(&self, now: OffsetDateTime) -> bool {
        self.validity.holds(now)
    }

    /// Whether everybody has had the time to hear of it.
    pub fn is_settled(&self, lifetimes: Lifetimes, now: OffsetDateTime) -> bool {
        now >= self.validity.made() + lifetimes.settle()
    }

    /// Whether `bundle` trusts it.
    pub fn is_trusted_by(&self, bundle: &str) -> bool {
        blocks(bundle).any(|block| read(block).as_ref() == Some(&self.der))
    }
}

/// What is to be in the Secret in place of what was found, and why; `None` where it may stay.
///
/// # Errors
/// Where no authority can be made.
pub fn replacement(
    found: Option<&Material>,
    lifetimes: Lifetimes,
    now: OffsetDateTime,
) -> Result<Option<(Material, String)>, CertificateError> {
    let anew = |previous: &str, why: String| Ok(Some((Authority::make(lifetimes, previous, now)?, why)));
    let Some(found) = found else { return anew("", "there was none".to_owned()) };
    let known = match Authority::read(found, now) {
        Ok(known) => known,
        // Nobody can sign with it, so nobody has to trust it.
        Err(error) => return anew("", error.to_string()),
    };
    if now >= known.validity.renewal() {
        return anew(&format!("{}\n{}", found.certificate, found.bundle), "two thirds of its time are over".to_owned());
    }
    let bundle = bundle(&found.certificate, &found.bundle, now);
    let is_kept = bundle == found.bundle;
    Ok((!is_kept).then(|| (Material { bundle, ..found.clone() }, "authorities that are over went".to_owned())))
}

/// The authority's certificate, and the earlier ones that are still valid.
fn bundle(current: &str, previous: &str, now: OffsetDateTime) -> String {
    let mut known: Vec<CertificateDer<'static>> = Vec::new();
    let mut text = String::new();
    for block in blocks(current).take(1).chain(blocks(previous)) {
        let Some(der) = read(block).filter(|der| known.len() <= PREVIOUS && !known.contains(der)) else { continue };
        if authority(&der).is_some_and(|validity| validity.holds(now)) {
            text.push_str(block);
            text.push('\n');
            known.push(der);
        }
    }
    text
}

/// The certificates of a text, each as it is written.
fn blocks(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(END).filter_map(|part| part.get(part.find(BEGIN)?..)).filter(|part| part.ends_with(END))
}

fn read(block: &str) -> Option<CertificateDer<'static>> {
    CertificateDer::from_pem_slice(block.as_bytes()).ok()
}

fn parse<'a>(der: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    X509Certificate::from_der(der).ok().map(|(_, parsed)| parsed)
}

/// When a certificate is valid.
pub fn validity(der: &CertificateDer<'_>) -> Option<Validity> {
    let parsed = parse(der)?;
    let validity = parsed.validity();
    Some(Validity { from: validity.not_before.to_datetime(), until: validity.not_after.to_datetime() })
}

/// When an authority is valid; of anything else nothing.
fn authority(der: &CertificateDer<'_>) -> Option<Validity> {
    parse(der).filter(|parsed| parsed.is_ca()).and_then(|_| validity(der))
}

fn params(name: &str, validity: Validity) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = validity.from;
    params.not_after = validity.until;
    params
}

#[cfg(test)]
mod tests;
