//! Logs in to an IMAP server as a client would: TLS from the first byte, the certificate checked against the system's roots
//! and our own CA, LOGIN, SELECT INBOX.

use super::pem;
use crate::limits::{PROBE_ANSWER_BYTES_MAX, PROBE_PASSWORD_BYTES_MAX};
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Where distributions keep the roots that programs trust.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Whom to log in as, and where.
#[derive(Clone, Copy, Debug)]
pub struct Login<'a> {
    /// `HOST:PORT`.
    pub address: &'a str,
    /// Name that the server's certificate must have.
    pub tls_name: &'a str,
    /// User name.
    pub user: &'a str,
    /// File whose first line is the password.
    pub password_file: &'a Path,
    /// Our own CA, trusted beside the system's.
    pub ca: &'a Path,
}

impl Login<'_> {
    /// Logs in, selects INBOX, logs out. The caller bounds the time.
    ///
    /// # Errors
    /// What stands against it, for people.
    pub async fn run(&self) -> Result<(), String> {
        let password = self.password()?;
        let name = ServerName::try_from(self.tls_name.to_owned()).map_err(|e| format!("{}: {e}", self.tls_name))?;
        let connector = TlsConnector::from(Arc::new(self.config()?));
        let stream = TcpStream::connect(self.address).await.map_err(|e| e.to_string())?;
        let stream = connector.connect(name, stream).await.map_err(|e| e.to_string())?;
        converse(stream, self.user, &password).await
    }

    fn password(&self) -> Result<String, String> {
        let failed = |e: std::io::Error| format!("{}: {e}", self.password_file.display());
        let mut text = String::new();
        let file = std::fs::File::open(self.password_file).map_err(failed)?;
        file.take(PROBE_PASSWORD_BYTES_MAX)
            .read_to_string(&mut text)
            .map_err(failed)?;
        Ok(text.lines().next().unwrap_or_default().to_owned())
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

async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin, user: &str, password: &str) -> Result<(), String> {
    let (reader, mut writer) = tokio::io::split(stream);
    let mut reader = BufReader::new(reader.take(PROBE_ANSWER_BYTES_MAX));
    let greeting = line(&mut reader).await?;
    if !greeting.starts_with("* OK") {
        return Err(format!("the greeting is \"{greeting}\""));
    }
    let login = format!("a LOGIN {} {}", quoted(user)?, quoted(password)?);
    for (tag, command) in [("a", login.as_str()), ("b", "b SELECT INBOX"), ("c", "c LOGOUT")] {
        let failed = |e: std::io::Error| e.to_string();
        writer
            .write_all(format!("{command}\r\n").as_bytes())
            .await
            .map_err(failed)?;
        writer.flush().await.map_err(failed)?;
        let answer = tagged(&mut reader, tag).await?;
        if !answer.starts_with("OK") {
            return Err(format!("it answers {answer}"));
        }
    }
    Ok(())
}

async fn tagged(reader: &mut (impl AsyncBufReadExt + Unpin), tag: &str) -> Result<String, String> {
    loop {
        let line = line(reader).await?;
        if let Some(answer) = line.strip_prefix(tag).and_then(|rest| rest.strip_prefix(' ')) {
            return Ok(answer.to_owned());
        }
    }
}

async fn line(reader: &mut (impl AsyncBufReadExt + Unpin)) -> Result<String, String> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line).await.map_err(|e| e.to_string())?;
    match line.strip_suffix(b"\r\n") {
        Some(line) => Ok(String::from_utf8_lossy(line).into_owned()),
        None => Err("the connection ended".to_owned()),
    }
}

/// A quoted string (RFC 9051, section 4.3).
fn quoted(text: &str) -> Result<String, String> {
    if text.chars().any(char::is_control) {
        return Err("user or password has a control character".to_owned());
    }
    Ok(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGIN: &str = r#"a LOGIN "an\"n" "p\\w""#;

    async fn against(script: &'static [(&'static str, &'static str)]) -> Result<(), String> {
        let (client, server) = tokio::io::duplex(1 << 16);
        let server = tokio::spawn(async move {
            let (reader, mut writer) = tokio::io::split(server);
            let mut reader = BufReader::new(reader);
            for (expected, answer) in script {
                if !expected.is_empty() {
                    assert_eq!(line(&mut reader).await.unwrap(), *expected);
                }
                writer.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        let done = converse(client, "an\"n", "p\\w").await;
        server.await.unwrap();
        done
    }

    #[tokio::test]
    async fn a_login_that_is_refused_or_cut_off_is_told() {
        let whole = against(&[
            ("", "* OK hello\r\n"),
            (LOGIN, "* CAPABILITY IMAP4rev1\r\na OK in\r\n"),
            ("b SELECT INBOX", "* 3 EXISTS\r\nb OK selected\r\n"),
            ("c LOGOUT", "* BYE\r\nc OK bye\r\n"),
        ]);
        assert_eq!(whole.await, Ok(()));
        let refused = against(&[("", "* OK hello\r\n"), (LOGIN, "a NO [AUTHENTICATIONFAILED] no\r\n")]).await;
        assert!(refused.unwrap_err().contains("AUTHENTICATIONFAILED"));
        assert!(against(&[("", "* BYE closed\r\n")]).await.unwrap_err().contains("BYE"));
        assert!(against(&[("", "* OK hel")]).await.unwrap_err().contains("ended"));
    }
}
