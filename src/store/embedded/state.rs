//! Applying a mailbox's complete list. What it means is said by [`crate::op::model`].

use super::super::target::{Frame, GoneAnswers, TargetError};
use super::mailbox::{Leaves, Mailbox, Stored};
use super::{quarantine, renumbering, transaction};
use crate::limits::GONE_QUESTION_MESSAGES_MAX;
use crate::op::{Append, GoneQuestion, Lineage, MessageGuid, Modseq, StateChunk, Uid, UidValidity};
use rusqlite::{Connection, params};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// Applies a whole list; one that contradicts the copy holds the mailbox. Either way it makes void what was diverted.
pub(super) fn apply(
    tx: &Connection,
    state: &StateChunk,
    frames: &[Frame],
    answers: &GoneAnswers,
) -> Result<(), TargetError> {
    let mut mailbox = Mailbox::load_or_create(tx, &state.mailbox)?;
    let ours = mailbox.all(tx)?;
    quarantine::void_diverted(tx, mailbox.id)?;
    if state.lineage == Lineage::Believed {
        return believe(tx, state);
    }
    if let Some(why) = contradiction(tx, &mailbox, &ours, state)? {
        return transaction::hold(tx, &mut mailbox, why, frames);
    }
    mailbox.held = None;
    if mailbox.uidvalidity == state.uidvalidity {
        correct(tx, &mut mailbox, &ours, state, answers)?;
    } else {
        replace(tx, &mut mailbox, &ours, state)?;
    }
    mailbox.save(tx)?;
    renumbering::into(tx, &mailbox.is)
}

/// What must be asked of the source before the list can be applied.
pub(super) fn questions(tx: &Connection, state: &StateChunk) -> Result<Vec<GoneQuestion>, TargetError> {
    let Some(mailbox) = Mailbox::load(tx, &state.mailbox)? else {
        return Ok(Vec::new());
    };
    if !may_attest(&mailbox, state) || mailbox.uidvalidity != state.uidvalidity {
        return Ok(Vec::new());
    }
    let ours = mailbox.all(tx)?;
    if contradiction(tx, &mailbox, &ours, state)?.is_some() {
        return Ok(Vec::new());
    }
    let inferred = quarantine::inferred(tx, mailbox.id)?;
    let lacking: Vec<(Uid, MessageGuid)> = lacking(tx, &mailbox, &ours, state)?
        .into_iter()
        .filter(|stored| !inferred.contains(&stored.message.uid))
        .map(|stored| (stored.message.uid, stored.message.guid.clone()))
        .collect();
    let ask = |messages: &[(Uid, MessageGuid)]| GoneQuestion {
        mailbox: state.mailbox.clone(),
        uidvalidity: state.uidvalidity,
        messages: messages.to_vec(),
    };
    Ok(lacking.chunks(GONE_QUESTION_MESSAGES_MAX).map(ask).collect())
}

/// Why the list can't follow on what the copy has.
fn contradiction(
    tx: &Connection,
    mailbox: &Mailbox,
    ours: &[Stored],
    state: &StateChunk,
) -> Result<Option<String>, TargetError> {
    if let Some(flaw) = state.flaw() {
        return Ok(Some(flaw));
    }
    if mailbox.uidvalidity == UidValidity(0) {
        return Ok(None);
    }
    if mailbox.uidvalidity != state.uidvalidity {
        return Ok(missing_from(tx, mailbox, ours, state)?);
    }
    let by_uid = by_uid(ours);
    let mut expunged = tx.prepare_cached("SELECT 1 FROM expunged WHERE mailbox = ?1 AND uid = ?2")?;
    for listed in &state.messages {
        match by_uid.get(&listed.uid).map(|ours| &ours.message.guid) {
            Some(ours) if ours.is_unknown() || listed.guid.is_unknown() || *ours == listed.guid => {}
            Some(_) => return Ok(Some(format!("UID {} is another message than before", listed.uid))),
            None if expunged.exists(params![mailbox.id, listed.uid.0])? => {
                return Ok(Some(format!("UID {} was expunged and is listed again", listed.uid)));
            }
            None => {}
        }
    }
    Ok(None)
}

fn by_uid(messages: &[Stored]) -> BTreeMap<Uid, &Stored> {
    messages.iter().map(|stored| (stored.message.uid, stored)).collect()
}

/// GUIDs of a list, each as often as it stands there.
fn guids(messages: &[Append]) -> HashMap<&MessageGuid, usize> {
    let mut guids = HashMap::new();
    for message in messages {
        let count = guids.entry(&message.guid).or_insert(0_usize);
        *count = count.saturating_add(1);
    }
    guids
}

/// Those of our messages whose GUID the list doesn't have (often enough).
fn unmatched<'a>(ours: &'a [Stored], state: &StateChunk) -> Vec<&'a Stored> {
    let mut listed = guids(&state.messages);
    let matched = |stored: &&Stored| match listed.get_mut(&stored.message.guid) {
        Some(left) if *left > 0 => {
            *left = left.saturating_sub(1);
            false
        }
        _ => true,
    };
    ours.iter().filter(matched).collect()
}

/// A new UIDVALIDITY is a renumbering only where no message leaves with it.
fn missing_from(
    tx: &Connection,
    mailbox: &Mailbox,
    ours: &[Stored],
    state: &StateChunk,
) -> rusqlite::Result<Option<String>> {
    let waits = quarantine::deferred(tx, mailbox.id)?;
    let leaves = |stored: &&Stored| !stored.message.guid.is_unknown() && !waits.contains(&stored.message.uid);
    let missing = unmatched(ours, state).into_iter().filter(leaves).count();
    let (old, new) = (mailbox.uidvalidity, state.uidvalidity);
    Ok((missing > 0).then(|| format!("UIDVALIDITY went from {old} to {new} and {missing} messages are missing")))
}

/// Messages that the copy has and the list lacks, but for those whose expunge waits anyway.
fn lacking<'a>(
    tx: &Connection,
    mailbox: &Mailbox,
    ours: &'a [Stored],
    state: &StateChunk,
) -> rusqlite::Result<Vec<&'a Stored>> {
    let listed: HashSet<Uid> = state.messages.iter().map(|message| message.uid).collect();
    let waits = quarantine::deferred(tx, mailbox.id)?;
    let lacks = |stored: &&Stored| !listed.contains(&stored.message.uid) && !waits.contains(&stored.message.uid);
    Ok(ours.iter().filter(lacks).collect())
}

/// True where the list follows on this copy without a doubt, as far as both can tell.
fn may_attest(mailbox: &Mailbox, state: &StateChunk) -> bool {
    let modseq = state.highest_modseq.lifted(mailbox.modseq_lift);
    state.lineage == Lineage::Whole && state.uidnext >= mailbox.uidnext && modseq >= mailbox.highest_modseq
}

/// Messages of that mailbox that the source was asked about and that are gone.
fn attested<'a>(mailbox: &Mailbox, state: &StateChunk, answers: &'a GoneAnswers) -> BTreeSet<(Uid, &'a MessageGuid)> {
    if !may_attest(mailbox, state) {
        return BTreeSet::new();
    }
    let about = answers
        .iter()
        .filter(|(q, _)| q.mailbox == state.mailbox && q.uidvalidity == state.uidvalidity);
    let gone = about.flat_map(|(q, gone)| q.messages.iter().filter(|(uid, _)| gone.contains(uid)));
    gone.map(|(uid, guid)| (*uid, guid)).collect()
}

/// Same UIDVALIDITY: new messages come, known ones take the list's flags, keywords and dates, and what the list lacks
/// leaves where that is attested; what was only inferred before stays so.
fn correct(
    tx: &Connection,
    mailbox: &mut Mailbox,
    ours: &[Stored],
    state: &StateChunk,
    answers: &GoneAnswers,
) -> rusqlite::Result<()> {
    let gone = attested(mailbox, state, answers);
    let lifts = lift(mailbox, state);
    let inferred = quarantine::inferred(tx, mailbox.id)?;
    tx.prepare_cached("DELETE FROM inferred WHERE mailbox = ?1")?
        .execute([mailbox.id])?;
    let highest = state.highest_modseq.lifted(mailbox.modseq_lift);
    for stored in lacking(tx, mailbox, ours, state)? {
        let (uid, guid) = (stored.message.uid, &stored.message.guid);
        if gone.contains(&(uid, guid)) && !inferred.contains(&uid) {
            quarantine::expunge_or_defer(tx, mailbox, (uid, guid), highest, Leaves::Attested)?;
        } else {
            quarantine::infer(tx, mailbox, uid)?;
        }
    }
    mailbox.raise(state.uidnext, highest);
    let by_uid = by_uid(ours);
    for listed in &state.messages {
        let before = by_uid.get(&listed.uid).copied();
        let message = corrected(before, listed, mailbox.modseq_lift, lifts.then_some(highest));
        mailbox.raise(Uid(0), message.modseq);
        undefer(tx, mailbox, listed.uid)?;
        if before.is_none_or(|old| old.message != message || old.body.is_none()) {
            mailbox.put(tx, before, message)?;
        }
    }
    Ok(())
}

/// The source's MODSEQs fell: from now on they count from where this copy is. True where that is so.
fn lift(mailbox: &mut Mailbox, state: &StateChunk) -> bool {
    let falls = state.highest_modseq.lifted(mailbox.modseq_lift) < mailbox.highest_modseq;
    if falls {
        let next = mailbox.highest_modseq.0.saturating_add(1);
        mailbox.modseq_lift = next.saturating_sub(state.highest_modseq.0);
    }
    falls
}

/// The list's word for a message. Where the list takes back MODSEQs, what differs gets the new highest one: a client
/// that has seen the old ones must hear of it.
fn corrected(before: Option<&Stored>, listed: &Append, lift: u64, new_highest: Option<Modseq>) -> Append {
    let mut message = listed.clone();
    message.modseq = message.modseq.lifted(lift);
    let old = before.map(|stored| &stored.message);
    if let Some(old) = old {
        message.keep_known(old);
    }
    if let Some(highest) = new_highest {
        let same = old.filter(|old| old.looks_like(&message));
        message.modseq = same.map_or(highest, |old| old.modseq);
    }
    message
}

/// An operator's word: the list is the truth, although it contradicts what this copy has under the same UIDVALIDITY.
/// What is not in it is retained; MODSEQs go on rising.
pub(super) fn believe(tx: &Connection, state: &StateChunk) -> Result<(), TargetError> {
    let mut mailbox = Mailbox::load_or_create(tx, &state.mailbox)?;
    let ours = mailbox.all(tx)?;
    let (uidvalidity, highest) = (mailbox.uidvalidity, mailbox.highest_modseq);
    mailbox.held = None;
    replace(tx, &mut mailbox, &ours, state)?;
    if uidvalidity == state.uidvalidity {
        mailbox.raise(Uid(0), highest);
        lift(&mut mailbox, state);
        mailbox.raise(Uid(0), state.highest_modseq.lifted(mailbox.modseq_lift));
        tx.prepare_cached("UPDATE messages SET modseq = ?2 WHERE mailbox = ?1")?
            .execute(params![mailbox.id, mailbox.highest_modseq.0.cast_signed()])?;
    }
    mailbox.save(tx)?;
    renumbering::into(tx, &mailbox.is)
}

fn undefer(tx: &Connection, mailbox: &Mailbox, uid: Uid) -> rusqlite::Result<()> {
    tx.prepare_cached("DELETE FROM deferred WHERE mailbox = ?1 AND uid = ?2")?
        .execute(params![mailbox.id, uid.0])?;
    Ok(())
}

/// The first list, or the same messages under new UIDs: the list takes the place of everything.
fn replace(tx: &Connection, mailbox: &mut Mailbox, ours: &[Stored], state: &StateChunk) -> rusqlite::Result<()> {
    for stored in unmatched(ours, state) {
        mailbox.retain(tx, stored, Leaves::Overwritten)?;
    }
    mailbox.clear(tx)?;
    mailbox.uidvalidity = state.uidvalidity;
    mailbox.modseq_lift = 0;
    (mailbox.uidnext, mailbox.highest_modseq) = (state.uidnext, Modseq(0));
    mailbox.raise(Uid(0), state.highest_modseq);
    for message in &state.messages {
        mailbox.raise(Uid(0), message.modseq);
        mailbox.put(tx, None, message.clone())?;
    }
    mailbox.begins();
    Ok(())
}
