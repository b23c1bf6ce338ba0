//! Counts what happens in a group, for `/metrics`.

use crate::control::metrics::{Metrics, OfGroup, OfPeer};
use crate::op::NodeName;
use std::sync::Arc;

/// One group's counters.
#[derive(Clone)]
pub(super) struct Counted {
    pub(super) metrics: Arc<Metrics>,
    pub(super) group: String,
}

/// What is counted for each peer.
#[derive(Clone, Copy, Debug)]
pub(super) enum With {
    SessionOpened,
    FramesSent,
    FramesReceived,
    BodiesSent,
    BodiesReceived,
}

impl Counted {
    /// Something happened with a peer.
    pub(super) fn with(&self, peer: &NodeName, what: With, count: usize) {
        let family = match what {
            With::SessionOpened => &self.metrics.sessions,
            With::FramesSent => &self.metrics.frames_sent,
            With::FramesReceived => &self.metrics.frames_received,
            With::BodiesSent => &self.metrics.bodies_sent,
            With::BodiesReceived => &self.metrics.bodies_received,
        };
        let label = OfPeer {
            group: self.group.clone(),
            peer: peer.as_str().to_owned(),
        };
        family.get_or_create(&label).inc_by(number(count));
    }

    /// Transactions were decided; some of their digests differed.
    pub(super) fn applied(&self, transactions: usize, different: usize) {
        let label = OfGroup {
            group: self.group.clone(),
        };
        let applied = &self.metrics.transactions_applied;
        applied.get_or_create(&label).inc_by(number(transactions));
        if different > 0 {
            let digests = &self.metrics.digests_different;
            digests.get_or_create(&label).inc_by(number(different));
        }
    }
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
