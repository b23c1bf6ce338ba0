//! One connection's dialogue: commands, their order, and their answers. Data is taken in [`super::data`].

use super::data::Intake;
use super::grammar::{self, Command, MailParameters, Wrong};
use super::input::{Input, Line};
use super::path::{Address, Path};
use super::recipient::{self, Place};
use crate::limits::{INTAKE_MESSAGE_BYTES_MAX, LMTP_RECIPIENTS_MAX, LMTP_WRONG_COMMANDS_MAX};
use crate::serve::census::Seat;
use crate::serve::imap::Duplex;
use crate::serve::server::{Access, FrontEnd, raised};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// How long a client may take for its next bytes (RFC 5321 section 4.5.3.2.7).
const PATIENCE: Duration = Duration::from_secs(5 * 60);
/// Bytes of one reading.
const READ_BYTES: usize = 16 << 10;

/// Serves LMTP on `listener` until `shutdown` becomes true. `host` is what this server calls itself.
pub async fn serve_lmtp(listener: TcpListener, front: FrontEnd, host: String, mut shutdown: watch::Receiver<bool>) {
    let (front, host) = (Arc::new(front), Arc::<str>::from(host));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = raised(&mut shutdown) => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                let Some(seat) = front.census.admit(peer.ip(), &front.limits) else {
                    front.counts.refused.inc();
                    tracing::warn!(%peer, "too many connections: LMTP refused");
                    continue;
                };
                let _ = stream.set_nodelay(true);
                let session = Session::new(Arc::clone(&front), (peer, Arc::clone(&host)), Box::new(stream));
                tokio::spawn(Box::pin(session.run(seat, shutdown.clone())));
            }
            Err(error) => {
                tracing::warn!(%error, "accept on the LMTP listener");
                // out of file descriptors: don't spin until some are free again
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

/// The dialogue is over.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// The client went, failed or stalled.
    Gone,
    /// We end it, with this line.
    Bye(String),
}

impl From<std::io::Error> for Over {
    fn from(_: std::io::Error) -> Self {
        Self::Gone
    }
}

/// A recipient that was accepted.
#[derive(Clone, Debug)]
pub(super) struct Recipient {
    pub(super) address: Address,
    pub(super) place: Place,
}

/// What a transaction has so far.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    pub(super) from: Path,
    pub(super) parameters: MailParameters,
    pub(super) recipients: Vec<Recipient>,
    /// What came by BDAT so far.
    pub(super) chunks: Option<Intake>,
}

/// One connection.
pub(super) struct Session {
    pub(super) front: Arc<FrontEnd>,
    pub(super) peer: SocketAddr,
    pub(super) host: Arc<str>,
    pub(super) helo: String,
    pub(super) input: Input,
    pub(super) id: String,
    pub(super) transactions: u32,
    pub(super) transaction: Option<Transaction>,
    stream: Option<Box<dyn Duplex>>,
    answers: Vec<u8>,
    encrypted: bool,
    wrong: u32,
}

impl Session {
    fn new(front: Arc<FrontEnd>, (peer, host): (SocketAddr, Arc<str>), stream: Box<dyn Duplex>) -> Self {
        Self {
            front,
            peer,
            host,
            helo: "unknown".to_owned(),
            input: Input::default(),
            id: identifier(),
            transactions: 0,
            transaction: None,
            stream: Some(stream),
            answers: Vec::new(),
            encrypted: false,
            wrong: 0,
        }
    }

    async fn run(mut self, _seat: Seat, mut shutdown: watch::Receiver<bool>) {
        self.front.counts.connections.inc();
        let ended = tokio::select! {
            ended = self.serve() => ended,
            () = raised(&mut shutdown) => Err(Over::Bye("421 4.3.2 Shutting down".to_owned())),
        };
        if let Err(Over::Bye(line)) = ended {
            self.reply(&line);
            let _ = self.flush().await;
        }
        if let Some(mut stream) = self.stream.take() {
            let _ = tokio::time::timeout(Duration::from_secs(1), stream.shutdown()).await;
        }
        self.front.counts.connections.dec();
    }

    async fn serve(&mut self) -> Result<(), Over> {
        if !self.is_primary() {
            return Err(Over::Bye("421 4.3.2 This node is not the primary".to_owned()));
        }
        self.reply(&format!("220 {} mailshadow ready.", self.host));
        loop {
            match self.line().await? {
                Line::TooLong => self.wrong("500 5.5.2 Line too long")?,
                Line::Whole(line) => match grammar::parse(&line) {
                    Ok(Command::Quit) => {
                        self.reply("221 2.0.0 Bye");
                        return self.flush().await;
                    }
                    Ok(command) => Box::pin(self.obey(command)).await?,
                    Err(Wrong(text)) => self.wrong(&text)?,
                },
            }
        }
    }

    /// True where messages may be taken.
    pub(super) fn is_primary(&self) -> bool {
        matches!((self.front.access)(), Access::ReadWrite(_))
    }

    async fn obey(&mut self, command: Command) -> Result<(), Over> {
        match command {
            Command::Lhlo(name) => {
                self.helo = name;
                self.transaction = None;
                self.greet();
            }
            Command::Mail(from, parameters) => self.mail(from, parameters),
            Command::Rcpt(address) => self.rcpt(address).await,
            Command::Data => self.data().await?,
            Command::Bdat(octets, last) => self.chunks(octets, last).await?,
            Command::Rset => {
                self.transaction = None;
                self.reply("250 2.0.0 OK");
            }
            Command::Noop => self.reply("250 2.0.0 OK"),
            Command::Vrfy => self.reply("252 2.3.3 Try RCPT instead"),
            Command::StartTls => self.start_tls().await?,
            Command::Quit => {}
        }
        Ok(())
    }

    fn greet(&mut self) {
        let tls = if self.front.tls.is_some() && !self.encrypted {
            "250-STARTTLS\r\n"
        } else {
            ""
        };
        let text = format!(
            "250-{}\r\n250-8BITMIME\r\n250-CHUNKING\r\n250-ENHANCEDSTATUSCODES\r\n250-PIPELINING\r\n{tls}\
             250-SIZE {INTAKE_MESSAGE_BYTES_MAX}\r\n250 SMTPUTF8",
            self.host
        );
        self.reply(&text);
    }

    fn mail(&mut self, from: Path, parameters: MailParameters) {
        if self.transaction.is_some() {
            return self.reply("503 5.5.0 MAIL already given");
        }
        if !self.is_primary() {
            return self.reply("451 4.3.2 This node is not the primary");
        }
        if parameters.size.is_some_and(|size| size > INTAKE_MESSAGE_BYTES_MAX) {
            return self.reply("552 5.3.4 Message too big");
        }
        self.transaction = Some(Transaction {
            from,
            parameters,
            ..Transaction::default()
        });
        self.reply("250 2.1.0 OK");
    }

    async fn rcpt(&mut self, address: Address) {
        let Some(transaction) = &self.transaction else {
            return self.reply("503 5.5.0 MAIL needed first");
        };
        let shown = address.text.clone();
        if !transaction.parameters.utf8 && !shown.is_ascii() {
            return self.reply("553 5.6.7 Address needs SMTPUTF8");
        }
        if transaction.recipients.len() >= LMTP_RECIPIENTS_MAX {
            return self.reply("452 4.5.3 Too many recipients");
        }
        if !self.is_primary() {
            return self.reply(&format!("451 4.3.2 <{shown}> This node is not the primary"));
        }
        let (view, users, wanted) = (
            Arc::clone(&self.front.view),
            Arc::clone(&self.front.auth),
            address.clone(),
        );
        let looked = tokio::task::spawn_blocking(move || recipient::find(&wanted, view.as_ref(), &users)).await;
        match looked {
            Ok(Ok(Some(place))) => {
                if let Some(transaction) = &mut self.transaction {
                    transaction.recipients.push(Recipient { address, place });
                }
                self.reply("250 2.1.5 OK");
            }
            Ok(Ok(None)) => self.reply(&format!("550 5.1.1 <{shown}> User doesn't exist: {shown}")),
            Ok(Err(error)) => {
                tracing::error!(%error, "a recipient can't be looked up");
                self.reply(&format!("451 4.3.0 <{shown}> Recipients can't be looked up just now"));
            }
            Err(_) => self.reply(&format!("451 4.3.0 <{shown}> Recipients can't be looked up just now")),
        }
    }

    /// What the client sent behind STARTTLS in the clear is not obeyed: the connection ends.
    async fn start_tls(&mut self) -> Result<(), Over> {
        let Some(tls) = self.front.tls.clone().filter(|_| !self.encrypted) else {
            return self.wrong("502 5.5.1 TLS is not offered");
        };
        if !self.input.is_empty() {
            return Err(Over::Gone);
        }
        self.reply("220 2.0.0 Begin TLS negotiation now.");
        self.flush().await?;
        let stream = self.stream.take().ok_or(Over::Gone)?;
        let accepted = tokio::time::timeout(self.front.limits.login, tls().accept(stream)).await;
        let stream = accepted.map_err(|_| Over::Gone)?.map_err(Over::from)?;
        self.stream = Some(Box::new(stream));
        (self.encrypted, self.transaction) = (true, None);
        Ok(())
    }

    /// Answers a command that makes no sense; who sends many is no mail server.
    fn wrong(&mut self, text: &str) -> Result<(), Over> {
        self.wrong = self.wrong.saturating_add(1);
        if self.wrong >= LMTP_WRONG_COMMANDS_MAX {
            self.front.counts.cut_off.inc();
            return Err(Over::Bye("421 4.7.0 Too many invalid commands".to_owned()));
        }
        self.reply(text);
        Ok(())
    }

    /// Adds to the answer.
    pub(super) fn reply(&mut self, text: &str) {
        self.answers.extend_from_slice(text.as_bytes());
        self.answers.extend_from_slice(b"\r\n");
    }

    /// The next line. Answers are sent before it is waited for.
    async fn line(&mut self) -> Result<Line, Over> {
        loop {
            if let Some(line) = self.input.line() {
                return Ok(line);
            }
            self.more().await?;
        }
    }

    /// Waits for more bytes; answers are sent before.
    pub(super) async fn more(&mut self) -> Result<(), Over> {
        self.flush().await?;
        let mut chunk = vec![0; READ_BYTES];
        let stream = self.stream.as_mut().ok_or(Over::Gone)?;
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut chunk)).await;
        let n = read.map_err(|_| Over::Bye("421 4.4.2 Disconnected for inactivity".to_owned()))??;
        if n == 0 {
            return Err(Over::Gone);
        }
        self.input.push(chunk.get(..n).unwrap_or_default());
        Ok(())
    }

    pub(super) async fn flush(&mut self) -> Result<(), Over> {
        let answers = std::mem::take(&mut self.answers);
        let stream = self.stream.as_mut().ok_or(Over::Gone)?;
        let write = async {
            stream.write_all(&answers).await?;
            stream.flush().await
        };
        let written = tokio::time::timeout(self.front.limits.write, write).await;
        written.map_err(|_| Over::Gone)?.map_err(Over::from)
    }
}

/// Unlike that of any other session since this daemon began, and most likely ever.
fn identifier() -> String {
    static SESSIONS: AtomicU64 = AtomicU64::new(0);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{:x}.{:x}", since.as_micros(), SESSIONS.fetch_add(1, Ordering::Relaxed))
}
