//! Certificates and keys from PEM files, with errors that say which file and what to do.

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A member's credentials.
#[derive(Debug)]
pub struct Identity {
    pub(crate) roots: Arc<RootCertStore>,
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {why}: {cure}")]
pub struct FileProblem {
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    pub why: String,
    /// What to do.
    pub cure: &'static str,
}

impl Identity {
    /// Reads the authority's certificate, the own certificate chain and its key.
    ///
    /// # Errors
    /// The first file that cannot be read or holds something else.
    pub fn read(ca: &Path, certificate: &Path, key: &Path) -> Result<Identity, FileProblem> {
        let mut roots = RootCertStore::empty();
        for authority in certificates(ca)? {
            roots
                .add(authority)
                .map_err(|error| problem(ca, error.to_string(), "give the authority's certificate"))?;
        }
        let chain = certificates(certificate)?;
        let key_der = PrivateKeyDer::from_pem_file(key).map_err(|error| {
            problem(key, error.to_string(), "give the private key of the certificate, in PEM")
        })?;
        warn_if_others_may_read(key);
        Ok(Identity { roots: Arc::new(roots), chain, key: key_der })
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, FileProblem> {
    let cure = "give a file of certificates in PEM";
    let all: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path)
        .map_err(|error| problem(path, error.to_string(), cure))?
        .collect();
    let all = all.map_err(|error| problem(path, error.to_string(), cure))?;
    if all.is_empty() {
        return Err(problem(path, "there is no certificate in it".to_string(), cure));
    }
    Ok(all)
}

fn warn_if_others_may_read(key: &Path) {
    let mode = std::fs::metadata(key).map(|found| std::os::unix::fs::MetadataExt::mode(&found)).unwrap_or(0);
    if mode & 0o077 != 0 {
        tracing::warn!(file = %key.display(), "others may read this private key: chmod 600");
    }
}

pub(crate) fn problem(path: &Path, why: String, cure: &'static str) -> FileProblem {
    FileProblem { path: path.to_path_buf(), why, cure }
}
