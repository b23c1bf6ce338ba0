//! What the capture of all users shares: memory, outlet, announcements.

use super::bodies::DovecotBodies;
use super::catalogue::Listing;
use super::identity::Identities;
use super::watch::{Covered, Watch};
use crate::limits::NOTICE_MESSAGES_MAX;
use crate::op::{Lsn, MailboxTxn, Notice, Op, UidRange, UserName};
use crate::store::source::{Captured, Outlet, OutletError};
use crate::store::table::CaptureTable;
use std::sync::Arc;

/// What all users share.
pub struct Shared<'a> {
    /// What was emitted.
    pub table: &'a mut CaptureTable,
    /// Where it goes.
    pub outlet: &'a mut dyn Outlet,
    /// Wakes.
    pub watch: &'a mut Watch,
    /// GUIDs of directories.
    pub identities: &'a Arc<Identities>,
    /// Where bodies are looked for.
    pub bodies: &'a DovecotBodies,
    /// Number of the last notice.
    pub notices: &'a mut u64,
    /// Last LSN that the outlet gave.
    pub last: &'a mut Lsn,
}

impl Shared<'_> {
    /// Watches the directories of a listing.
    pub fn cover(&mut self, user: &UserName, listing: &Listing) -> Covered {
        let indexes = listing.mailboxes.iter();
        let indexes = indexes.map(|(guid, found)| (found.directory.as_path(), *guid));
        let beside = listing.beside.iter().map(|(path, guid)| (path.as_path(), *guid));
        let mailboxes = beside.chain(indexes).collect();
        self.watch.cover(user, &listing.directories, &mailboxes)
    }

    /// Emits, and remembers the last LSN.
    ///
    /// # Errors
    /// The journal takes nothing more.
    pub fn emit(&mut self, captured: Vec<Captured>) -> Result<(), OutletError> {
        if captured.is_empty() {
            return Ok(());
        }
        *self.last = self.outlet.emit(captured, self.table)?;
        Ok(())
    }
}

/// A transaction's announcement.
#[must_use]
pub fn notice(number: u64, txn: &MailboxTxn) -> Notice {
    let mut notice = Notice {
        number,
        mailbox: txn.mailbox.clone(),
        uidvalidity: txn.uidvalidity,
        appended: Vec::new(),
        changed: Vec::new(),
        expunged: Vec::new(),
        messages: Vec::new(),
        position: txn.position.clone(),
    };
    for op in &txn.ops {
        match op {
            Op::Append(append) => {
                notice.appended.push(UidRange::one(append.uid));
                if notice.messages.len() < NOTICE_MESSAGES_MAX {
                    notice.messages.push((append.uid, append.guid.clone(), append.size));
                }
            }
            Op::Flags(change) => notice.changed.extend(&change.uids),
            Op::Keywords(change) => notice.changed.extend(&change.uids),
            Op::Expunge(expunge) => notice.expunged.extend(&expunge.uids),
        }
    }
    notice
}
