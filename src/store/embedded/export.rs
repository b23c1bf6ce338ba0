//! The store as a source: what it holds, said in payloads, for a base, a repair or a comparison.

use super::super::target::TargetError;
use super::attributes;
use super::bodies;
use super::digest;
use super::mailbox::{Mailbox, read_name};
use super::merged;
use super::store::Store;
use super::tree;
use super::write::position;
use crate::limits::MERGED_MESSAGES_MAX;
use crate::op::digest::Sum;
use crate::op::{
    AttributeKind, AttributeScope, AttributesChange, Disappearance, Guid, Lineage, MailboxDigest, MailboxId,
    MailboxName, Merged, StateChunk, TreeChange, TreeDigest, TreeMailbox, Unselectable, UserName,
};
use rusqlite::Connection;
use std::sync::Arc;

/// Reads what a peer may be told. Every call blocks on the disk and sees what was committed before it.
pub struct Export(pub(super) Arc<Store>);

impl Export {
    /// Every user of whom the stream told something, by name. (A body alone, of mail that was refused, makes nobody a user.)
    ///
    /// # Errors
    /// The store can't be read.
    pub fn users(&self) -> Result<Vec<UserName>, TargetError> {
        self.0.readers.read(|tx| {
            let mut statement = tx.prepare_cached(
                "SELECT name FROM users u WHERE namespaces IS NOT NULL
                 OR EXISTS (SELECT 1 FROM mailboxes x WHERE x.user = u.id)
                 OR EXISTS (SELECT 1 FROM subscriptions x WHERE x.user = u.id)
                 OR EXISTS (SELECT 1 FROM attributes x WHERE x.user = u.id) ORDER BY name",
            )?;
            let users = statement.query_map([], |row| row.get(0).map(UserName))?;
            Ok(users.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// How many users are known by name.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn user_count(&self) -> Result<u64, TargetError> {
        self.0.readers.look(|tx| {
            let count: i64 = tx
                .prepare_cached("SELECT count(*) FROM users")?
                .query_row([], |row| row.get(0))?;
            Ok(count.cast_unsigned())
        })
    }

    /// The user's mailboxes that have a name.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn mailboxes(&self, user: &UserName) -> Result<Vec<(MailboxId, MailboxName)>, TargetError> {
        let named = |mailbox: TreeMailbox| {
            let (user, guid) = (user.clone(), mailbox.guid);
            Some((MailboxId { user, guid }, mailbox.name.ok()?))
        };
        Ok(self.tree(user)?.mailboxes.into_iter().filter_map(named).collect())
    }

    /// The user's complete tree. A mailbox that was deleted here, and of which something is still retained, is said to be
    /// gone, so that a copy that never heard of it need not wonder.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn tree(&self, user: &UserName) -> Result<TreeChange, TargetError> {
        self.0.readers.read(|tx| {
            let mut change = TreeChange {
                user: user.clone(),
                complete: true,
                ..TreeChange::default()
            };
            if let Some(user) = bodies::known_user(tx, user)? {
                change.namespaces = Some(tree::namespaces(tx, user)?.unwrap_or_default());
                change.mailboxes = mailboxes(tx, user)?;
                change.unselectable = unselectable(tx, user)?;
                change.subscriptions = subscriptions(tx, user)?;
            }
            Ok(change)
        })
    }

    /// All attributes of the user's own, one change a kind, with the mailboxes that have some, too.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn attributes(&self, user: &UserName) -> Result<Vec<AttributesChange>, TargetError> {
        self.0.readers.read(|tx| {
            let Some(id) = bodies::known_user(tx, user)? else {
                return Ok(Vec::new());
            };
            let of_kind = |kind| {
                let scope = AttributeScope { mailbox: None, kind };
                let entries = attributes::entries(tx, id, scope)?;
                let mut change = AttributesChange::complete(user.clone(), scope, entries);
                change.holders = Some(attributes::holders(tx, id, kind)?);
                Ok(change)
            };
            AttributeKind::ALL.into_iter().map(of_kind).collect()
        })
    }

    /// What of lost tails was settled of this user's mail.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn merged(&self, user: &UserName) -> Result<Vec<Merged>, TargetError> {
        self.0.readers.read(|tx| merged::all(tx, user, MERGED_MESSAGES_MAX))
    }

    /// A mailbox's complete list and attributes; none where it is gone.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn mailbox(&self, mailbox: &MailboxId) -> Result<Option<(StateChunk, Vec<AttributesChange>)>, TargetError> {
        self.0.readers.read(|tx| {
            let Some(loaded) = Mailbox::load(tx, mailbox)? else {
                return Ok(None);
            };
            let mut changes = Vec::new();
            for kind in AttributeKind::ALL {
                let scope = AttributeScope {
                    mailbox: Some(mailbox.guid),
                    kind,
                };
                let entries = attributes::entries(tx, loaded.user, scope)?;
                if !entries.is_empty() {
                    changes.push(AttributesChange::complete(mailbox.user.clone(), scope, entries));
                }
            }
            Ok(Some((list(tx, &loaded)?, changes)))
        })
    }

    /// A mailbox's digest, with its bodies where `deep`; none where it is gone.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn digest(&self, mailbox: &MailboxId, deep: bool, request: u64) -> Result<Option<MailboxDigest>, TargetError> {
        self.0.readers.read(|tx| {
            let Some(mailbox) = Mailbox::load(tx, mailbox)? else {
                return Ok(None);
            };
            let mut digest = digest::of_mailbox(tx, &mailbox)?;
            if deep {
                digest.bodies = Some(Sum::default());
                digest::add_bodies(tx, &self.0.packs, &mailbox, &mut digest)?;
            }
            digest.request = request;
            Ok(Some(digest))
        })
    }

    /// The digest of a user's tree.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn tree_digest(&self, user: &UserName, request: u64) -> Result<TreeDigest, TargetError> {
        let digest = self.0.readers.read(|tx| digest::of_tree(tx, user))?;
        Ok(TreeDigest { request, ..digest })
    }
}

/// The mailbox as it is here.
pub(super) fn list(tx: &Connection, mailbox: &Mailbox) -> Result<StateChunk, TargetError> {
    Ok(StateChunk {
        mailbox: mailbox.is.clone(),
        uidvalidity: mailbox.uidvalidity,
        // Every expunge here was applied for a reason: what is not listed is gone, and `Bodies::gone` attests it.
        lineage: Lineage::Whole,
        messages: mailbox.all(tx)?.into_iter().map(|stored| stored.message).collect(),
        uidnext: mailbox.uidnext,
        highest_modseq: mailbox.highest_modseq,
        position: position(mailbox.uidvalidity, mailbox.uidnext, mailbox.highest_modseq),
    })
}

fn mailboxes(tx: &Connection, user: i64) -> Result<Vec<TreeMailbox>, TargetError> {
    let mut statement = tx.prepare_cached(
        "SELECT guid, name, special_use FROM mailboxes WHERE user = ?1 AND name IS NOT NULL ORDER BY name",
    )?;
    let mut rows = statement.query([user])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(TreeMailbox {
            guid: Guid(row.get(0)?),
            name: Ok(name(&row.get::<_, String>(1)?)?),
            special_use: row.get(2)?,
        });
    }
    let mut statement = tx.prepare_cached(
        "SELECT DISTINCT mailbox_guid FROM retained r WHERE user = ?1 AND why = 'deleted'
         AND NOT EXISTS (SELECT 1 FROM mailboxes m WHERE m.user = r.user AND m.guid = r.mailbox_guid)",
    )?;
    let deleted = statement.query_map([user], |row| {
        Ok(TreeMailbox {
            guid: Guid(row.get(0)?),
            name: Err(Disappearance::Attested),
            special_use: None,
        })
    })?;
    found.extend(deleted.collect::<rusqlite::Result<Vec<_>>>()?);
    Ok(found)
}

fn unselectable(tx: &Connection, user: i64) -> Result<Vec<(MailboxName, Option<Unselectable>)>, TargetError> {
    let mut statement = tx.prepare_cached("SELECT name, mark FROM unselectable WHERE user = ?1 ORDER BY name")?;
    let mut rows = statement.query([user])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let how = Unselectable::from_mark(&row.get::<_, Vec<u8>>(1)?);
        found.push((name(&row.get::<_, String>(0)?)?, how));
    }
    Ok(found)
}

fn subscriptions(tx: &Connection, user: i64) -> Result<Vec<(MailboxName, bool)>, TargetError> {
    let mut statement = tx.prepare_cached("SELECT name FROM subscriptions WHERE user = ?1 ORDER BY id")?;
    let names = statement.query_map([user], |row| row.get::<_, String>(0))?;
    names.map(|stored| Ok((name(&stored?)?, true))).collect()
}

fn name(stored: &str) -> Result<MailboxName, TargetError> {
    read_name(stored).map_err(|e| TargetError::Halt(format!("a stored mailbox name: {e}")))
}
