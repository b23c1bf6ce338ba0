//! What only the server's own administration command knows: its configuration, who the users are, where their homes are.
//!
//! Both versions answer `doveadm config -n`, `doveadm user '*'` and `doveadm user -u NAME…` without opening any mail and
//! without being root (the second and third need the socket `auth-userdb`). Where the command may also open mail, its
//! word on where INBOX lies (`doveadm mailbox path -A`) is compared with what the configuration was understood to say.

use super::body_settings::BodyConfig;
use super::location::Fields;
use super::mail_root::{Layout, MailRoot};
use super::namespaces::Configuration;
use super::public::{NOBODYS, Settling};
use super::settings::{self, Settings};
use crate::config::PublicOwners;
use crate::limits::{DOVEADM_OUTPUT_BYTES_MAX, DOVEADM_SECONDS_MAX, DOVEADM_USERS_MAX, FENCE_CALL_SECONDS_MAX};
use crate::op::UserName;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The socket of a running server's `doveadm` service, below its `base_dir`.
const SOCKET: &str = "doveadm-server";

/// How to call `doveadm`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doveadm {
    /// The command, with what stands before it (a chroot, a container).
    pub command: Vec<String>,
    /// Passed as `-c`.
    pub config: Option<PathBuf>,
}

/// `doveadm` can't be asked.
#[derive(Debug, thiserror::Error)]
#[error("{command}: {why}")]
pub struct DoveadmError {
    /// What was called.
    pub command: String,
    /// What went wrong, with what it said.
    pub why: String,
}

/// Every user of the server, with the place of the mail or the reason why this user can't be captured.
pub type Users = BTreeMap<UserName, Result<MailRoot, String>>;

impl Doveadm {
    /// Names of all users.
    ///
    /// # Errors
    /// `doveadm` fails, hangs or says too much.
    pub fn user_names(&self) -> Result<Vec<UserName>, DoveadmError> {
        let text = self.run(&["user", "*"])?;
        Ok(text.lines().filter(|l| !l.is_empty()).map(UserName::from).collect())
    }

    /// The server's configuration.
    ///
    /// # Errors
    /// `doveadm` fails, or prints what is no configuration of 2.3 or 2.4.
    pub(crate) fn configuration(&self) -> Result<Configuration, DoveadmError> {
        let arguments = ["config", "-n"];
        let text = self.run(&arguments)?;
        let version = settings::version(&text).ok_or_else(|| self.error(&arguments, "neither Dovecot 2.3 nor 2.4"))?;
        let settings = Settings::parse(&text).map_err(|e| self.error(&arguments, e))?;
        Ok(Configuration {
            version,
            settings,
            bodies: BodyConfig::parse(&text),
        })
    }

    /// All users with their mail roots, and the owners of public namespaces with theirs.
    ///
    /// # Errors
    /// `doveadm` fails, hangs or says too much. What is wrong with one user is that user's result.
    pub fn users(&self, public: &PublicOwners) -> Result<Users, DoveadmError> {
        let names = self.user_names()?;
        if names.is_empty() {
            return Ok(Users::new());
        }
        let configuration = self.configuration()?;
        let fields = self.fields(&names)?;
        // Who may not open mail has no such lines, and goes without the comparison.
        let inboxes = self.paths(&["mailbox", "path", "-A", "-t", "index", "INBOX"])?;
        let mut found: Users = names
            .into_iter()
            .map(|user| {
                let root = match fields.get(&user) {
                    Some(fields) => configuration.mail_root(&user, fields),
                    None => Err("the user database does not know this user by name".to_owned()),
                };
                (user, root)
            })
            .collect();
        self.unsaid_layouts(&mut found)?;
        let compared = found.into_iter().map(|(user, root)| {
            let inbox = inboxes.get(&user).map(PathBuf::as_path);
            (user, root.and_then(|root| agreed(root, inbox)))
        });
        let mut found = compared.collect();
        let settling = Settling {
            server: &configuration,
            fields: &fields,
            owners: public,
            path: &|user, mailbox| self.path(user, mailbox),
        };
        settling.settle(&mut found);
        Ok(found)
    }

    /// Where a mailbox of this user's would lie, its index files.
    fn path(&self, user: &UserName, mailbox: &str) -> Option<PathBuf> {
        let arguments = ["mailbox", "path", "-u", user.as_str(), "-t", "index", mailbox];
        let (text, _, ok) = self.call(&arguments).ok()?;
        let line = text.lines().next().filter(|line| ok && line.starts_with('/'));
        line.map(PathBuf::from)
    }

    /// 2.4 doesn't print `mailbox_list_layout = fs`, for it is the default of all formats but maildir, where it makes the
    /// difference. Where a mailbox of a made-up name would lie tells.
    fn unsaid_layouts(&self, users: &mut Users) -> Result<(), DoveadmError> {
        let unsaid = |root: &MailRoot| {
            let first = root.namespaces.first().filter(|_| root.nonexistent_code);
            first
                .filter(|first| first.layout == Layout::MaildirPlusPlus)
                .map(|first| first.prefix.clone())
        };
        let Some(prefix) = users.values().flatten().find_map(unsaid) else {
            return Ok(());
        };
        let probes = self.paths(&["mailbox", "path", "-A", "-t", "index", &format!("{prefix}{NOBODYS}")])?;
        for (user, root) in users {
            let by_level = probes.get(user).is_some_and(|path| path.ends_with(NOBODYS));
            if let Ok(root) = root
                && by_level
            {
                let maildirs = root.namespaces.iter_mut();
                let maildirs = maildirs.filter(|namespace| namespace.layout == Layout::MaildirPlusPlus);
                maildirs.for_each(|namespace| namespace.layout = Layout::Fs);
            }
        }
        Ok(())
    }

    /// What the user database says of each.
    pub(super) fn fields(&self, names: &[UserName]) -> Result<BTreeMap<UserName, Fields>, DoveadmError> {
        let mut found = BTreeMap::new();
        // A name with a wildcard would be answered with others' fields.
        let plain: Vec<&str> = names
            .iter()
            .map(UserName::as_str)
            .filter(|name| !name.contains(['*', '?']))
            .collect();
        for some in plain.chunks(DOVEADM_USERS_MAX) {
            let mut arguments = vec!["user", "-u"];
            arguments.extend(some);
            // A user who was removed meanwhile makes it fail; the others are answered all the same.
            let (text, complaint, _) = self.call(&arguments)?;
            let before = found.len();
            found.extend(user_fields(&text));
            if found.len() == before {
                let last = complaint.lines().last().unwrap_or("no user is known");
                return Err(self.error(&["user", "-u", "…"], last));
            }
        }
        Ok(found)
    }

    /// `USER PATH` lines. A user whose storage can't be opened has no line; the exit status then says failure, which is
    /// no reason to give up on the others.
    fn paths(&self, arguments: &[&str]) -> Result<BTreeMap<UserName, PathBuf>, DoveadmError> {
        let (text, _, _) = self.call(arguments)?;
        let line = |l: &str| {
            let (user, path) = l.split_once(" /")?;
            Some((UserName::from(user), Path::new("/").join(path)))
        };
        Ok(text.lines().filter_map(line).collect())
    }

    /// Standard output of a call that must succeed.
    pub(super) fn run(&self, arguments: &[&str]) -> Result<String, DoveadmError> {
        let (text, complaint, ok) = self.call(arguments)?;
        if ok {
            Ok(text)
        } else {
            Err(self.failed(arguments, &complaint))
        }
    }

    /// It ran and failed; the last line of what it said is why.
    pub(super) fn failed(&self, arguments: &[&str], complaint: &str) -> DoveadmError {
        let last = complaint.lines().last().unwrap_or("it failed and said nothing");
        self.error(arguments, last)
    }

    fn error(&self, arguments: &[&str], why: impl ToString) -> DoveadmError {
        DoveadmError {
            command: format!("{} {}", self.command.join(" "), arguments.join(" ")),
            why: why.to_string(),
        }
    }

    /// Where the server's sockets lie, running or not.
    #[must_use]
    pub fn base_dir(&self) -> Option<PathBuf> {
        let path = PathBuf::from(self.setting("base_dir")?);
        path.is_absolute().then_some(path)
    }

    /// The socket of the running server's `doveadm` service.
    #[must_use]
    pub fn socket(&self) -> Option<PathBuf> {
        Some(self.base_dir()?.join(SOCKET))
    }

    /// Where clients read plain IMAP, as far as the configuration tells: address and port.
    #[must_use]
    pub fn imap_door(&self) -> Option<(String, u16)> {
        let port = self.setting("service/imap-login/inet_listener/imap/port")?;
        let port = port.parse().ok().filter(|port| *port != 0)?;
        let listen = self.setting("listen").unwrap_or_default();
        let first = listen.split([',', ' ']).next().unwrap_or_default();
        let host = match first {
            "" | "*" | "0.0.0.0" => "127.0.0.1",
            "::" | "[::]" => "::1",
            address => address,
        };
        Some((host.to_owned(), port))
    }

    /// The socket that deliveries come to, where LMTP is configured.
    #[must_use]
    pub fn lmtp_door(&self) -> Option<PathBuf> {
        let protocols = self.setting("protocols")?;
        let has_lmtp = protocols.split_whitespace().any(|protocol| protocol == "lmtp");
        self.base_dir().filter(|_| has_lmtp).map(|dir| dir.join("lmtp"))
    }

    /// One setting of the configuration. 2.3 answers for a part of a block in one line, 2.4 with the block.
    fn setting(&self, name: &str) -> Option<String> {
        let limit = Duration::from_secs(FENCE_CALL_SECONDS_MAX);
        let (text, _, ok) = self.call_within(&["config", name], limit).ok()?;
        if !ok {
            return None;
        }
        let last = name.rsplit('/').next()?;
        text.lines().find_map(|line| {
            let (key, value) = line.split_once('=')?;
            (key.trim().rsplit('/').next() == Some(last)).then(|| value.trim().to_owned())
        })
    }

    /// Standard output, standard error, and whether it went well.
    ///
    /// # Errors
    /// It can't be run, hangs or says too much.
    pub fn call(&self, arguments: &[&str]) -> Result<(String, String, bool), DoveadmError> {
        self.call_within(arguments, Duration::from_secs(DOVEADM_SECONDS_MAX))
    }

    /// The command with these arguments, not yet run.
    pub(super) fn prepared(&self, arguments: &[&str]) -> Result<Command, DoveadmError> {
        let (program, before) = self
            .command
            .split_first()
            .ok_or_else(|| self.error(arguments, "no command is configured"))?;
        let mut command = Command::new(program);
        command.args(before);
        if let Some(config) = &self.config {
            command.arg("-c").arg(config);
        }
        command.args(arguments);
        Ok(command)
    }

    /// As [`Self::call`], for at most `limit`.
    pub(super) fn call_within(
        &self,
        arguments: &[&str],
        limit: Duration,
    ) -> Result<(String, String, bool), DoveadmError> {
        let (out, err, ok) = self.call_for_octets(arguments, DOVEADM_OUTPUT_BYTES_MAX, limit)?;
        let out = String::from_utf8(out).map_err(|_| self.error(arguments, "its output is not UTF-8"))?;
        Ok((out, err, ok))
    }

    /// The same, where the output is no text.
    pub(super) fn call_for_octets(
        &self,
        arguments: &[&str],
        bytes_max: u64,
        limit: Duration,
    ) -> Result<(Vec<u8>, String, bool), DoveadmError> {
        let mut command = self.prepared(arguments)?;
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = command.spawn().map_err(|e| self.error(arguments, e))?;
        collect(child, bytes_max, limit).map_err(|why| self.error(arguments, why))
    }
}

/// Reads both outputs to their bound and waits for the end, for a bounded time.
fn collect(mut child: Child, bytes_max: u64, limit: Duration) -> Result<(Vec<u8>, String, bool), String> {
    let out = reader(child.stdout.take(), bytes_max);
    let err = reader(child.stderr.take(), DOVEADM_OUTPUT_BYTES_MAX);
    let deadline = Instant::now() + limit;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
            Ok(None) => {
                // Errors of killing leave nothing more to do: the time is up either way.
                drop(child.kill());
                drop(child.wait());
                return Err(format!("no answer within {} s", limit.as_secs()));
            }
            Err(e) => return Err(e.to_string()),
        }
    };
    let text =
        |handle: std::thread::JoinHandle<Vec<u8>>| handle.join().map_err(|_| "its output can't be read".to_owned());
    let (out, err) = (text(out)?, text(err)?);
    if u64::try_from(out.len()).unwrap_or(u64::MAX) > bytes_max {
        return Err(format!("more than {bytes_max} bytes of output"));
    }
    Ok((out, String::from_utf8_lossy(&err).into_owned(), status.success()))
}

/// Reads one byte beyond the bound, so that the caller sees that it was met. The pipe closes afterwards, which ends a
/// command that goes on writing.
fn reader(stream: Option<impl Read + Send + 'static>, bytes_max: u64) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(stream) = stream {
            // What was read before an error is judged by the exit status.
            drop(stream.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes));
        }
        bytes
    })
}

/// Blocks of `userdb: NAME` and lines `  KEY : VALUE`.
fn user_fields(text: &str) -> BTreeMap<UserName, Fields> {
    let mut found: BTreeMap<UserName, Fields> = BTreeMap::new();
    let mut user = None;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("userdb: ") {
            user = Some(UserName::from(name));
            found.entry(UserName::from(name)).or_default();
        } else if let Some((key, value)) = line.strip_prefix("  ").and_then(|line| line.split_once(':'))
            && let Some(fields) = user.as_ref().and_then(|user| found.get_mut(user))
        {
            fields.insert(key.trim().to_owned(), value.trim_start().to_owned());
        } else if line.is_empty() {
            user = None;
        }
    }
    found
}

/// The root, if it has INBOX where Dovecot says that INBOX is (`inbox`; none: Dovecot was not to be asked).
fn agreed(root: MailRoot, inbox: Option<&Path>) -> Result<MailRoot, String> {
    let ours = root.namespaces.first().and_then(|first| first.inbox_index_directory());
    match (ours, inbox) {
        (Some(ours), Some(inbox)) if ours != inbox => Err(format!(
            "Dovecot has INBOX at {}, but its configuration was understood as {}: please report this",
            inbox.display(),
            ours.display()
        )),
        _ => Ok(root),
    }
}

#[cfg(test)]
mod tests {
    use super::super::mail_root::{Driver, Namespace};
    use super::*;

    #[test]
    fn fields_of_users_are_read_from_both_versions_answers() {
        let text = "userdb: a@b\n  user      : a@b\n  home      : /h/a: b\n  mail      : maildir:~/M\n\nuserdb: c\n  uid       : 8\n\n\
                    userdb lookup: user d doesn't exist\n";
        let found = user_fields(text);
        let field = |user: &str, key: &str| {
            found
                .get(&UserName::from(user))
                .and_then(|fields| fields.get(key))
                .cloned()
        };
        assert_eq!(found.len(), 2);
        assert_eq!(field("a@b", "home").as_deref(), Some("/h/a: b"));
        assert_eq!(field("a@b", "mail").as_deref(), Some("maildir:~/M"));
        assert_eq!(field("c", "uid").as_deref(), Some("8"));
    }

    #[test]
    fn a_place_that_dovecot_contradicts_is_refused() {
        let root = || MailRoot::of(Namespace::plain(Driver::Maildir, Path::new("/m")));
        assert!(agreed(root(), None).is_ok() && agreed(root(), Some(Path::new("/m"))).is_ok());
        assert!(
            agreed(root(), Some(Path::new("/other")))
                .unwrap_err()
                .contains("/other")
        );
    }

    #[test]
    fn a_command_that_fails_or_is_missing_is_an_error_with_its_words() {
        let call = |command: &[&str]| {
            let command = command.iter().map(ToString::to_string).collect();
            Doveadm { command, config: None }.user_names()
        };
        assert!(call(&["/nowhere/doveadm"]).is_err());
        assert!(call(&[]).is_err());
        let said = call(&["sh", "-c", "echo no such thing >&2; exit 1"])
            .unwrap_err()
            .to_string();
        assert!(said.contains("no such thing"), "{said}");
        assert_eq!(call(&["sh", "-c", "echo a; echo b@c"]).unwrap().len(), 2);
    }
}
