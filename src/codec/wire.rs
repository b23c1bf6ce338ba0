//! What two nodes say to each other about one group, and how it is framed. `schema/wire.md` has every byte.
//!
//! A message on the wire is `u32` length (little endian, of what follows), `u8` tag, payload. The length is checked
//! before anything is allocated. One connection carries one group; the side that dials (the primary's node) is the
//! *sender*, the other one the *receiver*. A message names nothing but its own session.

mod bounds;
mod bytes;
mod press;
#[cfg(test)]
mod tests;

pub use bytes::{body_length, take};
pub use press::{Press, Unpress};

use crate::op::{
    BodyHash, BodyName, ChainHash, DigestVerdict, Epoch, GoneQuestion, Heartbeat, Lsn, MailboxId, MessageGuid, Missing,
    Need, NodeName, Notice, StreamId, Uid, UidValidity,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Version of this protocol; other versions are refused. The TLS ALPN is [`ALPN`].
pub const PROTOCOL: u16 = 1;
/// Application protocol name in the TLS handshake.
pub const ALPN: &[u8] = b"mailshadow/1";

/// A place in a stream: an LSN is never compared without its chain hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The frame's LSN (0: before the first).
    pub lsn: Lsn,
    /// Its chain hash (zeros before the first).
    pub chain: ChainHash,
}

/// First message of the sender.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL`].
    pub protocol: u16,
    /// The group that this connection carries.
    pub group: String,
    /// The sender's name in its certificate.
    pub node: NodeName,
    /// The stream.
    pub stream: StreamId,
    /// The epoch that the sender writes in.
    pub epoch: Epoch,
    /// Last durable frame of the sender's journal.
    pub head: Place,
    /// Lowest LSN that the sender can still send (`head.lsn + 1` where its journal is empty).
    pub oldest: Lsn,
    /// True where this stream was started to replace an older one: a receiver of another stream may join it at a base.
    pub rebuilt: bool,
}

/// First message of the receiver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// [`PROTOCOL`].
    pub protocol: u16,
    /// The receiver's name in its certificate.
    pub node: NodeName,
    /// The stream of its journal (zeros: none yet).
    pub stream: StreamId,
    /// Highest epoch that it has durably seen.
    pub epoch: Epoch,
    /// Where the next frame must follow.
    pub head: Place,
    /// Last LSN that is durable there with every body.
    pub durable: Lsn,
    /// Last LSN that is decided there.
    pub applied: Lsn,
    /// Set where it can't use what it has and must join at a base; says why.
    pub need_base: Option<String>,
}

/// How far a receiver is. `taken >= journaled >= durable >= applied`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Last LSN checked and handed to its journal; perhaps not on disk yet. For the flow of frames only.
    pub taken: Lsn,
    /// Last LSN on its disk.
    pub journaled: Lsn,
    /// Last LSN on its disk with every body that it and those before it name.
    pub durable: Lsn,
    /// Last LSN decided.
    pub applied: Lsn,
    /// What its store counts.
    pub counts: Counts,
}

/// Counts of a receiver's store, for `status`, `wait` and metrics of the sender.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Selectable mailboxes.
    pub mailboxes: u64,
    /// Messages that a client sees.
    pub messages: u64,
    /// Mailboxes whose transactions are diverted.
    pub held: u64,
    /// Messages whose body is not there.
    pub pending: u64,
    /// Open quarantine entries.
    pub quarantined: u64,
    /// True from a base until its end is applied.
    pub building: bool,
}

/// A piece of a body. Parts of one body follow each other without gap; parts of two bodies are never mixed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyPart {
    /// The need's number, or for a body sent ahead one of the sender's own.
    pub id: u64,
    /// True where nobody asked: the frame that names it comes later. Its first part carries `name`.
    pub ahead: bool,
    /// What it is; on the first part of a body sent ahead only.
    pub name: Option<BodyName>,
    /// Where `octets` begin in the body, bytes.
    pub offset: u64,
    /// Length of the whole body, bytes.
    pub total: u64,
    /// At most [`crate::limits::BODY_PART_BYTES`].
    pub octets: Vec<u8>,
    /// BLAKE3 of the whole body; on the last part only.
    pub hash: Option<BodyHash>,
}

/// What a `state` is about to list: the receiver fetches what it lacks before that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// The sender's number for it.
    pub id: u64,
    /// Which mailbox.
    pub mailbox: MailboxId,
    /// Its UIDVALIDITY.
    pub uidvalidity: UidValidity,
    /// Messages, at most [`crate::limits::WIRE_MESSAGES_MAX`].
    pub messages: Vec<(Uid, MessageGuid, Option<u64>)>,
}

/// A need with the number that its answer carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NumberedNeed {
    /// The receiver's number for it.
    pub id: u64,
    /// What is lacking.
    pub need: Need,
}

/// Everything that is ever said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Sender, first.
    Hello(Hello),
    /// Sender: frames as they lie in its journal, in order.
    Frames(Vec<Arc<[u8]>>),
    /// Sender: a piece of a body.
    BodyPart(BodyPart),
    /// Sender: a need can't be met.
    BodyMissing {
        /// The need's number.
        id: u64,
        /// Why.
        missing: Missing,
    },
    /// Sender: a transaction was read.
    Notice(Notice),
    /// Sender: its clock and its last LSN.
    Heartbeat(Heartbeat),
    /// Sender: which of the messages asked for have no body any more.
    GoneAnswer {
        /// The question's number.
        id: u64,
        /// At most [`crate::limits::WIRE_MESSAGES_MAX`].
        gone: Vec<Uid>,
    },
    /// Sender: what a `state` is about to list.
    Offer(Offer),
    /// Either: this session can't be; the connection ends.
    Refused {
        /// For people.
        why: String,
    },
    /// Either: the two histories differ; nothing flows.
    Diverged {
        /// For people.
        why: String,
    },
    /// Either: an operator's question for the other node, bounded JSON text.
    Ask {
        /// The asker's number.
        id: u64,
        /// The question.
        json: String,
    },
    /// Either: the answer to it.
    Answer {
        /// The asker's number.
        id: u64,
        /// The answer.
        json: String,
    },
    /// Either, when nothing else was said for some seconds. Not answered: the other side pings by itself.
    Ping,
    /// Receiver, answer to [`Message::Hello`].
    Welcome(Welcome),
    /// Receiver: a frame was broken, begin again after this place. Sender: what follows begins after it.
    Again(Place),
    /// Receiver: how far it is.
    Position(Position),
    /// Receiver: bodies that it lacks, at most [`crate::limits::WIRE_NEEDS_MAX`].
    Needs(Vec<NumberedNeed>),
    /// Receiver: are these messages really gone?
    GoneAsk {
        /// Its number.
        id: u64,
        /// The question, at most [`crate::limits::WIRE_MESSAGES_MAX`] messages.
        question: GoneQuestion,
    },
    /// Receiver: everything offered is durable or durably missing.
    OfferDone {
        /// The offer's number.
        id: u64,
    },
    /// Receiver: what it found when it applied a digest.
    Verdict(DigestVerdict),
}

/// A message that can't be sent or understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Longer than [`crate::limits::WIRE_BYTES_MAX`], or empty.
    #[error("a message of {0} bytes is out of bounds")]
    Length(u64),
    /// A tag that this version does not know.
    #[error("unknown message tag {0}")]
    Tag(u8),
    /// The payload is not what the tag says.
    #[error("{message} message: {why}")]
    Payload {
        /// Which message.
        message: &'static str,
        /// What is wrong.
        why: String,
    },
}

impl Message {
    /// The message's name in logs, metrics and `schema/wire.md`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Hello(_) => "hello",
            Self::Frames(_) => "frames",
            Self::BodyPart(_) => "body-part",
            Self::BodyMissing { .. } => "body-missing",
            Self::Notice(_) => "notice",
            Self::Heartbeat(_) => "heartbeat",
            Self::GoneAnswer { .. } => "gone-answer",
            Self::Offer(_) => "offer",
            Self::Refused { .. } => "refused",
            Self::Diverged { .. } => "diverged",
            Self::Ask { .. } => "ask",
            Self::Answer { .. } => "answer",
            Self::Ping => "ping",
            Self::Welcome(_) => "welcome",
            Self::Again(_) => "again",
            Self::Position(_) => "position",
            Self::Needs(_) => "needs",
            Self::GoneAsk { .. } => "gone-ask",
            Self::OfferDone { .. } => "offer-done",
            Self::Verdict(_) => "verdict",
        }
    }
}
