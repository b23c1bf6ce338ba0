//! The transaction of one mailbox while it is made.

use super::super::super::change::Reason;
use super::super::mailbox::Mailbox;
use super::built::{Stop, refuse};
use crate::op::{
    Append, BodyName, BodyPlace, MailboxId, MailboxTxn, Modseq, Op, Payload, SourcePosition, StateChunk, Uid,
    UidValidity,
};

/// HIGHESTMODSEQ of a mailbox that is new.
const FIRST_MODSEQ: Modseq = Modseq(1);

/// One mailbox's transaction. All its operations have one MODSEQ, the next.
pub(super) struct Txn {
    is: MailboxId,
    pub(super) uidvalidity: UidValidity,
    uidnext: Uid,
    highest: Modseq,
    ops: Vec<Op>,
}

impl Txn {
    /// Of a mailbox as it stands. (Nothing lifts a primary's MODSEQs: its epoch began with that.)
    pub(super) fn on(mailbox: &Mailbox) -> Self {
        Self {
            is: mailbox.is.clone(),
            uidvalidity: mailbox.uidvalidity,
            uidnext: mailbox.uidnext.max(Uid(1)),
            highest: mailbox.highest_modseq,
            ops: Vec::new(),
        }
    }

    /// Of a mailbox that the same change makes, see [`first_list`].
    pub(super) fn on_new(is: MailboxId, uidvalidity: UidValidity) -> Self {
        Self {
            is,
            uidvalidity,
            uidnext: Uid(1),
            highest: FIRST_MODSEQ,
            ops: Vec::new(),
        }
    }

    /// HIGHESTMODSEQ before it.
    pub(super) fn highest(&self) -> Modseq {
        self.highest
    }

    /// MODSEQ of its operations.
    pub(super) fn modseq(&self) -> Modseq {
        Modseq(self.highest.0.saturating_add(1))
    }

    /// Appends a message under the next UID and MODSEQ.
    pub(super) fn append(&mut self, message: Append) -> Result<BodyName, Stop> {
        let uid = self.uidnext;
        let Some(next) = uid.0.checked_add(1) else {
            return refuse(Reason::Limit, "the mailbox has no UID left");
        };
        let modseq = self.modseq();
        let name = BodyName {
            place: BodyPlace {
                mailbox: self.is.clone(),
                uidvalidity: self.uidvalidity,
                uid,
            },
            guid: message.guid.clone(),
            size: message.size,
        };
        self.ops.push(Op::Append(Append { uid, modseq, ..message }));
        self.uidnext = Uid(next);
        Ok(name)
    }

    pub(super) fn push(&mut self, op: Op) {
        self.ops.push(op);
    }

    /// The payload; none where nothing changes. Its position is no log's: it only rises, so that a frame settles the notices
    /// before it.
    pub(super) fn payload(self) -> Option<Payload> {
        if self.ops.is_empty() {
            return None;
        }
        let highest_modseq = self.modseq();
        let position = position(self.uidvalidity, self.uidnext, highest_modseq);
        Some(Payload::Mailbox(MailboxTxn {
            mailbox: self.is,
            uidvalidity: self.uidvalidity,
            ops: self.ops,
            uidnext: self.uidnext,
            highest_modseq,
            position,
        }))
    }
}

/// Where a mailbox of this store stands.
pub(in crate::store::embedded) fn position(uidvalidity: UidValidity, uidnext: Uid, modseq: Modseq) -> SourcePosition {
    SourcePosition {
        offset: modseq.0,
        modseq,
        uidvalidity,
        uidnext,
        ..SourcePosition::default()
    }
}

/// The empty list that a new mailbox begins with.
pub(super) fn first_list(is: MailboxId, uidvalidity: UidValidity) -> Payload {
    Payload::State(StateChunk {
        mailbox: is,
        uidvalidity,
        uidnext: Uid(1),
        highest_modseq: FIRST_MODSEQ,
        position: position(uidvalidity, Uid(1), FIRST_MODSEQ),
        ..StateChunk::default()
    })
}
