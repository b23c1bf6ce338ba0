//! What the daemon can be asked, and by whom it is answered.

use super::migration::{MigrateRequest, Migrated};
use super::moving::{MoveReport, MoveRequest};
use super::promotion::{
    DoneReport, MayServeReport, OfGroup, PromoteReport, PromoteRequest, RejoinReport, SwitchoverRequest,
};
use super::report::{
    Decided, Decision, EntryDetail, EntryId, JournalFrame, JournalList, QuarantineList, RepairReport, RetainedList,
    StreamReport, VerifyReport, WaitReport,
};
use super::status::{Status, UserStatus};
use crate::op::{Lsn, UserName};
use serde::{Deserialize, Serialize};
use std::future::Future;
use std::time::Duration;

/// Exit status of `shadowctl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum Exit {
    /// Failed (1).
    Failed,
    /// Usage or configuration (2).
    Usage,
    /// Refused because it would not be safe (3).
    Refused,
    /// Time ran out (4).
    TimeOut,
}

impl From<Exit> for u8 {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Refused => 3,
            Exit::TimeOut => 4,
        }
    }
}

impl TryFrom<u8> for Exit {
    type Error = String;
    fn try_from(number: u8) -> Result<Self, String> {
        match number {
            1 => Ok(Self::Failed),
            2 => Ok(Self::Usage),
            3 => Ok(Self::Refused),
            4 => Ok(Self::TimeOut),
            other => Err(format!("unknown exit status {other}")),
        }
    }
}

/// Why a verb was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct VerbError {
    /// Exit status.
    pub exit: Exit,
    /// The reason, and what would help.
    pub message: String,
}

impl VerbError {
    /// It went wrong.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    /// It can't be meant: no such group, no such user.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// It would not be safe.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(Exit::Refused, message)
    }

    /// Time ran out.
    pub fn timed_out(message: impl Into<String>) -> Self {
        Self::new(Exit::TimeOut, message)
    }

    fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
        }
    }
}

/// A request on the admin socket, one JSON object on one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// The node and its groups; or one user's mailboxes.
    Status {
        /// One user, or none.
        #[serde(default)]
        user: Option<UserName>,
    },
    /// See [`Verbs::wait`].
    Wait(WaitRequest),
    /// See [`Verbs::verify`].
    Verify(VerifyRequest),
    /// See [`Verbs::repair`].
    Repair(RepairRequest),
    /// See [`Verbs::repair_stream`].
    RepairStream {
        /// One group, or every group that this node is primary of.
        #[serde(default)]
        group: Option<String>,
    },
    /// See [`Verbs::promote`].
    Promote(PromoteRequest),
    /// See [`Verbs::switchover`].
    Switchover(SwitchoverRequest),
    /// See [`Verbs::move_users`].
    Move(MoveRequest),
    /// See [`Verbs::rejoin`].
    Rejoin(OfGroup),
    /// See [`Verbs::resume_alone`].
    ResumeAlone(OfGroup),
    /// See [`Verbs::pause`].
    Pause(OfGroup),
    /// See [`Verbs::pause`].
    Resume(OfGroup),
    /// See [`Verbs::may_serve`].
    MayServe {
        /// The group.
        group: String,
    },
    /// See [`Verbs::quarantine`].
    QuarantineLs(CustodyRequest),
    /// See [`Verbs::quarantine_entry`].
    QuarantineShow(EntryRequest),
    /// See [`Verbs::quarantine_decide`]: it was meant.
    QuarantineRelease(EntryRequest),
    /// See [`Verbs::quarantine_decide`]: it was not.
    QuarantineDrop(EntryRequest),
    /// See [`Verbs::retained`].
    RetainedLs(CustodyRequest),
    /// See [`Verbs::retained_release`].
    RetainedRelease(EntryRequest),
    /// See [`Verbs::retained_restore`].
    RetainedRestore(EntryRequest),
    /// See [`Verbs::journal_list`].
    JournalLs {
        /// One group, or all.
        #[serde(default)]
        group: Option<String>,
    },
    /// See [`Verbs::journal_frames`].
    JournalCat(JournalRequest),
    /// See [`Verbs::migrate`].
    Migrate(MigrateRequest),
}

/// What `wait` is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaitRequest {
    /// One group, or every group that this node is primary of.
    #[serde(default)]
    pub group: Option<String>,
    /// Milliseconds after which it gives up with [`Exit::TimeOut`].
    pub timeout_ms: u64,
}

impl WaitRequest {
    /// The time that it may take.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }
}

/// What `verify` is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerifyRequest {
    /// One group, or every group that this node is primary of.
    #[serde(default)]
    pub group: Option<String>,
    /// One user, or all.
    #[serde(default)]
    pub user: Option<UserName>,
    /// Compare bodies too.
    #[serde(default)]
    pub deep: bool,
}

/// What `repair` is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RepairRequest {
    /// One group, or every group that this node is primary of.
    #[serde(default)]
    pub group: Option<String>,
    /// One user, or all.
    #[serde(default)]
    pub user: Option<UserName>,
    /// One mailbox by name, levels joined by `/`; or all, and the tree.
    #[serde(default)]
    pub mailbox: Option<String>,
}

/// What `quarantine ls` and `retained ls` are asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustodyRequest {
    /// One group, or every group that this node holds a copy of.
    #[serde(default)]
    pub group: Option<String>,
    /// One user, or all.
    #[serde(default)]
    pub user: Option<UserName>,
}

/// One entry, as the lists number them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntryRequest {
    /// One group; may be left out where this node holds a copy of one only.
    #[serde(default)]
    pub group: Option<String>,
    /// The entry.
    pub id: EntryId,
}

/// What `journal cat` is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JournalRequest {
    /// One group; may be left out where there is one only.
    #[serde(default)]
    pub group: Option<String>,
    /// From this LSN, or from the first that is here.
    #[serde(default)]
    pub from: Option<Lsn>,
    /// At most so many frames; the server bounds it by [`crate::limits::JOURNAL_CAT_FRAMES_MAX`].
    #[serde(default)]
    pub most: Option<u64>,
}

/// What a switchover may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SwitchoverTerms {
    /// How long clients may be kept out, milliseconds.
    pub max_wait_ms: u64,
}

/// How far long work has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What is being done, in a few words.
    pub what: String,
    /// Units done.
    #[serde(default)]
    pub done: Option<u64>,
    /// Units in all, where known.
    #[serde(default)]
    pub total: Option<u64>,
    /// True for a step that is worth a line of its own, however soon the next one comes.
    #[serde(default)]
    pub lasting: bool,
}

impl Progress {
    /// `done` of `total`, where known.
    pub fn of(what: impl Into<String>, done: u64, total: Option<u64>) -> Self {
        Self {
            what: what.into(),
            done: Some(done),
            total,
            lasting: false,
        }
    }

    /// A step that was done.
    pub fn step(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            done: None,
            total: None,
            lasting: true,
        }
    }
}

/// Where a verb tells how far it has come. Never blocks: a client that doesn't read misses some.
#[derive(Clone, Debug)]
pub struct ProgressSink(tokio::sync::mpsc::Sender<Progress>);

impl ProgressSink {
    /// Over a channel whose other end somebody reads.
    #[must_use]
    pub fn new(sender: tokio::sync::mpsc::Sender<Progress>) -> Self {
        Self(sender)
    }

    /// Tells; drops it where the reader is behind.
    pub fn tell(&self, progress: Progress) {
        if self.0.try_send(progress).is_err() {
            tracing::trace!("a progress line was dropped: its reader is behind or gone");
        }
    }
}

/// What the node implements. Every call may run at the same time as others; a dropped future means that the client is
/// gone.
pub trait Verbs: Send + Sync + 'static {
    /// The node and its groups. Must answer within a second, whatever else is stuck.
    fn status(&self) -> impl Future<Output = Status> + Send;

    /// One user's mailboxes on this node.
    ///
    /// # Errors
    /// No group has that user, or the store can't be read.
    fn user_status(&self, user: UserName) -> impl Future<Output = Result<UserStatus, VerbError>> + Send;

    /// Returns once every change that the source's log held when it was called, the initial copy included, has been
    /// decided by every standby.
    ///
    /// # Errors
    /// [`Exit::TimeOut`] when time ran out, also because no standby is connected; [`Exit::Refused`] on a node that is
    /// not primary.
    fn wait(
        &self,
        request: WaitRequest,
        progress: ProgressSink,
    ) -> impl Future<Output = Result<WaitReport, VerbError>> + Send;

    /// Compares source and copy mailbox by mailbox.
    ///
    /// # Errors
    /// It could not be compared: no standby, not primary, a mailbox that can't be read.
    fn verify(
        &self,
        request: VerifyRequest,
        progress: ProgressSink,
    ) -> impl Future<Output = Result<VerifyReport, VerbError>> + Send;

    /// Reads mailboxes at the source anew and lists them to every standby: what differed is put right.
    ///
    /// # Errors
    /// [`Exit::Refused`] on a node that is not primary; no standby, no such user.
    fn repair(
        &self,
        request: RepairRequest,
        progress: ProgressSink,
    ) -> impl Future<Output = Result<RepairReport, VerbError>> + Send;

    /// Begins a new stream: every standby, a diverged one too, joins at a base.
    ///
    /// # Errors
    /// [`Exit::Refused`] on a node that is not primary; the disk.
    fn repair_stream(&self, group: Option<String>) -> impl Future<Output = Result<StreamReport, VerbError>> + Send;

    /// Makes this node primary. What was begun goes on when the client leaves, and running it again finishes it.
    ///
    /// # Errors
    /// [`Exit::Refused`] where it would not be safe; nothing has changed then. [`Exit::Failed`] where it could not be
    /// brought to an end.
    fn promote(
        &self,
        request: PromoteRequest,
        progress: ProgressSink,
    ) -> impl Future<Output = Result<PromoteReport, VerbError>> + Send;

    /// Makes the standby primary with nothing lost, or changes nothing; on either node.
    ///
    /// # Errors
    /// As [`Verbs::promote`]; [`Exit::TimeOut`] where the copy was not equal in time.
    fn switchover(
        &self,
        request: SwitchoverRequest,
        progress: ProgressSink,
    ) -> impl Future<Output = Result<PromoteReport, VerbError>> + Send;

    /// Moves users, one by one, to a group that the other node is primary of. What was begun goes on when the client leaves.
    ///
    /// # Errors
    /// [`Exit::Refused`] where one of them can't be moved from here; those before him are.
    fn move_users(
        &self,
        request: MoveRequest,
        progress: ProgressSink,
    ) -> impl Future<Output = Result<MoveReport, VerbError>> + Send;

    /// A fenced node shows what it has beyond the fork, and becomes a standby.
    ///
    /// # Errors
    /// [`Exit::Refused`] where it is not fenced, or can't be a standby.
    fn rejoin(
        &self,
        of: OfGroup,
        progress: ProgressSink,
    ) -> impl Future<Output = Result<RejoinReport, VerbError>> + Send;

    /// The operator's word that nobody else is primary.
    ///
    /// # Errors
    /// [`Exit::Refused`] on a node that is no unconfirmed primary.
    fn resume_alone(&self, of: OfGroup) -> impl Future<Output = Result<DoneReport, VerbError>> + Send;

    /// Maintenance: nothing is applied, nothing is advised; capture goes on. Or its end.
    ///
    /// # Errors
    /// The disk.
    fn pause(&self, of: OfGroup, paused: bool) -> impl Future<Output = Result<DoneReport, VerbError>> + Send;

    /// Whether the group's mail server may open its doors here.
    ///
    /// # Errors
    /// No such group.
    fn may_serve(&self, group: String) -> impl Future<Output = Result<MayServeReport, VerbError>> + Send;

    /// A step of moving a server to another version, format or store.
    ///
    /// # Errors
    /// [`Exit::Refused`] where it would not be safe, and nothing has changed; as [`Verbs::switchover`].
    fn migrate(
        &self,
        request: MigrateRequest,
        progress: ProgressSink,
    ) -> impl Future<Output = Result<Migrated, VerbError>> + Send;

    /// What this copy has not applied.
    ///
    /// # Errors
    /// [`Exit::Usage`] on a node without a copy; the store can't be read.
    fn quarantine(&self, request: CustodyRequest) -> impl Future<Output = Result<QuarantineList, VerbError>> + Send;

    /// One entry with its messages.
    ///
    /// # Errors
    /// As [`Verbs::quarantine`]; there is no such entry.
    fn quarantine_entry(&self, request: EntryRequest) -> impl Future<Output = Result<EntryDetail, VerbError>> + Send;

    /// Applies what was not, or forgets it.
    ///
    /// # Errors
    /// As [`Verbs::quarantine_entry`]; [`Exit::Refused`] where that would leave a copy that differs for good.
    fn quarantine_decide(
        &self,
        request: EntryRequest,
        decision: Decision,
    ) -> impl Future<Output = Result<Decided, VerbError>> + Send;

    /// What left this copy and is kept.
    ///
    /// # Errors
    /// As [`Verbs::quarantine`].
    fn retained(&self, request: CustodyRequest) -> impl Future<Output = Result<RetainedList, VerbError>> + Send;

    /// A message is not kept any longer.
    ///
    /// # Errors
    /// As [`Verbs::quarantine_entry`].
    fn retained_release(&self, request: EntryRequest) -> impl Future<Output = Result<Decided, VerbError>> + Send;

    /// A message comes back as a new one.
    ///
    /// # Errors
    /// [`Exit::Refused`] on a copy that follows a primary: nothing is written to it but what the primary's store holds.
    fn retained_restore(&self, request: EntryRequest) -> impl Future<Output = Result<Decided, VerbError>> + Send;

    /// The journals on this node.
    ///
    /// # Errors
    /// No such group, or a journal can't be read.
    fn journal_list(&self, group: Option<String>) -> impl Future<Output = Result<JournalList, VerbError>> + Send;

    /// At most `request.most` frames from `request.from` on, in order; fewer (or none) at the journal's end. The server
    /// asks again for the next ones.
    ///
    /// # Errors
    /// No such group, frames trimmed, or a journal can't be read.
    fn journal_frames(
        &self,
        request: JournalRequest,
    ) -> impl Future<Output = Result<Vec<JournalFrame>, VerbError>> + Send;
}
