//! The standby's side of the protocol. See the tables of [`super`].
//!
//! ```text
//! Apart ──Connected──► Listening ──Hello accepted, Welcome said──► Taking        an error or Lost: Apart
//! ```

mod assembly;
mod durable;
mod follow;
mod gone;
mod machine;
mod taking;
mod wanted;

pub(crate) use self::assembly::{Assembly, Whole};
pub(super) use self::durable::Settles;

use self::durable::Durable;
use self::follow::{Follow, Terms};
use self::gone::Gone;
use self::wanted::Wanted;
use super::announced::Announced;
use super::link::Link;

use crate::codec::frame::EncodedFrame;
use crate::codec::wire::{Counts, Hello, Message, Place, Position};
use crate::op::{
    BodyHash, BodyName, BodyPlace, DigestVerdict, Epoch, GoneQuestion, Lsn, Missing, NodeName, StreamId, Uid,
};
use std::collections::{BTreeMap, VecDeque};

/// The receiving machine. It lives as long as the standby's role: the stream it follows and the bodies it waits for
/// outlast a connection.
#[derive(Debug)]
pub struct Receive {
    group: String,
    node: NodeName,
    /// Highest epoch durably seen when the daemon started, or of a frame since.
    epoch: Epoch,
    lost: Option<String>,
    phase: Phase,
    link: Link,
    requests: VecDeque<ReceiveRequest>,
    follow: Follow,
    /// Where a frame was broken once: the second time there is the last.
    broken_behind: Option<Place>,
    /// Frames handed to the journal: last LSN and bytes of each request.
    journaling: VecDeque<(Lsn, u64)>,
    durable: Durable,
    wanted: Wanted,
    arriving_ahead: Assembly,
    arriving_asked: Assembly,
    /// Ticket → the peer's number and the bodies that it waits for.
    offers: BTreeMap<u64, (u64, usize)>,
    gone: Gone,
    announced: Announced,
    verdicts: VecDeque<DigestVerdict>,
    applied: Lsn,
    /// LSN of the base that was joined at since the start (0: none).
    base: Lsn,
    counts: Counts,
    /// What the peer was told last on this connection, and when.
    told: Option<(Position, u64)>,
    /// Bytes of frames taken since then.
    taken_bytes: u64,
    next_pending_ms: u64,
    last_number: u64,
}

/// Where the session is.
#[derive(Clone, Copy, Debug)]
enum Phase {
    Apart,
    Listening,
    Taking {
        terms: Terms,
        /// Frames that were on their way when a broken one was found are passed over until the sender's echo.
        passing_over: bool,
    },
}

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
    /// What counts as applied for others: not more than `applied`.
    pub shown: Lsn,
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
    /// What the body store lacks of the names asked for, and where else it may be read. What it does not lack is on
    /// disk.
    Checked {
        /// The request's number.
        request: u64,
        /// As `BodyStore::lacking` answers.
        lacking: BTreeMap<BodyName, Vec<BodyPlace>>,
    },
    /// These bodies (or their absence) are on disk.
    Stored(Vec<BodyName>),
    /// Bodies pending, and where else they may be read.
    Pending(BTreeMap<BodyName, Vec<BodyPlace>>),
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
    /// Forget the parts of a run whose end has not come, behind the journal requests before.
    RollBack,
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
    /// Put a body whose length and hash are right on disk.
    StoreBody {
        /// Its name.
        name: BodyName,
        /// All of it.
        octets: Vec<u8>,
        /// Of the octets.
        hash: BodyHash,
    },
    /// Note durably that a body can't be had.
    StoreMissing {
        /// Its name.
        name: BodyName,
        /// Why.
        missing: Missing,
    },
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
