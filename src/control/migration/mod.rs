//! `migrate`: moving a whole server from one version, format or store to another, as a job: what is asked, what one node
//! tells the other about itself, and what is answered. A pair of nodes is an ordinary group; the old server is the node whose
//! configuration starts as primary.
//!
//! [`plan`] and [`parity`] judge what both sides told; [`page`] shows a report in a browser.

pub mod page;
pub mod parity;
pub mod plan;
mod stage;

use super::promotion::PromoteReport;
pub use super::promotion::Step;
use super::report::Difference;
use super::status::{GroupStatus, Lag, Role, StoreKind};
use super::verbs::VerbError;
use crate::op::{NodeName, UserName};
pub use crate::store::holdings::{Holding, Holdings, MailboxSize, NameRules};
use crate::store::source::NotCarried;
use serde::{Deserialize, Serialize};
pub use stage::{BACK, COPIED, CUT_OVER, PLANNED, Stage};

/// What `migrate` is asked, on either node of the pair but where it says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum MigrateRequest {
    /// Look at both sides, and say what to expect: [`PlanReport`].
    Plan {
        /// May be left out where this node has one group only; as everywhere below.
        #[serde(default)]
        group: Option<String>,
    },
    /// Show the copying until the standby has everything, on the primary's node: [`RunReport`].
    Run {
        /// See above.
        #[serde(default)]
        group: Option<String>,
        /// Milliseconds after which it gives up with 4; the copying goes on all the same.
        #[serde(default)]
        timeout_ms: Option<u64>,
    },
    /// Where it stands: [`MigrationStatus`].
    Status {
        /// See above.
        #[serde(default)]
        group: Option<String>,
    },
    /// Compare both sides, user by user: [`MigrationReport`].
    Report {
        /// See above.
        #[serde(default)]
        group: Option<String>,
        /// Bodies too.
        #[serde(default)]
        deep: bool,
    },
    /// All users to the new server, or back to the old one: [`CutoverReport`].
    Cutover {
        /// See above.
        #[serde(default)]
        group: Option<String>,
        /// Back to the old server.
        #[serde(default)]
        back: bool,
        /// How long clients may be kept out before all is put back, milliseconds.
        max_wait_ms: u64,
    },
}

/// What came of it: the report that the request names.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Migrated {
    /// Of a plan.
    Plan(Box<PlanReport>),
    /// Of a run.
    Run(Box<RunReport>),
    /// Of a status.
    Status(Box<MigrationStatus>),
    /// Of a report.
    Report(Box<MigrationReport>),
    /// Of a cutover.
    Cutover(Box<CutoverReport>),
}

/// What one node of the pair asks the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "about", rename_all = "kebab-case", deny_unknown_fields)]
pub enum MigrationQuestion {
    /// How the copy stands there: cheap.
    Standing,
    /// What the store is.
    Store,
    /// What its users have, a page at a time, by name.
    Census {
        /// The last user of the page before.
        #[serde(default)]
        behind: Option<UserName>,
        /// Count those names too that these rules don't allow.
        #[serde(default)]
        rules: NameRules,
    },
}

/// Its answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MigrationAnswer {
    /// Of `Standing`.
    Standing(Box<NodeStanding>),
    /// Of `Store`.
    Store(Box<StoreFacts>),
    /// Of `Census`.
    Census(CensusPage),
    /// It can't be told.
    Refused(VerbError),
}

/// How one node of the pair stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeStanding {
    /// Which node.
    pub node: NodeName,
    /// Version of its daemon.
    pub version: String,
    /// True on the old server.
    pub starts_as_primary: bool,
    /// As `status` shows the group there.
    pub status: GroupStatus,
    /// Users of whom its copy has every mailbox; none on a primary that is a Dovecot.
    pub users: Option<u64>,
    /// Octets of all messages in its copy; likewise.
    pub bytes: Option<u64>,
    /// Users of whom its running Dovecot is still to be told something; none where it has none or is primary.
    pub users_waiting: Option<u64>,
    /// Kinds of the redirects that lead clients to this node when it becomes primary.
    pub redirects: Vec<String>,
    /// What of this migration happened on this node, oldest first.
    pub history: Vec<Event>,
}

/// Something that happened, out of the log of role changes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Event {
    /// When, UNIX milliseconds.
    pub at_ms: u64,
    /// What, as the log calls it.
    pub what: String,
    /// On which node.
    pub node: NodeName,
    /// More, for people; may be empty.
    #[serde(default)]
    pub more: String,
}

/// What a node's store is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreFacts {
    /// `Dovecot 2.3.19.1`, `the embedded store`.
    pub server: String,
    /// Formats of its users' mail.
    pub formats: Vec<String>,
    /// What clients see between the levels of a name.
    pub separators: Vec<String>,
    /// What it is configured to keep beside mail; none where that is not known.
    pub features: Vec<String>,
    /// Which names it can't have.
    pub name_rules: NameRules,
    /// Where it puts mail.
    pub room: Vec<Room>,
    /// True where users may be known whom no list has: a program is asked for their passwords.
    #[serde(default)]
    pub users_open: bool,
    /// Users that can't be captured there, with the reason; the first few.
    pub refused: Vec<(UserName, String)>,
    /// How many there are.
    pub refused_users: u64,
    /// What of its users' mail is never carried; of an embedded store, what it doesn't do.
    pub not_carried: Vec<NotCarried>,
    /// Why not all of this could be found out.
    pub problem: Option<String>,
}

/// Free room at one place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// What is put there: `mail`, `mirror`.
    pub what: String,
    /// A folder on that filesystem.
    pub path: String,
    /// Bytes that may still be written.
    pub free_bytes: u64,
    /// Number of the filesystem: equal ones share their room.
    pub filesystem: u64,
}

/// Some users with what they have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CensusPage {
    /// By name.
    pub users: Vec<Holding>,
    /// True where there are more behind the last one.
    pub more: bool,
}

/// Sums over all users.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Users.
    pub users: u64,
    /// Mailboxes.
    pub mailboxes: u64,
    /// Messages.
    pub messages: u64,
    /// Octets of all messages.
    pub bytes: u64,
}

impl Totals {
    /// Over everybody.
    #[must_use]
    pub fn of<'h>(holdings: impl IntoIterator<Item = &'h Holding>) -> Self {
        holdings.into_iter().fold(Self::default(), |sum, one| Self {
            users: sum.users.saturating_add(1),
            mailboxes: sum.mailboxes.saturating_add(one.mailboxes),
            messages: sum.messages.saturating_add(one.messages),
            bytes: sum.bytes.saturating_add(one.bytes),
        })
    }
}

/// One side as a plan shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanSide {
    /// The node.
    pub node: NodeName,
    /// What it is now.
    pub role: Role,
    /// Kind of its store.
    pub store: StoreKind,
    /// What the store is.
    pub facts: StoreFacts,
}

/// `migrate plan`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanReport {
    /// The group.
    pub group: String,
    /// Where it stands.
    pub stage: Stage,
    /// From where.
    pub source: PlanSide,
    /// To where; none where that node does not answer.
    pub target: Option<PlanSide>,
    /// What is to be copied.
    pub totals: Totals,
    /// Who has most, at most [`crate::limits::LARGEST_NAMED_MAX`].
    pub largest_users: Vec<Holding>,
    /// The largest mailboxes, each with its user.
    pub largest_mailboxes: Vec<(UserName, MailboxSize)>,
    /// What to know and to do before.
    pub findings: Vec<super::check::Finding>,
    /// How long it takes.
    pub estimate: Estimate,
}

/// A time, and what was measured to say so.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Octets that are still to be copied.
    pub bytes_left: u64,
    /// Octets a second, as measured; none: it was not.
    pub bytes_per_second: Option<f64>,
    /// Seconds that the copying takes; none where nothing was measured.
    pub seconds: Option<f64>,
    /// What was measured, in words.
    pub basis: String,
}

/// `migrate run`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    /// The group.
    pub group: String,
    /// What the source had when it began to look.
    pub totals: Totals,
    /// Octets that came meanwhile.
    pub bytes: u64,
    /// Seconds that it looked.
    pub seconds: f64,
    /// What was decided, but diverted or without its body, in words.
    pub diverted: Vec<String>,
}

/// `migrate status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MigrationStatus {
    /// The group.
    pub group: String,
    /// Where it stands.
    pub stage: Stage,
    /// The same for people.
    pub note: String,
    /// The old server's node.
    pub old: NodeName,
    /// The new one's.
    pub new: NodeName,
    /// How far whoever follows is behind.
    pub lag: Lag,
    /// Each user on both sides, by name.
    pub users: Vec<UserParity>,
    /// What happened, oldest first.
    pub history: Vec<Event>,
    /// What a human should look at.
    pub problems: Vec<String>,
}

/// One user on both sides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserParity {
    /// The user.
    pub user: UserName,
    /// What the old server has; none: it does not know this user.
    pub old: Option<Counts>,
    /// What the new one has.
    pub new: Option<Counts>,
    /// What a comparison said; none where there was none.
    #[serde(default)]
    pub equal: Option<bool>,
    /// How many differences it named.
    #[serde(default)]
    pub differences: u64,
}

/// What a user has on one side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Mailboxes.
    pub mailboxes: u64,
    /// Messages.
    pub messages: u64,
    /// Octets of all messages.
    pub bytes: u64,
}

/// `migrate report`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MigrationReport {
    /// Where it stands, with every user on both sides.
    pub status: MigrationStatus,
    /// When it was made, UNIX milliseconds.
    pub made_ms: u64,
    /// The old server.
    pub old: StoreFacts,
    /// The new one.
    pub new: StoreFacts,
    /// Mailboxes compared.
    pub mailboxes: u64,
    /// How many of them are equal.
    pub equal: u64,
    /// True where bodies were compared too.
    pub deep: bool,
    /// Each difference.
    pub different: Vec<Difference>,
    /// What should be known although it is no difference.
    pub notes: Vec<Difference>,
    /// What users had and the new server has not, in words.
    pub not_carried: Vec<String>,
    /// Seconds that the comparison took.
    pub seconds: f64,
}

impl MigrationReport {
    /// True where every mailbox was compared and is equal.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.different.is_empty() && self.equal == self.mailboxes
    }
}

/// `migrate cutover`, `migrate back`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CutoverReport {
    /// The group.
    pub group: String,
    /// True where it led back to the old server.
    pub back: bool,
    /// True where users worked there already: nothing was done.
    pub already: bool,
    /// Mailboxes that were compared before, all equal.
    pub compared: u64,
    /// Each step with its time since the beginning.
    pub steps: Vec<Step>,
    /// The switchover itself; none where nothing was done.
    pub switchover: Option<PromoteReport>,
    /// Seconds in all.
    pub seconds: f64,
}

impl CutoverReport {
    /// True where a step, a redirect or a probe failed: clients may not find the new primary.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.switchover.as_ref().is_some_and(PromoteReport::is_partial)
    }
}

/// A node of a pair in which all is well.
#[cfg(test)]
fn standing_for_tests(node: &str, role: Role) -> NodeStanding {
    let mut status = super::round_trip::standby();
    status.role = role;
    NodeStanding {
        node: node.into(),
        version: "0.1.0".to_owned(),
        starts_as_primary: node == "mail-a",
        status,
        users: None,
        bytes: None,
        users_waiting: None,
        redirects: vec!["exec".to_owned()],
        history: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::verbs::Request;

    #[test]
    fn a_request_that_nobody_defined_is_refused() {
        let read = |text: &str| serde_json::from_str::<Request>(text);
        let cutover = read(r#"{"verb":"migrate","do":"cutover","back":true,"max_wait_ms":5}"#);
        let expected = Request::Migrate(MigrateRequest::Cutover {
            group: None,
            back: true,
            max_wait_ms: 5,
        });
        assert_eq!(cutover.unwrap(), expected);
        for wrong in [
            r#"{"verb":"migrate"}"#,
            r#"{"verb":"migrate","do":"erase"}"#,
            r#"{"verb":"migrate","do":"plan","x":1}"#,
            r#"{"verb":"migrate","do":"cutover"}"#,
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
