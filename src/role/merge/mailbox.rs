//! What a tail leaves behind in one mailbox.

use crate::op::{
    Append, FlagChange, Flags, Keyword, KeywordChange, KeywordVerb, Lineage, MailboxTxn, Modseq, Op, StateChunk, Uid,
    UidRange, UidValidity,
};
use std::collections::BTreeMap;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct NetMailbox {
    pub(super) uidvalidity: UidValidity,
    /// True where the tail made the mailbox.
    pub(super) created: bool,
    /// Messages that came and stayed, as they were at the end.
    pub(super) appended: BTreeMap<Uid, Append>,
    /// Messages that a list names and no append brought.
    pub(super) listed: BTreeMap<Uid, Append>,
    /// Changes of messages from before the tail, in order.
    pub(super) changes: Vec<Op>,
    /// Messages from before the tail that somebody expunged.
    pub(super) expunged: Vec<UidRange>,
    /// The lowest MODSEQ of the tail.
    before: Option<Modseq>,
    /// The lowest UID that the tail gave out.
    first: Option<Uid>,
}

impl NetMailbox {
    /// Every MODSEQ that the mailbox had at the fork is below this one.
    pub(super) fn before(&self) -> Modseq {
        self.before.unwrap_or_default()
    }

    /// Takes the next transaction.
    pub(super) fn fold(&mut self, txn: &MailboxTxn) {
        self.begin(txn.uidvalidity);
        for op in &txn.ops {
            let modseq = op.modseq();
            self.before = Some(self.before.map_or(modseq, |before| before.min(modseq)));
            match op {
                Op::Append(append) => {
                    self.first = Some(self.first.map_or(append.uid, |first| first.min(append.uid)));
                    self.appended.insert(append.uid, append.clone());
                }
                Op::Flags(change) => {
                    let flags = |message: &mut Append| message.flags = message.flags.changed(change.add, change.remove);
                    self.change(&change.uids, flags);
                    let uids = self.older(&change.uids);
                    self.note(!uids.is_empty(), Op::Flags(FlagChange { uids, ..change.clone() }));
                }
                Op::Keywords(change) => {
                    let keywords = |message: &mut Append| change_keywords(message, change.verb, &change.keyword);
                    self.change(&change.uids, keywords);
                    let uids = self.older(&change.uids);
                    self.note(!uids.is_empty(), Op::Keywords(KeywordChange { uids, ..change.clone() }));
                }
                // what merely vanished was not asked for by anybody
                Op::Expunge(expunge) if expunge.requested => self.expunge(&expunge.uids),
                Op::Expunge(_) => {}
            }
        }
    }

    /// Takes a list, or a part of one.
    pub(super) fn list(&mut self, chunk: &StateChunk) {
        if chunk.lineage == Lineage::Initial && self.uidvalidity == UidValidity(0) {
            self.created = true;
        }
        self.begin(chunk.uidvalidity);
        for message in &chunk.messages {
            match self.appended.get_mut(&message.uid) {
                Some(known) => *known = message.clone(),
                None => drop(self.listed.insert(message.uid, message.clone())),
            }
        }
    }

    /// Under another UIDVALIDITY nothing of before has the UIDs that it had: a list follows.
    fn begin(&mut self, uidvalidity: UidValidity) {
        if self.uidvalidity != uidvalidity {
            let created = self.created;
            *self = Self {
                uidvalidity,
                created,
                ..Self::default()
            };
        }
    }

    fn change(&mut self, uids: &[UidRange], mut make: impl FnMut(&mut Append)) {
        for range in uids {
            let within = range.first..=range.last;
            self.appended
                .range_mut(within.clone())
                .for_each(|(_, message)| make(message));
            self.listed.range_mut(within).for_each(|(_, message)| make(message));
        }
    }

    fn note(&mut self, concerns: bool, op: Op) {
        if concerns {
            self.changes.push(op);
        }
    }

    fn expunge(&mut self, uids: &[UidRange]) {
        for range in uids {
            self.appended.retain(|uid, _| !range.contains(*uid));
            self.listed.retain(|uid, _| !range.contains(*uid));
        }
        let older = self.older(uids);
        // what a message became before it left, its copy elsewhere tells; here the change would only be in the way of the move
        for op in &mut self.changes {
            match op {
                Op::Flags(change) => change.uids = without(&change.uids, &older),
                Op::Keywords(change) => change.uids = without(&change.uids, &older),
                Op::Append(_) | Op::Expunge(_) => {}
            }
        }
        self.changes.retain(|op| match op {
            Op::Flags(change) => !change.uids.is_empty(),
            Op::Keywords(change) => !change.uids.is_empty(),
            Op::Append(_) | Op::Expunge(_) => true,
        });
        self.expunged.extend(older);
    }

    /// Of these UIDs those that the mailbox had before the tail gave out its first one: a later one may be that of another
    /// message at the new primary.
    fn older(&self, uids: &[UidRange]) -> Vec<UidRange> {
        let last = self.first.map_or(Uid(u32::MAX), |first| Uid(first.0.saturating_sub(1)));
        let older = |range: &UidRange| {
            let last = range.last.min(last);
            (range.first <= last).then_some(UidRange { last, ..*range })
        };
        uids.iter().filter_map(older).collect()
    }
}

fn change_keywords(message: &mut Append, verb: KeywordVerb, keyword: &Keyword) {
    let is = |known: &Keyword| known.0.eq_ignore_ascii_case(&keyword.0);
    match verb {
        KeywordVerb::Add if message.keywords.iter().any(is) => {}
        KeywordVerb::Add => message.keywords.push(keyword.clone()),
        KeywordVerb::Remove => message.keywords.retain(|known| !is(known)),
        KeywordVerb::Replace => message.keywords = vec![keyword.clone()],
        KeywordVerb::Reset => message.keywords.clear(),
    }
}

/// What is left of these ranges without those.
fn without(ranges: &[UidRange], cut: &[UidRange]) -> Vec<UidRange> {
    let mut left = ranges.to_vec();
    for cut in cut {
        left = left.iter().flat_map(|range| halves(range, cut)).collect();
    }
    left
}

/// What lies before and behind `cut`.
fn halves(range: &UidRange, cut: &UidRange) -> Vec<UidRange> {
    if cut.last < range.first || range.last < cut.first {
        return vec![*range];
    }
    let before = (range.first < cut.first).then_some(UidRange {
        last: Uid(cut.first.0.saturating_sub(1)),
        ..*range
    });
    let behind = (cut.last < range.last).then_some(UidRange {
        first: Uid(cut.last.0.saturating_add(1)),
        ..*range
    });
    before.into_iter().chain(behind).collect()
}

/// How many messages these ranges can cover at most.
pub(super) fn covered(ranges: &[UidRange]) -> u64 {
    let one = |range: &UidRange| u64::from(range.last.0.saturating_sub(range.first.0)).saturating_add(1);
    ranges.iter().map(one).fold(0, u64::saturating_add)
}

/// Flags and keywords for people.
pub(super) fn shown(flags: Flags) -> String {
    let names = Flags::NAMED.iter().filter(|(flag, _)| flags.contains(*flag));
    names.map(|(_, name)| *name).collect::<Vec<_>>().join(" ")
}
