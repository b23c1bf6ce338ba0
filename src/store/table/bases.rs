//! Bases that are being made, each for one peer: what of them was not emitted yet. So a restart goes on where it was.

use crate::op::{Guid, Lsn, MailboxId, NodeName, Payload, UserName};
use std::collections::{BTreeMap, BTreeSet};

/// A base between its start and its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenBase {
    /// LSN of its `base` frame.
    pub begun: Lsn,
    /// Whose tree was not emitted yet (none), and which mailboxes of the others were not listed yet.
    left: BTreeMap<UserName, Option<BTreeSet<Guid>>>,
}

impl OpenBase {
    /// Begins with these users.
    pub(super) fn begin<'a>(begun: Lsn, users: impl Iterator<Item = &'a UserName>) -> Self {
        Self {
            begun,
            left: users.map(|user| (user.clone(), None)).collect(),
        }
    }

    /// Users of whom something is left.
    pub fn users(&self) -> impl Iterator<Item = &UserName> {
        self.left.keys()
    }

    /// Mailboxes of a user that were not listed yet; none where his tree was not emitted either.
    #[must_use]
    pub fn mailboxes(&self, user: &UserName) -> Option<&BTreeSet<Guid>> {
        self.left.get(user)?.as_ref()
    }

    /// As a checkpoint holds it: each user, with the mailboxes that are left where his tree is out.
    pub(super) fn left(&self) -> impl Iterator<Item = (&UserName, Option<&BTreeSet<Guid>>)> {
        self.left.iter().map(|(user, left)| (user, left.as_ref()))
    }

    /// Reads one of [`Self::left`] back: a user, or (`mailbox`) a mailbox of his.
    pub(super) fn restore(&mut self, user: UserName, tree_is_out: bool, mailbox: Option<Guid>) {
        let left = self.left.entry(user).or_default();
        if tree_is_out || mailbox.is_some() {
            left.get_or_insert_default().extend(mailbox);
        }
    }

    /// Takes in a payload that was emitted for the peer. A long tree comes in parts; of a long list the first part counts,
    /// for a run is durable as a whole.
    pub(super) fn apply(&mut self, payload: &Payload) {
        match payload {
            Payload::Tree(tree) => {
                if let Some(left) = self.left.get_mut(&tree.user) {
                    let named = tree.mailboxes.iter().filter(|mailbox| mailbox.name.is_ok());
                    left.get_or_insert_default().extend(named.map(|mailbox| mailbox.guid));
                }
            }
            Payload::State(list) => self.listed(&list.mailbox),
            _ => {}
        }
    }

    fn listed(&mut self, mailbox: &MailboxId) {
        if let Some(Some(left)) = self.left.get_mut(&mailbox.user) {
            left.remove(&mailbox.guid);
            if left.is_empty() {
                self.left.remove(&mailbox.user);
            }
        }
    }
}

/// All of them, by peer.
pub(super) type Bases = BTreeMap<NodeName, OpenBase>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{MailboxName, StateChunk, TreeChange, TreeMailbox};
    use crate::store::table::CaptureTable;

    fn tree(user: &str, guids: &[u8]) -> Payload {
        let mailbox = |guid: &u8| TreeMailbox {
            guid: Guid([*guid; 16]),
            name: Ok(MailboxName::of([guid.to_string()])),
            special_use: None,
        };
        Payload::Tree(TreeChange {
            user: UserName::from(user),
            complete: true,
            mailboxes: guids.iter().map(mailbox).collect(),
            ..TreeChange::default()
        })
    }

    fn state(user: &str, guid: u8) -> Payload {
        Payload::State(StateChunk {
            mailbox: MailboxId {
                user: UserName::from(user),
                guid: Guid([guid; 16]),
            },
            ..StateChunk::default()
        })
    }

    fn base() -> Payload {
        Payload::Base(crate::op::BaseStart {
            reason: "new".to_owned(),
        })
    }

    fn read_back(table: &CaptureTable) -> CaptureTable {
        let parts: Vec<Vec<u8>> = table.parts().collect::<Result<_, _>>().unwrap();
        CaptureTable::from_parts(parts.iter().map(Vec::as_slice)).unwrap()
    }

    #[test]
    fn a_primary_killed_in_a_base_lists_only_what_was_not_listed() {
        let peer = NodeName::from("mail-b");
        let mut table = CaptureTable::default();
        for user in ["ann", "bob", "cid"] {
            table.apply(&tree(user, &[1, 2, 3]));
        }
        let emitted = [
            base(),
            tree("ann", &[1, 2, 3]),
            state("ann", 1),
            state("ann", 2),
            state("ann", 3),
            tree("bob", &[1, 2, 3]),
            state("bob", 2),
        ];
        for (payload, lsn) in emitted.iter().zip(40..) {
            table.apply_for(&peer, Lsn(lsn), payload);
            assert_eq!(read_back(&table), table, "at {lsn}");
        }
        let open = read_back(&table).base(&peer).cloned().unwrap();
        assert_eq!(open.begun, Lsn(40));
        let users: Vec<&str> = open.users().map(UserName::as_str).collect();
        assert_eq!(users, ["bob", "cid"]);
        let left: Vec<Guid> = open
            .mailboxes(&UserName::from("bob"))
            .unwrap()
            .iter()
            .copied()
            .collect();
        assert_eq!(left, [Guid([1; 16]), Guid([3; 16])]);
        assert_eq!(open.mailboxes(&UserName::from("cid")), None);
        table.apply_for(&peer, Lsn(90), &Payload::BaseEnd(Lsn(40)));
        assert!(table.base(&peer).is_none());
    }

    #[test]
    fn a_second_base_begins_anew_and_another_peers_base_goes_on() {
        let (one, other) = (NodeName::from("mail-b"), NodeName::from("mail-c"));
        let mut table = CaptureTable::default();
        table.apply(&tree("ann", &[1]));
        table.apply_for(&other, Lsn(1), &base());
        table.apply_for(&one, Lsn(2), &base());
        table.apply_for(&one, Lsn(3), &tree("ann", &[1]));
        table.apply_for(&one, Lsn(4), &base());
        assert_eq!(
            table.base(&one).and_then(|open| open.mailboxes(&UserName::from("ann"))),
            None
        );
        assert_eq!(table.bases().count(), 2);
        assert_eq!(read_back(&table), table);
    }
}
