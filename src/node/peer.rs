//! What a primary knows of one of its peers, for everybody who asks.

use crate::codec::wire::Position;
use crate::limits::VERDICTS_MAX;
use crate::op::{DigestVerdict, Lsn, MailboxId, MessageGuid, NodeName, Uid, UidValidity};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, mpsc, oneshot, watch};

/// Offers that wait for one peer's session; more are not made, and their needs follow with the lists.
const OFFERS_QUEUED_MAX: usize = 64;

/// A verdict, as short as whoever asked for many thousands of digests can count it.
#[derive(Debug)]
pub(super) struct Heard {
    /// Which verification asked.
    pub(super) request: u64,
    /// A mailbox's; else a tree's.
    pub(super) of_mailbox: bool,
    /// Where there is more to say than that both are equal.
    pub(super) remark: Option<Box<DigestVerdict>>,
}

impl From<DigestVerdict> for Heard {
    fn from(verdict: DigestVerdict) -> Self {
        Self {
            request: verdict.request,
            of_mailbox: !verdict.mailbox.is_empty(),
            remark: (!verdict.why.is_empty() || !verdict.note.is_empty()).then(|| Box::new(verdict)),
        }
    }
}

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
    pub(super) offers: mpsc::Sender<Offer>,
    /// Told when the peer has become one that can be shipped to.
    pub(super) recalled: Notify,
    problem: Mutex<Option<String>>,
    /// Who waits for verdicts.
    listeners: Mutex<Vec<mpsc::Sender<Heard>>>,
}

impl Peer {
    /// A peer that was not heard of yet, and where its session finds offers.
    pub(super) fn new(name: NodeName) -> (Self, mpsc::Receiver<Offer>) {
        let (offers, queued) = mpsc::channel(OFFERS_QUEUED_MAX);
        let peer = Self {
            name,
            standing: watch::Sender::default(),
            offers,
            recalled: Notify::new(),
            problem: Mutex::default(),
            listeners: Mutex::default(),
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

    /// Hears every verdict from now on; the end, where they come too fast.
    pub(super) fn verdicts(&self) -> mpsc::Receiver<Heard> {
        let (listener, heard) = mpsc::channel(VERDICTS_MAX);
        self.listeners().push(listener);
        heard
    }

    /// The standby compared a digest.
    pub(super) fn judged(&self, verdict: DigestVerdict) {
        // Whoever has gone, or is too slow, hears no more.
        self.listeners()
            .retain(|listener| listener.try_send(verdict.clone().into()).is_ok());
    }

    fn listeners(&self) -> MutexGuard<'_, Vec<mpsc::Sender<Heard>>> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Last LSN that is durable there, as last reported.
    pub(super) fn durable(&self) -> Lsn {
        self.now().position.map_or(Lsn(0), |p| p.durable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(mailbox: usize, why: &str) -> DigestVerdict {
        DigestVerdict {
            mailbox: mailbox.to_string(),
            why: why.to_owned(),
            request: 7,
            lsn: Lsn(1),
            user: "ann".into(),
            note: String::new(),
        }
    }

    #[test]
    fn a_verification_of_a_hundred_thousand_mailboxes_is_heard_to_its_end() {
        let (peer, _offers) = Peer::new("mail-b".into());
        let mut heard = peer.verdicts();
        (0..100_000).for_each(|mailbox| peer.judged(verdict(mailbox, "")));
        peer.judged(verdict(100_000, "flags"));
        let mut count = 0;
        while let Ok(one) = heard.try_recv() {
            assert!(one.request == 7 && one.of_mailbox);
            assert_eq!(
                one.remark.is_some(),
                count == 100_000,
                "only a difference is kept whole"
            );
            count += 1;
        }
        assert_eq!(count, 100_001);
        drop(heard);
        peer.judged(verdict(1, ""));
        assert!(peer.listeners().is_empty(), "whoever has gone is forgotten");
    }
}
