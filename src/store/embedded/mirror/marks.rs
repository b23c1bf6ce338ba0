//! What a Dovecot has acknowledged.

use super::super::super::dovecot::dsync::{Outcome, Report, State};
use super::super::super::target::TargetError;
use super::super::bodies;
use super::delta::Telling;
use crate::op::{Guid, Lsn, Modseq, StreamId, Uid, UidValidity, UserName};
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::collections::BTreeMap;

/// How one mailbox stood when it was told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// What both sides agreed on.
    pub(super) state: State,
    /// No message answers a lower MODSEQ.
    pub(super) floor: Modseq,
    /// Changes that no higher MODSEQ shows, as they were counted then.
    pub(super) rewritten: u64,
    /// Messages that could not be told, because their body was not here; ascending.
    pub(super) left_out: Vec<Uid>,
}

/// All marks of a user.
pub(super) fn of_user(tx: &Connection, user: i64) -> rusqlite::Result<BTreeMap<Guid, Mark>> {
    let mut statement = tx.prepare_cached(
        "SELECT guid, uidvalidity, uidnext, modseq, messages, floor, rewritten, left_out, at_target
         FROM told_mailboxes WHERE user = ?1",
    )?;
    let rows = statement.query_map([user], |row| Ok((Guid(row.get(0)?), mark(row)?)))?;
    rows.collect()
}

fn mark(row: &Row<'_>) -> rusqlite::Result<Mark> {
    let uidnext: u32 = row.get(2)?;
    let left_out: Vec<u32> = serde_json::from_str(&row.get::<_, String>(7)?).unwrap_or_default();
    Ok(Mark {
        state: State {
            uid_validity: UidValidity(row.get(1)?),
            uid: Uid(uidnext.saturating_sub(1)),
            modseq: modseq(row, 3)?,
            at_target: modseq(row, 8)?,
            messages: row.get(4)?,
        },
        floor: modseq(row, 5)?,
        rewritten: row.get::<_, i64>(6)?.cast_unsigned(),
        left_out: left_out.into_iter().map(Uid).collect(),
    })
}

fn modseq(row: &Row<'_>, column: usize) -> rusqlite::Result<Modseq> {
    row.get::<_, i64>(column).map(|modseq| Modseq(modseq.cast_unsigned()))
}

/// The tree that was told last; none where the user was never told one.
pub(super) fn tree(tx: &Connection, user: i64) -> rusqlite::Result<Option<Vec<u8>>> {
    tx.prepare_cached("SELECT tree FROM told_users WHERE user = ?1")?
        .query_row([user], |row| row.get(0))
        .optional()
}

/// Notes what was acknowledged of a telling.
pub(super) fn acknowledge(tx: &Connection, telling: &Telling, report: &Report) -> Result<(), TargetError> {
    let user = bodies::user(tx, &telling.delta.user)?;
    for (guid, outcome) in &report.mailboxes {
        if let (Outcome::Acknowledged(state), Some(mark)) = (outcome, telling.marks.get(guid)) {
            put(tx, user, *guid, state, mark)?;
            let mut told = telling.attributes.iter().filter(|told| told.travels_with == *guid);
            told.try_for_each(|told| told.note(tx, user))?;
        }
    }
    if report.tree {
        tx.prepare_cached("INSERT OR REPLACE INTO told_users (user, tree) VALUES (?1, ?2)")?
            .execute(params![user, telling.tree.as_slice()])?;
        for guid in &telling.leaving {
            forget_mailbox(tx, user, *guid)?;
        }
    }
    Ok(())
}

fn put(tx: &Connection, user: i64, guid: Guid, state: &State, mark: &Mark) -> rusqlite::Result<()> {
    let left_out: Vec<u32> = mark.left_out.iter().map(|uid| uid.0).collect();
    tx.prepare_cached(
        "INSERT OR REPLACE INTO told_mailboxes
         (user, guid, uidvalidity, uidnext, modseq, floor, rewritten, messages, left_out, at_target)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?
    .execute(params![
        user,
        guid.0,
        state.uid_validity.0,
        state.uid.0.saturating_add(1),
        state.modseq.0.cast_signed(),
        mark.floor.0.cast_signed(),
        mark.rewritten.cast_signed(),
        state.messages,
        serde_json::json!(left_out).to_string(),
        state.at_target.0.cast_signed()
    ])?;
    Ok(())
}

/// One mailbox is not what was told: it is told anew, as a whole.
pub(super) fn forget_mailbox(tx: &Connection, user: i64, guid: Guid) -> rusqlite::Result<()> {
    tx.prepare_cached("DELETE FROM told_mailboxes WHERE user = ?1 AND guid = ?2")?
        .execute(params![user, guid.0])?;
    tx.prepare_cached("DELETE FROM told_attributes WHERE user = ?1 AND mailbox = ?2")?
        .execute(params![user, guid.0])?;
    Ok(())
}

/// Mailboxes and tree of a user are to be told anew, as a whole. Attributes stay as they were told.
pub(super) fn doubt(tx: &Connection, user: i64) -> rusqlite::Result<()> {
    tx.prepare_cached("DELETE FROM told_mailboxes WHERE user = ?1")?
        .execute([user])?;
    tx.prepare_cached("DELETE FROM told_users WHERE user = ?1")?
        .execute([user])?;
    Ok(())
}

/// The next user by name who was told anything.
pub(super) fn user_behind(tx: &Connection, user: &UserName) -> rusqlite::Result<Option<UserName>> {
    tx.prepare_cached(
        "SELECT u.name FROM users u JOIN told_users t ON t.user = u.id WHERE u.name > ?1 ORDER BY u.name LIMIT 1",
    )?
    .query_row([&user.0], |row| row.get(0).map(UserName))
    .optional()
}

/// Nothing that was told to anybody counts any more.
pub(super) fn forget_all(tx: &Connection) -> rusqlite::Result<()> {
    tx.execute_batch(
        "DELETE FROM told_mailboxes; DELETE FROM told_users; DELETE FROM told_attributes;
         UPDATE told_stream SET stream = zeroblob(16), lsn = 0;",
    )
}

/// Up to where everything was told of that stream.
pub(super) fn told(tx: &Connection, stream: StreamId) -> rusqlite::Result<Lsn> {
    let lsn: Option<i64> = tx
        .prepare_cached("SELECT lsn FROM told_stream WHERE stream = ?1")?
        .query_row([stream.0], |row| row.get(0))
        .optional()?;
    Ok(Lsn(lsn.unwrap_or(0).cast_unsigned()))
}

/// Notes up to where everything was told.
pub(super) fn note_told(tx: &Connection, stream: StreamId, lsn: Lsn) -> rusqlite::Result<()> {
    tx.prepare_cached("UPDATE told_stream SET stream = ?1, lsn = ?2")?
        .execute(params![stream.0, lsn.0.cast_signed()])?;
    Ok(())
}
