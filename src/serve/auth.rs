//! Who may log in: a passwd-file as Dovecot reads it.
//!
//! One user a line, `name:{SCHEME}hash:…`. Of the fields behind, only the last counts here, and of that only what says who
//! may log in: `nologin`, and `allow_nets=` with addresses or networks. Empty lines and lines that begin with `#` are
//! skipped. The file is read again when its modification time or length changes. Schemes: [`super::password`]; any
//! other refuses the login and says so in the log. Source: Dovecot's documentation of its `passwd-file` passdb.

use super::password::{self, HashError};
use crate::limits::{PASSWD_BYTES_MAX, PASSWORD_CHECKS_MAX, USER_BYTES_MAX};
use crate::op::UserName;
use std::collections::HashMap;
use std::io::Read as _;
use std::net::IpAddr;
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

/// A user's entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// `{SCHEME}hash`
    pub password: String,
    /// True where nobody may log in as this user.
    pub nologin: bool,
    /// Where the user may come from; none: from everywhere.
    pub allow_nets: Option<Vec<Network>>,
}

/// Addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u32,
}

impl Network {
    /// `192.0.2.0/24`, `2001:db8::/32`, or one address.
    fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/').unwrap_or((text, ""));
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = if bits.is_empty() { most } else { bits.parse().ok()? };
        (bits <= most).then_some(Self { address, bits })
    }

    fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (own.to_bits() ^ other.to_bits())
                    .checked_shr(32_u32.saturating_sub(self.bits))
                    .unwrap_or(0)
                    == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                (own.to_bits() ^ other.to_bits())
                    .checked_shr(128_u32.saturating_sub(self.bits))
                    .unwrap_or(0)
                    == 0
            }
            _ => false,
        }
    }
}

impl Entry {
    fn allows(&self, address: IpAddr) -> bool {
        let nets = self.allow_nets.as_ref();
        !self.nologin && nets.is_none_or(|nets| nets.iter().any(|net| net.contains(address)))
    }
}

#[derive(Default)]
struct Users {
    stamp: Option<Stamp>,
    known: Arc<Known>,
}

/// The users as the file has them.
#[derive(Default)]
struct Known {
    entries: HashMap<String, Entry>,
    /// A hash of the scheme that most users have: what an unknown user's password is compared with.
    decoy: Option<String>,
}

impl Known {
    fn new(entries: HashMap<String, Entry>) -> Self {
        let mut schemes: HashMap<String, (usize, &str)> = HashMap::new();
        for entry in entries.values() {
            let of = schemes
                .entry(password::scheme(&entry.password))
                .or_insert((0, &entry.password));
            of.0 = of.0.saturating_add(1);
        }
        let commonest = schemes.values().max_by_key(|(count, _)| *count);
        let decoy = commonest.map(|(_, hash)| (*hash).to_owned());
        Self { entries, decoy }
    }
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
        file.known()?;
        Ok(file)
    }

    /// Tries a name and a password. Waits for its turn: at most [`PASSWORD_CHECKS_MAX`] are computed at a time.
    pub async fn check(self: &Arc<Self>, name: &[u8], password: &[u8], from: IpAddr) -> Verdict {
        let Ok(turn) = Arc::clone(&self.slots).acquire_owned().await else {
            return Verdict::Unavailable;
        };
        let (file, name, password) = (Arc::clone(self), name.to_vec(), password.to_vec());
        let checked = tokio::task::spawn_blocking(move || {
            let verdict = file.check_now(&name, &password, from);
            drop(turn);
            verdict
        });
        checked.await.unwrap_or(Verdict::Unavailable)
    }

    /// The user of that name, as the file spells it, whether anybody may log in as such or not. Blocks on the disk.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn knows(&self, name: &str) -> Result<Option<UserName>, PasswdError> {
        let known = self.known()?;
        Ok(find(&known.entries, name.as_bytes()).map(|(name, _)| UserName::from(name)))
    }

    fn check_now(&self, name: &[u8], password: &[u8], from: IpAddr) -> Verdict {
        let known = match self.known() {
            Ok(known) => known,
            Err(error) => {
                tracing::error!(%error, "no user can log in");
                return Verdict::Unavailable;
            }
        };
        let Some((name, entry)) = find(&known.entries, name) else {
            // as dear as a known user's, so that time doesn't tell which names exist
            if let Some(decoy) = &known.decoy {
                let _ = password::matches(password, decoy);
            }
            return Verdict::Refused;
        };
        match password::matches(password, &entry.password) {
            Ok(true) if entry.allows(from) => Verdict::Accepted(UserName::from(name)),
            Ok(_) => Verdict::Refused,
            Err(error) => {
                log_unusable(&self.path, &error);
                Verdict::Refused
            }
        }
    }

    /// The users as the file has them now.
    fn known(&self) -> Result<Arc<Known>, PasswdError> {
        let io = |source| PasswdError::Io {
            path: self.path.clone(),
            source,
        };
        let meta = std::fs::metadata(&self.path).map_err(io)?;
        let stamp = (meta.modified().ok(), meta.len());
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        if users.stamp != Some(stamp) {
            users.known = Arc::new(Known::new(parse(&self.read()?)));
            users.stamp = Some(stamp);
        }
        Ok(Arc::clone(&users.known))
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
fn find<'a>(entries: &'a HashMap<String, Entry>, name: &[u8]) -> Option<(&'a str, &'a Entry)> {
    let name = std::str::from_utf8(name).ok().filter(|n| n.len() <= USER_BYTES_MAX)?;
    let (name, entry) = entries
        .get_key_value(name)
        .or_else(|| entries.get_key_value(name.to_lowercase().as_str()))?;
    Some((name, entry))
}

/// Names and entries of a passwd-file. The first line of a name counts. An entry without a password can't log in.
#[must_use]
pub fn parse(bytes: &[u8]) -> HashMap<String, Entry> {
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
        // no scheme writes a colon; behind the password: uid, gid, gecos, home, shell, and what is left
        let password = rest.split(':').next().unwrap_or_default();
        if !name.is_empty() && name.len() <= USER_BYTES_MAX && !password.is_empty() {
            let extra = rest.splitn(7, ':').nth(6).unwrap_or_default();
            users.entry(name.to_owned()).or_insert_with(|| entry(password, extra));
        }
    }
    users
}

/// What can't be read of `allow_nets` allows nobody: it was meant to keep somebody out.
fn entry(password: &str, extra: &str) -> Entry {
    let mut fields = extra.split_whitespace();
    let nets = fields.clone().find_map(|field| field.strip_prefix("allow_nets="));
    Entry {
        password: password.to_owned(),
        nologin: fields.any(|field| field == "nologin" || field.starts_with("nologin=")),
        allow_nets: nets.map(|nets| nets.split(',').filter_map(Network::parse).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

    #[test]
    fn lines_that_dovecot_skips_make_no_user() {
        let users = parse(b"# comment:{PLAIN}x\n\nann:{PLAIN}a:8:8::/home/ann::\r\nnobody::8\nbob:{PLAIN}b\nbob:{PLAIN}other\n:x\nbare\n\xff:{PLAIN}x");
        let mut names: Vec<_> = users.iter().map(|(n, e)| (n.as_str(), e.password.as_str())).collect();
        names.sort_unstable();
        assert_eq!(names, [("ann", "{PLAIN}a"), ("bob", "{PLAIN}b")]);
    }

    #[tokio::test]
    async fn a_changed_file_counts_at_the_next_login() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users");
        std::fs::write(&path, "ann:{PLAIN}one\n").unwrap();
        let file = Arc::new(PasswdFile::open(&path).unwrap());
        assert_eq!(file.check(b"Ann", b"one", HERE).await, Verdict::Accepted("ann".into()));
        assert_eq!(file.check(b"ann", b"two", HERE).await, Verdict::Refused);
        assert_eq!(file.check(b"bob", b"one", HERE).await, Verdict::Refused);
        std::fs::write(&path, "ann:{PLAIN}other\n").unwrap();
        assert_eq!(file.check(b"ann", b"one", HERE).await, Verdict::Refused);
        assert_eq!(
            file.check(b"ann", b"other", HERE).await,
            Verdict::Accepted("ann".into())
        );
        std::fs::remove_file(&path).unwrap();
        assert_eq!(file.check(b"ann", b"other", HERE).await, Verdict::Unavailable);
    }

    #[tokio::test]
    async fn a_user_comes_only_from_where_the_file_allows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users");
        let users = "a:{PLAIN}x:8:8::/h::allow_nets=198.51.100.1,192.0.2.0/24 userdb_mail=x\n\
            b:{PLAIN}x::::::allow_nets=192.0.2.8/30\nc:{PLAIN}x::::::nologin\nd:{PLAIN}x::::::allow_nets=nonsense\n\
            e:{PLAIN}x::::::allow_nets=::/0,192.0.2.0/0\nf:{PLAIN}x::::::proxy_maybe=y\n";
        std::fs::write(&path, users).unwrap();
        let file = Arc::new(PasswdFile::open(&path).unwrap());
        for (name, allowed) in [
            ("a", true),
            ("b", false),
            ("c", false),
            ("d", false),
            ("e", true),
            ("f", true),
        ] {
            let accepted = file.check(name.as_bytes(), b"x", HERE).await == Verdict::Accepted(name.into());
            assert_eq!(accepted, allowed, "{name}");
        }
    }

    #[test]
    fn an_unknown_user_takes_as_long_as_most_known_ones() {
        let known = Known::new(parse(b"a:{PLAIN}x\nb:{SHA256-CRYPT}y\nc:{SHA256-CRYPT}z\n"));
        assert!(known.decoy.unwrap().starts_with("{SHA256-CRYPT}"));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_make_a_list_of_users_or_none(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }
    }
}
