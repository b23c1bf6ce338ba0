//! The agent is down for an hour, its users are not: it catches up, and leaves the operator nothing to do.

use crate::{AT_ONCE, rotation};
use anyhow::ensure;
use testbed::Result;
use testbed::dovecot::{Dovecot, Format, Version};
use testbed::imap::Imap;
use testbed::load::Mix;

const USER: &str = "user1@example.test";
/// Mailboxes whose logs are rotated away unread.
const BUSY: [&str; 2] = ["INBOX", "busy"];

fn deliver(source: &Dovecot, count: usize) -> Result<()> {
    let mut lmtp = source.lmtp()?;
    (0..count).try_for_each(|n| lmtp.deliver(USER, format!("Subject: {n}\r\n\r\ntext {n}\r\n").as_bytes()))
}

/// Mail in several folders, before anything happens.
fn furnish(source: &Dovecot) -> Result<()> {
    deliver(source, 24)?;
    let mut imap = source.imap(USER)?;
    for name in ["busy", "quiet", "moved-to", "dropped", "dropped/below", "renamed"] {
        imap.run(&format!("CREATE {name}"))?.must()?;
    }
    imap.select("INBOX")?.must()?;
    for name in ["busy", "quiet", "dropped", "dropped/below", "renamed"] {
        imap.run(&format!("COPY 1:12 {name}"))?.must()?;
    }
    Ok(())
}

/// What leaves mailboxes: expunges, moves both ways, folders deleted, renamed and made anew under the same name.
fn leave(imap: &mut Imap) -> Result<()> {
    for name in BUSY {
        imap.select(name)?.must()?;
        imap.run("MOVE 2:4 moved-to")?.must()?;
        imap.run("STORE 2:3 +FLAGS (\\Deleted)")?.must()?;
        imap.run("EXPUNGE")?.must()?;
    }
    imap.select("quiet")?.must()?;
    imap.run("MOVE 1:3 busy")?.must()?;
    imap.run("STORE 1 +FLAGS (\\Deleted)")?.must()?;
    imap.run("EXPUNGE")?.must()?;
    imap.run("UNSELECT")?.must()?;
    imap.run("DELETE dropped/below")?.must()?;
    imap.run("DELETE dropped")?.must()?;
    imap.run("RENAME renamed elsewhere")?.must()?;
    imap.run("CREATE dropped")?.must()?;
    imap.run("CREATE renamed")?.must()?;
    Ok(())
}

fn outage(version: Version, format: Format) -> Result<()> {
    let mut pair = rotation::pair(version, format)?;
    pair.load("before", 60, Mix::Normal, AT_ONCE).run()?;
    furnish(&pair.source)?;
    pair.start_nodes()?;
    pair.wait()?;
    pair.primary.stop()?;

    leave(&mut pair.source.imap(USER)?)?;
    for name in BUSY {
        rotation::rotate_twice(&pair, name)?;
    }
    pair.load("while-down", 200, Mix::Normal, AT_ONCE).run()?;
    pair.load("while-down-too", 60, Mix::Folders, AT_ONCE).run()?;

    pair.primary.start()?;
    rotation::verify_before_anybody_asked_for_modseqs(&pair)?;
    let truth = pair.settle_and_compare()?;
    ensure!(truth.messages() > 60, "the load did nearly nothing");
    let status = pair.standby()?.node.status()?;
    assert_eq!(status.pointer("/quarantined"), Some(&serde_json::json!(0)), "{status}");
    Ok(())
}

#[test]
fn outage_of_2_3_maildir_leaves_no_work() -> Result<()> {
    outage(Version::V2_3, Format::Maildir)
}

#[test]
fn outage_of_2_3_sdbox_leaves_no_work() -> Result<()> {
    outage(Version::V2_3, Format::Sdbox)
}

#[test]
fn outage_of_2_3_mdbox_leaves_no_work() -> Result<()> {
    outage(Version::V2_3, Format::Mdbox)
}

#[test]
fn outage_of_2_4_maildir_leaves_no_work() -> Result<()> {
    outage(Version::V2_4, Format::Maildir)
}

#[test]
fn outage_of_2_4_sdbox_leaves_no_work() -> Result<()> {
    outage(Version::V2_4, Format::Sdbox)
}

#[test]
fn outage_of_2_4_mdbox_leaves_no_work() -> Result<()> {
    outage(Version::V2_4, Format::Mdbox)
}
