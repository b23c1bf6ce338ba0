//! A piece of a lost tail: what [`crate::role::merge`] decides becomes operations of the new primary's own stream, in one
//! transaction with the key by which none of it is merged again.

mod arrivals;
mod attributes;
mod changes;
mod tree;

use super::super::super::change::{Changed, TailPiece};
use super::super::bodies;
use super::super::merged;
use super::built::{Built, NewBody, Stop};
use super::fresh::Fresh;
use crate::op::{BodyName, Guid, MailboxId, Merged, Op, Payload, UidValidity};
use crate::role::merge::Tally;
use rusqlite::Connection;

/// Builds what the piece becomes, or says which octets must come with it.
pub(super) fn merge(tx: &Connection, fresh: &mut Fresh, piece: &TailPiece) -> Result<Built, Stop> {
    let made = match &piece.item.payload {
        Payload::Mailbox(txn) => match txn.ops.first() {
            Some(Op::Append(_)) => {
                let messages: Vec<_> = txn.appends().collect();
                arrivals::arrive(
                    tx,
                    fresh,
                    &piece.mailbox(tx, &txn.mailbox, txn.uidvalidity)?,
                    &messages,
                    false,
                )?
            }
            Some(Op::Expunge(_)) => changes::expunge(tx, &piece.mailbox(tx, &txn.mailbox, txn.uidvalidity)?, &txn.ops)?,
            Some(_) => changes::change(tx, &piece.mailbox(tx, &txn.mailbox, txn.uidvalidity)?, &txn.ops)?,
            None => Made::default(),
        },
        Payload::State(list) => {
            let messages: Vec<_> = list.messages.iter().collect();
            arrivals::arrive(
                tx,
                fresh,
                &piece.mailbox(tx, &list.mailbox, list.uidvalidity)?,
                &messages,
                true,
            )?
        }
        Payload::Tree(change) if piece.item.created => tree::make(tx, fresh, change)?,
        Payload::Tree(change) => tree::rename(tx, change)?,
        Payload::Attributes(change) => attributes::set(tx, change, &piece.bodies)?,
        other => {
            let why = format!("a tail brings no {}", other.kind());
            return super::built::refuse(super::super::super::change::Reason::Cannot, &why);
        }
    };
    if !made.lacks.is_empty() {
        return Ok(Built::nothing(Changed::Lacks(made.lacks)));
    }
    let key = made
        .key
        .filter(|key| !key.appended.is_empty() || !key.expunged.is_empty());
    let mut payloads = made.payloads;
    payloads.extend(key.map(Payload::Merged));
    Ok(Built {
        bodies: made.bodies,
        ..Built::of(payloads, Changed::Merged(made.tally))
    })
}

/// What a piece becomes.
#[derive(Default)]
struct Made {
    payloads: Vec<Payload>,
    bodies: Vec<NewBody>,
    key: Option<Merged>,
    lacks: Vec<BodyName>,
    tally: Tally,
}

/// A piece that is about one mailbox, as the tail names it.
struct InMailbox<'a> {
    piece: &'a TailPiece,
    is: &'a MailboxId,
    uidvalidity: UidValidity,
    /// The user's number; none: this store has never heard of the user.
    user: Option<i64>,
}

impl TailPiece {
    fn mailbox<'a>(
        &'a self,
        tx: &Connection,
        is: &'a MailboxId,
        uidvalidity: UidValidity,
    ) -> Result<InMailbox<'a>, Stop> {
        Ok(InMailbox {
            piece: self,
            is,
            uidvalidity,
            user: bodies::known_user(tx, &is.user)?,
        })
    }
}

impl InMailbox<'_> {
    /// What the store knows of this tail's mailbox.
    fn settled(&self) -> Option<merged::Of<'_>> {
        let guid: &Guid = &self.is.guid;
        Some(merged::Of {
            stream: self.piece.stream,
            epoch: self.piece.epoch,
            user: self.user?,
            mailbox: guid,
            uidvalidity: self.uidvalidity,
        })
    }

    fn key(&self) -> Merged {
        Merged {
            stream: self.piece.stream,
            epoch: self.piece.epoch,
            mailbox: self.is.clone(),
            uidvalidity: self.uidvalidity,
            ..Merged::default()
        }
    }
}
