//! What the other verbs answer: the JSON that `shadowctl --json` prints.

use crate::op::{Epoch, Lsn, NodeName, UserName};
pub use crate::store::custody::{Affected, Decision, Entry, EntryDetail, EntryId, Reason, Retained};
use serde::{Deserialize, Serialize};

/// `wait`: every change that the source's log held when it was called has been decided by every standby.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WaitReport {
    /// One entry a group.
    pub groups: Vec<WaitedGroup>,
}

/// What `wait` found in a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WaitedGroup {
    /// Its name.
    pub group: String,
    /// The LSN that every standby has applied.
    pub applied: Lsn,
    /// What was decided, but diverted or without its body, in words; `wait` exits with 1 where any is listed.
    pub diverted: Vec<String>,
    /// Seconds that it took.
    pub seconds: f64,
}

impl WaitReport {
    /// True where something was diverted to quarantine or is body pending.
    #[must_use]
    pub fn is_diverted(&self) -> bool {
        self.groups.iter().any(|group| !group.diverted.is_empty())
    }
}

/// `verify`: source and copy compared.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct VerifyReport {
    /// Mailboxes compared, once for each standby.
    pub mailboxes: u64,
    /// How many of them are equal.
    pub equal: u64,
    /// Each difference.
    pub different: Vec<Difference>,
    /// What should be known although it is no difference.
    #[serde(default)]
    pub notes: Vec<Difference>,
    /// Which standbys were compared.
    #[serde(default)]
    pub peers: Vec<NodeName>,
    /// True where bodies were compared too.
    #[serde(default)]
    pub deep: bool,
    /// Seconds that it took.
    #[serde(default)]
    pub seconds: f64,
}

impl VerifyReport {
    /// True where no difference was found.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.different.is_empty() && self.equal == self.mailboxes
    }
}

/// One difference between source and copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Whose mailbox.
    pub user: UserName,
    /// Its name or, where it is unknown, its GUID; empty where the tree differs.
    pub mailbox: String,
    /// What differs.
    pub why: String,
    /// On which standby.
    #[serde(default)]
    pub peer: Option<NodeName>,
}

/// `journal ls`: the journals on this node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct JournalList {
    /// One entry a group.
    pub groups: Vec<JournalOfGroup>,
}

/// One group's journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JournalOfGroup {
    /// Its name.
    pub group: String,
    /// Stream id, 32 hex digits.
    pub stream: String,
    /// Epoch of the last frame.
    pub epoch: Epoch,
    /// First LSN that is still here; none in an empty journal.
    pub first: Option<Lsn>,
    /// Last LSN.
    pub last: Option<Lsn>,
    /// Bytes on disk.
    pub bytes: u64,
    /// Its files, oldest first.
    pub segments: Vec<JournalSegment>,
}

/// One file of a journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalSegment {
    /// File name in the journal's folder.
    pub file: String,
    /// First LSN in it; none where it holds no frame.
    pub first: Option<Lsn>,
    /// Last LSN in it.
    pub last: Option<Lsn>,
    /// Its bytes.
    pub bytes: u64,
}

/// `journal cat`: one frame, readable, without message content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalFrame {
    /// The group.
    pub group: String,
    /// Place in the stream.
    pub lsn: Lsn,
    /// Whose history.
    pub epoch: Epoch,
    /// Chain hash, 64 hex digits.
    pub chain: String,
    /// When it was captured, UNIX milliseconds.
    pub captured_ms: u64,
    /// What it is: `mailbox`, `state`, `tree`, `digest`, `epoch`, `base`, …
    pub kind: String,
    /// Part `i of n` of a run, where it is one.
    #[serde(default)]
    pub run: Option<String>,
    /// For which peer alone it was made, where it was.
    #[serde(default)]
    pub peer: Option<NodeName>,
    /// Whose.
    #[serde(default)]
    pub user: Option<UserName>,
    /// Which mailbox, GUID in 32 hex digits.
    #[serde(default)]
    pub mailbox: Option<String>,
    /// What it does, in a few words: `append 12 (3401 bytes) \Seen; expunge 4:7`.
    pub summary: String,
    /// Bytes of the frame.
    pub bytes: u64,
}

/// `quarantine ls`: what was not applied, one entry a mailbox.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineList {
    /// By user and name, group by group.
    pub entries: Vec<Entry>,
}

/// `retained ls`: what left the copy and is kept for a time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetainedList {
    /// Newest first, group by group.
    pub messages: Vec<Retained>,
}

/// `quarantine release`, `quarantine drop`, `retained release`: what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// The entry.
    pub id: EntryId,
    /// What was done, in words.
    pub done: String,
}

/// `repair`: what differed before every mailbox was listed anew, and what still does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RepairReport {
    /// Mailboxes listed, once for each standby.
    pub mailboxes: u64,
    /// What differed before.
    pub differed: Vec<Difference>,
    /// What differs still: held, quarantined, or not readable at the source.
    pub remaining: Vec<Difference>,
    /// Which standbys heard of it.
    pub peers: Vec<NodeName>,
    /// Seconds that it took.
    pub seconds: f64,
}

/// `repair --stream`: which streams begin.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamReport {
    /// One entry a group.
    pub groups: Vec<NewStream>,
}

/// A group's new stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewStream {
    /// The group.
    pub group: String,
    /// The stream that ends, 32 hex digits.
    pub before: String,
    /// The one that begins.
    pub stream: String,
    /// Who joins it.
    pub peers: Vec<NodeName>,
}
