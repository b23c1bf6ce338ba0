//! What somebody wrote to the target is found, and not destroyed.

use crate::USER;
use crate::room::{Room, guid_of, now};
use anyhow::ensure;
use mailshadow::op::Uid;
use mailshadow::store::dovecot::dsync::{DsyncError, Outcome, Wanted};
use testbed::Result;
use testbed::dovecot::{Format, Version};

fn foreign(version: Version, format: Format) -> Result<()> {
    let mut room = Room::new((version, Format::Sdbox), (version, format))?;
    let mut open = room.target.imap(USER)?;
    open.select("INBOX")?.must()?;
    // The target's own INBOX has mail already: its name is wanted, and it stays.
    room.target.lmtp()?.deliver(USER, b"Subject: early\r\n\r\nearly\r\n")?;
    room.source.lmtp()?.deliver(USER, b"Subject: 1\r\n\r\n1\r\n")?;
    let snapshot = room.snapshot()?;
    let mut delta = room.delta(&snapshot);
    let refused = room.speaker.tell(&delta, &mut snapshot.shelf(), now());
    let Err(DsyncError::Blocked { guid, .. }) = refused else {
        anyhow::bail!("{refused:?}")
    };
    delta.replaceable.insert(guid);
    let report = room.speaker.tell(&delta, &mut snapshot.shelf(), now())?;
    room.note(&snapshot, &report)?;
    room.compare()?;

    // A delivery there is seen before anything is told, and by whoever asks for it. Somebody has the mailbox open.
    let mut open = room.target.imap(USER)?;
    open.select("INBOX")?.must()?;
    let inbox = guid_of(&snapshot.reading, "INBOX")?;
    room.target
        .lmtp()?
        .deliver(USER, b"Subject: foreign\r\n\r\nforeign\r\n")?;
    let since = room
        .speaker
        .read(&USER.into(), Wanted::Since(room.told.states.clone()))?;
    let listed: Vec<Uid> = since
        .mailboxes
        .get(&inbox)
        .iter()
        .flat_map(|m| &m.listed)
        .map(|m| m.uid)
        .collect();
    ensure!(listed == [Uid(2)], "{since:?}");
    room.source.lmtp()?.deliver(USER, b"Subject: 2\r\n\r\n2\r\n")?;
    let snapshot = room.snapshot()?;
    let report = room
        .speaker
        .tell(&room.delta(&snapshot), &mut snapshot.shelf(), now())?;
    ensure!(
        matches!(report.mailboxes.get(&inbox), Some(Outcome::Stale(_))),
        "{report:?}"
    );
    room.told.forget(inbox);
    let mut delta = room.delta(&snapshot);
    let report = room.speaker.tell(&delta, &mut snapshot.shelf(), now())?;
    ensure!(
        matches!(report.mailboxes.get(&inbox), Some(Outcome::Foreign { messages, .. }) if messages.len() == 1),
        "{report:?}"
    );
    let mut imap = room.target.imap(USER)?;
    imap.select("INBOX")?.must()?;
    let found = imap.run("SEARCH SUBJECT foreign")?.must()?;
    ensure!(
        found.all(0, "SEARCH").any(|line| line.len() == 2),
        "the foreign message is gone"
    );
    // With the caller's word it goes, and all is as it must be.
    delta.replaceable.insert(inbox);
    let report = room.speaker.tell(&delta, &mut snapshot.shelf(), now())?;
    room.note(&snapshot, &report)?;
    room.compare()?;
    Ok(())
}

#[test]
fn mail_that_nobody_told_stays_on_2_3_sdbox_until_the_caller_says_otherwise() -> Result<()> {
    foreign(Version::V2_3, Format::Sdbox)
}

#[test]
fn mail_that_nobody_told_stays_on_2_4_mdbox_until_the_caller_says_otherwise() -> Result<()> {
    foreign(Version::V2_4, Format::Mdbox)
}

#[test]
fn mail_that_nobody_told_stays_in_the_inbox_of_a_2_3_maildir_until_the_caller_says_otherwise() -> Result<()> {
    foreign(Version::V2_3, Format::Maildir)
}
