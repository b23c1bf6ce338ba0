//! Logs to standard error, as text or JSON, filtered by `MAILSHADOW_LOG` (`info` without it).
//!
//! Info: a state changed. Warn: something went wrong and the node went on. Error: a human must look. Never content,
//! subjects or correspondents; mailboxes by GUID; users as [`user`] names them.

use crate::config::LogUsers;
use crate::op::{MailboxId, UserName};
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use tracing_subscriber::EnvFilter;

/// Variable with the filter, as `tracing_subscriber` reads it: `debug`, `mailshadow::session=trace,info`.
pub const FILTER_VARIABLE: &str = "MAILSHADOW_LOG";

/// Form of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogForm {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging; once in a process.
///
/// # Errors
/// The filter can't be read, or logging has been started already.
pub fn start(form: LogForm, users: LogUsers) -> Result<(), String> {
    HASH_USERS.store(users == LogUsers::Hash, Ordering::Relaxed);
    let filter = match std::env::var(FILTER_VARIABLE) {
        Ok(text) => EnvFilter::try_new(text).map_err(|e| format!("{FILTER_VARIABLE}: {e}"))?,
        Err(_) => EnvFilter::new("info"),
    };
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let started = match form {
        LogForm::Text => lines.with_ansi(terminal).try_init(),
        LogForm::Json => lines.json().try_init(),
    };
    started.map_err(|e| e.to_string())
}

static HASH_USERS: AtomicBool = AtomicBool::new(false);

/// A user as the log may name them: by name, or by 12 hex digits of BLAKE3 where `node.log_users` is `hash`.
#[must_use]
pub fn user(name: &UserName) -> LoggedUser<'_> {
    LoggedUser {
        name,
        hashed: is_hashing(),
    }
}

/// What a group's threads and tasks log in, so that each line says which group it is about.
#[must_use]
pub fn group(name: &str) -> tracing::Span {
    // Whatever the filter leaves of the lines, their group stays.
    tracing::error_span!("group", name)
}

/// A mailbox as the log may name it: its user as [`user`] says, and its GUID.
#[must_use]
pub fn mailbox(id: &MailboxId) -> LoggedMailbox<'_> {
    LoggedMailbox(id)
}

/// Prints what [`mailbox`] says.
#[derive(Clone, Copy)]
pub struct LoggedMailbox<'a>(&'a MailboxId);

impl fmt::Display for LoggedMailbox<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", user(&self.0.user), self.0.guid)
    }
}

/// A file of a user's mail as the log may name it: in whole, or without its folders, which name the user, where
/// `node.log_users` is `hash`.
#[must_use]
pub fn file(path: &Path) -> std::path::Display<'_> {
    if is_hashing() {
        Path::new(path.file_name().unwrap_or_default()).display()
    } else {
        path.display()
    }
}

/// True where users are named by a hash.
#[must_use]
pub fn is_hashing() -> bool {
    HASH_USERS.load(Ordering::Relaxed)
}

/// Prints what [`user`] says.
#[derive(Clone, Copy)]
pub struct LoggedUser<'a> {
    name: &'a UserName,
    hashed: bool,
}

impl fmt::Display for LoggedUser<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.hashed {
            let hash = blake3::hash(self.name.as_str().as_bytes()).to_hex();
            f.write_str("user-")?;
            hash.chars().take(12).try_for_each(|digit| write!(f, "{digit}"))
        } else {
            f.write_str(self.name.as_str())
        }
    }
}

impl fmt::Debug for LoggedUser<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hashed_user_is_recognised_but_not_named() {
        let (ann, bob) = (UserName::from("ann@example.test"), UserName::from("bob@example.test"));
        let hashed = |name| LoggedUser { name, hashed: true }.to_string();
        assert_eq!(hashed(&ann), hashed(&ann));
        assert_ne!(hashed(&ann), hashed(&bob));
        assert!(!hashed(&ann).contains("ann"));
        assert_eq!(user(&ann).to_string(), "ann@example.test");
    }
}
