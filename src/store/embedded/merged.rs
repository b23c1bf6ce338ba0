//! What of lost tails was settled: the key by which nothing of one is merged twice.

use super::super::target::TargetError;
use super::bodies;
use crate::op::{Epoch, Guid, MailboxId, Merged, MessageGuid, StreamId, Uid, UidRange, UidValidity, UserName};
use rusqlite::{Connection, params};

/// Notes what the transaction settled.
pub(super) fn note(tx: &Connection, merged: &Merged) -> Result<(), TargetError> {
    let user = bodies::user(tx, &merged.mailbox.user)?;
    let (epoch, stream) = (merged.epoch.0.cast_signed(), merged.stream.0);
    let mut insert = tx.prepare_cached(
        "INSERT OR IGNORE INTO merged (user, mailbox, uidvalidity, uid, epoch, stream, guid)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    for (uid, guid) in &merged.appended {
        let (mailbox, uidvalidity) = (merged.mailbox.guid.0, merged.uidvalidity.0);
        insert.execute(params![user, mailbox, uidvalidity, uid.0, epoch, stream, guid.0])?;
    }
    let mut insert = tx.prepare_cached(
        "INSERT OR IGNORE INTO merged_expunges (user, mailbox, uidvalidity, first, last, epoch, stream)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    for range in &merged.expunged {
        let (mailbox, uidvalidity) = (merged.mailbox.guid.0, merged.uidvalidity.0);
        let (first, last) = (range.first.0, range.last.0);
        insert.execute(params![user, mailbox, uidvalidity, first, last, epoch, stream])?;
    }
    Ok(())
}

/// One mailbox of one tail.
pub(super) struct Of<'a> {
    pub(super) stream: StreamId,
    pub(super) epoch: Epoch,
    pub(super) user: i64,
    pub(super) mailbox: &'a Guid,
    pub(super) uidvalidity: UidValidity,
}

impl Of<'_> {
    /// True where this message of the tail was settled.
    pub(super) fn is_settled(&self, tx: &Connection, uid: Uid) -> rusqlite::Result<bool> {
        tx.prepare_cached(
            "SELECT 1 FROM merged WHERE user = ?1 AND mailbox = ?2 AND uidvalidity = ?3 AND uid = ?4 AND epoch = ?5
             AND stream = ?6",
        )?
        .exists(params![
            self.user,
            self.mailbox.0,
            self.uidvalidity.0,
            uid.0,
            self.epoch.0.cast_signed(),
            self.stream.0
        ])
    }

    /// True where the tail's expunge of this message was settled.
    pub(super) fn is_expunge_settled(&self, tx: &Connection, uid: Uid) -> rusqlite::Result<bool> {
        tx.prepare_cached(
            "SELECT 1 FROM merged_expunges WHERE user = ?1 AND mailbox = ?2 AND uidvalidity = ?3 AND first <= ?4
             AND last >= ?4 AND epoch = ?5 AND stream = ?6",
        )?
        .exists(params![
            self.user,
            self.mailbox.0,
            self.uidvalidity.0,
            uid.0,
            self.epoch.0.cast_signed(),
            self.stream.0
        ])
    }
}

/// True where a tail brought the user a message of this GUID: its expunge elsewhere is the other half of a move.
pub(super) fn brought(tx: &Connection, user: i64, guid: &MessageGuid) -> rusqlite::Result<bool> {
    tx.prepare_cached("SELECT 1 FROM merged WHERE user = ?1 AND guid = ?2")?
        .exists(params![user, guid.0])
}

/// Everything that was settled of one user's, for a copy that lacks the frames which say so.
pub(super) fn all(tx: &Connection, name: &UserName, most: usize) -> Result<Vec<Merged>, TargetError> {
    let Some(user) = bodies::known_user(tx, name)? else {
        return Ok(Vec::new());
    };
    let mut found: Vec<Merged> = Vec::new();
    let mut statement = tx.prepare_cached(
        "SELECT stream, epoch, mailbox, uidvalidity, uid, guid FROM merged WHERE user = ?1
         ORDER BY stream, epoch, mailbox, uidvalidity, uid",
    )?;
    let mut rows = statement.query([user])?;
    while let Some(row) = rows.next()? {
        let merged = last(&mut found, of(row, name)?, |merged| merged.appended.len() < most);
        merged.appended.push((Uid(row.get(4)?), MessageGuid(row.get(5)?)));
    }
    let mut statement = tx.prepare_cached(
        "SELECT stream, epoch, mailbox, uidvalidity, first, last FROM merged_expunges WHERE user = ?1
         ORDER BY stream, epoch, mailbox, uidvalidity, first, last",
    )?;
    let mut rows = statement.query([user])?;
    while let Some(row) = rows.next()? {
        let merged = last(&mut found, of(row, name)?, |merged| merged.expunged.len() < most);
        let (first, last) = (Uid(row.get(4)?), Uid(row.get(5)?));
        merged.expunged.push(UidRange { first, last });
    }
    Ok(found)
}

/// Columns: stream, epoch, mailbox, UIDVALIDITY.
fn of(row: &rusqlite::Row<'_>, user: &UserName) -> rusqlite::Result<Merged> {
    Ok(Merged {
        stream: StreamId(row.get(0)?),
        epoch: Epoch(row.get::<_, i64>(1)?.cast_unsigned()),
        mailbox: MailboxId {
            user: user.clone(),
            guid: Guid(row.get(2)?),
        },
        uidvalidity: UidValidity(row.get(3)?),
        ..Merged::default()
    })
}

/// The last one where it is of the same mailbox and has room; else a new one.
fn last(found: &mut Vec<Merged>, next: Merged, has_room: impl Fn(&Merged) -> bool) -> &mut Merged {
    let same = found.last().is_some_and(|last| {
        let key = |of: &Merged| (of.stream, of.epoch, of.mailbox.clone(), of.uidvalidity);
        key(last) == key(&next) && has_room(last)
    });
    if !same {
        found.push(next);
    }
    let at = found.len().saturating_sub(1);
    #[expect(clippy::indexing_slicing, reason = "one was pushed, or there was one")]
    &mut found[at]
}
