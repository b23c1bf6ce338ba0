//! `status` of one group. What a node can't know is none, never 0.

use super::files::{NOWHERE, oldest};
use super::group::{GroupHandle, Side};
use super::peer::Peer;
use super::primary::PrimaryShared;
use super::standby::StandbyShared;
use crate::codec::frame;
use crate::control::status::{GroupStatus, Lag, Loss, PeerStatus, Positions, Promotable, Role, StoreKind};
use crate::io::clock;
use crate::journal::JournalView;
use crate::op::{Lsn, StreamId};
use std::sync::PoisonError;

/// A primary that is silent for longer is said to be: heartbeats come once a second.
const SILENT_SECONDS: f64 = 10.0;

/// The group now. Reads at most a few frames' headers from disk.
pub(super) fn of(group: &GroupHandle) -> GroupStatus {
    match &group.side {
        Side::Primary(shared) => primary(group, shared),
        Side::Standby(shared, _) => standby(group, shared),
    }
}

fn primary(group: &GroupHandle, shared: &PrimaryShared) -> GroupStatus {
    let head = *shared.committed.borrow();
    let source = shared.source_status();
    let peers: Vec<_> = shared
        .peers
        .iter()
        .map(|peer| peer_status(peer, head.lsn, &shared.view))
        .collect();
    let last = peers.iter().min_by_key(|peer| peer.lsn.and_then(|lsn| lsn.applied));
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let damage = source.held.iter().map(|finding| {
        format!(
            "{}: {} at byte {}: {}",
            finding.mailbox,
            finding.file.display(),
            finding.offset,
            finding.why
        )
    });
    let problems = shared.health.waits().into_iter().chain(damage).collect();
    GroupStatus {
        name: group.config.name.clone(),
        role: Role::Primary,
        confirmed: true,
        epoch: Some(head.epoch),
        store: StoreKind::Dovecot,
        building: !source.initial_done,
        lsn: Positions {
            captured: Some(head.lsn),
            ..last.and_then(|peer| peer.lsn).unwrap_or_default()
        },
        lag: last.and_then(|peer| peer.lag).unwrap_or_default(),
        peers,
        mailboxes: Some(source.mailboxes),
        messages: None,
        held_mailboxes: Some(count(source.held.len())),
        bodies_pending: furthest(shared, |counts| counts.pending),
        quarantined: furthest(shared, |counts| counts.quarantined),
        promotable: Promotable {
            now: false,
            warnings: vec!["this node is the primary".to_owned()],
            ..Promotable::default()
        },
        problems,
        progress_seconds: Some(group.progress_age().as_secs_f64()),
        journal_bytes: Some(shared.view.bytes()),
    }
}

fn furthest(shared: &PrimaryShared, of: impl Fn(&crate::session::Counts) -> u64) -> Option<u64> {
    shared
        .peers
        .iter()
        .filter_map(|peer| Some(of(&peer.now().position?.counts)))
        .max()
}

fn peer_status(peer: &Peer, captured: Lsn, journal: &JournalView) -> PeerStatus {
    let standing = peer.now();
    let applied = standing.position.map(|p| p.applied);
    PeerStatus {
        name: peer.name.clone(),
        connected: standing.connected,
        lsn: Some(Positions {
            captured: Some(captured),
            shipped: standing.shipped.max(standing.position.map(|p| p.journaled)),
            durable: standing.position.map(|p| p.durable),
            applied,
        }),
        lag: applied.map(|applied| lag(applied, captured, journal)),
        problem: (!standing.connected).then(|| peer.problem()).flatten(),
    }
}

/// Between what is decided and what was captured. A waiting frame's age is that of its capture.
fn lag(applied: Lsn, captured: Lsn, journal: &JournalView) -> Lag {
    let behind = captured.0.saturating_sub(applied.0);
    if behind == 0 {
        return Lag {
            operations: Some(0),
            seconds: Some(0.0),
            bytes: Some(0),
        };
    }
    Lag {
        operations: Some(behind),
        seconds: captured_ms(applied.next(), journal).map(seconds_since),
        bytes: None,
    }
}

fn captured_ms(lsn: Lsn, journal: &JournalView) -> Option<u64> {
    if lsn < oldest(journal) || lsn > journal.head()?.lsn {
        return None;
    }
    let read = journal.reader(lsn).read_batch(1).ok()?;
    let (header, _) = frame::peek(&read.first()?.bytes).ok()?;
    Some(header.captured_ms)
}

/// Seconds to three places since a UNIX time in milliseconds.
#[expect(
    clippy::cast_precision_loss,
    clippy::as_conversions,
    reason = "ages of less than 285,000 years are exact"
)]
fn seconds_since(ms: u64) -> f64 {
    clock::unix_ms().saturating_sub(ms) as f64 / 1000.0
}

fn standby(group: &GroupHandle, shared: &StandbyShared) -> GroupStatus {
    let progress = *shared.progress.borrow();
    let state = shared.state.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let halted = shared.health.stopped();
    let head = shared.journal.head().unwrap_or(NOWHERE);
    let known = progress.applied.stream != StreamId::default();
    let captured = state.heartbeat.map(|(beat, _)| beat.captured.max(head.lsn));
    let counts = progress.counts;
    let mut problems: Vec<String> = halted
        .iter()
        .map(|why| format!("this copy has stopped: {why}"))
        .collect();
    problems.extend(shared.health.waits());
    if state.peer.is_none() {
        problems.extend(state.problem.iter().cloned());
    }
    let building = counts.building || !known;
    GroupStatus {
        name: group.config.name.clone(),
        role: Role::Standby,
        confirmed: true,
        epoch: known.then_some(progress.applied.epoch),
        store: StoreKind::Embedded,
        building,
        peers: group
            .config
            .peers
            .keys()
            .map(|name| PeerStatus {
                name: name.clone(),
                connected: state.peer.as_ref() == Some(name),
                lsn: None,
                lag: None,
                problem: None,
            })
            .collect(),
        lsn: Positions {
            captured,
            shipped: Some(head.lsn),
            durable: Some(state.durable.max(progress.applied.lsn)),
            applied: Some(progress.applied.lsn),
        },
        lag: captured.map_or(Lag::default(), |captured| {
            lag(progress.applied.lsn, captured, &shared.journal)
        }),
        mailboxes: Some(counts.mailboxes),
        messages: Some(counts.messages),
        held_mailboxes: Some(counts.held_mailboxes),
        bodies_pending: Some(counts.bodies_pending),
        quarantined: Some(counts.quarantined),
        promotable: promotable(&state, building, halted.is_some()),
        problems,
        progress_seconds: Some(group.progress_age().as_secs_f64()),
        journal_bytes: Some(shared.journal.bytes()),
    }
}

fn promotable(state: &super::receiver::ReceiverState, building: bool, halted: bool) -> Promotable {
    let silent_seconds = state.heartbeat.map(|(_, came_ms)| seconds_since(came_ms));
    let mut warnings = Vec::new();
    if building {
        warnings.push("this copy is still being built".to_owned());
    }
    if halted {
        warnings.push("this copy has stopped".to_owned());
    }
    if state.peer.is_none() {
        warnings.push("the primary is not connected".to_owned());
    } else if silent_seconds.is_some_and(|seconds| seconds > SILENT_SECONDS) {
        warnings.push("the primary is silent".to_owned());
    }
    if state.would_lose.is_some_and(|loss| loss.at_least) {
        warnings.push("announcements were missed: it would lose at least what is said".to_owned());
    }
    Promotable {
        now: !building && !halted,
        warnings,
        would_lose: state.would_lose.as_ref().map_or(Loss::default(), |loss| Loss {
            operations: Some(loss.operations),
            seconds: loss.seconds,
        }),
        silent_seconds,
    }
}
