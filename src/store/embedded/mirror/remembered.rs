//! A mirror that stands still: its Dovecot is primary, and it holds what that Dovecot had when it became so.

use super::super::mailbox::Mailbox;
use super::super::merged;
use super::super::pool::ReadPool;
use crate::limits::MERGED_MESSAGES_MAX;
use crate::op::{Append, MailboxId, Merged, Uid, UserName};
use crate::store::target::TargetError;
use std::collections::BTreeMap;
use std::path::Path;

/// Reads it, without taking it from whoever opens it next.
pub struct Remembered(ReadPool);

impl Remembered {
    /// Of the store in `dir`; it is opened when something is asked.
    #[must_use]
    pub fn of(dir: &Path) -> Self {
        Self(ReadPool::new(dir.join(super::super::store::DATABASE)))
    }

    /// The mailbox's messages; none: it is not there.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn mailbox(&self, is: &MailboxId) -> Result<Option<BTreeMap<Uid, Append>>, TargetError> {
        self.0.read(|tx| {
            let Some(mailbox) = Mailbox::load(tx, is)? else {
                return Ok(None);
            };
            let messages = mailbox
                .all(tx)?
                .into_iter()
                .map(|stored| (stored.message.uid, stored.message));
            Ok(Some(messages.collect()))
        })
    }

    /// What was settled of tails before.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn settled(&self) -> Result<Vec<Merged>, TargetError> {
        self.0.read(|tx| {
            let mut statement =
                tx.prepare_cached("SELECT DISTINCT u.name FROM users u JOIN merged m ON m.user = u.id")?;
            let users: Vec<UserName> = statement
                .query_map([], |row| row.get(0).map(UserName))?
                .collect::<rusqlite::Result<_>>()?;
            let mut all = Vec::new();
            for user in users {
                all.extend(merged::all(tx, &user, MERGED_MESSAGES_MAX)?);
            }
            Ok(all)
        })
    }
}
