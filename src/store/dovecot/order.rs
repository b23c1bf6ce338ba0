//! In which order the transactions of one user's logs go out, so that a move is never seen as only its expunge.
//!
//! Each log is a queue, and its order never changes. A move writes the append into one log before it writes the expunge
//! into another, but nothing in the logs says so. What helps is *when* they were read: an expunge is **covered** once
//! all other logs of the user were read to their end after it was. Whatever append belongs to a covered expunge is then
//! in some queue, or went out before.
//!
//! 1. What stands before the first expunge of each queue goes out.
//! 2. Of what is left, covered items may go. While an append stands behind one that is not covered, nothing goes: the
//!    append may belong to any expunge (the caller reads again).
//! 3. Queues whose rest has no appends go last. One queue with appends and expunges goes before them. Two or more may
//!    wait for each other: they go out as one run, applied together or not at all.
//!
//! A change of the tree goes before the mailboxes that it introduces, and a deletion after the last transaction of its
//! mailbox and after the other logs' appends.

use crate::op::{Guid, Lineage, Op, Payload, TreeChange};
use crate::store::source::Captured;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// One transaction of one mailbox, or one `state` of it (several payloads).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// What goes out, in order, at least one.
    pub payloads: Vec<Payload>,
    /// True where messages may arrive.
    pub appends: bool,
    /// True where messages may leave.
    pub expunges: bool,
    /// True once all other logs of the user were read after this was.
    pub covered: bool,
}

impl Item {
    /// From payloads of one mailbox.
    #[must_use]
    pub fn of(payloads: Vec<Payload>) -> Self {
        let mut item = Self {
            payloads: Vec::new(),
            appends: false,
            expunges: false,
            covered: false,
        };
        for payload in &payloads {
            match payload {
                Payload::Mailbox(txn) => {
                    item.appends |= txn.ops.iter().any(|op| matches!(op, Op::Append(_)));
                    item.expunges |= txn.ops.iter().any(|op| matches!(op, Op::Expunge(_)));
                }
                Payload::State(chunk) => {
                    item.appends = true;
                    item.expunges |= chunk.lineage != Lineage::Initial;
                }
                _ => {}
            }
        }
        item.payloads = payloads;
        item
    }
}

impl Item {
    /// True for a list.
    #[must_use]
    pub fn is_state(&self) -> bool {
        matches!(self.payloads.as_slice(), [Payload::State(_)])
    }

    /// This list goes out in place of the one before it: what is broken stays so.
    pub fn follow(&mut self, before: &Self) {
        let lineage_of = |item: &Self| match item.payloads.as_slice() {
            [Payload::State(chunk)] => Some(chunk.lineage),
            _ => None,
        };
        if let ([Payload::State(chunk)], Some(before)) = (self.payloads.as_mut_slice(), lineage_of(before)) {
            let worse = before == Lineage::Broken || chunk.lineage == Lineage::Broken;
            // The list before was the first of its mailbox: then this one is.
            let first = before == Lineage::Initial;
            chunk.lineage = match (first, worse) {
                (true, _) => Lineage::Initial,
                (false, true) => Lineage::Broken,
                (false, false) => Lineage::Whole,
            };
            self.expunges = !first;
        }
    }
}

/// What was read of each mailbox and has not gone out, oldest first.
pub type Queues = BTreeMap<Guid, VecDeque<Item>>;

/// How the tree changed, cut where transactions go between.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TreeSteps {
    /// New mailboxes, new names, subscriptions.
    pub before: Option<TreeChange>,
    /// Mailboxes that are gone.
    pub after: Option<TreeChange>,
    /// True where a name of `after` is taken again in `before`: both are one change.
    pub together: bool,
    /// Mailboxes that the copy does not know before `before`.
    pub introduced: BTreeSet<Guid>,
    /// Mailboxes that the copy does not know any more after `after`.
    pub gone: BTreeSet<Guid>,
}

/// How long an expunge is waited with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// No expunge goes now: a mailbox is still to be introduced, and may be where a message was moved.
    Prefixes,
    /// Those go that are covered.
    Covered,
    /// All go: the bound on waiting was met.
    Everything,
}

/// Takes out of `queues` and `tree` what may go now, in order. What stays needs another reading of all logs.
#[must_use]
pub fn release(queues: &mut Queues, tree: &mut TreeSteps, patience: Patience) -> Vec<Captured> {
    let mut out = Vec::new();
    if !tree.together {
        out.extend(tree.before.take().map(|change| single(vec![Payload::Tree(change)])));
        tree.introduced.clear();
    }
    for (guid, queue) in queues.iter_mut() {
        if !tree.introduced.contains(guid) {
            while let Some(item) = queue.pop_front_if(|item| !item.expunges) {
                out.push(single(item.payloads));
            }
        }
    }
    let free = match patience {
        Patience::Prefixes => false,
        Patience::Covered => !hides_appends(queues),
        Patience::Everything => true,
    };
    if free {
        release_rests(queues, tree, patience == Patience::Covered, &mut out);
    }
    queues.retain(|_, queue| !queue.is_empty());
    out
}

/// True where an append stands behind an expunge that is not covered, or in it.
fn hides_appends(queues: &Queues) -> bool {
    let hidden = |queue: &VecDeque<Item>| {
        let waiting = queue.iter().skip_while(|item| item.covered || !item.expunges);
        waiting.into_iter().any(|item| item.appends)
    };
    queues.values().any(hidden)
}

fn release_rests(queues: &mut Queues, tree: &mut TreeSteps, patient: bool, out: &mut Vec<Captured>) {
    let mut rests: BTreeMap<Guid, VecDeque<Item>> = BTreeMap::new();
    for (guid, queue) in queues.iter_mut() {
        let free = queue
            .iter()
            .take_while(|item| !patient || item.covered || !item.expunges);
        let count = free.count();
        rests.insert(*guid, queue.drain(..count).collect());
    }
    let last_words_said = |queues: &Queues| tree_gone_done(queues, &tree.gone);
    if tree.together {
        if last_words_said(queues) {
            out.push(single(joined(rests, tree)));
        } else {
            // Put back: the change of names can't be cut, and what follows it can't go before.
            for (guid, mut rest) in rests {
                let queue = queues.entry(guid).or_default();
                rest.append(queue);
                *queue = rest;
            }
        }
        return;
    }
    let (with_appends, without): (Vec<_>, Vec<_>) = rests
        .into_values()
        .partition(|rest| rest.iter().any(|item| item.appends));
    if with_appends.len() > 1 {
        out.push(single(interleaved(with_appends)));
    } else {
        out.extend(with_appends.into_iter().flatten().map(|item| single(item.payloads)));
    }
    out.extend(without.into_iter().flatten().map(|item| single(item.payloads)));
    if last_words_said(queues) {
        out.extend(tree.after.take().map(|change| single(vec![Payload::Tree(change)])));
    }
}

fn tree_gone_done(queues: &Queues, gone: &BTreeSet<Guid>) -> bool {
    gone.iter().all(|guid| queues.get(guid).is_none_or(VecDeque::is_empty))
}

/// One run: the last words of the mailboxes that go, the whole change of names, then everything else.
fn joined(mut rests: BTreeMap<Guid, VecDeque<Item>>, tree: &mut TreeSteps) -> Vec<Payload> {
    let mut payloads = Vec::new();
    for guid in &tree.gone {
        let rest = rests.remove(guid).unwrap_or_default();
        payloads.extend(rest.into_iter().flat_map(|item| item.payloads));
    }
    let mut change = tree.before.take().unwrap_or_default();
    if let Some(after) = tree.after.take() {
        change.user = after.user;
        change.namespaces = after.namespaces.or(change.namespaces);
        change.mailboxes.extend(after.mailboxes);
        change.unselectable.extend(after.unselectable);
        change.subscriptions.extend(after.subscriptions);
    }
    payloads.push(Payload::Tree(change));
    payloads.extend(interleaved(rests.into_values().collect()));
    payloads
}

/// Appends as early as the logs' order allows.
fn interleaved(mut rests: Vec<VecDeque<Item>>) -> Vec<Payload> {
    let mut payloads = Vec::new();
    while rests.iter().any(|rest| !rest.is_empty()) {
        for rest in &mut rests {
            while let Some(item) = rest.pop_front_if(|item| !item.expunges) {
                payloads.extend(item.payloads);
            }
        }
        // Behind which expunge an append stands doesn't matter: all of it is applied at once.
        let next = rests.iter_mut().find(|rest| rest.iter().any(|item| item.appends));
        let item = match next {
            Some(rest) => rest.pop_front(),
            None => rests.iter_mut().find_map(VecDeque::pop_front),
        };
        payloads.extend(item.into_iter().flat_map(|item| item.payloads));
    }
    payloads
}

fn single(payloads: Vec<Payload>) -> Captured {
    Captured { payloads, peer: None }
}

#[cfg(test)]
mod tests;
