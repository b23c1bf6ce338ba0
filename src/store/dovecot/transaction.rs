//! What one commit of a mailbox's log means.

use crate::op::{Expunge, FlagChange, Flags, Guid, Keyword, KeywordChange, Modseq, Uid, UidValidity};

/// A message as the log or the index tells it. What lies outside of both is still missing: INTERNALDATE everywhere, the
/// GUID in maildir and sdbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawAppend {
    /// UID in the mailbox.
    pub uid: Uid,
    /// System flags.
    pub flags: Flags,
    /// Keywords, none twice, in the order in which they came.
    pub keywords: Vec<Keyword>,
    /// MODSEQ.
    pub modseq: Modseq,
    /// RFC822.SIZE, where the index knows it (extension `vsize`).
    pub size: Option<u64>,
    /// Message GUID, mdbox only (extension `guid`).
    pub guid: Option<Guid>,
    /// Place in the map of bodies, mdbox only (extension `mdbox`).
    pub map_uid: Option<u32>,
    /// When it was saved into this mailbox, UNIX seconds, mdbox only (extension `mdbox`).
    pub save_date: Option<i64>,
}

/// One operation of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RawOp {
    /// A message arrived; with all that the same commit said of it.
    Append(RawAppend),
    /// System flags change, or (without a flag) only the MODSEQ.
    Flags(FlagChange),
    /// A keyword changes.
    Keywords(KeywordChange),
    /// Messages are gone.
    Expunge(Expunge),
}

/// What the index learnt later of a message that was there before: never an operation, but places and sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// RFC822.SIZE; none: not known any more.
    Size(Option<u64>),
    /// Message GUID.
    Guid(Guid),
    /// Place in the map of bodies, and save date.
    Map {
        /// UID in the map.
        map_uid: u32,
        /// UNIX seconds.
        save_date: i64,
    },
}

/// A word of the log about the mailbox's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// Somebody asked for it.
    Requested,
    /// It is being deleted.
    Deleted,
    /// It is not deleted after all.
    Undeleted,
}

/// One commit of a mailbox's log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogTransaction {
    /// File offset of its first octet.
    pub start: u64,
    /// File offset after its last octet.
    pub end: u64,
    /// In the log's order; appends where they stood, with all that the commit said of them later.
    pub ops: Vec<RawOp>,
    /// What was learnt of messages that were there before.
    pub details: Vec<(Uid, Detail)>,
    /// UIDVALIDITY afterwards (0: none given out yet).
    pub uidvalidity: UidValidity,
    /// True where UIDVALIDITY is another one than before (or the first): only a `state` can tell what became of the
    /// messages.
    pub uidvalidity_changed: bool,
    /// UIDNEXT afterwards.
    pub uidnext: Uid,
    /// HIGHESTMODSEQ afterwards.
    pub modseq: Modseq,
    /// True where UIDNEXT or HIGHESTMODSEQ rose: without `ops` this is a floor.
    pub raised: bool,
    /// What was said of the mailbox's end; the last word counts.
    pub deletion: Option<Deletion>,
    /// True where mailbox attributes changed (METADATA, ACL).
    pub attributes_changed: bool,
    /// True where the mailbox's own GUID or dbox rebuild count was written (extension `dbox-hdr` or `mdbox-hdr`).
    pub identity_written: bool,
    /// True where this commit made Dovecot keep a MODSEQ of each message from here on. `ops` then holds what Dovecot
    /// does at that moment: every message gets at least the HIGHESTMODSEQ that stands in the commit.
    pub modseqs_enabled: bool,
    /// True where more expunge requests are open than a position can carry: some were forgotten, read a `state`.
    pub requests_forgotten: bool,
}

impl LogTransaction {
    /// True where nothing that a client could see changed: no operation, no number raised, no word of deletion.
    #[must_use]
    pub fn is_bookkeeping(&self) -> bool {
        self.ops.is_empty() && !self.raised && !self.uidvalidity_changed && self.deletion.is_none()
    }
}
