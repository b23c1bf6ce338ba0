//! A Dovecot with its node `mail-a`, and a standby `mail-b` with an embedded store: the smallest whole.

use crate::dovecot::{Dovecot, Format, PASSWORD, Version};
use crate::load::{Load, Mix};
use crate::node::{Node, Pki, Programs};
use crate::truth::Truth;
use crate::{Result, ports};
use anyhow::{Context, bail, ensure};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// A standby: its node and where its embedded store answers.
#[derive(Debug)]
pub struct Standby {
    /// The node.
    pub node: Node,
    imap_port: u16,
}

impl Standby {
    /// Where clients read the copy.
    pub fn imap_port(&self) -> u16 {
        self.imap_port
    }
}

/// A source with its node and one standby or more, in a temporary folder; all of it ends when this is dropped. Where
/// `MAILSHADOW_TEST_KEEP` is set, the folder stays for a look.
#[derive(Debug)]
pub struct Pair {
    // the order of the fields is the order of their end: daemons before their Dovecot, the folder last
    /// The node beside the source.
    pub primary: Node,
    /// The nodes that hold copies.
    pub standbys: Vec<Standby>,
    /// The real Dovecot.
    pub source: Dovecot,
    pki: Pki,
    folder: TempDir,
}

/// What a pair is made of.
#[derive(Debug, Clone)]
pub struct Plan<'a> {
    /// The programs under test.
    pub programs: &'a Programs,
    /// Of the source.
    pub version: Version,
    /// Of the source.
    pub format: Format,
    /// How many users the source has.
    pub users: usize,
    /// How many standbys there are.
    pub standbys: usize,
    /// Appended to the source's configuration.
    pub extra: &'a str,
}

impl Plan<'_> {
    /// Starts the Dovecot and configures the nodes; no daemon runs yet.
    pub fn build(&self) -> Result<Pair> {
        let folder = tempfile::Builder::new()
            .prefix("mailshadow-test-")
            .disable_cleanup(std::env::var_os("MAILSHADOW_TEST_KEEP").is_some())
            .tempdir_in(test_folder())?;
        let root = folder.path();
        // Dovecot's own users walk through it
        std::fs::set_permissions(root, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        let mut source = Dovecot::prepare(&root.join("source"), self.version, self.format, self.users, self.extra)?;
        source.start()?;
        let pki = Pki::new(self.programs, &root.join("pki"))?;
        let primary = Node::new(self.programs, &root.join("mail-a"), "mail-a")?;
        pki.issue(self.programs, "mail-a")?;
        let mut standbys = Vec::new();
        for name in ["mail-b", "mail-c", "mail-d"].iter().take(self.standbys) {
            pki.issue(self.programs, name)?;
            let node = Node::new(self.programs, &root.join(name), name)?;
            standbys.push(Standby {
                node,
                imap_port: ports::free(),
            });
        }
        let pair = Pair {
            primary,
            standbys,
            source,
            pki,
            folder,
        };
        pair.configure()?;
        Ok(pair)
    }
}

impl Pair {
    fn configure(&self) -> Result<()> {
        let peers: Vec<_> = self
            .standbys
            .iter()
            .map(|s| (s.node.name(), s.node.address()))
            .collect();
        let doveadm = serde_json::to_string(&self.source.doveadm_command()?)?;
        let store = format!("store = \"dovecot\"\n[group.dovecot]\ndoveadm = {doveadm}\n");
        self.primary.configure(&self.pki, "primary", &peers, &store)?;
        for standby in &self.standbys {
            let users = self.users_file(standby);
            let store = format!(
                "store = \"embedded\"\n[group.embedded]\nimap = \"127.0.0.1:{}\"\nusers = \"{}\"\n",
                standby.imap_port,
                users.display()
            );
            let peers = [(self.primary.name(), self.primary.address())];
            standby.node.configure(&self.pki, "standby", &peers, &store)?;
        }
        self.let_users_in()
    }

    fn users_file(&self, standby: &Standby) -> PathBuf {
        self.folder.path().join(standby.node.name()).join("users")
    }

    /// Lets the users that the source has now read the copies too.
    pub fn let_users_in(&self) -> Result<()> {
        let users = self.source.users().iter();
        let lines: String = users.map(|u| format!("{u}:{{PLAIN}}{PASSWORD}::::::\n")).collect();
        for standby in &self.standbys {
            std::fs::write(self.users_file(standby), &lines)?;
        }
        Ok(())
    }

    /// Starts all daemons, the standbys first.
    pub fn start_nodes(&mut self) -> Result<()> {
        for standby in &mut self.standbys {
            standby.node.start()?;
        }
        self.primary.start()
    }

    /// Stops all daemons, the primary first.
    pub fn stop_nodes(&mut self) -> Result<()> {
        self.primary.stop()?;
        self.standbys.iter_mut().try_for_each(|standby| standby.node.stop())
    }

    /// Stops all daemons and removes what they have learned.
    pub fn forget(&mut self) -> Result<()> {
        self.primary.forget()?;
        self.standbys.iter_mut().try_for_each(|standby| standby.node.forget())
    }

    /// The processes of the primary's and the first standby's daemons.
    pub fn daemons(&self) -> Result<(u32, u32)> {
        let standby = self.standbys.first().and_then(|standby| standby.node.process_id());
        Ok((
            self.primary.process_id().context("the primary's daemon doesn't run")?,
            standby.context("the standby's daemon doesn't run")?,
        ))
    }

    /// The folder that holds everything.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The certificates.
    pub fn pki(&self) -> &Pki {
        &self.pki
    }

    /// The first standby.
    pub fn standby(&mut self) -> Result<&mut Standby> {
        match self.standbys.first_mut() {
            Some(standby) => Ok(standby),
            None => bail!("this pair has no standby"),
        }
    }

    /// A load on the source.
    pub fn load(&self, seed: &str, operations: usize, mix: Mix, over: Duration) -> Load {
        Load {
            imap_port: self.source.imap_port(),
            lmtp_port: self.source.lmtp_port(),
            users: self.source.users().to_vec(),
            seed: seed.to_owned(),
            operations,
            over,
            mix,
        }
    }

    /// `shadowctl wait` on the primary: every change up to now has been applied by every standby.
    pub fn wait(&self) -> Result<()> {
        self.wait_for("120s")
    }

    /// As [`Self::wait`], with a limit as in `600s`.
    pub fn wait_for(&self, limit: &str) -> Result<()> {
        self.primary.ask(&["wait", "--timeout", limit]).map(drop)
    }

    /// Waits, stops the source, and compares what clients see on both sides; an error lists the differences.
    pub fn settle_and_compare(&mut self) -> Result<Truth> {
        let users = self.source.users().to_vec();
        // a first look may itself change a store: it makes an INBOX, and takes mail over from maildir's new/
        Truth::read(self.source.imap_port(), &users)?;
        self.wait()?;
        let source = Truth::read(self.source.imap_port(), &users)?;
        self.primary.stop()?;
        self.source.stop()?;
        // Dovecot takes the SAVEDATE of single files from their ctime, which any rename or link changes
        let ignore: &[&str] = if self.source.format() == Format::Mdbox {
            &[]
        } else {
            &["savedate"]
        };
        for standby in &self.standbys {
            let copy = Truth::read(standby.imap_port, &users)?;
            let differences = source.differences(&copy, ignore);
            let shown = differences.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
            ensure!(
                differences.is_empty(),
                "{}: {} differences\n{shown}\n{}\n{}",
                standby.node.name(),
                differences.len(),
                self.primary.log(),
                standby.node.log()
            );
        }
        Ok(source)
    }
}

/// Below which folder tests live: the one that the other Debian's tree sees too.
fn test_folder() -> String {
    std::env::var("MAILSHADOW_TEST_DIR").unwrap_or_else(|_| "/tmp".to_owned())
}
