//! A user's names at one moment, and what a change of them leaves behind; DELETE, SUBSCRIBE.

use super::super::super::change::{Changed, Reason};
use super::super::bodies;
use super::super::mailbox::{read_name, stored_name};
use super::built::{Built, Stop, refuse};
use super::lookup::namespaces;
use super::names;
use crate::limits::{NAME_BYTES_MAX, NAME_LEVELS_MAX};
use crate::op::{
    Disappearance, Guid, MailboxName, Namespaces, Payload, TreeChange, TreeMailbox, Unselectable, UserName,
};
use crate::store::target::TargetError;
use rusqlite::{Connection, params};
use std::collections::BTreeMap;
use std::ops::Bound;

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Listed {
    /// A mailbox, with its special use.
    Mailbox(Guid, Option<String>),
    /// It can't be selected.
    Unselectable(Unselectable),
}

/// Every listed name of a user.
pub(super) struct Names {
    user: UserName,
    /// True where clients know how names are written; the first tree tells it.
    told: bool,
    pub(super) namespaces: Namespaces,
    listed: BTreeMap<MailboxName, Listed>,
}

impl Names {
    /// Reads them. A new user's are written as everybody's.
    pub(super) fn load(tx: &Connection, user: &UserName) -> Result<Self, Stop> {
        let told = namespaces(tx, user)?;
        let mut names = Self {
            user: user.clone(),
            told: told.is_some(),
            namespaces: told.map_or_else(|| super::lookup::usual_namespaces(tx), Ok)?,
            listed: BTreeMap::new(),
        };
        if let Some(user) = bodies::known_user(tx, user)? {
            names.read(tx, user)?;
        }
        Ok(names)
    }

    fn read(&mut self, tx: &Connection, user: i64) -> Result<(), Stop> {
        let broken = |what: &dyn std::fmt::Display| TargetError::Halt(format!("a stored mailbox name: {what}"));
        let mut statement =
            tx.prepare_cached("SELECT name, guid, special_use FROM mailboxes WHERE user = ?1 AND name IS NOT NULL")?;
        let mut rows = statement.query([user])?;
        while let Some(row) = rows.next()? {
            let name = read_name(&row.get::<_, String>(0)?).map_err(|e| broken(&e))?;
            self.listed
                .insert(name, Listed::Mailbox(Guid(row.get(1)?), row.get(2)?));
        }
        let mut statement = tx.prepare_cached("SELECT name, mark FROM unselectable WHERE user = ?1")?;
        let mut rows = statement.query([user])?;
        while let Some(row) = rows.next()? {
            let name = read_name(&row.get::<_, String>(0)?).map_err(|e| broken(&e))?;
            let how = Unselectable::from_mark(&row.get::<_, Vec<u8>>(1)?).ok_or_else(|| broken(&"its mark"))?;
            // Where a mailbox has the name, it is listed as that.
            self.listed.entry(name).or_insert(Listed::Unselectable(how));
        }
        Ok(())
    }

    /// What the name stands for.
    pub(super) fn get(&self, name: &MailboxName) -> Option<&Listed> {
        self.listed.get(name)
    }

    /// The name of a mailbox, and what it stands for.
    pub(super) fn of(&self, guid: Guid) -> Option<(MailboxName, Listed)> {
        let is = |(_, listed): &(&MailboxName, &Listed)| matches!(listed, Listed::Mailbox(known, _) if *known == guid);
        let (name, listed) = self.listed.iter().find(is)?;
        Some((name.clone(), listed.clone()))
    }

    /// Names below this one, in order.
    pub(super) fn below<'n>(&'n self, name: &'n MailboxName) -> impl Iterator<Item = (&'n MailboxName, &'n Listed)> {
        let behind = self.listed.range((Bound::Excluded(name), Bound::Unbounded));
        behind.take_while(|(other, _)| other.is_below(name))
    }

    /// A change that changes nothing yet; the user's first one tells how names are written.
    pub(super) fn change(&self) -> TreeChange {
        TreeChange {
            user: self.user.clone(),
            namespaces: (!self.told).then(|| self.namespaces.clone()),
            ..TreeChange::default()
        }
    }

    /// The name is listed from now on, and what lies above it, too.
    pub(super) fn add(&mut self, change: &mut TreeChange, name: MailboxName, listed: Listed) {
        for levels in 1..name.0.len() {
            let parent = MailboxName(name.0.iter().take(levels).cloned().collect());
            // INBOX is there for everybody, and made when the first message comes.
            let is_there = parent == MailboxName::inbox()
                || self.listed.contains_key(&parent)
                || names::is_prefix(&parent, &self.namespaces);
            if !is_there {
                self.put(change, parent, Listed::Unselectable(Unselectable::Noselect));
            }
        }
        if matches!(self.listed.get(&name), Some(Listed::Unselectable(_))) {
            change.unselectable.push((name.clone(), None));
        }
        self.put(change, name, listed);
    }

    fn put(&mut self, change: &mut TreeChange, name: MailboxName, listed: Listed) {
        match &listed {
            Listed::Unselectable(how) => change.unselectable.push((name.clone(), Some(*how))),
            Listed::Mailbox(guid, special_use) => change.mailboxes.push(TreeMailbox {
                guid: *guid,
                name: Ok(name.clone()),
                special_use: special_use.clone(),
            }),
        }
        self.listed.insert(name, listed);
    }

    /// The name is free. (A mailbox that had it is named or deleted by the caller.)
    pub(super) fn free(&mut self, change: &mut TreeChange, name: &MailboxName) {
        if let Some(Listed::Unselectable(_)) = self.listed.remove(name) {
            change.unselectable.push((name.clone(), None));
        }
    }

    /// A name that only stood above others goes with the last of them, and so on upwards.
    pub(super) fn prune_above(&mut self, change: &mut TreeChange, name: &MailboxName) {
        for levels in (1..name.0.len()).rev() {
            let parent = MailboxName(name.0.iter().take(levels).cloned().collect());
            let empty = matches!(self.listed.get(&parent), Some(Listed::Unselectable(_)))
                && self.below(&parent).next().is_none();
            if !empty {
                return;
            }
            self.free(change, &parent);
        }
    }
}

/// A change of the tree as a transaction's payloads.
pub(super) fn payloads(change: TreeChange) -> Vec<Payload> {
    vec![Payload::Tree(change)]
}

/// The mailbox goes; where others lie below it, its name stays and can't be selected.
pub(super) fn delete(tx: &Connection, user: &UserName, name: &MailboxName) -> Result<Built, Stop> {
    if *name == MailboxName::inbox() {
        return refuse(Reason::Cannot, "INBOX stays");
    }
    let mut names = Names::load(tx, user)?;
    let mut change = names.change();
    let parent = names.below(name).next().is_some();
    match names.get(name).cloned() {
        None => return refuse(Reason::Nonexistent, "there is no such mailbox"),
        Some(Listed::Unselectable(_)) if parent => {
            return refuse(Reason::Cannot, "mailboxes below it must be deleted first");
        }
        Some(Listed::Unselectable(_)) => names.free(&mut change, name),
        Some(Listed::Mailbox(guid, _)) => {
            change.mailboxes.push(TreeMailbox {
                guid,
                name: Err(Disappearance::Genuine),
                special_use: None,
            });
            names.free(&mut change, name);
            if parent {
                names.add(&mut change, name.clone(), Listed::Unselectable(Unselectable::Noselect));
            }
        }
    }
    if !parent {
        names.prune_above(&mut change, name);
    }
    Ok(Built::of(payloads(change), Changed::Done(None)))
}

/// A name can be subscribed without being there.
pub(super) fn subscribe(tx: &Connection, user: &UserName, name: &MailboxName, on: bool) -> Result<Built, Stop> {
    let bytes = name.0.iter().map(String::len).fold(0, usize::saturating_add);
    if name.0.is_empty() || name.0.len() > NAME_LEVELS_MAX || bytes > NAME_BYTES_MAX {
        return refuse(Reason::Cannot, "no name is like this");
    }
    let is_subscribed = match bodies::known_user(tx, user)? {
        Some(user) => tx
            .prepare_cached("SELECT 1 FROM subscriptions WHERE user = ?1 AND name = ?2")?
            .exists(params![user, stored_name(name)])?,
        None => false,
    };
    if is_subscribed == on {
        return Ok(Built::nothing(Changed::Done(None)));
    }
    let change = TreeChange {
        user: user.clone(),
        subscriptions: vec![(name.clone(), on)],
        ..TreeChange::default()
    };
    Ok(Built::of(payloads(change), Changed::Done(None)))
}
