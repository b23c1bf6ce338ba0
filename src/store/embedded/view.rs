//! What a reader sees of the embedded store: consistent, read-only, never in the way of the writer.

use crate::op::{
    AttributeScope, Flags, Guid, Keyword, MailboxName, MessageGuid, Modseq, Stale, Uid, UidValidity, UserName,
};
use std::sync::Arc;

/// One name of a user's tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeRow {
    /// The name.
    pub name: MailboxName,
    /// The mailbox of that name; none where the name can't be selected.
    pub guid: Option<Guid>,
    /// What is still said of the mailbox that was, where the name is listed without `\Noselect` all the same.
    pub stale: Option<Stale>,
    /// Special use without the backslash.
    pub special_use: Option<String>,
}

/// A user's whole tree at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// Every listed name, in no order.
    pub rows: Vec<TreeRow>,
    /// Subscribed names, in the order in which they were subscribed. They need not exist.
    pub subscribed: Vec<MailboxName>,
}

/// Handle of a mailbox inside this store, good until the mailbox is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MailboxKey(pub i64);

/// A mailbox's numbers at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailboxRow {
    /// Handle for the other calls.
    pub key: MailboxKey,
    /// GUID.
    pub guid: Guid,
    /// UIDVALIDITY.
    pub uidvalidity: UidValidity,
    /// UIDNEXT.
    pub uidnext: Uid,
    /// HIGHESTMODSEQ.
    pub highest_modseq: Modseq,
    /// Number of messages.
    pub messages: u32,
    /// Messages without `\Seen`.
    pub unseen: u32,
    /// Sum of the sizes, octets.
    pub size: u64,
}

/// A message's metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageRow {
    /// UID.
    pub uid: Uid,
    /// GUID as the source spells it.
    pub guid: MessageGuid,
    /// System flags.
    pub flags: Flags,
    /// Keywords.
    pub keywords: Arc<[Keyword]>,
    /// MODSEQ.
    pub modseq: Modseq,
    /// INTERNALDATE, UNIX seconds.
    pub internal_date: i64,
    /// SAVEDATE, UNIX seconds.
    pub save_date: Option<i64>,
    /// RFC822.SIZE, octets; none while the body is pending and the source didn't tell.
    pub size: Option<u64>,
    /// True while the body is not here: body items are answered NO `[UNAVAILABLE]`.
    pub body_pending: bool,
}

/// The store can't be read.
#[derive(Debug, thiserror::Error)]
#[error("read the store: {0}")]
pub struct ViewError(pub String);

/// Readers of one embedded store. Cheap to clone; every call blocks on the disk, so async callers use a blocking
/// thread. (Methods below are bound by `serve`; see the store's own tests for their behaviour.)
pub trait View: Send + Sync {
    /// The user's tree. Empty for an unknown user.
    ///
    /// # Errors
    /// The store can't be read.
    fn tree(&self, user: &UserName) -> Result<Tree, ViewError>;

    /// The mailbox of that name, where it can be selected.
    ///
    /// # Errors
    /// The store can't be read.
    fn mailbox(&self, user: &UserName, name: &MailboxName) -> Result<Option<MailboxRow>, ViewError>;

    /// What is still said of the mailbox that had this name; none where it is no stale name.
    ///
    /// # Errors
    /// The store can't be read.
    fn stale(&self, user: &UserName, name: &MailboxName) -> Result<Option<Stale>, ViewError>;

    /// The mailbox again, none once it is gone.
    ///
    /// # Errors
    /// The store can't be read.
    fn mailbox_again(&self, key: MailboxKey) -> Result<Option<MailboxRow>, ViewError>;

    /// All messages by ascending UID, one moment's picture together with the mailbox's numbers.
    ///
    /// # Errors
    /// The store can't be read.
    fn messages(&self, key: MailboxKey) -> Result<Option<(MailboxRow, Vec<MessageRow>)>, ViewError>;

    /// A message's octets; none where it is gone or its body is pending.
    ///
    /// # Errors
    /// The store can't be read, or the body does not match its hash.
    fn body(&self, key: MailboxKey, uid: Uid) -> Result<Option<Arc<[u8]>>, ViewError>;

    /// All attributes of one scope, by ascending name. One whose value is not here yet is left out.
    ///
    /// # Errors
    /// The store can't be read, or a value does not match its hash.
    fn attributes(&self, user: &UserName, scope: AttributeScope) -> Result<Vec<(String, Vec<u8>)>, ViewError>;

    /// A counter that grows with every applied transaction; wait on it to hear of changes.
    fn changes(&self) -> tokio::sync::watch::Receiver<u64>;
}
