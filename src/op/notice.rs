//! Announcements ahead of the stream: small, unchained, never decided. What was announced and never became durable is
//! what a promotion loses.

use super::{Lsn, MailboxId, MessageGuid, SourcePosition, Uid, UidRange, UidValidity};
use serde::{Deserialize, Serialize};

/// A source transaction was read. Settled by the first durable frame of that mailbox with an equal or later position
/// of the same lineage, or by a later `state`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Counts up from 1 since the agent started.
    pub number: u64,
    /// Which mailbox.
    pub mailbox: MailboxId,
    /// Its UIDVALIDITY.
    pub uidvalidity: UidValidity,
    /// Operations announced: messages appended.
    pub appended: Vec<UidRange>,
    /// UIDs whose flags or keywords change.
    pub changed: Vec<UidRange>,
    /// UIDs that are gone.
    pub expunged: Vec<UidRange>,
    /// GUID and size of at most [`crate::limits::NOTICE_MESSAGES_MAX`] of the appended ones.
    pub messages: Vec<(Uid, MessageGuid, Option<u64>)>,
    /// Where the log stands after it.
    pub position: SourcePosition,
}

/// Sent once a second, after all logs with pending events were read to their end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The source's clock, UNIX milliseconds.
    pub source_ms: u64,
    /// Last LSN in the primary's journal when it was sent.
    pub captured: Lsn,
}
