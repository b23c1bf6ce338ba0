//! Users come, go, get another name and another home: the copy follows what is sure, and loses nothing of what isn't.

use crate::pair;
use anyhow::Context;
use serde_json::Value;
use testbed::Result;
use testbed::dovecot::{Dovecot, Format, Version};
use testbed::pair::Pair;
use testbed::truth::Truth;

const STAYS: &str = "user1@example.test";
const OTHER: &str = "user2@example.test";
const NEW: &str = "new@example.test";
/// Messages that everybody has: so many in INBOX, and one in a folder.
const MESSAGES: usize = 4;

fn furnish(source: &Dovecot, user: &str) -> Result<()> {
    let (mut imap, mut lmtp) = (source.imap(user)?, source.lmtp()?);
    for number in 1..MESSAGES {
        lmtp.deliver(user, format!("Subject: {number}\r\n\r\nto {user}\r\n").as_bytes())?;
    }
    imap.run("CREATE work/kept")?.must()?;
    imap.append("work/kept", "(\\Seen kept) ", b"Subject: kept\r\n\r\ntext\r\n")?
        .must()?;
    Ok(())
}

/// A pair of two users with some mail, all of it copied.
fn furnished(version: Version, format: Format) -> Result<Pair> {
    let mut pair = pair(version, format, 1)?;
    for user in [STAYS, OTHER] {
        furnish(&pair.source, user)?;
    }
    pair.start_nodes()?;
    pair.wait()?;
    Ok(pair)
}

fn copied(pair: &mut Pair, user: &str) -> Result<Truth> {
    Truth::read(pair.standby()?.imap_port(), &[user.to_owned()])
}

fn quarantined(pair: &mut Pair) -> Result<u64> {
    let status = pair.standby()?.node.status()?;
    let number = status.pointer("/quarantined").and_then(Value::as_u64);
    number.with_context(|| format!("no number in {status}"))
}

#[test]
fn user_who_comes_while_the_agent_runs_is_copied() -> Result<()> {
    let mut pair = furnished(Version::V2_3, Format::Maildir)?;
    pair.source
        .employ(&[(STAYS, STAYS), (OTHER, OTHER), (NEW, "elsewhere/new")])?;
    pair.let_users_in()?;
    furnish(&pair.source, NEW)?;
    pair.wait()?;
    assert_eq!(copied(&mut pair, NEW)?.messages(), MESSAGES);
    let truth = pair.settle_and_compare()?;
    assert_eq!(truth.messages(), 3 * MESSAGES);
    Ok(())
}

#[test]
fn user_who_leaves_stays_on_the_copy() -> Result<()> {
    let mut pair = furnished(Version::V2_4, Format::Mdbox)?;
    let before = copied(&mut pair, OTHER)?;
    assert_eq!(before.messages(), MESSAGES);
    // First the mail, then the user: between the two, nobody says that this is meant.
    std::fs::remove_dir_all(pair.source.home(OTHER))?;
    pair.wait()?;
    pair.source.employ(&[(STAYS, STAYS)])?;
    pair.wait()?;
    pair.primary.crash_and_restart()?;
    pair.source
        .lmtp()?
        .deliver(STAYS, b"Subject: afterwards\r\n\r\ntext\r\n")?;
    pair.settle_and_compare()?;
    assert!(before.differences(&copied(&mut pair, OTHER)?, &[]).is_empty());
    Ok(())
}

/// The mail is wiped, and then Dovecot makes an empty account for the next login: that is no wish to delete anything.
#[test]
fn account_that_is_wiped_and_begins_anew_loses_nothing_on_the_copy() -> Result<()> {
    let mut pair = furnished(Version::V2_3, Format::Sdbox)?;
    std::fs::remove_dir_all(pair.source.home(OTHER))?;
    pair.wait()?;
    pair.source
        .lmtp()?
        .deliver(OTHER, b"Subject: afterwards\r\n\r\ntext\r\n")?;
    // Not done before an operator has decided.
    let waited = pair.primary.ctl(&["wait", "--timeout", "60s"])?;
    assert_eq!(waited.status.code(), Some(1));
    assert_eq!(quarantined(&mut pair)?, 2);
    let standby = &pair.standby()?.node;
    let entries = standby.ask(&["quarantine", "ls"])?;
    let entries = entries
        .pointer("/entries")
        .and_then(Value::as_array)
        .context("no entries")?;
    for entry in entries {
        let id = entry.pointer("/id").context("no id")?.to_string();
        // INBOX is another mailbox now: what the old one had is kept apart.
        let inbox = entry.pointer("/mailbox") == Some(&Value::from("INBOX"));
        let verb = if inbox { "release" } else { "drop" };
        standby.ask(&["quarantine", verb, &id])?;
    }
    let retained = standby.ask(&["retained", "ls"])?;
    let retained = retained.pointer("/messages").and_then(Value::as_array).map(Vec::len);
    assert_eq!(retained, Some(MESSAGES - 1));
    // What came afterwards, and what was in the folder.
    assert_eq!(copied(&mut pair, OTHER)?.messages(), 2);
    Ok(())
}

#[test]
fn user_who_gets_another_name_is_copied_under_it() -> Result<()> {
    let mut pair = furnished(Version::V2_4, Format::Sdbox)?;
    let before = copied(&mut pair, OTHER)?;
    std::fs::rename(pair.source.home(OTHER), pair.source.home(NEW))?;
    pair.source.employ(&[(STAYS, STAYS), (NEW, NEW)])?;
    pair.let_users_in()?;
    pair.source
        .lmtp()?
        .deliver(NEW, b"Subject: afterwards\r\n\r\ntext\r\n")?;
    let truth = pair.settle_and_compare()?;
    assert_eq!(truth.messages(), 2 * MESSAGES + 1);
    // What the old name had was nowhere deleted.
    pair.source.employ(&[(STAYS, STAYS), (NEW, NEW), (OTHER, OTHER)])?;
    pair.let_users_in()?;
    assert!(before.differences(&copied(&mut pair, OTHER)?, &[]).is_empty());
    assert_eq!(quarantined(&mut pair)?, 0);
    Ok(())
}

#[test]
fn home_that_moves_is_followed_where_it_was_left() -> Result<()> {
    let mut pair = furnished(Version::V2_3, Format::Mdbox)?;
    std::fs::rename(pair.source.home(OTHER), pair.source.home("moved"))?;
    pair.source.employ(&[(STAYS, STAYS), (OTHER, "moved")])?;
    let mut imap = pair.source.imap(OTHER)?;
    imap.select("INBOX")?.must()?;
    imap.run("MOVE 1 work/kept")?.must()?;
    pair.source
        .lmtp()?
        .deliver(OTHER, b"Subject: afterwards\r\n\r\ntext\r\n")?;
    let truth = pair.settle_and_compare()?;
    assert_eq!(truth.messages(), 2 * MESSAGES + 1);
    assert_eq!(quarantined(&mut pair)?, 0);
    Ok(())
}
