//! A store in memory: what the front end's tests read from, and change under a session's feet.

use crate::op::{
    AttributeScope, Flags, Guid, Keyword, MailboxName, MessageGuid, Modseq, Stale, Uid, UidValidity, UserName,
};
use crate::store::embedded::view::{MailboxKey, MailboxRow, MessageRow, Tree, TreeRow, View, ViewError};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::watch;

/// A message with its octets, where they are here.
pub(crate) type Message = (MessageRow, Option<Arc<[u8]>>);

/// One mailbox.
#[derive(Clone, Default)]
pub(crate) struct Folder {
    pub(crate) guid: Guid,
    pub(crate) uidvalidity: u32,
    pub(crate) uidnext: u32,
    pub(crate) highest_modseq: u64,
    pub(crate) messages: BTreeMap<u32, Message>,
}

/// A user's account.
#[derive(Default)]
pub(crate) struct Account {
    pub(crate) tree: Tree,
    pub(crate) boxes: BTreeMap<i64, (MailboxName, Folder)>,
    pub(crate) attributes: BTreeMap<AttributeScope, Vec<(String, Vec<u8>)>>,
}

/// The whole store, one user.
pub(crate) struct Memory {
    account: Mutex<Account>,
    changes: watch::Sender<u64>,
}

impl Memory {
    pub(crate) fn new() -> Self {
        Self {
            account: Mutex::default(),
            changes: watch::Sender::new(0),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap()
    }

    /// Changes the account as one applied transaction.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Account)) {
        change(&mut self.lock());
        self.changes.send_modify(|n| *n += 1);
    }
}

impl Account {
    /// A new mailbox; its key is its place.
    pub(crate) fn create(&mut self, name: &[&str], uidvalidity: u32) -> i64 {
        let key = i64::try_from(self.boxes.len()).unwrap() + 1;
        let guid = Guid([u8::try_from(key).unwrap(); 16]);
        let name = MailboxName::of(name.iter().copied());
        self.tree.rows.push(TreeRow {
            name: name.clone(),
            guid: Some(guid),
            stale: None,
            special_use: None,
        });
        let mailbox = Folder {
            guid,
            uidvalidity,
            uidnext: 1,
            highest_modseq: 1,
            ..Folder::default()
        };
        self.boxes.insert(key, (name, mailbox));
        key
    }

    pub(crate) fn mailbox(&mut self, key: i64) -> &mut Folder {
        &mut self.boxes.get_mut(&key).unwrap().1
    }
}

impl Folder {
    /// Adds a message with the next UID.
    pub(crate) fn deliver(&mut self, octets: &[u8], flags: Flags, keywords: &[&str]) -> u32 {
        self.highest_modseq += 1;
        let uid = self.uidnext;
        let row = MessageRow {
            uid: Uid(uid),
            guid: MessageGuid(format!("{uid:032x}")),
            flags,
            keywords: keywords.iter().map(|k| Keyword::from(*k)).collect(),
            modseq: Modseq(self.highest_modseq),
            internal_date: 1_563_324_265,
            save_date: Some(1_563_324_300),
            size: Some(octets.len() as u64),
            body_pending: false,
        };
        self.messages.insert(uid, (row, Some(octets.into())));
        self.uidnext += 1;
        uid
    }

    /// Changes a message, under a new MODSEQ.
    pub(crate) fn edit(&mut self, uid: u32, edit: impl FnOnce(&mut MessageRow)) {
        self.highest_modseq += 1;
        let row = &mut self.messages.get_mut(&uid).unwrap().0;
        row.modseq = Modseq(self.highest_modseq);
        edit(row);
    }

    pub(crate) fn expunge(&mut self, uid: u32) {
        self.highest_modseq += 1;
        self.messages.remove(&uid).unwrap();
    }

    fn row(&self, key: i64) -> MailboxRow {
        let rows = || self.messages.values().map(|(row, _)| row);
        MailboxRow {
            key: MailboxKey(key),
            guid: self.guid,
            uidvalidity: UidValidity(self.uidvalidity),
            uidnext: Uid(self.uidnext),
            highest_modseq: Modseq(self.highest_modseq),
            messages: u32::try_from(self.messages.len()).unwrap(),
            unseen: u32::try_from(rows().filter(|m| !m.flags.contains(Flags::SEEN)).count()).unwrap(),
            size: rows().filter_map(|m| m.size).sum(),
        }
    }
}

impl View for Memory {
    fn tree(&self, _: &UserName) -> Result<Tree, ViewError> {
        Ok(self.lock().tree.clone())
    }

    fn mailbox(&self, _: &UserName, name: &MailboxName) -> Result<Option<MailboxRow>, ViewError> {
        let account = self.lock();
        let found = account.boxes.iter().find(|(_, (n, _))| n == name);
        Ok(found.map(|(key, (_, mailbox))| mailbox.row(*key)))
    }

    fn stale(&self, _: &UserName, name: &MailboxName) -> Result<Option<Stale>, ViewError> {
        let account = self.lock();
        Ok(account
            .tree
            .rows
            .iter()
            .find(|row| row.name == *name)
            .and_then(|row| row.stale))
    }

    fn mailbox_again(&self, key: MailboxKey) -> Result<Option<MailboxRow>, ViewError> {
        Ok(self.lock().boxes.get(&key.0).map(|(_, mailbox)| mailbox.row(key.0)))
    }

    fn messages(&self, key: MailboxKey) -> Result<Option<(MailboxRow, Vec<MessageRow>)>, ViewError> {
        let account = self.lock();
        let found = account.boxes.get(&key.0).map(|(_, mailbox)| {
            let rows = mailbox.messages.values().map(|(row, _)| row.clone()).collect();
            (mailbox.row(key.0), rows)
        });
        Ok(found)
    }

    fn body(&self, key: MailboxKey, uid: Uid) -> Result<Option<Arc<[u8]>>, ViewError> {
        let account = self.lock();
        let message = account
            .boxes
            .get(&key.0)
            .and_then(|(_, mailbox)| mailbox.messages.get(&uid.0));
        Ok(message.and_then(|(_, octets)| octets.clone()))
    }

    fn attributes(&self, _: &UserName, scope: AttributeScope) -> Result<Vec<(String, Vec<u8>)>, ViewError> {
        Ok(self.lock().attributes.get(&scope).cloned().unwrap_or_default())
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}
