//! Applying a change of a user's tree. What it means is said by [`crate::op::model`].

use super::super::target::TargetError;
use super::attributes;
use super::bodies;
use super::mailbox::{Leaves, Mailbox, read_name, stored_name};
use super::{quarantine, renumbering};
use crate::op::{Disappearance, Guid, MailboxId, MailboxName, Namespaces, TreeChange};
use rusqlite::types::FromSqlError;
use rusqlite::{Connection, params};
use std::collections::HashSet;

/// Applies the change at once: first every changed mailbox lets its name go, then the new names are given.
pub(super) fn apply(tx: &Connection, change: &TreeChange) -> Result<(), TargetError> {
    let user = bodies::user(tx, &change.user)?;
    if change.complete {
        leave_out(tx, user, change)?;
    }
    if let Some(namespaces) = &change.namespaces {
        tx.prepare_cached("UPDATE users SET namespaces = ?2 WHERE id = ?1")?
            .execute(params![user, stored_name(&namespaces.to_levels())])?;
    }
    for mailbox in &change.mailboxes {
        match mailbox.name {
            Ok(_) => unname(tx, change, mailbox.guid)?,
            Err(Disappearance::Genuine | Disappearance::Attested) => doom(tx, user, mailbox.guid)?,
            Err(Disappearance::Inferred) => vanish(tx, user, mailbox.guid, "it vanished without a deletion")?,
        }
    }
    for mailbox in &change.mailboxes {
        if let Ok(name) = &mailbox.name {
            give_name(tx, user, mailbox.guid, name, mailbox.special_use.as_deref())?;
        }
    }
    for mailbox in change.mailboxes.iter().filter(|mailbox| mailbox.name.is_ok()) {
        let guid = mailbox.guid;
        let user = change.user.clone();
        renumbering::into(tx, &MailboxId { user, guid })?;
    }
    for (name, how) in &change.unselectable {
        match how {
            Some(how) => tx
                .prepare_cached("INSERT OR REPLACE INTO unselectable (user, name, mark) VALUES (?1, ?2, ?3)")?
                .execute(params![user, stored_name(name), how.to_mark()])?,
            None => tx
                .prepare_cached("DELETE FROM unselectable WHERE user = ?1 AND name = ?2")?
                .execute(params![user, stored_name(name)])?,
        };
    }
    for (name, on) in &change.subscriptions {
        let statement = match on {
            true => "INSERT OR IGNORE INTO subscriptions (user, name) VALUES (?1, ?2)",
            false => "DELETE FROM subscriptions WHERE user = ?1 AND name = ?2",
        };
        tx.prepare_cached(statement)?
            .execute(params![user, stored_name(name)])?;
    }
    Ok(())
}

/// How the user's names are written; none until the first tree came.
pub(super) fn namespaces(tx: &Connection, user: i64) -> rusqlite::Result<Option<Namespaces>> {
    let stored: Option<String> = tx
        .prepare_cached("SELECT namespaces FROM users WHERE id = ?1")?
        .query_row([user], |row| row.get(0))?;
    let read = |text: String| {
        let namespaces = read_name(&text).ok().and_then(Namespaces::from_levels);
        namespaces.ok_or_else(|| FromSqlError::InvalidType.into())
    };
    stored.map(read).transpose()
}

/// A complete tree replaces everything. A mailbox that is not in it is only inferred gone.
fn leave_out(tx: &Connection, user: i64, change: &TreeChange) -> Result<(), TargetError> {
    let listed: HashSet<Guid> = change.mailboxes.iter().map(|mailbox| mailbox.guid).collect();
    let mut statement = tx.prepare_cached("SELECT guid FROM mailboxes WHERE user = ?1")?;
    let known = statement.query_map([user], |row| row.get(0).map(Guid))?;
    for guid in known.collect::<rusqlite::Result<Vec<_>>>()? {
        if !listed.contains(&guid) {
            vanish(tx, user, guid, "the complete tree lacks it")?;
        }
    }
    tx.prepare_cached("DELETE FROM unselectable WHERE user = ?1")?
        .execute([user])?;
    tx.prepare_cached("DELETE FROM subscriptions WHERE user = ?1")?
        .execute([user])?;
    Ok(())
}

/// One of which no list ever came has nothing that could be lost: a Dovecot that makes a mailbox under a GUID of somebody's choice
/// has it under one of its own for a moment.
fn vanish(tx: &Connection, user: i64, guid: Guid, why: &str) -> Result<(), TargetError> {
    let is_unlisted = tx
        .prepare_cached("SELECT 1 FROM mailboxes WHERE user = ?1 AND guid = ?2 AND uidvalidity = 0 AND held IS NULL")?
        .exists(params![user, guid.0])?;
    if is_unlisted {
        return doom(tx, user, guid);
    }
    tx.prepare_cached("UPDATE mailboxes SET vanished = ?3 WHERE user = ?1 AND guid = ?2 AND vanished IS NULL")?
        .execute(params![user, guid.0, why])?;
    Ok(())
}

fn unname(tx: &Connection, change: &TreeChange, guid: Guid) -> Result<(), TargetError> {
    let mailbox = Mailbox::load_or_create(
        tx,
        &MailboxId {
            user: change.user.clone(),
            guid,
        },
    )?;
    tx.prepare_cached("UPDATE mailboxes SET name = NULL WHERE id = ?1")?
        .execute([mailbox.id])?;
    Ok(())
}

/// A name has one mailbox: another one that still has it is hidden, and that is noted.
fn give_name(
    tx: &Connection,
    user: i64,
    guid: Guid,
    name: &MailboxName,
    special_use: Option<&str>,
) -> Result<(), TargetError> {
    let name = stored_name(name);
    tx.prepare_cached(
        "UPDATE mailboxes SET name = NULL, vanished = coalesce(vanished, 'its name is another mailbox''s now')
         WHERE user = ?1 AND name = ?2 AND guid <> ?3",
    )?
    .execute(params![user, name, guid.0])?;
    tx.prepare_cached(
        "UPDATE mailboxes SET name = ?3, last_name = ?3, special_use = ?4, vanished = NULL, doomed = 0
         WHERE user = ?1 AND guid = ?2",
    )?
    .execute(params![user, guid.0, name, special_use])?;
    Ok(())
}

/// A deleted mailbox is hidden at once. It is taken away when the transaction is settled, or later where one of its
/// messages may still be on its way to another mailbox that is held.
fn doom(tx: &Connection, user: i64, guid: Guid) -> Result<(), TargetError> {
    let mut statement = tx.prepare_cached("SELECT id FROM mailboxes WHERE user = ?1 AND guid = ?2")?;
    let ids = statement.query_map(params![user, guid.0], |row| row.get(0))?;
    for id in ids.collect::<rusqlite::Result<Vec<i64>>>()? {
        quarantine::void_diverted(tx, id)?;
        tx.prepare_cached("UPDATE mailboxes SET doomed = 1, name = NULL, held = NULL WHERE id = ?1")?
            .execute([id])?;
    }
    Ok(())
}

/// Takes a mailbox away; its messages are retained.
pub(super) fn delete(tx: &Connection, mailbox: &MailboxId) -> Result<(), TargetError> {
    let Some(mailbox) = Mailbox::load(tx, mailbox)? else {
        return Ok(());
    };
    for stored in mailbox.all(tx)? {
        mailbox.retain(tx, &stored, Leaves::Deleted)?;
    }
    attributes::delete_mailbox(tx, &mailbox.is)?;
    tx.prepare_cached("DELETE FROM mailboxes WHERE id = ?1")?
        .execute([mailbox.id])?;
    Ok(())
}
