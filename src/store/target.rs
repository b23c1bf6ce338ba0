//! What a target does with the frames of a stream.

use crate::op::{
    BodyHash, BodyName, BodyPlace, ChainHash, DigestVerdict, Epoch, FrameHeader, GoneQuestion, Lsn, Missing, Payload,
    StreamId, Uid,
};
use std::collections::{BTreeMap, BTreeSet};

/// One frame, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its header.
    pub header: FrameHeader,
    /// Chain hash of this frame (`header.previous` is that of the frame before).
    pub chain: ChainHash,
    /// What it carries.
    pub payload: Payload,
}

/// How far a target has decided its stream. Moves only in the database transaction that holds the mail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Which stream (zeros: none yet).
    pub stream: StreamId,
    /// Epoch of the last decided frame.
    pub epoch: Epoch,
    /// LSN of the last decided frame.
    pub lsn: Lsn,
    /// Its chain hash.
    pub chain: ChainHash,
}

/// The source's answers to [`Target::questions`]: per question the UIDs whose bodies are really gone. A question
/// without an answer makes its disappearances *inferred*.
pub type GoneAnswers = Vec<(GoneQuestion, BTreeSet<Uid>)>;

/// Counts that `status`, `wait` and metrics show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TargetCounts {
    /// Selectable mailboxes.
    pub mailboxes: u64,
    /// Messages that a client sees.
    pub messages: u64,
    /// Mailboxes whose transactions are diverted.
    pub held_mailboxes: u64,
    /// Messages whose body is not here.
    pub bodies_pending: u64,
    /// Open quarantine entries.
    pub quarantined: u64,
    /// True from a `base` until its end is applied.
    pub building: bool,
}

/// What went wrong in a target, by what can be done about it.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// Try again later: disk full, database busy.
    #[error("{0}; will try again")]
    Retry(String),
    /// A frame that does not follow: nothing more may be applied.
    #[error("the stream does not follow: {0}")]
    Broken(String),
    /// The store itself is damaged or a bug was met.
    #[error("{0}")]
    Halt(String),
}

/// A store that frames are applied to. One caller, one thread; `apply` blocks on the disk.
pub trait Target: Send {
    /// How far it has decided.
    fn applied(&self) -> Applied;

    /// What must be asked of the source before `transaction` (one frame or a whole run) can be decided.
    ///
    /// # Errors
    /// The store can't be read.
    fn questions(&self, transaction: &[Frame]) -> Result<Vec<GoneQuestion>, TargetError>;

    /// Decides whole transactions, in order, in one database transaction. After a power cut the target may be back at
    /// an earlier LSN, as a whole, unless [`Self::settle`] came between: the journal has the frames to go on.
    ///
    /// # Errors
    /// Nothing of them was applied.
    fn apply(&mut self, transactions: &[Vec<Frame>], answers: &GoneAnswers) -> Result<Vec<DigestVerdict>, TargetError>;

    /// Makes everything applied outlast a power cut, before the journal forgets the frames.
    ///
    /// # Errors
    /// Disk full or failed.
    fn settle(&mut self) -> Result<(), TargetError>;

    /// Counts for `status`.
    ///
    /// # Errors
    /// The store can't be read.
    fn counts(&self) -> Result<TargetCounts, TargetError>;
}

/// Where a standby keeps bodies: durable before it says so, each octet string once. Shared by the receiving side
/// (which fills it), the applying side and the front end (which read it).
pub trait BodyStore: Send + Sync {
    /// Which of these are neither stored nor known as missing (durably, once everything put was committed), and where else they might be read (newest first).
    ///
    /// # Errors
    /// The store can't be read.
    fn lacking(&self, names: &[BodyName]) -> Result<BTreeMap<BodyName, Vec<BodyPlace>>, TargetError>;

    /// Takes a body, whose BLAKE3 the caller has checked; durable only after the next [`Self::commit`]. Refuses one
    /// whose length contradicts `name.size`.
    ///
    /// # Errors
    /// Disk full or failed.
    fn put(&self, name: &BodyName, octets: &[u8], hash: &BodyHash) -> Result<(), TargetError>;

    /// Notes that a body can't be had; durable only after the next [`Self::commit`].
    ///
    /// # Errors
    /// Disk full or failed.
    fn put_missing(&self, name: &BodyName, missing: &Missing) -> Result<(), TargetError>;

    /// Makes everything put before durable.
    ///
    /// # Errors
    /// After a failed flush nothing more is taken.
    fn commit(&self) -> Result<(), TargetError>;

    /// Bodies pending, to be asked for again from time to time, and where else they might be read (newest first).
    ///
    /// # Errors
    /// The store can't be read.
    fn pending(&self, most: usize) -> Result<BTreeMap<BodyName, Vec<BodyPlace>>, TargetError>;
}
