//! Certificates and keys from PEM files, bounded, with the path in every error.

use crate::limits::PEM_BYTES_MAX;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::io::Read;
use std::path::{Path, PathBuf};

/// A file that can't be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", path.display())]
pub struct PemError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: String,
}

impl PemError {
    /// Names the file.
    pub fn new(path: &Path, why: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            why: why.into(),
        }
    }
}

/// Every certificate of a file, in its order; at least one.
///
/// # Errors
/// Unreadable, too long, not PEM, no certificate.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let bytes = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let found = found.map_err(|e| PemError::new(path, format!("not PEM: {e}")))?;
    if found.is_empty() {
        return Err(PemError::new(path, "holds no certificate"));
    }
    Ok(found)
}

/// The first private key of a file.
///
/// # Errors
/// Unreadable, too long, no key.
pub fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, PemError> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|e| PemError::new(path, format!("holds no private key: {e}")))
}

/// The whole file, bounded.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, PemError> {
    let file = std::fs::File::open(path).map_err(|e| PemError::new(path, format!("open: {e}")))?;
    let mut bytes = Vec::new();
    let read = file.take(PEM_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|e| PemError::new(path, format!("read: {e}")))?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > PEM_BYTES_MAX {
        return Err(PemError::new(path, format!("longer than {PEM_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}
