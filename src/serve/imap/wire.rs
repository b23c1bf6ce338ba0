//! One connection: bytes in through the command buffer, bytes out through a small buffer of answers.

use super::compress::Deflate;
use super::line::{CommandBuffer, Event, Flood};
use crate::limits::{IMAP_ANSWER_CHUNK_BYTES, IMAP_READ_BYTES};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

/// How long a client may pause within a message that it is sending.
const MESSAGE_STALLED: Duration = Duration::from_secs(60);

/// A stream of bytes in both directions: TCP, or TLS over it.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Duplex for T {}

/// The connection is over: the client went, stalled, or must go.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Closed by the client, failed, or too slow to take its answers.
    Gone,
    /// The client announced more than we would read.
    Flood,
    /// We end it, with this text.
    Bye(String),
}

impl From<std::io::Error> for Ended {
    fn from(_: std::io::Error) -> Self {
        Self::Gone
    }
}

impl From<Flood> for Ended {
    fn from(_: Flood) -> Self {
        Self::Flood
    }
}

/// A connection with its two buffers.
pub struct Wire {
    stream: Option<Box<dyn Duplex>>,
    commands: CommandBuffer,
    answers: Vec<u8>,
    write: Duration,
    deflate: Option<Box<Deflate>>,
    /// What was read and not unpacked yet.
    packed: Vec<u8>,
    /// When the client was last heard.
    heard: Instant,
}

impl Wire {
    /// Over a stream; `write` bounds the time for a client to take a chunk.
    #[must_use]
    pub fn new(stream: Box<dyn Duplex>, write: Duration) -> Self {
        Self {
            stream: Some(stream),
            commands: CommandBuffer::new(),
            answers: Vec::new(),
            write,
            deflate: None,
            packed: Vec::new(),
            heard: Instant::now(),
        }
    }

    /// Everything is compressed from now on, in both directions.
    pub(super) fn compress(&mut self) {
        self.packed = self.commands.take_input();
        self.deflate = Some(Box::new(Deflate::new()));
    }

    pub(super) fn is_compressed(&self) -> bool {
        self.deflate.is_some()
    }

    /// The bounds of a known user from now on.
    pub(super) fn trust(&mut self) {
        self.commands.trust();
    }

    /// The announced message is taken; true where the client waits for `+`.
    pub(super) fn take_message(&mut self) -> bool {
        self.commands.take_message()
    }

    /// The announced message, and with it the command, is refused.
    pub(super) fn refuse_message(&mut self) {
        self.commands.refuse_message();
    }

    /// Messages of the command that was just handed out.
    pub(super) fn messages(&mut self) -> Vec<Vec<u8>> {
        self.commands.messages()
    }

    /// The next event. Cancel safe.
    pub(super) async fn event(&mut self) -> Result<Event, Ended> {
        let mut chunk = [0; IMAP_READ_BYTES];
        loop {
            if let Some(event) = self.commands.next()? {
                return Ok(event);
            }
            if self.unpack()? {
                continue;
            }
            let owes = self.commands.is_within_message();
            // counted from the last octet: this future is dropped and begun anew while a session waits
            let patience = self.heard + self.write.min(MESSAGE_STALLED);
            let stream = self.stream.as_mut().ok_or(Ended::Gone)?;
            let read = stream.read(&mut chunk);
            let n = if owes {
                // what is reserved for a message is not lent to somebody who sends nothing
                let read = tokio::time::timeout_at(patience, read).await;
                read.map_err(|_| Ended::Gone)??
            } else {
                read.await?
            };
            self.heard = Instant::now();
            if n == 0 {
                return Err(Ended::Gone);
            }
            let fresh = chunk.get(..n).unwrap_or_default();
            if self.is_compressed() {
                self.packed.extend_from_slice(fresh);
            } else {
                self.commands.push(fresh);
            }
        }
    }

    /// Moves some packed bytes on; false where there is nothing to move.
    fn unpack(&mut self) -> Result<bool, Ended> {
        let Some(deflate) = &mut self.deflate else {
            return Ok(false);
        };
        let (bytes, used) = deflate.unpack(&self.packed)?;
        self.packed.drain(..used.min(self.packed.len()));
        self.commands.push(&bytes);
        Ok(used > 0 || !bytes.is_empty())
    }

    /// Adds to the answer.
    pub(super) fn put(&mut self, bytes: impl AsRef<[u8]>) {
        self.answers.extend_from_slice(bytes.as_ref());
    }

    /// The answer so far, to add to. Call [`Self::room`] every now and then.
    pub(super) fn answer(&mut self) -> &mut Vec<u8> {
        &mut self.answers
    }

    /// Writes out what has come together where it is much.
    pub(super) async fn room(&mut self) -> Result<(), Ended> {
        if self.answers.len() >= IMAP_ANSWER_CHUNK_BYTES {
            self.write_answers().await?;
        }
        Ok(())
    }

    /// Adds to the answer, and writes out what has come together where it is much. Large pieces are not copied.
    pub(super) async fn stream(&mut self, bytes: &[u8]) -> Result<(), Ended> {
        if bytes.len() < IMAP_ANSWER_CHUNK_BYTES {
            self.put(bytes);
            return self.room().await;
        }
        self.write_answers().await?;
        for chunk in bytes.chunks(IMAP_ANSWER_CHUNK_BYTES) {
            self.write(chunk).await?;
        }
        Ok(())
    }

    /// Sends everything.
    pub(super) async fn flush(&mut self) -> Result<(), Ended> {
        self.write_answers().await?;
        let write = self.write;
        let stream = self.stream.as_mut().ok_or(Ended::Gone)?;
        tokio::time::timeout(write, stream.flush())
            .await
            .map_err(|_| Ended::Gone)?
            .map_err(Ended::from)
    }

    async fn write_answers(&mut self) -> Result<(), Ended> {
        let answers = std::mem::take(&mut self.answers);
        self.write(&answers).await?;
        self.answers = answers;
        self.answers.clear();
        Ok(())
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Ended> {
        let write = self.write;
        let packed = match &mut self.deflate {
            Some(deflate) if !bytes.is_empty() => Some(deflate.pack(bytes)?),
            _ => None,
        };
        let bytes = packed.as_deref().unwrap_or(bytes);
        let stream = self.stream.as_mut().ok_or(Ended::Gone)?;
        tokio::time::timeout(write, stream.write_all(bytes))
            .await
            .map_err(|_| Ended::Gone)?
            .map_err(Ended::from)
    }

    /// Begins TLS. What the client sent behind STARTTLS in the clear is not obeyed: the connection ends.
    pub(super) async fn encrypt(&mut self, tls: &TlsAcceptor, patience: Duration) -> Result<(), Ended> {
        if !self.commands.is_empty() {
            return Err(Ended::Gone);
        }
        let stream = self.stream.take().ok_or(Ended::Gone)?;
        let accepted = tokio::time::timeout(patience, tls.accept(stream)).await;
        let stream = accepted.map_err(|_| Ended::Gone)?.map_err(Ended::from)?;
        self.stream = Some(Box::new(stream));
        Ok(())
    }

    /// Says goodbye to the transport; errors no longer matter.
    pub(super) async fn close(&mut self) {
        let _ = self.flush().await;
        if let Some(stream) = self.stream.as_mut() {
            let _ = tokio::time::timeout(Duration::from_secs(1), stream.shutdown()).await;
        }
    }
}
