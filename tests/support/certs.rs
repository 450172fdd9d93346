//! The certificates and keys of one control plane, made anew for each.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

/// A certificate with its key, as files in PEM.
pub(crate) struct KeyedCert {
    /// The certificate.
    pub(crate) cert: PathBuf,
    /// Its private key (PKCS #8).
    pub(crate) key: PathBuf,
}

/// Puts a certificate for 127.0.0.1 by a new authority into the folder, as `--webhook-cert-dir` wants it; returns the authority.
pub(crate) fn mount(folder: &Path) -> String {
    let scratch = tempfile::tempdir().expect("a folder for certificates");
    let authority = Authority::new(scratch.path());
    let files = authority.server("webhook", &["127.0.0.1"]);
    fs::copy(files.key, folder.join("tls.key")).expect("the key is mounted");
    fs::copy(files.cert, folder.join("tls.crt")).expect("the certificate is mounted");
    fs::read_to_string(authority.ca()).expect("the authority is read")
}

/// The one authority that signs for servers and clients of a control plane.
pub(crate) struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes the authority and writes its certificate into `folder`.
    pub(crate) fn new(folder: &Path) -> Self {
        fs::create_dir_all(folder).expect("a folder for certificates");
        let mut params = params("tracesteward-test-ca", None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        let cert = params.self_signed(&key).expect("a certificate");
        fs::write(folder.join("ca.crt"), cert.pem()).expect("the CA is written");
        Self { folder: folder.to_owned(), issuer: Issuer::new(params, key) }
    }

    /// The authority's certificate.
    pub(crate) fn ca(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    /// A server's certificate for these names and addresses.
    pub(crate) fn server(&self, name: &str, hosts: &[&str]) -> KeyedCert {
        let mut params = params(name, None);
        let hosts = CertificateParams::new(hosts.iter().map(ToString::to_string).collect::<Vec<_>>());
        params.subject_alt_names = hosts.expect("hosts are DNS names or addresses").subject_alt_names;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(name, &params)
    }

    /// A client's certificate: Kubernetes reads the user from it, and the group.
    pub(crate) fn client(&self, user: &str, group: Option<&str>) -> KeyedCert {
        let mut params = params(user, group);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(&user.replace(':', "-"), &params)
    }

    fn sign(&self, file: &str, params: &CertificateParams) -> KeyedCert {
        let key = KeyPair::generate().expect("a key");
        let cert = params.signed_by(&key, &self.issuer).expect("a certificate");
        let files =
            KeyedCert { cert: self.folder.join(format!("{file}.crt")), key: self.folder.join(format!("{file}.key")) };
        fs::write(&files.cert, cert.pem()).expect("the certificate is written");
        fs::write(&files.key, key.serialize_pem()).expect("the key is written");
        files
    }

    /// The key pair that signs the tokens of ServiceAccounts: the public key in `cert`.
    pub(crate) fn token_keys(&self) -> KeyedCert {
        let key = KeyPair::generate().expect("a key");
        let files = KeyedCert { cert: self.folder.join("tokens.pub"), key: self.folder.join("tokens.key") };
        fs::write(&files.cert, key.public_key_pem()).expect("the public key is written");
        fs::write(&files.key, key.serialize_pem()).expect("the key is written");
        files
    }
}

fn params(common_name: &str, organization: Option<&str>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, common_name);
    if let Some(organization) = organization {
        params.distinguished_name.push(DnType::OrganizationName, organization);
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params
}
