//! Attributes that must be told: those that are other ones than were acknowledged, and those that are no longer here.

use super::super::super::dovecot::dsync::{AttributeDelta, MailboxDelta, Node, Owner};
use super::super::super::target::TargetError;
use super::super::bodies;
use super::super::packs::Location;
use super::super::store::Store;
use super::delta::Telling;
use crate::op::{AttributeKind, BodyHash, Guid, MailboxName};
use rusqlite::{Connection, Row, params};
use std::collections::BTreeMap;

/// An attribute that is told, as it is noted once it was acknowledged.
#[derive(Clone, Debug)]
pub(super) struct ToldAttribute {
    /// The mailbox whose acknowledgement counts for it.
    pub(super) travels_with: Guid,
    /// As the tables name the mailbox: its GUID, or nothing for the user's own.
    place: Vec<u8>,
    kind: AttributeKind,
    name: String,
    /// None: it is unset.
    hash: Option<BodyHash>,
}

impl ToldAttribute {
    /// Notes that it was acknowledged.
    pub(super) fn note(&self, tx: &Connection, user: i64) -> rusqlite::Result<()> {
        let kind = u8::from(self.kind);
        match &self.hash {
            Some(hash) => tx
                .prepare_cached("INSERT OR REPLACE INTO told_attributes (user, mailbox, kind, name, hash) VALUES (?1, ?2, ?3, ?4, ?5)")?
                .execute(params![user, self.place, kind, self.name, hash.0])?,
            None => tx
                .prepare_cached("DELETE FROM told_attributes WHERE user = ?1 AND mailbox = ?2 AND kind = ?3 AND name = ?4")?
                .execute(params![user, self.place, kind, self.name])?,
        };
        Ok(())
    }
}

/// One that must be told; its octets may lie in a pack.
pub(super) struct Changed {
    told: ToldAttribute,
    owner: Owner,
    value: Option<Vec<u8>>,
    lies: Option<Location>,
}

/// Attributes that are set and were not told so, then those that were told and are unset, then rights that a mailbox which
/// is made now lacks: a Dovecot gives it those that its parent has there. Of mailboxes in the tree, and of
/// the user, whose own travel with INBOX. A value that is not here yet is left for later.
pub(super) fn changed(tx: &Connection, user: i64, tree: &[Node]) -> Result<Vec<Changed>, TargetError> {
    let named: BTreeMap<&MailboxName, Guid> = tree
        .iter()
        .filter_map(|node| Some((&node.name, node.mailbox?.guid)))
        .collect();
    let inbox = named.get(&MailboxName::inbox()).copied();
    let guids: std::collections::BTreeSet<Guid> = named.values().copied().collect();
    let mut found = Vec::new();
    let mut statement = tx.prepare_cached(
        "SELECT a.mailbox, a.kind, a.name, a.hash, a.value FROM attributes a
         LEFT JOIN told_attributes t
         ON t.user = a.user AND t.mailbox = a.mailbox AND t.kind = a.kind AND t.name = a.name
         WHERE a.user = ?1 AND (t.hash IS NULL OR t.hash <> a.hash)
         UNION ALL
         SELECT t.mailbox, t.kind, t.name, NULL, NULL FROM told_attributes t
         WHERE t.user = ?1 AND NOT EXISTS (SELECT 1 FROM attributes a
             WHERE a.user = t.user AND a.mailbox = t.mailbox AND a.kind = t.kind AND a.name = t.name)
         UNION ALL
         SELECT m.guid, ?2, n.name, NULL, NULL FROM mailboxes m
         JOIN (SELECT name FROM attributes WHERE user = ?1 AND kind = ?2
               UNION SELECT name FROM told_attributes WHERE user = ?1 AND kind = ?2) n
         WHERE m.user = ?1 AND EXISTS (SELECT 1 FROM told_users WHERE user = ?1)
           AND NOT EXISTS (SELECT 1 FROM told_mailboxes t WHERE t.user = ?1 AND t.guid = m.guid)
           AND NOT EXISTS (SELECT 1 FROM attributes a
               WHERE a.user = ?1 AND a.mailbox = m.guid AND a.kind = ?2 AND a.name = n.name)
           AND NOT EXISTS (SELECT 1 FROM told_attributes t
               WHERE t.user = ?1 AND t.mailbox = m.guid AND t.kind = ?2 AND t.name = n.name)",
    )?;
    let mut rows = statement.query(params![user, u8::from(AttributeKind::Acl)])?;
    while let Some(row) = rows.next()? {
        let place: Vec<u8> = row.get(0)?;
        let own = place.as_slice().try_into().ok().map(Guid);
        let (owner, travels_with) = match own {
            Some(guid) => (Owner::Mailbox, Some(guid).filter(|guid| guids.contains(guid))),
            None => (Owner::User, inbox),
        };
        let Some(travels_with) = travels_with else { continue };
        found.extend(read(tx, row, place, owner, travels_with)?);
    }
    Ok(found)
}

fn read(
    tx: &Connection,
    row: &Row<'_>,
    place: Vec<u8>,
    owner: Owner,
    travels_with: Guid,
) -> Result<Option<Changed>, TargetError> {
    let hash = row.get::<_, Option<[u8; 32]>>(3)?.map(BodyHash);
    let value: Option<Vec<u8>> = row.get(4)?;
    let lies = match (&hash, &value) {
        (Some(hash), None) => match bodies::by_hash(tx, hash)? {
            Some((_, location)) => Some(location),
            None => return Ok(None),
        },
        _ => None,
    };
    Ok(Some(Changed {
        told: ToldAttribute {
            travels_with,
            place,
            kind: AttributeKind::try_from(row.get::<_, u8>(1)?).map_err(TargetError::Halt)?,
            name: row.get(2)?,
            hash,
        },
        owner,
        value,
        lies,
    }))
}

/// Adds them to the mailboxes that they travel with; those of a mailbox that is told later wait for it.
pub(super) fn add(store: &Store, telling: &mut Telling, found: Vec<Changed>) -> Result<(), TargetError> {
    for Changed {
        told,
        owner,
        value,
        lies,
    } in found
    {
        let value = match (value, lies, &told.hash) {
            (None, Some(location), Some(hash)) => {
                let octets = store.packs.read(&location, hash).map_err(TargetError::Halt)?;
                Some(octets)
            }
            (value, ..) => value,
        };
        let attribute = AttributeDelta {
            owner,
            kind: told.kind,
            entry: told.name.clone(),
            value,
        };
        let Some(mailbox) = carrier(telling, told.travels_with) else {
            continue;
        };
        mailbox.attributes.push(attribute);
        telling.attributes.push(told);
    }
    Ok(())
}

/// The mailbox's part of the delta; made, without other changes, where it stands as it was told.
fn carrier(telling: &mut Telling, guid: Guid) -> Option<&mut MailboxDelta> {
    let known = telling.delta.mailboxes.iter().position(|mailbox| mailbox.guid == guid);
    if let Some(place) = known {
        return telling.delta.mailboxes.get_mut(place);
    }
    let state = *telling.delta.acknowledged.get(&guid)?;
    let mut nodes = telling.delta.tree.iter().filter_map(|node| node.mailbox);
    let node = nodes.find(|node| node.guid == guid)?;
    if node.uid_next.0 != state.uid.0.saturating_add(1) {
        return None;
    }
    let mark = telling.known.get(&guid)?.clone();
    telling.delta.mailboxes.push(MailboxDelta {
        guid,
        uid_validity: state.uid_validity,
        uid_next: node.uid_next,
        highest_modseq: state.modseq,
        messages: state.messages,
        since: Some(state),
        ..MailboxDelta::default()
    });
    telling.marks.insert(guid, mark);
    telling.delta.mailboxes.last_mut()
}
