//! Sockets between nodes, set so that a link that died is noticed and what is said last is not said late.

use crate::config::HostPort;
use crate::limits::{PEER_KEEPALIVE_SECONDS, PEER_UNACKNOWLEDGED_SECONDS, PEER_UNSENT_BYTES};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};

/// Connects to the first address of the name that answers. With it comes the time that the first packet took there and
/// back.
///
/// # Errors
/// The name has no address, or none of them answers: what the last one said.
pub(super) async fn connect(address: &HostPort) -> io::Result<(TcpStream, Duration)> {
    let mut failed = io::Error::other("the name has no address");
    for address in tokio::net::lookup_host((address.host.as_str(), address.port)).await? {
        let began = Instant::now();
        match TcpStream::connect(address).await {
            Ok(tcp) => {
                let round_trip = began.elapsed();
                tune(&tcp)?;
                return Ok((tcp, round_trip));
            }
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// Listens; on `[::]` for IPv4, too. The system holds up to `backlog` callers who wait.
///
/// # Errors
/// The port is taken or not ours to take.
pub(crate) fn listen(address: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    TcpListener::from_std(socket.into())
}

/// Small messages go at once; little waits unsent in the kernel, where nothing can overtake it; a silent link ends.
///
/// # Errors
/// As the system says.
pub(super) fn tune(tcp: &TcpStream) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let socket = SockRef::from(tcp);
    let every = Duration::from_secs(PEER_KEEPALIVE_SECONDS);
    socket.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(every)
            .with_interval(every)
            .with_retries(3),
    )?;
    socket.set_tcp_user_timeout(Some(Duration::from_secs(PEER_UNACKNOWLEDGED_SECONDS)))?;
    socket.set_tcp_notsent_lowat(PEER_UNSENT_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(listener: &TcpListener, host: &str) -> HostPort {
        HostPort {
            host: host.to_owned(),
            port: listener.local_addr().unwrap().port(),
        }
    }

    #[tokio::test]
    async fn one_listener_serves_both_families_and_a_single_address_its_own() {
        let both = listen("[::]:0".parse().unwrap(), 8).unwrap();
        for host in ["::1", "127.0.0.1", "localhost"] {
            let (tcp, round_trip) = connect(&port(&both, host)).await.unwrap();
            assert!(tcp.nodelay().unwrap() && round_trip < Duration::from_secs(1));
        }
        let six = listen("[::1]:0".parse().unwrap(), 8).unwrap();
        assert!(connect(&port(&six, "127.0.0.1")).await.is_err());
        connect(&port(&six, "::1")).await.unwrap();
    }
}
