//! Figures of groups and of their peers, read from `status`.

use super::{GaugeOf, count, is, length, lsn};
use crate::control::status::{GroupStatus, LoginAnswer, PeerStatus, Role};

/// Of each group of this node.
pub(super) const GROUP_GAUGES: [GaugeOf<GroupStatus>; 25] = [
    ("primary", "1 where this node is primary of the group", |g| {
        is(g.role == Role::Primary)
    }),
    ("fenced", "1 where a higher epoch exists elsewhere", |g| {
        is(g.role == Role::Fenced)
    }),
    ("shut", "1 where a mail server that must let nobody in is shut", |g| {
        is(g.fence.as_ref()?.shut)
    }),
    ("service_up", "1 where the primary's mail service answers", |g| {
        is(g.service.as_ref()?.up()?)
    }),
    (
        "service_login",
        "1 where the watch's login to the mail service came in, 0 where it was refused or failed",
        |g| is(g.service.as_ref()?.login? == LoginAnswer::Accepted),
    ),
    (
        "confirmed",
        "0 on a restarted primary that has heard from nobody",
        |g| is(g.confirmed),
    ),
    (
        "building",
        "1 while the copy is being built, or the source's mailboxes listed",
        |g| is(g.building),
    ),
    ("epoch", "Highest epoch that this node has durably seen", |g| {
        g.epoch.map(|epoch| count(epoch.0))
    }),
    ("mailboxes", "Mailboxes in the store here", |g| g.mailboxes.map(count)),
    ("messages", "Messages in the store here", |g| g.messages.map(count)),
    ("held_mailboxes", "Mailboxes whose transactions are held", |g| {
        g.held_mailboxes.map(count)
    }),
    ("bodies_pending", "Messages whose body is not on the copy", |g| {
        g.bodies_pending.map(count)
    }),
    ("quarantined", "Open quarantine entries", |g| g.quarantined.map(count)),
    ("promotable", "1 where this node could take over now", |g| {
        is(g.promotable.now)
    }),
    ("problems", "Problems that a human should look at", |g| {
        length(&g.problems)
    }),
    ("captured_lsn", "Last LSN in the primary's journal", |g| {
        lsn(g.lsn.captured)
    }),
    ("durable_lsn", "Last LSN durable on the standby with every body", |g| {
        lsn(g.lsn.durable)
    }),
    ("applied_lsn", "Last LSN that the standby's store has decided", |g| {
        lsn(g.lsn.applied)
    }),
    (
        "lag_operations",
        "Operations not yet applied; on a primary by the standby furthest behind",
        |g| g.lag.operations.map(count),
    ),
    ("lag_seconds", "Age of the oldest operation not yet applied", |g| {
        g.lag.seconds
    }),
    (
        "would_lose_operations",
        "Operations that a promotion now would lose",
        |g| g.promotable.would_lose.operations.map(count),
    ),
    (
        "would_lose_seconds",
        "Span of source time that a promotion now would lose",
        |g| g.promotable.would_lose.seconds,
    ),
    ("source_silent_seconds", "Age of the source's last sign of life", |g| {
        g.promotable.silent_seconds
    }),
    (
        "progress_age_seconds",
        "Age of the last sign that the group's threads make progress",
        |g| g.progress_seconds,
    ),
    ("journal_bytes", "Bytes of the group's journal on disk", |g| {
        g.journal_bytes.map(count)
    }),
];

/// Of each peer of a group.
pub(super) const PEER_GAUGES: [GaugeOf<PeerStatus>; 6] = [
    ("peer_connected", "1 while a session with the peer is open", |p| {
        is(p.connected)
    }),
    ("peer_shipped_lsn", "Last LSN sent to the peer", |p| lsn(p.lsn?.shipped)),
    (
        "peer_durable_lsn",
        "Last LSN durable on the peer with every body",
        |p| lsn(p.lsn?.durable),
    ),
    ("peer_applied_lsn", "Last LSN that the peer's store has decided", |p| {
        lsn(p.lsn?.applied)
    }),
    (
        "peer_lag_operations",
        "Operations that the peer has not yet applied",
        |p| p.lag?.operations.map(count),
    ),
    (
        "peer_lag_seconds",
        "Age of the oldest operation that the peer has not yet applied",
        |p| p.lag?.seconds,
    ),
];
