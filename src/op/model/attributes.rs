//! What a change of attributes means.

use super::Account;
use crate::op::{AttributeScope, Attributes, AttributesChange, BodyHash, Guid};

/// An attribute that left or got another value, kept undoable: where it was, its name, and the hash of its value.
pub type RetainedAttribute = (AttributeScope, String, BodyHash);

impl Account {
    /// Applies the change whether or not the mailbox is known, held or visible: attributes hang on GUIDs alone.
    pub(super) fn attributes(&mut self, change: &AttributesChange) {
        let before = self.attributes.remove(&change.scope).unwrap_or_default();
        let mut after = before.clone();
        change.apply_to(&mut after);
        let left = before
            .into_iter()
            .filter(|(name, value)| after.get(name) != Some(value));
        self.retain_attributes(change.scope, left.collect());
        if !after.is_empty() {
            self.attributes.insert(change.scope, after);
        }
        if let Some(holders) = &change.holders {
            let holds = |mailbox: &Guid| holders.contains(mailbox);
            self.take_attributes(|scope| scope.kind == change.scope.kind && !scope.mailbox.as_ref().is_none_or(holds));
        }
    }

    /// A mailbox's attributes go with it.
    pub(super) fn delete_attributes(&mut self, mailbox: Guid) {
        self.take_attributes(|scope| scope.mailbox == Some(mailbox));
    }

    fn take_attributes(&mut self, which: impl Fn(&AttributeScope) -> bool) {
        let taken = self.attributes.extract_if(.., |scope, _| which(scope));
        for (scope, entries) in taken.collect::<Vec<_>>() {
            self.retain_attributes(scope, entries);
        }
    }

    fn retain_attributes(&mut self, scope: AttributeScope, entries: Attributes) {
        let left = entries.into_iter().map(|(name, value)| (scope, name, value.hash()));
        self.retained_attributes.extend(left);
    }
}
