//! Certificates that somebody else looks after, as files of a folder.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use zeroize::Zeroizing;

use super::{
    authority::{CertificateError, Material},
    certificates::Certificates,
};

/// A folder with `tls.crt`, `tls.key` and perhaps `ca.crt`.
#[derive(Debug)]
pub(super) struct Mounted {
    folder: PathBuf,
    taken: Mutex<Option<Material>>,
}

impl Mounted {
    /// This folder.
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, taken: Mutex::new(None) }
    }

    /// Reads the files, and serves what is in them where it has changed.
    ///
    /// # Errors
    /// Where they cannot be read or used; what was served is served on.
    pub(super) fn load(&self, certificates: &Certificates) -> Result<bool, CertificateError> {
        let read = |name: &str| fs::read_to_string(self.folder.join(name));
        let bundle = match read("ca.crt") {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            other => other?,
        };
        let material = Material { certificate: read("tls.crt")?, key: Zeroizing::new(read("tls.key")?), bundle };
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = |known: &Material| known.certificate == material.certificate && known.key == material.key;
        let is_new = !taken.as_ref().is_some_and(is_same);
        if is_new {
            certificates.mount(&material)?;
        }
        *taken = Some(material);
        Ok(is_new)
    }

    /// The authorities to be trusted, where there is a `ca.crt`.
    pub(super) fn bundle(&self) -> Option<String> {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.as_ref().map(|material| material.bundle.clone()).filter(|bundle| !bundle.trim().is_empty())
    }

    /// Where it is.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }
}
