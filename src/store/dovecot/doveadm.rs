//! What only the server's own administration command knows: who the users are and where their mail lies.
//!
//! `doveadm mailbox path -A NAME` (both versions) prints `USER PATH` for every user without opening a mailbox; nothing
//! is changed by asking. Where a mailbox of a made-up name would lie tells the layout.

use super::body_settings::{BodyConfig, BodySettings};
use crate::limits::{DOVEADM_OUTPUT_BYTES_MAX, DOVEADM_SECONDS_MAX, DOVEADM_USERS_MAX};
use crate::op::UserName;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A name that nobody's mailbox has; asked for only to see where it would lie.
const PROBE: &str = "mailshadow-probe";

/// How to call `doveadm`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doveadm {
    /// The command, with what stands before it (a chroot, a container).
    pub command: Vec<String>,
    /// Passed as `-c`.
    pub config: Option<PathBuf>,
}

/// How directories make a tree of mailboxes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Maildir++: the root is INBOX, `.A.B` beneath it is the mailbox `A/B`.
    MaildirPlusPlus,
    /// sdbox or mdbox: `mailboxes/A/B/dbox-Mails` is the mailbox `A/B`.
    Dbox,
}

/// Where a user's mail lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailRoot {
    /// The mail root: subscriptions, `dovecot.mailbox.log`, mdbox's `storage` are in it.
    pub path: PathBuf,
    /// How its directories make a tree.
    pub layout: Layout,
    /// How its bodies are kept.
    pub bodies: BodySettings,
    /// True where the server says `[NONEXISTENT]` of a mailbox that is not there: since version 2.4.
    pub nonexistent_code: bool,
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

    /// All users with their mail roots. Seven calls, whatever the number of users; where each has a folder of attachments of
    /// its own, one more for every [`DOVEADM_USERS_MAX`].
    ///
    /// # Errors
    /// `doveadm` fails, hangs or says too much. What is wrong with one user is that user's result.
    pub fn users(&self) -> Result<Users, DoveadmError> {
        let names = self.user_names()?;
        let Some(anybody) = names.first() else {
            return Ok(Users::new());
        };
        let nonexistent_code = self.is_2_4(anybody)?;
        let inbox = self.paths(&["mailbox", "path", "-A", "INBOX"])?;
        let index = self.paths(&["mailbox", "path", "-A", "-t", "index", "INBOX"])?;
        let control = self.paths(&["mailbox", "path", "-A", "-t", "control", "INBOX"])?;
        let probe = self.paths(&["mailbox", "path", "-A", PROBE])?;
        let bodies = self.body_config()?;
        let attachments = self.attachments(&bodies, &names, nonexistent_code)?;
        let found = names.into_iter().map(|user| {
            let of = |paths: &BTreeMap<UserName, PathBuf>| paths.get(&user).cloned();
            let root = mail_root(of(&inbox), of(&index), of(&control), of(&probe), nonexistent_code);
            let bodies = bodies.of_user(of(&attachments));
            (user, root.map(|root| MailRoot { bodies, ..root }))
        });
        Ok(found.collect())
    }

    /// True from version 2.4 on, which is the first one that has its version among the variables of a template. An older
    /// one complains that there is no such variable, and prints nothing.
    fn is_2_4(&self, anybody: &UserName) -> Result<bool, DoveadmError> {
        let (text, _, _) = self.call(&["user", "-e", "%{dovecot:version}", &anybody.0])?;
        Ok(text.starts_with(|c: char| c.is_ascii_digit()))
    }

    /// What the configuration says of bodies. Nothing, where `doveadm` is not allowed to read it: then what it would say is
    /// missed where it is needed, with a reason.
    ///
    /// # Errors
    /// `doveadm` hangs or says too much.
    pub fn body_config(&self) -> Result<BodyConfig, DoveadmError> {
        let (text, _, _) = self.call(&["config", "-n"])?;
        Ok(BodyConfig::parse(&text))
    }

    /// Each user's folder of attachments, where it is not the same for all.
    fn attachments(
        &self,
        bodies: &BodyConfig,
        users: &[UserName],
        is_2_4: bool,
    ) -> Result<BTreeMap<UserName, PathBuf>, DoveadmError> {
        let Some(template) = bodies.template(is_2_4) else {
            return Ok(BTreeMap::new());
        };
        let user = if is_2_4 { "%{user}" } else { "%u" };
        let line = format!("{user} {template}");
        let mut found = BTreeMap::new();
        for some in users.chunks(DOVEADM_USERS_MAX) {
            let names = some.iter().map(|user| user.0.as_str());
            let arguments: Vec<&str> = ["user", "-e", &line].into_iter().chain(names).collect();
            found.append(&mut self.paths(&arguments)?);
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

    fn run(&self, arguments: &[&str]) -> Result<String, DoveadmError> {
        let (text, complaint, ok) = self.call(arguments)?;
        if ok {
            Ok(text)
        } else {
            let last = complaint.lines().last().unwrap_or("it failed and said nothing");
            Err(self.error(arguments, last))
        }
    }

    fn error(&self, arguments: &[&str], why: impl ToString) -> DoveadmError {
        DoveadmError {
            command: format!("{} {}", self.command.join(" "), arguments.join(" ")),
            why: why.to_string(),
        }
    }

    /// Standard output, standard error, and whether it went well.
    fn call(&self, arguments: &[&str]) -> Result<(String, String, bool), DoveadmError> {
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
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = command.spawn().map_err(|e| self.error(arguments, e))?;
        collect(child).map_err(|why| self.error(arguments, why))
    }
}

/// Reads both outputs to their bound and waits for the end, for a bounded time.
fn collect(mut child: Child) -> Result<(String, String, bool), String> {
    let out = reader(child.stdout.take());
    let err = reader(child.stderr.take());
    let deadline = Instant::now() + Duration::from_secs(DOVEADM_SECONDS_MAX);
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
            Ok(None) => {
                // Errors of killing leave nothing more to do: the time is up either way.
                drop(child.kill());
                drop(child.wait());
                return Err(format!("no answer within {DOVEADM_SECONDS_MAX} s"));
            }
            Err(e) => return Err(e.to_string()),
        }
    };
    let text =
        |handle: std::thread::JoinHandle<Vec<u8>>| handle.join().map_err(|_| "its output can't be read".to_owned());
    let (out, err) = (text(out)?, text(err)?);
    if u64::try_from(out.len()).unwrap_or(u64::MAX) > DOVEADM_OUTPUT_BYTES_MAX {
        return Err(format!("more than {DOVEADM_OUTPUT_BYTES_MAX} bytes of output"));
    }
    let out = String::from_utf8(out).map_err(|_| "its output is not UTF-8")?;
    Ok((out, String::from_utf8_lossy(&err).into_owned(), status.success()))
}

/// Reads one byte beyond the bound, so that the caller sees that it was met. The pipe closes afterwards, which ends a
/// command that goes on writing.
fn reader(stream: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(stream) = stream {
            // What was read before an error is judged by the exit status.
            drop(stream.take(DOVEADM_OUTPUT_BYTES_MAX + 1).read_to_end(&mut bytes));
        }
        bytes
    })
}

/// The mail root from where INBOX, its index, its control files and a made-up mailbox lie.
fn mail_root(
    inbox: Option<PathBuf>,
    index: Option<PathBuf>,
    control: Option<PathBuf>,
    probe: Option<PathBuf>,
    nonexistent_code: bool,
) -> Result<MailRoot, String> {
    let inbox =
        inbox.ok_or("doveadm names no path of INBOX: see its log; only maildir, sdbox and mdbox are supported")?;
    if index.as_ref() != Some(&inbox) {
        return Err("the index files lie apart from the mail (INDEX=, mail_index_path): not supported".to_owned());
    }
    if control.as_ref() != Some(&inbox) {
        return Err(
            "the control files lie apart from the mail (CONTROL=, mail_control_path): not supported".to_owned(),
        );
    }
    let probe = probe.ok_or("the inbox namespace has a prefix: not supported")?;
    if inbox.ends_with("mailboxes/INBOX/dbox-Mails") {
        let path = inbox.ancestors().nth(3).ok_or("INBOX has no mail root")?;
        return if probe == path.join("mailboxes").join(PROBE).join("dbox-Mails") {
            Ok(MailRoot {
                path: path.to_owned(),
                layout: Layout::Dbox,
                bodies: BodySettings::default(),
                nonexistent_code,
            })
        } else {
            Err("this dbox layout is not supported: only the default (LAYOUT=fs) is".to_owned())
        };
    }
    if probe == inbox.join(format!(".{PROBE}")) {
        return Ok(MailRoot {
            path: inbox,
            layout: Layout::MaildirPlusPlus,
            bodies: BodySettings::default(),
            nonexistent_code,
        });
    }
    Err(format!(
        "the mail format or layout at {} is not supported: only maildir with Maildir++, sdbox and mdbox are",
        inbox.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &str) -> Option<PathBuf> {
        Some(PathBuf::from(path))
    }

    fn root(inbox: &str, index: &str, probe: &str) -> Result<MailRoot, String> {
        mail_root(at(inbox), at(index), at(inbox), at(probe), true)
    }

    #[test]
    fn layouts_are_told_apart() {
        let maildir = root("/m/Maildir", "/m/Maildir", "/m/Maildir/.mailshadow-probe").unwrap();
        assert_eq!(
            (maildir.layout, maildir.path),
            (Layout::MaildirPlusPlus, "/m/Maildir".into())
        );
        let inbox = "/m/s/mailboxes/INBOX/dbox-Mails";
        let dbox = root(inbox, inbox, "/m/s/mailboxes/mailshadow-probe/dbox-Mails").unwrap();
        assert_eq!((dbox.layout, dbox.path), (Layout::Dbox, "/m/s".into()));
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        let why = |r: Result<MailRoot, String>| r.unwrap_err();
        assert!(why(root("/m/M", "/i/M", "/m/M/.mailshadow-probe")).contains("INDEX="));
        assert!(why(root("/m/M", "/m/M", "/m/M/mailshadow-probe")).contains("layout"));
        assert!(why(mail_root(at("/m"), at("/m"), at("/c"), None, true)).contains("CONTROL="));
        assert!(why(mail_root(at("/m"), at("/m"), at("/m"), None, true)).contains("prefix"));
        assert!(why(mail_root(None, None, None, None, true)).contains("INBOX"));
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
