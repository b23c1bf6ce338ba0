//! `/metrics`: counters that the rooms count up, gauges read from `status` at each scrape. No user or mailbox names.

use super::status::{GroupStatus, Lag, Positions, Role, Status};
use crate::op::Lsn;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::sync::atomic::AtomicU64;

/// Of which group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfGroup {
    /// Its name.
    pub group: String,
}

/// Of which group and peer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfPeer {
    /// The group's name.
    pub group: String,
    /// The peer's name; empty where the figure is of this node or of the peer furthest behind.
    pub peer: String,
}

/// Counts of what happened since the start; shared by all rooms. A series appears with its first event.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Callers refused for their certificate or protocol.
    pub handshakes_refused: Counter,
    /// Sessions opened.
    pub sessions: Family<OfPeer, Counter>,
    /// Frames sent to a peer.
    pub frames_sent: Family<OfPeer, Counter>,
    /// Frames received from a peer.
    pub frames_received: Family<OfPeer, Counter>,
    /// Bodies sent to a peer.
    pub bodies_sent: Family<OfPeer, Counter>,
    /// Bodies received from a peer.
    pub bodies_received: Family<OfPeer, Counter>,
    /// Transactions applied.
    pub transactions_applied: Family<OfGroup, Counter>,
    /// Digests that differed.
    pub digests_different: Family<OfGroup, Counter>,
}

impl Metrics {
    /// The text that Prometheus reads (OpenMetrics 1.0).
    ///
    /// # Errors
    /// A value can't be written.
    pub fn render(&self, status: &Status) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode_registry(&mut text, &self.counters())?;
        encode_registry(&mut text, &gauges(status))?;
        encode_eof(&mut text)?;
        Ok(text)
    }

    fn counters(&self) -> Registry {
        let mut all = Registry::with_prefix("mailshadow");
        let refused = "Callers refused for their certificate or protocol";
        all.register("handshakes_refused", refused, self.handshakes_refused.clone());
        all.register("sessions", "Sessions opened", self.sessions.clone());
        all.register("frames_sent", "Frames sent", self.frames_sent.clone());
        all.register("frames_received", "Frames received", self.frames_received.clone());
        all.register("bodies_sent", "Bodies sent", self.bodies_sent.clone());
        all.register("bodies_received", "Bodies received", self.bodies_received.clone());
        all.register(
            "transactions_applied",
            "Transactions applied",
            self.transactions_applied.clone(),
        );
        all.register(
            "digests_different",
            "Digests that differed",
            self.digests_different.clone(),
        );
        all
    }
}

type Of = Family<OfGroup, Gauge<u64, AtomicU64>>;
type OfEach = Family<OfPeer, Gauge<u64, AtomicU64>>;
type Seconds = Family<OfPeer, Gauge<f64, AtomicU64>>;

/// What is not known has no sample.
#[derive(Default)]
struct Gauges {
    primary: Of,
    confirmed: Of,
    building: Of,
    epoch: Of,
    mailboxes: Of,
    messages: Of,
    held_mailboxes: Of,
    bodies_pending: Of,
    quarantined: Of,
    promotable: Of,
    problems: Of,
    captured_lsn: OfEach,
    shipped_lsn: OfEach,
    durable_lsn: OfEach,
    applied_lsn: OfEach,
    lag_operations: OfEach,
    lag_bytes: OfEach,
    connected: OfEach,
    lag_seconds: Seconds,
    silent_seconds: Seconds,
}

fn gauges(status: &Status) -> Registry {
    let gauges = Gauges::default();
    for group in &status.groups {
        gauges.read(group);
    }
    gauges.registry()
}

impl Gauges {
    fn read(&self, group: &GroupStatus) {
        let own = OfGroup {
            group: group.name.clone(),
        };
        let set = |gauge: &Of, value: Option<u64>| {
            if let Some(value) = value {
                gauge.get_or_create(&own).set(value);
            }
        };
        set(&self.primary, Some(u64::from(group.role == Role::Primary)));
        set(&self.confirmed, Some(u64::from(group.confirmed)));
        set(&self.building, Some(u64::from(group.building)));
        set(&self.epoch, group.epoch.map(|epoch| epoch.0));
        set(&self.mailboxes, group.mailboxes);
        set(&self.messages, group.messages);
        set(&self.held_mailboxes, group.held_mailboxes);
        set(&self.bodies_pending, group.bodies_pending);
        set(&self.quarantined, group.quarantined);
        set(&self.promotable, Some(u64::from(group.promotable.now)));
        set(&self.problems, u64::try_from(group.problems.len()).ok());
        self.place(group, "", Some(&group.lsn), Some(&group.lag));
        if let Some(silent) = group.promotable.silent_seconds {
            self.silent_seconds.get_or_create(&of_peer(group, "")).set(silent);
        }
        for peer in &group.peers {
            let label = of_peer(group, peer.name.as_str());
            self.connected.get_or_create(&label).set(u64::from(peer.connected));
            self.place(group, peer.name.as_str(), peer.lsn.as_ref(), peer.lag.as_ref());
        }
    }

    fn place(&self, group: &GroupStatus, peer: &str, lsn: Option<&Positions>, lag: Option<&Lag>) {
        let label = of_peer(group, peer);
        let lsn = lsn.copied().unwrap_or_default();
        let lag = lag.copied().unwrap_or_default();
        let number = |lsn: Option<Lsn>| lsn.map(|lsn| lsn.0);
        for (gauge, value) in [
            (&self.captured_lsn, number(lsn.captured)),
            (&self.shipped_lsn, number(lsn.shipped)),
            (&self.durable_lsn, number(lsn.durable)),
            (&self.applied_lsn, number(lsn.applied)),
            (&self.lag_operations, lag.operations),
            (&self.lag_bytes, lag.bytes),
        ] {
            if let Some(value) = value {
                gauge.get_or_create(&label).set(value);
            }
        }
        if let Some(seconds) = lag.seconds {
            self.lag_seconds.get_or_create(&label).set(seconds);
        }
    }

    fn registry(self) -> Registry {
        let mut all = Registry::with_prefix("mailshadow");
        all.register("primary", "1 where this node is primary of the group", self.primary);
        all.register(
            "confirmed",
            "0 on a restarted primary that has heard from nobody",
            self.confirmed,
        );
        all.register("building", "1 while the copy is being built", self.building);
        all.register("epoch", "Highest epoch seen", self.epoch);
        all.register("mailboxes", "Mailboxes in the store", self.mailboxes);
        all.register("messages", "Messages in the store", self.messages);
        all.register(
            "held_mailboxes",
            "Mailboxes whose transactions are held",
            self.held_mailboxes,
        );
        all.register("bodies_pending", "Messages whose body is not here", self.bodies_pending);
        all.register("quarantined", "Open quarantine entries", self.quarantined);
        all.register("promotable", "1 where this node could take over now", self.promotable);
        all.register("problems", "Problems that a human should look at", self.problems);
        all.register("captured_lsn", "Last LSN in the primary's journal", self.captured_lsn);
        all.register("shipped_lsn", "Last LSN sent", self.shipped_lsn);
        all.register("durable_lsn", "Last LSN durable on the standby", self.durable_lsn);
        all.register("applied_lsn", "Last LSN applied by the standby", self.applied_lsn);
        all.register("lag_operations", "Operations not yet applied", self.lag_operations);
        all.register("lag_bytes", "Bytes of frames not yet applied", self.lag_bytes);
        all.register("connected", "1 while a session with the peer is open", self.connected);
        all.register(
            "lag_seconds",
            "Age of the oldest operation not yet applied",
            self.lag_seconds,
        );
        all.register(
            "silent_seconds",
            "Age of the source's last sign of life",
            self.silent_seconds,
        );
        all
    }
}

fn of_peer(group: &GroupStatus, peer: &str) -> OfPeer {
    OfPeer {
        group: group.name.clone(),
        peer: peer.to_owned(),
    }
}
