//! `status` of one group. What a node can't know is none, never 0.

use super::files::{NOWHERE, oldest};
use super::group::{GroupHandle, Side};
use super::peer::Peer;
use super::primary::PrimaryShared;
use super::standby::StandbyShared;
use crate::codec::frame;
use crate::config::StoreConfig;
use crate::control::status::{GroupStatus, Lag, Loss, PeerStatus, Positions, Promotable, Role, StoreKind};
use crate::io::clock;
use crate::journal::JournalView;
use crate::limits::STATUS_NAMED_MAX;
use crate::op::{Epoch, Lsn, NodeName, StreamId};
use crate::serve::lacks::NOT_CARRIED;
use crate::store::custody::Entry;
use crate::store::source::{Finding, NotCarried, SourceStatus};
use std::sync::PoisonError;

/// A primary that is silent for longer is said to be: heartbeats come once a second.
const SILENT_SECONDS: f64 = 10.0;

/// The group now. Reads at most a few frames' headers from disk.
pub(super) fn of(group: &GroupHandle) -> GroupStatus {
    let mut status = match group.side() {
        Side::Primary(shared) => primary(group, &shared),
        Side::Standby(shared, _) => standby(group, &shared),
        Side::Idle(journal) => idle(group, &journal),
    };
    group.doors().tell(&mut status);
    status
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
    let mut problems = shared.health.waits();
    problems.extend(damage(&source.held));
    problems.extend(refused(&source));
    GroupStatus {
        name: group.config.name.clone(),
        role: Role::Primary,
        confirmed: true,
        epoch: Some(head.epoch),
        store: match shared.embedded {
            Some(_) => StoreKind::Embedded,
            None => StoreKind::Dovecot,
        },
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
        quarantine: Vec::new(),
        fence: None,
        service: None,
        not_carried: match shared.embedded {
            Some(_) => lacks(),
            None => source.not_carried,
        },
    }
}

/// Fenced, or a former primary that waits for somebody's word.
fn idle(group: &GroupHandle, journal: &JournalView) -> GroupStatus {
    let standing = group.standing();
    let head = journal.head().unwrap_or(NOWHERE);
    let seen = group.seen();
    let peer = |name: &NodeName| PeerStatus {
        name: name.clone(),
        connected: seen.contains_key(name),
        lsn: None,
        lag: None,
        problem: None,
        held_mailboxes: None,
        bodies_pending: None,
        quarantined: None,
    };
    let problem = match standing.role() {
        Role::Fenced => format!(
            "fenced: epoch {} exists. This node neither serves nor captures; `shadowctl rejoin` makes it a standby",
            standing.epoch()
        ),
        _ => "was primary, and nobody has told it yet that it still is: start a standby, or say `shadowctl resume --alone`"
            .to_owned(),
    };
    GroupStatus {
        name: group.config.name.clone(),
        role: standing.role(),
        confirmed: standing.confirmed(),
        epoch: Some(standing.epoch().number),
        store: match group.config.store {
            StoreConfig::Dovecot(_) => StoreKind::Dovecot,
            StoreConfig::Embedded(_) => StoreKind::Embedded,
        },
        building: false,
        peers: group.config.peers.keys().map(peer).collect(),
        lsn: Positions {
            captured: Some(head.lsn),
            ..Positions::default()
        },
        lag: Lag::default(),
        mailboxes: None,
        messages: None,
        held_mailboxes: None,
        bodies_pending: None,
        quarantined: None,
        promotable: Promotable {
            now: false,
            warnings: vec![problem.clone()],
            ..Promotable::default()
        },
        problems: vec![problem],
        progress_seconds: Some(0.0),
        journal_bytes: Some(journal.bytes()),
        quarantine: Vec::new(),
        not_carried: Vec::new(),
        fence: None,
        service: None,
    }
}

/// The first mailboxes that can't be read, and how many more there are.
fn damage(held: &[Finding]) -> Vec<String> {
    let told = held.iter().zip(0..STATUS_NAMED_MAX).map(|(finding, _)| {
        format!(
            "{}: {} at byte {}: {}",
            finding.mailbox,
            finding.file.display(),
            finding.offset,
            finding.why
        )
    });
    let mut told: Vec<String> = told.collect();
    if let Some(more) = held.len().checked_sub(told.len()).filter(|more| *more > 0) {
        told.push(format!(
            "{more} more mailboxes can't be read: this daemon's log names each"
        ));
    }
    told
}

/// One line for all users who are not captured.
fn refused(source: &SourceStatus) -> Option<String> {
    let named: Vec<String> = source
        .refused
        .iter()
        .map(|(user, why)| format!("{user}: {why}"))
        .collect();
    let (users, named) = (source.refused_users, named.join("; "));
    (users > 0).then(|| format!("not captured ({users} users): {named}; `shadowctl check` says what to do"))
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
        held_mailboxes: standing.position.map(|p| p.counts.held),
        bodies_pending: standing.position.map(|p| p.counts.pending),
        quarantined: standing.position.map(|p| p.counts.quarantined),
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
    let projected = shared.projection.as_ref().map(|projection| projection.standing());
    let mut problems = copy_problems(shared, halted.as_ref());
    if state.peer.is_none() {
        problems.extend(state.problem.iter().cloned());
    }
    problems.extend(projected.iter().flat_map(|projected| projected.problems.clone()));
    let building = counts.building || !known;
    GroupStatus {
        name: group.config.name.clone(),
        role: Role::Standby,
        confirmed: true,
        epoch: Some(group.standing().epoch().number).filter(|epoch| *epoch > Epoch(0)),
        store: match projected {
            Some(_) => StoreKind::Dovecot,
            None => StoreKind::Embedded,
        },
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
                held_mailboxes: None,
                bodies_pending: None,
                quarantined: None,
            })
            .collect(),
        lsn: Positions {
            captured,
            shipped: Some(head.lsn),
            durable: Some(state.durable.max(progress.applied.lsn)),
            applied: Some(progress.shown),
        },
        lag: captured.map_or(Lag::default(), |captured| {
            lag(progress.shown, captured, &shared.journal)
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
        quarantine: first_entries(shared, counts.quarantined),
        not_carried: match projected {
            Some(_) => Vec::new(),
            None => lacks(),
        },
        fence: None,
        service: None,
    }
}

/// What keeps a copy from going on.
fn copy_problems(shared: &StandbyShared, halted: Option<&String>) -> Vec<String> {
    let halted = halted.map(|why| format!("this copy has stopped: {why}"));
    let mut problems: Vec<String> = halted.into_iter().collect();
    problems.extend(shared.health.waits());
    if shared.is_paused() {
        problems.push("paused: nothing is applied until `shadowctl resume`".to_owned());
    }
    problems
}

/// What the embedded store doesn't do for anybody.
fn lacks() -> Vec<NotCarried> {
    let lacks = NOT_CARRIED.iter().map(|what| NotCarried {
        what: (*what).to_owned(),
        users: None,
    });
    lacks.collect()
}

fn first_entries(shared: &StandbyShared, open: u64) -> Vec<Entry> {
    if open == 0 {
        return Vec::new();
    }
    shared.custody.entries(None, STATUS_NAMED_MAX).unwrap_or_else(|error| {
        tracing::warn!(%error, "list the quarantine for status");
        Vec::new()
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{Guid, MailboxId, UserName};

    #[test]
    fn a_disk_full_of_damage_does_not_flood_the_screen() {
        let finding = |n: u8| Finding {
            mailbox: MailboxId {
                user: UserName::from("ann"),
                guid: Guid([n; 16]),
            },
            file: format!("/m/{n}").into(),
            offset: 4,
            why: "broken".to_owned(),
        };
        let held: Vec<Finding> = (0..200).map(finding).collect();
        let told = damage(&held);
        assert_eq!(told.len(), 6);
        assert!(told[0].contains("/m/0 at byte 4: broken"), "{}", told[0]);
        assert!(told[5].starts_with("195 more mailboxes"), "{}", told[5]);
        assert_eq!(damage(&held[..5]).len(), 5);
    }

    #[test]
    fn users_who_are_not_captured_are_a_problem() {
        let mut source = SourceStatus::default();
        assert_eq!(refused(&source), None);
        source.refused = vec![(UserName::from("bob"), "no home".to_owned())];
        source.refused_users = 7;
        let told = refused(&source).unwrap();
        assert!(told.contains("7 users") && told.contains("bob: no home"), "{told}");
    }
}
