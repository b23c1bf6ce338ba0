//! The store's [`Custody`]: lists what was not applied and what left.

use super::super::custody::{Affected, Custody, CustodyError, Decision, Entry, EntryDetail, EntryId, Reason, Retained};
use super::mailbox::read_name;
use super::release;
use super::store::Store;
use crate::limits::CUSTODY_ROWS_MAX;
use crate::op::{Guid, Lsn, MessageGuid, Uid, UidValidity, UserName};
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::sync::Arc;

/// Through the store's one writer and its readers.
pub(super) struct Keeper(pub(super) Arc<Store>);

/// Columns of an entry; `?1` a user's name or NULL, `?2` an entry or NULL, `?3` at most so many.
const ENTRIES: &str = "SELECT m.id, u.name, coalesce(m.name, m.last_name), m.guid, m.held, m.vanished, m.doomed,
     (SELECT count(*) FROM inferred i WHERE i.mailbox = m.id),
     (SELECT count(*) FROM deferred d WHERE d.mailbox = m.id),
     (SELECT count(*) FROM diverted x WHERE x.mailbox = m.id), m.messages
     FROM mailboxes m JOIN users u ON u.id = m.user
     WHERE (?1 IS NULL OR u.name = ?1) AND (?2 IS NULL OR m.id = ?2) AND m.id IN
         (SELECT id FROM mailboxes WHERE held IS NOT NULL UNION SELECT id FROM mailboxes WHERE vanished IS NOT NULL
          UNION SELECT id FROM mailboxes WHERE doomed <> 0
          UNION SELECT mailbox FROM inferred UNION SELECT mailbox FROM deferred)
     ORDER BY u.name, coalesce(m.name, m.last_name) LIMIT ?3";

impl Custody for Keeper {
    fn entries(&self, user: Option<&UserName>, most: u32) -> Result<Vec<Entry>, CustodyError> {
        self.0.readers.read(|tx| entries(tx, user, None, most))
    }

    fn entry(&self, id: EntryId) -> Result<EntryDetail, CustodyError> {
        self.0.readers.read(|tx| {
            let entry = one(tx, id)?;
            let messages = affected(tx, &entry)?;
            let mut statement =
                tx.prepare_cached("SELECT lsn FROM diverted WHERE mailbox = ?1 ORDER BY lsn LIMIT ?2")?;
            let rows = statement.query_map(params![id, CUSTODY_ROWS_MAX], |row| {
                Ok(Lsn(row.get::<_, i64>(0)?.cast_unsigned()))
            })?;
            Ok(EntryDetail {
                diverted: rows.collect::<rusqlite::Result<_>>()?,
                entry,
                messages,
            })
        })
    }

    fn decide(&self, id: EntryId, decision: Decision) -> Result<String, CustodyError> {
        let mut refused = None;
        let decided = self.0.write(|tx| {
            let deed = || -> Result<String, CustodyError> {
                let entry = one(tx, id)?;
                match decision {
                    Decision::Release => release::release(tx, &entry),
                    Decision::Drop => release::keep(tx, &entry),
                }
            };
            match deed() {
                Ok(told) => Ok(told),
                Err(CustodyError::Store(error)) => Err(error),
                Err(other) => {
                    // Nothing was written before a refusal.
                    refused = Some(other);
                    Ok(String::new())
                }
            }
        })?;
        refused.map_or(Ok(decided), Err)
    }

    fn retained(&self, user: Option<&UserName>) -> Result<Vec<Retained>, CustodyError> {
        self.0.readers.read(|tx| {
            let mut statement = tx.prepare_cached(
                "SELECT r.id, u.name, r.mailbox_name, r.mailbox_guid, r.uidvalidity, r.uid, r.guid, r.size,
                 r.internal_date, r.why, r.since_ms, r.body IS NOT NULL FROM retained r JOIN users u ON u.id = r.user
                 WHERE ?1 IS NULL OR u.name = ?1 ORDER BY r.id DESC LIMIT ?2",
            )?;
            let rows = statement.query_map(params![user.map(|user| &user.0), CUSTODY_ROWS_MAX], retained)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    fn forget(&self, id: EntryId) -> Result<String, CustodyError> {
        let gone = self
            .0
            .write(|tx| Ok(tx.execute("DELETE FROM retained WHERE id = ?1", [id])?))?;
        match gone {
            0 => Err(CustodyError::Unknown(id)),
            _ => Ok("the message is not kept any longer".to_owned()),
        }
    }
}

fn entries(
    tx: &Connection,
    user: Option<&UserName>,
    id: Option<EntryId>,
    most: u32,
) -> Result<Vec<Entry>, CustodyError> {
    let mut statement = tx.prepare_cached(ENTRIES)?;
    let rows = statement.query_map(params![user.map(|user| &user.0), id, most], entry)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn one(tx: &Connection, id: EntryId) -> Result<Entry, CustodyError> {
    entries(tx, None, Some(id), 1)?.pop().ok_or(CustodyError::Unknown(id))
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let count = |column| Ok::<_, rusqlite::Error>(row.get::<_, i64>(column)?.cast_unsigned());
    let guid = Guid(row.get(3)?);
    let (held, vanished): (Option<String>, Option<String>) = (row.get(4)?, row.get(5)?);
    let (inferred, deferred, all) = (count(7)?, count(8)?, count(10)?);
    let doomed: bool = row.get(6)?;
    let (reason, why, messages) = match (held, vanished) {
        (Some(why), _) => (Reason::Held, why, 0),
        (None, Some(why)) => (Reason::Vanished, why, all),
        (None, None) if inferred > 0 => (
            Reason::Inferred,
            "messages vanished without a request".to_owned(),
            inferred,
        ),
        (None, None) => {
            let why = "an append of the same message waits in a held mailbox".to_owned();
            (Reason::Waiting, why, if doomed { all } else { deferred })
        }
    };
    Ok(Entry {
        id: row.get(0)?,
        user: UserName(row.get(1)?),
        mailbox: shown(row.get(2)?, guid),
        guid: guid.to_hex(),
        reason,
        why,
        messages,
        diverted: count(9)?,
    })
}

fn shown(name: Option<String>, guid: Guid) -> String {
    let name = name.and_then(|name| read_name(&name).ok());
    name.map_or_else(|| guid.to_hex(), |name| name.join('/'))
}

fn affected(tx: &Connection, entry: &Entry) -> rusqlite::Result<Vec<Affected>> {
    let of = match entry.reason {
        Reason::Held => return Ok(Vec::new()),
        Reason::Vanished => "SELECT uid FROM messages WHERE mailbox = ?1",
        Reason::Inferred => "SELECT uid FROM inferred WHERE mailbox = ?1",
        Reason::Waiting => "SELECT uid FROM deferred WHERE mailbox = ?1",
    };
    let mut statement = tx.prepare_cached(&format!(
        "SELECT uid, guid, size, internal_date FROM messages WHERE mailbox = ?1 AND uid IN ({of}) ORDER BY uid LIMIT ?2"
    ))?;
    let rows = statement.query_map(params![entry.id, CUSTODY_ROWS_MAX], |row| message(row, 0))?;
    rows.collect()
}

fn message(row: &Row<'_>, at: usize) -> rusqlite::Result<Affected> {
    let column = |n: usize| at.saturating_add(n);
    Ok(Affected {
        uid: Uid(row.get(column(0))?),
        guid: MessageGuid(row.get(column(1))?),
        size: row.get::<_, Option<i64>>(column(2))?.map(i64::cast_unsigned),
        internal_date: row.get(column(3))?,
    })
}

fn retained(row: &Row<'_>) -> rusqlite::Result<Retained> {
    Ok(Retained {
        id: row.get(0)?,
        user: UserName(row.get(1)?),
        mailbox: shown(row.get(2)?, Guid(row.get(3)?)),
        uidvalidity: UidValidity(row.get(4)?),
        message: message(row, 5)?,
        why: row.get(9)?,
        since_ms: row.get::<_, Option<i64>>(10)?.map(i64::cast_unsigned),
        body: row.get(11)?,
    })
}

/// True where a mailbox has a name that clients see.
pub(super) fn is_named(tx: &Connection, id: EntryId) -> rusqlite::Result<bool> {
    let name: Option<Option<String>> = tx
        .prepare_cached("SELECT name FROM mailboxes WHERE id = ?1")?
        .query_row([id], |row| row.get(0))
        .optional()?;
    Ok(name.flatten().is_some())
}
