//! A frame: one transaction, or a part of a long one, with its place in the stream. It holds no message content.

use super::{
    AttributesChange, ChainHash, Epoch, Lsn, MailboxDigest, MailboxTxn, Merged, NodeName, StateChunk, StreamId,
    TreeChange, TreeDigest,
};
use serde::{Deserialize, Serialize};

/// Place of a frame in a run: consecutive frames that are durable and applied together or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// LSN of the run's first frame.
    pub first: Lsn,
    /// This part, from 0.
    pub part: u32,
    /// Number of parts, at least 2.
    pub parts: u32,
}

impl Run {
    /// True on the frame that commits the run.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.part.saturating_add(1) >= self.parts
    }
}

/// What stands before a frame's payload. The chain hash is over the header's bytes, the payload's and the chain hash
/// before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Which stream.
    pub stream: StreamId,
    /// Whose history.
    pub epoch: Epoch,
    /// Place in the stream.
    pub lsn: Lsn,
    /// Chain hash of the frame before (zeros before LSN 1).
    pub previous: ChainHash,
    /// When the source's change was read, UNIX milliseconds; for lag and for point-in-time questions, never for order.
    pub captured_ms: u64,
    /// Where this frame is a part of a longer whole.
    pub run: Option<Run>,
    /// Set on frames made for one peer (to let it join in the middle): others decide them as no change.
    pub peer: Option<NodeName>,
}

/// An epoch as it is told from every other: equal numbers taken by different nodes are a fork.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EpochId {
    /// Its number.
    pub number: Epoch,
    /// The node that took it.
    pub node: NodeName,
}

impl std::fmt::Display for EpochId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {}", self.number, self.node)
    }
}

/// Numbers that are left out when an epoch begins, because a tail that was lost may have used them (guarantee 11). In
/// each mailbox UIDNEXT rises by `uids` and HIGHESTMODSEQ by `modseqs`; every message and every expunge before answers at
/// least the new HIGHESTMODSEQ, so that a client that knew the lost tail fetches flags once, and no bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leap {
    /// At least [`Leap::UIDS_MIN`].
    pub uids: u32,
    /// At least [`Leap::MODSEQS`].
    pub modseqs: u64,
}

impl Leap {
    /// UIDs left out in each mailbox at the least.
    pub const UIDS_MIN: u32 = 100_000;
    /// MODSEQs left out in each mailbox.
    pub const MODSEQS: u64 = 1 << 32;

    /// The leap for so many messages that were announced and never came.
    #[must_use]
    pub fn over(missing: u64) -> Self {
        let twice = u32::try_from(missing.saturating_mul(2)).unwrap_or(u32::MAX / 2);
        Self {
            uids: twice.max(Self::UIDS_MIN),
            modseqs: Self::MODSEQS,
        }
    }
}

/// First frame of an epoch. From here on MODSEQs are those of the new primary: no mailbox lifts them any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochStart {
    /// The epoch's number.
    pub epoch: Epoch,
    /// The node that took it.
    pub node: NodeName,
    /// The epoch before (0: none).
    pub previous: Epoch,
    /// Last LSN of the history that goes on.
    pub fork_lsn: Lsn,
    /// Chain hash at `fork_lsn`.
    pub fork_hash: ChainHash,
    /// Set unless it was proven that nothing is lost.
    pub leap: Option<Leap>,
}

impl EpochStart {
    /// Which epoch it begins.
    #[must_use]
    pub fn id(&self) -> EpochId {
        EpochId {
            number: self.epoch,
            node: self.node.clone(),
        }
    }
}

/// A standby that lacks the frames before may start here: each user's complete `tree` and each mailbox's `state`
/// follow, up to the matching [`Payload::BaseEnd`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseStart {
    /// Why it is needed, for people.
    pub reason: String,
}

/// What a frame carries. The numeric tags in `schema/frame.md` are fixed; the order here is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// An epoch begins.
    Epoch(EpochStart),
    /// A peer may join here.
    Base(BaseStart),
    /// Everything that belongs to the base at this LSN has been sent. For all peers, and 1: everything that the source held
    /// when the stream began, so that whoever follows it from there has all.
    BaseEnd(Lsn),
    /// A transaction of one mailbox.
    Mailbox(MailboxTxn),
    /// (A part of) a mailbox's complete list.
    State(StateChunk),
    /// A change of a user's tree.
    Tree(TreeChange),
    /// A change of attributes: METADATA, ACL, Sieve.
    Attributes(AttributesChange),
    /// What a fresh reading of a mailbox's index gave; the copy compares.
    Digest(MailboxDigest),
    /// What a fresh reading of a user's tree gave; the copy compares.
    TreeDigest(TreeDigest),
    /// Messages of a lost tail were settled: never again.
    Merged(Merged),
}

impl Payload {
    /// The payload's name in logs and in `journal ls`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Epoch(_) => "epoch",
            Self::Base(_) => "base",
            Self::BaseEnd(_) => "base-end",
            Self::Mailbox(_) => "mailbox",
            Self::State(_) => "state",
            Self::Tree(_) => "tree",
            Self::Attributes(_) => "attributes",
            Self::Digest(_) => "digest",
            Self::TreeDigest(_) => "tree-digest",
            Self::Merged(_) => "merged",
        }
    }
}
