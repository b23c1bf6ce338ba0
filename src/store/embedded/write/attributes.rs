//! SETMETADATA, SETACL, DELETEACL.

use super::super::super::change::{Changed, Reason};
use super::super::{attributes, bodies};
use super::built::{Built, NewBody, Octets, Stop, refuse};
use super::lookup::named;
use crate::limits::{ATTRIBUTE_BYTES_MAX, ATTRIBUTE_NAME_BYTES_MAX, ATTRIBUTES_MAX};
use crate::op::{
    AttributeFingerprint, AttributeScope, AttributeValue, Attributes, AttributesChange, MailboxName, Payload, UserName,
};
use rusqlite::Connection;

/// Entries with their values; none: removed. Those that stay as they are don't travel.
pub(super) fn set(
    tx: &Connection,
    user: &UserName,
    mailbox: Option<&MailboxName>,
    scope: AttributeScope,
    entries: &[(String, Option<Vec<u8>>)],
) -> Result<Built, Stop> {
    let mailbox = match mailbox {
        None => None,
        Some(name) => match named(tx, user, name)? {
            Some(mailbox) => Some(mailbox.is.guid),
            None => return refuse(Reason::Nonexistent, "there is no such mailbox"),
        },
    };
    let scope = AttributeScope { mailbox, ..scope };
    let before = match bodies::known_user(tx, user)? {
        Some(user) => attributes::entries(tx, user, scope)?,
        None => Attributes::new(),
    };
    let (mut after, mut bodies) = (before.clone(), Vec::new());
    for (name, octets) in entries {
        check(name, octets.as_deref())?;
        let Some(octets) = octets else {
            after.remove(name);
            continue;
        };
        let value = AttributeValue::of(octets);
        if let Some(name) = value.body(user, scope) {
            let octets = Octets::New(octets.as_slice().into());
            bodies.push(NewBody { name, octets });
        }
        after.insert(name.clone(), value);
    }
    if after.len() > ATTRIBUTES_MAX {
        return refuse(Reason::Limit, "there are too many of them");
    }
    let mut changed: Vec<(String, Option<AttributeValue>)> = Vec::new();
    changed.extend(
        before
            .keys()
            .filter(|name| !after.contains_key(*name))
            .map(|name| (name.clone(), None)),
    );
    let new = after.iter().filter(|(name, value)| before.get(*name) != Some(value));
    changed.extend(new.map(|(name, value)| (name.clone(), Some(value.clone()))));
    if changed.is_empty() {
        return Ok(Built::nothing(Changed::Done(None)));
    }
    let payload = Payload::Attributes(AttributesChange {
        user: user.clone(),
        scope,
        complete: false,
        entries: changed,
        fingerprint: AttributeFingerprint::of(&after),
        holders: None,
    });
    Ok(Built {
        bodies,
        ..Built::of(vec![payload], Changed::Done(None))
    })
}

fn check(name: &str, octets: Option<&[u8]>) -> Result<(), Stop> {
    let bytes = octets.map_or(0, <[u8]>::len);
    if name.is_empty() || name.len() > ATTRIBUTE_NAME_BYTES_MAX {
        return refuse(Reason::Cannot, "no entry has such a name");
    }
    if u64::try_from(bytes).is_ok_and(|bytes| bytes <= ATTRIBUTE_BYTES_MAX) {
        return Ok(());
    }
    refuse(Reason::Limit, "the value is too large")
}
