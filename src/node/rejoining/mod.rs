//! `rejoin`: a node whose history was left becomes a standby of whoever is primary now. What it has beyond the fork is found
//! (`finding`), brought to the new primary, which merges it once (`shipping`), and then corrected by complete lists.
//!
//! Each step may be cut off and done again: the tail stays in this node's journal and logs until the node has joined at a base,
//! and the new primary knows what it has settled.

pub(super) mod finding;
mod shipping;

use super::NodeError;
use super::promoting::{Ended, ask_all};
use super::steward::{Means, Steward};
use crate::control::promotion::RejoinReport;
use crate::control::roles::GroupRole;
use crate::control::tail::Recovered;
use crate::control::verbs::{Progress, ProgressSink, VerbError};
use crate::limits::TAIL_LINES_MAX;
use crate::op::{Lsn, NodeName};
use crate::role::merge::Tally;
use crate::role::{Fork, Role, Standing};
use finding::Tail;
use serde_json::json;
use shipping::Shipping;

/// Becomes a standby; what is here alone goes to the primary first. `by_itself`: nobody is there to decide anything.
pub(super) async fn rejoin(steward: &mut Steward, progress: ProgressSink, by_itself: bool) -> Ended<RejoinReport> {
    let stopped = match try_to(steward, progress, by_itself).await {
        Ok(report) => return Ok(Ok(report)),
        Err(Stop::Refused(refused)) => refused,
        Err(Stop::Node(error)) => VerbError::failed(error.to_string()),
    };
    // what was stopped to be looked at goes on
    let standing = steward.means.group.standing();
    steward.settle(&standing).await?;
    Ok(Err(stopped))
}

/// Why it goes no further.
enum Stop {
    Refused(VerbError),
    Node(NodeError),
}

impl From<VerbError> for Stop {
    fn from(refused: VerbError) -> Self {
        Self::Refused(refused)
    }
}

impl From<NodeError> for Stop {
    fn from(error: NodeError) -> Self {
        Self::Node(error)
    }
}

async fn try_to(steward: &mut Steward, progress: ProgressSink, by_itself: bool) -> Result<RejoinReport, Stop> {
    let means = steward.means.clone();
    may_rejoin(&means.group.standing())?;
    let (primary, _) = primary(&means).await?;
    let mut shipping = Shipping::dial(&means, &primary).await?;
    let tell = |what: String| progress.tell(Progress::step(what));
    let (fork, same) = fork(&means, &mut shipping, &primary).await?;
    if means.group.role() == Role::Standby && same {
        let why = "this standby has nothing that the primary's history lacks: there is nothing to rejoin";
        return Err(VerbError::refused(why).into());
    }
    let tail = finding::find(steward, fork).await?;
    let mut report = report(&means, &tail);
    if report.tail_frames > 0 || !tail.is_empty() {
        tell(format!(
            "{} messages are here alone: {primary} takes them",
            tail.net.messages()
        ));
        let tally = shipping.ship(&tail, &tell).await?;
        steward.note(
            "tail shipped",
            &json!({ "to": primary, "fork": tail.fork, "tally": tally }),
        );
        report.tally = tally;
    }
    tail.close().await;
    if by_itself && report.tally.lost > 0 {
        let why = format!(
            "{}: nobody has the octets of {} messages; `shadowctl rejoin` goes on without them",
            report.tally, report.tally.lost
        );
        return Err(VerbError::refused(why).into());
    }
    join(steward, fork).await?;
    report.note = match tail_said(&report.tally) {
        Some(said) => format!("{said}; a standby now: the primary connects by itself"),
        None => "a standby now: the primary connects by itself".to_owned(),
    };
    report.role = Some(Role::Standby);
    Ok(report)
}

fn tail_said(tally: &Tally) -> Option<String> {
    (*tally != Tally::default()).then(|| tally.to_string())
}

fn may_rejoin(standing: &Standing) -> Result<(), VerbError> {
    match standing.role() {
        Role::Fenced | Role::Standby => Ok(()),
        Role::Primary => Err(VerbError::refused(
            "this node is primary, not fenced: there is nothing to rejoin",
        )),
    }
}

/// Who is primary now.
async fn primary(means: &Means) -> Result<(NodeName, GroupRole), VerbError> {
    let ours = means.group.standing().epoch().number;
    let answers = ask_all(means).await.into_iter();
    let mut primaries = answers.filter(|(_, role)| role.role == Role::Primary && role.confirmed);
    let found = primaries.find(|(_, role)| role.epoch.number >= ours);
    found.ok_or_else(|| {
        VerbError::refused(format!(
            "no primary of epoch {ours} or higher answers: what this node has beyond is brought to one first"
        ))
    })
}

/// The last place that both histories have; true where it is this journal's end.
async fn fork(means: &Means, shipping: &mut Shipping, primary: &NodeName) -> Result<(Fork, bool), Stop> {
    let view = means.group.journal();
    let Some(head) = view.head() else {
        let nothing = Fork {
            lsn: Lsn(0),
            chain: super::files::NOWHERE.chain,
        };
        return Ok((nothing, true));
    };
    let end = Fork {
        lsn: head.lsn,
        chain: head.chain,
    };
    let forks = shipping.forks(head.stream, end).await?;
    if forks.same {
        return Ok((end, true));
    }
    let looked_up = tokio::task::spawn_blocking(move || {
        let mut common: Vec<Fork> = forks.forks.into_iter().filter(|fork| fork.lsn <= head.lsn).collect();
        common.sort_by_key(|fork| fork.lsn);
        while let Some(fork) = common.pop() {
            if view.chain_at(fork.lsn).map_err(NodeError::journal)? == Some(fork.chain) {
                return Ok(Some(fork));
            }
        }
        Ok::<_, NodeError>(None)
    });
    let found = looked_up.await.map_err(|e| NodeError::Thread(e.to_string()))??;
    found.map(|fork| (fork, false)).ok_or_else(|| {
        VerbError::refused(format!(
            "where the history of {primary} leaves this one is not known: no place of its forks is in this journal. Nothing was \
             changed; what is here alone is kept"
        ))
        .into()
    })
}

fn report(means: &Means, tail: &Tail) -> RejoinReport {
    RejoinReport {
        group: means.group.config.name.clone(),
        role: Some(means.group.role()),
        fork: Some(tail.fork),
        tail_frames: tail.last.0.saturating_sub(tail.fork.lsn.0),
        tail: tail.net.lines(TAIL_LINES_MAX),
        tally: Tally::default(),
        note: String::new(),
    }
}

/// The role is durable first; whatever half starts then finds by it what gives way.
async fn join(steward: &mut Steward, fork: Fork) -> Result<(), NodeError> {
    let mut standing = steward.means.group.standing();
    // a standby that followed a history that ended runs until now
    steward.with_group(|group| group.rest().map(drop)).await?;
    standing.rejoin(Some(fork));
    steward.note("rejoined", &json!({ "epoch": standing.epoch(), "fork": fork }));
    tracing::warn!(epoch = %standing.epoch(), lsn = %fork.lsn, "rejoined: a standby now");
    steward.take(standing).await
}

/// What the new primary keeps of it.
fn recovered(means: &Means, tail: &Tail, tally: &Tally) -> Recovered {
    Recovered {
        group: means.group.config.name.clone(),
        stream: tail.stream.to_hex(),
        epoch: tail.epoch,
        fork: tail.fork,
        last: tail.last,
        tally: tally.clone(),
    }
}
