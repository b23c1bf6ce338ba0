//! The rim: clocks, locks, certificates, TLS. What the pure rooms must not touch.

pub mod cert;
pub mod clock;
pub mod front;
#[cfg(test)]
mod handshakes;
pub mod hook;
pub mod lifecycle;
pub mod lock;
pub mod pem;
pub mod probe;
pub mod renewal;
pub(crate) mod sockets;
pub mod tls;
