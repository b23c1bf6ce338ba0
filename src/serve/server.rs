//! Listeners of the front end: accepts, bounds, encrypts, and runs one session a connection.

use super::accounts::Accounts;
use super::census::{Census, Seat};
use super::counts::Counts;
use super::imap::{Session, Wire};
use super::room::Room;
use crate::store::change::Changer;
use crate::store::embedded::view::View;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

/// What clients may do just now. Asked at the greeting and before each command, so that a promotion or a fence counts
/// at once.
#[derive(Clone)]
pub enum Access {
    /// Read; writes are refused with a text that names the primary's side. Sessions that could write end.
    ReadOnly,
    /// Everything: this node is the primary, and changes are made by this changer.
    ReadWrite(Arc<dyn Changer>),
    /// Nothing: the greeting is `BYE [UNAVAILABLE]` with this text, and running sessions end with it.
    Closed(String),
}

/// Answers what clients may do just now.
pub type AccessCheck = Arc<dyn Fn() -> Access + Send + Sync>;

/// Bounds of one front end.
#[derive(Clone, Debug)]
pub struct ServeLimits {
    /// Connections at a time.
    pub connections: usize,
    /// Connections at a time from one address that have not logged in (IMAP), or in all (LMTP); loopback is exempt.
    pub per_address: usize,
    /// Sessions at a time of one user.
    pub per_user: usize,
    /// Time to log in, the TLS handshake included.
    pub login: Duration,
    /// Time without a command, also inside IDLE (RFC 9051 section 5.4: at least 30 minutes).
    pub idle: Duration,
    /// Time for a client to take what it asked for, per chunk written.
    pub write: Duration,
    /// Failed logins before the connection ends.
    pub failed_logins: u32,
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            per_address: 1000,
            per_user: 100,
            login: Duration::from_secs(60),
            idle: Duration::from_secs(30 * 60),
            write: Duration::from_secs(5 * 60),
            failed_logins: 5,
        }
    }
}

/// The certificate in use, asked for at each handshake, so that a new one counts at once.
pub type TlsNow = Arc<dyn Fn() -> TlsAcceptor + Send + Sync>;

/// Everything that the sessions of one front end share.
#[derive(Clone)]
pub struct FrontEnd {
    /// The mail.
    pub view: Arc<dyn View>,
    /// Who may log in.
    pub auth: Arc<Accounts>,
    /// What clients may do now.
    pub access: AccessCheck,
    /// Bounds.
    pub limits: ServeLimits,
    /// Certificate for STARTTLS and implicit TLS; without it logins are for loopback only.
    pub tls: Option<TlsNow>,
    /// Who is connected.
    pub census: Arc<Census>,
    /// What happened.
    pub counts: Counts,
    /// Memory for messages on their way in.
    pub room: Room,
}

/// One client's connection, as its session sees it.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// Where it comes from.
    pub peer: SocketAddr,
    /// True where the connection is encrypted.
    pub encrypted: bool,
}

impl Client {
    /// True where a password may be sent: encrypted, or it never leaves this machine.
    #[must_use]
    pub fn may_send_password(&self) -> bool {
        self.encrypted || self.peer.ip().to_canonical().is_loopback()
    }
}

/// Serves IMAP on `listener` until `shutdown` becomes true; then running sessions end with BYE. `implicit_tls`: the
/// handshake comes first (port 993); it needs `front.tls`.
pub async fn serve_imap(
    listener: TcpListener,
    front: FrontEnd,
    implicit_tls: bool,
    mut shutdown: watch::Receiver<bool>,
) {
    let front = Arc::new(front);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = raised(&mut shutdown) => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                let Some(seat) = front.census.admit(peer.ip(), &front.limits) else {
                    front.counts.refused.inc();
                    tracing::warn!(%peer, "too many IMAP connections: refused");
                    continue;
                };
                let (front, shutdown) = (Arc::clone(&front), shutdown.clone());
                tokio::spawn(async move {
                    let counts = front.counts.clone();
                    counts.connections.inc();
                    Box::pin(connection(stream, (peer, seat), front, implicit_tls, shutdown)).await;
                    counts.connections.dec();
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accept on the IMAP listener");
                // out of file descriptors: don't spin until some are free again
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

/// Returns once the flag is true, or its sender is gone.
pub(super) async fn raised(shutdown: &mut watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|stop| *stop).await;
}

async fn connection(
    stream: TcpStream,
    (peer, seat): (SocketAddr, Seat),
    front: Arc<FrontEnd>,
    implicit_tls: bool,
    shutdown: watch::Receiver<bool>,
) {
    let _ = stream.set_nodelay(true);
    let (write, began) = (front.limits.write, Instant::now());
    let wire = if implicit_tls {
        let Some(tls) = front.tls.clone() else {
            tracing::error!("implicit TLS without a certificate: connection refused");
            return;
        };
        match tokio::time::timeout(front.limits.login, tls().accept(stream)).await {
            Ok(Ok(stream)) => Wire::new(Box::new(stream), write),
            Ok(Err(error)) => return tracing::debug!(%peer, %error, "TLS handshake of an IMAP client"),
            Err(_) => {
                front.counts.cut_off.inc();
                return;
            }
        }
    } else {
        Wire::new(Box::new(stream), write)
    };
    let client = Client {
        peer,
        encrypted: implicit_tls,
    };
    Session::new(front, (client, seat), wire, (began, shutdown)).run().await;
}
