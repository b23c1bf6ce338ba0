//! Listeners of the front end: accepts, bounds, encrypts, and runs one session a connection.

use super::auth::PasswdFile;
use super::imap::{Session, Wire};
use crate::store::embedded::view::View;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// What clients may do just now. Asked at the greeting and before each command, so that a promotion or a fence counts
/// at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read; writes are refused with a text that names the primary's side.
    ReadOnly,
    /// Nothing: the greeting is `BYE` with this text, and running sessions end with it.
    Closed(String),
}

/// Answers what clients may do just now.
pub type AccessCheck = Arc<dyn Fn() -> Access + Send + Sync>;

/// Bounds of one front end.
#[derive(Clone, Debug)]
pub struct ServeLimits {
    /// Connections at a time.
    pub connections: usize,
    /// Connections at a time from one address; loopback (proxies, webmail) is exempt.
    pub per_address: usize,
    /// Time to log in.
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
            connections: 1024,
            per_address: 100,
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
    pub auth: Arc<PasswdFile>,
    /// What clients may do now.
    pub access: AccessCheck,
    /// Bounds.
    pub limits: ServeLimits,
    /// Certificate for STARTTLS and implicit TLS; without it logins are for loopback only.
    pub tls: Option<TlsNow>,
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
    let census = Arc::new(Census::default());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = raised(&mut shutdown) => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                let Some(seat) = census.admit(peer.ip(), &front.limits) else {
                    tracing::warn!(%peer, "too many IMAP connections: refused");
                    continue;
                };
                let (front, shutdown) = (Arc::clone(&front), shutdown.clone());
                tokio::spawn(async move {
                    Box::pin(connection(stream, peer, front, implicit_tls, shutdown)).await;
                    drop(seat);
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
    peer: SocketAddr,
    front: Arc<FrontEnd>,
    implicit_tls: bool,
    shutdown: watch::Receiver<bool>,
) {
    let _ = stream.set_nodelay(true);
    let write = front.limits.write;
    let wire = if implicit_tls {
        let Some(tls) = front.tls.clone() else {
            tracing::error!("implicit TLS without a certificate: connection refused");
            return;
        };
        match tokio::time::timeout(front.limits.login, tls().accept(stream)).await {
            Ok(Ok(stream)) => Wire::new(Box::new(stream), write),
            Ok(Err(error)) => return tracing::debug!(%peer, %error, "TLS handshake of an IMAP client"),
            Err(_) => return,
        }
    } else {
        Wire::new(Box::new(stream), write)
    };
    let client = Client {
        peer,
        encrypted: implicit_tls,
    };
    Session::new(front, client, wire, shutdown).run().await;
}

/// Who is connected.
#[derive(Default)]
struct Census(Mutex<HashMap<IpAddr, usize>>);

impl Census {
    fn admit(self: &Arc<Self>, address: IpAddr, limits: &ServeLimits) -> Option<Seat> {
        let mut seats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = seats.values().sum();
        let here = seats.get(&address).copied().unwrap_or_default();
        let exempt = address.to_canonical().is_loopback();
        if all >= limits.connections || (here >= limits.per_address && !exempt) {
            return None;
        }
        seats.insert(address, here.saturating_add(1));
        Some(Seat {
            census: Arc::clone(self),
            address,
        })
    }
}

/// A connection's place; given back when dropped.
struct Seat {
    census: Arc<Census>,
    address: IpAddr,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.census.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(here) = seats.get_mut(&self.address) {
            *here = here.saturating_sub(1);
            if *here == 0 {
                seats.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_can_not_take_all_seats() {
        let census = Arc::new(Census::default());
        let limits = ServeLimits {
            connections: 3,
            per_address: 1,
            ..ServeLimits::default()
        };
        let (a, b): (IpAddr, IpAddr) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        let first = census.admit(a, &limits);
        assert!(first.is_some() && census.admit(a, &limits).is_none());
        let _second = census.admit(b, &limits).unwrap();
        let local: IpAddr = [127, 0, 0, 1].into();
        let third = census.admit(local, &limits);
        assert!(third.is_some() && census.admit(local, &limits).is_none());
        drop(first);
        assert!(census.admit(local, &limits).is_some());
    }
}
