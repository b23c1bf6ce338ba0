//! Logs in to an IMAP server as a client would: over TLS from the first byte, or plain and by STARTTLS where the server
//! takes no password without; the certificate checked against the system's roots and our own CA.

use super::pem;
use crate::config::{HostPort, ServiceAddress};
use crate::limits::{PROBE_ANSWER_BYTES_MAX, PROBE_PASSWORD_BYTES_MAX};
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Where distributions keep the roots that programs trust.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Whom to log in as, and where.
#[derive(Clone, Copy, Debug)]
pub struct Login<'a> {
    /// Where.
    pub door: Door<'a>,
    /// Name that the server's certificate must have.
    pub tls_name: &'a str,
    /// User name.
    pub user: &'a str,
    /// File whose first line is the password.
    pub password_file: &'a Path,
    /// Our own CA, trusted beside the system's.
    pub ca: &'a Path,
}

/// Where a server takes logins.
#[derive(Clone, Copy, Debug)]
pub enum Door<'a> {
    /// TLS from the first byte.
    Tls(&'a HostPort),
    /// Plain; TLS begins where the server asks for it (`LOGINDISABLED`, RFC 9051, section 6.2.3).
    Plain(&'a ServiceAddress),
}

/// Why nobody came in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// The server's word on user and password: no.
    #[error("{0}")]
    Refused(String),
    /// It came to no answer, or to one that says nothing about user and password.
    #[error("{0}")]
    Failed(String),
}

impl From<std::io::Error> for LoginError {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl Login<'_> {
    /// Logs in, selects INBOX, logs out. The caller bounds the time.
    ///
    /// # Errors
    /// What stands against it, for people.
    pub async fn open_inbox(&self) -> Result<(), LoginError> {
        self.run(&["SELECT INBOX"]).await
    }

    /// Logs in and out; no mailbox is touched. The caller bounds the time.
    ///
    /// # Errors
    /// What stands against it, for people.
    pub async fn come_in(&self) -> Result<(), LoginError> {
        self.run(&[]).await
    }

    async fn run(&self, commands: &[&str]) -> Result<(), LoginError> {
        let password = password(self.password_file).map_err(LoginError::Failed)?;
        let who = Who {
            user: self.user,
            password: &password,
        };
        match self.door {
            Door::Tls(at) => {
                let stream = self.secure(connect(at).await?).await?;
                let mut talk = Talk::new(stream);
                talk.greeting().await?;
                talk.converse(who, commands).await
            }
            Door::Plain(ServiceAddress::Tcp(at)) => self.maybe_secure(connect(at).await?, who, commands).await,
            Door::Plain(ServiceAddress::Unix(path)) => {
                let stream = UnixStream::connect(path).await?;
                self.maybe_secure(stream, who, commands).await
            }
        }
    }

    async fn maybe_secure<S>(&self, stream: S, who: Who<'_>, commands: &[&str]) -> Result<(), LoginError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut talk = Talk::new(stream);
        talk.greeting().await?;
        if talk.takes_passwords().await? {
            return talk.converse(who, commands).await;
        }
        talk.done("t", "STARTTLS").await?;
        let mut talk = Talk::new(self.secure(talk.into_stream()?).await?);
        talk.converse(who, commands).await
    }

    async fn secure<S>(&self, stream: S) -> Result<TlsStream<S>, LoginError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(self.tls_name.to_owned());
        let name = name.map_err(|e| LoginError::Failed(format!("{}: {e}", self.tls_name)))?;
        let connector = TlsConnector::from(Arc::new(self.config().map_err(LoginError::Failed)?));
        Ok(connector.connect(name, stream).await?)
    }

    fn config(&self) -> Result<ClientConfig, String> {
        let mut roots = RootCertStore::empty();
        let system = Path::new(SYSTEM_ROOTS);
        for file in [system, self.ca].into_iter().filter(|file| file.exists()) {
            let certificates = pem::certificates(file).map_err(|e| e.to_string())?;
            roots.add_parsable_certificates(certificates);
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config.with_protocol_versions(&[&TLS13]).map_err(|e| e.to_string())?;
        Ok(config.with_root_certificates(roots).with_no_client_auth())
    }
}

/// The first line of a file with a password.
///
/// # Errors
/// It can't be read, or that line is empty; for people.
pub fn password(file: &Path) -> Result<String, String> {
    let failed = |e: std::io::Error| format!("{}: {e}", file.display());
    let mut text = String::new();
    let open = std::fs::File::open(file).map_err(failed)?;
    open.take(PROBE_PASSWORD_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(failed)?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => Err(format!("{}: its first line is empty", file.display())),
    }
}

async fn connect(at: &HostPort) -> std::io::Result<TcpStream> {
    TcpStream::connect((at.host.as_str(), at.port)).await
}

#[derive(Clone, Copy)]
struct Who<'a> {
    user: &'a str,
    password: &'a str,
}

/// A connection, and how much the server may still say.
struct Talk<S> {
    stream: BufReader<S>,
    bytes_left: u64,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<S> {
    fn new(stream: S) -> Self {
        Self {
            stream: BufReader::new(stream),
            bytes_left: PROBE_ANSWER_BYTES_MAX,
        }
    }

    /// The stream, to begin TLS on. What came before TLS and was not asked for is nobody's word.
    fn into_stream(self) -> Result<S, LoginError> {
        match self.stream.buffer() {
            [] => Ok(self.stream.into_inner()),
            _ => Err(LoginError::Failed("it speaks before TLS begins".to_owned())),
        }
    }

    async fn greeting(&mut self) -> Result<(), LoginError> {
        let greeting = self.line().await?;
        match greeting.starts_with("* OK") {
            true => Ok(()),
            false => Err(LoginError::Failed(format!("the greeting is \"{greeting}\""))),
        }
    }

    async fn takes_passwords(&mut self) -> Result<bool, LoginError> {
        let mut disabled = false;
        self.say("w", "CAPABILITY").await?;
        loop {
            let line = self.line().await?;
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("w") => return Ok(!disabled),
                _ => disabled |= words.any(|word| word.eq_ignore_ascii_case("LOGINDISABLED")),
            }
        }
    }

    async fn converse(&mut self, who: Who<'_>, commands: &[&str]) -> Result<(), LoginError> {
        let login = format!("LOGIN {} {}", quoted(who.user)?, quoted(who.password)?);
        self.say("a", &login).await?;
        let answer = self.tagged("a").await?;
        if answer.starts_with("NO") && !answer.starts_with("NO [UNAVAILABLE]") {
            return Err(LoginError::Refused(format!("it answers {answer}")));
        }
        is_ok(&answer)?;
        for command in commands.iter().chain(&["LOGOUT"]) {
            self.done("b", command).await?;
        }
        Ok(())
    }

    async fn done(&mut self, tag: &str, command: &str) -> Result<(), LoginError> {
        self.say(tag, command).await?;
        is_ok(&self.tagged(tag).await?)
    }

    async fn say(&mut self, tag: &str, command: &str) -> Result<(), LoginError> {
        self.stream.write_all(format!("{tag} {command}\r\n").as_bytes()).await?;
        Ok(self.stream.flush().await?)
    }

    async fn tagged(&mut self, tag: &str) -> Result<String, LoginError> {
        loop {
            let line = self.line().await?;
            if let Some(answer) = line.strip_prefix(tag).and_then(|rest| rest.strip_prefix(' ')) {
                return Ok(answer.to_owned());
            }
        }
    }

    async fn line(&mut self) -> Result<String, LoginError> {
        let mut line = Vec::new();
        let mut bounded = (&mut self.stream).take(self.bytes_left);
        bounded.read_until(b'\n', &mut line).await?;
        self.bytes_left = bounded.limit();
        match line.strip_suffix(b"\r\n") {
            Some(line) => Ok(String::from_utf8_lossy(line).into_owned()),
            None => Err(LoginError::Failed("the connection ended".to_owned())),
        }
    }
}

fn is_ok(answer: &str) -> Result<(), LoginError> {
    match answer.starts_with("OK") {
        true => Ok(()),
        false => Err(LoginError::Failed(format!("it answers {answer}"))),
    }
}

/// A quoted string (RFC 9051, section 4.3).
fn quoted(text: &str) -> Result<String, LoginError> {
    if text.chars().any(char::is_control) {
        let why = "user or password has a control character".to_owned();
        return Err(LoginError::Failed(why));
    }
    Ok(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGIN: &str = r#"a LOGIN "an\"n" "p\\w""#;
    type Script = &'static [(&'static str, &'static str)];

    async fn against(script: Script) -> Result<(), LoginError> {
        let (client, server) = tokio::io::duplex(1 << 16);
        let server = tokio::spawn(async move {
            let mut talk = Talk::new(server);
            for (expected, answer) in script {
                if !expected.is_empty() {
                    assert_eq!(talk.line().await.unwrap(), *expected);
                }
                talk.stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        let login = Login {
            door: Door::Tls(&HostPort::try_from("localhost:1".to_owned()).unwrap()),
            tls_name: "localhost",
            user: "an\"n",
            password_file: Path::new("/nowhere"),
            ca: Path::new("/nowhere"),
        };
        let who = Who {
            user: login.user,
            password: "p\\w",
        };
        let done = login.maybe_secure(client, who, &["SELECT INBOX"]).await;
        server.await.unwrap();
        done
    }

    const PLAIN: (&str, &str) = ("w CAPABILITY", "* CAPABILITY IMAP4rev1\r\nw OK\r\n");

    #[tokio::test]
    async fn a_login_that_is_refused_or_cut_off_is_told() {
        let whole = against(&[
            ("", "* OK hello\r\n"),
            PLAIN,
            (LOGIN, "* CAPABILITY IMAP4rev1\r\na OK in\r\n"),
            ("b SELECT INBOX", "* 3 EXISTS\r\nb OK selected\r\n"),
            ("b LOGOUT", "* BYE\r\nb OK bye\r\n"),
        ]);
        assert_eq!(whole.await, Ok(()));
        let refused = against(&[
            ("", "* OK hello\r\n"),
            PLAIN,
            (LOGIN, "a NO [AUTHENTICATIONFAILED] no\r\n"),
        ]);
        let refused = refused.await.unwrap_err();
        assert!(matches!(&refused, LoginError::Refused(why) if why.contains("AUTHENTICATIONFAILED")));
        assert!(
            against(&[("", "* BYE closed\r\n")])
                .await
                .unwrap_err()
                .to_string()
                .contains("BYE")
        );
        assert!(
            against(&[("", "* OK hel")])
                .await
                .unwrap_err()
                .to_string()
                .contains("ended")
        );
    }

    #[tokio::test]
    async fn a_server_that_can_ask_nobody_for_passwords_refused_none() {
        let away = against(&[
            ("", "* OK hello\r\n"),
            PLAIN,
            (LOGIN, "a NO [UNAVAILABLE] Temporary authentication failure.\r\n"),
        ]);
        assert!(matches!(away.await, Err(LoginError::Failed(why)) if why.contains("UNAVAILABLE")));
    }

    #[tokio::test]
    async fn no_password_is_said_where_the_server_takes_none_without_tls() {
        const CLOSED: (&str, &str) = (
            "w CAPABILITY",
            "* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED\r\nw OK\r\n",
        );
        let not_tls = against(&[
            ("", "* OK hello\r\n"),
            CLOSED,
            ("t STARTTLS", "t OK begin\r\n* OK injected\r\n"),
        ]);
        assert!(not_tls.await.unwrap_err().to_string().contains("before TLS"));
        let none = against(&[("", "* OK hello\r\n"), CLOSED, ("t STARTTLS", "t BAD what?\r\n")]);
        assert!(none.await.unwrap_err().to_string().contains("BAD"));
    }
}
