//! The store as its readers see it.

use super::attributes;
use super::bodies;
use super::mailbox::{keywords, read_name, spelled, stored_name};
use super::store::Store;
use super::view::{MailboxKey, MailboxRow, MessageRow, Tree, TreeRow, View, ViewError};
use crate::op::{
    AttributeScope, Flags, Guid, Keyword, MailboxName, MessageGuid, Modseq, Stale, Uid, UidValidity, Unselectable,
    UserName,
};
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::collections::HashMap;
use std::sync::Arc;

/// Reads through the store's pool.
pub(super) struct Reader(pub(super) Arc<Store>);

impl From<rusqlite::Error> for ViewError {
    fn from(error: rusqlite::Error) -> Self {
        Self(error.to_string())
    }
}

impl View for Reader {
    fn tree(&self, user: &UserName) -> Result<Tree, ViewError> {
        self.0.readers.read(|tx| {
            let Some(user) = bodies::known_user(tx, user)? else {
                return Ok(Tree::default());
            };
            Ok(Tree {
                rows: rows(tx, user)?,
                subscribed: subscribed(tx, user)?,
            })
        })
    }

    fn mailbox(&self, user: &UserName, name: &MailboxName) -> Result<Option<MailboxRow>, ViewError> {
        self.0.readers.read(|tx| {
            let Some(user) = bodies::known_user(tx, user)? else {
                return Ok(None);
            };
            let found = tx
                .prepare_cached("SELECT id FROM mailboxes WHERE user = ?1 AND name = ?2")?
                .query_row(params![user, stored_name(name)], |row| row.get(0).map(MailboxKey))
                .optional()?;
            found.map_or(Ok(None), |key| numbers(tx, key))
        })
    }

    fn stale(&self, user: &UserName, name: &MailboxName) -> Result<Option<Stale>, ViewError> {
        self.0.readers.read(|tx| {
            let mark: Option<Vec<u8>> = tx
                .prepare_cached(
                    "SELECT mark FROM unselectable n JOIN users u ON u.id = n.user WHERE u.name = ?1 AND n.name = ?2",
                )?
                .query_row(params![user.0, stored_name(name)], |row| row.get(0))
                .optional()?;
            mark.map_or(Ok(None), |mark| stale(&mark))
        })
    }

    fn mailbox_again(&self, key: MailboxKey) -> Result<Option<MailboxRow>, ViewError> {
        self.0.readers.read(|tx| numbers(tx, key))
    }

    fn messages(&self, key: MailboxKey) -> Result<Option<(MailboxRow, Vec<MessageRow>)>, ViewError> {
        self.0.readers.read(|tx| {
            let Some(mailbox) = numbers(tx, key)? else {
                return Ok(None);
            };
            let messages = list(tx, &mailbox)?;
            Ok(Some((mailbox, messages)))
        })
    }

    fn body(&self, key: MailboxKey, uid: Uid) -> Result<Option<Arc<[u8]>>, ViewError> {
        let found = self.0.readers.read(|tx| {
            let body = tx
                .prepare_cached("SELECT body FROM messages WHERE mailbox = ?1 AND uid = ?2")?
                .query_row(params![key.0, uid.0], |row| row.get::<_, Option<i64>>(0))
                .optional()?
                .flatten();
            body.map(|body| bodies::by_id(tx, body)).transpose()
        })?;
        let Some((hash, location)) = found else { return Ok(None) };
        let octets = self.0.packs.read(&location, &hash).map_err(ViewError)?;
        Ok(Some(octets.into()))
    }

    fn attributes(&self, user: &UserName, scope: AttributeScope) -> Result<Vec<(String, Vec<u8>)>, ViewError> {
        attributes::read(&self.0, user, scope)
    }

    fn changes(&self) -> tokio::sync::watch::Receiver<u64> {
        self.0.changes.subscribe()
    }
}

fn name(row: &Row<'_>, column: usize) -> Result<MailboxName, ViewError> {
    let text: String = row.get(column)?;
    read_name(&text).map_err(|e| ViewError(format!("a stored mailbox name: {e}")))
}

/// What a stored mark of an unselectable name says.
fn stale(mark: &[u8]) -> Result<Option<Stale>, ViewError> {
    Unselectable::from_mark(mark)
        .map(Unselectable::stale)
        .ok_or_else(|| ViewError("a stored name's mark is none".to_owned()))
}

fn rows(tx: &Connection, user: i64) -> Result<Vec<TreeRow>, ViewError> {
    let mut statement = tx.prepare_cached(
        "SELECT name, guid, special_use, NULL FROM mailboxes WHERE user = ?1 AND name IS NOT NULL
         UNION ALL SELECT name, NULL, NULL, mark FROM unselectable n WHERE user = ?1
         AND NOT EXISTS (SELECT 1 FROM mailboxes m WHERE m.user = n.user AND m.name = n.name)",
    )?;
    let mut rows = statement.query([user])?;
    let mut tree = Vec::new();
    while let Some(row) = rows.next()? {
        let guid: Option<[u8; 16]> = row.get(1)?;
        tree.push(TreeRow {
            name: name(row, 0)?,
            guid: guid.map(Guid),
            stale: row
                .get::<_, Option<Vec<u8>>>(3)?
                .map_or(Ok(None), |mark| stale(&mark))?,
            special_use: row.get(2)?,
        });
    }
    Ok(tree)
}

fn subscribed(tx: &Connection, user: i64) -> Result<Vec<MailboxName>, ViewError> {
    let mut statement = tx.prepare_cached("SELECT name FROM subscriptions WHERE user = ?1 ORDER BY id")?;
    let mut rows = statement.query([user])?;
    let mut names = Vec::new();
    while let Some(row) = rows.next()? {
        names.push(name(row, 0)?);
    }
    Ok(names)
}

/// The numbers of a mailbox that has a name.
fn numbers(tx: &Connection, key: MailboxKey) -> Result<Option<MailboxRow>, ViewError> {
    let found = tx
        .prepare_cached(
            "SELECT guid, uidvalidity, uidnext, highest_modseq, messages, unseen, size
             FROM mailboxes WHERE id = ?1 AND name IS NOT NULL",
        )?
        .query_row([key.0], |row| {
            Ok(MailboxRow {
                key,
                guid: Guid(row.get(0)?),
                uidvalidity: UidValidity(row.get(1)?),
                uidnext: Uid(row.get(2)?),
                highest_modseq: Modseq(row.get::<_, i64>(3)?.cast_unsigned()),
                messages: row.get(4)?,
                unseen: row.get(5)?,
                size: row.get::<_, i64>(6)?.cast_unsigned(),
            })
        })
        .optional()?;
    Ok(found)
}

fn list(tx: &Connection, mailbox: &MailboxRow) -> Result<Vec<MessageRow>, ViewError> {
    let names = keywords(tx, mailbox.key.0)?;
    // Messages with the same keywords share one list of them.
    let mut shared: HashMap<Vec<u8>, Arc<[Keyword]>> = HashMap::new();
    let mut statement = tx.prepare_cached(
        "SELECT uid, guid, flags, keywords, modseq, internal_date, save_date, octets, body IS NULL
         FROM messages WHERE mailbox = ?1 ORDER BY uid",
    )?;
    let mut rows = statement.query([mailbox.key.0])?;
    let mut messages = Vec::with_capacity(usize::try_from(mailbox.messages).unwrap_or(0));
    while let Some(row) = rows.next()? {
        let packed = row.get_ref(3)?.as_blob().map_err(rusqlite::Error::from)?;
        let keywords = match shared.get(packed) {
            Some(known) => Arc::clone(known),
            None => Arc::clone(
                shared
                    .entry(packed.to_vec())
                    .or_insert_with(|| spelled(&names, packed).into()),
            ),
        };
        messages.push(message(row, keywords)?);
    }
    Ok(messages)
}

fn message(row: &Row<'_>, keywords: Arc<[Keyword]>) -> rusqlite::Result<MessageRow> {
    Ok(MessageRow {
        uid: Uid(row.get(0)?),
        guid: MessageGuid(row.get(1)?),
        flags: Flags::from_bits(row.get(2)?),
        keywords,
        modseq: Modseq(row.get::<_, i64>(4)?.cast_unsigned()),
        internal_date: row.get(5)?,
        save_date: row.get(6)?,
        size: row.get::<_, Option<i64>>(7)?.map(i64::cast_unsigned),
        body_pending: row.get(8)?,
    })
}
