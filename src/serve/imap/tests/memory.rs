//! A store in memory: what the front end's tests read from, and change under a session's feet.

use crate::op::{
    AttributeScope, Flags, Guid, Keyword, MailboxName, MessageGuid, Modseq, Namespaces, Stale, Uid, UidValidity,
    UserName,
};
use crate::store::embedded::view::{
    Depth, Detail, Listing, MailboxKey, MailboxRow, Opening, Tree, TreeRow, View, ViewError, Visitor,
};
use crate::store::holdings::{Holdings, NameRules};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::watch;

/// A message.
#[derive(Clone)]
pub(crate) struct Message {
    pub(crate) detail: Detail,
    pub(crate) flags: Flags,
    pub(crate) keywords: Vec<Keyword>,
    pub(crate) modseq: Modseq,
    /// Where they are here.
    pub(crate) octets: Option<Arc<[u8]>>,
}

/// One mailbox.
#[derive(Clone, Default)]
pub(crate) struct Folder {
    pub(crate) guid: Guid,
    pub(crate) uidvalidity: u32,
    pub(crate) uidnext: u32,
    pub(crate) highest_modseq: u64,
    pub(crate) expunged_since: u64,
    pub(crate) messages: BTreeMap<u32, Message>,
    pub(crate) expunged: BTreeMap<u32, u64>,
}

/// A user's account.
#[derive(Default)]
pub(crate) struct Account {
    pub(crate) tree: Tree,
    pub(crate) boxes: BTreeMap<i64, (MailboxName, Folder)>,
    pub(crate) attributes: BTreeMap<AttributeScope, Vec<(String, Vec<u8>)>>,
    /// Users who have no tree.
    pub(crate) strangers: Vec<UserName>,
    /// How many mailboxes there have been.
    pub(crate) guids: u8,
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
    /// A new mailbox; its key and its GUID tell how many there were before.
    pub(crate) fn create(&mut self, name: &[&str], uidvalidity: u32) -> i64 {
        let guid = self.fresh_guid();
        let key = i64::from(self.guids);
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
        let detail = Detail {
            uid: Uid(uid),
            guid: MessageGuid(format!("{uid:032x}")),
            internal_date: 1_563_324_265 + i64::from(uid),
            save_date: Some(1_563_324_300),
            size: Some(octets.len() as u64),
            body_pending: false,
        };
        let message = Message {
            detail,
            flags,
            keywords: keywords.iter().map(|k| Keyword::from(*k)).collect(),
            modseq: Modseq(self.highest_modseq),
            octets: Some(octets.into()),
        };
        self.messages.insert(uid, message);
        self.uidnext += 1;
        uid
    }

    /// Changes a message, under a new MODSEQ.
    pub(crate) fn edit(&mut self, uid: u32, edit: impl FnOnce(&mut Message)) {
        self.highest_modseq += 1;
        let message = self.messages.get_mut(&uid).unwrap();
        message.modseq = Modseq(self.highest_modseq);
        edit(message);
    }

    pub(crate) fn expunge(&mut self, uid: u32) {
        self.highest_modseq += 1;
        self.messages.remove(&uid).unwrap();
        self.expunged.insert(uid, self.highest_modseq);
    }

    fn row(&self, key: i64) -> MailboxRow {
        let rows = || self.messages.values();
        MailboxRow {
            key: MailboxKey(key),
            guid: self.guid,
            uidvalidity: UidValidity(self.uidvalidity),
            uidnext: Uid(self.uidnext),
            highest_modseq: Modseq(self.highest_modseq),
            messages: u32::try_from(self.messages.len()).unwrap(),
            unseen: u32::try_from(rows().filter(|m| !m.flags.contains(Flags::SEEN)).count()).unwrap(),
            size: rows().filter_map(|m| m.detail.size).sum(),
            rewritten: 0,
            expunged_since: Modseq(self.expunged_since),
            modseq_floor: Modseq(0),
        }
    }

    fn listing(&self, key: i64) -> Arc<Listing> {
        let marks = self.messages.values();
        let marks = marks.map(|m| (m.detail.uid, m.flags, m.keywords.as_slice(), m.modseq));
        Arc::new(Listing::of(self.row(key), marks))
    }
}

impl View for Memory {
    fn tree(&self, _: &UserName) -> Result<Tree, ViewError> {
        Ok(self.lock().tree.clone())
    }

    fn namespaces(&self, user: &UserName) -> Result<Option<Namespaces>, ViewError> {
        let account = self.lock();
        let known = !account.strangers.contains(user);
        Ok(known.then(|| account.tree.namespaces.clone()))
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

    fn open(
        &self,
        user: &UserName,
        name: &MailboxName,
        told: &mut dyn FnMut(Opening),
    ) -> Result<Option<Arc<Listing>>, ViewError> {
        let Some(row) = self.mailbox(user, name)? else {
            return Ok(None);
        };
        let listing = self.listing(row.key)?;
        let first = listing
            .iter()
            .flat_map(|l| l.iter())
            .position(|m| !m.flags.contains(Flags::SEEN));
        told(Opening {
            row,
            keywords: listing.iter().flat_map(|l| l.keywords()).cloned().collect(),
            first_unseen: first.map(|place| u32::try_from(place).unwrap() + 1),
        });
        Ok(listing)
    }

    fn listing(&self, key: MailboxKey) -> Result<Option<Arc<Listing>>, ViewError> {
        Ok(self.lock().boxes.get(&key.0).map(|(_, mailbox)| mailbox.listing(key.0)))
    }

    fn visit(&self, key: MailboxKey, uids: &[Uid], depth: Depth, each: &mut Visitor<'_>) -> Result<(), ViewError> {
        let account = self.lock();
        let Some((_, mailbox)) = account.boxes.get(&key.0) else {
            return Ok(());
        };
        for message in uids.iter().filter_map(|uid| mailbox.messages.get(&uid.0)) {
            let octets = message.octets.clone().filter(|_| depth > Depth::Detail);
            if !each(message.detail.clone(), octets) {
                break;
            }
        }
        Ok(())
    }

    fn attributes(&self, _: &UserName, scope: AttributeScope) -> Result<Vec<(String, Vec<u8>)>, ViewError> {
        Ok(self.lock().attributes.get(&scope).cloned().unwrap_or_default())
    }

    fn vanished(&self, key: MailboxKey, since: Modseq) -> Result<Vec<Uid>, ViewError> {
        let mut account = self.lock();
        let expunged = account.mailbox(key.0).expunged.clone();
        Ok(expunged
            .into_iter()
            .filter(|(_, m)| *m > since.0)
            .map(|(uid, _)| Uid(uid))
            .collect())
    }

    fn holdings(&self, _: &NameRules) -> Result<Holdings, ViewError> {
        Err(ViewError("nobody migrates here".to_owned()))
    }

    fn users_and_bytes(&self) -> Result<(u64, u64), ViewError> {
        Err(ViewError("nobody migrates here".to_owned()))
    }

    fn watch(&self, _: MailboxKey) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

/// A listing of so many messages, UIDs from 1.
pub(crate) fn rows(messages: u32) -> Listing {
    let mut folder = Folder {
        uidnext: 1,
        ..Folder::default()
    };
    for _ in 0..messages {
        folder.deliver(b"", Flags::NONE, &[]);
    }
    (*folder.listing(1)).clone()
}
