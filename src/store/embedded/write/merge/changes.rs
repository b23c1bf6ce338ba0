//! What a tail changed or expunged of messages from before it.

use super::super::super::mailbox::Mailbox;
use super::super::super::merged;
use super::super::append::bound_keywords;
use super::super::built::{Stop, refuse};
use super::super::lookup::selected;
use super::super::txn::Txn;
use super::{InMailbox, Made};
use crate::limits::TAIL_EXPUNGES_MAX;
use crate::op::{Expunge, FlagChange, KeywordChange, KeywordVerb, MessageGuid, Modseq, Op, Uid, UidRange};
use crate::role::merge::{self, ChangeFate, ExpungeFate};
use crate::store::change::Reason;
use rusqlite::{Connection, params};
use std::collections::{BTreeMap, BTreeSet};

/// The tail's own mailbox, as it is here; none: it is not there, or not the same list any more.
fn own(tx: &Connection, tail: &InMailbox<'_>) -> Result<Option<Mailbox>, Stop> {
    match Mailbox::load(tx, tail.is)?.filter(|mailbox| mailbox.named) {
        Some(mailbox) if mailbox.uidvalidity == tail.uidvalidity => Ok(Some(selected(tx, tail.is)?)),
        _ => Ok(None),
    }
}

/// GUID, and MODSEQ of the last change, of the messages in these ranges.
fn there(tx: &Connection, mailbox: &Mailbox, uids: &[UidRange]) -> Result<BTreeMap<Uid, (MessageGuid, Modseq)>, Stop> {
    let mut found = BTreeMap::new();
    // not the MODSEQ that clients are told: an epoch raises that of all
    let mut statement =
        tx.prepare_cached("SELECT uid, guid, modseq FROM messages WHERE mailbox = ?1 AND uid BETWEEN ?2 AND ?3")?;
    for range in uids {
        let mut rows = statement.query(params![mailbox.id, range.first.0, range.last.0])?;
        while let Some(row) = rows.next()? {
            let modseq = Modseq(row.get::<_, i64>(2)?.cast_unsigned());
            found.insert(Uid(row.get(0)?), (MessageGuid(row.get(1)?), modseq));
        }
    }
    Ok(found)
}

/// Changes of flags and keywords, in their order, on messages that nothing else changed since the fork.
pub(super) fn change(tx: &Connection, tail: &InMailbox<'_>, ops: &[Op]) -> Result<Made, Stop> {
    let mut made = Made::default();
    let Some(mailbox) = own(tx, tail)? else { return Ok(made) };
    let all: Vec<UidRange> = ops.iter().flat_map(Op::uids).copied().collect();
    let before = tail.piece.item.before;
    let (mut open, mut kept) = (BTreeSet::new(), 0u64);
    for (uid, (_, modseq)) in there(tx, &mailbox, &all)? {
        match merge::change(Some(modseq), before) {
            ChangeFate::Made => drop(open.insert(uid)),
            ChangeFate::Kept => kept = kept.saturating_add(1),
            ChangeFate::Gone => {}
        }
    }
    made.tally.change(ChangeFate::Kept, kept);
    let count = u64::try_from(open.len()).unwrap_or(u64::MAX);
    made.tally.change(ChangeFate::Made, count);
    let mut txn = Txn::on(&mailbox);
    for op in ops {
        let within = |uid: &&Uid| op.uids().iter().any(|range| range.contains(**uid));
        let uids: Vec<Uid> = open.iter().filter(within).copied().collect();
        if uids.is_empty() {
            continue;
        }
        let (uids, modseq) = (UidRange::covering(&uids), txn.modseq());
        match op {
            Op::Flags(change) => txn.push(Op::Flags(FlagChange {
                uids,
                modseq,
                ..change.clone()
            })),
            Op::Keywords(change) => {
                if matches!(change.verb, KeywordVerb::Add | KeywordVerb::Replace) {
                    bound_keywords(&mailbox, std::iter::once(&change.keyword))?;
                }
                txn.push(Op::Keywords(KeywordChange {
                    uids,
                    modseq,
                    ..change.clone()
                }));
            }
            Op::Append(_) | Op::Expunge(_) => {}
        }
    }
    made.payloads.extend(txn.payload());
    Ok(made)
}

/// True where the user has a message of that GUID beside those that go: one that was moved within its mailbox was not
/// brought a second time.
fn stays(
    tx: &Connection,
    mailbox: &Mailbox,
    guid: &MessageGuid,
    going: &BTreeMap<Uid, (MessageGuid, Modseq)>,
) -> Result<bool, Stop> {
    let mut statement = tx.prepare_cached("SELECT mailbox, uid FROM messages WHERE user = ?1 AND guid = ?2")?;
    let mut rows = statement.query(params![mailbox.user, guid.0])?;
    while let Some(row) = rows.next()? {
        let (place, uid) = (row.get::<_, i64>(0)?, Uid(row.get(1)?));
        if place != mailbox.id || !going.contains_key(&uid) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Expunges: what went elsewhere leaves, what an operator must decide of is noted by an expunge that nobody asked for.
pub(super) fn expunge(tx: &Connection, tail: &InMailbox<'_>, ops: &[Op]) -> Result<Made, Stop> {
    let mut made = Made::default();
    let Some(mailbox) = own(tx, tail)? else { return Ok(made) };
    let all: Vec<UidRange> = ops.iter().flat_map(Op::uids).copied().collect();
    let there = there(tx, &mailbox, &all)?;
    if there.len() > TAIL_EXPUNGES_MAX {
        return refuse(Reason::Limit, "the tail expunges too many messages at once");
    }
    let (mut moved, mut quarantined) = (Vec::new(), Vec::new());
    for (uid, (guid, modseq)) in &there {
        let settled = tail.settled().map_or(Ok(false), |of| of.is_expunge_settled(tx, *uid))?;
        let brought =
            !guid.is_unknown() && merged::brought(tx, mailbox.user, guid)? && stays(tx, &mailbox, guid, &there)?;
        let fate = merge::expunge(Some(*modseq), tail.piece.item.before, brought, settled);
        made.tally.expunge(fate, 1);
        match fate {
            ExpungeFate::Moved => moved.push(*uid),
            ExpungeFate::Quarantined => quarantined.push(*uid),
            ExpungeFate::Gone => {}
        }
    }
    if moved.is_empty() && quarantined.is_empty() {
        return Ok(made);
    }
    let mut txn = Txn::on(&mailbox);
    for (uids, requested) in [(moved, true), (quarantined, false)] {
        if !uids.is_empty() {
            txn.push(Op::Expunge(Expunge {
                uids: UidRange::covering(&uids),
                requested,
                modseq: txn.modseq(),
            }));
        }
    }
    made.payloads.extend(txn.payload());
    let mut key = tail.key();
    key.expunged = all;
    made.key = Some(key);
    Ok(made)
}
