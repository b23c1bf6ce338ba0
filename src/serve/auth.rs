//! Who may log in: a passwd-file as Dovecot reads it.
//!
//! One user a line, `name:{SCHEME}hash:…`; what follows the second colon is not ours. Empty lines and lines that begin
//! with `#` are skipped. The file is read again when its modification time or length changes. Schemes:
//! PLAIN, CLEARTEXT, SHA512-CRYPT, SHA256-CRYPT, BLF-CRYPT, ARGON2ID, ARGON2I, and CRYPT by the hash's prefix; any other refuses
//! the login and says so in the log. Source: Dovecot's documentation of its `passwd-file` passdb.

use super::password::{self, HashError};
use crate::limits::{PASSWD_BYTES_MAX, PASSWORD_CHECKS_MAX, USER_BYTES_MAX};
use crate::op::UserName;
use std::collections::HashMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;
use tokio::sync::Semaphore;

/// What became of an attempt to log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Welcome; the name as the file spells it.
    Accepted(UserName),
    /// Unknown user or wrong password; which of both is nobody's business.
    Refused,
    /// The file can't be read just now: not the client's fault.
    Unavailable,
}

/// The passwd-file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum PasswdError {
    /// Can't be read.
    #[error("read {path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Beyond [`PASSWD_BYTES_MAX`].
    #[error("{0} is larger than {PASSWD_BYTES_MAX} bytes")]
    TooLarge(PathBuf),
}

/// What tells one state of the file from the next.
type Stamp = (Option<SystemTime>, u64);

#[derive(Default)]
struct Users {
    stamp: Option<Stamp>,
    hashes: Arc<HashMap<String, String>>,
}

/// The users of a front end. Share it between its listeners.
pub struct PasswdFile {
    path: PathBuf,
    users: Mutex<Users>,
    slots: Arc<Semaphore>,
}

impl PasswdFile {
    /// Reads the file.
    ///
    /// # Errors
    /// It can't be read, or is too large.
    pub fn open(path: &Path) -> Result<Self, PasswdError> {
        let file = Self {
            path: path.to_owned(),
            users: Mutex::default(),
            slots: Arc::new(Semaphore::new(PASSWORD_CHECKS_MAX)),
        };
        file.hashes()?;
        Ok(file)
    }

    /// Tries a name and a password. Waits for its turn: at most [`PASSWORD_CHECKS_MAX`] are computed at a time.
    pub async fn check(self: &Arc<Self>, name: &[u8], password: &[u8]) -> Verdict {
        let Ok(turn) = Arc::clone(&self.slots).acquire_owned().await else {
            return Verdict::Unavailable;
        };
        let (file, name, password) = (Arc::clone(self), name.to_vec(), password.to_vec());
        let checked = tokio::task::spawn_blocking(move || {
            let verdict = file.check_now(&name, &password);
            drop(turn);
            verdict
        });
        checked.await.unwrap_or(Verdict::Unavailable)
    }

    fn check_now(&self, name: &[u8], password: &[u8]) -> Verdict {
        let hashes = match self.hashes() {
            Ok(hashes) => hashes,
            Err(error) => {
                tracing::error!(%error, "no user can log in");
                return Verdict::Unavailable;
            }
        };
        let Some((name, hash)) = find(&hashes, name) else {
            // as dear as a known user's, so that time doesn't tell which names exist
            if let Some(any) = hashes.values().next() {
                let _ = password::matches(password, any);
            }
            return Verdict::Refused;
        };
        match password::matches(password, hash) {
            Ok(true) => Verdict::Accepted(UserName::from(name)),
            Ok(false) => Verdict::Refused,
            Err(error) => {
                log_unusable(&self.path, &error);
                Verdict::Refused
            }
        }
    }

    /// The users as the file has them now.
    fn hashes(&self) -> Result<Arc<HashMap<String, String>>, PasswdError> {
        let io = |source| PasswdError::Io {
            path: self.path.clone(),
            source,
        };
        let meta = std::fs::metadata(&self.path).map_err(io)?;
        let stamp = (meta.modified().ok(), meta.len());
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        if users.stamp != Some(stamp) {
            users.hashes = Arc::new(parse(&self.read()?));
            users.stamp = Some(stamp);
        }
        Ok(Arc::clone(&users.hashes))
    }

    fn read(&self) -> Result<Vec<u8>, PasswdError> {
        let io = |source| PasswdError::Io {
            path: self.path.clone(),
            source,
        };
        let mut bytes = Vec::new();
        let file = std::fs::File::open(&self.path).map_err(io)?;
        file.take(PASSWD_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(io)?;
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > PASSWD_BYTES_MAX {
            return Err(PasswdError::TooLarge(self.path.clone()));
        }
        Ok(bytes)
    }
}

fn log_unusable(path: &Path, error: &HashError) {
    tracing::warn!(file = %path.display(), %error, "a user's password can't be compared: login refused");
}

/// Why nobody can log in with this stored hash here; none where it can be compared. Computes it once, which takes its
/// time.
#[must_use]
pub fn refusal(stored: &str) -> Option<String> {
    password::matches(b"x", stored).err().map(|error| error.to_string())
}

/// The entry of that name; Dovecot lowers the case of what a client sends before it looks, so that is tried too.
fn find<'a>(hashes: &'a HashMap<String, String>, name: &[u8]) -> Option<(&'a str, &'a str)> {
    let name = std::str::from_utf8(name).ok().filter(|n| n.len() <= USER_BYTES_MAX)?;
    let (name, hash) = hashes
        .get_key_value(name)
        .or_else(|| hashes.get_key_value(name.to_lowercase().as_str()))?;
    Some((name, hash))
}

/// Names and password fields of a passwd-file. The first line of a name counts. An entry without a password can't log in.
#[must_use]
pub fn parse(bytes: &[u8]) -> HashMap<String, String> {
    let mut users = HashMap::new();
    for line in bytes.split(|b| *b == b'\n') {
        let Ok(line) = std::str::from_utf8(line) else { continue };
        let line = line.trim_end_matches('\r');
        if line.starts_with('#') {
            continue;
        }
        let Some((name, rest)) = line.split_once(':') else {
            continue;
        };
        // an IPv6 address or a hash never holds a colon before its field ends, except inside {SCHEME}: no scheme does
        let password = rest.split(':').next().unwrap_or_default();
        if !name.is_empty() && name.len() <= USER_BYTES_MAX && !password.is_empty() {
            users.entry(name.to_owned()).or_insert_with(|| password.to_owned());
        }
    }
    users
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_dovecot_skips_make_no_user() {
        let users = parse(b"# comment:{PLAIN}x\n\nann:{PLAIN}a:8:8::/home/ann::\r\nnobody::8\nbob:{PLAIN}b\nbob:{PLAIN}other\n:x\nbare\n\xff:{PLAIN}x");
        let mut names: Vec<_> = users.iter().map(|(n, p)| (n.as_str(), p.as_str())).collect();
        names.sort_unstable();
        assert_eq!(names, [("ann", "{PLAIN}a"), ("bob", "{PLAIN}b")]);
    }

    #[tokio::test]
    async fn a_changed_file_counts_at_the_next_login() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users");
        std::fs::write(&path, "ann:{PLAIN}one\n").unwrap();
        let file = Arc::new(PasswdFile::open(&path).unwrap());
        assert_eq!(file.check(b"Ann", b"one").await, Verdict::Accepted("ann".into()));
        assert_eq!(file.check(b"ann", b"two").await, Verdict::Refused);
        assert_eq!(file.check(b"bob", b"one").await, Verdict::Refused);
        std::fs::write(&path, "ann:{PLAIN}other\n").unwrap();
        assert_eq!(file.check(b"ann", b"one").await, Verdict::Refused);
        assert_eq!(file.check(b"ann", b"other").await, Verdict::Accepted("ann".into()));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(file.check(b"ann", b"other").await, Verdict::Unavailable);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_make_a_list_of_users_or_none(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }
    }
}
