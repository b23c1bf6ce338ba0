//! Mailboxes that a tail made or renamed, and names that it subscribed.

use super::{Desk, Made, unavailable};
use crate::op::{Guid, MailboxName, TreeChange, UserName};
use crate::role::merge::Tally;
use crate::store::change::Refused;
use crate::store::dovecot::dsync::Node;

impl Desk<'_> {
    /// Makes them under their own GUIDs, where their names are free; their UIDs are new, so their UIDVALIDITY is, too.
    pub(super) fn make(&self, change: &TreeChange) -> Result<Made, Refused> {
        let mut made = Made::default();
        let mut free = Vec::new();
        let look = |tree: &mut Vec<Node>| free = free_in(tree, change);
        let separator = self.merger.speaker().amend(&change.user, look).map_err(unavailable)?;
        for (guid, name) in free {
            self.create(&change.user, guid, &name, separator)?;
            made.tally.mailboxes = made.tally.mailboxes.saturating_add(1);
        }
        Ok(made)
    }

    /// Makes a mailbox, under its GUID from the first moment on. What the name can't have there becomes `_`, as dsync does it.
    pub(super) fn create(
        &self,
        user: &UserName,
        guid: Guid,
        name: &MailboxName,
        separator: char,
    ) -> Result<(), Refused> {
        let levels: Vec<String> = name
            .0
            .iter()
            .map(|level| level.replace([separator, '/'], "_"))
            .collect();
        let (name, guid) = (levels.join(&separator.to_string()), guid.to_hex());
        let words = ["mailbox", "create", "-u", user.as_str(), "-g", &guid, "--", &name];
        self.doveadm(&words).map(drop)
    }

    /// New names where they are free, and subscriptions as they were last. A deleted mailbox stays.
    pub(super) fn rename(&self, change: &TreeChange) -> Result<Made, Refused> {
        let mut made = Made::default();
        let tally = &mut made.tally;
        let edit = |tree: &mut Vec<Node>| {
            rename_all(tree, change, tally);
            for (name, on) in &change.subscriptions {
                subscribe(tree, name, *on);
            }
        };
        self.merger.speaker().amend(&change.user, edit).map_err(unavailable)?;
        Ok(made)
    }
}

fn place_of(tree: &[Node], guid: Guid) -> Option<usize> {
    tree.iter()
        .position(|node| node.mailbox.is_some_and(|there| there.guid == guid))
}

/// Those that are not there, and whose name nobody has.
fn free_in(tree: &[Node], change: &TreeChange) -> Vec<(Guid, MailboxName)> {
    let mut free = Vec::new();
    for mailbox in change
        .mailboxes
        .iter()
        .filter(|mailbox| place_of(tree, mailbox.guid).is_none())
    {
        let Ok(name) = &mailbox.name else { continue };
        let has = |node: &Node| node.name == *name && node.mailbox.is_some();
        if !tree.iter().any(has) && free.iter().all(|(_, other)| other != name) {
            free.push((mailbox.guid, name.clone()));
        }
    }
    free
}

/// One may free the name of another.
fn rename_all(tree: &mut [Node], change: &TreeChange, tally: &mut Tally) {
    let mut wanted = Vec::new();
    for mailbox in change
        .mailboxes
        .iter()
        .filter(|mailbox| place_of(tree, mailbox.guid).is_some())
    {
        match &mailbox.name {
            Ok(name) => wanted.push((mailbox.guid, name)),
            Err(_) => tally.mailboxes_left = tally.mailboxes_left.saturating_add(1),
        }
    }
    let mut open = usize::MAX;
    while wanted.len() < open {
        open = wanted.len();
        wanted.retain(|(guid, name)| !give(tree, *guid, name));
        let given = open.saturating_sub(wanted.len());
        tally.renamed = tally.renamed.saturating_add(u64::try_from(given).unwrap_or(0));
    }
}

/// True where it has the name now, and had another. What lies below it goes along.
fn give(tree: &mut [Node], guid: Guid, name: &MailboxName) -> bool {
    let old = place_of(tree, guid)
        .and_then(|place| tree.get(place))
        .map(|node| node.name.clone());
    let Some(old) = old.filter(|old| old != name && *old != MailboxName::inbox()) else {
        return false;
    };
    let is_taken = tree.iter().any(|node| node.name == *name || node.name.is_below(name));
    if is_taken || name.is_below(&old) {
        return false;
    }
    for node in tree
        .iter_mut()
        .filter(|node| node.name == old || node.name.is_below(&old))
    {
        let rest = node.name.0.iter().skip(old.0.len());
        node.name = MailboxName(name.0.iter().chain(rest).cloned().collect());
    }
    true
}

fn subscribe(tree: &mut Vec<Node>, name: &MailboxName, on: bool) {
    match tree.iter_mut().find(|node| node.name == *name) {
        Some(node) => node.subscribed = on,
        None if on => tree.push(Node {
            name: name.clone(),
            mailbox: None,
            subscribed: true,
        }),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{TreeMailbox, Uid, UidValidity};
    use crate::store::dovecot::dsync::NodeMailbox;

    fn name(levels: &[&str]) -> MailboxName {
        MailboxName::of(levels.iter().copied())
    }

    fn tree(names: &[(&[&str], u8)]) -> Vec<Node> {
        let node = |(levels, guid): &(&[&str], u8)| Node {
            name: name(levels),
            mailbox: Some(NodeMailbox {
                guid: Guid([*guid; 16]),
                uid_validity: UidValidity(1),
                uid_next: Uid(1),
            }),
            subscribed: false,
        };
        names.iter().map(node).collect()
    }

    fn change(wanted: &[(u8, &[&str])]) -> TreeChange {
        let mailboxes = wanted.iter().map(|(guid, levels)| TreeMailbox {
            guid: Guid([*guid; 16]),
            name: Ok(name(levels)),
            special_use: None,
        });
        TreeChange {
            mailboxes: mailboxes.collect(),
            ..TreeChange::default()
        }
    }

    #[test]
    fn names_that_free_each_other_are_given_and_what_lies_below_goes_along() {
        let mut there = tree(&[(&["a"], 1), (&["a", "x"], 2), (&["b"], 3)]);
        let mut tally = Tally::default();
        rename_all(&mut there, &change(&[(3, &["a"]), (1, &["c"])]), &mut tally);
        let named = |guid: u8| there[place_of(&there, Guid([guid; 16])).unwrap()].name.clone();
        assert_eq!(
            (named(1), named(2), named(3)),
            (name(&["c"]), name(&["c", "x"]), name(&["a"]))
        );
        assert_eq!(tally.renamed, 2);
    }

    #[test]
    fn a_taken_name_stays_whose_it_is() {
        let mut there = tree(&[(&["a"], 1), (&["b"], 3)]);
        let before = there.clone();
        let mut tally = Tally::default();
        rename_all(&mut there, &change(&[(3, &["a"]), (9, &["z"])]), &mut tally);
        let wanted: [(u8, &[&str]); 4] = [(7, &["a"]), (1, &["x"]), (8, &["y"]), (9, &["y"])];
        let free = free_in(&there, &change(&wanted));
        assert_eq!(free, [(Guid([8; 16]), name(&["y"]))]);
        assert_eq!((there, tally), (before, Tally::default()));
    }
}
