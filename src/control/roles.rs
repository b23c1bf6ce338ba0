//! Who is primary: what a node is asked, over mutual TLS, by its peers, by observers (proxies) and by itself, and what it
//! answers. A connection whose first message is such a question stays open for the next one, so that whoever follows the
//! roles hears of a promotion in milliseconds. `schema/wire.md` has the texts.

use super::migration::MigrationQuestion;
use super::promotion::PromoteReport;
use super::status::Role;
use super::verbs::VerbError;
use crate::op::{Epoch, Lsn, NodeName};
use serde::{Deserialize, Serialize};

/// What may be asked in a role conversation, as JSON text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case", deny_unknown_fields)]
pub enum RoleQuestion {
    /// What is this node in its groups?
    Roles {
        /// [`Roles::version`] of the answer before on this connection. Given it, the answer waits until something has
        /// changed, at most [`crate::limits::ROLES_HELD_MS`]. Without it, it comes at once.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        known: Option<u64>,
    },
    /// A step of a planned switchover, from a peer.
    HandOver {
        /// Which group.
        group: String,
        /// What is to be done.
        step: HandOver,
    },
    /// What the other node of a migration wants to know, from a peer.
    Migration {
        /// Which group.
        group: String,
        /// What.
        question: MigrationQuestion,
    },
}

/// The steps of a planned switchover, in order. The standby asks, the primary answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum HandOver {
    /// Asked by the primary: take over from me.
    TakeOver {
        /// As the operator gave it.
        max_wait_ms: u64,
    },
    /// Compare what you have with me, while clients work.
    Compare,
    /// Keep clients out, and say where your stream ends then. Clients are let in again by themselves after this time.
    Drain {
        /// Milliseconds.
        at_most_ms: u64,
    },
    /// Compare what was changed since the first comparison.
    CompareAgain {
        /// The last LSN of that comparison.
        since: Lsn,
    },
    /// You are primary no more, where your stream still ends here; I take this epoch.
    Yield {
        /// The epoch.
        epoch: Epoch,
        /// Where it begins.
        lsn: Lsn,
    },
    /// Let clients in again: it is called off.
    CallOff,
}

/// What came of such a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HandedOver {
    /// Done; the last LSN of the primary's stream.
    Done(Lsn),
    /// The whole is done.
    Report(Box<PromoteReport>),
    /// Not done, and why. Nothing has changed by it.
    Refused(VerbError),
}

/// The answer: what the answering node is, in the groups that the asking one may know of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roles {
    /// Who answers.
    pub node: NodeName,
    /// Counts changes of roles since that daemon's start: it means nothing on another connection.
    pub version: u64,
    /// Its groups, in its configuration's order. A peer is told of those in which it is listed, an observer of all.
    pub groups: Vec<GroupRole>,
}

/// What the answering node is in one group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRole {
    /// The group's name there.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// False on a restarted primary that has not yet heard from a peer.
    pub confirmed: bool,
    /// True where clients may be sent there now: a confirmed primary that is not being drained.
    pub serves: bool,
    /// Highest epoch that it has durably seen.
    pub epoch: EpochMark,
    /// On a standby: last LSN that is durable there with every body.
    #[serde(default)]
    pub durable: Option<Lsn>,
    /// Where its mail server must let nobody in: true once that is so. None: it may serve, or that is not known.
    #[serde(default)]
    pub shut: Option<bool>,
    /// On a primary: whether its mail service answers, where that is known.
    #[serde(default)]
    pub service_up: Option<bool>,
}

/// An epoch as its two halves: equal numbers of different nodes are a fork.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochMark {
    /// Its number; 0 where the node has seen none yet.
    pub number: Epoch,
    /// The node that took it; none where the answering node does not know.
    #[serde(default)]
    pub node: Option<NodeName>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_reads_back_and_one_that_nobody_defined_is_refused() {
        let text = |known| serde_json::to_string(&RoleQuestion::Roles { known }).unwrap();
        assert_eq!(text(None), r#"{"ask":"roles"}"#);
        assert_eq!(text(Some(7)), r#"{"ask":"roles","known":7}"#);
        let read = |text: &str| serde_json::from_str::<RoleQuestion>(text);
        assert_eq!(
            read(r#"{"ask":"roles","known":7}"#).unwrap(),
            RoleQuestion::Roles { known: Some(7) }
        );
        for wrong in [
            r#"{"ask":"about"}"#,
            r#"{"ask":"roles","x":1}"#,
            "{}",
            r#"{"ask":"roles","known":-1}"#,
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
