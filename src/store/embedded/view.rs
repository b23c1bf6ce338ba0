//! What a reader sees of the embedded store: consistent, read-only, never in the way of the writer.

pub use super::listing::{Listing, Mark};
use crate::op::{
    AttributeScope, Guid, Keyword, MailboxName, MessageGuid, Modseq, Namespaces, Stale, Uid, UidValidity, UserName,
};
use crate::store::holdings::{Holdings, NameRules};
use std::sync::Arc;
use tokio::sync::watch;

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
    /// How clients see its names.
    pub namespaces: Namespaces,
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
    /// Grows with each change that no higher MODSEQ shows.
    pub rewritten: u64,
    /// Every expunge under a higher MODSEQ than this is known.
    pub expunged_since: Modseq,
    /// No message answers a lower MODSEQ: that with which the epoch began.
    pub modseq_floor: Modseq,
}

/// What a mailbox's numbers don't say and clients ask of every message: GUID, dates, size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detail {
    /// UID.
    pub uid: Uid,
    /// GUID as the source spells it.
    pub guid: MessageGuid,
    /// INTERNALDATE, UNIX seconds.
    pub internal_date: i64,
    /// SAVEDATE, UNIX seconds.
    pub save_date: Option<i64>,
    /// RFC822.SIZE, octets; none while the body is pending and the source didn't tell.
    pub size: Option<u64>,
    /// True while the body is not here: body items are answered NO `[UNAVAILABLE]`.
    pub body_pending: bool,
}

/// How much of each message is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// Nothing but the [`Detail`].
    Detail,
    /// Octets that hold the whole header, and maybe more.
    Header,
    /// All octets.
    Whole,
}

/// What is told of a mailbox before its messages have been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// Its numbers.
    pub row: MailboxRow,
    /// Keywords that it knows, in the order of their first use.
    pub keywords: Vec<Keyword>,
    /// Number of the first message without `\Seen`, from 1.
    pub first_unseen: Option<u32>,
}

/// Takes one message: its detail, and its octets where they were asked for and are here. False: no more.
pub type Visitor<'v> = dyn FnMut(Detail, Option<Arc<[u8]>>) -> bool + 'v;

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

    /// How clients see the user's names; none until the user's first tree came.
    ///
    /// # Errors
    /// The store can't be read.
    fn namespaces(&self, user: &UserName) -> Result<Option<Namespaces>, ViewError>;

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

    /// The mailbox of that name with all its messages; none where it can't be selected. `told` hears of it once, early,
    /// about the same moment.
    ///
    /// # Errors
    /// The store can't be read.
    fn open(
        &self,
        user: &UserName,
        name: &MailboxName,
        told: &mut dyn FnMut(Opening),
    ) -> Result<Option<Arc<Listing>>, ViewError>;

    /// All messages now; none once the mailbox is gone. Cheap where little changed since somebody asked.
    ///
    /// # Errors
    /// The store can't be read.
    fn listing(&self, key: MailboxKey) -> Result<Option<Arc<Listing>>, ViewError>;

    /// All attributes of one scope, by ascending name. One whose value is not here yet is left out.
    ///
    /// # Errors
    /// The store can't be read, or a value does not match its hash.
    fn attributes(&self, user: &UserName, scope: AttributeScope) -> Result<Vec<(String, Vec<u8>)>, ViewError>;

    /// Reads messages, by ascending UID; those that are gone are left out.
    ///
    /// # Errors
    /// The store can't be read, or a body does not match its hash.
    fn visit(&self, key: MailboxKey, uids: &[Uid], depth: Depth, each: &mut Visitor<'_>) -> Result<(), ViewError>;

    /// UIDs that were expunged under a higher MODSEQ, ascending.
    ///
    /// # Errors
    /// The store can't be read.
    fn vanished(&self, key: MailboxKey, since: Modseq) -> Result<Vec<Uid>, ViewError>;

    /// What every user has, with those names that `rules` don't allow.
    ///
    /// # Errors
    /// The store can't be read.
    fn holdings(&self, rules: &NameRules) -> Result<Holdings, ViewError>;

    /// Users of whom every mailbox was listed, and the octets of all messages.
    ///
    /// # Errors
    /// The store can't be read.
    fn users_and_bytes(&self) -> Result<(u64, u64), ViewError>;

    /// A counter that grows with every change of this mailbox, also when it goes; wait on it to hear of changes.
    fn watch(&self, key: MailboxKey) -> watch::Receiver<u64>;
}
