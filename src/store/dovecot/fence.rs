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
    /// Whether all of the server's users are the group's, once that is known.
    whole: Option<bool>,
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
            holding.hold(&self.doveadm, |user| self.users.matches(user), BTreeSet::new())?;
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
        if let Some(whole) = self.whole {
            return whole;
        }
        let Ok(names) = self.doveadm.user_names() else {
            return false;
        };
        let whole = !names.is_empty() && names.iter().map(UserName::as_str).all(|name| self.users.matches(name));
        self.whole = Some(whole);
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
mod tests {
    use super::*;

    #[test]
    fn sessions_are_read_from_both_versions_tables() {
        let of_2_3 = "username\tproto\tpid\tip\nuser1@example.test\timap\t27937\t127.0.0.1\n";
        let of_2_4 = "username\tservice\tpid\tip\tdest_ip\nuser1@example.test\timap\t28050\t127.0.0.1\t\n";
        let imap = Session {
            user: "user1@example.test".to_owned(),
            service: "imap".to_owned(),
        };
        assert_eq!(who(of_2_3), who(of_2_4));
        assert_eq!(who(of_2_4), [imap]);
        assert_eq!(who("username\tproto\tpid\tip\n"), []);
        assert_eq!(who(""), []);
    }

    #[test]
    fn a_stopped_service_is_told_from_one_that_listens() {
        let text = "name: lmtp\nlistening: n\ndoveadm_stop: y\nprocess_total: 0\n\nname: imap-login\nlistening: n\ndoveadm_stop: n\n";
        let found = services(text);
        assert!(found["lmtp"].stopped && !found["imap-login"].stopped);
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn a_server_that_may_not_be_asked_is_not_taken_for_one_that_does_not_run() {
        let said = |why: &str| format!("Fatal: net_connect_unix(/run/dovecot/master) failed: {why}\n");
        assert!(is_absent(&said("Connection refused")) && is_absent(&said("No such file or directory")));
        assert!(!is_absent(&said("Permission denied")));
        assert!(!is_absent(
            "Error: No such file or directory: /etc/dovecot/dovecot.conf"
        ));
        assert!(!is_absent("Error response from daemon: container is not running"));
    }

    /// A `doveadm` that says what it is told to, and keeps what it was asked.
    fn fake(dir: &std::path::Path, script: &str) -> Doveadm {
        let log = dir.join("asked");
        let script = format!("echo \"$*\" >>{}\n{script}", log.display());
        let command = ["sh", "-c", &script, "doveadm"].map(str::to_owned).to_vec();
        Doveadm { command, config: None }
    }

    fn patterns(patterns: &[&str]) -> UserPatterns {
        let patterns: Vec<String> = patterns.iter().map(ToString::to_string).collect();
        UserPatterns::try_from(patterns).unwrap()
    }

    #[test]
    fn a_server_of_several_groups_goes_on_for_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let script = r#"case "$*" in
            "service status") printf 'name: imap-login\ndoveadm_stop: n\n' ;;
            "user *") printf 'a@x\nb@y\n' ;;
            *who*) printf 'username\tproto\tpid\tip\na@x\timap\t1\t::1\nb@y\timap\t2\t::1\n' ;;
        esac"#;
        let mut fence = Fence::new(fake(dir.path(), script), patterns(&["*@x"]), None);
        let fenced = fence.shut().unwrap();
        assert!(!fenced.refused && !fenced.is_shut());
        assert_eq!((fenced.left, fenced.stopped.len()), (1, 0));
        let asked = std::fs::read_to_string(dir.path().join("asked")).unwrap();
        assert!(asked.contains("kick a@x\n"), "{asked}");
        assert!(
            !asked.contains("b@y") && !asked.contains("stop") && !asked.contains("kick *"),
            "{asked}"
        );
    }

    #[test]
    fn a_file_that_the_server_does_not_heed_keeps_nobody_out() {
        let dir = tempfile::tempdir().unwrap();
        let script = r#"case "$*" in
            "service status") printf 'name: imap-login\ndoveadm_stop: n\n' ;;
            "user *") printf 'a@x\nb@y\n' ;;
            "auth lookup"*) printf 'passdb: a@x\n' ;;
        esac"#;
        let held = dir.path().join("held");
        let mut fence = Fence::new(fake(dir.path(), script), patterns(&["*@x"]), Some(held.clone()));
        let error = fence.shut().unwrap_err().to_string();
        assert!(error.contains("does not heed"), "{error}");
        let heeds = r#"case "$*" in
            "service status") printf 'name: imap-login\ndoveadm_stop: n\n' ;;
            "user *") printf 'a@x\nb@y\n' ;;
            "auth lookup"*) echo 'Error: auth-master: passdb lookup(a@x): Auth PASS lookup failed' >&2; exit 75 ;;
        esac"#;
        let mut fence = Fence::new(fake(dir.path(), heeds), patterns(&["*@x"]), Some(held.clone()));
        assert!(fence.shut().unwrap().is_shut());
        assert_eq!(std::fs::read_to_string(held).unwrap(), "a@x:::::::held=%{held}\n");
    }

    #[test]
    fn a_server_that_can_not_be_asked_is_not_said_to_be_shut() {
        let dir = tempfile::tempdir().unwrap();
        let script = "echo 'Fatal: net_connect_unix(/run/dovecot/master) failed: Permission denied' >&2; exit 75";
        let mut fence = Fence::new(fake(dir.path(), script), patterns(&["*"]), None);
        let error = fence.shut().unwrap_err().to_string();
        assert!(error.contains("Permission denied"), "{error}");
    }
}
