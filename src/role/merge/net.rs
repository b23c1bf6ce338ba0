//! A tail taken together: what its operations leave behind.

use super::items::{self, Item};
use super::mailbox::NetMailbox;
use crate::op::{
    AttributeScope, AttributeValue, AttributesChange, Guid, MailboxName, Payload, TreeChange, TreeMailbox, UserName,
};
use std::collections::{BTreeMap, BTreeSet};

/// What a tail leaves behind, user by user.
#[derive(Clone, Debug, Default)]
pub struct Net {
    accounts: BTreeMap<UserName, Account>,
    operations: usize,
}

/// The same of one user.
#[derive(Clone, Debug, Default)]
pub(super) struct Account {
    pub(super) mailboxes: BTreeMap<Guid, NetMailbox>,
    /// Names that were given, and mailboxes that went.
    pub(super) tree: BTreeMap<Guid, TreeMailbox>,
    /// Names in complete trees: they name mailboxes that the tail made, and say nothing new of others.
    pub(super) known: BTreeMap<Guid, TreeMailbox>,
    pub(super) subscriptions: BTreeMap<MailboxName, bool>,
    pub(super) attributes: BTreeMap<AttributeScope, BTreeMap<String, AttributeValue>>,
}

impl Net {
    /// Takes the next payload of the tail; a long one whole ([`crate::op::whole()`]). One that was made for a single peer is not
    /// to be handed over.
    pub fn fold(&mut self, payload: &Payload) {
        self.operations = self.operations.saturating_add(weight(payload));
        match payload {
            Payload::Mailbox(txn) => self.mailbox(&txn.mailbox.user, txn.mailbox.guid).fold(txn),
            Payload::State(chunk) => self.mailbox(&chunk.mailbox.user, chunk.mailbox.guid).list(chunk),
            Payload::Tree(change) => self.account(&change.user).rename(change),
            Payload::Attributes(change) => self.account(&change.user).set(change),
            Payload::Epoch(_)
            | Payload::Base(_)
            | Payload::BaseEnd(_)
            | Payload::Digest(_)
            | Payload::TreeDigest(_)
            | Payload::Merged(_) => {}
        }
    }

    /// How much was taken in; what is kept of it is no more.
    #[must_use]
    pub fn operations(&self) -> usize {
        self.operations
    }

    /// What is to be merged, in order: mailboxes that were made, then messages, then what left.
    #[must_use]
    pub fn items(&self) -> Vec<Item> {
        let of = |(user, account): (&UserName, &Account)| items::of(user, account);
        self.accounts.iter().flat_map(of).collect()
    }

    /// What it holds, for people, at most `most` lines: users and mailboxes, no content.
    #[must_use]
    pub fn lines(&self, most: usize) -> Vec<String> {
        let of = |(user, account): (&UserName, &Account)| items::lines(user, account);
        self.accounts.iter().flat_map(of).take(most).collect()
    }

    /// Messages that it brings.
    #[must_use]
    pub fn messages(&self) -> u64 {
        let mailboxes = self.accounts.values().flat_map(|account| account.mailboxes.values());
        let counts = mailboxes.map(|mailbox| mailbox.appended.len());
        u64::try_from(counts.fold(0, usize::saturating_add)).unwrap_or(u64::MAX)
    }

    /// Every mailbox of which it says something, and whether the tail made it: what differs from the history that goes on.
    pub fn touched(&self) -> impl Iterator<Item = (&UserName, Guid, bool)> {
        self.accounts.iter().flat_map(|(user, account)| {
            let of = account.mailboxes.iter();
            of.map(move |(guid, mailbox)| (user, *guid, mailbox.created))
        })
    }

    fn account(&mut self, user: &UserName) -> &mut Account {
        self.accounts.entry(user.clone()).or_default()
    }

    fn mailbox(&mut self, user: &UserName, guid: Guid) -> &mut NetMailbox {
        self.account(user).mailboxes.entry(guid).or_default()
    }
}

fn weight(payload: &Payload) -> usize {
    match payload {
        Payload::Mailbox(txn) => txn.ops.len(),
        Payload::State(chunk) => chunk.messages.len(),
        Payload::Tree(change) => change.mailboxes.len().saturating_add(change.subscriptions.len()),
        Payload::Attributes(change) => change.entries.len(),
        _ => 1,
    }
}

impl Account {
    fn rename(&mut self, change: &TreeChange) {
        let names = if change.complete {
            &mut self.known
        } else {
            &mut self.tree
        };
        for mailbox in &change.mailboxes {
            names.insert(mailbox.guid, mailbox.clone());
        }
        if change.complete {
            return;
        }
        self.subscriptions.extend(change.subscriptions.iter().cloned());
    }

    fn set(&mut self, change: &AttributesChange) {
        let scope = self.attributes.entry(change.scope).or_default();
        for (name, value) in &change.entries {
            match value {
                Some(value) => drop(scope.insert(name.clone(), value.clone())),
                None => drop(scope.remove(name)),
            }
        }
    }

    /// The name that a mailbox had at the end, where the tail says it.
    pub(super) fn name_of(&self, guid: Guid) -> Option<&MailboxName> {
        let of = self.tree.get(&guid).or_else(|| self.known.get(&guid))?;
        of.name.as_ref().ok()
    }

    /// Mailboxes that the tail made, and that were there at its end.
    pub(super) fn created(&self) -> BTreeSet<Guid> {
        let made = self.mailboxes.iter().filter(|(_, mailbox)| mailbox.created);
        made.map(|(guid, _)| *guid)
            .filter(|guid| self.name_of(*guid).is_some())
            .collect()
    }

    /// Mailboxes that are not there any more.
    pub(super) fn is_gone(&self, guid: Guid) -> bool {
        self.tree.get(&guid).is_some_and(|mailbox| mailbox.name.is_err())
    }
}
