//! What each user has in a store: counted before a migration, and compared after it.

use crate::op::{MailboxName, UserName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One mailbox in figures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailboxSize {
    /// Its name, levels joined by `/`.
    pub mailbox: String,
    /// Messages.
    pub messages: u64,
    /// Octets of all its messages, as a client would fetch them.
    pub bytes: u64,
}

/// What one user has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holding {
    /// Whose.
    pub user: UserName,
    /// False where nobody can log in as this user there: the store has mail, the user database no such name.
    pub known: bool,
    /// Mailboxes that can be selected.
    pub mailboxes: u64,
    /// Messages in all of them.
    pub messages: u64,
    /// Octets of all messages, as a client would fetch them.
    pub bytes: u64,
    /// The mailbox with most octets.
    #[serde(default)]
    pub largest: Option<MailboxSize>,
    /// Mailboxes whose names the other store can't have, levels joined by `/`; at most
    /// [`crate::limits::UNFIT_NAMES_MAX`].
    #[serde(default)]
    pub unfit: Vec<String>,
    /// How many there are.
    #[serde(default)]
    pub unfit_count: u64,
}

impl Holding {
    /// Counts one more mailbox.
    pub fn add(&mut self, name: &MailboxName, messages: u64, bytes: u64, rules: &NameRules) {
        self.mailboxes = self.mailboxes.saturating_add(1);
        self.messages = self.messages.saturating_add(messages);
        self.bytes = self.bytes.saturating_add(bytes);
        let joined = || name.join('/');
        if !rules.allow(name) {
            self.unfit_count = self.unfit_count.saturating_add(1);
            if self.unfit.len() < crate::limits::UNFIT_NAMES_MAX {
                self.unfit.push(joined());
            }
        }
        if self.largest.as_ref().is_none_or(|largest| bytes > largest.bytes) {
            self.largest = Some(MailboxSize {
                mailbox: joined(),
                messages,
                bytes,
            });
        }
    }
}

/// What all users have, by name.
pub type Holdings = BTreeMap<UserName, Holding>;

/// Which names a store can't have as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NameRules {
    /// Characters that no level of a name can hold: `_` stands for them there.
    pub without: String,
}

impl NameRules {
    /// True where the store can have this name as it is.
    #[must_use]
    pub fn allow(&self, name: &MailboxName) -> bool {
        name.0
            .iter()
            .all(|level| level.chars().all(|c| !self.without.contains(c)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(levels: &[&str]) -> MailboxName {
        MailboxName(levels.iter().map(|level| (*level).to_owned()).collect())
    }

    #[test]
    fn a_name_that_the_other_store_can_not_have_is_counted() {
        let rules = NameRules {
            without: ".".to_owned(),
        };
        let mut holding = Holding::default();
        holding.add(&name(&["INBOX"]), 3, 300, &rules);
        holding.add(&name(&["a.b"]), 1, 900, &rules);
        holding.add(&name(&["x", "y.z"]), 0, 0, &rules);
        assert_eq!((holding.mailboxes, holding.messages, holding.bytes), (3, 4, 1_200));
        assert_eq!(
            (holding.unfit_count, holding.unfit),
            (2, vec!["a.b".to_owned(), "x/y.z".to_owned()])
        );
        assert_eq!(holding.largest.map(|largest| largest.mailbox).as_deref(), Some("a.b"));
    }

    #[test]
    fn a_store_without_rules_has_every_name() {
        assert!(NameRules::default().allow(&name(&["a.b%2F", "^~"])));
    }
}
