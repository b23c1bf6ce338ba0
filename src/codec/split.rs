//! Payloads that don't fit one frame become several, which the caller puts into one run: durable and applied together.
//!
//! | payload | its parts |
//! |---|---|
//! | mailbox transaction | transactions with the operations in their order; an operation on very many ranges becomes several with some of the ranges each. Position, UIDNEXT and HIGHESTMODSEQ are those of the whole, in each part |
//! | list of a mailbox | lists that go on by ascending UID, all else equal |
//! | change of a tree | changes of the same user, one behind the other. Only the last part of a *complete* tree says `complete` |
//! | attributes | changes of the same scope, one behind the other. Only the last part of a *complete* one says `complete` |
//! | anything else | never too large |
//!
//! The reading side puts them together again before it applies them ([`crate::op::whole()`]): a swap of names may lie
//! across a border. So in a run, what follows directly on its like (same mailbox, same user, same scope) is a part of it, and
//! [`encode_all`] refuses neighbours that would be taken for parts and are none.

use super::packed::encode_into;
use super::payload::{self, EncodedPayload};
use super::{CodecError, attributes, check};
use crate::limits::{PAYLOAD_BYTES_MAX, RUN_PARTS_MAX, SPLIT_RANGES_MAX};
use crate::op::{
    AttributesChange, Expunge, FlagChange, KeywordChange, MailboxTxn, Op, Payload, StateChunk, TreeChange, UidRange,
};
use serde::Serialize;

/// Room for the length of a list, which grows with it.
const LIST_LENGTH_BYTES: usize = 10;

/// The bytes of every payload in order, each small enough for a frame. More than one means: a run.
///
/// # Errors
/// A payload breaks a rule of [`super::check`], a single item of it is larger than a frame, there are more parts than
/// a run may have, or neighbours would be taken for parts of one thing.
pub fn encode_all(payloads: &[Payload]) -> Result<Vec<EncodedPayload>, CodecError> {
    refuse_ambiguous(payloads)?;
    let mut encoded = Vec::with_capacity(payloads.len());
    for payload in payloads {
        check::payload(payload)?;
        match payload::encode_checked(payload) {
            Err(CodecError::TooLarge { .. }) => {
                for part in parts(payload)? {
                    encoded.push(payload::encode(&part)?);
                }
            }
            one => encoded.push(one?),
        }
    }
    let most = RUN_PARTS_MAX as usize;
    if encoded.len() > most {
        return Err(CodecError::TooLarge {
            what: "run",
            size: encoded.len(),
            most,
        });
    }
    Ok(encoded)
}

fn refuse_ambiguous(payloads: &[Payload]) -> Result<(), CodecError> {
    let ambiguous = payloads.windows(2).any(|pair| match pair {
        [Payload::Tree(a), Payload::Tree(b)] => a.user == b.user && (a.complete || b.complete),
        [Payload::Attributes(a), Payload::Attributes(b)] => {
            a.user == b.user && a.scope == b.scope && (a.complete || b.complete)
        }
        [Payload::State(a), Payload::State(b)] => a.mailbox == b.mailbox && !goes_on(a, b),
        _ => false,
    });
    if ambiguous {
        let why = "two trees of one user, two lists of one mailbox, or all of one scope's attributes twice, would be taken for parts of one";
        return Err(CodecError::invalid("run", why));
    }
    Ok(())
}

/// True where the second list can be a part of the same list as the first one.
fn goes_on(first: &StateChunk, second: &StateChunk) -> bool {
    let last = first.messages.last().map(|message| message.uid);
    let next = second.messages.first().map(|message| message.uid);
    first.uidvalidity == second.uidvalidity && first.lineage == second.lineage && (next.is_none() || last < next)
}

/// A payload in pieces that fit.
fn parts(payload: &Payload) -> Result<Vec<Payload>, CodecError> {
    match payload {
        Payload::Mailbox(txn) => mailbox_parts(txn),
        Payload::State(chunk) => state_parts(chunk),
        Payload::Tree(change) => tree_parts(change),
        Payload::Attributes(change) => attributes_parts(change),
        other => Err(CodecError::invalid(other.kind(), "is too large and can't be split")),
    }
}

fn mailbox_parts(txn: &MailboxTxn) -> Result<Vec<Payload>, CodecError> {
    let around = MailboxTxn {
        ops: Vec::new(),
        ..txn.clone()
    };
    let room = room_beside(&Payload::Mailbox(around.clone()))?;
    let ops: Vec<Op> = txn.ops.iter().flat_map(narrow).collect();
    let size = |op: &Op| {
        let mut bytes = Vec::new();
        payload::put_op(op, &mut bytes).map(|()| bytes.len())
    };
    let part = |ops| Payload::Mailbox(MailboxTxn { ops, ..around.clone() });
    Ok(grouped(&ops, room, size)?.into_iter().map(part).collect())
}

/// An operation on many ranges as operations on fewer: they are independent of each other.
fn narrow(op: &Op) -> Vec<Op> {
    fn each(uids: &[UidRange], make: impl Fn(Vec<UidRange>) -> Op) -> Vec<Op> {
        uids.chunks(SPLIT_RANGES_MAX).map(|some| make(some.to_vec())).collect()
    }
    match op {
        Op::Append(_) => vec![op.clone()],
        Op::Flags(change) => each(&change.uids, |uids| Op::Flags(FlagChange { uids, ..change.clone() })),
        Op::Keywords(change) => each(&change.uids, |uids| {
            Op::Keywords(KeywordChange { uids, ..change.clone() })
        }),
        Op::Expunge(expunge) => each(&expunge.uids, |uids| {
            Op::Expunge(Expunge {
                uids,
                ..expunge.clone()
            })
        }),
    }
}

fn state_parts(chunk: &StateChunk) -> Result<Vec<Payload>, CodecError> {
    let around = StateChunk {
        messages: Vec::new(),
        ..chunk.clone()
    };
    let room = room_beside(&Payload::State(around.clone()))?;
    let part = |messages| {
        Payload::State(StateChunk {
            messages,
            ..around.clone()
        })
    };
    Ok(grouped(&chunk.messages, room, packed_size)?
        .into_iter()
        .map(part)
        .collect())
}

fn tree_parts(change: &TreeChange) -> Result<Vec<Payload>, CodecError> {
    let around = TreeChange {
        user: change.user.clone(),
        ..TreeChange::default()
    };
    let room = room_beside(&Payload::Tree(around.clone()))?;
    let size = |mailbox: &_| {
        let mut bytes = Vec::new();
        payload::put_tree_mailbox(mailbox, &mut bytes).map(|()| bytes.len())
    };
    let mut parts = Vec::new();
    parts.extend(change.namespaces.clone().map(|namespaces| TreeChange {
        namespaces: Some(namespaces),
        ..around.clone()
    }));
    for mailboxes in grouped(&change.mailboxes, room, size)? {
        parts.push(TreeChange {
            mailboxes,
            ..around.clone()
        });
    }
    let size = |(name, how): &_| {
        let mut bytes = Vec::new();
        payload::put_unselectable(name, *how, &mut bytes).map(|()| bytes.len())
    };
    for unselectable in grouped(&change.unselectable, room, size)? {
        parts.push(TreeChange {
            unselectable,
            ..around.clone()
        });
    }
    for subscriptions in grouped(&change.subscriptions, room, packed_size)? {
        parts.push(TreeChange {
            subscriptions,
            ..around.clone()
        });
    }
    if let Some(last) = parts.last_mut() {
        last.complete = change.complete;
    }
    Ok(parts.into_iter().map(Payload::Tree).collect())
}

fn attributes_parts(change: &AttributesChange) -> Result<Vec<Payload>, CodecError> {
    let around = AttributesChange {
        entries: Vec::new(),
        complete: false,
        holders: None,
        ..change.clone()
    };
    let fullest = AttributesChange {
        holders: change.holders.clone(),
        ..around.clone()
    };
    let room = room_beside(&Payload::Attributes(fullest))?;
    let size = |entry: &_| {
        let mut bytes = Vec::new();
        attributes::put_entry(entry, &mut bytes).map(|()| bytes.len())
    };
    let groups = grouped(&change.entries, room, size)?;
    let mut parts: Vec<AttributesChange> = groups
        .into_iter()
        .map(|entries| AttributesChange {
            entries,
            ..around.clone()
        })
        .collect();
    if let Some(last) = parts.last_mut() {
        last.complete = change.complete;
        last.holders.clone_from(&change.holders);
    }
    Ok(parts.into_iter().map(Payload::Attributes).collect())
}

/// Bytes that the items of a payload may take, given the payload without them.
fn room_beside(around: &Payload) -> Result<usize, CodecError> {
    let taken = payload::encode(around)?.bytes.len().saturating_add(LIST_LENGTH_BYTES);
    Ok(PAYLOAD_BYTES_MAX.saturating_sub(taken))
}

fn packed_size<T: Serialize>(item: &T) -> Result<usize, CodecError> {
    encode_into(item, &mut Vec::new())
}

/// `items` in order, in as few groups as fit `room` bytes each.
fn grouped<T: Clone>(
    items: &[T],
    room: usize,
    size: impl Fn(&T) -> Result<usize, CodecError>,
) -> Result<Vec<Vec<T>>, CodecError> {
    let mut groups: Vec<Vec<T>> = Vec::new();
    let mut left = 0;
    for item in items {
        let size = size(item)?;
        if size > room {
            return Err(CodecError::TooLarge {
                what: "single item of a run",
                size,
                most: room,
            });
        }
        match groups.last_mut() {
            Some(group) if size <= left => group.push(item.clone()),
            _ => {
                groups.push(vec![item.clone()]);
                left = room;
            }
        }
        left -= size;
    }
    Ok(groups)
}
