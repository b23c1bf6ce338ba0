//! What a tail changed or expunged of messages from before it.

use super::account::Account;
use super::{Desk, InMailbox, Made, unavailable};
use crate::limits::TAIL_UIDS_AT_ONCE;
use crate::op::{Append, Flags, Keyword, KeywordVerb, Modseq, Op, Uid, UidRange};
use crate::role::merge::{self, ChangeFate, ExpungeFate};
use crate::store::change::Refused;
use crate::store::dovecot::dsync::{Message, Wanted};
use std::collections::{BTreeMap, BTreeSet};

/// What a client sees of a message beside its content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Marks {
    flags: Flags,
    keywords: BTreeSet<Keyword>,
}

impl Marks {
    fn of(flags: Flags, keywords: &[Keyword]) -> Self {
        Self {
            flags,
            keywords: keywords.iter().cloned().collect(),
        }
    }

    fn make(&mut self, op: &Op) {
        match op {
            Op::Flags(change) => self.flags = self.flags.changed(change.add, change.remove),
            Op::Keywords(change) => match change.verb {
                KeywordVerb::Add => drop(self.keywords.insert(change.keyword.clone())),
                KeywordVerb::Remove => drop(self.keywords.remove(&change.keyword)),
                KeywordVerb::Replace => self.keywords = [change.keyword.clone()].into(),
                KeywordVerb::Reset => self.keywords.clear(),
            },
            Op::Append(_) | Op::Expunge(_) => {}
        }
    }

    /// What this has and `other` has not, as `doveadm` takes it.
    fn beyond(&self, other: &Self) -> String {
        let flags = Flags::NAMED
            .iter()
            .filter(|(flag, _)| self.flags.contains(*flag) && !other.flags.contains(*flag));
        let keywords = self
            .keywords
            .difference(&other.keywords)
            .map(|keyword| keyword.0.as_str());
        let words: Vec<&str> = flags.map(|(_, name)| *name).chain(keywords).collect();
        words.join(" ")
    }
}

/// The message as it is now, and how it was at the fork.
struct Then<'a> {
    now: &'a Message,
    before: Option<&'a Append>,
}

impl Then<'_> {
    /// True where nothing else changed it since.
    fn is_untouched(&self) -> bool {
        self.before.is_some_and(|before| {
            before.guid == self.now.guid
                && Marks::of(before.flags, &before.keywords) == Marks::of(self.now.flags, &self.now.keywords)
        })
    }

    /// As MODSEQs would say it, where they were those of one history.
    fn modseq(&self) -> Modseq {
        if self.is_untouched() { UNTOUCHED } else { BEFORE }
    }
}

const UNTOUCHED: Modseq = Modseq(1);
const BEFORE: Modseq = Modseq(2);

impl Desk<'_> {
    /// Changes of flags and keywords, in their order, on messages that nothing else changed since the fork.
    pub(super) fn change(&mut self, tail: &InMailbox<'_>, ops: &[Op]) -> Result<Made, Refused> {
        let mut made = Made::default();
        let account = self.account(&tail.is.user, Wanted::Mailboxes([tail.is.guid].into()))?;
        let past = self
            .merger
            .past
            .mailbox(tail.is)
            .map_err(unavailable)?
            .unwrap_or_default();
        let mut words: BTreeMap<(&str, String), Vec<Uid>> = BTreeMap::new();
        for (uid, then) in there(tail, &account, &past, ops) {
            let fate = merge::change(Some(then.modseq()), BEFORE);
            made.tally.change(fate, 1);
            if fate != ChangeFate::Made {
                continue;
            }
            let before = Marks::of(then.now.flags, &then.now.keywords);
            let mut after = before.clone();
            let own = ops
                .iter()
                .filter(|op| op.uids().iter().any(|range| range.contains(uid)));
            own.for_each(|op| after.make(op));
            for (verb, list) in [("add", after.beyond(&before)), ("remove", before.beyond(&after))] {
                if !list.is_empty() {
                    words.entry((verb, list)).or_default().push(uid);
                }
            }
        }
        for ((verb, list), uids) in words {
            self.each(tail, &uids, |guid, set| {
                [
                    "flags",
                    verb,
                    "-u",
                    &tail.is.user.0,
                    "--",
                    &list,
                    "mailbox-guid",
                    guid,
                    "uid",
                    set,
                ]
                .map(str::to_owned)
                .to_vec()
            })?;
        }
        Ok(made)
    }

    /// Expunges that were halves of moves; others stay undone.
    pub(super) fn expunge(&mut self, tail: &InMailbox<'_>, ops: &[Op]) -> Result<Made, Refused> {
        let mut made = Made::default();
        let user = &tail.is.user;
        let account = self.account(user, Wanted::Everything)?;
        let past = self
            .merger
            .past
            .mailbox(tail.is)
            .map_err(unavailable)?
            .unwrap_or_default();
        let there = there(tail, &account, &past, ops);
        let going: BTreeSet<Uid> = there.keys().copied().collect();
        let mut moved = Vec::new();
        for (uid, then) in &there {
            let guid = &then.now.guid;
            let mut elsewhere = account.places(guid);
            let stays = elsewhere.any(|(mailbox, uid)| mailbox != tail.is.guid || !going.contains(&uid));
            let brought = self.settled.brought(user, guid) && stays;
            let settled = self
                .settled
                .has_expunge((self.piece.stream, self.piece.epoch), tail, *uid);
            match merge::expunge(Some(then.modseq()), BEFORE, brought, settled) {
                ExpungeFate::Moved => moved.push(*uid),
                ExpungeFate::Quarantined => made.tally.expunges_left = made.tally.expunges_left.saturating_add(1),
                ExpungeFate::Gone => {}
            }
        }
        made.tally
            .expunge(ExpungeFate::Moved, u64::try_from(moved.len()).unwrap_or(u64::MAX));
        self.each(tail, &moved, |guid, set| {
            ["expunge", "-u", &user.0, "mailbox-guid", guid, "uid", set]
                .map(str::to_owned)
                .to_vec()
        })?;
        let mut key = self.key(tail);
        key.expunged = UidRange::covering(&going.into_iter().collect::<Vec<_>>());
        made.key = Some(key);
        Ok(made)
    }

    /// Runs `doveadm` on these messages of the mailbox, as many at once as a command line takes.
    fn each(
        &self,
        tail: &InMailbox<'_>,
        uids: &[Uid],
        words: impl Fn(&str, &str) -> Vec<String>,
    ) -> Result<(), Refused> {
        let guid = tail.is.guid.to_hex();
        for part in UidRange::covering(uids).chunks(TAIL_UIDS_AT_ONCE) {
            let set: Vec<String> = part
                .iter()
                .map(|range| format!("{}:{}", range.first, range.last))
                .collect();
            let words = words(&guid, &set.join(","));
            self.doveadm(&words.iter().map(String::as_str).collect::<Vec<_>>())?;
        }
        Ok(())
    }
}

/// The messages that the changes name, where the mailbox is still the same list.
fn there<'a>(
    tail: &InMailbox<'_>,
    account: &'a Account,
    past: &'a BTreeMap<Uid, Append>,
    ops: &[Op],
) -> BTreeMap<Uid, Then<'a>> {
    let own = account
        .mailbox(tail.is.guid)
        .filter(|own| own.uid_validity == tail.uidvalidity);
    let all: Vec<UidRange> = ops.iter().flat_map(Op::uids).copied().collect();
    let named = |uid: &Uid| all.iter().any(|range| range.contains(*uid));
    let found = own
        .into_iter()
        .flat_map(|own| &own.listed)
        .filter(|message| named(&message.uid));
    found
        .map(|now| {
            let before = past.get(&now.uid);
            (now.uid, Then { now, before })
        })
        .collect()
}
