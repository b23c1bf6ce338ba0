//! What was found in a tail, and what became of it.

use super::{ChangeFate, ExpungeFate, Settled};
use serde::{Deserialize, Serialize};

/// Counted over all of a tail. What stands under `messages` is told apart by the figures behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tally {
    /// Messages that the tail brought.
    pub messages: u64,
    /// Of these, appended as new mail.
    pub new: u64,
    /// Appended as a copy of a message that the user has.
    pub copied: u64,
    /// There already, merged before, or the very same octets came meanwhile.
    pub known: u64,
    /// Expunged at the new primary meanwhile.
    pub deleted: u64,
    /// Could not be recovered: no octets of them are left.
    pub lost: u64,
    /// Messages whose flags were changed.
    pub flags: u64,
    /// Messages whose flags stay, because something else changed them since the fork.
    pub flags_kept: u64,
    /// Expunged: the other halves of moves.
    pub moved: u64,
    /// Expunges in quarantine.
    pub quarantined: u64,
    /// Mailboxes that were made.
    pub mailboxes: u64,
    /// Mailboxes that were renamed.
    pub renamed: u64,
    /// Deleted mailboxes in quarantine.
    pub mailboxes_quarantined: u64,
    /// Attributes that were set.
    pub attributes: u64,
    /// Attributes that stay, because there are others at the new primary.
    pub attributes_kept: u64,
    /// Expunges that a Dovecot was not told: the messages stay.
    pub expunges_left: u64,
    /// Deleted mailboxes that a Dovecot was not told of: they stay.
    pub mailboxes_left: u64,
    /// Attributes that a Dovecot was not told.
    pub attributes_left: u64,
}

impl Tally {
    /// Messages that are not lost.
    #[must_use]
    pub fn recovered(&self) -> u64 {
        self.messages.saturating_sub(self.lost)
    }

    /// True where an operator has something to decide.
    #[must_use]
    pub fn needs_operator(&self) -> bool {
        let waiting = [self.quarantined, self.mailboxes_quarantined, self.lost];
        let left = [self.expunges_left, self.mailboxes_left, self.attributes_left];
        waiting.iter().chain(&left).any(|count| *count > 0)
    }

    /// Counts a message that needed nothing.
    pub fn settle(&mut self, settled: Settled) {
        self.messages = self.messages.saturating_add(1);
        let count = match settled {
            Settled::Known => &mut self.known,
            Settled::Deleted => &mut self.deleted,
            Settled::Lost => &mut self.lost,
        };
        *count = count.saturating_add(1);
    }

    /// Counts a message that was appended.
    pub fn append(&mut self, copied: bool) {
        self.messages = self.messages.saturating_add(1);
        let count = if copied { &mut self.copied } else { &mut self.new };
        *count = count.saturating_add(1);
    }

    /// Counts messages whose flags the tail changed.
    pub fn change(&mut self, fate: ChangeFate, messages: u64) {
        let count = match fate {
            ChangeFate::Made => &mut self.flags,
            ChangeFate::Kept => &mut self.flags_kept,
            ChangeFate::Gone => return,
        };
        *count = count.saturating_add(messages);
    }

    /// Counts messages that the tail expunged.
    pub fn expunge(&mut self, fate: ExpungeFate, messages: u64) {
        let count = match fate {
            ExpungeFate::Moved => &mut self.moved,
            ExpungeFate::Quarantined => &mut self.quarantined,
            ExpungeFate::Gone => return,
        };
        *count = count.saturating_add(messages);
    }

    /// Adds what became of another piece.
    pub fn add(&mut self, other: &Self) {
        for (ours, theirs) in self.figures().into_iter().zip(other.clone().figures()) {
            *ours = ours.saturating_add(*theirs);
        }
    }

    fn figures(&mut self) -> [&mut u64; 18] {
        [
            &mut self.messages,
            &mut self.new,
            &mut self.copied,
            &mut self.known,
            &mut self.deleted,
            &mut self.lost,
            &mut self.flags,
            &mut self.flags_kept,
            &mut self.moved,
            &mut self.quarantined,
            &mut self.mailboxes,
            &mut self.renamed,
            &mut self.mailboxes_quarantined,
            &mut self.attributes,
            &mut self.attributes_kept,
            &mut self.expunges_left,
            &mut self.mailboxes_left,
            &mut self.attributes_left,
        ]
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {} messages recovered", self.recovered(), self.messages)?;
        let figures = [
            (self.new, "new"),
            (self.copied, "copied or moved"),
            (self.known, "there already"),
            (self.deleted, "deleted meanwhile"),
            (self.flags, "changes of flags"),
            (self.flags_kept, "changes of flags not made: changed on both sides"),
            (self.moved, "moved away"),
            (self.quarantined, "expunges in quarantine"),
            (self.mailboxes, "mailboxes made"),
            (self.renamed, "mailboxes renamed"),
            (self.mailboxes_quarantined, "deleted mailboxes in quarantine"),
            (self.attributes, "attributes set"),
            (self.attributes_kept, "attributes not set: others are there"),
            (self.expunges_left, "expunges not made: the messages stay"),
            (self.mailboxes_left, "deleted mailboxes that stay"),
            (self.attributes_left, "attributes not set: to be set by hand"),
        ];
        for (count, what) in figures.iter().filter(|(count, _)| *count > 0) {
            write!(f, ", {count} {what}")?;
        }
        Ok(())
    }
}
