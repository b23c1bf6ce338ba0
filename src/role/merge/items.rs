//! Pieces of a tail, each small enough to be merged at once, in the order in which they are.

use super::mailbox::{NetMailbox, covered, shown};
use super::net::Account;
use crate::limits::{TAIL_ITEM_BYTES, TAIL_ITEM_MESSAGES, TAIL_ITEM_RANGES, TAIL_UNKNOWN_BYTES};
use crate::op::{
    Append, AttributeValue, AttributesChange, Disappearance, Expunge, Guid, MailboxId, MailboxName, MailboxTxn, Modseq,
    Op, Payload, StateChunk, TreeChange, TreeMailbox, UserName,
};
use std::collections::{BTreeMap, BTreeSet};

/// A piece of a tail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// What it says: appends (a *state* where a list only names the messages), changes, or expunges of one mailbox; changes of a
    /// tree; attributes.
    pub payload: Payload,
    /// The mailbox's name at the tail's end, where the tail says it.
    pub name: Option<MailboxName>,
    /// Of a tree: these mailboxes were made. False: they have another name now, or none.
    pub created: bool,
    /// Of a mailbox: every MODSEQ that it had at the fork is below.
    pub before: Modseq,
}

impl Item {
    fn of(payload: Payload) -> Self {
        Self {
            payload,
            name: None,
            created: false,
            before: Modseq(0),
        }
    }
}

/// The pieces of one user's. What arrives comes before anything that left: a move is an arrival first.
pub(super) fn of(user: &UserName, account: &Account) -> Vec<Item> {
    let mut items = trees(user, account);
    let there = || account.mailboxes.iter().filter(|(guid, _)| !account.is_gone(**guid));
    for (guid, mailbox) in there() {
        let name = account.name_of(*guid).cloned();
        let whole = InMailbox {
            user,
            guid: *guid,
            mailbox,
            name,
        };
        items.extend(whole.arrivals());
        items.extend(whole.changes());
    }
    for (guid, mailbox) in there() {
        let name = account.name_of(*guid).cloned();
        items.extend(
            InMailbox {
                user,
                guid: *guid,
                mailbox,
                name,
            }
            .expunges(),
        );
    }
    items.extend(deleted(user, account));
    items.extend(attributes(user, account));
    items
}

fn trees(user: &UserName, account: &Account) -> Vec<Item> {
    let created = account.created();
    let named = |made: bool| -> Vec<TreeMailbox> {
        let all = account
            .known
            .iter()
            .filter(|(guid, _)| !account.tree.contains_key(*guid));
        let all = all.filter(|(guid, _)| created.contains(*guid)).chain(&account.tree);
        let wanted = all.filter(|(guid, mailbox)| mailbox.name.is_ok() && created.contains(*guid) == made);
        wanted.map(|(_, mailbox)| mailbox.clone()).collect()
    };
    let change = |mailboxes| TreeChange {
        user: user.clone(),
        mailboxes,
        ..TreeChange::default()
    };
    let (made, mut rest) = (change(named(true)), change(named(false)));
    rest.subscriptions = account
        .subscriptions
        .iter()
        .map(|(name, on)| (name.clone(), *on))
        .collect();
    let made = (!made.mailboxes.is_empty()).then(|| Item {
        created: true,
        ..Item::of(Payload::Tree(made))
    });
    let rest = (!rest.mailboxes.is_empty() || !rest.subscriptions.is_empty()).then(|| Item::of(Payload::Tree(rest)));
    // a new name may free the one that a mailbox could not be made under
    let again = made.clone().filter(|_| rest.is_some());
    made.into_iter().chain(rest).chain(again).collect()
}

/// Mailboxes from before the tail that it deleted.
fn deleted(user: &UserName, account: &Account) -> Option<Item> {
    let made: BTreeSet<Guid> = account
        .mailboxes
        .iter()
        .filter(|(_, m)| m.created)
        .map(|(guid, _)| *guid)
        .collect();
    let asked = |mailbox: &&TreeMailbox| matches!(mailbox.name, Err(Disappearance::Genuine | Disappearance::Attested));
    let gone = account
        .tree
        .values()
        .filter(asked)
        .filter(|mailbox| !made.contains(&mailbox.guid));
    let mailboxes: Vec<TreeMailbox> = gone.cloned().collect();
    (!mailboxes.is_empty()).then(|| {
        Item::of(Payload::Tree(TreeChange {
            user: user.clone(),
            mailboxes,
            ..TreeChange::default()
        }))
    })
}

fn attributes(user: &UserName, account: &Account) -> Vec<Item> {
    let there = account
        .attributes
        .iter()
        .filter(|(scope, entries)| !entries.is_empty() && !scope.mailbox.is_some_and(|guid| account.is_gone(guid)));
    let change = |entries: &BTreeMap<String, AttributeValue>| {
        entries
            .iter()
            .map(|(name, value)| (name.clone(), Some(value.clone())))
            .collect()
    };
    let item = |(scope, entries): (&_, &BTreeMap<_, _>)| {
        Item::of(Payload::Attributes(AttributesChange {
            user: user.clone(),
            scope: *scope,
            complete: false,
            entries: change(entries),
            fingerprint: Default::default(),
            holders: None,
        }))
    };
    there.map(item).collect()
}

struct InMailbox<'a> {
    user: &'a UserName,
    guid: Guid,
    mailbox: &'a NetMailbox,
    name: Option<MailboxName>,
}

impl InMailbox<'_> {
    fn is(&self) -> MailboxId {
        MailboxId {
            user: self.user.clone(),
            guid: self.guid,
        }
    }

    fn item(&self, payload: Payload) -> Item {
        Item {
            name: self.name.clone(),
            before: self.mailbox.before(),
            ..Item::of(payload)
        }
    }

    fn txn(&self, ops: Vec<Op>) -> Item {
        self.item(Payload::Mailbox(MailboxTxn {
            mailbox: self.is(),
            uidvalidity: self.mailbox.uidvalidity,
            ops,
            uidnext: Default::default(),
            highest_modseq: Default::default(),
            position: Default::default(),
        }))
    }

    fn arrivals(&self) -> Vec<Item> {
        let appended = pieces(self.mailbox.appended.values());
        let listed = pieces(self.mailbox.listed.values());
        let state = |messages| {
            self.item(Payload::State(StateChunk {
                mailbox: self.is(),
                uidvalidity: self.mailbox.uidvalidity,
                messages,
                ..StateChunk::default()
            }))
        };
        let append = |messages: Vec<Append>| self.txn(messages.into_iter().map(Op::Append).collect());
        listed
            .into_iter()
            .map(state)
            .chain(appended.into_iter().map(append))
            .collect()
    }

    /// In one piece: whether a message was changed since the fork is asked once, before the first change is made.
    fn changes(&self) -> Option<Item> {
        (!self.mailbox.changes.is_empty()).then(|| self.txn(self.mailbox.changes.clone()))
    }

    fn expunges(&self) -> Vec<Item> {
        let pieces = self.mailbox.expunged.chunks(TAIL_ITEM_RANGES);
        let modseq = self.mailbox.before();
        let expunge = |uids: &[_]| {
            self.txn(vec![Op::Expunge(Expunge {
                uids: uids.to_vec(),
                requested: true,
                modseq,
            })])
        };
        pieces.map(expunge).collect()
    }
}

/// Messages, as many together as are merged at once.
fn pieces<'a>(messages: impl Iterator<Item = &'a Append>) -> Vec<Vec<Append>> {
    let (mut pieces, mut bytes): (Vec<Vec<Append>>, u64) = (Vec::new(), 0);
    for message in messages {
        let size = message.size.unwrap_or(TAIL_UNKNOWN_BYTES);
        bytes = bytes.saturating_add(size);
        match pieces.last_mut() {
            Some(piece) if piece.len() < TAIL_ITEM_MESSAGES && bytes <= TAIL_ITEM_BYTES => piece.push(message.clone()),
            _ => {
                pieces.push(vec![message.clone()]);
                bytes = size;
            }
        }
    }
    pieces
}

/// What one user's holds, for people.
pub(super) fn lines(user: &UserName, account: &Account) -> Vec<String> {
    let mut lines = Vec::new();
    for mailbox in account.tree.values() {
        let created = account.mailboxes.get(&mailbox.guid).is_some_and(|m| m.created);
        lines.push(match &mailbox.name {
            Ok(name) if created => format!("{user}: mailbox {name} made"),
            Ok(name) => format!("{user}: mailbox {} is called {name}", mailbox.guid),
            Err(_) => format!("{user}: mailbox {} deleted", mailbox.guid),
        });
    }
    for (guid, mailbox) in account.mailboxes.iter().filter(|(guid, _)| !account.is_gone(**guid)) {
        let place = account
            .name_of(*guid)
            .map_or_else(|| guid.to_hex(), ToString::to_string);
        for message in mailbox.appended.values() {
            let size = message.size.map_or_else(String::new, |size| format!(", {size} octets"));
            let flags = shown(message.flags);
            lines.push(
                format!(
                    "{user}: {place}: message {} ({}{size}) {flags}",
                    message.uid, message.guid
                )
                .trim_end()
                .to_owned(),
            );
        }
        if !mailbox.changes.is_empty() {
            lines.push(format!("{user}: {place}: {} changes of flags", mailbox.changes.len()));
        }
        let expunged = covered(&mailbox.expunged);
        if expunged > 0 {
            lines.push(format!("{user}: {place}: up to {expunged} messages expunged"));
        }
    }
    let entries = account
        .attributes
        .values()
        .map(BTreeMap::len)
        .fold(0, usize::saturating_add);
    if entries > 0 {
        lines.push(format!("{user}: {entries} attributes set"));
    }
    lines
}
