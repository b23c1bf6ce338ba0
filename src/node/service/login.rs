//! Logins of the watch: whether the mail service lets somebody in whom it should let in. They say how a service is that
//! answers, never that it is down: a password that somebody changed is no reason to leave a primary.

use crate::config::{HostPort, ServiceAddress, WatchConfig};
use crate::control::status::{Answers, LoginAnswer, ServiceStatus};
use crate::io::clock::Stopwatch;
use crate::io::probe::{Door, Login, LoginError};
use crate::limits::{SERVICE_LOGIN_EVERY_SECONDS, SERVICE_LOGIN_SECONDS_MAX};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

type Found = (LoginAnswer, Option<String>);

/// What is known of them, and when the next is due.
pub(super) struct Logins {
    config: Option<WatchConfig>,
    ca: PathBuf,
    is_down: bool,
    tried: Option<Tried>,
    found: Option<Found>,
}

/// The last login.
struct Tried {
    when: Stopwatch,
    /// The password file's time then: one that was changed since may help a login that did not come in.
    file: Option<SystemTime>,
}

impl Logins {
    /// `config`: none where nobody is to log in.
    pub(super) fn new(config: Option<WatchConfig>, ca: PathBuf) -> Self {
        Self {
            config,
            ca,
            is_down: false,
            tried: None,
            found: None,
        }
    }

    /// Takes note of what the greeting said: behind a door that does not answer nothing is known any more, and once it
    /// answers again, the login is tried at once.
    pub(super) fn heed(&mut self, imap: Option<Answers>) {
        self.is_down = imap == Some(Answers::Down);
        if self.is_down {
            (self.tried, self.found) = (None, None);
        }
    }

    /// The status with what the last login found. Where only a login reaches IMAP, its answer is a sign of life.
    pub(super) fn told(&self, status: ServiceStatus) -> ServiceStatus {
        let answer = self.found.as_ref().map(|(answer, _)| *answer);
        let lives = matches!(answer, Some(LoginAnswer::Accepted | LoginAnswer::Refused));
        ServiceStatus {
            imap: status.imap.or(lives.then_some(Answers::Up)),
            login: answer,
            login_why: self.found.as_ref().and_then(|(_, why)| why.clone()),
            ..status
        }
    }

    /// Logs in, where it is time to. True where there is something new to tell.
    pub(super) async fn try_if_due(&mut self, plain: Option<&ServiceAddress>) -> bool {
        let Some(config) = self.config.clone().filter(|config| self.is_due(config)) else {
            return false;
        };
        let Some((door, host)) = door(&config, plain) else {
            return false;
        };
        self.tried = Some(Tried {
            when: Stopwatch::start(),
            file: time_of(&config),
        });
        let login = Login {
            door,
            tls_name: config.tls_name.as_deref().unwrap_or(host),
            user: &config.user,
            password_file: &config.password_file,
            ca: &self.ca,
        };
        let limit = Duration::from_secs(SERVICE_LOGIN_SECONDS_MAX);
        let came = tokio::time::timeout(limit, login.come_in()).await;
        let found = found(came.unwrap_or_else(|_| Err(LoginError::Failed(format!("no answer within {limit:?}")))));
        self.note(found)
    }

    fn is_due(&self, config: &WatchConfig) -> bool {
        let Some(tried) = &self.tried else {
            return !self.is_down;
        };
        let is_in = self
            .found
            .as_ref()
            .is_some_and(|(answer, _)| *answer == LoginAnswer::Accepted);
        let pause = Duration::from_secs(SERVICE_LOGIN_EVERY_SECONDS);
        tried.when.elapsed() > pause || (!is_in && tried.file != time_of(config))
    }

    fn note(&mut self, found: Found) -> bool {
        if self.found.as_ref() == Some(&found) {
            return false;
        }
        match (&found, &self.found) {
            ((LoginAnswer::Accepted, _), Some(_)) => tracing::info!("the mail service lets the watch in again"),
            ((LoginAnswer::Accepted, _), None) => {}
            ((answer, why), _) => tracing::error!(?answer, why, "the mail service answers, but the watch can't log in"),
        }
        self.found = Some(found);
        true
    }
}

fn found(came: Result<(), LoginError>) -> Found {
    match came {
        Ok(()) => (LoginAnswer::Accepted, None),
        Err(LoginError::Refused(why)) => (LoginAnswer::Refused, Some(why)),
        Err(LoginError::Failed(why)) => (LoginAnswer::Failed, Some(why)),
    }
}

/// Where to log in, and the host that this is.
fn door<'a>(config: &'a WatchConfig, plain: Option<&'a ServiceAddress>) -> Option<(Door<'a>, &'a str)> {
    if let Some(at @ HostPort { host, .. }) = &config.imaps {
        return Some((Door::Tls(at), host));
    }
    let host = match plain? {
        ServiceAddress::Tcp(at) => at.host.as_str(),
        ServiceAddress::Unix(_) => "localhost",
    };
    Some((Door::Plain(plain?), host))
}

fn time_of(config: &WatchConfig) -> Option<SystemTime> {
    config.password_file.metadata().and_then(|meta| meta.modified()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

    /// A server whose word on the password `right` is OK, on any other NO.
    async fn server() -> ServiceAddress {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let mut stream = BufReader::new(stream);
                stream.write_all(b"* OK ready\r\n").await.unwrap();
                let mut line = String::new();
                while stream.read_line(&mut line).await.unwrap_or(0) > 0 {
                    let word = if line.contains("LOGIN \"ann\"") && !line.contains("right") {
                        "NO"
                    } else {
                        "OK"
                    };
                    let tag = line.split(' ').next().unwrap();
                    stream.write_all(format!("{tag} {word}\r\n").as_bytes()).await.unwrap();
                    line.clear();
                }
            }
        });
        ServiceAddress::Tcp(HostPort {
            host: "127.0.0.1".to_owned(),
            port,
        })
    }

    fn up() -> ServiceStatus {
        ServiceStatus {
            imap: Some(Answers::Up),
            ..ServiceStatus::default()
        }
    }

    #[tokio::test]
    async fn a_password_that_was_changed_is_told_apart_from_a_dead_service_and_mended_without_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let password_file = folder.path().join("password");
        let config = WatchConfig {
            user: "ann".to_owned(),
            password_file: password_file.clone(),
            imaps: None,
            tls_name: None,
        };
        let at = server().await;
        let mut logins = Logins::new(Some(config), folder.path().join("none"));
        assert!(logins.try_if_due(Some(&at)).await);
        assert_eq!(
            logins.told(up()).login,
            Some(LoginAnswer::Failed),
            "there is no file yet"
        );

        std::fs::write(&password_file, "wrong\n").unwrap();
        assert!(logins.try_if_due(Some(&at)).await);
        let refused = logins.told(up());
        assert_eq!((refused.login, refused.up()), (Some(LoginAnswer::Refused), Some(true)));
        assert!(refused.login_problem().unwrap().contains("refuses"));
        assert!(
            !logins.try_if_due(Some(&at)).await,
            "the same password is not tried at every look"
        );

        std::fs::write(&password_file, "right\n").unwrap();
        let later = SystemTime::now() + Duration::from_secs(1);
        std::fs::File::open(&password_file)
            .unwrap()
            .set_modified(later)
            .unwrap();
        assert!(logins.try_if_due(Some(&at)).await);
        assert_eq!(logins.told(up()).login, Some(LoginAnswer::Accepted));
        assert_eq!(logins.told(ServiceStatus::default()).imap, Some(Answers::Up));

        logins.heed(Some(Answers::Down));
        assert_eq!(logins.told(up()).login, None, "of a dead service no login is known");
        assert!(!logins.try_if_due(Some(&at)).await);
        logins.heed(Some(Answers::Up));
        assert!(logins.try_if_due(Some(&at)).await);
    }
}
