//! STORE: flags and keywords of messages (RFC 9051 section 6.4.6, RFC 7162 section 3.1.3).

use super::super::super::change::{Changed, FlagVerb};
use super::super::mailbox::Stored;
use super::append::{bound_keywords, each_once};
use super::built::{Built, Stop};
use super::lookup::{messages, selected};
use super::txn::Txn;
use crate::op::{Append, FlagChange, Flags, Keyword, KeywordChange, KeywordVerb, MailboxId, Modseq, Op, Uid, UidRange};
use rusqlite::Connection;

/// Every system flag.
const ALL: Flags = {
    let (answered, flagged) = (Flags::ANSWERED, Flags::FLAGGED);
    answered
        .with(flagged)
        .with(Flags::DELETED)
        .with(Flags::SEEN)
        .with(Flags::DRAFT)
};

/// What a STORE asks for.
pub(super) struct Wanted<'a> {
    pub(super) verb: FlagVerb,
    pub(super) flags: Flags,
    pub(super) keywords: &'a [Keyword],
}

impl Wanted<'_> {
    /// Flags to set and to clear.
    fn flags(&self) -> (Flags, Flags) {
        match self.verb {
            FlagVerb::Add => (self.flags, Flags::NONE),
            FlagVerb::Remove => (Flags::NONE, self.flags),
            FlagVerb::Replace => (self.flags, ALL),
        }
    }

    fn changes_flags(&self, message: &Append) -> bool {
        let (add, remove) = self.flags();
        message.flags.changed(add, remove) != message.flags
    }

    fn changes_keywords(&self, message: &Append) -> bool {
        let has = |keyword: &Keyword| contains(&message.keywords, keyword);
        match self.verb {
            FlagVerb::Add => !self.keywords.iter().all(has),
            FlagVerb::Remove => self.keywords.iter().any(has),
            FlagVerb::Replace => {
                let wanted = |keyword: &Keyword| contains(self.keywords, keyword);
                !self.keywords.iter().all(has) || !message.keywords.iter().all(wanted)
            }
        }
    }

    /// The operations on keywords, in their order.
    fn keyword_changes(&self) -> Vec<(KeywordVerb, Keyword)> {
        let all = each_once(self.keywords);
        match self.verb {
            FlagVerb::Add => all.into_iter().map(|keyword| (KeywordVerb::Add, keyword)).collect(),
            FlagVerb::Remove => all.into_iter().map(|keyword| (KeywordVerb::Remove, keyword)).collect(),
            FlagVerb::Replace if all.is_empty() => vec![(KeywordVerb::Reset, Keyword::default())],
            FlagVerb::Replace => {
                let first = std::iter::once(KeywordVerb::Replace);
                first.chain(std::iter::repeat(KeywordVerb::Add)).zip(all).collect()
            }
        }
    }
}

fn contains(keywords: &[Keyword], keyword: &Keyword) -> bool {
    keywords.iter().any(|known| known.0.eq_ignore_ascii_case(&keyword.0))
}

/// Only messages that look different afterwards get a new MODSEQ.
pub(super) fn store(
    tx: &Connection,
    mailbox: &MailboxId,
    uids: &[UidRange],
    wanted: &Wanted<'_>,
    unchanged_since: Option<Modseq>,
) -> Result<Built, Stop> {
    let mailbox = selected(tx, mailbox)?;
    if wanted.verb != FlagVerb::Remove {
        bound_keywords(&mailbox, wanted.keywords.iter())?;
    }
    let fits = |stored: &Stored| unchanged_since.is_none_or(|since| stored.message.modseq <= since);
    let (taken, left): (Vec<_>, Vec<_>) = messages(tx, &mailbox, uids)?.into_iter().partition(fits);
    let uids_where = |changes: &dyn Fn(&Append) -> bool| -> Vec<Uid> {
        let messages = taken.iter().map(|stored| &stored.message);
        messages
            .filter(|message| changes(message))
            .map(|message| message.uid)
            .collect()
    };
    let mut txn = Txn::on(&mailbox);
    let flagged = uids_where(&|message| wanted.changes_flags(message));
    if !flagged.is_empty() {
        let (add, remove) = wanted.flags();
        txn.push(Op::Flags(FlagChange {
            uids: UidRange::covering(&flagged),
            add,
            remove,
            modseq: txn.modseq(),
        }));
    }
    let named = uids_where(&|message| wanted.changes_keywords(message));
    if !named.is_empty() {
        for (verb, keyword) in wanted.keyword_changes() {
            txn.push(Op::Keywords(KeywordChange {
                uids: UidRange::covering(&named),
                verb,
                keyword,
                modseq: txn.modseq(),
            }));
        }
    }
    let changes = !flagged.is_empty() || !named.is_empty();
    let changed = Changed::Stored {
        uids: uids_where(&|_| true),
        modseq: if changes { txn.modseq() } else { txn.highest() },
        modified: left.iter().map(|stored| stored.message.uid).collect(),
    };
    Ok(Built::of(txn.payload().into_iter().collect(), changed))
}
