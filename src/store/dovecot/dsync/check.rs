//! What is never said to a Dovecot, because it would abort, destroy or mix up something there.
//!
//! Its server process ends with an assertion where UIDs don't ascend, a message is called changed that it can't know or new
//! that it must know, or a message has no GUID. (Flags that are added and removed at once, and expunges with GUIDs of a
//! wrong form, can't be written here at all: only final flags are sent, and expunges by UID.)

use super::{Delta, MailboxDelta, Message, Owner, State};
use crate::limits::{
    DSYNC_VANISHED_MAX, KEYWORD_BYTES_MAX, MESSAGE_GUID_BYTES_MAX, NAME_BYTES_MAX, NAME_LEVELS_MAX, USER_BYTES_MAX,
};
use crate::op::{Guid, MailboxName, MessageGuid, Modseq, Uid, UidValidity};
use std::collections::{BTreeMap, BTreeSet};

/// A delta that can't be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {why}")]
pub struct Flaw {
    /// What of it: a mailbox's GUID, a name.
    pub place: String,
    /// Why.
    pub why: String,
}

fn flaw(place: impl std::fmt::Display, why: impl Into<String>) -> Flaw {
    Flaw {
        place: place.to_string(),
        why: why.into(),
    }
}

/// One line of a change list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change<'a> {
    /// New since the session's state.
    Saved(&'a Message),
    /// Known to the session's state; as it looks now.
    Flagged(&'a Message),
    /// Known to the session's state; gone.
    Expunged(Uid),
}

impl Change<'_> {
    pub(super) fn uid(&self) -> Uid {
        match self {
            Self::Saved(message) | Self::Flagged(message) => message.uid,
            Self::Expunged(uid) => *uid,
        }
    }
}

/// Checks what can be checked before anything is said.
///
/// # Errors
/// The first thing that is wrong.
pub fn check(delta: &Delta) -> Result<(), Flaw> {
    let user = delta.user.as_str();
    if user.is_empty() || user.len() > USER_BYTES_MAX || user.contains(|c: char| c.is_control()) {
        return Err(flaw("user", "no name of a user"));
    }
    let guids = check_tree(delta)?;
    let mut seen = BTreeSet::new();
    for mailbox in &delta.mailboxes {
        if !guids.contains_key(&mailbox.guid) || !seen.insert(mailbox.guid) {
            return Err(flaw(mailbox.guid, "not in the tree, or there twice"));
        }
        if guids.get(&mailbox.guid) != Some(&(mailbox.uid_validity, mailbox.uid_next)) {
            return Err(flaw(mailbox.guid, "the tree says other numbers"));
        }
        let inbox = delta.tree.iter().find(|node| node.name == MailboxName::inbox());
        let is_inbox = inbox.and_then(|node| Some(node.mailbox?.guid)) == Some(mailbox.guid);
        if !is_inbox
            && mailbox
                .attributes
                .iter()
                .any(|attribute| attribute.owner == Owner::User)
        {
            return Err(flaw(mailbox.guid, "the user's attributes travel with INBOX"));
        }
        check_mailbox(mailbox)?;
    }
    Ok(())
}

type Numbers = BTreeMap<Guid, (UidValidity, Uid)>;

fn check_tree(delta: &Delta) -> Result<Numbers, Flaw> {
    let (mut names, mut guids) = (BTreeSet::new(), Numbers::new());
    for node in &delta.tree {
        let name = &node.name;
        let bytes: usize = name.0.iter().map(String::len).sum();
        if name.0.is_empty() || name.0.iter().any(String::is_empty) {
            return Err(flaw(name, "a level of the name is empty"));
        }
        if name.0.len() > NAME_LEVELS_MAX || bytes > NAME_BYTES_MAX {
            return Err(flaw(name, "the name is too long"));
        }
        if !names.insert(name) {
            return Err(flaw(name, "the name is there twice"));
        }
        let Some(mailbox) = node.mailbox else { continue };
        if mailbox.uid_validity == UidValidity(0) || mailbox.uid_next == Uid(0) || mailbox.guid == Guid::default() {
            return Err(flaw(name, "no GUID, UIDVALIDITY or UIDNEXT"));
        }
        if guids
            .insert(mailbox.guid, (mailbox.uid_validity, mailbox.uid_next))
            .is_some()
        {
            return Err(flaw(name, "two names for one mailbox"));
        }
    }
    Ok(guids)
}

fn check_mailbox(delta: &MailboxDelta) -> Result<(), Flaw> {
    let wrong = |why: &str| Err(flaw(delta.guid, why));
    if let Some(since) = delta.since
        && (since.uid_validity != delta.uid_validity || since.uid >= delta.uid_next || since.modseq == Modseq(0))
    {
        return wrong("it can't follow on its own last state");
    }
    if delta
        .changed
        .iter()
        .any(|message| message.modseq > delta.highest_modseq)
    {
        return wrong("a message's MODSEQ is above the highest");
    }
    if delta.since.is_none() && u32::try_from(delta.changed.len()) != Ok(delta.messages) {
        return wrong("the complete list is not complete");
    }
    let mut last = Uid(0);
    for range in &delta.vanished {
        if range.first <= last || range.last < range.first {
            return wrong("what vanished is out of order");
        }
        last = range.last;
    }
    let both = delta.changed.iter().any(|message| delta.has_vanished(message.uid));
    if both {
        return wrong("a message is there and gone");
    }
    check_list(delta, &list(delta, delta.since, &BTreeMap::new())?, delta.since)
}

/// The change list that tells `delta` in a session that began with `state` and has told `told` (messages above the state's
/// UID) since.
///
/// # Errors
/// It is too long.
pub(super) fn list<'a>(
    delta: &'a MailboxDelta,
    state: Option<State>,
    told: &'a BTreeMap<Uid, Message>,
) -> Result<Vec<Change<'a>>, Flaw> {
    let common = state.map_or(Uid(0), |state| state.uid);
    let mut list: BTreeMap<Uid, Change<'a>> = told.values().map(|m| (m.uid, Change::Saved(m))).collect();
    let mut ordered = true;
    for message in &delta.changed {
        let change = match message.uid > common {
            true => Change::Saved(message),
            false => Change::Flagged(message),
        };
        ordered &= list.insert(message.uid, change).is_none() || told.contains_key(&message.uid);
    }
    if !ordered || !delta.changed.is_sorted_by_key(|message| message.uid) {
        return Err(flaw(delta.guid, "the messages' UIDs don't ascend"));
    }
    if state.is_some() {
        for range in &delta.vanished {
            let last = range.last.min(common).0;
            if last.saturating_sub(range.first.0) > DSYNC_VANISHED_MAX {
                return Err(flaw(delta.guid, "too many UIDs vanished for a list"));
            }
            list.extend((range.first.0..=last).map(|uid| (Uid(uid), Change::Expunged(Uid(uid)))));
        }
    }
    Ok(list.into_values().collect())
}

/// The last look at a change list before it is sent.
///
/// # Errors
/// It would make the server's process abort, or attach what belongs to one message to another.
pub(super) fn check_list(delta: &MailboxDelta, list: &[Change<'_>], state: Option<State>) -> Result<(), Flaw> {
    let common = state.map_or(Uid(0), |state| state.uid);
    let mut last = Uid(0);
    for change in list {
        let uid = change.uid();
        let wrong = |why: &str| Err(flaw(delta.guid, format!("UID {uid}: {why}")));
        if uid <= last {
            return wrong("the list does not ascend");
        }
        last = uid;
        if uid >= delta.uid_next {
            return wrong("UIDNEXT is not above it");
        }
        let allowed = match change {
            Change::Saved(_) => uid > common,
            Change::Flagged(_) | Change::Expunged(_) => uid <= common && state.is_some(),
        };
        if !allowed {
            return wrong("new below the last common UID, or changed above it");
        }
        if let Change::Saved(message) | Change::Flagged(message) = change {
            check_message(message).or_else(wrong)?;
        }
    }
    Ok(())
}

fn check_message(message: &Message) -> Result<(), &'static str> {
    let MessageGuid(guid) = &message.guid;
    if guid.is_empty() || guid.len() > MESSAGE_GUID_BYTES_MAX || guid.contains('\0') {
        return Err("no GUID that can be sent");
    }
    let bad = |name: &str| {
        name.is_empty() || name.len() > KEYWORD_BYTES_MAX || name.contains(|c: char| c.is_control() || c == ' ')
    };
    if message.keywords.iter().any(|keyword| bad(keyword.as_str())) {
        return Err("a keyword that can't be sent");
    }
    Ok(())
}

impl MailboxDelta {
    /// True where `uid` is among those that vanished.
    #[must_use]
    pub fn has_vanished(&self, uid: Uid) -> bool {
        let place = self.vanished.partition_point(|range| range.last < uid);
        self.vanished.get(place).is_some_and(|range| range.contains(uid))
    }
}
