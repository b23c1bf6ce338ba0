//! What a change becomes before it is sealed: nothing is written here, so that a refusal leaves nothing behind.

use super::super::super::change::{Change, Changed, Reason, Refused};
use super::super::super::target::TargetError;
use super::fresh::Fresh;
use super::{append, attributes, copy, create, decide, expunge, flags, hierarchy, merge, rename};
use crate::op::{BodyHash, BodyName, Payload};
use rusqlite::Connection;
use std::sync::Arc;

/// What a change becomes.
pub(super) struct Built {
    /// The transaction; empty where nothing changes.
    pub(super) payloads: Vec<Payload>,
    /// Bodies that it names and that are not stored under these names yet.
    pub(super) bodies: Vec<NewBody>,
    /// The answer, once all of it is durable.
    pub(super) changed: Changed,
}

impl Built {
    /// Nothing has to change.
    pub(super) fn nothing(changed: Changed) -> Self {
        Self::of(Vec::new(), changed)
    }

    /// A transaction without bodies.
    pub(super) fn of(payloads: Vec<Payload>, changed: Changed) -> Self {
        Self {
            payloads,
            bodies: Vec::new(),
            changed,
        }
    }
}

/// A body that is to be stored.
#[derive(Clone, Debug)]
pub(super) struct NewBody {
    pub(super) name: BodyName,
    pub(super) octets: Octets,
}

/// Where its octets are.
#[derive(Clone, Debug)]
pub(super) enum Octets {
    /// They came with the change.
    New(Arc<[u8]>),
    /// They are stored already, under another name.
    Stored { hash: BodyHash, length: u64 },
}

/// Why nothing was built.
pub(super) enum Stop {
    /// It may not be.
    Refused(Refused),
    /// The store can't be read.
    Store(TargetError),
}

impl From<TargetError> for Stop {
    fn from(error: TargetError) -> Self {
        Self::Store(error)
    }
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<Refused> for Stop {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

/// A refusal as an early return.
pub(super) fn refuse<T>(reason: Reason, why: &str) -> Result<T, Stop> {
    Err(Stop::Refused(Refused::new(reason, why)))
}

/// Builds a change against what `tx` sees.
pub(super) fn build(tx: &Connection, change: &Change, fresh: &mut Fresh) -> Result<Built, Stop> {
    match change {
        Change::Append {
            user,
            mailbox,
            messages,
        } => append::append(tx, fresh, (user, mailbox), messages),
        Change::Deliver { user, mailbox, message } => append::deliver(tx, fresh, (user, mailbox), message),
        Change::Replace {
            mailbox,
            uid,
            into,
            message,
        } => append::replace(tx, fresh, (mailbox, *uid), into, message),
        Change::Store {
            mailbox,
            uids,
            verb,
            flags,
            keywords,
            unchanged_since,
        } => {
            let wanted = flags::Wanted {
                verb: *verb,
                flags: *flags,
                keywords,
            };
            flags::store(tx, mailbox, uids, &wanted, *unchanged_since)
        }
        Change::Expunge { mailbox, uids } => expunge::expunge(tx, mailbox, uids.as_deref()),
        Change::Copy {
            mailbox,
            uids,
            into,
            moved,
        } => copy::copy(tx, fresh, (mailbox, uids), into, *moved),
        Change::Create {
            user,
            name,
            special_use,
        } => create::create(tx, fresh, (user, name), special_use.as_deref()),
        Change::Delete { user, name } => hierarchy::delete(tx, user, name),
        Change::Rename { user, from, to } => rename::rename(tx, fresh, user, from, to),
        Change::Subscribe { user, name, subscribed } => hierarchy::subscribe(tx, user, name, *subscribed),
        Change::Attributes {
            user,
            mailbox,
            scope,
            entries,
        } => attributes::set(tx, user, mailbox.as_ref(), *scope, entries),
        Change::Merge(piece) => merge::merge(tx, fresh, piece),
        Change::Decide { entry, decision } => decide::decide(tx, *entry, *decision),
        Change::Restore { entry } => decide::restore(tx, fresh, *entry),
    }
}
