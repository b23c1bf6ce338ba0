//! What a client of an embedded primary asks to be changed, and what came of it.
//!
//! A change becomes operations of the stream: journalled, durable, applied, and only then answered. Nothing else writes
//! to the mail of a primary.

use super::custody::{Decision, EntryId};
use crate::op::{
    AttributeScope, BodyName, Epoch, Flags, Keyword, MailboxId, MailboxName, MessageGuid, Modseq, StreamId, Uid,
    UidRange, UidValidity, UserName,
};
use crate::role::merge::{Item, Tally};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A message that comes from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMessage {
    /// Its octets, lines ended by CRLF.
    pub octets: Arc<[u8]>,
    /// Flags it is to have.
    pub flags: Flags,
    /// Keywords it is to have.
    pub keywords: Vec<Keyword>,
    /// INTERNALDATE, UNIX seconds; none: now.
    pub internal_date: Option<i64>,
}

/// How flags are changed (RFC 9051, 6.4.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlagVerb {
    /// `+FLAGS`
    Add,
    /// `-FLAGS`
    Remove,
    /// `FLAGS`
    Replace,
}

/// One change, taken whole or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// APPEND and MULTIAPPEND: all messages or none.
    Append {
        /// Whose.
        user: UserName,
        /// Where to; must exist.
        mailbox: MailboxName,
        /// In order, at least one.
        messages: Vec<NewMessage>,
    },
    /// LMTP: as [`Change::Append`] of one, but INBOX (and with it the user's tree) is made where it is not there yet, and where `mailbox` is not there
    /// INBOX takes the message.
    Deliver {
        /// Whose.
        user: UserName,
        /// Where to.
        mailbox: MailboxName,
        /// The message.
        message: NewMessage,
    },
    /// REPLACE (RFC 8508): appends and expunges in one.
    Replace {
        /// Where the old one is.
        mailbox: MailboxId,
        /// The old one.
        uid: Uid,
        /// Where the new one goes.
        into: MailboxName,
        /// The new one.
        message: NewMessage,
    },
    /// STORE.
    Store {
        /// Where.
        mailbox: MailboxId,
        /// Which; UIDs that are not there are passed over.
        uids: Vec<UidRange>,
        /// How.
        verb: FlagVerb,
        /// Flags.
        flags: Flags,
        /// Keywords.
        keywords: Vec<Keyword>,
        /// UNCHANGEDSINCE (RFC 7162): messages with a higher MODSEQ stay as they are.
        unchanged_since: Option<Modseq>,
    },
    /// EXPUNGE, CLOSE: every message with `\Deleted`; UID EXPUNGE: of these.
    Expunge {
        /// Where.
        mailbox: MailboxId,
        /// Set for UID EXPUNGE.
        uids: Option<Vec<UidRange>>,
    },
    /// COPY and MOVE.
    Copy {
        /// Where from.
        mailbox: MailboxId,
        /// Which.
        uids: Vec<UidRange>,
        /// Where to; must exist.
        into: MailboxName,
        /// MOVE: expunged where they were, in the same transaction.
        moved: bool,
    },
    /// CREATE, parents too.
    Create {
        /// Whose.
        user: UserName,
        /// The name.
        name: MailboxName,
        /// RFC 6154, with the backslash.
        special_use: Option<String>,
    },
    /// DELETE.
    Delete {
        /// Whose.
        user: UserName,
        /// The name.
        name: MailboxName,
    },
    /// RENAME, children too; of INBOX: its messages move (RFC 9051, 6.3.6).
    Rename {
        /// Whose.
        user: UserName,
        /// From.
        from: MailboxName,
        /// To.
        to: MailboxName,
    },
    /// SUBSCRIBE and UNSUBSCRIBE; the name need not exist.
    Subscribe {
        /// Whose.
        user: UserName,
        /// The name.
        name: MailboxName,
        /// False: UNSUBSCRIBE.
        subscribed: bool,
    },
    /// SETMETADATA, SETACL, DELETEACL.
    Attributes {
        /// Whose.
        user: UserName,
        /// Of which mailbox, by name; none: the server's.
        mailbox: Option<MailboxName>,
        /// Which kind; `scope.mailbox` is filled in by whoever takes the change.
        scope: AttributeScope,
        /// Name → value; none: removed.
        entries: Vec<(String, Option<Vec<u8>>)>,
    },
    /// A piece of a lost tail is merged, once: what was settled before changes nothing.
    Merge(Box<TailPiece>),
    /// An entry of the quarantine is decided.
    Decide {
        /// Which.
        entry: EntryId,
        /// How.
        decision: Decision,
    },
    /// A retained message comes back, as a new append where it was, or in INBOX.
    Restore {
        /// Which.
        entry: EntryId,
    },
}

/// A piece of a lost tail, with octets of its messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TailPiece {
    /// The tail's stream.
    pub stream: StreamId,
    /// The epoch that it was written in.
    pub epoch: Epoch,
    /// What it says.
    pub item: Item,
    /// Octets that were asked for, by the names that [`Changed::Lacks`] gave; none: nobody has them any more.
    pub bodies: BTreeMap<BodyName, Option<Arc<[u8]>>>,
}

/// What came of a change; it is durable and every reader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// Messages were appended.
    Appended {
        /// Of the mailbox that took them (for [`Change::Deliver`] perhaps INBOX).
        uidvalidity: UidValidity,
        /// In order of the messages.
        uids: Vec<Uid>,
        /// In order of the messages.
        guids: Vec<MessageGuid>,
    },
    /// Flags were stored.
    Stored {
        /// Those that have the flags now, ascending.
        uids: Vec<Uid>,
        /// Their MODSEQ where anything changed.
        modseq: Modseq,
        /// Those left alone by UNCHANGEDSINCE, ascending.
        modified: Vec<Uid>,
    },
    /// Messages were expunged, ascending.
    Expunged {
        /// Which.
        uids: Vec<Uid>,
        /// HIGHESTMODSEQ afterwards.
        modseq: Modseq,
    },
    /// Messages were copied or moved.
    Copied {
        /// Of the mailbox that took them.
        uidvalidity: UidValidity,
        /// Old UIDs, ascending.
        from: Vec<Uid>,
        /// New UIDs, in the order of `from`.
        to: Vec<Uid>,
    },
    /// Done; nothing to be told (CREATE: the new mailbox).
    Done(Option<MailboxId>),
    /// A piece of a tail was merged, and what became of it.
    Merged(Tally),
    /// Nothing was merged: these octets must come with it.
    Lacks(Vec<BodyName>),
    /// An operator's word was followed; what came of it, for people.
    Told(String),
}

/// Why a change was not made; nothing of it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No such mailbox.
    Nonexistent,
    /// No such mailbox, and CREATE would help (COPY, APPEND).
    TryCreate,
    /// The name is taken.
    AlreadyExists,
    /// It may never be (INBOX deleted, a name that can't be).
    Cannot,
    /// A bound was met.
    Limit,
    /// The mailbox is held, or has gone while selected.
    NoPermission,
    /// This node is not (or no longer) the primary.
    NotPrimary,
    /// Disk full or failed; later perhaps.
    Unavailable,
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// For programs.
    pub reason: Reason,
    /// For people.
    pub why: String,
}

/// Called once, from the changer's thread.
pub type Answer = Box<dyn FnOnce(Result<Changed, Refused>) + Send>;

/// A store that takes a lost tail, piece by piece: a primary's.
pub trait TailSink: Send + Sync {
    /// Merges a piece, once, and says what became of it; or which octets must come with it ([`Changed::Merged`],
    /// [`Changed::Lacks`]). Durable when it returns. Blocks.
    ///
    /// # Errors
    /// Nothing of it was merged.
    fn merge(&self, piece: TailPiece) -> Result<Changed, Refused>;
}

/// Whoever makes changes on an embedded primary.
pub trait Changer: Send + Sync {
    /// Takes a change; returns at once, `answer` is called when it is durable and applied, or refused. May block for a
    /// bounded time while too many wait.
    fn change(&self, change: Change, answer: Answer);
}
