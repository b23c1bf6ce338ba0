//! What did not reach its mailbox, and what left and can still be brought back: for the operator, who alone knows
//! what was meant.

use super::target::TargetError;
use crate::op::{Lsn, MessageGuid, Uid, UidValidity, UserName};
use serde::{Deserialize, Serialize};

/// Number of an entry, good until it is decided.
pub type EntryId = i64;

/// Why a mailbox has an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// The source contradicts the copy: later changes are diverted.
    Held,
    /// The mailbox itself disappeared without a deletion.
    Vanished,
    /// Messages disappeared that nobody asked to expunge.
    Inferred,
    /// Expunges (or the mailbox's deletion) wait for a mailbox that is held: a message may be on its way there.
    Waiting,
}

/// One mailbox with something that was not applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// To name it by.
    pub id: EntryId,
    /// Whose mailbox.
    pub user: UserName,
    /// Its name, or its last one; levels joined by `/`.
    pub mailbox: String,
    /// Its GUID, 32 hex digits.
    pub guid: String,
    /// What happened.
    pub reason: Reason,
    /// In words.
    pub why: String,
    /// Messages that leave where it is released.
    pub messages: u64,
    /// Frames that were diverted.
    pub diverted: u64,
}

/// A message that an entry is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Affected {
    /// UID.
    pub uid: Uid,
    /// GUID; empty where it was never known.
    pub guid: MessageGuid,
    /// Octets, where known.
    pub size: Option<u64>,
    /// INTERNALDATE, UNIX seconds.
    pub internal_date: i64,
}

/// An entry with all that it is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryDetail {
    /// The entry.
    pub entry: Entry,
    /// Messages that leave where it is released; at most [`crate::limits::CUSTODY_ROWS_MAX`].
    pub messages: Vec<Affected>,
    /// LSNs of the diverted frames; at most as many.
    pub diverted: Vec<Lsn>,
}

/// A message that left the copy and is kept for a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retained {
    /// To name it by.
    pub id: EntryId,
    /// Whose.
    pub user: UserName,
    /// The mailbox's last name, levels joined by `/`, or its GUID.
    pub mailbox: String,
    /// UIDVALIDITY that it had its UID under.
    pub uidvalidity: UidValidity,
    /// What it was.
    pub message: Affected,
    /// Why it left: `genuine`, `attested`, `deleted`, `overwritten`, `released`.
    pub why: String,
    /// Since when, UNIX milliseconds; none in the first minute.
    pub since_ms: Option<u64>,
    /// True where its octets are here.
    pub body: bool,
}

/// What an operator decides of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// It was meant: apply it.
    Release,
    /// It was not meant: forget it, the copy keeps what it has.
    Drop,
}

/// Why a decision can't be taken.
#[derive(Debug, thiserror::Error)]
pub enum CustodyError {
    /// No such entry.
    #[error("there is no entry {0}")]
    Unknown(EntryId),
    /// It would not be safe, and what would be.
    #[error("{0}")]
    Refused(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] TargetError),
}

impl From<rusqlite::Error> for CustodyError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

/// A store's quarantine and what it retains. Every call blocks on the disk.
pub trait Custody: Send + Sync {
    /// The first `most` open entries by user and name; of one user, or all.
    ///
    /// # Errors
    /// The store can't be read.
    fn entries(&self, user: Option<&UserName>, most: u32) -> Result<Vec<Entry>, CustodyError>;

    /// One entry.
    ///
    /// # Errors
    /// There is none, or the store can't be read.
    fn entry(&self, id: EntryId) -> Result<EntryDetail, CustodyError>;

    /// Takes a decision; tells in words what came of it.
    ///
    /// # Errors
    /// There is no such entry, it can't be decided so, or the store can't be written.
    fn decide(&self, id: EntryId, decision: Decision) -> Result<String, CustodyError>;

    /// What left, newest first. At most [`crate::limits::CUSTODY_ROWS_MAX`].
    ///
    /// # Errors
    /// The store can't be read.
    fn retained(&self, user: Option<&UserName>) -> Result<Vec<Retained>, CustodyError>;

    /// A retained message was meant to go: it is not kept any longer.
    ///
    /// # Errors
    /// There is none, or the store can't be written.
    fn forget(&self, id: EntryId) -> Result<String, CustodyError>;
}
