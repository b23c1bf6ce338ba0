//! Answers those who ask who is primary: a conversation of questions over one connection.

use super::answers::Answers;
use super::connection::{Connection, LOST};
use super::handover;
use super::migrating::{self, desk::Census};
use crate::codec::wire::Message;
use crate::control::roles::{EpochMark, GroupRole, HandOver, RoleQuestion};
use crate::control::status::ServiceStatus;
use crate::limits::{ROLE_ASKERS_MAX, ROLE_SILENCE_SECONDS_MAX, ROLES_HELD_MS};
use crate::node::group::{GroupHandle, Side};
use crate::op::NodeName;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// Counts the changes of roles on this node, and wakes who waits for one. Clones are the same counter.
#[derive(Clone, Debug, Default)]
pub(super) struct RoleChanges(Arc<watch::Sender<u64>>);

impl RoleChanges {
    /// Says that some group's role, confirmation or epoch is another now.
    pub(super) fn note(&self) {
        self.0.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// How many there were.
    pub(super) fn count(&self) -> u64 {
        *self.0.borrow()
    }

    /// Returns once the count is another than `known`, or after [`ROLES_HELD_MS`].
    async fn beyond(&self, known: u64) {
        let mut changes = self.0.subscribe();
        let changed = changes.wait_for(|count| *count != known);
        // whoever waited in vain is told what is; the sender lives as long as `self`
        drop(tokio::time::timeout(Duration::from_millis(ROLES_HELD_MS), changed).await);
    }
}

/// What role conversations stand on.
#[derive(Debug)]
pub(super) struct RoleDesk {
    pub(super) changes: RoleChanges,
    seats: Semaphore,
}

impl RoleDesk {
    pub(super) fn new(changes: RoleChanges) -> Self {
        Self {
            changes,
            seats: Semaphore::new(ROLE_ASKERS_MAX),
        }
    }
}

/// The question in `json`, where it is one for this desk.
pub(super) fn question(json: &str) -> Option<RoleQuestion> {
    serde_json::from_str(json).ok()
}

/// Answers `first` and what `asker` asks behind it, until it leaves.
///
/// # Errors
/// It says something else, or too many ask already; it was told so.
pub(super) async fn converse(
    connection: Connection,
    asker: &NodeName,
    first: (u64, RoleQuestion),
    answers: &Answers,
) -> Result<(), String> {
    let Ok(_seat) = answers.role_desk.seats.try_acquire() else {
        return refuse(
            connection,
            format!("{asker}: more than {ROLE_ASKERS_MAX} ask for roles"),
        )
        .await;
    };
    let mut drained = None;
    let ended = talk(connection, asker, first, answers, &mut drained).await;
    // whoever had clients kept out is gone: they are let in again, where this node has not yielded
    if let Some(group) = drained {
        handover::call_off(&group, asker);
    }
    ended
}

/// The conversation itself. `drained`: of which group clients were kept out on the way.
async fn talk(
    mut connection: Connection,
    asker: &NodeName,
    first: (u64, RoleQuestion),
    answers: &Answers,
    drained: &mut Option<GroupHandle>,
) -> Result<(), String> {
    let (mut next, mut census) = (first, Census::default());
    loop {
        let (id, question) = next;
        if let RoleQuestion::HandOver {
            group,
            step: HandOver::Drain { .. },
        } = &question
        {
            *drained = Some(answers.group_of(asker, group)?);
        }
        let json = answer(answers, asker, &question, &mut census).await?;
        connection.outgoing.say(Message::Answer { id, json });
        let silence = Duration::from_secs(ROLE_SILENCE_SECONDS_MAX);
        let heard = tokio::time::timeout(silence, connection.incoming.recv()).await;
        next = match heard {
            Ok(Some(Ok(Message::Ask { id, json }))) => match self::question(&json) {
                Some(question) => (id, question),
                None => return refuse(connection, format!("{asker} asked for something else than roles")).await,
            },
            Ok(Some(Ok(other))) => {
                let why = format!("{asker} sent a {} message among questions for roles", other.kind());
                return refuse(connection, why).await;
            }
            // it has left, or said nothing for long
            Ok(None) | Err(_) => return Ok(()),
            Ok(Some(Err(why))) if why == LOST => return Ok(()),
            Ok(Some(Err(why))) => return Err(format!("{asker}: {why}")),
        };
    }
}

async fn answer(
    answers: &Answers,
    asker: &NodeName,
    question: &RoleQuestion,
    census: &mut Census,
) -> Result<String, String> {
    let json = match question {
        RoleQuestion::Roles { known } => {
            if let Some(known) = known {
                answers.role_desk.changes.beyond(*known).await;
            }
            serde_json::to_string(&answers.roles(asker))
        }
        RoleQuestion::HandOver { group, step } => {
            let group = answers.group_of(asker, group)?;
            serde_json::to_string(&handover::answer(&group, asker, step).await)
        }
        RoleQuestion::Migration { group, question } => {
            let means = answers.means(answers.group_of(asker, group)?);
            serde_json::to_string(&migrating::desk::answer(&means, question.clone(), census).await)
        }
    };
    json.map_err(|e| e.to_string())
}

/// Says why to the other side, then ends.
pub(super) async fn refuse(connection: Connection, why: String) -> Result<(), String> {
    connection.outgoing.say(Message::Refused { why: why.clone() });
    connection.close().await;
    Err(why)
}

impl GroupHandle {
    /// What this node is in it, for those who ask.
    pub(super) fn group_role(&self) -> GroupRole {
        let standing = self.standing();
        let epoch = standing.epoch();
        let runs = matches!(self.side(), Side::Primary(_));
        GroupRole {
            name: self.config.name.clone(),
            role: standing.role(),
            confirmed: standing.confirmed(),
            serves: standing.may_write() && runs && !self.is_draining(),
            epoch: EpochMark {
                number: epoch.number,
                node: Some(epoch.node.clone()).filter(|node| !node.as_str().is_empty()),
            },
            durable: self.durable(),
            shut: self.is_shut(),
            service_up: self.doors().service().as_ref().and_then(ServiceStatus::up),
        }
    }
}
