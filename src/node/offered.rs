//! What connected standbys were offered and are fetching: as much of it as keeps a long link full.

use super::peer::{Offer, Peer};
use crate::io::clock::Stopwatch;
use crate::limits::{OFFER_SIZE_GUESS, OFFER_STALLED_SECONDS, OFFERS_AHEAD_BYTES};
use crate::op::{MailboxId, MessageGuid, Uid, UidValidity};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

/// An offer that one peer has not fetched yet.
struct Open {
    peer: Arc<Peer>,
    done: oneshot::Receiver<bool>,
    bytes: u64,
}

/// All of them.
pub(super) struct Offered {
    open: Vec<Open>,
    /// Time since anything was offered or fetched.
    since: Stopwatch,
}

impl Default for Offered {
    fn default() -> Self {
        Self {
            open: Vec::new(),
            since: Stopwatch::start(),
        }
    }
}

impl Offered {
    /// Offers messages to every peer that is connected.
    pub(super) fn push(
        &mut self,
        peers: &[Arc<Peer>],
        mailbox: &MailboxId,
        uidvalidity: UidValidity,
        messages: &[(Uid, MessageGuid, Option<u64>)],
    ) {
        let bytes = messages
            .iter()
            .map(|(_, _, size)| size.unwrap_or(OFFER_SIZE_GUESS))
            .fold(0, u64::saturating_add);
        for peer in peers.iter().filter(|peer| peer.now().connected) {
            let (done, waiting) = oneshot::channel();
            let offer = Offer {
                mailbox: mailbox.clone(),
                uidvalidity,
                messages: messages.to_vec(),
                done,
            };
            if peer.offers.try_send(offer).is_ok() {
                self.open.push(Open {
                    peer: Arc::clone(peer),
                    done: waiting,
                    bytes,
                });
                self.since = Stopwatch::start();
            }
        }
    }

    /// True while a peer fetches something.
    pub(super) fn is_open(&mut self) -> bool {
        self.look();
        !self.open.is_empty()
    }

    /// True while what the slowest peer fetches fills its link.
    pub(super) fn is_full(&mut self) -> bool {
        self.look();
        let fetching = |peer: &Arc<Peer>| {
            let of_it = self.open.iter().filter(|open| Arc::ptr_eq(&open.peer, peer));
            of_it.map(|open| open.bytes).fold(0, u64::saturating_add)
        };
        self.open.iter().any(|open| fetching(&open.peer) >= OFFERS_AHEAD_BYTES)
    }

    fn look(&mut self) {
        let before = self.open.len();
        self.open
            .retain_mut(|open| matches!(open.done.try_recv(), Err(TryRecvError::Empty)));
        if self.open.len() < before {
            self.since = Stopwatch::start();
        }
        if self.since.elapsed() >= Duration::from_secs(OFFER_STALLED_SECONDS) {
            for open in self.open.drain(..) {
                tracing::info!(peer = %open.peer.name, "a slow standby is not waited for: its needs follow with the list");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(name: &str, bytes: u64) -> (Open, oneshot::Sender<bool>) {
        let (done, waiting) = oneshot::channel();
        let peer = Arc::new(Peer::new(name.into()).0);
        let open = Open {
            peer,
            done: waiting,
            bytes,
        };
        (open, done)
    }

    #[test]
    fn an_offer_is_open_until_the_slowest_standby_has_fetched_it_or_is_gone() {
        let ((quick, first), (lost, second)) = (open("mail-b", 1), open("mail-c", 1));
        let mut offered = Offered {
            open: vec![quick, lost],
            since: Stopwatch::start(),
        };
        assert!(offered.is_open());
        first.send(true).unwrap();
        assert!(offered.is_open());
        drop(second);
        assert!(!offered.is_open());
    }

    #[test]
    fn more_is_offered_while_the_link_is_not_full() {
        let ((some, _some), (most, rest)) = (open("mail-b", 1_000), open("mail-c", OFFERS_AHEAD_BYTES));
        let mut offered = Offered {
            open: vec![some],
            since: Stopwatch::start(),
        };
        assert!(offered.is_open() && !offered.is_full());
        offered.open.push(most);
        assert!(offered.is_full());
        rest.send(true).unwrap();
        assert!(offered.is_open() && !offered.is_full());
    }
}
