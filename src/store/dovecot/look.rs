//! What of a user is to be looked at, and what an event of a directory says about that.

use super::tail::LOG;
use super::{acl, sieve};
use crate::op::Guid;
use rustix::fs::inotify::ReadFlags;
use std::collections::BTreeSet;

/// What of a user is to be looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// The tree: a directory or the subscriptions changed.
    pub tree: bool,
    /// What Dovecot remembers of the tree, which counts for names without a mailbox only.
    pub list_index: bool,
    /// These mailboxes' logs.
    pub logs: BTreeSet<Guid>,
    /// These mailboxes may have got another GUID where they lie.
    pub names: BTreeSet<Guid>,
    /// These mailboxes' attributes.
    pub attributes: BTreeSet<Guid>,
    /// The user's own attributes, which are looked at in every turn.
    pub own_attributes: bool,
    /// Every mailbox's log.
    pub every_log: bool,
}

impl Look {
    /// At the tree and every log.
    #[must_use]
    pub fn everything() -> Self {
        Self {
            tree: true,
            every_log: true,
            ..Self::default()
        }
    }

    /// At the tree.
    #[must_use]
    pub fn tree() -> Self {
        Self {
            tree: true,
            ..Self::default()
        }
    }

    /// At one log.
    #[must_use]
    pub fn log(guid: Guid) -> Self {
        Self {
            logs: BTreeSet::from([guid]),
            ..Self::default()
        }
    }

    /// At this too.
    pub fn also(&mut self, other: Self) {
        self.tree |= other.tree;
        self.list_index |= other.list_index;
        self.every_log |= other.every_log;
        self.logs.extend(other.logs);
        self.names.extend(other.names);
        self.attributes.extend(other.attributes);
        self.own_attributes |= other.own_attributes;
    }

    /// True where there is nothing to look at.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// What an event in a directory is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Directories, subscriptions, deletions.
    Tree,
    /// The mailbox's log.
    Log,
    /// Which mailbox lies there.
    Name,
    /// An access control list, a Sieve script: no log may tell of it.
    Attributes,
    /// What Dovecot remembers of the tree.
    ListIndex,
}

/// None: the file only accompanies a change, and the log of the same change wakes.
pub(crate) fn meaning(events: ReadFlags, name: &[u8]) -> Option<Meaning> {
    let itself = ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::UNMOUNT | ReadFlags::IGNORED;
    let replaced = ReadFlags::CREATE | ReadFlags::MOVED_TO;
    if events.intersects(itself) || events.contains(ReadFlags::ISDIR) {
        return Some(Meaning::Tree);
    }
    match name {
        name if name == LOG.as_bytes() => Some(Meaning::Log),
        // Lines that are appended to it are about messages; only a new file can name another mailbox.
        b"dovecot-uidlist" => events.intersects(replaced).then_some(Meaning::Name),
        b"subscriptions" | b"dovecot.mailbox.log" => Some(Meaning::Tree),
        name if name == acl::FILE.as_bytes() || name.ends_with(sieve::ENDING.as_bytes()) => Some(Meaning::Attributes),
        b"dovecot.list.index.log" => Some(Meaning::ListIndex),
        _ => None,
    }
}
