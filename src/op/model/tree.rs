//! What a change of a user's tree means.

use super::{Account, Mailbox};
use crate::op::{Disappearance, Guid, MailboxName, TreeChange, UidValidity};

impl Account {
    /// Applies the change at once: first every changed mailbox lets its name go, then the new names are given, so that
    /// swaps and chains of renames are legal.
    pub(super) fn tree(&mut self, change: &TreeChange) {
        if change.complete {
            self.leave_out(change);
        }
        if let Some(namespaces) = &change.namespaces {
            self.namespaces = namespaces.clone();
        }
        for mailbox in &change.mailboxes {
            match mailbox.name {
                Ok(_) => self.mailboxes.entry(mailbox.guid).or_default().name = None,
                Err(Disappearance::Genuine | Disappearance::Attested) => self.delete_or_doom(mailbox.guid),
                Err(Disappearance::Inferred) => self.vanish(mailbox.guid, "it vanished without a deletion"),
            }
        }
        for mailbox in &change.mailboxes {
            if let Ok(name) = &mailbox.name {
                self.name(mailbox.guid, name, mailbox.special_use.clone());
            }
        }
        for mailbox in change.mailboxes.iter().filter(|mailbox| mailbox.name.is_ok()) {
            self.renumbered_into(mailbox.guid);
        }
        for (name, how) in &change.unselectable {
            match how {
                Some(how) => self.unselectable.insert(name.clone(), *how),
                None => self.unselectable.remove(name),
            };
        }
        for (name, on) in &change.subscriptions {
            let known = self.subscribed.contains(name);
            if *on && !known {
                self.subscribed.push(name.clone());
            } else if !on {
                self.subscribed.retain(|subscribed| subscribed != name);
            }
        }
    }

    /// A complete tree replaces everything. A mailbox that is not in it is only inferred gone.
    fn leave_out(&mut self, change: &TreeChange) {
        let listed = |guid: &Guid| change.mailboxes.iter().any(|mailbox| mailbox.guid == *guid);
        let absent: Vec<Guid> = self.mailboxes.keys().filter(|guid| !listed(guid)).copied().collect();
        absent
            .into_iter()
            .for_each(|guid| self.vanish(guid, "the complete tree lacks it"));
        self.unselectable.clear();
        self.subscribed.clear();
    }

    /// One of which no list ever came has nothing that could be lost.
    fn vanish(&mut self, guid: Guid, why: &str) {
        let mailbox = self.mailboxes.get(&guid);
        let unlisted = |mailbox: &Mailbox| mailbox.uidvalidity == UidValidity(0) && mailbox.quarantine.held.is_none();
        if mailbox.is_some_and(unlisted) {
            return self.delete_or_doom(guid);
        }
        if let Some(mailbox) = self.mailboxes.get_mut(&guid) {
            mailbox.quarantine.vanished.get_or_insert_with(|| why.to_owned());
        }
    }

    /// Deletes, or hides while a message of it may still be on its way to another mailbox that is held.
    fn delete_or_doom(&mut self, guid: Guid) {
        if let Some(mailbox) = self.mailboxes.get_mut(&guid) {
            mailbox.name = None;
            mailbox.quarantine.held = None;
            mailbox.quarantine.diverted.clear();
            mailbox.quarantine.doomed = true;
        }
    }

    /// A name has one mailbox: another one that still has it is hidden, and that is noted.
    fn name(&mut self, guid: Guid, name: &MailboxName, special_use: Option<String>) {
        let others = self.mailboxes.iter_mut().filter(|(other, _)| **other != guid);
        for (_, other) in others.filter(|(_, other)| other.name.as_ref() == Some(name)) {
            other.name = None;
            other
                .quarantine
                .vanished
                .get_or_insert_with(|| "its name is another mailbox's now".to_owned());
        }
        let mailbox = self.mailboxes.entry(guid).or_default();
        (mailbox.name, mailbox.special_use) = (Some(name.clone()), special_use);
        mailbox.last_name = Some(name.clone());
        mailbox.quarantine.vanished = None;
        mailbox.quarantine.doomed = false;
    }
}
