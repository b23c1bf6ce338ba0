//! A repair may give a mailbox another GUID: the old one lost its name to the new one, and everything in it is there.

use super::super::target::TargetError;
use super::attributes;
use super::mailbox::{Mailbox, id_of};
use crate::op::{MailboxId, MessageGuid};
use rusqlite::{Connection, params};
use std::collections::HashMap;

/// Takes away every mailbox that lost its name to this one, and of which nothing is missing here: no message leaves,
/// so there is nothing to quarantine.
pub(super) fn into(tx: &Connection, heir: &MailboxId) -> Result<(), TargetError> {
    let Some(heir) = Mailbox::load(tx, heir)? else {
        return Ok(());
    };
    let mut lost: Option<HashMap<MessageGuid, usize>> = None;
    for old in lost_their_name_to(tx, &heir)? {
        let here = match &mut lost {
            Some(here) => here,
            None => lost.insert(guids(tx, heir.id)?),
        };
        let there = guids(tx, old)?;
        let is_here = |(guid, count): (&MessageGuid, &usize)| !guid.is_unknown() && here.get(guid) >= Some(count);
        if there.iter().all(is_here) {
            tracing::info!(mailbox = %crate::telemetry::mailbox(&heir.is), messages = there.len(), "a repair gave the mailbox another GUID: nothing left");
            attributes::delete_mailbox(tx, &id_of(tx, old)?)?;
            tx.prepare_cached("DELETE FROM mailboxes WHERE id = ?1")?
                .execute([old])?;
        }
    }
    Ok(())
}

fn lost_their_name_to(tx: &Connection, heir: &Mailbox) -> rusqlite::Result<Vec<i64>> {
    let mut statement = tx.prepare_cached(
        "SELECT old.id FROM mailboxes heir JOIN mailboxes old ON old.user = heir.user AND old.last_name = heir.name
         WHERE heir.id = ?1 AND old.vanished IS NOT NULL AND old.name IS NULL AND old.doomed = 0 AND old.held IS NULL",
    )?;
    let rows = statement.query_map(params![heir.id], |row| row.get(0))?;
    rows.collect()
}

/// GUIDs of a mailbox's messages, each as often as it stands there.
fn guids(tx: &Connection, mailbox: i64) -> rusqlite::Result<HashMap<MessageGuid, usize>> {
    let mut statement = tx.prepare_cached("SELECT guid, count(*) FROM messages WHERE mailbox = ?1 GROUP BY guid")?;
    let rows = statement.query_map([mailbox], |row| {
        let count: u32 = row.get(1)?;
        Ok((MessageGuid(row.get(0)?), usize::try_from(count).unwrap_or(usize::MAX)))
    })?;
    rows.collect()
}
