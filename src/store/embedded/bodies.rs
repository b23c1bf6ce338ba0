//! Which body a message has: SQLite's index of the packs, and the rule by which a stored body is reused.

use super::super::target::TargetError;
use super::packs::{Content, Entry, Location, Position};
use crate::op::{BodyHash, BodyName, BodyPlace, Guid, MailboxId, MessageGuid, Uid, UidValidity, UserName};
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::sync::Arc;

/// A body in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Body {
    pub(super) id: i64,
    pub(super) length: u64,
}

/// The number of a user, made where there is none yet.
pub(super) fn user(tx: &Connection, name: &UserName) -> rusqlite::Result<i64> {
    if let Some(id) = known_user(tx, name)? {
        return Ok(id);
    }
    tx.prepare_cached("INSERT INTO users (name) VALUES (?1)")?
        .insert([&name.0])
}

/// The number of a user.
pub(super) fn known_user(tx: &Connection, name: &UserName) -> rusqlite::Result<Option<i64>> {
    tx.prepare_cached("SELECT id FROM users WHERE name = ?1")?
        .query_row([&name.0], |row| row.get(0))
        .optional()
}

/// Writes records of the packs into the index, and gives messages that waited for them their bodies. Returns how many
/// records that were.
pub(super) fn index(tx: &Connection, entries: &[Arc<Entry>]) -> Result<usize, TargetError> {
    if entries.is_empty() {
        return Ok(0);
    }
    let heals = any_pending(tx)?;
    let mut owner: Option<(&UserName, i64)> = None;
    for entry in entries {
        let name = &entry.record.name.place.mailbox.user;
        let id = match owner {
            Some((known, id)) if known == name => id,
            _ => user(tx, name)?,
        };
        owner = Some((name, id));
        index_one(tx, id, entry, heals)?;
    }
    if let Some(last) = entries.last() {
        let offset = last.after.offset.cast_signed();
        tx.prepare_cached("UPDATE stream SET pack = ?1, pack_offset = ?2")?
            .execute(params![last.after.pack, offset])?;
    }
    Ok(entries.len())
}

/// `heals`: a message may wait for this body.
fn index_one(tx: &Connection, user: i64, entry: &Entry, heals: bool) -> Result<(), TargetError> {
    let name = &entry.record.name;
    let (body, missing) = match &entry.record.content {
        Content::Octets { hash, length } => (Some(put(tx, hash, entry.octets, *length)?), None),
        Content::Known { hash, .. } => (by_hash(tx, hash)?.map(|(body, _)| body.id), None),
        Content::Missing(missing) => (None, Some(missing.why.as_str())),
    };
    // A place that has octets keeps them, whatever is said of it later.
    tx.prepare_cached(
        "INSERT INTO body_names (user, guid, mailbox, uidvalidity, uid, size, body, missing)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT DO UPDATE SET size = excluded.size, body = excluded.body, missing = excluded.missing
         WHERE excluded.body IS NOT NULL OR body IS NULL",
    )?
    .execute(params![
        user,
        name.guid.0,
        name.place.mailbox.guid.0,
        name.place.uidvalidity.0,
        name.place.uid.0,
        name.size.map(u64::cast_signed),
        body,
        missing
    ])?;
    if heals && body.is_some() {
        heal(tx, user, name)?;
    }
    Ok(())
}

fn put(tx: &Connection, hash: &BodyHash, at: Position, length: u64) -> rusqlite::Result<i64> {
    if let Some((body, _)) = by_hash(tx, hash)? {
        return Ok(body.id);
    }
    tx.prepare_cached("INSERT INTO bodies (hash, pack, pack_offset, length) VALUES (?1, ?2, ?3, ?4)")?
        .insert(params![hash.0, at.pack, at.offset.cast_signed(), length.cast_signed()])
}

/// A body by what it is.
pub(super) fn by_hash(tx: &Connection, hash: &BodyHash) -> rusqlite::Result<Option<(Body, Location)>> {
    tx.prepare_cached("SELECT id, length, pack, pack_offset FROM bodies WHERE hash = ?1")?
        .query_row([hash.0], |row| {
            let body = Body {
                id: row.get(0)?,
                length: octets(row, 1)?,
            };
            Ok((body, location(row, 2, body.length)?))
        })
        .optional()
}

/// A body by its number: what it is and where.
pub(super) fn by_id(tx: &Connection, id: i64) -> rusqlite::Result<(BodyHash, Location)> {
    tx.prepare_cached("SELECT hash, pack, pack_offset, length FROM bodies WHERE id = ?1")?
        .query_row([id], |row| located(row, 0))
}

/// What a body is and where it lies; columns from `at`: hash, pack, offset, length.
pub(super) fn located(row: &Row<'_>, at: usize) -> rusqlite::Result<(BodyHash, Location)> {
    let column = |n: usize| at.saturating_add(n);
    let length = octets(row, column(3))?;
    Ok((BodyHash(row.get(at)?), location(row, column(1), length)?))
}

fn octets(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}

fn location(row: &Row<'_>, column: usize, length: u64) -> rusqlite::Result<Location> {
    let offset = octets(row, column.saturating_add(1))?;
    let position = Position {
        pack: row.get(column)?,
        offset,
    };
    Ok(Location { position, length })
}

/// The body of a message. A body that was stored for exactly this place serves; one that was stored for another place of
/// the same user and GUID serves only where both sizes are known and agree, and where no other octets claim the same.
pub(super) fn resolve(tx: &Connection, user: i64, name: &BodyName) -> rusqlite::Result<Option<Body>> {
    if let Some(body) = at_place(tx, user, name)?.filter(|body| name.size.is_none_or(|size| size == body.length)) {
        return Ok(Some(body));
    }
    let Some(size) = name.size.filter(|_| !name.guid.is_unknown()) else {
        return Ok(None);
    };
    let mut statement = tx.prepare_cached(
        "SELECT DISTINCT b.id, b.length FROM body_names n JOIN bodies b ON b.id = n.body
         WHERE n.user = ?1 AND n.guid = ?2 AND n.size = ?3 AND b.length = ?3 LIMIT 2",
    )?;
    let found = statement.query_map(params![user, name.guid.0, size.cast_signed()], body)?;
    let found: Vec<Body> = found.collect::<rusqlite::Result<_>>()?;
    match found.as_slice() {
        [body] => Ok(Some(*body)),
        [] => Ok(None),
        _ => {
            let (user, guid) = (&name.place.mailbox.user, &name.guid);
            tracing::warn!(user = %crate::telemetry::user(user), %guid, "one message GUID has two contents: they are kept apart by place");
            Ok(None)
        }
    }
}

fn at_place(tx: &Connection, user: i64, name: &BodyName) -> rusqlite::Result<Option<Body>> {
    let place = &name.place;
    tx.prepare_cached(
        "SELECT b.id, b.length FROM body_names n JOIN bodies b ON b.id = n.body
         WHERE n.user = ?1 AND n.guid = ?2 AND n.mailbox = ?3 AND n.uidvalidity = ?4 AND n.uid = ?5",
    )?
    .query_row(
        params![
            user,
            name.guid.0,
            place.mailbox.guid.0,
            place.uidvalidity.0,
            place.uid.0
        ],
        body,
    )
    .optional()
}

fn body(row: &Row<'_>) -> rusqlite::Result<Body> {
    Ok(Body {
        id: row.get(0)?,
        length: octets(row, 1)?,
    })
}

/// True where anything is known of bodies of this user and GUID.
pub(super) fn is_named(tx: &Connection, user: i64, name: &BodyName) -> rusqlite::Result<bool> {
    tx.prepare_cached("SELECT 1 FROM body_names WHERE user = ?1 AND guid = ?2 LIMIT 1")?
        .exists(params![user, name.guid.0])
}

/// True where the place is known to have octets or known to lack them.
pub(super) fn answered(tx: &Connection, user: i64, name: &BodyName) -> rusqlite::Result<bool> {
    let place = &name.place;
    tx.prepare_cached(
        "SELECT 1 FROM body_names WHERE user = ?1 AND guid = ?2 AND mailbox = ?3 AND uidvalidity = ?4 AND uid = ?5",
    )?
    .exists(params![
        user,
        name.guid.0,
        place.mailbox.guid.0,
        place.uidvalidity.0,
        place.uid.0
    ])
}

/// Body pending messages of this user and GUID may have a body now.
pub(super) fn heal(tx: &Connection, user: i64, name: &BodyName) -> rusqlite::Result<()> {
    for (mailbox, pending) in pending_of(tx, user, name)? {
        let Some(body) = resolve(tx, user, &pending)? else {
            continue;
        };
        let before = pending.size.unwrap_or(0).cast_signed();
        let length = body.length.cast_signed();
        tx.prepare_cached("UPDATE messages SET body = ?3, octets = ?4 WHERE mailbox = ?1 AND uid = ?2")?
            .execute(params![mailbox, pending.place.uid.0, body.id, length])?;
        tx.prepare_cached("UPDATE mailboxes SET size = size + ?2 WHERE id = ?1")?
            .execute(params![mailbox, length.saturating_sub(before)])?;
    }
    Ok(())
}

fn pending_of(tx: &Connection, user: i64, name: &BodyName) -> rusqlite::Result<Vec<(i64, BodyName)>> {
    let owner = &name.place.mailbox.user;
    let mut statement = tx.prepare_cached(
        "SELECT m.id, m.guid, m.uidvalidity, x.uid, x.guid, x.size FROM messages x JOIN mailboxes m ON m.id = x.mailbox
         WHERE x.user = ?2 AND x.guid = ?1 AND x.body IS NULL",
    )?;
    let rows = statement.query_map(params![name.guid.0, user], |row| {
        Ok((row.get(0)?, named(row, 1, owner)?))
    })?;
    rows.collect()
}

/// True where a message waits for a body. Mostly none does, and much need not be looked for.
fn any_pending(tx: &Connection) -> rusqlite::Result<bool> {
    tx.prepare_cached("SELECT 1 FROM messages WHERE body IS NULL LIMIT 1")?
        .exists([])
}

/// True where a message waits for one of these bodies.
pub(super) fn any_awaited(tx: &Connection, names: &[BodyName]) -> rusqlite::Result<bool> {
    if !any_pending(tx)? {
        return Ok(false);
    }
    let mut statement = tx.prepare_cached("SELECT 1 FROM messages WHERE user = ?1 AND guid = ?2 AND body IS NULL")?;
    for name in names {
        if let Some(user) = known_user(tx, &name.place.mailbox.user)?
            && statement.exists(params![user, name.guid.0])?
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Some of the bodies pending, of all users. Drawn by lot, so that many that never come don't keep others from being
/// asked for.
pub(super) fn pending(tx: &Connection, most: usize) -> rusqlite::Result<Vec<BodyName>> {
    let mut statement = tx.prepare_cached(
        "SELECT u.name, m.guid, m.uidvalidity, x.uid, x.guid, x.size
         FROM messages x JOIN mailboxes m ON m.id = x.mailbox JOIN users u ON u.id = m.user
         WHERE x.body IS NULL ORDER BY random() LIMIT ?1",
    )?;
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let rows = statement.query_map([most], |row| named(row, 1, &UserName(row.get(0)?)))?;
    rows.collect()
}

/// Other places of this user and GUID, newest first.
pub(super) fn places(tx: &Connection, user: i64, name: &BodyName, most: usize) -> rusqlite::Result<Vec<BodyPlace>> {
    if name.guid.is_unknown() {
        return Ok(Vec::new());
    }
    let owner = &name.place.mailbox.user;
    let mut statement = tx.prepare_cached(
        "SELECT m.guid, m.uidvalidity, x.uid, x.guid, x.size FROM messages x JOIN mailboxes m ON m.id = x.mailbox
         WHERE x.user = ?2 AND x.guid = ?1 ORDER BY x.save_date DESC, x.modseq DESC LIMIT ?3",
    )?;
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let rows = statement.query_map(params![name.guid.0, user, most], |row| Ok(named(row, 0, owner)?.place))?;
    let places: Vec<BodyPlace> = rows.collect::<rusqlite::Result<_>>()?;
    Ok(places.into_iter().filter(|place| *place != name.place).collect())
}

/// Columns from `at`: mailbox GUID, UIDVALIDITY, UID, message GUID, size.
fn named(row: &Row<'_>, at: usize, owner: &UserName) -> rusqlite::Result<BodyName> {
    let column = |n: usize| at.saturating_add(n);
    let mailbox = MailboxId {
        user: owner.clone(),
        guid: Guid(row.get(at)?),
    };
    let place = BodyPlace {
        mailbox,
        uidvalidity: UidValidity(row.get(column(1))?),
        uid: Uid(row.get(column(2))?),
    };
    let size: Option<i64> = row.get(column(4))?;
    Ok(BodyName {
        place,
        guid: MessageGuid(row.get(column(3))?),
        size: size.map(i64::cast_unsigned),
    })
}
