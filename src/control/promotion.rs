//! What the verbs that change roles are asked and answer.

use crate::op::{Epoch, Lsn, NodeName};
pub use crate::redirect::Redirected;
use crate::role::Fork;
pub use crate::role::loss::MaxLoss;
use crate::role::merge::Tally;
use serde::{Deserialize, Serialize};

/// What `promote` is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromoteRequest {
    /// The group; may be left out where this node has one only.
    #[serde(default)]
    pub group: Option<String>,
    /// What may be lost.
    #[serde(default)]
    pub max_loss: MaxLoss,
    /// Refuse where the source was silent for longer, milliseconds.
    #[serde(default)]
    pub max_silence_ms: Option<u64>,
    /// A fenced node too, where no higher epoch answers.
    #[serde(default)]
    pub force: bool,
}

/// What `switchover` is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwitchoverRequest {
    /// The group; may be left out where this node has one only.
    #[serde(default)]
    pub group: Option<String>,
    /// How long clients may be kept out before all is put back, milliseconds.
    pub max_wait_ms: u64,
}

/// A group that a verb is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfGroup {
    /// May be left out where this node has one only.
    #[serde(default)]
    pub group: Option<String>,
}

/// What a promotion or a switchover did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PromoteReport {
    /// The group.
    pub group: String,
    /// Who is primary now.
    pub primary: NodeName,
    /// The epoch that was taken.
    pub epoch: Epoch,
    /// Last LSN of the old epoch that is applied.
    pub applied_lsn: Lsn,
    /// What is lost.
    pub loss: LossStatement,
    /// True where the old primary's node said that its mail server lets nobody in any more; false: "old side NOT fenced".
    pub old_side_fenced: bool,
    /// Where clients are pointed now.
    pub redirects: Vec<Redirected>,
    /// Logins as a client, through the public names.
    pub probes: Vec<Probed>,
    /// Each step as it happened.
    pub steps: Vec<Step>,
    /// What users had and this store does not do.
    #[serde(default)]
    pub not_carried: Vec<String>,
    /// Seconds from the first step to the last.
    pub seconds: f64,
}

impl PromoteReport {
    /// True where a step, a redirect or a probe failed: clients may not find the new primary.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        let redirects = self.redirects.iter().any(|redirect| !redirect.ok);
        redirects || self.probes.iter().any(|probe| !probe.ok) || self.steps.iter().any(|step| step.problem.is_some())
    }
}

/// What is lost, as far as this node can know.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LossStatement {
    /// Operations that were announced and never came.
    pub operations: Option<u64>,
    /// Seconds of captured history that never came; 0.0: everything captured up to the last heartbeat is here.
    pub seconds: Option<f64>,
    /// True where announcements may have been missed.
    pub at_least: bool,
    /// Seconds since the source was last heard. What it did meanwhile can't be known.
    pub silent_seconds: Option<f64>,
    /// When the last applied operation was captured, UNIX milliseconds.
    #[serde(default)]
    pub last_applied_ms: Option<u64>,
    /// Messages that were announced and never came.
    pub known_missing: Vec<MissingMessage>,
    /// Messages in `known_missing` that are not named: only counts were announced, or there are too many.
    #[serde(default)]
    pub unnamed_missing: u64,
    /// Changes of flags that were announced and never came.
    #[serde(default)]
    pub changes_missing: u64,
    /// Expunges that were announced and never came: those messages are still here.
    #[serde(default)]
    pub expunges_missing: u64,
}

/// A message that was announced and never came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingMessage {
    /// Whose.
    pub user: String,
    /// The mailbox's name, levels joined by `/`; its GUID where this copy never heard its name.
    pub mailbox: String,
    /// Its UID there.
    pub uid: u32,
    /// Its GUID; empty where only a range was announced.
    pub guid: String,
    /// Its size, bytes, where it was announced.
    pub size: Option<u64>,
}

/// A step of a promotion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// What was done.
    pub what: String,
    /// Seconds since the promotion began, at its end.
    pub at_seconds: f64,
    /// Why it failed, where it did; the promotion went on.
    #[serde(default)]
    pub problem: Option<String>,
}

/// A login as a client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Probed {
    /// Where.
    pub address: String,
    /// True where it came in.
    pub ok: bool,
    /// Why not.
    #[serde(default)]
    pub why: Option<String>,
    /// Seconds that it took.
    pub seconds: f64,
}

/// `rejoin`: what a fenced node has that the new primary has not, and what became of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RejoinReport {
    /// The group.
    pub group: String,
    /// The role afterwards.
    pub role: Option<crate::role::Role>,
    /// Last place that this node has in common with the primary.
    #[serde(default)]
    pub fork: Option<Fork>,
    /// Frames behind the fork.
    pub tail_frames: u64,
    /// What they hold, and what a Dovecot's logs hold beyond: readable, no content.
    pub tail: Vec<String>,
    /// What became of it at the primary.
    #[serde(default)]
    pub tally: Tally,
    /// What happens next, for people.
    pub note: String,
}

/// `resume --alone`, `pause`, `resume`: done in these groups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoneReport {
    /// Their names.
    pub groups: Vec<String>,
}

/// `may-serve`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MayServeReport {
    /// The group.
    pub group: String,
    /// True for a confirmed primary and for a standby.
    pub may: bool,
    /// Why.
    pub why: String,
}
