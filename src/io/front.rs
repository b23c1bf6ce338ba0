//! Towards mail clients: a server certificate, no client certificates. TLS 1.3 only: rustls is built without 1.2.

use super::pem;
use super::tls::TlsError;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::version::TLS13;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use tokio_rustls::TlsAcceptor;

/// The front end's certificate in use.
pub struct FrontTls {
    current: RwLock<Arc<ServerConfig>>,
}

impl FrontTls {
    /// Reads certificate (with its chain) and key.
    ///
    /// # Errors
    /// A file can't be used, or they don't fit.
    pub fn load(cert: &Path, key: &Path) -> Result<Self, TlsError> {
        let current = RwLock::new(server(cert, key)?);
        Ok(Self { current })
    }

    /// Reads them again; on an error the old ones stay in use.
    ///
    /// # Errors
    /// As [`FrontTls::load`].
    pub fn reload(&self, cert: &Path, key: &Path) -> Result<(), TlsError> {
        let fresh = server(cert, key)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    /// For the next connection. The caller bounds the handshake's time.
    #[must_use]
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn server(cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let wrong = |e: rustls::Error| TlsError::Certificates(format!("{} with {}: {e}", cert.display(), key.display()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config
        .with_protocol_versions(&[&TLS13])
        .map_err(wrong)?
        .with_no_client_auth();
    let config = config
        .with_single_cert(pem::certificates(cert)?, pem::private_key(key)?)
        .map_err(wrong)?;
    Ok(Arc::new(config))
}
