//! Equal after the first copy, and after each of many kinds of change.

use crate::USER;
use crate::room::{Room, guid_of, now};
use anyhow::{Context, ensure};
use mailshadow::op::{Guid, Leap, Modseq, Uid};
use mailshadow::store::dovecot::dsync::{MailboxDelta, Message};
use std::time::Duration;
use testbed::Result;
use testbed::dovecot::{Format, Version};
use testbed::imap::Imap;
use testbed::load::{Load, Mix};
use testbed::truth::resync;

fn load(room: &Room, seed: &str, operations: usize) -> Result<()> {
    let load = Load {
        imap_port: room.source.imap_port(),
        lmtp_port: room.source.lmtp_port(),
        users: vec![USER.to_owned()],
        seed: seed.to_owned(),
        operations,
        over: Duration::ZERO,
        mix: Mix::Normal,
    };
    load.run().map(drop)
}

fn run(imap: &mut Imap, commands: &[&str]) -> Result<()> {
    for command in commands {
        imap.run(command)?.must()?;
    }
    Ok(())
}

/// Renames of all kinds: a swap of two names, a parent with its children, a mailbox that takes a deleted one's name.
fn reshape(room: &mut Room) -> Result<()> {
    let mut imap = room.source.imap(USER)?;
    run(
        &mut imap,
        &[
            "CREATE shape/a/b",
            "CREATE shape/c",
            "CREATE other",
            "SUBSCRIBE shape/c",
            "CREATE nowhere",
            "SUBSCRIBE nowhere",
            "DELETE nowhere",
            "SETACL other bob@example.test lrs",
            "SETMETADATA other (/shared/comment \"c\" /private/comment \"p\")",
        ],
    )?;
    let mail = b"Subject: x\r\n\r\n.text\r\n";
    imap.append("shape/c", "(\\Seen kw) \"01-Feb-2001 10:11:12 +0100\" ", mail)?
        .must()?;
    imap.append("shape/a/b", "", mail)?.must()?;
    imap.append("other", "", mail)?.must()?;
    room.tell()?;
    room.compare()?;
    run(
        &mut imap,
        &[
            "RENAME shape/c tmp",
            "RENAME other shape/c",
            "RENAME tmp other",
            "RENAME shape form",
            "UNSUBSCRIBE nowhere",
            "DELETEACL form/c bob@example.test",
            "SETMETADATA form/c (/shared/comment NIL)",
        ],
    )?;
    room.tell()?;
    room.compare()?;
    run(&mut imap, &["DELETE other", "RENAME form/a/b other"])?;
    room.tell()?;
    room.compare()?;
    Ok(())
}

fn equal(source: (Version, Format), target: (Version, Format)) -> Result<()> {
    let mut room = Room::new(source, target)?;
    load(&room, "first", 60)?;
    room.tell()?;
    ensure!(room.compare()?.messages() > 10);
    for seed in ["second", "third"] {
        load(&room, seed, 40)?;
        room.tell()?;
        room.compare()?;
    }
    reshape(&mut room)?;
    // Nothing new: nothing to tell, and telling it changes nothing.
    room.tell()?;
    room.compare()?;
    Ok(())
}

#[test]
fn load_on_2_3_maildir_shows_on_2_4_sdbox() -> Result<()> {
    equal((Version::V2_3, Format::Maildir), (Version::V2_4, Format::Sdbox))
}

#[test]
fn load_on_2_3_maildir_shows_on_2_3_mdbox() -> Result<()> {
    equal((Version::V2_3, Format::Maildir), (Version::V2_3, Format::Mdbox))
}

/// A client that last saw the source resynchronises with the target: it is told all that it missed, and no more messages
/// than changed.
fn resynchronised(version: Version, format: Format) -> Result<()> {
    let mut room = Room::new((version, Format::Sdbox), (version, format))?;
    room.speak_by_socket();
    let mut imap = room.source.imap(USER)?;
    for number in 1..=12 {
        let mail = format!("Subject: {number}\r\n\r\n{number}\r\n");
        imap.append("INBOX", "", mail.as_bytes())?.must()?;
    }
    room.tell()?;
    run(&mut imap, &["SELECT INBOX"])?;
    let mut seen = Vec::new();
    let steps = [
        "UID STORE 2 +FLAGS (\\Seen)",
        "UID STORE 3 +FLAGS (\\Deleted)",
        "UID EXPUNGE 3",
        "UID STORE 4 +FLAGS (work)",
        "UID STORE 5:6 +FLAGS.SILENT (\\Deleted)",
        "UID EXPUNGE 5",
        "UID STORE 4 -FLAGS (work)",
        "UID EXPUNGE 6",
    ];
    for (place, step) in steps.iter().enumerate() {
        let status = imap.run("STATUS INBOX (HIGHESTMODSEQ)")?.must()?;
        let modseq = status
            .all(0, "STATUS")
            .find_map(|line| line.get(2)?.list().get(1)?.number());
        seen.push(modseq.unwrap_or_default());
        run(&mut imap, &[*step])?;
        // Told after some of the steps together, after others alone.
        if place % 3 == 1 {
            room.tell()?;
        }
    }
    room.tell()?;
    let reading = room
        .speaker
        .read(&USER.into(), mailshadow::store::dovecot::dsync::Wanted::Everything)?;
    let inbox = guid_of(&reading, "INBOX")?;
    let uid_validity = reading
        .mailboxes
        .get(&inbox)
        .map_or(0, |mailbox| mailbox.uid_validity.0);
    for modseq in seen {
        let here = resync(&mut room.source.imap(USER)?, "INBOX", uid_validity, modseq)?;
        let there = resync(&mut room.target.imap(USER)?, "INBOX", uid_validity, modseq)?;
        ensure!(
            covers(&there.0, &here.0),
            "after {modseq}: gone {} is told as {}",
            here.0,
            there.0
        );
        ensure!(
            there.1.is_superset(&here.1),
            "after {modseq}: {:?} is told as {:?}",
            here.1,
            there.1
        );
        // 2.3 commits each message by itself: those that share a MODSEQ at the source get ascending ones there, so that a
        // client is told of some once more.
        let is_exact = there.1.iter().all(|uid| [2, 4].contains(uid));
        ensure!(
            is_exact || version == Version::V2_3,
            "after {modseq}: too much: {:?}",
            there.1
        );
    }
    lifted(&mut room, inbox)
}

/// After a promotion that left numbers out, a client that saw what was lost is told every message's flags again.
fn lifted(room: &mut Room, inbox: Guid) -> Result<()> {
    let snapshot = room.snapshot()?;
    let mut delta = room.delta(&snapshot);
    let there = snapshot.reading.mailboxes.get(&inbox).context("INBOX")?;
    let since = room.told.states.get(&inbox).copied().context("INBOX")?;
    let highest = Modseq(since.modseq.0 + Leap::MODSEQS);
    let lifted = |message: &Message| Message {
        modseq: highest,
        ..message.clone()
    };
    let uid_next = Uid(there.uid_next.0 + Leap::UIDS_MIN);
    delta.mailboxes = vec![MailboxDelta {
        guid: inbox,
        uid_validity: there.uid_validity,
        uid_next,
        highest_modseq: highest,
        messages: there.messages,
        since: Some(since),
        changed: there.listed.iter().map(lifted).collect(),
        ..MailboxDelta::default()
    }];
    for mailbox in delta.tree.iter_mut().filter_map(|node| node.mailbox.as_mut()) {
        mailbox.uid_next = if mailbox.guid == inbox {
            uid_next
        } else {
            mailbox.uid_next
        };
    }
    let report = room.speaker.tell(&delta, &mut snapshot.shelf(), now())?;
    room.note(&snapshot, &report)?;
    let uids: std::collections::BTreeSet<u64> = there.listed.iter().map(|message| u64::from(message.uid.0)).collect();
    let told = resync(
        &mut room.target.imap(USER)?,
        "INBOX",
        there.uid_validity.0,
        highest.0 - 1,
    )?;
    ensure!(uids.len() > 5 && told.1 == uids, "{:?} of {uids:?}", told.1);
    Ok(())
}

fn covers(more: &str, less: &str) -> bool {
    let uids = |set: &str| -> std::collections::BTreeSet<u64> {
        let ranges = set.split(',').filter(|range| !range.is_empty());
        let bounds = ranges.map(|range| range.split_once(':').unwrap_or((range, range)));
        let numbers = bounds.filter_map(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
        numbers.flat_map(|(first, last): (u64, u64)| first..=last).collect()
    };
    uids(more).is_superset(&uids(less))
}

#[test]
fn a_client_of_the_source_resynchronises_with_2_3_mdbox() -> Result<()> {
    resynchronised(Version::V2_3, Format::Mdbox)
}

#[test]
fn a_client_of_the_source_resynchronises_with_2_4_sdbox() -> Result<()> {
    resynchronised(Version::V2_4, Format::Sdbox)
}
