//! What of a [`Status`] is worth an event as long as it holds.

use super::{EventKind, Severity};
use crate::control::status::{GroupStatus, Role, ServiceStatus, Status};
use crate::io::clock;
use crate::limits::{
    CERTIFICATE_DAYS_LOW, CERTIFICATE_DAYS_SHORT, EVENT_PROBLEMS_MAX, STALLED_SECONDS, STATE_FREE_BYTES_LOW,
    STATE_FREE_BYTES_SHORT,
};
use crate::op::NodeName;

/// A connection that comes back sooner was not lost.
const LOST_MS: u64 = 10_000;
/// What heals by itself within this time is not worth a page.
const HEALS_MS: u64 = 10_000;
/// Time that the last sessions have to end.
const SHUTS_MS: u64 = 5_000;
/// A copy that is further behind than this is lagging.
const LAG_SECONDS: f64 = 60.0;

/// A condition that holds now.
pub(super) struct Holds {
    pub(super) key: Key,
    pub(super) severity: Severity,
    pub(super) peer: Option<NodeName>,
    pub(super) count: Option<u64>,
    pub(super) text: String,
    /// How long it must last before it is told.
    pub(super) patience_ms: u64,
}

/// What makes two conditions the same: kind, group, and what else tells them apart.
pub(super) type Key = (EventKind, Option<String>, String);

/// Everything that holds in `status`.
pub(super) fn conditions(status: &Status) -> Vec<Holds> {
    let mut holds = node_conditions(status);
    for group in &status.groups {
        holds.extend(peers_lost(group));
        holds.extend(group_conditions(group));
        holds.extend(counted(group));
        holds.extend(problems(group));
    }
    holds
}

fn condition(kind: EventKind, group: Option<&GroupStatus>, severity: Severity, text: String) -> Holds {
    Holds {
        key: (kind, group.map(|group| group.name.clone()), String::new()),
        severity,
        peer: None,
        count: None,
        text,
        patience_ms: 0,
    }
}

fn node_conditions(status: &Status) -> Vec<Holds> {
    let mut holds = Vec::new();
    if let Some(free) = status
        .vitals
        .state_free_bytes
        .filter(|free| *free < STATE_FREE_BYTES_LOW)
    {
        let severity = if free < STATE_FREE_BYTES_SHORT {
            Severity::Error
        } else {
            Severity::Warning
        };
        let mut low = condition(
            EventKind::DiskLow,
            None,
            severity,
            format!("{} MiB free for the state directory", free >> 20),
        );
        // from bad to worse is told again
        low.key.2 = format!("{severity:?}");
        holds.push(low);
    }
    let now = clock::unix_seconds();
    for end in &status.vitals.certificates {
        let days = end.days_left(now);
        if days >= CERTIFICATE_DAYS_LOW {
            continue;
        }
        let severity = if days < CERTIFICATE_DAYS_SHORT {
            Severity::Error
        } else {
            Severity::Warning
        };
        let text = if days < 0 {
            format!("the certificate \"{}\" has ended", end.certificate)
        } else {
            format!("the certificate \"{}\" ends in {days} days", end.certificate)
        };
        let mut ends = condition(EventKind::CertificateEnds, None, severity, text);
        ends.key.2 = format!("{} {severity:?}", end.certificate);
        holds.push(ends);
    }
    holds
}

fn peers_lost(group: &GroupStatus) -> Vec<Holds> {
    let lost = group.peers.iter().filter(|peer| !peer.connected);
    lost.map(|peer| {
        let why = peer.problem.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        Holds {
            key: (EventKind::PeerLost, Some(group.name.clone()), peer.name.to_string()),
            peer: Some(peer.name.clone()),
            patience_ms: LOST_MS,
            ..condition(
                EventKind::PeerLost,
                None,
                Severity::Error,
                format!("{} is not connected{why}", peer.name),
            )
        }
    })
    .collect()
}

fn group_conditions(group: &GroupStatus) -> Vec<Holds> {
    let mut holds = Vec::new();
    if group.role == Role::Fenced {
        let text = "a higher epoch exists: this node neither serves nor captures".to_owned();
        holds.push(condition(EventKind::Fenced, Some(group), Severity::Error, text));
    }
    if let Some(fence) = group.fence.as_ref().filter(|fence| !fence.shut) {
        holds.push(Holds {
            patience_ms: SHUTS_MS,
            ..condition(EventKind::NotFenced, Some(group), Severity::Error, fence.to_string())
        });
    }
    if let Some(text) = group.service.as_ref().and_then(ServiceStatus::problem) {
        holds.push(Holds {
            patience_ms: HEALS_MS,
            ..condition(EventKind::ServiceDown, Some(group), Severity::Error, text)
        });
    }
    if group.building {
        let text = match group.role {
            Role::Primary => "listing every mailbox of the source",
            Role::Standby | Role::Fenced => "building the copy",
        };
        holds.push(condition(
            EventKind::Building,
            Some(group),
            Severity::Info,
            text.to_owned(),
        ));
    }
    if let Some(lag) = group.lag.seconds.filter(|lag| *lag > LAG_SECONDS && !group.building) {
        let text = format!("the copy is {lag:.0} s behind");
        holds.push(condition(EventKind::Lagging, Some(group), Severity::Warning, text));
    }
    let stalled = std::time::Duration::from_secs(STALLED_SECONDS).as_secs_f64();
    if let Some(age) = group.progress_seconds.filter(|age| *age > stalled) {
        let text = format!("no sign of progress for {age:.0} s");
        holds.push(condition(EventKind::Stalled, Some(group), Severity::Error, text));
    }
    holds
}

/// Counts that should be 0. A primary names its held mailboxes as problems.
fn counted(group: &GroupStatus) -> Vec<Holds> {
    let held = group.held_mailboxes.filter(|_| group.role != Role::Primary);
    let counts = [
        (EventKind::MailboxesHeld, held, Severity::Error, "mailboxes are held"),
        (
            EventKind::Quarantined,
            group.quarantined,
            Severity::Warning,
            "quarantine entries are open",
        ),
        (
            EventKind::BodiesPending,
            group.bodies_pending,
            Severity::Warning,
            "messages lack their body on the copy",
        ),
    ];
    let open = counts.into_iter().filter_map(|(kind, count, severity, what)| {
        let count = count.filter(|count| *count > 0)?;
        Some(Holds {
            count: Some(count),
            patience_ms: HEALS_MS,
            ..condition(kind, Some(group), severity, format!("{count} {what}"))
        })
    });
    open.collect()
}

fn problems(group: &GroupStatus) -> Vec<Holds> {
    let told = group.problems.iter().take(EVENT_PROBLEMS_MAX);
    told.map(|text| Holds {
        key: (EventKind::Problem, Some(group.name.clone()), text.clone()),
        patience_ms: HEALS_MS,
        ..condition(EventKind::Problem, None, Severity::Error, text.clone())
    })
    .collect()
}
