//! Payloads ↔ bytes, with explicit numeric tags: the order of variants in an enum never decides (`schema/operations.md`).

use super::cursor::Cursor;
use super::packed::encode_into;
use super::{CodecError, attributes, check};
use crate::limits::PAYLOAD_BYTES_MAX;
use crate::op::{
    BaseStart, Disappearance, EpochStart, Guid, MailboxId, MailboxName, MailboxTxn, Modseq, Namespaces, Op, Payload,
    SourcePosition, StateChunk, TreeChange, TreeMailbox, Uid, UidValidity, Unselectable,
};

const EPOCH: u8 = 1;
const BASE: u8 = 2;
const BASE_END: u8 = 3;
const MAILBOX: u8 = 4;
const STATE: u8 = 5;
const TREE: u8 = 6;
const DIGEST: u8 = 7;
const TREE_DIGEST: u8 = 8;
const ATTRIBUTES: u8 = 9;
const MERGED: u8 = 10;

const OP_APPEND: u8 = 1;
const OP_FLAGS: u8 = 2;
const OP_KEYWORDS: u8 = 3;
const OP_EXPUNGE: u8 = 4;

/// Stands where a tree's mailbox has a name; else the number of its [`Disappearance`].
const NAMED: u8 = 0;

/// Stands where a tree says nothing of its namespaces; else the separator.
const NAMESPACES_AS_BEFORE: u8 = 0;

/// Stands behind a name that was unselectable and is no longer listed; else its [`Unselectable`] mark.
const LISTED_NO_MORE: u8 = 0;

/// A payload's bytes and the tag that says what they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedPayload {
    /// Payload kind, see `schema/frame.md`.
    pub kind: u8,
    /// The bytes, at most [`PAYLOAD_BYTES_MAX`].
    pub bytes: Vec<u8>,
}

/// Checks and writes a payload.
///
/// # Errors
/// It breaks a rule of [`check`], or is larger than [`PAYLOAD_BYTES_MAX`] (see [`super::split`]).
pub fn encode(payload: &Payload) -> Result<EncodedPayload, CodecError> {
    check::payload(payload)?;
    encode_checked(payload)
}

/// [`encode`] for a payload that was checked: all that can fail is that it is too large.
pub(super) fn encode_checked(payload: &Payload) -> Result<EncodedPayload, CodecError> {
    let mut bytes = Vec::new();
    put_payload(payload, &mut bytes)?;
    if bytes.len() > PAYLOAD_BYTES_MAX {
        return Err(CodecError::TooLarge {
            what: "payload",
            size: bytes.len(),
            most: PAYLOAD_BYTES_MAX,
        });
    }
    Ok(EncodedPayload {
        kind: kind_of(payload),
        bytes,
    })
}

/// Reads and checks the payload of a kind.
///
/// # Errors
/// An unknown kind, bytes that are no such payload, or a payload that breaks a rule of [`check`].
pub fn decode(kind: u8, bytes: &[u8]) -> Result<Payload, CodecError> {
    let mut from = Cursor::new("payload", bytes);
    let payload = match kind {
        EPOCH => Payload::Epoch(from.packed::<EpochStart>()?),
        BASE => Payload::Base(from.packed::<BaseStart>()?),
        BASE_END => Payload::BaseEnd(from.packed()?),
        MAILBOX => Payload::Mailbox(take_mailbox(&mut from)?),
        STATE => Payload::State(take_state(&mut from)?),
        TREE => Payload::Tree(take_tree(&mut from)?),
        DIGEST => Payload::Digest(from.packed()?),
        TREE_DIGEST => Payload::TreeDigest(from.packed()?),
        ATTRIBUTES => Payload::Attributes(attributes::take(&mut from)?),
        MERGED => Payload::Merged(from.packed()?),
        found => return Err(CodecError::Tag { what: "payload", found }),
    };
    from.end()?;
    check::payload(&payload)?;
    Ok(payload)
}

/// The numeric tag of a payload.
#[must_use]
pub fn kind_of(payload: &Payload) -> u8 {
    match payload {
        Payload::Epoch(_) => EPOCH,
        Payload::Base(_) => BASE,
        Payload::BaseEnd(_) => BASE_END,
        Payload::Mailbox(_) => MAILBOX,
        Payload::State(_) => STATE,
        Payload::Tree(_) => TREE,
        Payload::Digest(_) => DIGEST,
        Payload::TreeDigest(_) => TREE_DIGEST,
        Payload::Attributes(_) => ATTRIBUTES,
        Payload::Merged(_) => MERGED,
    }
}

/// True where the kind is that of a base: where a standby may start.
#[must_use]
pub fn is_base(kind: u8) -> bool {
    kind == BASE
}

fn put_payload(payload: &Payload, out: &mut Vec<u8>) -> Result<(), CodecError> {
    match payload {
        Payload::Epoch(epoch) => encode_into(epoch, out).map(drop),
        Payload::Base(base) => encode_into(base, out).map(drop),
        Payload::BaseEnd(lsn) => encode_into(lsn, out).map(drop),
        Payload::Mailbox(txn) => put_mailbox(txn, out),
        Payload::State(chunk) => put_state(chunk, out),
        Payload::Tree(change) => put_tree(change, out),
        Payload::Digest(digest) => encode_into(digest, out).map(drop),
        Payload::TreeDigest(digest) => encode_into(digest, out).map(drop),
        Payload::Attributes(change) => attributes::put(change, out),
        Payload::Merged(merged) => encode_into(merged, out).map(drop),
    }
}

/// What a transaction and a list both begin with.
type Numbers = (UidValidity, Uid, Modseq);

fn put_mailbox(txn: &MailboxTxn, out: &mut Vec<u8>) -> Result<(), CodecError> {
    encode_into(&txn.mailbox, out)?;
    encode_into(&(txn.uidvalidity, txn.uidnext, txn.highest_modseq), out)?;
    encode_into(&txn.position, out)?;
    encode_into(&txn.ops.len(), out)?;
    txn.ops.iter().try_for_each(|op| put_op(op, out))
}

fn take_mailbox(from: &mut Cursor<'_>) -> Result<MailboxTxn, CodecError> {
    let mailbox: MailboxId = from.packed()?;
    let (uidvalidity, uidnext, highest_modseq): Numbers = from.packed()?;
    let position: SourcePosition = from.packed()?;
    Ok(MailboxTxn {
        mailbox,
        uidvalidity,
        ops: take_list(from, take_op)?,
        uidnext,
        highest_modseq,
        position,
    })
}

pub(super) fn put_op(op: &Op, out: &mut Vec<u8>) -> Result<(), CodecError> {
    match op {
        Op::Append(append) => encode_into(&(OP_APPEND, append), out),
        Op::Flags(change) => encode_into(&(OP_FLAGS, change), out),
        Op::Keywords(change) => encode_into(&(OP_KEYWORDS, change), out),
        Op::Expunge(expunge) => encode_into(&(OP_EXPUNGE, expunge), out),
    }
    .map(drop)
}

fn take_op(from: &mut Cursor<'_>) -> Result<Op, CodecError> {
    Ok(match from.u8()? {
        OP_APPEND => Op::Append(from.packed()?),
        OP_FLAGS => Op::Flags(from.packed()?),
        OP_KEYWORDS => Op::Keywords(from.packed()?),
        OP_EXPUNGE => Op::Expunge(from.packed()?),
        found => {
            return Err(CodecError::Tag {
                what: "operation",
                found,
            });
        }
    })
}

fn put_state(chunk: &StateChunk, out: &mut Vec<u8>) -> Result<(), CodecError> {
    encode_into(&chunk.mailbox, out)?;
    encode_into(&(chunk.uidvalidity, chunk.uidnext, chunk.highest_modseq), out)?;
    encode_into(&chunk.position, out)?;
    encode_into(&chunk.lineage, out)?;
    encode_into(&chunk.messages, out).map(drop)
}

fn take_state(from: &mut Cursor<'_>) -> Result<StateChunk, CodecError> {
    let mailbox: MailboxId = from.packed()?;
    let (uidvalidity, uidnext, highest_modseq): Numbers = from.packed()?;
    let position: SourcePosition = from.packed()?;
    Ok(StateChunk {
        mailbox,
        uidvalidity,
        lineage: from.packed()?,
        messages: from.packed()?,
        uidnext,
        highest_modseq,
        position,
    })
}

fn put_tree(change: &TreeChange, out: &mut Vec<u8>) -> Result<(), CodecError> {
    encode_into(&(&change.user, change.complete), out)?;
    put_namespaces(change.namespaces.as_ref(), out)?;
    encode_into(&change.mailboxes.len(), out)?;
    for mailbox in &change.mailboxes {
        put_tree_mailbox(mailbox, out)?;
    }
    encode_into(&change.unselectable.len(), out)?;
    for (name, how) in &change.unselectable {
        put_unselectable(name, *how, out)?;
    }
    encode_into(&change.subscriptions, out).map(drop)
}

/// [`NAMESPACES_AS_BEFORE`], or the separator and the prefixes.
fn put_namespaces(namespaces: Option<&Namespaces>, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let Some(namespaces) = namespaces else {
        out.push(NAMESPACES_AS_BEFORE);
        return Ok(());
    };
    // What is no character of ASCII was refused by the check before.
    out.push(u8::try_from(namespaces.separator).unwrap_or(NAMESPACES_AS_BEFORE));
    encode_into(&namespaces.prefixes, out).map(drop)
}

fn take_namespaces(from: &mut Cursor<'_>) -> Result<Option<Namespaces>, CodecError> {
    match from.u8()? {
        NAMESPACES_AS_BEFORE => Ok(None),
        separator => Ok(Some(Namespaces {
            separator: char::from(separator),
            prefixes: from.packed()?,
        })),
    }
}

/// The name, then [`LISTED_NO_MORE`] or the mark.
pub(super) fn put_unselectable(
    name: &MailboxName,
    how: Option<Unselectable>,
    out: &mut Vec<u8>,
) -> Result<(), CodecError> {
    encode_into(name, out)?;
    out.extend(how.map_or_else(|| vec![LISTED_NO_MORE], Unselectable::to_mark));
    Ok(())
}

fn take_unselectable(from: &mut Cursor<'_>) -> Result<(MailboxName, Option<Unselectable>), CodecError> {
    let name = from.packed()?;
    let number = from.u8()?;
    if number == LISTED_NO_MORE {
        return Ok((name, None));
    }
    let mut mark = vec![number];
    if let Some(how) = Unselectable::from_mark(&mark) {
        return Ok((name, Some(how)));
    }
    mark.extend(from.array::<16>()?);
    let how = Unselectable::from_mark(&mark).ok_or(CodecError::Tag {
        what: "unselectable name",
        found: number,
    })?;
    Ok((name, Some(how)))
}

pub(super) fn put_tree_mailbox(mailbox: &TreeMailbox, out: &mut Vec<u8>) -> Result<(), CodecError> {
    match &mailbox.name {
        Ok(name) => encode_into(&(mailbox.guid, NAMED, name), out)?,
        Err(gone) => encode_into(&(mailbox.guid, gone), out)?,
    };
    encode_into(&mailbox.special_use, out).map(drop)
}

fn take_tree(from: &mut Cursor<'_>) -> Result<TreeChange, CodecError> {
    let (user, complete) = from.packed()?;
    let namespaces = take_namespaces(from)?;
    let mailboxes = take_list(from, take_tree_mailbox)?;
    let unselectable = take_list(from, take_unselectable)?;
    let subscriptions = from.packed()?;
    Ok(TreeChange {
        user,
        complete,
        namespaces,
        mailboxes,
        unselectable,
        subscriptions,
    })
}

fn take_tree_mailbox(from: &mut Cursor<'_>) -> Result<TreeMailbox, CodecError> {
    let guid: Guid = from.packed()?;
    let name = match from.u8()? {
        NAMED => Ok(from.packed::<MailboxName>()?),
        found => Err(Disappearance::try_from(found).map_err(|_| CodecError::Tag {
            what: "tree mailbox",
            found,
        })?),
    };
    Ok(TreeMailbox {
        guid,
        name,
        special_use: from.packed()?,
    })
}

pub(super) fn take_list<T>(
    from: &mut Cursor<'_>,
    take: fn(&mut Cursor<'_>) -> Result<T, CodecError>,
) -> Result<Vec<T>, CodecError> {
    let count: usize = from.packed()?;
    // Every item takes at least a byte: a longer count is a lie, and must not decide an allocation.
    if count > from.left() {
        return Err(CodecError::Short("list"));
    }
    (0..count).map(|_| take(from)).collect()
}
