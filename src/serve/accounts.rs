//! Who may log in: the users of a passwd-file, and everybody else by the word of a program.

use super::auth::{PasswdError, PasswdFile, Verdict};
use crate::limits::{
    PASSWORD_PROGRAM_CACHE_MAX, PASSWORD_PROGRAM_CACHE_SECONDS, PASSWORD_PROGRAMS_MAX, USER_BYTES_MAX,
};
use crate::op::UserName;
use ring::rand::{SecureRandom as _, SystemRandom};
use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Asks a program with name and password on its standard input, a line each: whether they are right, or why it can't
/// tell.
pub type AskProgram = Arc<dyn Fn(Vec<u8>) -> Pin<Box<dyn Future<Output = Result<bool, String>> + Send>> + Send + Sync>;

/// The users of a front end. Share it between its listeners.
pub struct Accounts {
    file: Arc<PasswdFile>,
    program: Option<Program>,
}

/// A program that is asked, and what it said a short time ago.
struct Program {
    ask: AskProgram,
    turns: Semaphore,
    said_yes: Mutex<HashMap<[u8; 32], Instant>>,
    /// Names in the cache are hashes under this key, so that no password lies in memory.
    key: [u8; 32],
}

impl Accounts {
    /// `ask`: for users that the file doesn't name.
    #[must_use]
    pub fn new(file: PasswdFile, ask: Option<AskProgram>) -> Self {
        Self {
            file: Arc::new(file),
            program: ask.and_then(Program::new),
        }
    }

    /// Tries a name and a password.
    pub async fn check(&self, name: &[u8], password: &[u8], from: IpAddr) -> Verdict {
        let Some(program) = &self.program else {
            return self.file.check(name, password, from).await;
        };
        let (file, known) = (Arc::clone(&self.file), String::from_utf8_lossy(name).into_owned());
        let known = tokio::task::spawn_blocking(move || file.knows(&known)).await;
        match known {
            Ok(Ok(None)) => program.check(name, password).await,
            Ok(Ok(Some(_))) => self.file.check(name, password, from).await,
            _ => Verdict::Unavailable,
        }
    }

    /// The user of that name in the file, as the file spells it, whether anybody may log in as such or not. Blocks on the
    /// disk.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn knows(&self, name: &str) -> Result<Option<UserName>, PasswdError> {
        self.file.knows(name)
    }
}

impl Program {
    fn new(ask: AskProgram) -> Option<Self> {
        let mut key = [0; 32];
        if SystemRandom::new().fill(&mut key).is_err() {
            tracing::error!("no random numbers: the program that checks passwords is not asked");
            return None;
        }
        Some(Self {
            ask,
            turns: Semaphore::new(PASSWORD_PROGRAMS_MAX),
            said_yes: Mutex::default(),
            key,
        })
    }

    /// Users are called by their name in small letters, as Dovecot does unless it is told otherwise.
    async fn check(&self, name: &[u8], password: &[u8]) -> Verdict {
        let Some((name, input)) = input(name, password) else {
            return Verdict::Refused;
        };
        let hash = *blake3::keyed_hash(&self.key, &input).as_bytes();
        if self.said_yes_lately(&hash) {
            return Verdict::Accepted(name);
        }
        let Ok(_turn) = self.turns.acquire().await else {
            return Verdict::Unavailable;
        };
        match (self.ask)(input).await {
            Ok(true) => {
                self.remember(hash);
                Verdict::Accepted(name)
            }
            Ok(false) => Verdict::Refused,
            Err(why) => {
                tracing::error!(%why, "the program that checks passwords gave no answer");
                Verdict::Unavailable
            }
        }
    }

    fn said_yes_lately(&self, hash: &[u8; 32]) -> bool {
        let said = self.said_yes.lock().unwrap_or_else(PoisonError::into_inner);
        said.get(hash).is_some_and(is_fresh)
    }

    fn remember(&self, hash: [u8; 32]) {
        let mut said = self.said_yes.lock().unwrap_or_else(PoisonError::into_inner);
        said.retain(|_, at| is_fresh(at));
        if said.len() < PASSWORD_PROGRAM_CACHE_MAX {
            said.insert(hash, Instant::now());
        }
    }
}

fn is_fresh(at: &Instant) -> bool {
    at.elapsed() < Duration::from_secs(PASSWORD_PROGRAM_CACHE_SECONDS)
}

/// The user, and the program's input; none where a name or password can't be a line.
fn input(name: &[u8], password: &[u8]) -> Option<(UserName, Vec<u8>)> {
    let is_line = |text: &[u8]| !text.is_empty() && !text.iter().any(|b| b"\0\r\n".contains(b));
    let text = std::str::from_utf8(name).ok()?;
    let fits = name.len() <= USER_BYTES_MAX && !text.contains(char::is_control);
    if !fits || !is_line(name) || !is_line(password) {
        return None;
    }
    let name = text.to_lowercase();
    let input = [name.as_bytes(), b"\n", password, b"\n"].concat();
    Some((UserName(name), input))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    /// Accounts with ann in the file; the program knows eve. And how often it was asked.
    fn accounts(dir: &tempfile::TempDir) -> (Accounts, Arc<AtomicU32>) {
        let path = dir.path().join("users");
        std::fs::write(&path, "ann:{PLAIN}one\n").unwrap();
        let asked = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&asked);
        let ask: AskProgram = Arc::new(move |input| {
            count.fetch_add(1, Ordering::Relaxed);
            Box::pin(async move {
                match input.as_slice() {
                    b"eve@x\nsecret\n" => Ok(true),
                    b"eve@x\nbroken\n" => Err("no route to the directory".to_owned()),
                    _ => Ok(false),
                }
            })
        });
        (Accounts::new(PasswdFile::open(&path).unwrap(), Some(ask)), asked)
    }

    #[tokio::test]
    async fn the_program_is_asked_of_those_that_the_file_does_not_name_and_not_twice_in_a_row() {
        let dir = tempfile::tempdir().unwrap();
        let (accounts, asked) = accounts(&dir);
        assert_eq!(
            accounts.check(b"Ann", b"one", HERE).await,
            Verdict::Accepted("ann".into())
        );
        assert_eq!(accounts.check(b"ann", b"secret", HERE).await, Verdict::Refused);
        assert_eq!(asked.load(Ordering::Relaxed), 0);
        for _ in 0..3 {
            assert_eq!(
                accounts.check(b"Eve@x", b"secret", HERE).await,
                Verdict::Accepted("eve@x".into())
            );
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        assert_eq!(accounts.check(b"eve@x", b"wrong", HERE).await, Verdict::Refused);
        assert_eq!(accounts.check(b"eve@x", b"broken", HERE).await, Verdict::Unavailable);
        assert_eq!(asked.load(Ordering::Relaxed), 3);
    }

    #[tokio::test]
    async fn what_would_be_another_line_is_not_handed_on() {
        let dir = tempfile::tempdir().unwrap();
        let (accounts, asked) = accounts(&dir);
        for (name, password) in [
            (&b"eve@x\nsecret"[..], &b"x"[..]),
            (b"eve@x", b"secret\n"),
            (b"", b"x"),
            (b"eve@x", b""),
        ] {
            assert_eq!(accounts.check(name, password, HERE).await, Verdict::Refused);
        }
        assert_eq!(asked.load(Ordering::Relaxed), 0);
    }
}
