//! The standby's side of the protocol. See the tables of [`super`].

use crate::codec::frame::EncodedFrame;
use crate::codec::wire::{Counts, Hello, Message, Place};
use crate::op::{BodyName, BodyPlace, DigestVerdict, Epoch, GoneQuestion, Lsn, Missing, NodeName, StreamId, Uid};
use std::collections::BTreeMap;

/// What a standby has when its daemon starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiveStart {
    /// The group's name.
    pub group: String,
    /// This node.
    pub node: NodeName,
    /// The journal's stream (zeros: none yet).
    pub stream: StreamId,
    /// Highest epoch durably seen, by whatever way.
    pub epoch: Epoch,
    /// The journal's committed head.
    pub head: Place,
    /// Lowest LSN that the journal holds (`head.lsn + 1` where it is empty).
    pub oldest: Lsn,
    /// Last LSN of this stream that the target has decided (0: none).
    pub applied: Lsn,
    /// Set where journal and store can't be gone on with (the target was wiped, or is of another stream): join at a
    /// base, for this reason.
    pub lost: Option<String>,
}

/// What a driver feeds.
#[derive(Debug)]
pub enum ReceiveInput {
    /// The primary's node has connected.
    Connected,
    /// It said this.
    Received(Message),
    /// The connection is gone.
    Lost,
    /// Frames are in the journal.
    Journaled {
        /// The stream that the journal holds.
        stream: StreamId,
        /// Last LSN appended; an open run may stand between the two.
        appended: Lsn,
        /// Last LSN of the committed head, fsynced.
        committed: Lsn,
    },
    /// Frames of the own journal, at least one, dense, the first one as requested.
    Own {
        /// The request's number.
        request: u64,
        /// In order.
        frames: Vec<EncodedFrame>,
    },
    /// What the body store lacks of the names asked for, and where else it may be read.
    Checked {
        /// The request's number.
        request: u64,
        /// As `BodyStore::lacking` answers.
        lacking: BTreeMap<BodyName, Vec<BodyPlace>>,
    },
    /// The body store has taken a body (or its absence); not durable yet.
    Stored(BodyName),
    /// Everything stored before the request is durable.
    BodiesCommitted,
    /// Bodies pending.
    Pending(Vec<BodyName>),
    /// The target has decided this far.
    Applied {
        /// Of which stream.
        stream: StreamId,
        /// Last decided LSN.
        lsn: Lsn,
        /// Its counts.
        counts: Counts,
    },
    /// The target asks before it decides. Asked again after a reconnect until it is answered.
    AskGone {
        /// The driver's number for it.
        id: u64,
        /// Any number of messages.
        question: GoneQuestion,
    },
    /// The target compared a digest. Dropped while nobody is connected: who asked is gone too.
    Verdict(DigestVerdict),
    /// A question for the peer.
    Ask {
        /// The driver's number for it.
        id: u64,
        /// At most [`crate::limits::WIRE_JSON_BYTES_MAX`].
        json: String,
    },
    /// The answer to a question of the peer's.
    Answer {
        /// The request's number.
        request: u64,
        /// At most [`crate::limits::WIRE_JSON_BYTES_MAX`].
        json: String,
    },
    /// Time goes by.
    Tick,
}

/// What a driver is to do or to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReceiveRequest {
    /// Append these frames to the journal, after those of the requests before, and commit.
    Journal(Vec<EncodedFrame>),
    /// Forget the journal and start it anew at this base.
    RestartJournal(EncodedFrame),
    /// Read committed frames of the own journal.
    ReadOwn {
        /// Number for the answer.
        request: u64,
        /// First frame; it is committed.
        from: Lsn,
        /// Read no more than this, but at least one frame.
        bytes_max: usize,
    },
    /// Ask the body store what it lacks.
    CheckBodies {
        /// Number for the answer.
        request: u64,
        /// Of these.
        names: Vec<BodyName>,
    },
    /// Put a body whose length and hash are right.
    StoreBody {
        /// Its name.
        name: BodyName,
        /// All of it.
        octets: Vec<u8>,
    },
    /// Note that a body can't be had.
    StoreMissing {
        /// Its name.
        name: BodyName,
        /// Why.
        missing: Missing,
    },
    /// Make durable what was stored.
    CommitBodies,
    /// List bodies pending, they are asked for again.
    ListPending {
        /// At most so many.
        most: usize,
    },
    /// Everything up to here is durable with its bodies and may be applied: the end of a transaction.
    Durable(Lsn),
    /// A connection was accepted.
    Up(Hello),
    /// Answer to [`ReceiveInput::AskGone`].
    GoneAnswer {
        /// The driver's number.
        id: u64,
        /// Those without a body at the source.
        gone: Vec<Uid>,
    },
    /// The peer asks; answer with [`ReceiveInput::Answer`].
    Asked {
        /// Number for the answer.
        request: u64,
        /// The question.
        json: String,
    },
    /// The peer can't answer any more: nobody is connected, or the connection was lost.
    Unanswered {
        /// The number in [`ReceiveInput::Ask`].
        id: u64,
    },
    /// The peer answered.
    Answered {
        /// The number in [`ReceiveInput::Ask`].
        id: u64,
        /// The answer.
        json: String,
    },
}
