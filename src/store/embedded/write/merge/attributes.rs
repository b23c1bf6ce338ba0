//! Attributes that a tail set.

use super::super::super::mailbox::Mailbox;
use super::super::super::{attributes, bodies};
use super::super::built::{NewBody, Octets, Stop};
use super::Made;
use crate::limits::ATTRIBUTES_MAX;
use crate::op::{
    AttributeFingerprint, AttributeValue, Attributes, AttributesChange, BodyHash, BodyName, MailboxId, Payload,
};
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Sets them where there are none of their names; others that are there stay.
pub(super) fn set(
    tx: &Connection,
    change: &AttributesChange,
    octets: &BTreeMap<BodyName, Option<Arc<[u8]>>>,
) -> Result<Made, Stop> {
    let mut made = Made::default();
    let holder = change.scope.mailbox.map(|guid| MailboxId {
        user: change.user.clone(),
        guid,
    });
    if let Some(is) = holder
        && Mailbox::load(tx, &is)?.is_none()
    {
        return Ok(made);
    }
    let mut entries = match bodies::known_user(tx, &change.user)? {
        Some(user) => attributes::entries(tx, user, change.scope)?,
        None => Attributes::new(),
    };
    let mut new = Vec::new();
    for (name, value) in change
        .entries
        .iter()
        .filter_map(|(name, value)| Some((name, value.as_ref()?)))
    {
        let there = entries.get(name);
        if there == Some(value) {
            continue;
        }
        let full = entries.len() >= ATTRIBUTES_MAX;
        if there.is_some() || full || !have(tx, value.body(&change.user, change.scope), octets, &mut made)? {
            made.tally.attributes_kept = made.tally.attributes_kept.saturating_add(1);
            continue;
        }
        entries.insert(name.clone(), value.clone());
        new.push((name.clone(), Some(AttributeValue::clone(value))));
    }
    made.tally.attributes = u64::try_from(new.len()).unwrap_or(u64::MAX);
    if !new.is_empty() {
        made.payloads.push(Payload::Attributes(AttributesChange {
            entries: new,
            complete: false,
            holders: None,
            fingerprint: AttributeFingerprint::of(&entries),
            ..change.clone()
        }));
    }
    Ok(made)
}

/// True where the octets of a long value are here or came with it; else they are asked for, once.
fn have(
    tx: &Connection,
    name: Option<BodyName>,
    octets: &BTreeMap<BodyName, Option<Arc<[u8]>>>,
    made: &mut Made,
) -> Result<bool, Stop> {
    let Some(name) = name else { return Ok(true) };
    let Some(hash) = crate::op::value_hash(&name.guid) else {
        return Ok(false);
    };
    if bodies::by_hash(tx, &hash)?.is_some() {
        return Ok(true);
    }
    match octets.get(&name) {
        None => made.lacks.push(name),
        Some(Some(octets)) if BodyHash(*blake3::hash(octets).as_bytes()) == hash => {
            made.bodies.push(NewBody {
                name,
                octets: Octets::New(Arc::clone(octets)),
            });
            return Ok(true);
        }
        Some(_) => {}
    }
    Ok(false)
}
