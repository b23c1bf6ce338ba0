//! A private Dovecot: own folder, own ports, own users; either version, any mail format.

use crate::imap::Imap;
use crate::lmtp::Lmtp;
use crate::process::{self, Server};
use crate::{Result, ports};
use anyhow::{Context, bail};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Every test user's password.
pub const PASSWORD: &str = "pass";

/// A release line of Dovecot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// 2.3, which Debian 12 ships.
    V2_3,
    /// 2.4, which Debian 13 ships.
    V2_4,
}

impl Version {
    /// As in "2.3".
    pub fn series(self) -> &'static str {
        match self {
            Version::V2_3 => "2.3",
            Version::V2_4 => "2.4",
        }
    }

    fn suite(self) -> &'static str {
        match self {
            Version::V2_3 => "bookworm",
            Version::V2_4 => "trixie",
        }
    }

    /// The version that this machine's own Dovecot has; an error where there is none.
    pub fn of_this_system() -> Result<Version> {
        let text = process::check(&process::words(&["dovecot", "--version"]))
            .context("these tests need Dovecot: run ./check once as root, it installs what is missing")?;
        match text.get(..4) {
            Some("2.3.") => Ok(Version::V2_3),
            Some("2.4.") => Ok(Version::V2_4),
            _ => bail!("Dovecot {} is neither 2.3 nor 2.4", text.trim()),
        }
    }

    /// What stands before a program's arguments to run this version of it.
    fn command(self, program: &str) -> Result<Vec<String>> {
        if Version::of_this_system()? == self {
            return Ok(vec![program.to_owned()]);
        }
        let trees = std::env::var("MAILSHADOW_TREES").unwrap_or_else(|_| "/var/lib/mailshadow-test".to_owned());
        let tree = format!("{trees}/{}", self.suite());
        if !Path::new(&tree).join("usr/sbin/dovecot").exists() {
            bail!(
                "no Dovecot {} in {tree}: run ./check once as root, it installs what is missing",
                self.series()
            );
        }
        Ok(vec![
            templates().join("in-tree").display().to_string(),
            tree,
            program.to_owned(),
        ])
    }
}

/// How a mailbox lies on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One file a message, names carry the flags.
    Maildir,
    /// One file a message, all else in the index.
    Sdbox,
    /// Many messages a file, shared by a user's mailboxes.
    Mdbox,
}

impl Format {
    /// As Dovecot calls it.
    pub fn name(self) -> &'static str {
        match self {
            Format::Maildir => "maildir",
            Format::Sdbox => "sdbox",
            Format::Mdbox => "mdbox",
        }
    }

    /// The folder below a user's home.
    pub fn folder(self) -> &'static str {
        match self {
            Format::Maildir => "Maildir",
            other => other.name(),
        }
    }
}

/// One private Dovecot in a folder; stopped when dropped.
#[derive(Debug)]
pub struct Dovecot {
    folder: PathBuf,
    version: Version,
    format: Format,
    users: Vec<String>,
    imap_port: u16,
    lmtp_port: u16,
    server: Option<Server>,
}

impl Dovecot {
    /// Writes the configuration into `folder`; `extra` is appended to it, with `@DIR@` for the
    /// folder. Nothing runs yet.
    pub fn prepare(folder: &Path, version: Version, format: Format, users: usize, extra: &str) -> Result<Dovecot> {
        Dovecot::prepare_before(folder, version, format, users, (String::new(), extra))
    }

    /// The same, of a server that can keep some of its users out: those in [`Self::hold_file`].
    pub fn prepare_with_hold(folder: &Path, version: Version, format: Format, users: usize) -> Result<Dovecot> {
        let hold = folder.join("held");
        std::fs::create_dir_all(folder)?;
        std::fs::write(&hold, "")?;
        let hold = hold.display();
        // as docs/fencing.md shows it
        let passdb = match version {
            Version::V2_3 => format!(
                "passdb {{\n  driver = passwd-file\n  args = username_format=%u {hold}\n  result_internalfail = return-fail\n}}\n"
            ),
            Version::V2_4 => format!(
                "passdb held {{\n  driver = passwd-file\n  passwd_file_path = {hold}\n  auth_username_format = %{{user}}\n  \
                 result_internalfail = return-fail\n}}\n"
            ),
        };
        let lmtp = "protocol lmtp {\n  lmtp_proxy = yes\n}\n";
        Dovecot::prepare_before(folder, version, format, users, (passdb, lmtp))
    }

    fn prepare_before(
        folder: &Path,
        version: Version,
        format: Format,
        users: usize,
        (before, extra): (String, &str),
    ) -> Result<Dovecot> {
        for part in ["run", "state", "mail"] {
            std::fs::create_dir_all(folder.join(part))?;
        }
        // Debian's static mail:mail owns the mail
        process::check(&process::words(&[
            "chown",
            "8:8",
            &folder.join("mail").display().to_string(),
        ]))
        .context("these tests run as root: they start mail servers")?;
        let users = (1..=users).map(|n| format!("user{n}@example.test")).collect();
        let (imap_port, lmtp_port) = (ports::free(), ports::free());
        let mut dovecot = Dovecot {
            folder: folder.into(),
            version,
            format,
            users,
            imap_port,
            lmtp_port,
            server: None,
        };
        dovecot.write_files(&before, extra)?;
        Ok(dovecot)
    }

    /// Makes these its users, with their homes' names below the folder `mail`, while it runs too.
    pub fn employ(&mut self, users: &[(&str, &str)]) -> Result<()> {
        let folder = self.folder.display();
        let line = |(user, home): &(&str, &str)| format!("{user}:{{PLAIN}}{PASSWORD}:8:8::{folder}/mail/{home}::\n");
        std::fs::write(self.folder.join("users"), users.iter().map(line).collect::<String>())?;
        self.users = users.iter().map(|(user, _)| (*user).to_owned()).collect();
        if self.server.is_some() {
            // It looks at the file's time, which it takes in whole seconds, once a second.
            std::thread::sleep(Duration::from_secs(2));
        }
        Ok(())
    }

    fn write_files(&mut self, before: &str, extra: &str) -> Result<()> {
        let folder = self.folder.display().to_string();
        let users = self.users.clone();
        let users: Vec<_> = users.iter().map(|user| (user.as_str(), user.as_str())).collect();
        self.employ(&users)?;
        let template = templates().join(format!("{}.conf", self.version.series()));
        let text = std::fs::read_to_string(&template).with_context(|| format!("read {}", template.display()))?;
        let text = text
            .replace("@EXTRA@", extra)
            .replace("@DIR@", &folder)
            .replace("@FORMAT@", self.format.name())
            .replace("@FOLDER@", self.format.folder())
            .replace("@IMAP@", &self.imap_port.to_string())
            .replace("@LMTP@", &self.lmtp_port.to_string())
            .replace("@HELD@", before);
        Ok(std::fs::write(self.config(), text)?)
    }

    /// Starts it and waits until it answers.
    pub fn start(&mut self) -> Result<()> {
        if self.server.is_some() {
            return Ok(());
        }
        let mut argv = self.version.command("dovecot")?;
        argv.extend(process::words(&["-F", "-c", &self.config().display().to_string()]));
        let log = self.folder.join("start.log");
        let mut server = Server::start("dovecot", &argv, &log)?;
        for port in [self.imap_port, self.lmtp_port] {
            let answers = process::until("Dovecot listens", Duration::from_secs(20), || {
                if let Some(status) = server.ended()? {
                    bail!("dovecot ended: {status}");
                }
                Ok(TcpStream::connect(("127.0.0.1", port)).is_ok())
            });
            answers.with_context(|| self.logs())?;
        }
        self.server = Some(server);
        Ok(())
    }

    /// Stops it in good order.
    pub fn stop(&mut self) -> Result<()> {
        self.server.take().map_or(Ok(()), |s| s.stop(Duration::from_secs(20)))
    }

    /// Ends its master as a crash would. Sessions live on.
    pub fn kill(&mut self) -> Result<()> {
        self.server.take().map_or(Ok(()), Server::kill)
    }

    /// The end of its logs, for an error message.
    pub fn logs(&self) -> String {
        ["start.log", "dovecot.log"]
            .map(|name| crate::node::tail(&self.folder.join(name)))
            .join("\n")
    }

    /// Its configuration file.
    pub fn config(&self) -> PathBuf {
        self.folder.join("dovecot.conf")
    }

    /// The file of users who are kept out, of a server that was prepared for it.
    pub fn hold_file(&self) -> PathBuf {
        self.folder.join("held")
    }

    /// Which release line it is.
    pub fn version(&self) -> Version {
        self.version
    }

    /// How its mailboxes lie on disk.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Its users' names.
    pub fn users(&self) -> &[String] {
        &self.users
    }

    /// The process that all its others descend from, while it runs.
    pub fn process_id(&self) -> Option<u32> {
        self.server.as_ref().map(Server::id)
    }

    /// Where clients read.
    pub fn imap_port(&self) -> u16 {
        self.imap_port
    }

    /// Where mail is delivered.
    pub fn lmtp_port(&self) -> u16 {
        self.lmtp_port
    }

    /// A user's home folder.
    pub fn home(&self, user: &str) -> PathBuf {
        self.folder.join("mail").join(user)
    }

    /// The `doveadm` command of this instance, as a list.
    pub fn doveadm_command(&self) -> Result<Vec<String>> {
        let mut argv = self.version.command("doveadm")?;
        argv.extend(process::words(&["-c", &self.config().display().to_string()]));
        Ok(argv)
    }

    /// Runs `doveadm`, which must succeed.
    pub fn doveadm(&self, words: &[&str]) -> Result<String> {
        let mut argv = self.doveadm_command()?;
        argv.extend(process::words(words));
        process::check(&argv)
    }

    /// A client that is logged in.
    pub fn imap(&self, user: &str) -> Result<Imap> {
        Imap::login(self.imap_port, user, PASSWORD)
    }

    /// A connection that delivers.
    pub fn lmtp(&self) -> Result<Lmtp> {
        Lmtp::connect(self.lmtp_port)
    }
}

fn templates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../dovecot")
}
