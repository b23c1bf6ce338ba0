//! `status --json`. What stands here keeps its name and meaning; fields may be added. What a node can't know is `null`,
//! never 0.

use super::vitals::Vitals;
use crate::op::{Epoch, Lsn, Modseq, NodeName, Uid, UidValidity, UserName};
pub use crate::redirect::proxy::ProxyStatus;
pub use crate::role::Role;
pub use crate::store::custody::{Entry, Reason};
pub use crate::store::source::NotCarried;
use serde::{Deserialize, Serialize};

/// A node at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// This node.
    pub node: NodeName,
    /// Version of the daemon.
    pub version: String,
    /// One entry a group, in the configuration's order.
    pub groups: Vec<GroupStatus>,
    /// One entry a proxy of this node, in the configuration's order.
    #[serde(default)]
    pub proxies: Vec<ProxyStatus>,
    /// Room, certificates, the process itself.
    #[serde(default)]
    pub vitals: Vitals,
    /// What a human should look at on this node, in words; what concerns a group is told there.
    #[serde(default)]
    pub problems: Vec<String>,
}

impl Status {
    /// How many things a human should look at: problems, missing peers, what did not reach its mailbox.
    #[must_use]
    pub fn open(&self) -> usize {
        self.problems.len() + self.groups.iter().map(GroupStatus::open).sum::<usize>()
    }
}

/// Kind of a group's store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreKind {
    /// A running Dovecot.
    Dovecot,
    /// Our own.
    Embedded,
}

/// One group on this node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupStatus {
    /// Its name.
    pub name: String,
    /// What this node is in it.
    pub role: Role,
    /// False on a restarted primary that has not yet heard from a peer.
    pub confirmed: bool,
    /// Highest epoch that this node has durably seen.
    pub epoch: Option<Epoch>,
    /// Kind of the store here.
    pub store: StoreKind,
    /// True while a standby is being built, and on a primary until every mailbox was listed once.
    pub building: bool,
    /// One entry a configured peer.
    pub peers: Vec<PeerStatus>,
    /// Positions in the stream. On a primary `shipped`, `durable` and `applied` are those of the peer furthest behind.
    pub lsn: Positions,
    /// How far the copy is behind. On a primary of the peer furthest behind.
    pub lag: Lag,
    /// Selectable mailboxes in the store.
    pub mailboxes: Option<u64>,
    /// Messages in the store, as clients see them.
    pub messages: Option<u64>,
    /// Mailboxes of which transactions are held back.
    pub held_mailboxes: Option<u64>,
    /// Messages whose body is not here.
    pub bodies_pending: Option<u64>,
    /// Open entries of the quarantine.
    pub quarantined: Option<u64>,
    /// Could this node take over now; on a primary `now` is false and a warning says why.
    pub promotable: Promotable,
    /// What a human should look at, in words; empty when all is well.
    #[serde(default)]
    pub problems: Vec<String>,
    /// Age of the last sign that the threads of this group make progress, seconds.
    #[serde(default)]
    pub progress_seconds: Option<f64>,
    /// Bytes of its journal on disk.
    #[serde(default)]
    pub journal_bytes: Option<u64>,
    /// The first open entries of this node's quarantine, at most [`crate::limits::STATUS_NAMED_MAX`].
    #[serde(default)]
    pub quarantine: Vec<Entry>,
    /// What users have at this source and no copy will have.
    #[serde(default)]
    pub not_carried: Vec<NotCarried>,
    /// Where a Dovecot here must let nobody in: whether it does.
    #[serde(default)]
    pub fence: Option<FenceStatus>,
    /// On a primary: whether its mail service answers.
    #[serde(default)]
    pub service: Option<ServiceStatus>,
}

/// A Dovecot that must let nobody in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceStatus {
    /// True where nobody is in and nobody can come in.
    pub shut: bool,
    /// Sessions that were ended since.
    pub ended: u64,
    /// Why not, where it is not.
    pub why: Option<String>,
}

impl std::fmt::Display for FenceStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.shut, &self.why) {
            (true, _) => write!(
                f,
                "fenced: the mail server lets nobody in, {} sessions ended",
                self.ended
            ),
            (false, why) => write!(
                f,
                "NOT fenced: {}",
                why.as_deref().unwrap_or("it has not been looked at yet")
            ),
        }
    }
}

/// Whether a door of the mail service answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answers {
    /// It greets.
    Up,
    /// It does not.
    Down,
}

/// What became of a login to the mail service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LoginAnswer {
    /// It came in.
    Accepted,
    /// The server says no to user or password.
    Refused,
    /// It came to no answer, or to one that says nothing about user and password.
    Failed,
}

/// The mail service beside a primary, as a client and a delivering server find it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// IMAP; none where it is not known where it is.
    pub imap: Option<Answers>,
    /// LMTP, likewise.
    pub lmtp: Option<Answers>,
    /// Since when it is as it is, UNIX milliseconds.
    pub since_ms: u64,
    /// What is wrong, where something is.
    pub why: Option<String>,
    /// A login to IMAP; none where it is not configured, or IMAP does not answer.
    #[serde(default)]
    pub login: Option<LoginAnswer>,
    /// Why it did not come in.
    #[serde(default)]
    pub login_why: Option<String>,
}

impl ServiceStatus {
    /// False where one of the doors does not answer; none where nothing is known. A login has no say here: a password that
    /// was changed must not make a server look dead to those who might take over.
    #[must_use]
    pub fn up(&self) -> Option<bool> {
        let known: Vec<Answers> = [self.imap, self.lmtp].into_iter().flatten().collect();
        (!known.is_empty()).then(|| known.iter().all(|answers| *answers == Answers::Up))
    }

    /// For people, where it is down.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let why = self.why.as_deref().unwrap_or("it does not answer");
        (self.up() == Some(false)).then(|| format!("the mail service is down: {why}"))
    }

    /// For people, where it answers and lets nobody in.
    #[must_use]
    pub fn login_problem(&self) -> Option<String> {
        let how = match self.login? {
            LoginAnswer::Accepted => return None,
            LoginAnswer::Refused => "refuses the login of the watch",
            LoginAnswer::Failed => "answers, but the login of the watch fails",
        };
        let why = self.login_why.as_deref().unwrap_or("it does not say why");
        Some(format!("the mail service {how}: {why}"))
    }
}

impl GroupStatus {
    /// As [`Status::open`]. Lists count once, however long they are.
    fn open(&self) -> usize {
        let lists = [self.quarantined, self.bodies_pending];
        let lists = lists.iter().filter(|count| count.is_some_and(|count| count > 0));
        let away = self.peers.iter().filter(|peer| !peer.connected);
        self.problems.len() + away.count() + lists.count()
    }
}

/// A configured peer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// Name in its certificate.
    pub name: NodeName,
    /// True while a session with it is open.
    pub connected: bool,
    /// Its positions, where this node is primary.
    #[serde(default)]
    pub lsn: Option<Positions>,
    /// Its lag, where this node is primary.
    #[serde(default)]
    pub lag: Option<Lag>,
    /// Why it isn't connected, where that is known.
    #[serde(default)]
    pub problem: Option<String>,
    /// Mailboxes of which it holds transactions back, where this node is primary.
    #[serde(default)]
    pub held_mailboxes: Option<u64>,
    /// Messages whose body it lacks, where this node is primary.
    #[serde(default)]
    pub bodies_pending: Option<u64>,
    /// Open entries of its quarantine, where this node is primary.
    #[serde(default)]
    pub quarantined: Option<u64>,
}

/// Places in a group's stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Positions {
    /// Last in the primary's journal.
    pub captured: Option<Lsn>,
    /// Last that was sent (on a standby: received).
    pub shipped: Option<Lsn>,
    /// Last on the standby's disk with every body that it names.
    pub durable: Option<Lsn>,
    /// Last that the standby's store has decided.
    pub applied: Option<Lsn>,
}

/// How far a copy is behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lag {
    /// Operations announced or captured and not yet applied.
    pub operations: Option<u64>,
    /// Age of the oldest of them, seconds.
    pub seconds: Option<f64>,
    /// Bytes of frames not yet applied.
    pub bytes: Option<u64>,
}

/// Could this node take over now, and what would be lost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Promotable {
    /// True where nothing speaks against it.
    pub now: bool,
    /// What speaks against it, or should be known before.
    pub warnings: Vec<String>,
    /// What a promotion now would lose.
    pub would_lose: Loss,
    /// Age of the last sign of life of the source, seconds.
    pub silent_seconds: Option<f64>,
}

/// What a promotion would lose (`protocol`: announced and not durable).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Loss {
    /// Operations announced that are not durable here.
    pub operations: Option<u64>,
    /// Span of source time that is not durable here, seconds.
    pub seconds: Option<f64>,
}

/// `status --user U --json`: one user's mailboxes on this node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UserStatus {
    /// This node.
    pub node: NodeName,
    /// The group that the user belongs to.
    pub group: String,
    /// The user.
    pub user: UserName,
    /// By name.
    pub mailboxes: Vec<MailboxStatus>,
}

/// One mailbox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MailboxStatus {
    /// Its name, levels joined by `/`.
    pub name: String,
    /// GUID, 32 hex digits.
    pub guid: String,
    /// UIDVALIDITY.
    pub uidvalidity: Option<UidValidity>,
    /// UIDNEXT.
    pub uidnext: Option<Uid>,
    /// HIGHESTMODSEQ.
    pub highest_modseq: Option<Modseq>,
    /// Messages.
    pub messages: Option<u64>,
    /// Why something of it was not applied, and the number of its entry in the quarantine, where there is one.
    #[serde(default)]
    pub held: Option<String>,
}

#[cfg(test)]
mod tests {
    use crate::control::round_trip::{node, standby};

    #[test]
    fn a_quarantine_that_nobody_looks_at_is_not_all_well() {
        assert_eq!(node(standby()).open(), 0);
        let mut held = standby();
        (held.quarantined, held.bodies_pending) = (Some(12), Some(3));
        held.peers[0].connected = false;
        held.problems.push("the disk is full".to_owned());
        assert_eq!(node(held).open(), 4);
    }
}
