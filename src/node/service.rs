//! Watches the mail service beside a primary as a client and a delivering server find it: an IMAP greeting and CAPABILITY,
//! an LMTP greeting and LHLO. The other failure level, the node itself, is the peers' to watch.
//!
//! Where it is told a user and a password, it also logs in ([`login`]).
//!
//! Where the doors are is configured, or read from Dovecot's configuration once a minute. A door that was only read there
//! counts as down only after it has answered once: it may lie in a container, or speak another protocol first.

mod login;

use super::fencing;
use super::group::GroupHandle;
use crate::config::{Config, EmbeddedConfig, HostPort, ServiceAddress, StoreConfig};
use crate::control::status::{Answers, ServiceStatus};
use crate::io::clock::{self, Stopwatch};
use crate::limits::{SERVICE_EVERY_SECONDS, SERVICE_LINE_BYTES_MAX, SERVICE_LINES_MAX, SERVICE_SECONDS_MAX};
use crate::telemetry;
use login::Logins;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};
use tracing::Instrument;

/// Dovecot's configuration is asked anew so often.
const FIND_AGAIN: Duration = Duration::from_secs(60);

/// One task for each group.
pub(super) fn tasks(
    groups: &[GroupHandle],
    config: &Config,
) -> impl Iterator<Item = impl Future<Output = ()> + Send + use<>> {
    let ca = config.tls.ca.clone();
    groups.iter().cloned().map(move |group| {
        let name = telemetry::group(&group.config.name);
        watch(group, ca.clone()).instrument(name)
    })
}

async fn watch(group: GroupHandle, ca: PathBuf) {
    let (mut imap, mut lmtp) = (Door::new(Protocol::Imap), Door::new(Protocol::Lmtp));
    let mut logins = match &group.config.store {
        StoreConfig::Dovecot(dovecot) => Logins::new(dovecot.watch.clone(), ca),
        StoreConfig::Embedded(_) => Logins::new(None, ca),
    };
    let mut found: Option<Stopwatch> = None;
    let mut was = ServiceStatus::default();
    loop {
        if group.standing().may_write() && !group.is_draining() {
            if found.as_ref().is_none_or(|found| found.elapsed() > FIND_AGAIN) {
                [imap.at, lmtp.at] = find(&group).await;
                found = Some(Stopwatch::start());
            }
            let (of_imap, of_lmtp) = tokio::join!(imap.look(), lmtp.look());
            logins.heed(of_imap.0);
            // asked to hand over meanwhile: what was found is the fence's doing
            if !group.is_draining() {
                was = status(was, of_imap, of_lmtp);
                // what a login finds takes longer, and nobody waits for it
                group.doors().serves(Some(logins.told(was.clone())));
                if logins.try_if_due(imap.address()).await && !group.is_draining() {
                    group.doors().serves(Some(logins.told(was.clone())));
                }
            }
        } else if !group.is_draining() {
            group.doors().serves(None);
        }
        tokio::time::sleep(Duration::from_secs(SERVICE_EVERY_SECONDS)).await;
    }
}

type Looked = (Option<Answers>, Option<String>);

fn status(was: ServiceStatus, (imap, no_imap): Looked, (lmtp, no_lmtp): Looked) -> ServiceStatus {
    let same = (was.imap, was.lmtp) == (imap, lmtp) && was.since_ms > 0;
    let why = [no_imap, no_lmtp].into_iter().flatten().collect::<Vec<_>>().join("; ");
    let now = ServiceStatus {
        imap,
        lmtp,
        since_ms: if same { was.since_ms } else { clock::unix_ms() },
        why: Some(why).filter(|why| !why.is_empty()),
        ..ServiceStatus::default()
    };
    match (was.up(), now.up()) {
        (Some(false), Some(true)) => tracing::info!("the mail service answers again"),
        (before, Some(false)) if before != Some(false) => {
            tracing::error!(why = now.why, "the mail service does not answer");
        }
        _ => {}
    }
    now
}

/// Where a door is, and whether that is sure.
type Place = Option<(ServiceAddress, bool)>;

struct Door {
    protocol: Protocol,
    at: Place,
    answered: bool,
}

#[derive(Clone, Copy)]
enum Protocol {
    Imap,
    Lmtp,
}

impl Protocol {
    fn name(self) -> &'static str {
        match self {
            Self::Imap => "IMAP",
            Self::Lmtp => "LMTP",
        }
    }

    /// What it greets with, what is said to it, what it then answers in the end, and the goodbye.
    fn words(self) -> (&'static str, &'static str, &'static str, &'static str) {
        match self {
            Self::Imap => ("* OK", "w CAPABILITY\r\n", "w OK", "x LOGOUT\r\n"),
            Self::Lmtp => ("220 ", "LHLO localhost\r\n", "250 ", "QUIT\r\n"),
        }
    }
}

impl Door {
    fn new(protocol: Protocol) -> Self {
        Self {
            protocol,
            at: None,
            answered: false,
        }
    }

    fn address(&self) -> Option<&ServiceAddress> {
        self.at.as_ref().map(|(address, _)| address)
    }

    /// Whether it answers; none where that says nothing.
    async fn look(&mut self) -> Looked {
        let Some((address, sure)) = self.at.clone() else {
            return (None, None);
        };
        let limit = Duration::from_secs(SERVICE_SECONDS_MAX);
        let greeted = match tokio::time::timeout(limit, greet(&address, self.protocol)).await {
            Ok(greeted) => greeted.map_err(|e| e.to_string()),
            Err(_) => Err(format!("no greeting within {SERVICE_SECONDS_MAX} s")),
        };
        match greeted {
            Ok(()) => {
                self.answered = true;
                (Some(Answers::Up), None)
            }
            Err(why) if sure || self.answered => {
                let why = format!("{} at {address}: {why}", self.protocol.name());
                (Some(Answers::Down), Some(why))
            }
            Err(_) => (None, None),
        }
    }
}

async fn greet(address: &ServiceAddress, protocol: Protocol) -> io::Result<()> {
    match address {
        ServiceAddress::Tcp(at) => {
            let stream = TcpStream::connect((at.host.as_str(), at.port)).await?;
            converse(stream, protocol).await
        }
        ServiceAddress::Unix(path) => converse(UnixStream::connect(path).await?, protocol).await,
    }
}

async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin, protocol: Protocol) -> io::Result<()> {
    let (greeting, question, answer, goodbye) = protocol.words();
    let mut stream = BufReader::new(stream);
    let said = line(&mut stream).await?;
    if !said.starts_with(greeting) {
        return Err(io::Error::other(format!("it greets with {:?}", said.trim_end())));
    }
    stream.write_all(question.as_bytes()).await?;
    for _ in 0..SERVICE_LINES_MAX {
        if line(&mut stream).await?.starts_with(answer) {
            // it has answered; whether it hears the goodbye is no matter
            drop(stream.write_all(goodbye.as_bytes()).await);
            return Ok(());
        }
    }
    Err(io::Error::other(format!("no answer to {}", question.trim_end())))
}

async fn line(stream: &mut (impl AsyncBufReadExt + Unpin)) -> io::Result<String> {
    let mut bytes = Vec::new();
    stream
        .take(SERVICE_LINE_BYTES_MAX)
        .read_until(b'\n', &mut bytes)
        .await?;
    match bytes.is_empty() {
        true => Err(io::ErrorKind::UnexpectedEof.into()),
        false => Ok(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

/// IMAP and LMTP.
async fn find(group: &GroupHandle) -> [Place; 2] {
    let dovecot = match &group.config.store {
        StoreConfig::Embedded(embedded) => return own(embedded),
        StoreConfig::Dovecot(dovecot) => dovecot.clone(),
    };
    let sure = |address: ServiceAddress| (address, true);
    if dovecot.imap.is_some() && dovecot.lmtp.is_some() {
        return [dovecot.imap.map(sure), dovecot.lmtp.map(sure)];
    }
    let doveadm = fencing::doveadm(&dovecot);
    let asked = tokio::task::spawn_blocking(move || (doveadm.imap_door(), doveadm.lmtp_door()));
    let (imap, lmtp) = asked.await.unwrap_or_default();
    let imap = imap.map(|(host, port)| (ServiceAddress::Tcp(HostPort { host, port }), false));
    let lmtp = lmtp.map(|path| (ServiceAddress::Unix(path), false));
    [dovecot.imap.map(sure).or(imap), dovecot.lmtp.map(sure).or(lmtp)]
}

/// The embedded store's own, over loopback where it listens everywhere.
fn own(embedded: &EmbeddedConfig) -> [Place; 2] {
    [embedded.imap, embedded.lmtp].map(|address| {
        let address: SocketAddr = address?;
        let host = match (address.ip().is_unspecified(), address.is_ipv4()) {
            (false, _) => address.ip().to_string(),
            (true, true) => "127.0.0.1".to_owned(),
            (true, false) => "::1".to_owned(),
        };
        let port = address.port();
        Some((ServiceAddress::Tcp(HostPort { host, port }), true))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A door that says these lines and keeps the connection open.
    async fn answering(lines: &'static str) -> Place {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                stream.write_all(lines.as_bytes()).await.unwrap();
                tokio::spawn(async move {
                    let mut said = Vec::new();
                    drop(stream.read_to_end(&mut said).await);
                });
            }
        });
        let host = "127.0.0.1".to_owned();
        Some((ServiceAddress::Tcp(HostPort { host, port }), true))
    }

    async fn looked(protocol: Protocol, at: Place) -> Looked {
        Door {
            at,
            ..Door::new(protocol)
        }
        .look()
        .await
    }

    #[tokio::test]
    async fn a_service_that_listens_and_does_not_serve_is_down() {
        let imap = answering("* OK ready\r\n* CAPABILITY IMAP4rev1\r\nw OK done\r\n").await;
        assert_eq!(looked(Protocol::Imap, imap).await, (Some(Answers::Up), None));
        let lmtp = answering("220 ready\r\n250-PIPELINING\r\n250 SIZE\r\n").await;
        assert_eq!(looked(Protocol::Lmtp, lmtp).await.0, Some(Answers::Up));
        for lines in ["* BYE too many\r\n", "", "* OK ready\r\n"] {
            let (answers, why) = looked(Protocol::Imap, answering(lines).await).await;
            assert_eq!(answers, Some(Answers::Down), "{lines:?}");
            assert!(why.unwrap().starts_with("IMAP at 127.0.0.1:"));
        }
    }

    #[tokio::test]
    async fn a_door_that_was_guessed_and_never_answered_is_not_said_to_be_down() {
        let nowhere = || ServiceAddress::Unix("/nowhere/lmtp".into());
        let mut door = Door {
            at: Some((nowhere(), false)),
            ..Door::new(Protocol::Lmtp)
        };
        assert_eq!(door.look().await, (None, None));
        door.answered = true;
        assert_eq!(door.look().await.0, Some(Answers::Down));
        assert_eq!(
            looked(Protocol::Lmtp, Some((nowhere(), true))).await.0,
            Some(Answers::Down)
        );
    }

    #[test]
    fn since_when_it_is_down_outlasts_the_next_look() {
        let down = |was| status(was, (Some(Answers::Down), Some("no".to_owned())), (None, None));
        let first = down(ServiceStatus::default());
        assert_eq!(first.up(), Some(false));
        let longer = ServiceStatus {
            since_ms: first.since_ms - 5_000,
            ..first
        };
        assert_eq!(down(longer.clone()).since_ms, longer.since_ms);
    }
}
