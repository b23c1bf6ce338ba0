//! Bytes both ways between two connections. While nothing moves nothing is held: a buffer lives only from a read to the
//! write that follows, and what the other side does not take yet is all that is kept, up to [`PROXY_PIECE_BYTES`].

use crate::limits::PROXY_PIECE_BYTES;
use socket2::SockRef;
use std::io;
use std::net::Shutdown;
use tokio::net::TcpStream;

/// Carries until both sides have said all, or one is broken. A side that only ends its sending half is heard to the end.
pub(super) async fn both_ways(client: &TcpStream, server: &TcpStream) -> io::Result<()> {
    tokio::try_join!(one_way(client, server), one_way(server, client)).map(drop)
}

async fn one_way(from: &TcpStream, to: &TcpStream) -> io::Result<()> {
    loop {
        from.readable().await?;
        match pass_on(from, to)? {
            Passed::Nothing => {}
            Passed::Stuck(rest) => deliver(to, &rest).await?,
            Passed::End => {
                // it may have gone already, and then there is nobody to tell
                return match SockRef::from(to).shutdown(Shutdown::Write) {
                    Err(error) if error.kind() != io::ErrorKind::NotConnected => Err(error),
                    _ => Ok(()),
                };
            }
        }
    }
}

enum Passed {
    /// What there was went over.
    Nothing,
    /// The other side takes no more now; this is left.
    Stuck(Vec<u8>),
    /// Nothing more will come.
    End,
}

/// Moves what is there, through a buffer on this stack: the task itself keeps none.
fn pass_on(from: &TcpStream, to: &TcpStream) -> io::Result<Passed> {
    let mut piece = [0; PROXY_PIECE_BYTES];
    let read = match from.try_read(&mut piece) {
        Ok(0) => return Ok(Passed::End),
        Ok(read) => read,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Passed::Nothing),
        Err(error) => return Err(error),
    };
    let piece = piece.get(..read).unwrap_or_default();
    let written = match to.try_write(piece) {
        Ok(written) => written,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
        Err(error) => return Err(error),
    };
    match piece.get(written..) {
        Some(rest) if !rest.is_empty() => Ok(Passed::Stuck(rest.to_vec())),
        _ => Ok(Passed::Nothing),
    }
}

/// Writes all of it; meanwhile nothing is read: that is the back-pressure.
pub(super) async fn deliver(to: &TcpStream, mut rest: &[u8]) -> io::Result<()> {
    while !rest.is_empty() {
        to.writable().await?;
        match to.try_write(rest) {
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
