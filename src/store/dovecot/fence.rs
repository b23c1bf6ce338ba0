//! Keeps clients and deliveries out of a running Dovecot, 2.3 or 2.4, without touching its configuration.
//!
//! What servers of both versions do, on which this stands:
//!
//! - `doveadm service stop` closes a service's listeners at once; `doveadm service status` says so (`doveadm_stop: y`). A
//!   reload or a restart opens them again without a word. So [`Fence::shut`] is repeated, and looks before it acts.
//! - A client that is connected and has not logged in yet can still do so afterwards: its login process lives on. And a
//!   session outlives a master that was killed; it takes mail, while `doveadm` finds nobody to ask. So what is left is
//!   looked for among the processes ([`super::sessions`]) and ended.
//! - Both are possible only where the whole server belongs to the group. Where it serves others too, the group's users are
//!   kicked, again and again. What refuses their next login or delivery is a file that the server's first passdb reads
//!   ([`super::hold`]), where the operator has set that up, or the operator's own command (`group.dovecot.fence`); else
//!   [`Fenced::refused`] is false.

use super::doveadm::{Doveadm, DoveadmError};
use super::holding::Holding;
use super::sessions;
use crate::config::UserPatterns;
use crate::limits::{FENCE_CALL_SECONDS_MAX, FENCE_KICKS_MAX};
use crate::op::UserName;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

/// Time that `doveadm kick` leaves a session to say goodbye; both versions need some 100 ms.
pub(super) const GOODBYE: Duration = Duration::from_millis(150);

/// How often it is looked whether a reload has opened the doors, and the time between.
const OPEN_LOOKS: u32 = 100;
const OPEN_LOOK_AGAIN: Duration = Duration::from_millis(20);

const CALL_MAX: Duration = Duration::from_secs(FENCE_CALL_SECONDS_MAX);

/// The doors of one Dovecot.
#[derive(Debug)]
pub struct Fence {
    doveadm: Doveadm,
    users: UserPatterns,
    /// Keeps users out by name, where the server is set up for it.
    holding: Option<Holding>,
    /// Whether all of the server's users are the group's, once that is known, and after how many moves of users.
    whole: Option<(bool, u64)>,
    base_dir: Option<PathBuf>,
    /// Processes that were asked to end, and get no second chance.
    warned: BTreeSet<i32>,
}

/// How it stands after [`Fence::shut`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fenced {
    /// False where the server has other users too, and no means to keep some out: the group's are sent away, but nothing
    /// refuses them at the door.
    pub refused: bool,
    /// False where no server runs.
    pub running: bool,
    /// Services that were open and are shut now.
    pub stopped: Vec<String>,
    /// Sessions that were ended.
    pub ended: usize,
    /// Sessions that are still there.
    pub left: usize,
}

impl Fenced {
    /// True where nobody is in, and nobody can come in.
    #[must_use]
    pub fn is_shut(&self) -> bool {
        self.left == 0 && (self.refused || !self.running)
    }
}

/// Why it can't be said that clients are out.
#[derive(Debug, thiserror::Error)]
pub enum FenceError {
    /// The server can't be asked.
    #[error(transparent)]
    Doveadm(#[from] DoveadmError),
    /// Its processes can't be looked at.
    #[error("look for its processes: {0}")]
    Processes(#[from] std::io::Error),
    /// The file of users who are kept out can't be had.
    #[error("{}: {why}", path.display())]
    Hold {
        /// Which one.
        path: PathBuf,
        /// What is wrong.
        why: std::io::Error,
    },
    /// It does not heed that file.
    #[error("it does not heed {}: does its first passdb read it, with result_internalfail = return-fail?", .0.display())]
    HoldUnread(PathBuf),
    /// Users are to be kept out by name, and the server is not set up for it.
    #[error("group.dovecot.hold is not set")]
    NoHold,
    /// Users are kept out, and have not left.
    #[error("{0} of their sessions are still there")]
    StillThere(usize),
    /// A reload did not open its doors.
    #[error("it was reloaded, and its doors are still shut")]
    StaysShut,
}

/// What the master says of one service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Service {
    stopped: bool,
}

/// A session, as the server knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Session {
    user: String,
    service: String,
}

impl Fence {
    /// Nothing is done yet. `users` are those of the group; `hold` is the file that the server's first passdb reads.
    #[must_use]
    pub fn new(doveadm: Doveadm, users: UserPatterns, hold: Option<PathBuf>) -> Self {
        Self {
            doveadm,
            users,
            holding: hold.map(Holding::new),
            whole: None,
            base_dir: None,
            warned: BTreeSet::new(),
        }
    }

    /// Closes what is open, ends the sessions that are left, and says how it stands. Cheap where nothing is to be done: two
    /// calls of `doveadm` and a look at the processes. Blocks for at most a few calls of [`FENCE_CALL_SECONDS_MAX`].
    ///
    /// # Errors
    /// It can't be found out; nothing is known of the doors then.
    pub fn shut(&mut self) -> Result<Fenced, FenceError> {
        let whole = self.is_whole();
        let Some(services) = self.services()? else {
            // nothing listens; sessions may have outlived the server
            let (ended, left) = self.end_processes(whole)?;
            let (refused, running) = (true, false);
            return Ok(Fenced {
                refused,
                running,
                stopped: Vec::new(),
                ended,
                left,
            });
        };
        let stopped = match whole {
            true => self.stop(&services)?,
            false => Vec::new(),
        };
        let refused = whole || self.hold_all()?;
        let mut sessions = self.sessions()?;
        let before = sessions.len();
        if before > 0 {
            self.kick(&sessions, whole)?;
            std::thread::sleep(GOODBYE);
            sessions = self.sessions()?;
        }
        let (ended, mut left) = self.end_processes(whole)?;
        // a process that was just asked to end is one of them
        left = left.max(sessions.len());
        let ended = ended.max(before.saturating_sub(sessions.len()));
        Ok(Fenced {
            refused,
            running: true,
            stopped,
            ended,
            left,
        })
    }

    /// True where the group's users are kept out by name.
    fn hold_all(&mut self) -> Result<bool, FenceError> {
        let Some(holding) = &mut self.holding else {
            return Ok(false);
        };
        holding.hold_all(&self.doveadm, |user| self.users.matches(user))?;
        Ok(true)
    }

    /// Keeps those out who are to be kept out one by one, ends their sessions, and says who they are. `may_write`: whether the
    /// group's others may come in.
    ///
    /// # Errors
    /// It can't be done, or is not done yet.
    pub fn keep_out(&mut self, may_write: bool) -> Result<BTreeSet<UserName>, FenceError> {
        let users = self.users.as_now();
        let out = users.moved().kept_out(may_write);
        let Some(holding) = &mut self.holding else {
            return if out.is_empty() {
                Ok(out)
            } else {
                Err(FenceError::NoHold)
            };
        };
        holding.hold(&self.doveadm, |user| users.matches(user), out.clone())?;
        if out.is_empty() {
            return Ok(out);
        }
        let theirs = |session: &Session| out.contains(&UserName::from(session.user.as_str()));
        let mut there = self.sessions()?;
        there.retain(theirs);
        if !there.is_empty() {
            self.kick(&there, false)?;
            std::thread::sleep(GOODBYE);
            there = self.sessions()?;
            there.retain(theirs);
        }
        match there.len() {
            0 => Ok(out),
            left => Err(FenceError::StillThere(left)),
        }
    }

    /// Opens again what was shut: a reload does, on both versions. It is begun when `doveadm reload` returns, so the doors
    /// are waited for.
    ///
    /// # Errors
    /// The server runs and can't be told, or stays shut.
    pub fn lift(&mut self) -> Result<(), FenceError> {
        self.warned.clear();
        let Some(services) = self.services()? else {
            return Ok(());
        };
        if let Some(holding) = &mut self.holding {
            let users = self.users.as_now();
            let held = users.moved().kept_out(true);
            holding.hold(&self.doveadm, |user| users.matches(user), held)?;
        }
        let is_shut = |services: &BTreeMap<String, Service>| services.values().any(|service| service.stopped);
        if !is_shut(&services) {
            return Ok(());
        }
        self.must(&["reload"])?;
        for _ in 0..OPEN_LOOKS {
            match self.services() {
                Ok(Some(services)) if !is_shut(&services) => return Ok(()),
                // the master answers nobody while it reloads
                _ => std::thread::sleep(OPEN_LOOK_AGAIN),
            }
        }
        Err(FenceError::StaysShut)
    }

    /// True where the group has every user of this server. Not known yet: only where it can't be otherwise.
    fn is_whole(&mut self) -> bool {
        if self.users.take_everybody() {
            return true;
        }
        let moves = self.users.moved().changes();
        if let Some((whole, of)) = self.whole
            && of == moves
        {
            return whole;
        }
        let Ok(names) = self.doveadm.user_names() else {
            return false;
        };
        let whole = !names.is_empty() && names.iter().map(UserName::as_str).all(|name| self.users.matches(name));
        self.whole = Some((whole, moves));
        whole
    }

    fn stop(&self, services: &BTreeMap<String, Service>) -> Result<Vec<String>, FenceError> {
        let open = services
            .iter()
            .filter(|(name, service)| is_door(name) && !service.stopped);
        let open: Vec<String> = open.map(|(name, _)| name.clone()).collect();
        if !open.is_empty() {
            let mut arguments = vec!["service", "stop"];
            arguments.extend(open.iter().map(String::as_str));
            self.must(&arguments)?;
        }
        Ok(open)
    }

    fn kick(&self, sessions: &[Session], whole: bool) -> Result<(), FenceError> {
        if whole {
            self.doveadm.call_within(&["kick", "*"], CALL_MAX)?;
            return Ok(());
        }
        let users: BTreeSet<&str> = sessions.iter().map(|session| session.user.as_str()).collect();
        for user in users.into_iter().take(FENCE_KICKS_MAX) {
            // its exit status says only whether somebody was there
            self.doveadm.call_within(&["kick", user], CALL_MAX)?;
        }
        Ok(())
    }

    /// Sessions of the group's users.
    fn sessions(&self) -> Result<Vec<Session>, FenceError> {
        let text = self.must(&["-f", "tab", "who", "-1"])?;
        let ours = |session: &Session| is_mail(&session.service) && self.users.matches(&session.user);
        Ok(who(&text).into_iter().filter(ours).collect())
    }

    /// Ends what `doveadm` can't: who has not logged in yet, and who has outlived the server. How many were sessions, and
    /// how many processes are left.
    fn end_processes(&mut self, whole: bool) -> Result<(usize, usize), FenceError> {
        if !whole {
            return Ok((0, 0));
        }
        let unknown = || std::io::Error::other("its configuration does not say where its sockets lie");
        let base_dir = self.base_dir().ok_or_else(unknown)?;
        let found = sessions::of_server(&base_dir, is_open_to_clients)?;
        let ended = sessions::end(&found, &self.warned);
        self.warned = found.iter().map(|process| process.id).collect();
        Ok((ended, sessions::alive(&found)))
    }

    fn base_dir(&mut self) -> Option<PathBuf> {
        if self.base_dir.is_none() {
            self.base_dir = self.doveadm.base_dir();
        }
        self.base_dir.clone()
    }

    /// Every service that is configured; none where no server runs.
    fn services(&self) -> Result<Option<BTreeMap<String, Service>>, FenceError> {
        let arguments = ["service", "status"];
        let (text, complaint, ok) = self.doveadm.call_within(&arguments, CALL_MAX)?;
        match ok {
            true => Ok(Some(services(&text))),
            false if is_absent(&complaint) => Ok(None),
            false => Err(self.doveadm.failed(&arguments, &complaint).into()),
        }
    }

    fn must(&self, arguments: &[&str]) -> Result<String, FenceError> {
        let (text, complaint, ok) = self.doveadm.call_within(arguments, CALL_MAX)?;
        match ok {
            true => Ok(text),
            false => Err(self.doveadm.failed(arguments, &complaint).into()),
        }
    }
}

/// Services through which clients and deliveries come in.
fn is_door(service: &str) -> bool {
    service == "lmtp" || service.ends_with("-login")
}

/// Processes that clients and deliveries talk to, before and after the login.
fn is_open_to_clients(service: &str) -> bool {
    is_door(service) || is_mail(service)
}

/// Services that work on mail for somebody outside; `doveadm` itself must go on.
fn is_mail(service: &str) -> bool {
    let kinds = [
        "imap",
        "pop3",
        "submission",
        "managesieve",
        "lmtp",
        "sieve",
        "imap-hibernate",
        "imap-urlauth",
    ];
    kinds.contains(&service)
}

/// No master behind its socket: none was ever there, or it is gone.
fn is_absent(complaint: &str) -> bool {
    let about_master = complaint.lines().any(|line| line.contains("/master"));
    let nobody = ["Connection refused", "No such file or directory"];
    about_master && nobody.iter().any(|why| complaint.contains(why))
}

/// Blocks of `KEY: VALUE` lines, each beginning with `name`.
fn services(text: &str) -> BTreeMap<String, Service> {
    let mut found: BTreeMap<String, Service> = BTreeMap::new();
    let mut name = None;
    for line in text.lines() {
        match line.split_once(": ") {
            Some(("name", service)) => {
                name = Some(service.to_owned());
                found.entry(service.to_owned()).or_default();
            }
            Some(("doveadm_stop", value)) => {
                if let Some(service) = name.as_ref().and_then(|name| found.get_mut(name)) {
                    service.stopped = value == "y";
                }
            }
            _ => {}
        }
    }
    found
}

/// A table with tabs; 2.3 calls the second column `proto`, 2.4 `service`.
fn who(text: &str) -> Vec<Session> {
    let mut lines = text.lines();
    let titles: Vec<&str> = lines.next().unwrap_or_default().split('\t').collect();
    let column = |names: &[&str]| titles.iter().position(|title| names.contains(title));
    let (Some(user), Some(service)) = (column(&["username"]), column(&["proto", "service"])) else {
        return Vec::new();
    };
    let session = |line: &str| {
        let cells: Vec<&str> = line.split('\t').collect();
        let cell = |at: usize| cells.get(at).map(ToString::to_string);
        Some(Session {
            user: cell(user)?,
            service: cell(service)?,
        })
    };
    lines.filter_map(session).collect()
}

#[cfg(test)]
mod tests;
