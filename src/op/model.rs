//! The pure model: what each operation *means* for a copy, in memory and without any haste. It is the specification
//! of a target, and the oracle that a real one is tested against.
//!
//! A copy is a set of accounts; an account is a tree and its mailboxes; a mailbox is a list of messages and a
//! quarantine entry. [`Model::apply`] decides one transaction: applies it, diverts it, or finds that it changes nothing.

mod attributes;
mod mailbox;
mod state;
mod tree;

pub use attributes::RetainedAttribute;
pub use mailbox::{Mailbox, Quarantine};

use super::digest::Sum;
use super::{
    AttributeKind, AttributeScope, Attributes, Epoch, GoneQuestion, Guid, MailboxDigest, MailboxId, MailboxName,
    MessageGuid, Namespaces, Payload, TreeDigest, Uid, Unselectable, UserName, whole,
};
use std::collections::{BTreeMap, BTreeSet};

/// A whole copy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    /// By user.
    pub accounts: BTreeMap<UserName, Account>,
    /// True from a `base` until its end.
    pub building: bool,
}

/// One user's mail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// By GUID. One without a name is hidden: no client sees it.
    pub mailboxes: BTreeMap<Guid, Mailbox>,
    /// How clients see its names.
    pub namespaces: Namespaces,
    /// Names that are listed without being selectable, and how.
    pub unselectable: BTreeMap<MailboxName, Unselectable>,
    /// Subscribed names in the order of subscribing.
    pub subscribed: Vec<MailboxName>,
    /// Messages that left, kept undoable: where they were, and their GUID.
    pub retained: Vec<(Guid, Uid, MessageGuid)>,
    /// Attributes of the user and of the mailboxes.
    pub attributes: BTreeMap<AttributeScope, Attributes>,
    /// Attributes that left or were overwritten, kept undoable.
    pub retained_attributes: Vec<RetainedAttribute>,
}

impl Model {
    /// Decides one transaction: one payload, or those of a run. `answers` are the source's to [`Model::questions`].
    pub fn apply(&mut self, transaction: &[Payload], answers: &[(GoneQuestion, BTreeSet<Uid>)]) {
        for payload in whole(transaction.iter().cloned()) {
            match payload {
                Payload::Mailbox(txn) => self.account(&txn.mailbox.user).transaction(txn),
                Payload::State(state) => self.account(&state.mailbox.user).state(state, answers),
                Payload::Tree(change) => self.account(&change.user).tree(&change),
                Payload::Attributes(change) => self.account(&change.user).attributes(&change),
                Payload::Base(_) => self.building = true,
                Payload::BaseEnd(_) => self.building = false,
                Payload::Epoch(start) => {
                    self.building |= start.previous == Epoch(0);
                    let mailboxes = self
                        .accounts
                        .values_mut()
                        .flat_map(|account| account.mailboxes.values_mut());
                    mailboxes.for_each(|mailbox| mailbox.begin_epoch(start.leap));
                }
                Payload::Digest(_) | Payload::TreeDigest(_) | Payload::Merged(_) => {}
            }
        }
        self.accounts.values_mut().for_each(Account::settle);
    }

    /// What must be asked before the transaction can be decided: of a `state` whose lineage is whole, whether the
    /// messages that it lacks are really gone.
    #[must_use]
    pub fn questions(&self, transaction: &[Payload]) -> Vec<GoneQuestion> {
        let mut questions = Vec::new();
        for payload in whole(transaction.iter().cloned()) {
            if let Payload::State(state) = payload
                && let Some(mailbox) = self.mailbox(&state.mailbox)
            {
                questions.extend(mailbox.question(&state));
            }
        }
        questions
    }

    fn account(&mut self, user: &UserName) -> &mut Account {
        self.accounts.entry(user.clone()).or_default()
    }

    /// A mailbox, hidden or not.
    #[must_use]
    pub fn mailbox(&self, id: &MailboxId) -> Option<&Mailbox> {
        self.accounts.get(&id.user)?.mailboxes.get(&id.guid)
    }

    /// What a mailbox holds, as the digest without bodies that its source would make.
    #[must_use]
    pub fn digest(&self, id: &MailboxId) -> Option<MailboxDigest> {
        let mailbox = self.mailbox(id)?;
        let mut digest = MailboxDigest::empty(id.clone(), mailbox.uidvalidity, mailbox.uidnext, mailbox.highest_modseq);
        mailbox.messages.values().for_each(|message| digest.add(message));
        digest.lower(mailbox.modseq_lift);
        Some(digest)
    }

    /// A user's tree as a digest.
    #[must_use]
    pub fn tree_digest(&self, user: &UserName) -> TreeDigest {
        let mut digest = TreeDigest::empty(user.clone());
        digest.attributes = AttributeKind::ALL.map(|kind| (kind, Sum::default())).to_vec();
        let Some(account) = self.accounts.get(user) else {
            return digest;
        };
        for (guid, mailbox) in &account.mailboxes {
            mailbox.name.iter().for_each(|name| digest.add(b'm', &guid.0, name));
            if let (Some(_), Some(special)) = (&mailbox.name, &mailbox.special_use) {
                digest.add(b'u', &guid.0, &MailboxName::of([special]));
            }
        }
        digest.add(b'h', &[], &account.namespaces.to_levels());
        for (name, how) in &account.unselectable {
            digest.add(b'n', &how.to_mark(), name);
        }
        account.subscribed.iter().for_each(|name| digest.add(b's', &[], name));
        let seen = |mailbox: &Guid| {
            account
                .mailboxes
                .get(mailbox)
                .is_some_and(|mailbox| mailbox.name.is_some())
        };
        let scopes = account.attributes.iter();
        for (scope, entries) in scopes.filter(|(scope, _)| scope.mailbox.as_ref().is_none_or(seen)) {
            for (name, value) in entries {
                digest.add_attribute(*scope, name, value);
            }
        }
        digest
    }
}

impl Account {
    /// GUIDs whose append stands in a diverted transaction. While one does, no expunge of that GUID is applied in this
    /// account: the expunge may be the other half of a move.
    fn held_appends(&self) -> BTreeSet<MessageGuid> {
        let diverted = self.mailboxes.values().flat_map(|mailbox| &mailbox.quarantine.diverted);
        let guids = diverted.flat_map(|payload| match payload {
            Payload::Mailbox(txn) => txn.appends().map(|append| append.guid.clone()).collect(),
            Payload::State(state) => state.messages.iter().map(|message| message.guid.clone()).collect(),
            _ => Vec::new(),
        });
        guids.filter(|guid| !guid.is_unknown()).collect()
    }

    /// Applies what waited for appends that are held no longer.
    fn settle(&mut self) {
        let held = self.held_appends();
        for (guid, mailbox) in &mut self.mailboxes {
            let due = mailbox
                .quarantine
                .deferred
                .iter()
                .filter(|(_, message)| !held.contains(*message));
            for uid in due.map(|(uid, _)| *uid).collect::<Vec<_>>() {
                self.retained
                    .extend(mailbox.remove(uid).map(|message| (*guid, uid, message)));
            }
        }
        let due = |mailbox: &Mailbox| mailbox.quarantine.doomed && !mailbox.holds_any(&held);
        let doomed: Vec<Guid> = self
            .mailboxes
            .iter()
            .filter(|(_, m)| due(m))
            .map(|(guid, _)| *guid)
            .collect();
        doomed.into_iter().for_each(|guid| self.delete(guid));
    }

    /// Deletes a mailbox; its messages are retained.
    fn delete(&mut self, guid: Guid) {
        self.delete_attributes(guid);
        if let Some(mailbox) = self.mailboxes.remove(&guid) {
            let messages = mailbox.messages.into_values();
            self.retained
                .extend(messages.map(|message| (guid, message.uid, message.guid)));
        }
    }
}

#[cfg(test)]
mod tests;
