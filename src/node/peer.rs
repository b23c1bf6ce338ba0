//! What a primary knows of one of its peers, for everybody who asks.

use crate::codec::wire::Position;
use crate::op::{DigestVerdict, Lsn, MailboxId, MessageGuid, NodeName, Uid, UidValidity};
use std::sync::{Mutex, PoisonError};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

/// Offers that wait for one peer's session; more are not made, and their needs follow with the lists.
const OFFERS_QUEUED_MAX: usize = 64;
/// Verdicts that wait for whoever asked for the digests.
const VERDICTS_QUEUED_MAX: usize = 65_536;

/// Messages that a `state` is about to list, for one peer to fetch what it lacks of them.
pub(super) struct Offer {
    pub(super) mailbox: MailboxId,
    pub(super) uidvalidity: UidValidity,
    pub(super) messages: Vec<(Uid, MessageGuid, Option<u64>)>,
    /// Told when all is there (true) or the connection was lost (false).
    pub(super) done: oneshot::Sender<bool>,
}

/// How a peer stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) connected: bool,
    /// Last reported; kept while it is away.
    pub(super) position: Option<Position>,
    /// Last LSN that was sent to it.
    pub(super) shipped: Option<Lsn>,
}

/// One peer of a primary.
pub(super) struct Peer {
    pub(super) name: NodeName,
    pub(super) standing: watch::Sender<Standing>,
    pub(super) verdicts: broadcast::Sender<DigestVerdict>,
    pub(super) offers: mpsc::Sender<Offer>,
    problem: Mutex<Option<String>>,
}

impl Peer {
    /// A peer that was not heard of yet, and where its session finds offers.
    pub(super) fn new(name: NodeName) -> (Self, mpsc::Receiver<Offer>) {
        let (offers, queued) = mpsc::channel(OFFERS_QUEUED_MAX);
        let peer = Self {
            name,
            standing: watch::Sender::default(),
            verdicts: broadcast::Sender::new(VERDICTS_QUEUED_MAX),
            offers,
            problem: Mutex::new(None),
        };
        (peer, queued)
    }

    /// How it stands now.
    pub(super) fn now(&self) -> Standing {
        *self.standing.borrow()
    }

    /// Why it isn't connected, where that is known.
    pub(super) fn problem(&self) -> Option<String> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes why it isn't connected; true where that is news.
    pub(super) fn set_problem(&self, problem: Option<String>) -> bool {
        let mut held = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
        let news = *held != problem;
        *held = problem;
        news
    }

    /// Last LSN that is durable there, as last reported.
    pub(super) fn durable(&self) -> Lsn {
        self.now().position.map_or(Lsn(0), |p| p.durable)
    }
}
