//! Changes of attributes ↔ bytes (`schema/operations.md`).

use super::CodecError;
use super::cursor::Cursor;
use super::packed::encode_into;
use crate::op::{AttributeKind, AttributeScope, AttributeValue, AttributesChange};

/// What stands behind an entry's name.
const UNSET: u8 = 0;
const HERE: u8 = 1;
const BODY: u8 = 2;

pub(super) fn put(change: &AttributesChange, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let AttributeScope { mailbox, kind } = change.scope;
    encode_into(&(&change.user, mailbox, u8::from(kind), change.complete), out)?;
    encode_into(&(change.fingerprint, &change.holders), out)?;
    encode_into(&change.entries.len(), out)?;
    change.entries.iter().try_for_each(|entry| put_entry(entry, out))
}

pub(super) fn put_entry((name, value): &(String, Option<AttributeValue>), out: &mut Vec<u8>) -> Result<(), CodecError> {
    match value {
        None => encode_into(&(name, UNSET), out),
        Some(AttributeValue::Here(octets)) => encode_into(&(name, HERE, octets), out),
        Some(AttributeValue::Body { hash, size }) => encode_into(&(name, BODY, hash, size), out),
    }
    .map(drop)
}

pub(super) fn take(from: &mut Cursor<'_>) -> Result<AttributesChange, CodecError> {
    let (user, mailbox) = from.packed()?;
    let kind = from.u8()?;
    let kind = AttributeKind::try_from(kind).map_err(|_| CodecError::Tag {
        what: "kind of attribute",
        found: kind,
    })?;
    let complete = from.packed()?;
    let (fingerprint, holders) = from.packed()?;
    Ok(AttributesChange {
        user,
        scope: AttributeScope { mailbox, kind },
        complete,
        fingerprint,
        holders,
        entries: super::payload::take_list(from, take_entry)?,
    })
}

fn take_entry(from: &mut Cursor<'_>) -> Result<(String, Option<AttributeValue>), CodecError> {
    let name = from.packed()?;
    let value = match from.u8()? {
        UNSET => None,
        HERE => Some(AttributeValue::Here(from.packed()?)),
        BODY => {
            let (hash, size) = from.packed()?;
            Some(AttributeValue::Body { hash, size })
        }
        found => {
            return Err(CodecError::Tag {
                what: "value of an attribute",
                found,
            });
        }
    };
    Ok((name, value))
}
