//! What a source hands on, and what may be asked of it.

use crate::op::{
    BodyPlace, Lsn, MailboxId, Merged, MessageGuid, NodeName, Notice, Payload, StreamId, Uid, UidValidity, UserName,
};
use crate::store::table::CaptureTable;
use serde::{Deserialize, Serialize};

/// What one source transaction became: one payload is one frame; several are a run, durable and applied together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured {
    /// In order, at least one.
    pub payloads: Vec<Payload>,
    /// Set where it was made for one peer only.
    pub peer: Option<NodeName>,
}

/// Where a source pours what it captured. Implemented by the node over the journal.
pub trait Outlet: Send {
    /// Announces a transaction as soon as it was read; never blocks, may be dropped.
    fn notice(&mut self, notice: Notice);

    /// Seals the transactions into frames and makes them durable in the journal, in order, before it returns, or, after
    /// [`Self::gather`], with the next [`Self::flush`]. Blocks while the journal has no room. What is meant for all is
    /// folded into `table`, which checkpoints are made of. Returns the last LSN, also where there is nothing to emit.
    ///
    /// # Errors
    /// The journal can't take them any more: the source must stop.
    fn emit(&mut self, captured: Vec<Captured>, table: &mut CaptureTable) -> Result<Lsn, OutletError>;

    /// Capture goes on, although it may emit nothing for minutes: at a start everybody is looked at.
    fn beat(&mut self) {}

    /// What is emitted from now on may become durable together, and is shipped no sooner.
    fn gather(&mut self) {}

    /// Makes durable what was gathered, and gathers no more.
    ///
    /// # Errors
    /// As of [`Self::emit`].
    fn flush(&mut self) -> Result<(), OutletError> {
        Ok(())
    }

    /// Lets connected standbys fetch the bodies that they lack of `messages` before the `state` that lists them is
    /// emitted. Returns at once, so that live changes go on meanwhile.
    fn offer(&mut self, mailbox: &MailboxId, uidvalidity: UidValidity, messages: &[(Uid, MessageGuid, Option<u64>)]);

    /// True while connected standbys have so much to fetch that nothing more is to be offered: what is on its way fills
    /// the link. Ends by itself as [`Self::is_offer_open`] does.
    fn is_offer_full(&mut self) -> bool {
        self.is_offer_open()
    }

    /// True while a connected standby fetches anything that was offered. Ends by itself after a bounded time: a slow peer is
    /// not waited for.
    fn is_offer_open(&mut self) -> bool;

    /// Begins a new stream where the old one ends, durable when it returns; bases of the old one are forgotten.
    ///
    /// # Errors
    /// Why it can't; the old stream goes on then.
    fn begin_stream(&mut self, _reason: &str, _table: &mut CaptureTable) -> Result<StreamId, OutletError> {
        Err(OutletError("streams can't be replaced here".to_owned()))
    }

    /// Whether more may be made for one peer.
    fn takes(&mut self, _peer: &NodeName) -> Takes {
        Takes::Now
    }
}

/// Whether a peer takes frames that are made for it alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Yes.
    Now,
    /// It has enough to take, or is away.
    Later,
    /// There is no such peer any more.
    Never,
}

/// The journal takes nothing more.
#[derive(Debug, thiserror::Error)]
#[error("the journal takes nothing more: {0}")]
pub struct OutletError(pub String);

/// What may be asked of a running source. Replies go through the boxed functions, from the source's thread.
pub enum Command {
    /// Something changed on disk: look where.
    Wake,
    /// Handle what woke the source before this, then reply with the last LSN: the heartbeat's question, asked once a
    /// second, so it costs what changed and not what there is. Answered between mailboxes during an initial copy too.
    CatchUp(Reply<Lsn>),
    /// Read every log and tree to its end, emit what is found, then reply with the last LSN.
    Sweep(Reply<Lsn>),
    /// Emit a digest of each mailbox (and body hashes too where `deep`) and of each tree; reply with what was emitted.
    Verify {
        /// One user, or all.
        user: Option<UserName>,
        /// Hash the bodies too.
        deep: bool,
        /// One mailbox by name, levels joined by `/`, or all.
        mailbox: Option<String>,
        /// Emit the complete list behind each digest, so that what differs is put right.
        repair: bool,
        /// Number that the digests carry.
        request: u64,
        /// Called at the end.
        reply: Reply<Verified>,
    },
    /// Emit a `base` for a peer that lacks the frames before.
    Base {
        /// Which peer.
        peer: NodeName,
        /// Why, for people.
        reason: String,
    },
    /// Begin a new stream: no peer can go on with the old one, each joins at a base.
    NewStream {
        /// Why, for people.
        reason: String,
        /// Called with the new stream's id.
        reply: Reply<StreamId>,
    },
    /// Emit what of a lost tail was settled, and reply with the last LSN once that is durable.
    Merged(Box<Merged>, Reply<Lsn>),
    /// Stop cleanly.
    Stop,
}

/// Called once with the answer, or with what went wrong.
pub type Reply<T> = Box<dyn FnOnce(Result<T, String>) + Send>;

/// Digests that were emitted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Of mailboxes.
    pub mailboxes: u64,
    /// Of trees.
    pub trees: u64,
    /// What could not be read: it is not known to be equal.
    pub left_out: Vec<LeftOut>,
    /// Last LSN.
    pub last: Lsn,
}

/// A mailbox or a tree that could not be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Whose.
    pub user: UserName,
    /// Its name, levels joined by `/`; empty for the tree.
    pub mailbox: String,
    /// Why, for people.
    pub why: String,
}

/// What a source knows of itself, for `status` and metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceStatus {
    /// Users captured.
    pub users: u64,
    /// Selectable mailboxes captured.
    pub mailboxes: u64,
    /// Mailboxes that can't be read for damage: mailbox, file, byte offset, what is wrong.
    pub held: Vec<Finding>,
    /// Directories whose changes are heard of at once.
    pub watched_directories: u64,
    /// Users of whom some directory is not watched: changes there are found by a scan.
    pub scanned_users: u64,
    /// True once every mailbox of every user has been listed once.
    pub initial_done: bool,
    /// What users have that is not carried; at most [`crate::limits::NOT_CARRIED_TOLD_MAX`].
    pub not_carried: Vec<NotCarried>,
    /// Users who are not captured, with the reason; the first few.
    pub refused: Vec<(UserName, String)>,
    /// How many users are not captured.
    pub refused_users: u64,
}

/// Something beside the captured mail that stays at the source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotCarried {
    /// What, and why, for people.
    pub what: String,
    /// How many users have it; none: it concerns everybody.
    pub users: Option<u64>,
}

/// Damage at the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which mailbox.
    pub mailbox: MailboxId,
    /// In which file.
    pub file: std::path::PathBuf,
    /// At which byte.
    pub offset: u64,
    /// What is wrong, and what to do.
    pub why: String,
}

/// Answer to a need.
#[derive(Debug)]
pub enum BodyAnswer {
    /// The octets as `BODY[]` has them.
    Body(Vec<u8>),
    /// It can't be had.
    Missing(crate::op::Missing),
}

/// Reads bodies where they lie. Shared by all connections; every call may block on disks.
pub trait Bodies: Send + Sync {
    /// Opens `places` in turn and answers with the first that has GUID and size (where known).
    fn read(&self, places: &[BodyPlace], guid: &MessageGuid, size: Option<u64>) -> BodyAnswer;

    /// Which of these messages have no body at the source any more. An empty answer attests nothing.
    fn gone(&self, mailbox: &MailboxId, uidvalidity: UidValidity, messages: &[(Uid, MessageGuid)]) -> Vec<Uid>;
}
