//! The command's side of the admin socket. Blocking: a command does one thing.

use super::lines::{Answer, read_answer};
use super::verbs::{Exit, Progress, Request, VerbError};
use serde::de::DeserializeOwned;
use std::io::{BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody answers on the socket.
    #[error("no shadowd answers on {}: {error}; is it running, and is this its configuration?", socket.display())]
    NoDaemon {
        /// The socket.
        socket: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// The connection ended without an answer.
    #[error("shadowd ended the connection without an answer: {0}")]
    Broken(String),
    /// Nothing was heard for too long.
    #[error("shadowd did not answer within {} s", .0.as_secs())]
    Silent(Duration),
    /// The daemon says no.
    #[error(transparent)]
    Verb(#[from] VerbError),
}

impl CallError {
    /// Exit status of the command.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Verb(verb) => verb.exit,
            Self::Silent(_) => Exit::TimeOut,
            Self::NoDaemon { .. } | Self::Broken(_) => Exit::Failed,
        }
    }
}

/// What comes before the end of an answer.
#[derive(Debug)]
pub enum Interim {
    /// How far the work has come.
    Progress(Progress),
    /// One of many answers.
    Item(serde_json::Value),
}

/// Sends a request and reads its answer. `silence_max` bounds the time without any line, if it is given.
///
/// # Errors
/// No daemon, a broken connection, or the daemon's own refusal.
pub fn call<T: DeserializeOwned>(
    socket: &Path,
    request: &Request,
    silence_max: Option<Duration>,
    mut interim: impl FnMut(Interim),
) -> Result<T, CallError> {
    let no_daemon = |error| CallError::NoDaemon {
        socket: socket.to_owned(),
        error,
    };
    let broken = |error: std::io::Error| CallError::Broken(error.to_string());
    let mut stream = UnixStream::connect(socket).map_err(no_daemon)?;
    stream.set_read_timeout(silence_max).map_err(broken)?;
    let mut line = serde_json::to_vec(request).map_err(|e| CallError::Broken(e.to_string()))?;
    line.push(b'\n');
    stream.write_all(&line).map_err(broken)?;
    let mut reader = BufReader::new(stream);
    loop {
        match read_answer(&mut reader) {
            Ok(Some(Answer::Progress(progress))) => interim(Interim::Progress(progress)),
            Ok(Some(Answer::Item(item))) => interim(Interim::Item(item)),
            Ok(Some(Answer::Ok(value))) => {
                return serde_json::from_value(value).map_err(|e| CallError::Broken(e.to_string()));
            }
            Ok(Some(Answer::Error(error))) => return Err(error.into()),
            Ok(None) => return Err(CallError::Broken("end of stream".to_owned())),
            Err(error) if is_time_out(&error) => return Err(CallError::Silent(silence_max.unwrap_or_default())),
            Err(error) => return Err(broken(error)),
        }
    }
}

fn is_time_out(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
    )
}
