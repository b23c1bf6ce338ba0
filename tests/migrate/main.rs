//! A migration from Dovecot 2.3 with maildir to 2.4 with sdbox, as docs/migrate-debian-12-to-13.md leads through it: its commands
//! are taken out of the page and run, word for word but for the places, while users work and daemons are killed on the way.

mod machine;
#[path = "../guide/page.rs"]
mod page;

use anyhow::{Context, bail, ensure};
use machine::{Machine, Places};
use page::Step;
use serde_json::Value;
use std::path::Path;
use std::time::Duration;
use testbed::dovecot::{Dovecot, Format, Version};
use testbed::load::{Load, Mix};
use testbed::truth::Truth;
use testbed::{Result, process};

/// What a Dovecot can't be told, or takes as a floor (tests/replicate/onto_dovecot.rs).
const OF_ITS_OWN: [&str; 6] = ["modseq", "highestmodseq", "savedate", "selectable", "myrights", "acl"];
const FOREIGN: &[u8] = b"Subject: foreign\r\n\r\nby somebody who only wanted to look\r\n";
const MEANWHILE: &[u8] = b"Subject: meanwhile\r\n\r\nwritten on the new server\r\n";

/// Both servers, and what was seen on the way.
struct Migration {
    // daemons end before their Dovecots, the folder last
    old: Machine,
    new: Machine,
    /// What users saw before they were moved, and moved back.
    seen: Vec<Truth>,
    _folder: tempfile::TempDir,
}

impl Migration {
    fn prepare() -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("mailshadow-test-migrate-")
            .disable_cleanup(std::env::var_os("MAILSHADOW_TEST_KEEP").is_some())
            .tempdir_in(std::env::var("MAILSHADOW_TEST_DIR").unwrap_or_else(|_| "/tmp".to_owned()))?;
        let root = folder.path();
        std::fs::set_permissions(root, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        let places = Places::new();
        let server = |name: &str, version, format| -> Result<Dovecot> {
            let mut dovecot = Dovecot::prepare(&root.join(format!("{name}-dovecot")), version, format, 3, "")?;
            dovecot.start()?;
            Ok(dovecot)
        };
        let old = server("mail-a", Version::V2_3, Format::Maildir)?;
        let new = server("mail-b", Version::V2_4, Format::Sdbox)?;
        machine::issue(&root.join("pki"), &["mail-a", "mail-b"])?;
        Ok(Self {
            old: Machine::new(root, "mail-a", old, &places)?,
            new: Machine::new(root, "mail-b", new, &places)?,
            seen: Vec::new(),
            _folder: folder,
        })
    }

    fn machine(&mut self, name: &str) -> Result<&mut Machine> {
        [&mut self.old, &mut self.new]
            .into_iter()
            .find(|machine| machine.name == name)
            .with_context(|| format!("the page names a machine {name}"))
    }

    /// Years of mail.
    fn fill(&self) -> Result<()> {
        let load = Load {
            imap_port: self.old.dovecot.imap_port(),
            lmtp_port: self.old.dovecot.lmtp_port(),
            users: self.old.dovecot.users().to_vec(),
            seed: "years of mail".to_owned(),
            operations: 150,
            over: Duration::ZERO,
            mix: Mix::Messages,
        };
        load.run().map(drop)
    }

    /// What users do meanwhile.
    fn work(&self) -> Result<()> {
        for user in self.old.dovecot.users() {
            let mut imap = self.old.dovecot.imap(user)?;
            for number in 0..20 {
                let message = format!("Subject: {number} while it was copied\r\n\r\ntext\r\n");
                imap.append("INBOX", "(\\Flagged) ", message.as_bytes())?.must()?;
            }
            imap.run("SELECT INBOX")?.must()?;
            imap.run("STORE 1:5 +FLAGS (\\Seen $Work)")?.must()?;
            imap.run("CREATE Meanwhile")?.must()?;
            imap.run("MOVE 2:4 Meanwhile")?.must()?;
        }
        Ok(())
    }

    /// What happens before a step of the page that nobody who follows it would wish for.
    fn before(&mut self, script: &str) -> Result<()> {
        if script.contains("migrate run") {
            for machine in [&mut self.old, &mut self.new] {
                machine.crash_and_restart()?;
            }
            // the new server's daemon has found its primary again
            self.old.ctl(&["wait", "--timeout", "60s"])?;
        }
        if script.contains("migrate cutover") {
            self.refuses_who_differs()?;
            self.old.ctl(&["wait", "--timeout", "60s"])?;
            self.seen.push(self.old.truth()?);
        }
        if script.contains("migrate back") {
            // its doors are shut afterwards
            self.seen.push(self.new.truth()?);
        }
        Ok(())
    }

    /// Whether it did what the page says that it does.
    fn after(&mut self, script: &str) -> Result<()> {
        if script.contains("migrate run") {
            self.work()?;
        }
        if script.contains("migrate report") {
            let page = std::fs::read_to_string(self.old.folder.join("state/report.html"))?;
            ensure!(
                page.contains("everything is equal") && page.contains("user3@example.test"),
                "{page}"
            );
        }
        if script.contains("migrate cutover") {
            let before = self.seen.last().context("read before the cutover")?;
            ensure!(before.messages() > 40, "only {} messages moved", before.messages());
            let differences = before.differences(&self.new.truth()?, &OF_ITS_OWN);
            ensure!(differences.is_empty(), "{differences:#?}\n{}", self.new.log());
            ensure!(self.new.clients_go_to()? == "mail-b");
            self.new.append(MEANWHILE)?;
        }
        if script.contains("migrate back") {
            let [before, meanwhile] = self.seen.as_slice() else {
                bail!("read before each step")
            };
            let differences = meanwhile.differences(&self.old.truth()?, &OF_ITS_OWN);
            ensure!(differences.is_empty(), "{differences:#?}\n{}", self.old.log());
            ensure!(self.old.clients_go_to()? == "mail-a");
            ensure!(
                meanwhile.messages() == before.messages() + 1,
                "what came meanwhile is not there"
            );
        }
        Ok(())
    }

    /// Somebody wrote to the new server, which nobody should: then nobody is moved, and it is said of whom.
    fn refuses_who_differs(&self) -> Result<()> {
        self.new.append(FOREIGN)?;
        let out = self.new.output(&["--json", "migrate", "cutover", "--all"])?;
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        ensure!(out.status.code() == Some(3), "{}: {text}", out.status);
        ensure!(
            text.contains("user1@example.test") && !text.contains("user2@"),
            "{text}"
        );
        let status = self.old.ctl(&["migrate", "status"])?;
        ensure!(stage(&status) == Some("following"), "{status}");
        process::until("the foreign message is undone", Duration::from_secs(30), || {
            Ok(self.old.output(&["verify"])?.status.success())
        })
    }
}

fn stage(status: &Value) -> Option<&str> {
    status.pointer("/stage")?.as_str()
}

#[test]
fn a_guide_that_loses_mail_or_users_on_the_way() -> Result<()> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/migrate-debian-12-to-13.md"))?;
    let steps = page::steps(&text)?;
    ensure!(steps.len() > 8, "only {} steps were found in the guide", steps.len());
    let mut migration = Migration::prepare()?;
    migration.fill()?;
    for step in steps {
        match step {
            Step::Write { machine, path, text } => migration.machine(&machine)?.write(&path, &text)?,
            Step::Run { machines, script } => {
                migration.before(&script)?;
                for machine in machines {
                    migration.machine(&machine)?.run(&script)?;
                }
                migration.after(&script)?;
            }
        }
    }
    let status = migration.new.ctl(&["migrate", "status"])?;
    ensure!(stage(&status) == Some("back"), "{status}");
    let history = status.pointer("/history").map(Value::to_string).unwrap_or_default();
    for event in ["migration planned", "migration cut over", "migration back"] {
        ensure!(history.contains(event), "{event} is not in {history}");
    }
    Ok(())
}
