//! What a Dovecot can't be asked: how a mailbox stood when this node became primary, and what was settled of tails.

use super::InMailbox;
use crate::op::{Append, Epoch, Guid, MailboxId, Merged, MessageGuid, StreamId, Uid, UidRange, UidValidity, UserName};
use std::collections::{BTreeMap, BTreeSet};

/// The node's memory. Every call blocks.
pub trait Past: Send + Sync {
    /// UNIX seconds.
    fn now(&self) -> i64;

    /// The messages that the mailbox had when this node became primary; none: it was not there, or nobody knows.
    ///
    /// # Errors
    /// It can't be read.
    fn mailbox(&self, is: &MailboxId) -> Result<Option<BTreeMap<Uid, Append>>, String>;

    /// Everything that the stream says was settled.
    ///
    /// # Errors
    /// The journal can't be read.
    fn settled(&self) -> Result<Vec<Merged>, String>;

    /// Has the stream say it; durable when it returns.
    ///
    /// # Errors
    /// The journal can't take it.
    fn note(&self, merged: Merged) -> Result<(), String>;
}

/// One mailbox of one tail.
type Place = (StreamId, Epoch, MailboxId, UidValidity);

/// What was settled, to be asked.
#[derive(Default)]
pub(super) struct Settled {
    appended: BTreeMap<Place, BTreeSet<Uid>>,
    expunged: BTreeMap<Place, Vec<UidRange>>,
    brought: BTreeSet<(UserName, MessageGuid)>,
}

impl Settled {
    pub(super) fn of(all: Vec<Merged>) -> Self {
        let mut settled = Self::default();
        all.iter().for_each(|merged| settled.add(merged));
        settled
    }

    pub(super) fn add(&mut self, merged: &Merged) {
        let place = (merged.stream, merged.epoch, merged.mailbox.clone(), merged.uidvalidity);
        let uids = merged.appended.iter().map(|(uid, _)| *uid);
        self.appended.entry(place.clone()).or_default().extend(uids);
        self.expunged.entry(place).or_default().extend(&merged.expunged);
        let guids = merged.appended.iter().map(|(_, guid)| guid);
        let known = guids.filter(|guid| !guid.is_unknown());
        let user = &merged.mailbox.user;
        self.brought.extend(known.map(|guid| (user.clone(), guid.clone())));
    }

    /// True where this message of the tail was settled.
    pub(super) fn has(&self, (stream, epoch): (StreamId, Epoch), tail: &InMailbox<'_>, uid: Uid) -> bool {
        let place = (stream, epoch, tail.is.clone(), tail.uidvalidity);
        self.appended.get(&place).is_some_and(|uids| uids.contains(&uid))
    }

    /// True where the tail's expunge of this message was settled.
    pub(super) fn has_expunge(&self, (stream, epoch): (StreamId, Epoch), tail: &InMailbox<'_>, uid: Uid) -> bool {
        let place = (stream, epoch, tail.is.clone(), tail.uidvalidity);
        let ranges = self.expunged.get(&place);
        ranges.is_some_and(|ranges| ranges.iter().any(|range| range.contains(uid)))
    }

    /// True where a tail brought the user a message of this GUID.
    pub(super) fn brought(&self, user: &UserName, guid: &MessageGuid) -> bool {
        self.brought.contains(&(user.clone(), guid.clone()))
    }
}

/// The GUID of the mailbox in which messages of a tail wait for their place: the same at each attempt.
pub(super) fn aside(user: &UserName) -> Guid {
    let hash = blake3::derive_key(
        "mailshadow: where messages of a lost tail wait",
        user.as_str().as_bytes(),
    );
    let mut guid = [0; 16];
    guid.iter_mut().zip(hash).for_each(|(octet, drawn)| *octet = drawn);
    Guid(guid)
}
