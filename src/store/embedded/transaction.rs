//! Applying a mailbox transaction. What each operation means is said by [`crate::op::model`].

use super::super::target::{Frame, TargetError};
use super::mailbox::{Leaves, Mailbox, pack, unpack};
use super::quarantine;
use crate::op::{
    Expunge, FlagChange, Flags, KeywordChange, KeywordVerb, MailboxTxn, MessageGuid, Modseq, Op, Uid, UidRange,
};
use rusqlite::{Connection, params};
use std::borrow::Cow;
use std::collections::HashMap;

/// Applies or diverts a transaction; `frames` are those that brought it.
pub(super) fn apply(tx: &Connection, txn: &MailboxTxn, frames: &[Frame]) -> Result<(), TargetError> {
    let mut mailbox = Mailbox::load_or_create(tx, &txn.mailbox)?;
    if mailbox.held.is_some() {
        return quarantine::divert(tx, &mailbox, frames);
    }
    if let Some(why) = txn.contradiction(mailbox.uidvalidity, mailbox.uidnext) {
        return hold(tx, &mut mailbox, why, frames);
    }
    let txn: Cow<'_, MailboxTxn> = match mailbox.modseq_lift {
        0 => Cow::Borrowed(txn),
        lift => Cow::Owned(txn.clone().lifted(lift)),
    };
    if txn.ops.iter().any(|op| op.modseq() <= mailbox.highest_modseq) {
        mailbox.rewrite();
    }
    let mut arriving = arriving(&txn);
    for op in &txn.ops {
        match op {
            Op::Append(append) => mailbox.put(tx, None, append.clone())?,
            Op::Flags(change) => change_flags(tx, &mut mailbox, change)?,
            Op::Keywords(change) => change_keywords(tx, &mut mailbox, change)?,
            Op::Expunge(change) => expunge(tx, &mut mailbox, change, &mut arriving)?,
        }
        mailbox.raise(Uid(0), op.modseq());
    }
    mailbox.raise(txn.uidnext, txn.highest_modseq);
    Ok(mailbox.save(tx)?)
}

/// The frames contradict what the copy has: they and all that follows are diverted until a good `state`.
pub(super) fn hold(tx: &Connection, mailbox: &mut Mailbox, why: String, frames: &[Frame]) -> Result<(), TargetError> {
    tracing::warn!(user = %crate::telemetry::user(&mailbox.is.user), mailbox = %mailbox.is.guid, why, "mailbox held: its changes are diverted");
    mailbox.held = Some(why);
    mailbox.save(tx)?;
    quarantine::divert(tx, mailbox, frames)
}

/// GUIDs that the transaction brings and doesn't take away again, each as often as it comes.
fn arriving(txn: &MailboxTxn) -> HashMap<MessageGuid, usize> {
    let mut arriving = HashMap::new();
    let inferred = txn.ops.iter().any(|op| matches!(op, Op::Expunge(e) if !e.requested));
    if !inferred {
        return arriving;
    }
    let ranges = txn.ops.iter().filter_map(|op| match op {
        Op::Expunge(expunge) => Some(&expunge.uids),
        _ => None,
    });
    let ranges: Vec<UidRange> = ranges.flatten().copied().collect();
    let stays = |uid: Uid| !ranges.iter().any(|range| range.contains(uid));
    for append in txn
        .appends()
        .filter(|append| !append.guid.is_unknown() && stays(append.uid))
    {
        let count = arriving.entry(append.guid.clone()).or_insert(0_usize);
        *count = count.saturating_add(1);
    }
    arriving
}

fn change_flags(tx: &Connection, mailbox: &mut Mailbox, change: &FlagChange) -> rusqlite::Result<()> {
    let seen = Flags::SEEN.bits();
    let counts = (change.add.bits() | change.remove.bits()) & seen != 0;
    for range in &change.uids {
        let before = if counts { unseen(tx, mailbox, range)? } else { 0 };
        tx.prepare_cached(
            "UPDATE messages SET flags = (flags & ~?4) | ?5, modseq = max(modseq, ?6)
             WHERE mailbox = ?1 AND uid BETWEEN ?2 AND ?3",
        )?
        .execute(params![
            mailbox.id,
            range.first.0,
            range.last.0,
            change.remove.bits(),
            change.add.bits(),
            change.modseq.0.cast_signed()
        ])?;
        let after = if counts { unseen(tx, mailbox, range)? } else { 0 };
        mailbox.recount_unseen(before, after);
    }
    Ok(())
}

fn unseen(tx: &Connection, mailbox: &Mailbox, range: &UidRange) -> rusqlite::Result<u32> {
    tx.prepare_cached("SELECT count(*) FROM messages WHERE mailbox = ?1 AND uid BETWEEN ?2 AND ?3 AND flags & ?4 = 0")?
        .query_row(
            params![mailbox.id, range.first.0, range.last.0, Flags::SEEN.bits()],
            |row| row.get(0),
        )
}

fn change_keywords(tx: &Connection, mailbox: &mut Mailbox, change: &KeywordChange) -> rusqlite::Result<()> {
    let number = match change.verb {
        KeywordVerb::Add | KeywordVerb::Replace => Some(mailbox.keyword(tx, &change.keyword)?),
        KeywordVerb::Remove | KeywordVerb::Reset => mailbox.known_keyword(&change.keyword),
    };
    for (uid, before) in change
        .uids
        .iter()
        .map(|range| packed(tx, mailbox, range))
        .collect::<Result<Vec<_>, _>>()?
        .concat()
    {
        let mut numbers = unpack(&before);
        match change.verb {
            KeywordVerb::Add => numbers.extend(number),
            KeywordVerb::Remove => numbers.retain(|known| Some(*known) != number),
            KeywordVerb::Replace => numbers = number.into_iter().collect(),
            KeywordVerb::Reset => numbers.clear(),
        }
        tx.prepare_cached(
            "UPDATE messages SET keywords = ?3, modseq = max(modseq, ?4) WHERE mailbox = ?1 AND uid = ?2",
        )?
        .execute(params![mailbox.id, uid, pack(numbers), change.modseq.0.cast_signed()])?;
    }
    Ok(())
}

/// UIDs and packed keywords of the messages in a range.
fn packed(tx: &Connection, mailbox: &Mailbox, range: &UidRange) -> rusqlite::Result<Vec<(u32, Vec<u8>)>> {
    let mut statement =
        tx.prepare_cached("SELECT uid, keywords FROM messages WHERE mailbox = ?1 AND uid BETWEEN ?2 AND ?3")?;
    let rows = statement.query_map(params![mailbox.id, range.first.0, range.last.0], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })?;
    rows.collect()
}

fn expunge(
    tx: &Connection,
    mailbox: &mut Mailbox,
    change: &Expunge,
    arriving: &mut HashMap<MessageGuid, usize>,
) -> rusqlite::Result<()> {
    let mut ranges = change.uids.clone();
    ranges.sort_unstable();
    for range in &ranges {
        for (uid, guid) in within(tx, mailbox, range)? {
            if change.requested {
                quarantine::expunge_or_defer(tx, mailbox, (uid, &guid), change.modseq, Leaves::Genuine)?;
            } else {
                renumbered_or_inferred(tx, mailbox, (uid, &guid), change.modseq, arriving)?;
            }
        }
    }
    Ok(())
}

/// Nobody asked for this message to go. Where the same transaction brings it under another UID it doesn't; otherwise it
/// stays, and is noted.
fn renumbered_or_inferred(
    tx: &Connection,
    mailbox: &mut Mailbox,
    message: (Uid, &MessageGuid),
    modseq: Modseq,
    arriving: &mut HashMap<MessageGuid, usize>,
) -> rusqlite::Result<()> {
    let (uid, guid) = message;
    match arriving.get_mut(guid) {
        Some(left) if *left > 0 => {
            *left = left.saturating_sub(1);
            mailbox.remove(tx, uid, modseq, Leaves::Renumbered)
        }
        _ => quarantine::infer(tx, mailbox, uid),
    }
}

fn within(tx: &Connection, mailbox: &Mailbox, range: &UidRange) -> rusqlite::Result<Vec<(Uid, MessageGuid)>> {
    let mut statement =
        tx.prepare_cached("SELECT uid, guid FROM messages WHERE mailbox = ?1 AND uid BETWEEN ?2 AND ?3 ORDER BY uid")?;
    let rows = statement.query_map(params![mailbox.id, range.first.0, range.last.0], |row| {
        Ok((Uid(row.get(0)?), MessageGuid(row.get(1)?)))
    })?;
    rows.collect()
}
