//! An operator's word on an entry of the quarantine: it was meant, or it was not. Only this may do what the rules of
//! applying forbid, and what leaves by it is retained.

use super::super::custody::{CustodyError, Entry, Reason};
use super::super::target::{Frame, TargetError};
use super::mailbox::{Leaves, Mailbox, id_of};
use super::{custody, quarantine, state, transaction, tree};
use crate::codec::frame;
use crate::op::{Payload, StateChunk, whole};
use rusqlite::{Connection, params};

/// It was meant: what was not applied is applied now.
pub(super) fn release(tx: &Connection, entry: &Entry) -> Result<String, CustodyError> {
    let told = match entry.reason {
        Reason::Held => believe(tx, entry)?,
        Reason::Vanished => {
            tree::delete(tx, &id_of(tx, entry.id)?)?;
            format!("the mailbox is deleted, its {} messages are retained", entry.messages)
        }
        Reason::Inferred => {
            let uids = quarantine::inferred(tx, entry.id)?;
            remove(tx, entry, &uids)?;
            format!("{} messages left the mailbox, and are retained", uids.len())
        }
        Reason::Waiting => {
            let uids = quarantine::deferred(tx, entry.id)?;
            remove(tx, entry, &uids)?;
            tx.execute(
                "UPDATE mailboxes SET doomed = 2 WHERE id = ?1 AND doomed <> 0",
                [entry.id],
            )?;
            format!("{} messages left without waiting, and are retained", uids.len())
        }
    };
    delete_released(tx)?;
    quarantine::settle(tx)?;
    Ok(told)
}

/// It was not meant: the copy keeps what it has.
pub(super) fn keep(tx: &Connection, entry: &Entry) -> Result<String, CustodyError> {
    match entry.reason {
        Reason::Held => Err(CustodyError::Refused(
            "changes of this mailbox are diverted, and without them the copy would differ for good: release it, or run \
             `shadowctl repair` for this mailbox on the primary"
                .to_owned(),
        )),
        Reason::Vanished if !custody::is_named(tx, entry.id)? => Err(CustodyError::Refused(
            "another mailbox has its name now: release it, its messages stay in `shadowctl retained`".to_owned(),
        )),
        Reason::Vanished => {
            tx.execute("UPDATE mailboxes SET vanished = NULL WHERE id = ?1", [entry.id])?;
            Ok("the copy keeps the mailbox".to_owned())
        }
        Reason::Inferred => {
            tx.execute("DELETE FROM inferred WHERE mailbox = ?1", [entry.id])?;
            Ok("the copy keeps the messages".to_owned())
        }
        Reason::Waiting => Err(CustodyError::Refused(
            "these expunges were asked for, and only wait for a held mailbox: release that one".to_owned(),
        )),
    }
}

fn remove(
    tx: &Connection,
    entry: &Entry,
    uids: &std::collections::BTreeSet<crate::op::Uid>,
) -> Result<(), TargetError> {
    let Some(mut mailbox) = Mailbox::load(tx, &id_of(tx, entry.id)?)? else {
        return Ok(());
    };
    // No MODSEQ of the source stands for this: clients that know a higher one are told all the same.
    mailbox.rewrite();
    for uid in uids {
        let modseq = mailbox.highest_modseq;
        mailbox.remove(tx, *uid, modseq, Leaves::Released)?;
    }
    Ok(mailbox.save(tx)?)
}

/// Mailboxes that were doomed and don't wait any longer.
fn delete_released(tx: &Connection) -> Result<(), TargetError> {
    let mut statement = tx.prepare_cached("SELECT id FROM mailboxes WHERE doomed = 2")?;
    let ids = statement.query_map([], |row| row.get(0))?;
    for id in ids.collect::<rusqlite::Result<Vec<i64>>>()? {
        tree::delete(tx, &id_of(tx, id)?)?;
    }
    Ok(())
}

/// The last list that was diverted is the truth, and so is what came after it.
fn believe(tx: &Connection, entry: &Entry) -> Result<String, CustodyError> {
    let transactions = diverted(tx, entry)?;
    let last = transactions
        .iter()
        .rposition(|(_, payloads)| list_of(payloads).is_some());
    let Some((before, list)) = last.and_then(|at| Some((at, list_of(&transactions.get(at)?.1)?))) else {
        return Err(CustodyError::Refused(
            "no complete list of this mailbox was diverted: run `shadowctl repair` for it on the primary, which sends one"
                .to_owned(),
        ));
    };
    quarantine::void_diverted(tx, entry.id)?;
    state::believe(tx, list)?;
    for (frames, payloads) in transactions.iter().skip(before.saturating_add(1)) {
        for payload in payloads {
            if let Payload::Mailbox(txn) = payload
                && txn.mailbox == list.mailbox
            {
                transaction::apply(tx, txn, frames)?;
            }
        }
    }
    Ok(format!(
        "the mailbox is as the source lists it, {} messages",
        list.messages.len()
    ))
}

/// The list of the entry's mailbox among these payloads.
fn list_of(payloads: &[Payload]) -> Option<&StateChunk> {
    payloads.iter().find_map(|payload| match payload {
        Payload::State(list) => Some(list),
        _ => None,
    })
}

/// A transaction that was diverted: its frames, and what they say.
type Diverted = (Vec<Frame>, Vec<Payload>);

/// What was diverted of this mailbox, transaction by transaction.
fn diverted(tx: &Connection, entry: &Entry) -> Result<Vec<Diverted>, TargetError> {
    let mut statement = tx.prepare_cached("SELECT first, frame FROM diverted WHERE mailbox = ?1 ORDER BY lsn")?;
    let mut rows = statement.query(params![entry.id])?;
    let mut transactions: Vec<(i64, Vec<Frame>)> = Vec::new();
    while let Some(row) = rows.next()? {
        let first: i64 = row.get(0)?;
        let bytes: Vec<u8> = row.get(1)?;
        let opened = frame::open(&bytes).map_err(|e| TargetError::Halt(format!("a diverted frame: {e}")))?;
        let (header, chain, payload) = opened;
        let frame = Frame { header, chain, payload };
        match transactions.last_mut() {
            Some((known, frames)) if *known == first => frames.push(frame),
            _ => transactions.push((first, vec![frame])),
        }
    }
    let with_payloads = |(_, frames): (i64, Vec<Frame>)| {
        let payloads = whole(frames.iter().map(|frame| frame.payload.clone()));
        (frames, payloads)
    };
    Ok(transactions.into_iter().map(with_payloads).collect())
}
