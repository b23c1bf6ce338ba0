//! What a Dovecot is to be told of one user, and what became of it.
//!
//! A [`Delta`] is what QRESYNC would tell a client: the whole tree, and of each mailbox that changed the messages that are
//! new or look different, and the UIDs that vanished. Telling the same again changes nothing.

use crate::op::{
    AttributeKind, Flags, Guid, Keyword, MailboxName, MessageGuid, Modseq, Uid, UidRange, UidValidity, UserName,
};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

/// Everything that one user's Dovecot is to be told now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// Whose.
    pub user: UserName,
    /// The complete tree: what is not in it ceases to be, but for mailboxes that hold what nobody told (see
    /// [`Outcome::Foreign`]). Each name once; no order asked. Where INBOX is not in it, the
    /// target's own stays as it is.
    pub tree: Vec<Node>,
    /// How each mailbox stood when it was last acknowledged ([`Outcome::Acknowledged`]), those of deleted mailboxes too,
    /// until the deletion is acknowledged. Only what agrees with it is overwritten or deleted unasked.
    pub acknowledged: BTreeMap<Guid, State>,
    /// Mailboxes that changed, each once and in the tree, in any order. A new mailbox without messages is one that changed.
    pub mailboxes: Vec<MailboxDelta>,
    /// Mailboxes of the target (by the GUIDs that they have *there*) that may be overwritten or deleted although they hold
    /// what nobody told: the caller has it, or doesn't want it.
    pub replaceable: BTreeSet<Guid>,
}

/// A name in the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its levels. What the target's storage can't hold in one (its separator, `/`, control characters; with Maildir++ also `.`)
    /// becomes `_` there, without a word: a [`Reading`] shows it.
    pub name: MailboxName,
    /// The mailbox of that name; none: a name that is only subscribed. (A directory is there when something lies below
    /// it: 2.4 would make a mailbox of one that is named.)
    pub mailbox: Option<NodeMailbox>,
    /// Whether the name is subscribed.
    pub subscribed: bool,
}

/// The mailbox behind a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeMailbox {
    /// Its GUID.
    pub guid: Guid,
    /// Its UIDVALIDITY, not 0.
    pub uid_validity: UidValidity,
    /// Its UIDNEXT, as in its [`MailboxDelta`] where there is one.
    pub uid_next: Uid,
}

/// How far both sides agreed of one mailbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Its UIDVALIDITY.
    pub uid_validity: UidValidity,
    /// Last common UID: UIDNEXT - 1, whether a message has it or not.
    pub uid: Uid,
    /// HIGHESTMODSEQ of the source then. The target's own is not lower.
    pub modseq: Modseq,
    /// HIGHESTMODSEQ that the target itself had shortly before; 0: not known. It counts faster than the source, and searches
    /// its log from here: with the source's number alone it would one day find the log too short. Keep it with the rest.
    pub at_target: Modseq,
    /// How many messages it had.
    pub messages: u32,
}

/// What changed in one mailbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MailboxDelta {
    /// Which.
    pub guid: Guid,
    /// UIDVALIDITY, not 0.
    pub uid_validity: UidValidity,
    /// UIDNEXT: above every UID below. Told as a floor.
    pub uid_next: Uid,
    /// HIGHESTMODSEQ: at least every MODSEQ below. Told as a floor.
    pub highest_modseq: Modseq,
    /// How many messages it has now.
    pub messages: u32,
    /// What this is counted from: the newest acknowledged state. None: `changed` is the complete list of messages (and
    /// `vanished` may name UIDs that were once known and are gone, so that the target's copies of them are not foreign).
    pub since: Option<State>,
    /// Messages that are new or look different, by ascending UID, as they are now.
    pub changed: Vec<Message>,
    /// UIDs that are gone, ascending, apart from those of `changed`. They may cover UIDs that never were.
    pub vanished: Vec<UidRange>,
    /// Attributes that changed. The user's own (Sieve, server METADATA) travel with INBOX.
    pub attributes: Vec<AttributeDelta>,
}

/// A message as a client sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Its UID.
    pub uid: Uid,
    /// Its GUID, never unknown.
    pub guid: MessageGuid,
    /// System flags.
    pub flags: Flags,
    /// Keywords, none twice.
    pub keywords: Vec<Keyword>,
    /// MODSEQ. The target gives it this or a higher one.
    pub modseq: Modseq,
    /// INTERNALDATE, UNIX seconds.
    pub internal_date: i64,
    /// SAVEDATE, UNIX seconds; none: the target takes the time at which it saves.
    pub save_date: Option<i64>,
    /// What POP3 calls it, where that is neither UID nor GUID.
    pub pop3_uidl: Option<String>,
    /// RFC822.SIZE, where it is known. For [`Bodies`] only.
    pub size: Option<u64>,
}

/// Whose an attribute is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// The mailbox that it travels with.
    Mailbox,
    /// The user; it travels with INBOX.
    User,
}

/// One attribute, set or unset. Names and values are those of [`crate::op::AttributesChange`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributeDelta {
    /// Whose.
    pub owner: Owner,
    /// Of what kind.
    pub kind: AttributeKind,
    /// Its name: `/private/comment`, `user=bob`, `script/NAME`, …
    pub entry: String,
    /// Its octets, or none where it is unset.
    pub value: Option<Vec<u8>>,
}

/// Where message bodies come from: the octets that IMAP answers to `BODY[]`.
pub trait Bodies {
    /// Opens one. Called once for each message of a GUID that the target lacks, by ascending UID.
    ///
    /// # Errors
    /// It can't be had now: the session ends, and the mailbox is told again later ([`Outcome::Unknown`]).
    fn open(&mut self, user: &UserName, mailbox: Guid, message: &Message) -> std::io::Result<Box<dyn Read + '_>>;
}

/// What became of a [`Delta`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// True: the tree is as asked. False: parts of it had to stay (those are [`Outcome::Foreign`] here).
    pub tree: bool,
    /// By mailbox: those of the delta, and foreign ones.
    pub mailboxes: BTreeMap<Guid, Outcome>,
    /// What Dovecot complained of meanwhile, bounded: an attribute that it could not set, say. For people.
    pub complaints: Vec<String>,
}

/// What became of one mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Committed by the target, and equal: keep this as [`MailboxDelta::since`] of the next.
    Acknowledged(State),
    /// The target is not where `since` says (it was restored, or somebody wrote there, or an earlier session was cut after
    /// its work): nothing was changed; send the complete list (`since: None`).
    Stale(String),
    /// The target holds what nobody told: nothing of the mailbox was changed. Listed: UIDs with their GUIDs; empty where
    /// the whole mailbox is unknown. To go on, take it over, or name the mailbox in [`Delta::replaceable`].
    Foreign {
        /// What is wrong, for people.
        why: String,
        /// The mailbox's name at the target.
        name: MailboxName,
        /// Messages that nobody told, at most [`crate::limits::DSYNC_FOREIGN_MAX`].
        messages: Vec<(Uid, MessageGuid)>,
    },
    /// Committed, but not as asked: the target's own word of where it is. Send the complete list.
    Differs {
        /// What it acknowledged.
        said: State,
        /// True where the target noticed changes by others meanwhile.
        meanwhile: bool,
    },
    /// The session ended before its word: it may have been applied as a whole, in part, or not. Tell it again.
    Unknown(String),
}

/// What a user's Dovecot holds, read without changing anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Its tree, subscriptions included. Names that are mere directories are left out.
    pub tree: Vec<Node>,
    /// The mailboxes that were asked for and are there.
    pub mailboxes: BTreeMap<Guid, MailboxReading>,
}

/// One mailbox of a [`Reading`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MailboxReading {
    /// UIDVALIDITY.
    pub uid_validity: UidValidity,
    /// UIDNEXT.
    pub uid_next: Uid,
    /// HIGHESTMODSEQ.
    pub highest_modseq: Modseq,
    /// How many messages it has.
    pub messages: u32,
    /// True: the state that was asked from is of no use any more, so nothing is listed. Ask for everything.
    pub stale: bool,
    /// Messages by ascending UID: all of them, or with a state those that somebody else than dsync added or changed.
    /// Dates and sizes are not told.
    pub listed: Vec<Message>,
    /// With a state: UIDs that somebody else than dsync expunged.
    pub expunged: Vec<Uid>,
    /// Attributes: all, or with a state those that somebody else set or unset. Values longer than
    /// [`crate::limits::DSYNC_VALUE_BYTES_MAX`] end the session.
    pub attributes: Vec<AttributeDelta>,
}

/// What to read of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// The tree alone.
    #[default]
    Tree,
    /// All mailboxes, complete.
    Everything,
    /// These mailboxes, complete.
    Mailboxes(BTreeSet<Guid>),
    /// What others than dsync did since these states, in these mailboxes: an exact detector of foreign writes.
    Since(BTreeMap<Guid, State>),
}
