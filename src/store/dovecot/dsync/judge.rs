//! Before anything is said that could destroy: the target's tree against what is to be told.
//!
//! A session makes the target's tree equal to ours, and to do so deletes a mailbox that is not in ours, has another
//! UIDVALIDITY, or a higher UIDNEXT. So every mailbox there is looked at first. It may go where it never held anything, where
//! it is as it was last acknowledged, or where the caller said so; otherwise our tree is sent with that mailbox as it is.

use super::said::SaidNode;
use super::telling::Placed;
use super::{Delta, MailboxDelta, Node, NodeMailbox, Outcome};
use crate::op::{Guid, MailboxName, Uid, UidValidity};
use std::collections::{BTreeMap, BTreeSet};

/// What may be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Judgement {
    /// The tree to send.
    pub(super) tree: Vec<Placed>,
    /// Mailboxes that are not told, and why.
    pub(super) outcomes: BTreeMap<Guid, Outcome>,
    /// Mailboxes with a complete list, of which the target holds something: to be read before.
    pub(super) doubtful: BTreeSet<Guid>,
    /// Mailboxes to tell.
    pub(super) told: BTreeSet<Guid>,
    /// A name that is wanted for another mailbox than the one (by its GUID) that has it there, and may not go: nothing can
    /// be told.
    pub(super) blocked: Option<(MailboxName, Guid)>,
    /// False where something had to stay that is not in our tree, or not so.
    pub(super) whole: bool,
}

/// A mailbox of the target's tree.
#[derive(Clone, Copy, Debug)]
struct There<'a> {
    node: &'a SaidNode,
    guid: Guid,
    uid_validity: UidValidity,
    uid_next: Uid,
}

impl There<'_> {
    fn placed(&self) -> Option<(Guid, UidValidity, Uid)> {
        Some((self.guid, self.uid_validity, self.uid_next))
    }

    fn foreign(&self, why: &str) -> Outcome {
        Outcome::Foreign {
            why: why.to_owned(),
            name: self.node.name.clone(),
            messages: Vec::new(),
        }
    }
}

/// Judges.
pub(super) fn judge(delta: &Delta, said: &[SaidNode]) -> Judgement {
    let there = said.iter().filter_map(|node| {
        let (guid, uid_validity, uid_next) = node.mailbox?;
        Some(There {
            node,
            guid,
            uid_validity,
            uid_next,
        })
    });
    let there: BTreeMap<Guid, There<'_>> = there.map(|there| (there.guid, there)).collect();
    let mut bench = Bench {
        delta,
        deltas: delta.mailboxes.iter().map(|mailbox| (mailbox.guid, mailbox)).collect(),
        found: Judgement {
            whole: true,
            ..Judgement::default()
        },
    };
    for node in &delta.tree {
        bench.node(node, &there);
    }
    bench.lack_of_inbox(&there);
    bench.strangers(&there);
    bench.inbox(&there);
    bench.found
}

struct Bench<'a> {
    delta: &'a Delta,
    deltas: BTreeMap<Guid, &'a MailboxDelta>,
    found: Judgement,
}

impl Bench<'_> {
    fn may_go(&self, there: &There<'_>) -> bool {
        let as_acknowledged = self.delta.acknowledged.get(&there.guid).is_some_and(|known| {
            known.uid_validity == there.uid_validity && there.uid_next.0 <= known.uid.0.saturating_add(1)
        });
        there.uid_next <= Uid(1) || as_acknowledged || self.delta.replaceable.contains(&there.guid)
    }

    fn node(&mut self, node: &Node, there: &BTreeMap<Guid, There<'_>>) {
        let mailbox = node.mailbox.map(|ours| match there.get(&ours.guid) {
            Some(there) => self.existing(ours, there),
            None => self.absent(ours),
        });
        self.found.tree.push(Placed {
            name: node.name.clone(),
            mailbox: mailbox.flatten(),
            subscribed: node.subscribed,
        });
    }

    fn absent(&mut self, ours: NodeMailbox) -> Option<(Guid, UidValidity, Uid)> {
        match self.deltas.get(&ours.guid) {
            Some(mailbox) if mailbox.since.is_none() => {
                self.found.told.insert(ours.guid);
            }
            _ => self.stale(ours.guid, "the target has no such mailbox"),
        }
        placed(ours)
    }

    fn existing(&mut self, ours: NodeMailbox, there: &There<'_>) -> Option<(Guid, UidValidity, Uid)> {
        let is_other = there.uid_validity != ours.uid_validity;
        let is_ahead = there.uid_next > ours.uid_next;
        if is_other && !self.may_go(there) {
            self.foreign(there, "it has another UIDVALIDITY, and messages that nobody told");
            return there.placed();
        }
        if is_other || (is_ahead && self.delta.replaceable.contains(&ours.guid)) {
            // It is deleted and made again, empty.
            return self.absent(ours);
        }
        let since = self.deltas.get(&ours.guid).map(|mailbox| mailbox.since);
        match since {
            Some(None) if there.uid_next <= Uid(1) => {
                self.found.told.insert(ours.guid);
            }
            Some(None) => {
                self.found.doubtful.insert(ours.guid);
            }
            Some(Some(since)) if there.uid_next.0 == since.uid.0.saturating_add(1) => {
                self.found.told.insert(ours.guid);
            }
            Some(Some(_)) => self.stale(ours.guid, "UIDNEXT at the target is not that of the last state"),
            None if is_ahead => self.stale(ours.guid, "UIDNEXT at the target is higher"),
            None => {}
        }
        placed(NodeMailbox {
            uid_next: ours.uid_next.max(there.uid_next),
            ..ours
        })
    }

    /// No Dovecot is without INBOX for long, and a maildir never: where ours was not made yet, the target's stays as it is.
    fn lack_of_inbox(&mut self, there: &BTreeMap<Guid, There<'_>>) {
        let inbox = MailboxName::inbox();
        let place = self.found.tree.iter().position(|placed| placed.name == inbox);
        let Some(theirs) = there.values().find(|there| there.node.name == inbox) else {
            return;
        };
        let is_ours = |placed: &Placed| placed.mailbox.is_some_and(|mailbox| mailbox.0 == theirs.guid);
        if self.found.tree.iter().any(is_ours) {
            return;
        }
        match place.and_then(|place| self.found.tree.get_mut(place)) {
            Some(ours) if ours.mailbox.is_some() => {}
            Some(subscribed) => subscribed.mailbox = theirs.placed(),
            None => self.found.tree.push(Placed {
                name: inbox,
                mailbox: theirs.placed(),
                subscribed: theirs.node.subscribed,
            }),
        }
    }

    /// Mailboxes of the target that are not in our tree.
    fn strangers(&mut self, there: &BTreeMap<Guid, There<'_>>) {
        let ours: BTreeSet<Guid> = self
            .delta
            .tree
            .iter()
            .filter_map(|node| Some(node.mailbox?.guid))
            .collect();
        let stays: BTreeSet<Guid> = self
            .found
            .tree
            .iter()
            .filter_map(|placed| Some(placed.mailbox?.0))
            .collect();
        for there in there.values().filter(|there| !ours.contains(&there.guid)) {
            if stays.contains(&there.guid) || self.may_go(there) {
                continue;
            }
            self.foreign(there, "nobody told of this mailbox");
            let name = &there.node.name;
            let place = self.found.tree.iter().position(|placed| placed.name == *name);
            match place.and_then(|place| self.found.tree.get_mut(place)) {
                Some(taken) if taken.mailbox.is_some() => self.found.blocked = Some((name.clone(), there.guid)),
                Some(free) => free.mailbox = there.placed(),
                None => self.found.tree.push(Placed {
                    name: name.clone(),
                    mailbox: there.placed(),
                    subscribed: there.node.subscribed,
                }),
            }
        }
    }

    /// No Dovecot renames its INBOX: where ours has another name there, it is emptied and told anew under that name.
    fn inbox(&mut self, there: &BTreeMap<Guid, There<'_>>) {
        let inbox = MailboxName::inbox();
        let Some(theirs) = there.values().find(|there| there.node.name == inbox) else {
            return;
        };
        let is = |placed: &&Placed| placed.mailbox.is_some_and(|mailbox| mailbox.0 == theirs.guid);
        let is_renamed = self
            .found
            .tree
            .iter()
            .find(is)
            .is_some_and(|placed| placed.name != inbox);
        if is_renamed && !self.may_go(theirs) {
            self.found.blocked = Some((inbox, theirs.guid));
        }
    }

    fn stale(&mut self, guid: Guid, why: &str) {
        self.found.outcomes.insert(guid, Outcome::Stale(why.to_owned()));
    }

    fn foreign(&mut self, there: &There<'_>, why: &str) {
        self.found.whole = false;
        self.found.outcomes.insert(there.guid, there.foreign(why));
    }
}

fn placed(ours: NodeMailbox) -> Option<(Guid, UidValidity, Uid)> {
    Some((ours.guid, ours.uid_validity, ours.uid_next))
}

/// The target's own tree without these mailboxes: told, it takes them away and nothing else.
pub(super) fn without(said: &[SaidNode], guids: &BTreeSet<Guid>) -> Vec<Placed> {
    let kept = said.iter().filter(|node| node.mailbox.is_some() || node.subscribed);
    kept.map(|node| Placed {
        name: node.name.clone(),
        mailbox: node.mailbox.filter(|mailbox| !guids.contains(&mailbox.0)),
        subscribed: node.subscribed,
    })
    .filter(|placed| placed.mailbox.is_some() || placed.subscribed)
    .collect()
}
