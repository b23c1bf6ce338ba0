//! Mailboxes by name or GUID, messages by UID.

use super::super::super::change::{Reason, Refused};
use super::super::mailbox::{Mailbox, Stored, stored_name};
use super::super::{bodies, tree};
use super::built::{Stop, refuse};
use crate::op::{Guid, MailboxId, MailboxName, Namespaces, UidRange, UserName};
use rusqlite::{Connection, OptionalExtension, params};

impl Refused {
    pub(super) fn new(reason: Reason, why: impl Into<String>) -> Self {
        Self {
            reason,
            why: why.into(),
        }
    }
}

/// The mailbox that has this name, held or not.
pub(super) fn named(tx: &Connection, user: &UserName, name: &MailboxName) -> Result<Option<Mailbox>, Stop> {
    let guid = tx
        .prepare_cached(
            "SELECT m.guid FROM mailboxes m JOIN users u ON u.id = m.user WHERE u.name = ?1 AND m.name = ?2",
        )?
        .query_row(params![user.0, stored_name(name)], |row| row.get(0).map(Guid))
        .optional()?;
    let Some(guid) = guid else { return Ok(None) };
    let user = user.clone();
    Ok(Mailbox::load(tx, &MailboxId { user, guid })?)
}

/// The mailbox that messages are to be put into.
pub(super) fn destination(tx: &Connection, user: &UserName, name: &MailboxName) -> Result<Mailbox, Stop> {
    match named(tx, user, name)? {
        Some(mailbox) => changeable(mailbox),
        None => refuse(Reason::TryCreate, "there is no such mailbox"),
    }
}

/// A mailbox that a client has selected.
pub(super) fn selected(tx: &Connection, mailbox: &MailboxId) -> Result<Mailbox, Stop> {
    match Mailbox::load(tx, mailbox)?.filter(|mailbox| mailbox.named) {
        Some(mailbox) => changeable(mailbox),
        None => refuse(Reason::NoPermission, "the mailbox is gone"),
    }
}

/// What the source said of a held mailbox contradicts the copy: until that is decided nothing is put on top of it.
fn changeable(mailbox: Mailbox) -> Result<Mailbox, Stop> {
    match mailbox.held {
        None => Ok(mailbox),
        Some(_) => refuse(
            Reason::NoPermission,
            "the mailbox is held until its quarantine entry is decided",
        ),
    }
}

/// How the user's names are written; none until the first tree came.
pub(super) fn namespaces(tx: &Connection, user: &UserName) -> Result<Option<Namespaces>, Stop> {
    match bodies::known_user(tx, user)? {
        Some(user) => Ok(tree::namespaces(tx, user)?),
        None => Ok(None),
    }
}

/// How a new user's names are written: as everybody's.
pub(super) fn usual_namespaces(tx: &Connection) -> Result<Namespaces, Stop> {
    let first: Option<i64> = tx
        .prepare_cached("SELECT id FROM users WHERE namespaces IS NOT NULL ORDER BY id LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()?;
    match first {
        Some(user) => Ok(tree::namespaces(tx, user)?.unwrap_or_default()),
        None => Ok(Namespaces::default()),
    }
}

/// Messages of these UIDs, ascending, each once.
pub(super) fn messages(tx: &Connection, mailbox: &Mailbox, uids: &[UidRange]) -> Result<Vec<Stored>, Stop> {
    let mut found = Vec::new();
    for range in merged(uids) {
        found.extend(mailbox.within(tx, &range)?);
    }
    Ok(found)
}

/// The same UIDs in ascending ranges that don't overlap.
fn merged(uids: &[UidRange]) -> Vec<UidRange> {
    let mut sorted = uids.to_vec();
    sorted.sort_unstable();
    let mut merged: Vec<UidRange> = Vec::new();
    for range in sorted {
        match merged.last_mut() {
            Some(last) if range.first.0 <= last.last.0.saturating_add(1) => last.last = last.last.max(range.last),
            _ => merged.push(range),
        }
    }
    merged
}
