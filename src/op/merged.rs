//! What of a lost tail is in the stream: the key by which nothing of it is ever merged twice (guarantee 12).

use super::{Epoch, MailboxId, MessageGuid, StreamId, Uid, UidRange, UidValidity};
use serde::{Deserialize, Serialize};

/// These messages of a tail were settled by the transaction that this stands in: whoever brings the same tail again
/// brings nothing new of them. A UID is given out once in an epoch, so (stream, epoch, mailbox, UIDVALIDITY, UID) is one
/// message, whether its old LSN is known or capture never got to it. Changes no mail.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Merged {
    /// The tail's stream.
    pub stream: StreamId,
    /// The epoch that it was written in.
    pub epoch: Epoch,
    /// The mailbox as the tail names it; the messages may have gone to another one.
    pub mailbox: MailboxId,
    /// Its UIDVALIDITY there.
    pub uidvalidity: UidValidity,
    /// Messages that the tail appended, and their GUIDs; at most [`crate::limits::MERGED_MESSAGES_MAX`].
    pub appended: Vec<(Uid, MessageGuid)>,
    /// Messages from before the tail that it expunged; as many ranges at most.
    pub expunged: Vec<UidRange>,
}
