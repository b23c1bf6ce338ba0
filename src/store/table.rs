//! What a source remembers between restarts: each user's tree as it was last emitted, and how far each mailbox's log
//! was read. A pure fold over the emitted payloads: a checkpoint plus the frames after it give the same table again.

use crate::op::{Guid, MailboxId, MailboxName, Payload, SourcePosition, TreeChange, UserName};
use std::collections::{BTreeMap, BTreeSet};

/// One mailbox, as last emitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailboxRow {
    /// Its name.
    pub name: MailboxName,
    /// How far its log was emitted; none until its first `state`.
    pub position: Option<SourcePosition>,
}

/// One user, as last emitted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserRow {
    /// Selectable mailboxes.
    pub mailboxes: BTreeMap<Guid, MailboxRow>,
    /// Names that are listed and can't be selected.
    pub noselect: BTreeSet<MailboxName>,
    /// Subscribed names.
    pub subscriptions: BTreeSet<MailboxName>,
}

/// The whole memory of a source: about 200 bytes a mailbox, no messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CaptureTable {
    users: BTreeMap<UserName, UserRow>,
}

impl CaptureTable {
    /// What is remembered of a user; none before its first tree was emitted.
    #[must_use]
    pub fn user(&self, user: &UserName) -> Option<&UserRow> {
        self.users.get(user)
    }

    /// Every remembered user.
    pub fn users(&self) -> impl Iterator<Item = (&UserName, &UserRow)> {
        self.users.iter()
    }

    /// What is remembered of a mailbox.
    #[must_use]
    pub fn mailbox(&self, id: &MailboxId) -> Option<&MailboxRow> {
        self.users.get(&id.user)?.mailboxes.get(&id.guid)
    }

    /// Number of mailboxes of all users.
    #[must_use]
    pub fn mailboxes(&self) -> u64 {
        let count: usize = self.users.values().map(|row| row.mailboxes.len()).sum();
        u64::try_from(count).unwrap_or(u64::MAX)
    }

    /// Takes in one emitted payload, in the order of emission. Frames made for one peer say nothing new about the
    /// source: the caller leaves them out.
    pub fn apply(&mut self, payload: &Payload) {
        match payload {
            Payload::Mailbox(txn) => self.advance(&txn.mailbox, &txn.position),
            Payload::State(chunk) => self.advance(&chunk.mailbox, &chunk.position),
            Payload::Tree(change) => self.change_tree(change),
            Payload::Epoch(_)
            | Payload::Base(_)
            | Payload::BaseEnd(_)
            | Payload::Digest(_)
            | Payload::TreeDigest(_) => {}
        }
    }

    fn advance(&mut self, id: &MailboxId, position: &SourcePosition) {
        let row = self
            .users
            .get_mut(&id.user)
            .and_then(|user| user.mailboxes.get_mut(&id.guid));
        if let Some(row) = row {
            row.position = Some(position.clone());
        }
    }

    /// `complete` is not looked at: a source names every disappearance in the change itself, and a long change may
    /// arrive in parts of which only one is marked.
    fn change_tree(&mut self, change: &TreeChange) {
        let row = self.users.entry(change.user.clone()).or_default();
        for mailbox in &change.mailboxes {
            let Ok(name) = &mailbox.name else {
                row.mailboxes.remove(&mailbox.guid);
                continue;
            };
            row.mailboxes
                .entry(mailbox.guid)
                .and_modify(|known| known.name = name.clone())
                .or_insert_with(|| MailboxRow {
                    name: name.clone(),
                    position: None,
                });
        }
        set_names(&mut row.noselect, &change.noselect);
        set_names(&mut row.subscriptions, &change.subscriptions);
    }
}

fn set_names(names: &mut BTreeSet<MailboxName>, changes: &[(MailboxName, bool)]) {
    for (name, present) in changes {
        if *present {
            names.insert(name.clone());
        } else {
            names.remove(name);
        }
    }
}
