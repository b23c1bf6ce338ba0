//! Rows of attributes: what a change of them means is said by [`crate::op::model`].

use super::super::target::TargetError;
use super::bodies;
use super::store::Store;
use super::view::ViewError;
use crate::op::{
    AttributeKind, AttributeScope, AttributeValue, Attributes, AttributesChange, BodyHash, BodyName, Guid, MailboxId,
    TreeDigest, UserName,
};
use rusqlite::{Connection, Row, params};
use std::collections::HashSet;

/// What stands for the user where a mailbox's GUID stands for a mailbox.
const THE_USER: &[u8] = &[];

/// Entry by entry, in one question: name, value, hash, size.
const ENTRIES: &str = "SELECT name, value, hash, size FROM attributes WHERE user = ?1 AND mailbox = ?2 AND kind = ?3";

/// Values whose body is not here.
pub(super) const PENDING: &str = "SELECT count(*) FROM attributes a WHERE value IS NULL
     AND NOT EXISTS (SELECT 1 FROM bodies b WHERE b.hash = a.hash)";

/// Applies a change. The mailbox need not be known: attributes hang on GUIDs alone.
pub(super) fn apply(tx: &Connection, change: &AttributesChange) -> Result<(), TargetError> {
    let user = bodies::user(tx, &change.user)?;
    let before = entries(tx, user, change.scope)?;
    let mut after = before.clone();
    change.apply_to(&mut after);
    for (name, value) in &before {
        match after.get(name) {
            Some(now) if now == value => {}
            Some(_) => retain(tx, user, change.scope, name, "overwritten")?,
            None => {
                retain(tx, user, change.scope, name, "unset")?;
                remove(tx, user, change.scope, name)?;
            }
        }
    }
    for (name, value) in after.iter().filter(|(name, value)| before.get(*name) != Some(value)) {
        put(tx, user, change.scope, name, value)?;
    }
    if let Some(holders) = &change.holders {
        clear_others(tx, user, change.scope.kind, holders)?;
    }
    Ok(())
}

/// Mailboxes that are not among the holders hold nothing of this kind.
fn clear_others(tx: &Connection, user: i64, kind: AttributeKind, holders: &[Guid]) -> Result<(), TargetError> {
    let known = self::holders(tx, user, kind)?;
    let holders: HashSet<&Guid> = holders.iter().collect();
    for guid in known {
        if !holders.contains(&guid) {
            let mailbox = Some(guid);
            clear(tx, user, AttributeScope { mailbox, kind }, "unset")?;
        }
    }
    Ok(())
}

/// Mailboxes of a user that have attributes of this kind.
pub(super) fn holders(tx: &Connection, user: i64, kind: AttributeKind) -> rusqlite::Result<Vec<Guid>> {
    let mut statement =
        tx.prepare_cached("SELECT DISTINCT mailbox FROM attributes WHERE user = ?1 AND kind = ?2 AND mailbox <> x''")?;
    let known = statement.query_map(params![user, u8::from(kind)], |row| row.get(0).map(Guid))?;
    known.collect()
}

fn clear(tx: &Connection, user: i64, scope: AttributeScope, why: &str) -> Result<(), TargetError> {
    for name in entries(tx, user, scope)?.keys() {
        retain(tx, user, scope, name, why)?;
        remove(tx, user, scope, name)?;
    }
    Ok(())
}

/// A mailbox's attributes go with it, and are retained.
pub(super) fn delete_mailbox(tx: &Connection, mailbox: &MailboxId) -> Result<(), TargetError> {
    let user = bodies::user(tx, &mailbox.user)?;
    for kind in AttributeKind::ALL {
        let scope = AttributeScope {
            mailbox: Some(mailbox.guid),
            kind,
        };
        clear(tx, user, scope, "deleted")?;
    }
    Ok(())
}

/// Stamps what was retained since the last call, and forgets what is older than `oldest` (UNIX milliseconds).
pub(super) fn prune(tx: &Connection, now_ms: u64, oldest: i64) -> rusqlite::Result<()> {
    tx.execute(
        "UPDATE retained_attributes SET since_ms = ?1 WHERE since_ms IS NULL",
        params![now_ms.cast_signed()],
    )?;
    tx.execute("DELETE FROM retained_attributes WHERE since_ms < ?1", params![oldest])?;
    Ok(())
}

/// Counts the attributes in that clients can see: the user's, and those of mailboxes that have a name.
pub(super) fn add_to(tx: &Connection, user: i64, digest: &mut TreeDigest) -> Result<(), TargetError> {
    let mut statement = tx.prepare_cached(
        "SELECT name, value, hash, size, mailbox, kind FROM attributes a WHERE user = ?1 AND (mailbox = x''
         OR EXISTS (SELECT 1 FROM mailboxes m WHERE m.user = a.user AND m.guid = a.mailbox AND m.name IS NOT NULL))",
    )?;
    let mut rows = statement.query([user])?;
    while let Some(row) = rows.next()? {
        let (name, value) = entry(row)?;
        let mailbox = row.get_ref(4)?.as_blob().map_err(rusqlite::Error::from)?;
        let kind = AttributeKind::try_from(row.get::<_, u8>(5)?).map_err(TargetError::Halt)?;
        let mailbox = mailbox.try_into().ok().map(Guid);
        digest.add_attribute(AttributeScope { mailbox, kind }, &name, &value);
    }
    Ok(())
}

/// All entries of a scope with their octets; those whose body is not here are left out.
pub(super) fn read(store: &Store, user: &UserName, scope: AttributeScope) -> Result<Vec<(String, Vec<u8>)>, ViewError> {
    let found = store.readers.read(|tx| {
        let Some(user) = bodies::known_user(tx, user)? else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        for (name, value) in entries(tx, user, scope).map_err(|e| ViewError(e.to_string()))? {
            let place = match &value {
                AttributeValue::Here(_) => None,
                AttributeValue::Body { hash, .. } => bodies::by_hash(tx, hash)?.map(|(_, location)| location),
            };
            found.push((name, value, place));
        }
        Ok::<_, ViewError>(found)
    })?;
    let mut read = Vec::new();
    for (name, value, place) in found {
        match (value, place) {
            (AttributeValue::Here(octets), _) => read.push((name, octets)),
            (AttributeValue::Body { hash, .. }, Some(place)) => {
                read.push((name, store.packs.read(&place, &hash).map_err(ViewError)?));
            }
            (AttributeValue::Body { .. }, None) => {}
        }
    }
    Ok(read)
}

/// Bodies of values that are not here, of all users; drawn by lot, at most `most`.
pub(super) fn pending(tx: &Connection, most: usize) -> rusqlite::Result<Vec<BodyName>> {
    let mut statement = tx.prepare_cached(
        "SELECT u.name, a.mailbox, a.kind, a.hash, a.size FROM attributes a JOIN users u ON u.id = a.user
         WHERE a.value IS NULL AND NOT EXISTS (SELECT 1 FROM bodies b WHERE b.hash = a.hash)
         ORDER BY random() LIMIT ?1",
    )?;
    let rows = statement.query_map([i64::try_from(most).unwrap_or(i64::MAX)], |row| {
        let value = AttributeValue::Body {
            hash: BodyHash(row.get(3)?),
            size: row.get::<_, i64>(4)?.cast_unsigned(),
        };
        let mailbox = row.get_ref(1)?.as_blob()?.try_into().ok().map(Guid);
        let kind = AttributeKind::try_from(row.get::<_, u8>(2)?).unwrap_or(AttributeKind::Metadata);
        Ok(value.body(&UserName(row.get(0)?), AttributeScope { mailbox, kind }))
    })?;
    let names = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(names.into_iter().flatten().collect())
}

/// What a scope holds.
pub(super) fn entries(tx: &Connection, user: i64, scope: AttributeScope) -> Result<Attributes, TargetError> {
    let mut statement = tx.prepare_cached(ENTRIES)?;
    let rows = statement.query_map(params![user, place(&scope), u8::from(scope.kind)], entry)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn place(scope: &AttributeScope) -> &[u8] {
    scope.mailbox.as_ref().map_or(THE_USER, |guid| &guid.0)
}

/// Columns: name, value, hash, size.
fn entry(row: &Row<'_>) -> rusqlite::Result<(String, AttributeValue)> {
    let value = match row.get::<_, Option<Vec<u8>>>(1)? {
        Some(octets) => AttributeValue::Here(octets),
        None => AttributeValue::Body {
            hash: BodyHash(row.get(2)?),
            size: row.get::<_, i64>(3)?.cast_unsigned(),
        },
    };
    Ok((row.get(0)?, value))
}

fn put(tx: &Connection, user: i64, scope: AttributeScope, name: &str, value: &AttributeValue) -> rusqlite::Result<()> {
    let (octets, size) = match value {
        AttributeValue::Here(octets) => (Some(octets), u64::try_from(octets.len()).unwrap_or(u64::MAX)),
        AttributeValue::Body { size, .. } => (None, *size),
    };
    tx.prepare_cached(
        "INSERT OR REPLACE INTO attributes (user, mailbox, kind, name, value, hash, size)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        user,
        place(&scope),
        u8::from(scope.kind),
        name,
        octets,
        value.hash().0,
        size.cast_signed()
    ])?;
    Ok(())
}

fn remove(tx: &Connection, user: i64, scope: AttributeScope, name: &str) -> rusqlite::Result<()> {
    tx.prepare_cached("DELETE FROM attributes WHERE user = ?1 AND mailbox = ?2 AND kind = ?3 AND name = ?4")?
        .execute(params![user, place(&scope), u8::from(scope.kind), name])?;
    Ok(())
}

/// Keeps the entry as it is now.
fn retain(tx: &Connection, user: i64, scope: AttributeScope, name: &str, why: &str) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "INSERT INTO retained_attributes (user, mailbox, mailbox_name, kind, name, value, hash, size, why)
         SELECT a.user, a.mailbox, m.last_name, a.kind, a.name, a.value, a.hash, a.size, ?5
         FROM attributes a LEFT JOIN mailboxes m ON m.user = a.user AND m.guid = a.mailbox
         WHERE a.user = ?1 AND a.mailbox = ?2 AND a.kind = ?3 AND a.name = ?4",
    )?
    .execute(params![user, place(&scope), u8::from(scope.kind), name, why])?;
    Ok(())
}
