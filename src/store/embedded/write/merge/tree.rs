//! Mailboxes that a tail made, renamed or deleted, and names that it subscribed.

use super::super::super::bodies;
use super::super::super::mailbox::{Mailbox, stored_name};
use super::super::built::{Stop, refuse};
use super::super::fresh::Fresh;
use super::super::hierarchy::{Listed, Names, payloads};
use super::super::names;
use super::super::txn::first_list;
use super::Made;
use crate::op::{Disappearance, Guid, MailboxId, MailboxName, Payload, TreeChange, TreeMailbox, UserName};
use crate::store::change::Reason;
use rusqlite::{Connection, params};

fn is_there(tx: &Connection, user: &UserName, guid: Guid) -> Result<bool, Stop> {
    let is = MailboxId {
        user: user.clone(),
        guid,
    };
    Ok(Mailbox::load(tx, &is)?.is_some())
}

/// Makes them under their own GUIDs, where their names are free; their UIDs are new, so their UIDVALIDITY is, too.
pub(super) fn make(tx: &Connection, fresh: &mut Fresh, change: &TreeChange) -> Result<Made, Stop> {
    let mut made = Made::default();
    let mut names = Names::load(tx, &change.user)?;
    let mut tree = names.change();
    let mut lists = Vec::new();
    for mailbox in &change.mailboxes {
        let Ok(name) = &mailbox.name else { continue };
        let taken = matches!(names.get(name), Some(Listed::Mailbox(..)));
        if taken || is_there(tx, &change.user, mailbox.guid)? || refused(names::check(name, &names.namespaces))? {
            continue;
        }
        let listed = Listed::Mailbox(mailbox.guid, mailbox.special_use.clone());
        names.add(&mut tree, name.clone(), listed);
        let is = MailboxId {
            user: change.user.clone(),
            guid: mailbox.guid,
        };
        lists.push(first_list(is, fresh.uidvalidity()));
        made.tally.mailboxes = made.tally.mailboxes.saturating_add(1);
    }
    if !lists.is_empty() {
        made.payloads = payloads(tree);
        made.payloads.extend(lists);
    }
    Ok(made)
}

/// A name that can't be here: its mail finds another place.
fn refused(checked: Result<(), Stop>) -> Result<bool, Stop> {
    match checked {
        Ok(()) => Ok(false),
        Err(Stop::Refused(_)) => Ok(true),
        Err(store) => Err(store),
    }
}

/// New names where they are free; deletions as an operator must decide of them; subscriptions as they were last.
pub(super) fn rename(tx: &Connection, change: &TreeChange) -> Result<Made, Stop> {
    let mut made = Made::default();
    let mut names = Names::load(tx, &change.user)?;
    let mut tree = names.change();
    let mut renamed = Vec::new();
    for mailbox in &change.mailboxes {
        if !is_there(tx, &change.user, mailbox.guid)? {
            continue;
        }
        match &mailbox.name {
            Ok(name) => renamed.push((mailbox.guid, name)),
            Err(_) => {
                tree.mailboxes.push(TreeMailbox {
                    name: Err(Disappearance::Inferred),
                    ..mailbox.clone()
                });
                made.tally.mailboxes_quarantined = made.tally.mailboxes_quarantined.saturating_add(1);
            }
        }
    }
    // one may free the name of another
    let mut open = usize::MAX;
    while renamed.len() < open {
        open = renamed.len();
        let mut left = Vec::new();
        for (guid, name) in renamed {
            if !give(&mut names, &mut tree, (guid, name))? {
                left.push((guid, name));
            }
        }
        made.tally.renamed = made
            .tally
            .renamed
            .saturating_add(u64::try_from(open.saturating_sub(left.len())).unwrap_or(0));
        renamed = left;
    }
    for (name, on) in &change.subscriptions {
        if is_subscribed(tx, &change.user, name)? != *on {
            tree.subscriptions.push((name.clone(), *on));
        }
    }
    if tree.mailboxes.len() > crate::limits::TAIL_EXPUNGES_MAX {
        return refuse(Reason::Limit, "the tail changes too many names at once");
    }
    if !tree.mailboxes.is_empty() || !tree.subscriptions.is_empty() {
        made.payloads = vec![Payload::Tree(tree)];
    }
    Ok(made)
}

/// True where it has the name now, and had another.
fn give(names: &mut Names, tree: &mut TreeChange, (guid, name): (Guid, &MailboxName)) -> Result<bool, Stop> {
    let Some((old, listed)) = names.of(guid) else {
        return Ok(false);
    };
    if old == *name || names.get(name).is_some() || refused(names::check(name, &names.namespaces))? {
        return Ok(false);
    }
    names.free(tree, &old);
    names.add(tree, name.clone(), listed);
    names.prune_above(tree, &old);
    Ok(true)
}

fn is_subscribed(tx: &Connection, user: &UserName, name: &MailboxName) -> Result<bool, Stop> {
    let Some(user) = bodies::known_user(tx, user)? else {
        return Ok(false);
    };
    let found = tx
        .prepare_cached("SELECT 1 FROM subscriptions WHERE user = ?1 AND name = ?2")?
        .exists(params![user, stored_name(name)])?;
    Ok(found)
}
