//! Between nodes: mutual TLS 1.3 with certificates of our own CA, each naming its node.
//!
//! In TLS 1.3 a client's handshake ends before the server has judged the client's certificate: [`PeerTls::connect`]
//! proves who the *other* side is, not that it accepts us. That is known with its first message only.

use super::cert;
use super::pem::{self, PemError};
use super::sockets;
use crate::config::{HostPort, TlsFiles};
use crate::limits::{HANDSHAKE_SECONDS_MAX, HANDSHAKES_MAX};
use crate::op::NodeName;
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{ClientConfig, CommonState, RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
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
    /// Judges certificates of either side: a node's is for both.
    verifier: Arc<dyn ClientCertVerifier>,
}

/// Waiting callers that the system holds.
const BACKLOG: i32 = 128;

/// This node's certificate in use, and whom it trusts. Connections keep the certificates that they were made with for as
/// long as they are trusted: see [`Trust`].
pub struct PeerTls {
    current: RwLock<Arc<Pair>>,
    /// Counts how often the files were read again.
    reloads: watch::Sender<u64>,
}

/// The other side of a connection, as long as its certificate counts.
pub struct Trust {
    tls: Arc<PeerTls>,
    chain: Vec<CertificateDer<'static>>,
    reloads: watch::Receiver<u64>,
}

impl Trust {
    /// In the other side of a connection whose handshake is done.
    #[must_use]
    pub fn of(tls: &Arc<PeerTls>, connection: &CommonState) -> Self {
        let chain = connection.peer_certificates().unwrap_or_default();
        Self {
            tls: Arc::clone(tls),
            chain: chain.iter().map(|cert| cert.clone().into_owned()).collect(),
            reloads: tls.reloads.subscribe(),
        }
    }

    /// Returns with the reason once certificates were read again and the other side's is not trusted any more.
    pub async fn lost(&mut self) -> String {
        loop {
            if self.reloads.changed().await.is_err() {
                return "this node is stopping".to_owned();
            }
            if let Err(why) = self.tls.judge(&self.chain) {
                return format!("its certificate is not trusted any more: {why}");
            }
        }
    }
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
            reloads: watch::Sender::default(),
        })
    }

    /// Reads the files again; on an error the old ones stay in use.
    ///
    /// # Errors
    /// As [`PeerTls::load`].
    pub fn reload(&self, files: &TlsFiles) -> Result<(), TlsError> {
        let pair = Arc::new(pair(files)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = pair;
        self.reloads.send_modify(|count| *count = count.wrapping_add(1));
        Ok(())
    }

    /// Whether a node with these certificates would get in now.
    fn judge(&self, chain: &[CertificateDer<'static>]) -> Result<(), String> {
        let Some((end, intermediates)) = chain.split_first() else {
            return Err("it has none".to_owned());
        };
        let verifier = Arc::clone(&self.current().verifier);
        let judged = verifier.verify_client_cert(end, intermediates, UnixTime::now());
        judged.map(drop).map_err(|e| e.to_string())
    }

    fn current(&self) -> Arc<Pair> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Connects to `address`, where `expected` must be; with it comes the time that a packet took there and back. Whether it accepts us shows with its first message.
    ///
    /// # Errors
    /// Not reachable, not our CA, another node, too slow.
    pub async fn connect(
        &self,
        address: &HostPort,
        expected: &NodeName,
    ) -> Result<(client::TlsStream<TcpStream>, Duration), TlsError> {
        let text = address.to_string();
        let connected = self.connect_unbounded(address, expected);
        let bounded = tokio::time::timeout(Duration::from_secs(HANDSHAKE_SECONDS_MAX), connected);
        bounded.await.map_err(|_| TlsError::TimeOut { address: text })?
    }

    async fn connect_unbounded(
        &self,
        address: &HostPort,
        expected: &NodeName,
    ) -> Result<(client::TlsStream<TcpStream>, Duration), TlsError> {
        let network = |error| TlsError::Network {
            address: address.to_string(),
            error,
        };
        let (tcp, round_trip) = sockets::connect(address).await.map_err(network)?;
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
        Ok((tls, round_trip))
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
        let tcp = sockets::listen(address, BACKLOG).map_err(|error| TlsError::Network {
            address: address.to_string(),
            error,
        })?;
        Ok(Self {
            tcp,
            tls,
            handshakes: Arc::new(Semaphore::new(HANDSHAKES_MAX)),
        })
    }

    /// The certificates that callers are judged by.
    #[must_use]
    pub fn tls(&self) -> &Arc<PeerTls> {
        &self.tls
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
        sockets::tune(&tcp)?;
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
        .with_client_cert_verifier(Arc::clone(&verifier));
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
        verifier,
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
    let verified = verifier.verify_client_cert(first, rest, UnixTime::now());
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
