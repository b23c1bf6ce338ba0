//! Between nodes: mutual TLS 1.3 with certificates of our own CA, each naming its node.
//!
//! In TLS 1.3 a client's handshake ends before the server has judged the client's certificate: [`PeerTls::connect`]
//! proves who the *other* side is, not that it accepts us. That is known with its first message only.

use super::cert;
use super::pem::{self, PemError};
use crate::config::{HostPort, TlsFiles};
use crate::limits::{HANDSHAKE_SECONDS_MAX, HANDSHAKES_MAX};
use crate::op::NodeName;
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{ClientConfig, CommonState, RootCertStore, ServerConfig};
use rustls_pki_types::ServerName;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

/// The protocol that nodes speak (ALPN): a peer of another major version ends the handshake.
pub const ALPN: &[u8] = b"mailshadow/1";

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate, key or CA file can't be used.
    #[error(transparent)]
    File(#[from] PemError),
    /// Certificate and key don't fit, or the CA can't be used.
    #[error("certificates: {0}")]
    Certificates(String),
    /// Nobody listens there, or the network fails.
    #[error("{address}: {error}")]
    Network {
        /// The other side.
        address: String,
        /// What the system says.
        error: std::io::Error,
    },
    /// The handshake failed: no certificate, foreign CA, expired, not our protocol.
    #[error("{address}: handshake refused: {why}")]
    Handshake {
        /// The other side.
        address: String,
        /// What TLS says.
        why: String,
    },
    /// A certificate of our CA, but of somebody else.
    #[error("{address}: its certificate names {found}, expected {expected}")]
    Stranger {
        /// The other side.
        address: String,
        /// Whom its certificate names.
        found: String,
        /// Who may be there.
        expected: String,
    },
    /// It took too long.
    #[error("{address}: no handshake within {HANDSHAKE_SECONDS_MAX} s")]
    TimeOut {
        /// The other side.
        address: String,
    },
}

impl TlsError {
    /// True where the other side was refused, or refused us, for what its certificate says: worth one warning and a
    /// count, not a retry storm.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Handshake { .. } | Self::Stranger { .. })
    }
}

struct Pair {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

/// This node's certificate in use. Connections keep the one that they were made with.
pub struct PeerTls {
    current: RwLock<Arc<Pair>>,
}

impl PeerTls {
    /// Reads the files.
    ///
    /// # Errors
    /// A file can't be used, or certificate and key don't fit.
    pub fn load(files: &TlsFiles) -> Result<Self, TlsError> {
        let pair = Arc::new(pair(files)?);
        Ok(Self {
            current: RwLock::new(pair),
        })
    }

    /// Reads the files again; on an error the old ones stay in use.
    ///
    /// # Errors
    /// As [`PeerTls::load`].
    pub fn reload(&self, files: &TlsFiles) -> Result<(), TlsError> {
        let pair = Arc::new(pair(files)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = pair;
        Ok(())
    }

    fn current(&self) -> Arc<Pair> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Connects to `address`, where `expected` must be. Whether it accepts us shows with its first message.
    ///
    /// # Errors
    /// Not reachable, not our CA, another node, too slow.
    pub async fn connect(
        &self,
        address: &HostPort,
        expected: &NodeName,
    ) -> Result<client::TlsStream<TcpStream>, TlsError> {
        let text = address.to_string();
        let connected = self.connect_unbounded(address, expected);
        let bounded = tokio::time::timeout(Duration::from_secs(HANDSHAKE_SECONDS_MAX), connected);
        bounded.await.map_err(|_| TlsError::TimeOut { address: text })?
    }

    async fn connect_unbounded(
        &self,
        address: &HostPort,
        expected: &NodeName,
    ) -> Result<client::TlsStream<TcpStream>, TlsError> {
        let network = |error| TlsError::Network {
            address: address.to_string(),
            error,
        };
        let tcp = TcpStream::connect((address.host.as_str(), address.port))
            .await
            .map_err(network)?;
        tcp.set_nodelay(true).map_err(network)?;
        let name = ServerName::try_from(expected.as_str().to_owned());
        let name =
            name.map_err(|e| TlsError::Certificates(format!("\"{expected}\" can't be a certificate's name: {e}")))?;
        let tls = TlsConnector::from(Arc::clone(&self.current().client))
            .connect(name, tcp)
            .await;
        let tls = tls.map_err(|error| handshake(address.to_string(), error))?;
        let found = node_name(tls.get_ref().1, &address.to_string())?;
        if &found != expected {
            return Err(TlsError::Stranger {
                address: address.to_string(),
                found: found.to_string(),
                expected: expected.to_string(),
            });
        }
        Ok(tls)
    }
}

/// Where peers connect to.
pub struct PeerListener {
    tcp: TcpListener,
    tls: Arc<PeerTls>,
    handshakes: Arc<Semaphore>,
}

impl PeerListener {
    /// Listens.
    ///
    /// # Errors
    /// The port is taken or not ours to take.
    pub async fn bind(address: SocketAddr, tls: Arc<PeerTls>) -> Result<Self, TlsError> {
        let tcp = TcpListener::bind(address).await.map_err(|error| TlsError::Network {
            address: address.to_string(),
            error,
        })?;
        Ok(Self {
            tcp,
            tls,
            handshakes: Arc::new(Semaphore::new(HANDSHAKES_MAX)),
        })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system does not say.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// The next caller, as soon as fewer than [`HANDSHAKES_MAX`] handshakes are open; finish it in a task of its own.
    ///
    /// # Errors
    /// The system can't accept (out of file descriptors): pause, then call again.
    pub async fn accept(&self) -> std::io::Result<Caller> {
        let permit = Arc::clone(&self.handshakes)
            .acquire_owned()
            .await
            .map_err(std::io::Error::other)?;
        let (tcp, address) = self.tcp.accept().await?;
        tcp.set_nodelay(true)?;
        Ok(Caller {
            tcp,
            address,
            server: Arc::clone(&self.tls.current().server),
            limit: Duration::from_secs(HANDSHAKE_SECONDS_MAX),
            _permit: permit,
        })
    }
}

/// Somebody who connected and has not proved anything yet.
pub struct Caller {
    tcp: TcpStream,
    address: SocketAddr,
    server: Arc<ServerConfig>,
    /// Longest handshake.
    pub(super) limit: Duration,
    _permit: OwnedSemaphorePermit,
}

impl Caller {
    /// Its address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Shakes hands, and says which node it is. `is_known` decides whether that node may connect at all.
    ///
    /// # Errors
    /// No certificate of our CA, an unknown name, too slow.
    pub async fn finish(
        self,
        is_known: impl Fn(&NodeName) -> bool,
    ) -> Result<(server::TlsStream<TcpStream>, NodeName), TlsError> {
        let address = self.address.to_string();
        let accepting = TlsAcceptor::from(self.server).accept(self.tcp);
        let accepted = tokio::time::timeout(self.limit, accepting).await;
        let tls = match accepted {
            Err(_) => return Err(TlsError::TimeOut { address }),
            Ok(Err(error)) => return Err(handshake(address, error)),
            Ok(Ok(tls)) => tls,
        };
        let name = node_name(tls.get_ref().1, &address)?;
        if !is_known(&name) {
            return Err(TlsError::Stranger {
                address,
                found: name.to_string(),
                expected: "a peer of the configuration".to_owned(),
            });
        }
        Ok((tls, name))
    }
}

/// A TLS failure carries a [`rustls::Error`]; what else goes wrong is the network's fault.
fn handshake(address: String, error: std::io::Error) -> TlsError {
    let tls = error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>());
    if tls || error.kind() == std::io::ErrorKind::UnexpectedEof {
        let why = error.to_string();
        TlsError::Handshake { address, why }
    } else {
        TlsError::Network { address, error }
    }
}

/// Who the other side's certificate says it is, and that it speaks our protocol.
fn node_name(state: &CommonState, address: &str) -> Result<NodeName, TlsError> {
    let address = address.to_owned();
    if state.alpn_protocol() != Some(ALPN) {
        let why = "it does not speak mailshadow/1".to_owned();
        return Err(TlsError::Handshake { address, why });
    }
    let first = state.peer_certificates().and_then(|chain| chain.first());
    let node = first.and_then(|der| cert::facts_of(der)).and_then(|facts| facts.node);
    node.ok_or(TlsError::Stranger {
        address,
        found: "no node".to_owned(),
        expected: format!("one {}NAME", cert::NODE_URI),
    })
}

fn pair(files: &TlsFiles) -> Result<Pair, TlsError> {
    let roots = Arc::new(roots(&files.ca)?);
    let wrong = |e: rustls::Error| {
        TlsError::Certificates(format!("{} with {}: {e}", files.cert.display(), files.key.display()))
    };
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider)).build();
    let verifier = verifier.map_err(|e| TlsError::Certificates(format!("{}: {e}", files.ca.display())))?;
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let server = server
        .with_protocol_versions(&[&TLS13])
        .map_err(wrong)?
        .with_client_cert_verifier(verifier);
    let mut server = server
        .with_single_cert(pem::certificates(&files.cert)?, pem::private_key(&files.key)?)
        .map_err(wrong)?;
    server.alpn_protocols = vec![ALPN.to_vec()];
    // no resumption: a ticket would let a peer in with a certificate that was replaced meanwhile
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;
    let client = ClientConfig::builder_with_provider(provider);
    let client = client
        .with_protocol_versions(&[&TLS13])
        .map_err(wrong)?
        .with_root_certificates(roots);
    let mut client = client
        .with_client_auth_cert(pem::certificates(&files.cert)?, pem::private_key(&files.key)?)
        .map_err(wrong)?;
    client.alpn_protocols = vec![ALPN.to_vec()];
    client.resumption = Resumption::disabled();
    Ok(Pair {
        server: Arc::new(server),
        client: Arc::new(client),
    })
}

/// Whether the CA in these files vouches for the certificate in them: a node whose own does not is refused by all others.
///
/// # Errors
/// It does not, or a file can't be used.
pub fn vouches(files: &TlsFiles) -> Result<(), TlsError> {
    let provider = Arc::new(ring::default_provider());
    let wrong =
        |e: String| TlsError::Certificates(format!("{} with {}: {e}", files.cert.display(), files.ca.display()));
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(&files.ca)?), provider).build();
    let verifier = verifier.map_err(|e| wrong(e.to_string()))?;
    let chain = pem::certificates(&files.cert)?;
    let (first, rest) = chain.split_first().ok_or_else(|| wrong("no certificate".to_owned()))?;
    let verified = verifier.verify_client_cert(first, rest, rustls_pki_types::UnixTime::now());
    verified.map(|_| ()).map_err(|e| wrong(e.to_string()))
}

fn roots(ca: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for cert in pem::certificates(ca)? {
        roots
            .add(cert)
            .map_err(|e| TlsError::Certificates(format!("{}: {e}", ca.display())))?;
    }
    Ok(roots)
}
