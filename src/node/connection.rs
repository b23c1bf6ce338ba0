//! Messages over a connection: one task reads and decodes, one encodes and writes, bounded queues between them and
//! whoever drives the session. That the writer's queue is full is the back-pressure.

use crate::codec::wire::{Message, body_length};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Decoded messages that wait to be handled.
const INCOMING_MAX: usize = 64;
/// What a connection that simply ended is told as.
pub(super) const LOST: &str = "the connection was lost";
/// Messages that wait to be written; each is at most a megabyte.
const OUTGOING_MAX: usize = 4;

/// An open connection. Dropping it closes it at once.
pub(super) struct Connection {
    /// What the peer says; ends with the reason.
    pub(super) incoming: mpsc::Receiver<Result<Message, String>>,
    /// What is said to the peer.
    pub(super) outgoing: mpsc::Sender<Message>,
    reader: JoinHandle<()>,
    writer: JoinHandle<()>,
}

impl Connection {
    /// Takes over a stream whose handshake is done.
    pub(super) fn over<S>(stream: S) -> Self
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (read, write) = tokio::io::split(stream);
        let (heard, incoming) = mpsc::channel(INCOMING_MAX);
        let (outgoing, said) = mpsc::channel(OUTGOING_MAX);
        Self {
            incoming,
            outgoing,
            reader: tokio::spawn(listen(read, heard)),
            writer: tokio::spawn(speak(write, said)),
        }
    }

    /// Lets what was said before reach the peer, for a bounded time, then closes.
    pub(super) async fn close(mut self) {
        let (closed, _) = mpsc::channel(1);
        drop(std::mem::replace(&mut self.outgoing, closed));
        let flushed = tokio::time::timeout(std::time::Duration::from_secs(1), &mut self.writer).await;
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

async fn listen(mut stream: impl AsyncRead + Unpin, heard: mpsc::Sender<Result<Message, String>>) {
    loop {
        let message = read_message(&mut stream).await;
        let ends = message.is_err();
        if heard.send(message).await.is_err() || ends {
            return;
        }
    }
}

async fn read_message(stream: &mut (impl AsyncRead + Unpin)) -> Result<Message, String> {
    let mut prefix = [0; 4];
    stream.read_exact(&mut prefix).await.map_err(lost)?;
    let length = body_length(prefix).map_err(|e| e.to_string())?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.map_err(lost)?;
    Message::decode(&body).map_err(|e| e.to_string())
}

/// A peer that was killed closes without a word; that is for acknowledgements to sort out, not for people to read.
#[expect(clippy::needless_pass_by_value, reason = "as map_err hands it over")]
fn lost(error: std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => LOST.to_owned(),
        _ => error.to_string(),
    }
}

async fn speak(mut stream: impl AsyncWrite + Unpin, mut said: mpsc::Receiver<Message>) {
    while let Some(message) = said.recv().await {
        let bytes = match message.encode() {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::error!(%error, kind = message.kind(), "a message of ours breaks the protocol");
                return;
            }
        };
        if let Err(error) = write_all(&mut stream, &bytes, said.is_empty()).await {
            tracing::debug!(%error, "write to the peer");
            return;
        }
    }
    if let Err(error) = stream.shutdown().await {
        tracing::debug!(%error, "close the connection");
    }
}

async fn write_all(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8], flush: bool) -> std::io::Result<()> {
    stream.write_all(bytes).await?;
    if flush { stream.flush().await } else { Ok(()) }
}
