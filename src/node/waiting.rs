//! `wait`: until every change that the source's log held when it was asked has been decided by every standby.

use super::group::{GroupHandle, Side};
use super::peer::Peer;
use super::primary::PrimaryShared;
use crate::control::report::{WaitReport, WaitedGroup};
use crate::control::verbs::{Progress, ProgressSink, VerbError};
use crate::io::clock::Stopwatch;
use crate::op::Lsn;
use crate::role::{Role, Standing};
use crate::store::source::Command;
use std::sync::Arc;
use std::time::Duration;

/// How often a waiter is told how far it has come.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);

/// See the module. 4 when time runs out; the report says what was diverted.
pub(super) async fn wait(
    groups: Vec<GroupHandle>,
    timeout: Duration,
    progress: &ProgressSink,
) -> Result<WaitReport, VerbError> {
    let time = Stopwatch::start();
    let confirmed = tokio::time::timeout(timeout, groups_confirmed(&groups, progress)).await;
    if confirmed.is_err() {
        return Err(VerbError::timed_out(UNCONFIRMED));
    }
    let primaries = primaries(&groups)?;
    let mut report = WaitReport { groups: Vec::new() };
    for (name, shared) in primaries {
        let left = timeout.saturating_sub(time.elapsed());
        let waited = tokio::time::timeout(left, wait_for(&shared, progress)).await;
        let applied = match waited {
            Ok(applied) => applied?,
            Err(_) => return Err(VerbError::timed_out(late(&name, &shared))),
        };
        report.groups.push(WaitedGroup {
            group: name,
            applied,
            diverted: shared.peers.iter().flat_map(|peer| diverted(peer)).collect(),
            seconds: time.elapsed().as_secs_f64(),
        });
    }
    Ok(report)
}

const UNCONFIRMED: &str = "this primary was started again, and nobody has told it yet that it still is one: start a standby, \
                           or say `shadowctl resume --alone`";

/// Until no group waits for the word that it is still primary.
async fn groups_confirmed(groups: &[GroupHandle], progress: &ProgressSink) {
    for group in groups {
        let mut standing = group.follow_standing();
        if standing.borrow().confirmed() && group.runs_its_role() {
            continue;
        }
        progress.tell(Progress {
            what: "waiting for a peer to confirm that this node is still primary".to_owned(),
            done: None,
            total: None,
            lasting: false,
        });
        if standing.wait_for(Standing::confirmed).await.is_err() {
            tracing::debug!("the group has ended");
        }
        // durable and known; the half is started next
        while !group.runs_its_role() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// The groups that this node is primary of; refused where there is none.
pub(super) fn primaries(groups: &[GroupHandle]) -> Result<Vec<(String, Arc<PrimaryShared>)>, VerbError> {
    let primaries: Vec<_> = groups
        .iter()
        .filter_map(|group| match group.side() {
            Side::Primary(shared) => Some((group.config.name.clone(), shared)),
            Side::Standby(..) | Side::Idle(_) => None,
        })
        .collect();
    if primaries.is_empty() && groups.iter().any(|group| group.role() == Role::Primary) {
        return Err(VerbError::refused(UNCONFIRMED));
    }
    if primaries.is_empty() {
        return Err(VerbError::refused(
            "this node is not primary: ask on the primary's node",
        ));
    }
    Ok(primaries)
}

async fn wait_for(shared: &PrimaryShared, progress: &ProgressSink) -> Result<Lsn, VerbError> {
    progress.tell(Progress {
        what: "reading the source's logs".to_owned(),
        done: None,
        total: None,
        lasting: false,
    });
    let target = shared.ask(Command::Sweep).await.map_err(VerbError::failed)?;
    for peer in &shared.peers {
        await_applied(peer, target, progress).await?;
    }
    Ok(target)
}

/// Until `peer` has decided `target`, however long it takes.
pub(super) async fn await_applied(peer: &Peer, target: Lsn, progress: &ProgressSink) -> Result<(), VerbError> {
    let mut standing = peer.standing.subscribe();
    let done =
        standing.wait_for(|s| s.connected && s.position.is_some_and(|p| p.applied >= target && !p.counts.building));
    tokio::pin!(done);
    let mut ticks = tokio::time::interval(PROGRESS_EVERY);
    loop {
        tokio::select! {
            reached = &mut done => return reached.map(drop).map_err(|e| VerbError::failed(e.to_string())),
            _ = ticks.tick() => {
                let applied = peer.now().position.map_or(0, |p| p.applied.0);
                progress.tell(Progress::of(format!("{} applies", peer.name), applied, Some(target.0)));
            }
        }
    }
}

fn late(group: &str, shared: &PrimaryShared) -> String {
    let captured = shared.committed.borrow().lsn;
    let peers: Vec<String> = shared
        .peers
        .iter()
        .map(|peer| {
            let now = peer.now();
            let applied = now
                .position
                .map_or("nothing".to_owned(), |p| format!("LSN {}", p.applied));
            let connected = if now.connected { "connected" } else { "not connected" };
            format!("{} is {connected} and has applied {applied}", peer.name)
        })
        .collect();
    format!(
        "time ran out: group {group} has captured LSN {captured}; {}",
        peers.join(", ")
    )
}

fn diverted(peer: &Peer) -> Vec<String> {
    let Some(position) = peer.now().position else {
        return Vec::new();
    };
    let counts = position.counts;
    [
        (counts.held, "held mailboxes"),
        (counts.pending, "messages whose body is pending"),
        (counts.quarantined, "quarantine entries"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, what)| format!("{}: {count} {what}", peer.name))
    .collect()
}
