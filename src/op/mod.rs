//! What a change *is*: identities, positions, operations, frames and digests.
//!
//! This room knows nothing of bytes, disks, networks or Dovecot. Everything that travels from a source to a copy is
//! said in these types; [`crate::codec`] gives them bytes, and [`model`] says what each of them means.

#[cfg(test)]
pub(crate) mod arbitrary;
pub mod attributes;
pub mod body;
pub mod digest;
pub mod frame;
pub mod ids;
pub mod mailbox;
pub mod merged;
mod message_guid;
pub mod model;
pub mod notice;
pub mod position;
pub mod tree;
pub mod whole;

pub use attributes::{
    AttributeFingerprint, AttributeKind, AttributeScope, AttributeValue, Attributes, AttributesChange, value_hash,
};
pub use body::{BodyName, BodyPlace, GoneQuestion, Missing, Need};
pub use digest::{DigestVerdict, MailboxDigest, TreeDigest};
pub use frame::{BaseStart, EpochId, EpochStart, FrameHeader, Leap, Payload, Run};
pub use ids::{
    BodyHash, ChainHash, Epoch, Guid, Keyword, Lsn, MailboxId, MailboxName, Modseq, NodeName, StreamId, Uid,
    UidValidity, UserName,
};
pub use mailbox::{
    Append, Expunge, FlagChange, Flags, KeywordChange, KeywordVerb, Lineage, MailboxTxn, Op, StateChunk, UidRange,
};
pub use merged::Merged;
pub use message_guid::MessageGuid;
pub use notice::{Heartbeat, Notice};
pub use position::SourcePosition;
pub use tree::{Disappearance, Namespaces, Stale, TreeChange, TreeMailbox, Unselectable};
pub use whole::whole;
