//! AUTHENTICATE PLAIN (RFC 4616) and LOGIN, with and without initial response (RFC 4959).

use super::line::Event;
use super::session::{Reply, Session, Stop};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

impl Session {
    pub(super) async fn authenticate(&mut self, mechanism: &str, initial: Option<Vec<u8>>) -> Result<Reply, Stop> {
        if !self.client.may_send_password() {
            return Reply::no("[PRIVACYREQUIRED] Plain-text passwords are not taken without TLS");
        }
        match mechanism {
            "PLAIN" => {
                let message = self.response(initial, "").await?;
                match plain(&message) {
                    Some((name, password)) => self.login(name, password).await,
                    None => Reply::bad("Invalid PLAIN response"),
                }
            }
            "LOGIN" => {
                let name = self.response(initial, "Username:").await?;
                let password = self.response(None, "Password:").await?;
                self.login(&name, &password).await
            }
            _ => Reply::no("Unsupported authentication mechanism."),
        }
    }

    /// The client's response to `challenge`, decoded; the initial one where it came with the command.
    async fn response(&mut self, initial: Option<Vec<u8>>, challenge: &str) -> Result<Vec<u8>, Stop> {
        let coded = match initial {
            Some(coded) => coded,
            None => {
                self.wire.put(format!("+ {}\r\n", BASE64.encode(challenge)));
                self.wire.flush().await?;
                match self.wait().await? {
                    Event::Command(line) => line,
                    _ => return Err(Stop::Reply(Reply::Bad("Invalid response".to_owned()))),
                }
            }
        };
        match coded.as_slice() {
            b"*" => Err(Stop::Reply(Reply::Bad("Authentication aborted".to_owned()))),
            b"=" => Ok(Vec::new()),
            coded => BASE64
                .decode(coded)
                .map_err(|_| Stop::Reply(Reply::Bad("Invalid base64".to_owned()))),
        }
    }
}

/// Name and password of a PLAIN message `[authzid] NUL authcid NUL password`. Acting for another user is not offered.
fn plain(message: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut fields = message.split(|b| *b == 0);
    let (acting, name, password) = (fields.next()?, fields.next()?, fields.next()?);
    let alone = acting.is_empty() || acting == name;
    (alone && fields.next().is_none()).then_some((name, password))
}
