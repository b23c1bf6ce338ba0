//! What is not applied: held mailboxes with what was diverted, expunges that wait, and disappearances that were only
//! inferred.

use super::super::target::{Frame, TargetError};
use super::mailbox::{Leaves, Mailbox, id_of};
use super::tree;
use crate::codec;
use crate::op::{MailboxId, MessageGuid, Modseq, Payload, Uid};
use rusqlite::{Connection, params};
use std::collections::BTreeSet;

/// The mailbox that a payload is about, where it is one that can be diverted.
fn about(payload: &Payload) -> Option<&MailboxId> {
    match payload {
        Payload::Mailbox(txn) => Some(&txn.mailbox),
        Payload::State(state) => Some(&state.mailbox),
        _ => None,
    }
}

/// Puts the part of a transaction that is about this mailbox behind what was diverted before. The GUIDs that it appends
/// are held: see [`is_held`].
pub(super) fn divert(tx: &Connection, mailbox: &Mailbox, transaction: &[Frame]) -> Result<(), TargetError> {
    let first = transaction.first().map_or(0, |frame| frame.header.lsn.0).cast_signed();
    for frame in transaction
        .iter()
        .filter(|frame| about(&frame.payload) == Some(&mailbox.is))
    {
        let sealed = codec::seal(&frame.header, &frame.payload).map_err(|e| TargetError::Halt(e.to_string()))?;
        tx.prepare_cached("INSERT OR IGNORE INTO diverted (mailbox, lsn, first, frame) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![
                mailbox.id,
                frame.header.lsn.0.cast_signed(),
                first,
                &sealed.bytes[..]
            ])?;
        hold_appends(tx, mailbox, &frame.payload)?;
    }
    Ok(())
}

fn hold_appends(tx: &Connection, mailbox: &Mailbox, payload: &Payload) -> rusqlite::Result<()> {
    let guids: Vec<&MessageGuid> = match payload {
        Payload::Mailbox(txn) => txn.appends().map(|append| &append.guid).collect(),
        Payload::State(state) => state.messages.iter().map(|message| &message.guid).collect(),
        _ => Vec::new(),
    };
    let mut insert =
        tx.prepare_cached("INSERT OR IGNORE INTO held_appends (user, guid, mailbox) VALUES (?1, ?2, ?3)")?;
    for guid in guids.into_iter().filter(|guid| !guid.is_unknown()) {
        insert.execute(params![mailbox.user, guid.0, mailbox.id])?;
    }
    Ok(())
}

/// What was diverted of this mailbox is void.
pub(super) fn void_diverted(tx: &Connection, mailbox: i64) -> rusqlite::Result<()> {
    tx.prepare_cached("DELETE FROM diverted WHERE mailbox = ?1")?
        .execute([mailbox])?;
    tx.prepare_cached("DELETE FROM held_appends WHERE mailbox = ?1")?
        .execute([mailbox])?;
    Ok(())
}

/// True while an append of this GUID stands in a diverted transaction of the user: the expunge of it may be the other
/// half of a move.
pub(super) fn is_held(tx: &Connection, user: i64, guid: &MessageGuid) -> rusqlite::Result<bool> {
    tx.prepare_cached("SELECT 1 FROM held_appends WHERE user = ?1 AND guid = ?2")?
        .exists(params![user, guid.0])
}

/// A message leaves, or, while an append of its GUID is held, waits for that.
pub(super) fn expunge_or_defer(
    tx: &Connection,
    mailbox: &mut Mailbox,
    message: (Uid, &MessageGuid),
    modseq: Modseq,
    leaves: Leaves,
) -> rusqlite::Result<()> {
    let (uid, guid) = message;
    if !is_held(tx, mailbox.user, guid)? {
        return mailbox.remove(tx, uid, modseq, leaves);
    }
    settle_inferred(tx, mailbox, uid)?;
    tx.prepare_cached("INSERT OR REPLACE INTO deferred (mailbox, uid, guid, modseq) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![mailbox.id, uid.0, guid.0, modseq.0.cast_signed()])?;
    Ok(())
}

/// The message's disappearance was only inferred: it is noted, and the message stays.
pub(super) fn infer(tx: &Connection, mailbox: &Mailbox, uid: Uid) -> rusqlite::Result<()> {
    tx.prepare_cached("INSERT OR IGNORE INTO inferred (mailbox, uid) VALUES (?1, ?2)")?
        .execute(params![mailbox.id, uid.0])?;
    Ok(())
}

fn settle_inferred(tx: &Connection, mailbox: &Mailbox, uid: Uid) -> rusqlite::Result<()> {
    tx.prepare_cached("DELETE FROM inferred WHERE mailbox = ?1 AND uid = ?2")?
        .execute(params![mailbox.id, uid.0])?;
    Ok(())
}

/// UIDs whose expunge waits.
pub(super) fn deferred(tx: &Connection, mailbox: i64) -> rusqlite::Result<BTreeSet<Uid>> {
    uids(tx, "SELECT uid FROM deferred WHERE mailbox = ?1", mailbox)
}

/// UIDs whose disappearance was only inferred.
pub(super) fn inferred(tx: &Connection, mailbox: i64) -> rusqlite::Result<BTreeSet<Uid>> {
    uids(tx, "SELECT uid FROM inferred WHERE mailbox = ?1", mailbox)
}

fn uids(tx: &Connection, select: &str, mailbox: i64) -> rusqlite::Result<BTreeSet<Uid>> {
    let mut statement = tx.prepare_cached(select)?;
    let rows = statement.query_map([mailbox], |row| row.get(0).map(Uid))?;
    rows.collect()
}

/// Applies, at the end of each transaction, what waited for appends that are held no longer.
pub(super) fn settle(tx: &Connection) -> Result<(), TargetError> {
    for (mailbox, uid, modseq) in due(tx)? {
        let is = id_of(tx, mailbox)?;
        if let Some(mut mailbox) = Mailbox::load(tx, &is)? {
            mailbox.remove(tx, uid, modseq, Leaves::Genuine)?;
            mailbox.save(tx)?;
        }
    }
    let mut statement = tx.prepare_cached(
        "SELECT m.id FROM mailboxes m WHERE m.doomed <> 0 AND NOT EXISTS (
             SELECT 1 FROM messages x JOIN held_appends h ON h.user = m.user AND h.guid = x.guid WHERE x.mailbox = m.id)",
    )?;
    let doomed: Vec<i64> = statement
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for mailbox in doomed {
        tree::delete(tx, &id_of(tx, mailbox)?)?;
    }
    Ok(())
}

fn due(tx: &Connection) -> rusqlite::Result<Vec<(i64, Uid, Modseq)>> {
    let mut statement = tx.prepare_cached(
        "SELECT d.mailbox, d.uid, d.modseq FROM deferred d JOIN mailboxes m ON m.id = d.mailbox
         WHERE NOT EXISTS (SELECT 1 FROM held_appends h WHERE h.user = m.user AND h.guid = d.guid)",
    )?;
    let rows = statement.query_map([], |row| {
        Ok((
            row.get(0)?,
            Uid(row.get(1)?),
            Modseq(row.get::<_, i64>(2)?.cast_unsigned()),
        ))
    })?;
    rows.collect()
}

/// Mailboxes with an open entry.
pub(super) const OPEN: &str = "SELECT count(*) FROM (
         SELECT id FROM mailboxes WHERE held IS NOT NULL UNION SELECT id FROM mailboxes WHERE vanished IS NOT NULL
         UNION SELECT id FROM mailboxes WHERE doomed <> 0
         UNION SELECT mailbox FROM inferred UNION SELECT mailbox FROM deferred)";
