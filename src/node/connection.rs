//! Messages over a connection: one task reads and decodes, one encodes and writes; between them and whoever drives the
//! session bounded queues.

use super::outbox::Outbox;
use super::squeeze::{Manner, Squeeze};
use crate::codec::wire::{Message, Unpress, body_length};
use crate::io::tls::Trust;
use crate::limits::{SOCKET_READ_BYTES, WRITE_BYTES_MAX};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Decoded messages that wait to be handled.
const INCOMING_MAX: usize = 64;
/// What a connection that simply ended is told as.
pub(super) const LOST: &str = "the connection was lost";

/// An open connection. Dropping it closes it at once.
pub(super) struct Connection {
    /// What the peer says; ends with the reason.
    pub(super) incoming: mpsc::Receiver<Result<Message, String>>,
    /// What is said to the peer.
    pub(super) outgoing: Arc<Outbox>,
    reader: JoinHandle<()>,
    writer: JoinHandle<()>,
}

impl Connection {
    /// Takes over a stream whose handshake is done. It ends when the other side is not trusted any more.
    pub(super) fn over<S>(stream: S, manner: Manner, trust: Trust) -> Self
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (read, write) = tokio::io::split(stream);
        let (heard, incoming) = mpsc::channel(INCOMING_MAX);
        let outgoing = Arc::new(Outbox::default());
        let writer = Writer {
            stream: write,
            squeeze: Squeeze::new(manner),
        };
        Self {
            incoming,
            outgoing: Arc::clone(&outgoing),
            reader: tokio::spawn(listen(read, heard, trust)),
            writer: tokio::spawn(speak(writer, outgoing)),
        }
    }

    /// Lets what was said before reach the peer, for a bounded time, then closes.
    pub(super) async fn close(mut self) {
        self.outgoing.close();
        let flushed = tokio::time::timeout(Duration::from_secs(1), &mut self.writer).await;
        if flushed.is_err() {
            tracing::debug!("a connection was closed before its last messages were written");
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.reader.abort();
        self.writer.abort();
    }
}

async fn listen(stream: impl AsyncRead + Unpin, heard: mpsc::Sender<Result<Message, String>>, mut trust: Trust) {
    tokio::select! {
        () = pass_on(stream, &heard) => {}
        why = trust.lost() => {
            if heard.send(Err(why)).await.is_err() {
                tracing::trace!("nobody listens to this connection any more");
            }
        }
    }
}

async fn pass_on(stream: impl AsyncRead + Unpin, heard: &mpsc::Sender<Result<Message, String>>) {
    let mut stream = BufReader::with_capacity(SOCKET_READ_BYTES, stream);
    let mut unpress = Unpress::default();
    loop {
        let message = read_message(&mut stream, &mut unpress).await;
        let ends = message.is_err();
        if heard.send(message).await.is_err() || ends {
            return;
        }
    }
}

async fn read_message(stream: &mut (impl AsyncRead + Unpin), unpress: &mut Unpress) -> Result<Message, String> {
    let mut prefix = [0; 4];
    stream.read_exact(&mut prefix).await.map_err(lost)?;
    let length = body_length(prefix).map_err(|e| e.to_string())?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.map_err(lost)?;
    unpress.decode(&body).map_err(|e| e.to_string())
}

/// A peer that was killed closes without a word; that is for acknowledgements to sort out, not for people to read.
#[expect(clippy::needless_pass_by_value, reason = "as map_err hands it over")]
fn lost(error: std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => LOST.to_owned(),
        _ => error.to_string(),
    }
}

struct Writer<W> {
    stream: W,
    squeeze: Squeeze,
}

async fn speak<W: AsyncWrite + Unpin>(mut writer: Writer<W>, said: Arc<Outbox>) {
    while let Some(messages) = said.take().await {
        if let Err(why) = writer.write(messages).await {
            tracing::debug!(why, "write to the peer");
            said.close();
            return;
        }
    }
    if let Err(error) = writer.stream.shutdown().await {
        tracing::debug!(%error, "close the connection");
    }
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    /// Writes what has gathered in as few pieces as can be.
    async fn write(&mut self, messages: impl IntoIterator<Item = Message>) -> Result<(), String> {
        let mut bytes = Vec::new();
        for message in messages {
            match self.squeeze.encode(&message) {
                Ok(encoded) if bytes.is_empty() => bytes = encoded,
                Ok(encoded) => bytes.extend_from_slice(&encoded),
                Err(error) => {
                    tracing::error!(%error, kind = message.kind(), "a message of ours breaks the protocol");
                    return Err(error.to_string());
                }
            }
            if bytes.len() >= WRITE_BYTES_MAX {
                self.put(&bytes).await?;
                bytes.clear();
            }
        }
        self.put(&bytes).await
    }

    async fn put(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.stream.write_all(bytes).await.map_err(|e| e.to_string())?;
        self.stream.flush().await.map_err(|e| e.to_string())
    }
}
