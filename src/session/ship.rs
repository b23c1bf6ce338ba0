//! The primary's side of the protocol, one for each peer. See the tables of [`super`].
//!
//! ```text
//! Apart ──Connected──► Greeting ──Welcome──► Comparing ──hash equal──► Flowing
//!                          │ nothing there, LSN 1 is still here ─────────►│
//!                          └─ lacks trimmed frames ──► Seeking ─base seen─►┘   an error or Lost: Apart
//! ```

mod bucket;
mod flow;
mod machine;
mod offers;
mod outgoing;

use self::flow::Flow;
use self::offers::Offers;
use self::outgoing::Outgoing;
use super::bodies::Sent;
use super::link::Link;
use crate::codec::frame::EncodedFrame;
use crate::codec::wire::{Message, Place, Position, Welcome};
use crate::op::{
    BodyName, BodyPlace, ChainHash, DigestVerdict, Epoch, GoneQuestion, Heartbeat, Lsn, MailboxId, MessageGuid,
    Missing, NodeName, Notice, StreamId, Uid, UidValidity,
};
use std::collections::{BTreeMap, VecDeque};

/// The sending machine. It holds at most some megabytes of frames and [`crate::limits::READ_AHEAD_BYTES`] of bodies of
/// each kind (or one larger body of each).
#[derive(Debug)]
pub struct Ship {
    start: ShipStart,
    phase: Phase,
    ours: Standing,
    link: Link,
    requests: VecDeque<ShipRequest>,
    flow: Flow,
    bodies: Outgoing,
    offers: Offers,
    /// The newest one only: an older one says nothing more.
    heartbeat: Option<Heartbeat>,
    /// Bodies that went ahead on this connection. What an earlier connection brought is not known; it is asked for.
    sent: Sent,
    /// A base for this peer was asked for when our head was here; it stands behind.
    base_behind: Option<Lsn>,
    /// The journal didn't know the hash of this frame when it was to be compared (0: none): who has no more can't go on.
    unknown_upto: Lsn,
    /// Gone questions that the source works on: our number → the peer's.
    gone_open: BTreeMap<u64, u64>,
    /// Last number given to a request or to a body sent ahead.
    last_number: u64,
    /// Alternates between frames and body parts.
    frames_next: bool,
}

/// Where the session is; see the picture above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Apart,
    Greeting,
    Comparing(Place),
    Seeking,
    Flowing,
}

/// Who ships to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShipStart {
    /// The group's name.
    pub group: String,
    /// This node.
    pub node: NodeName,
    /// The peer, as its certificate names it.
    pub peer: NodeName,
    /// How fast stored mail is shipped, bodies that the peer asks for and lists, bytes a second; none: as fast as it goes.
    pub bulk_bytes_per_second: Option<u64>,
}

/// What this node has when a connection begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The stream.
    pub stream: StreamId,
    /// Highest epoch durably seen; a primary writes in it.
    pub epoch: Epoch,
    /// The journal's committed head.
    pub head: Place,
    /// Lowest LSN that the journal holds (`head.lsn + 1` where it is empty).
    pub oldest: Lsn,
    /// True where this stream was begun to replace one that the peer may still have: with that one it may join at a base.
    /// False: a peer of another stream is a divergence.
    pub rebuilt: bool,
}

/// What a driver feeds.
#[derive(Debug)]
pub enum ShipInput {
    /// A connection to the peer stands.
    Connected(Standing),
    /// The peer said this.
    Received(Message),
    /// The connection is gone.
    Lost,
    /// The journal's committed head.
    Committed(Place),
    /// The chain hash at that LSN, where the journal still knows it.
    ChainAt {
        /// As requested.
        lsn: Lsn,
        /// None: trimmed away.
        chain: Option<ChainHash>,
    },
    /// Frames from the journal, at least one, dense, the first one as requested.
    Frames {
        /// The request's number.
        request: u64,
        /// In order.
        frames: Vec<EncodedFrame>,
    },
    /// The requested frame was trimmed.
    FramesGone {
        /// The request's number.
        request: u64,
    },
    /// A body, or why it can't be had.
    Body {
        /// The request's number.
        request: u64,
        /// The octets as `BODY[]` has them.
        answer: Result<Vec<u8>, Missing>,
    },
    /// Answer to [`ShipRequest::Gone`].
    Gone {
        /// The request's number.
        request: u64,
        /// Those without a body.
        gone: Vec<Uid>,
    },
    /// Capture read a transaction.
    Notice(Notice),
    /// Once a second from capture.
    Heartbeat(Heartbeat),
    /// Capture is about to emit a `state`. Answered by [`ShipRequest::OfferDone`], at the latest when the connection
    /// is lost.
    Offer {
        /// The driver's number for it.
        ticket: u64,
        /// Which mailbox.
        mailbox: MailboxId,
        /// Its UIDVALIDITY.
        uidvalidity: UidValidity,
        /// The messages, any number.
        messages: Vec<(Uid, MessageGuid, Option<u64>)>,
    },
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
pub enum ShipRequest {
    /// Look up the chain hash of a frame.
    ChainAt {
        /// Which frame.
        lsn: Lsn,
    },
    /// Read committed frames.
    ReadFrames {
        /// Number for the answer.
        request: u64,
        /// First frame; it is committed.
        from: Lsn,
        /// Read no more than this, but at least one frame.
        bytes_max: usize,
    },
    /// Read a body at the source.
    ReadBody {
        /// Number for the answer.
        request: u64,
        /// What it is and where it should be.
        name: BodyName,
        /// Where else it may be.
        other_places: Vec<BodyPlace>,
    },
    /// Ask the source which of these messages have no body.
    Gone {
        /// Number for the answer.
        request: u64,
        /// The question.
        question: GoneQuestion,
    },
    /// Emit a base for this peer.
    Base {
        /// Why, for people.
        reason: String,
    },
    /// The peer's welcome was accepted; frames will flow (or a base is awaited).
    Up(Welcome),
    /// The peer is this far. `durable` and `applied` may fall when it restarts.
    Position(Position),
    /// Everything offered is on the peer's disk (`done`), or the connection did not last.
    OfferDone {
        /// The driver's number.
        ticket: u64,
        /// False: not waited for.
        done: bool,
    },
    /// The peer asks; answer with [`ShipInput::Answer`].
    Asked {
        /// Number for the answer.
        request: u64,
        /// The question.
        json: String,
    },
    /// The peer can't answer any more: nobody is connected, or the connection was lost.
    Unanswered {
        /// The number in [`ShipInput::Ask`].
        id: u64,
    },
    /// The peer answered.
    Answered {
        /// The number in [`ShipInput::Ask`].
        id: u64,
        /// The answer.
        json: String,
    },
    /// The peer compared a digest.
    Verdict(DigestVerdict),
}
