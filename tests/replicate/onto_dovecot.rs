//! The standby's store is another running Dovecot: what a client sees there is equal, whatever is killed on the way.

use crate::{AT_ONCE, programs};
use anyhow::Context;
use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::Duration;
use tempfile::TempDir;
use testbed::Result;
use testbed::dovecot::{Dovecot, Format, PASSWORD, Version};
use testbed::imap::Imap;
use testbed::load::{Load, Mix};
use testbed::node::{Node, Pki};
use testbed::pair::Plan;
use testbed::truth::{Truth, item, resync};

const LIVE: Duration = Duration::from_secs(9);
/// What a Dovecot can't be told, or takes as a floor: it dates messages that it copies by itself, makes folders of folders
/// as it likes, and its clients' rights come from its own configuration.
pub(crate) const OF_ITS_OWN: [&str; 5] = ["modseq", "highestmodseq", "savedate", "selectable", "myrights"];

/// Two Dovecots, each with a node; the second one stands by for the first.
pub(crate) struct Onto {
    // daemons end before their Dovecots, the folder last
    pub(crate) primary: Node,
    pub(crate) standby: Node,
    pub(crate) source: Dovecot,
    pub(crate) target: Dovecot,
    _folder: TempDir,
}

impl Onto {
    pub(crate) fn start(source: (Version, Format), target: (Version, Format)) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("mailshadow-test-onto-")
            .disable_cleanup(std::env::var_os("MAILSHADOW_TEST_KEEP").is_some())
            .tempdir_in(std::env::var("MAILSHADOW_TEST_DIR").unwrap_or_else(|_| "/tmp".to_owned()))?;
        let root = folder.path();
        std::fs::set_permissions(root, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        let mut dovecots = [("source", source), ("target", target)]
            .map(|(name, (version, format))| Dovecot::prepare(&root.join(name), version, format, 2, ""));
        dovecots.iter_mut().flatten().try_for_each(Dovecot::start)?;
        let [source, target] = dovecots;
        let (source, target) = (source?, target?);
        let pki = Pki::new(&programs(), &root.join("pki"))?;
        let mut nodes = Vec::new();
        for name in ["mail-a", "mail-b"] {
            pki.issue(&programs(), name)?;
            nodes.push(Node::new(&programs(), &root.join(name), name)?);
        }
        let addresses: Vec<_> = nodes
            .iter()
            .map(|node| (node.name().to_owned(), node.address()))
            .collect();
        let roles = ["primary", "standby"].into_iter().zip([&source, &target]);
        for ((node, (role, dovecot)), (peer, address)) in nodes.iter().zip(roles).zip(addresses.into_iter().rev()) {
            let doveadm = serde_json::to_string(&dovecot.doveadm_command()?)?;
            let store = format!("store = \"dovecot\"\n[group.dovecot]\ndoveadm = {doveadm}\n");
            node.configure(&pki, role, &[(&peer, address)], &store)?;
        }
        let mut nodes = nodes.into_iter();
        let (Some(primary), Some(standby)) = (nodes.next(), nodes.next()) else {
            anyhow::bail!("there are two nodes")
        };
        Ok(Self {
            primary,
            standby,
            source,
            target,
            _folder: folder,
        })
    }

    pub(crate) fn start_nodes(&mut self) -> Result<()> {
        self.standby.start()?;
        self.primary.start()
    }

    fn load(&self, seed: &str, operations: usize, mix: Mix, over: Duration) -> Load {
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

    fn wait(&self) -> Result<()> {
        self.primary.ask(&["wait", "--timeout", "120s"]).map(drop)
    }

    /// Waits, and compares what clients see on both sides.
    pub(crate) fn compare(&self) -> Result<Truth> {
        let users = self.source.users().to_vec();
        // a first look may itself change a store
        Truth::read(self.source.imap_port(), &users)?;
        self.wait()?;
        let source = Truth::read(self.source.imap_port(), &users)?;
        let target = Truth::read(self.target.imap_port(), &users)?;
        let differences = without_stale(source.differences(&target, &OF_ITS_OWN));
        let shown = differences.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
        anyhow::ensure!(
            differences.is_empty(),
            "{} differences\n{shown}\n{}\n{}\n{}",
            differences.len(),
            self.primary.log(),
            self.standby.log(),
            self.target.logs()
        );
        Ok(source)
    }
}

/// 2.3 goes on listing a deleted Maildir++ parent for the sake of its children, and refuses to open it. What it says of that name
/// is nothing that another server could say.
fn without_stale(mut differences: Vec<String>) -> Vec<String> {
    let refused = differences.iter().filter_map(|line| line.split_once(": refusal "));
    let stale: Vec<String> = refused.map(|(name, _)| format!("{name}: ")).collect();
    differences.retain(|line| !stale.iter().any(|name| line.starts_with(name.as_str())));
    differences
}

#[test]
fn everything_killed_on_the_way_from_2_3_maildir_to_2_4_sdbox() -> Result<()> {
    let mut onto = Onto::start((Version::V2_3, Format::Maildir), (Version::V2_4, Format::Sdbox))?;
    onto.load("before", 150, Mix::Normal, AT_ONCE).run()?;
    onto.start_nodes()?;
    onto.standby.crash_and_restart()?;
    let live = onto.load("during", 300, Mix::Normal, LIVE).start();
    sleep(LIVE / 4);
    onto.primary.crash_and_restart()?;
    onto.target.kill()?;
    onto.target.start()?;
    sleep(LIVE / 4);
    onto.standby.crash_and_restart()?;
    assert!(live.is_going_on(), "the load ended before the last restart");
    live.finish()?;
    let truth = onto.compare()?;
    let (messages, mailboxes) = (truth.messages(), truth.mailboxes());
    assert!(
        messages > 60 && mailboxes > 4,
        "the load made {messages} messages in {mailboxes} mailboxes"
    );
    Ok(())
}

/// Mail that somebody else puts into the standby's Dovecot.
const FOREIGN: &[u8] = b"Subject: foreign\r\n\r\nby somebody who should not have\r\n";

#[test]
fn what_somebody_else_writes_there_is_kept_and_undone() -> Result<()> {
    let mut onto = Onto::start((Version::V2_4, Format::Sdbox), (Version::V2_3, Format::Mdbox))?;
    onto.load("before", 60, Mix::Normal, AT_ONCE).run()?;
    onto.start_nodes()?;
    onto.wait()?;
    let user = onto.source.users().first().cloned().unwrap_or_default();
    onto.target.imap(&user)?.append("INBOX", "(\\Seen) ", FOREIGN)?.must()?;
    let verified = onto.primary.ctl(&["verify"])?;
    assert_eq!(verified.status.code(), Some(1), "a foreign message is not found");
    onto.source
        .imap(&user)?
        .append("INBOX", "() ", b"Subject: ours\r\n\r\ntext\r\n")?
        .must()?;
    onto.compare()?;
    let kept = onto.standby.ask(&["retained", "ls"])?;
    let kept = kept
        .pointer("/messages/0/why")
        .and_then(serde_json::Value::as_str)
        .map(str::to_owned);
    assert_eq!(kept.as_deref(), Some("foreign"));
    onto.primary.ask(&["verify"])?;
    Ok(())
}

#[test]
fn a_new_folder_has_its_own_rights_and_not_those_that_its_parent_has_there() -> Result<()> {
    let mut onto = Onto::start((Version::V2_3, Format::Sdbox), (Version::V2_4, Format::Sdbox))?;
    let user = onto.source.users().first().cloned().unwrap_or_default();
    let mut imap = onto.source.imap(&user)?;
    for command in ["CREATE Parent", "SETACL Parent reader@example.test lr"] {
        imap.run(command)?.must()?;
    }
    onto.start_nodes()?;
    onto.compare()?;
    // both are told at once
    onto.standby.ask(&["pause"])?;
    for command in ["CREATE Parent/child", "DELETEACL Parent/child reader@example.test"] {
        imap.run(command)?.must()?;
    }
    imap.append("Parent/child", "", b"Subject: child\r\n\r\ntext\r\n")?
        .must()?;
    onto.standby.ask(&["resume"])?;
    onto.compare().map(drop)
}

/// What a client keeps of INBOX.
struct Cache {
    uid_validity: u32,
    uid_next: u64,
    modseq: u64,
}

fn inbox(client: &mut Imap) -> Result<Cache> {
    let reply = client.run("STATUS INBOX (UIDVALIDITY UIDNEXT HIGHESTMODSEQ)")?.must()?;
    let number = |name: &str| {
        let mut lines = reply.all(0, "STATUS");
        lines
            .find_map(|line| item(line.get(2)?.list(), name)?.number())
            .context("STATUS")
    };
    Ok(Cache {
        uid_validity: u32::try_from(number("UIDVALIDITY")?)?,
        uid_next: number("UIDNEXT")?,
        modseq: number("HIGHESTMODSEQ")?,
    })
}

/// Of the last three messages one is flagged and one expunged, and one more comes: what a client is told of it that was not there.
fn miss_some(client: &mut Imap, uid_next: u64) -> Result<(String, BTreeSet<u64>)> {
    let (flagged, gone) = (uid_next - 3, uid_next - 2);
    client.select("INBOX")?.must()?;
    for command in [
        format!("UID STORE {flagged} +FLAGS (\\Flagged missed)"),
        format!("UID STORE {gone} +FLAGS.SILENT (\\Deleted)"),
        format!("UID EXPUNGE {gone}"),
    ] {
        client.run(&command)?.must()?;
    }
    client.append("INBOX", "", FOREIGN)?.must()?;
    client.run("UNSELECT")?.must()?;
    Ok((gone.to_string(), [flagged, uid_next].into()))
}

#[test]
fn a_switchover_there_and_back_loses_nothing() -> Result<()> {
    let mut onto = Onto::start((Version::V2_3, Format::Sdbox), (Version::V2_4, Format::Maildir))?;
    onto.load("before", 80, Mix::Normal, AT_ONCE).run()?;
    let users = onto.source.users().to_vec();
    let user = users.first().cloned().unwrap_or_default();
    let mut client = onto.source.imap(&user)?;
    for _ in 0..3 {
        client.append("INBOX", "", FOREIGN)?.must()?;
    }
    onto.start_nodes()?;
    onto.wait()?;
    let cache = inbox(&mut client)?;
    let missed = miss_some(&mut client, cache.uid_next)?;
    let before = onto.compare()?;
    onto.standby.ask(&["switchover", "--max-wait", "60s"])?;
    let told = resync(&mut onto.target.imap(&user)?, "INBOX", cache.uid_validity, cache.modseq)?;
    assert_eq!(told, missed, "a client with the source's last MODSEQ");
    let there = Truth::read(onto.target.imap_port(), &users)?;
    assert_eq!(before.differences(&there, &OF_ITS_OWN), [""; 0]);
    for user in &users {
        onto.target
            .imap(user)?
            .append("INBOX", "() ", b"Subject: meanwhile\r\n\r\ntext\r\n")?
            .must()?;
    }
    let meanwhile = Truth::read(onto.target.imap_port(), &users)?;
    onto.standby.ask(&["wait", "--timeout", "120s"])?;
    onto.primary.ask(&["switchover", "--max-wait", "60s"])?;
    let back = Truth::read(onto.source.imap_port(), &users)?;
    assert_eq!(meanwhile.differences(&back, &OF_ITS_OWN), [""; 0]);
    assert_eq!(back.messages(), before.messages() + users.len());
    Ok(())
}

#[test]
fn a_dovecot_follows_the_embedded_store_that_took_over_from_it_and_takes_back() -> Result<()> {
    let plan = Plan {
        programs: &programs(),
        version: Version::V2_4,
        format: Format::Sdbox,
        users: 2,
        standbys: 1,
        extra: "",
    };
    let mut pair = plan.build()?;
    pair.load("before", 60, Mix::Normal, AT_ONCE).run()?;
    pair.start_nodes()?;
    pair.wait()?;
    let users = pair.source.users().to_vec();
    let user = users.first().cloned().unwrap_or_default();
    let standby = pair.standby()?;
    standby.node.ask(&["switchover", "--max-wait", "60s"])?;
    let port = standby.imap_port();
    let mut client = Imap::login(port, &user, PASSWORD)?;
    for command in ["CREATE Elsewhere/deep", "SUBSCRIBE Elsewhere/deep"] {
        client.run(command)?.must()?;
    }
    client.append("Elsewhere/deep", "(\\Seen kw) ", FOREIGN)?.must()?;
    for _ in 0..3 {
        client.append("INBOX", "", FOREIGN)?.must()?;
    }
    pair.standby()?.node.ask(&["wait", "--timeout", "120s"])?;
    let cache = inbox(&mut client)?;
    let missed = miss_some(&mut client, cache.uid_next)?;
    let before = Truth::read(port, &users)?;
    pair.primary.ask(&["switchover", "--max-wait", "60s"])?;
    let told = resync(&mut pair.source.imap(&user)?, "INBOX", cache.uid_validity, cache.modseq)?;
    assert_eq!(told, missed, "a client with the embedded store's last MODSEQ");
    let back = Truth::read(pair.source.imap_port(), &users)?;
    assert_eq!(before.differences(&back, &OF_ITS_OWN), [""; 0]);
    Ok(())
}

#[test]
fn a_user_who_never_got_mail_holds_nobody_up() -> Result<()> {
    let mut onto = Onto::start((Version::V2_4, Format::Sdbox), (Version::V2_3, Format::Maildir))?;
    let user = onto.source.users().first().cloned().unwrap_or_default();
    let mut imap = onto.source.imap(&user)?;
    imap.run("CREATE Work")?.must()?;
    imap.append("Work", "() ", b"Subject: no inbox\r\n\r\ntext\r\n")?
        .must()?;
    onto.start_nodes()?;
    onto.wait()?;
    let verified = onto.primary.ask(&["verify"])?;
    anyhow::ensure!(
        verified
            .get("different")
            .is_some_and(|none| none == &serde_json::json!([])),
        "{verified}"
    );
    let target = &mut onto.target.imap(&user)?;
    anyhow::ensure!(testbed::truth::subjects(target, "Work")?.len() == 1);
    // what the first message makes is the INBOX that the target then has
    onto.source
        .lmtp()?
        .deliver(&user, b"Subject: the first\r\n\r\ntext\r\n")?;
    onto.compare().map(drop)
}
