//! Names of message bodies, and the questions that a copy asks about them.
//!
//! A body is the octets that the source's server answers to `BODY[]`: decompressed, every bare LF as CRLF. It travels
//! beside the frames, and is checked and stored by the BLAKE3 hash of these octets.

use super::{Append, MailboxId, MessageGuid, Uid, UidValidity};
use serde::{Deserialize, Serialize};

/// A place where a body can be read at the source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BodyPlace {
    /// Which mailbox.
    pub mailbox: MailboxId,
    /// Under which UIDVALIDITY.
    pub uidvalidity: UidValidity,
    /// Which message.
    pub uid: Uid,
}

/// A body as an append names it. A stored body serves another append of the same user only where GUID and size are
/// known and equal; otherwise it serves exactly the place it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BodyName {
    /// Where the append put it.
    pub place: BodyPlace,
    /// The message's GUID, unknown where it was gone too early.
    pub guid: MessageGuid,
    /// RFC822.SIZE, where the source could tell it.
    pub size: Option<u64>,
}

impl BodyName {
    /// The body of a message, as its append or a list names it.
    #[must_use]
    pub fn of(mailbox: &MailboxId, uidvalidity: UidValidity, message: &Append) -> Self {
        Self {
            place: BodyPlace {
                mailbox: mailbox.clone(),
                uidvalidity,
                uid: message.uid,
            },
            guid: message.guid.clone(),
            size: message.size,
        }
    }
}

/// The copy lacks a body, or can't verify what it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need {
    /// Which body, by the append that needs it.
    pub name: BodyName,
    /// Every other place that the copy knows for this user and GUID, newest first, bounded by
    /// [`crate::limits::NEED_PLACES_MAX`].
    pub other_places: Vec<BodyPlace>,
}

/// Why a body can't be had. Written durably on the copy it counts as the body: the message is *body pending*.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// True: no place has it any more. False: a place has bytes that contradict what the store says of them.
    pub gone: bool,
    /// Where the damage is (`file`, byte offset); empty where it is gone.
    pub file: String,
    /// Byte offset in `file`.
    pub offset: u64,
    /// What is wrong, for people.
    pub why: String,
}

/// Before the copy applies a disappearance from a whole lineage it asks whether these bodies are really gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoneQuestion {
    /// Which mailbox.
    pub mailbox: MailboxId,
    /// Its UIDVALIDITY.
    pub uidvalidity: UidValidity,
    /// The messages that the source's list lacks.
    pub messages: Vec<(Uid, MessageGuid)>,
}
