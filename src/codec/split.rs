//! Payloads that don't fit one frame become several, which the caller puts into one run: durable and applied together.
//!
//! | payload | its parts |
//! |---|---|
//! | mailbox transaction | transactions with the operations in their order; an operation on very many ranges becomes several with some of the ranges each. Position, UIDNEXT and HIGHESTMODSEQ are those of the whole, in each part |
//! | list of a mailbox | lists that go on by ascending UID, all else equal |
//! | change of a tree | changes of the same user, one behind the other. Only the last part of a *complete* tree says `complete`: the parts accumulate, and [`TreeChange::joined`] makes one change of them again before it is applied (a swap of names may lie across a border) |
//! | anything else | never too large |
//!
//! So in a run, tree changes of one user that follow each other directly are one change. [`encode_all`] refuses two of
//! them where that would change their meaning, which is where one of them is complete.

use super::CodecError;
use super::packed::encode_into;
use super::payload::{self, EncodedPayload};
use crate::limits::{PAYLOAD_BYTES_MAX, RUN_PARTS_MAX, SPLIT_RANGES_MAX};
use crate::op::{Expunge, FlagChange, KeywordChange, MailboxTxn, Op, Payload, StateChunk, TreeChange, UidRange};
use serde::Serialize;

/// Room for the length of a list, which grows with it.
const LIST_LENGTH_BYTES: usize = 10;

/// The bytes of every payload in order, each small enough for a frame. More than one means: a run.
///
/// # Errors
/// A payload breaks a rule of [`super::check`], a single item of it is larger than a frame, there are more parts than
/// a run may have, or two tree changes of a user would be taken for one.
pub fn encode_all(payloads: &[Payload]) -> Result<Vec<EncodedPayload>, CodecError> {
    refuse_ambiguous_trees(payloads)?;
    let mut encoded = Vec::with_capacity(payloads.len());
    for payload in payloads {
        match payload::encode(payload) {
            Err(CodecError::TooLarge { what: "payload", .. }) => {
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

fn refuse_ambiguous_trees(payloads: &[Payload]) -> Result<(), CodecError> {
    let ambiguous = payloads.windows(2).any(|pair| match pair {
        [Payload::Tree(a), Payload::Tree(b)] => a.user == b.user && (a.complete || b.complete),
        _ => false,
    });
    if ambiguous {
        return Err(CodecError::invalid(
            "run",
            "a complete tree beside another change of the same tree",
        ));
    }
    Ok(())
}

/// A payload in pieces that fit.
fn parts(payload: &Payload) -> Result<Vec<Payload>, CodecError> {
    match payload {
        Payload::Mailbox(txn) => mailbox_parts(txn),
        Payload::State(chunk) => state_parts(chunk),
        Payload::Tree(change) => tree_parts(change),
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
    for mailboxes in grouped(&change.mailboxes, room, size)? {
        parts.push(TreeChange {
            mailboxes,
            ..around.clone()
        });
    }
    for noselect in grouped(&change.noselect, room, packed_size)? {
        parts.push(TreeChange {
            noselect,
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
