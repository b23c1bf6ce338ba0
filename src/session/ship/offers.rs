//! Offers: what a `state` is about to list, in messages of bounded length, a bounded number of them open.

use crate::codec::wire::Offer;
use crate::limits::{OFFERS_OPEN_MAX, WIRE_MESSAGES_MAX};
use crate::op::{MailboxId, MessageGuid, Uid, UidValidity};
use std::collections::{BTreeMap, VecDeque};

/// Offers of one connection.
#[derive(Debug, Default)]
pub(super) struct Offers {
    /// Parts to be said: ticket and part.
    waiting: VecDeque<(u64, Offer)>,
    /// Said: number on the wire → ticket.
    open: BTreeMap<u64, u64>,
    /// Ticket → parts that are not done.
    left: BTreeMap<u64, usize>,
    last_id: u64,
}

impl Offers {
    /// Takes an offer. False: there is nothing to wait for.
    pub(super) fn push(
        &mut self,
        ticket: u64,
        mailbox: &MailboxId,
        uidvalidity: UidValidity,
        messages: &[(Uid, MessageGuid, Option<u64>)],
    ) -> bool {
        for part in messages.chunks(WIRE_MESSAGES_MAX) {
            self.last_id = self.last_id.saturating_add(1);
            let offer = Offer {
                id: self.last_id,
                mailbox: mailbox.clone(),
                uidvalidity,
                messages: part.to_vec(),
            };
            self.waiting.push_back((ticket, offer));
            *self.left.entry(ticket).or_default() += 1;
        }
        !messages.is_empty()
    }

    /// The next part to say.
    pub(super) fn next(&mut self) -> Option<Offer> {
        if self.open.len() >= OFFERS_OPEN_MAX {
            return None;
        }
        let (ticket, offer) = self.waiting.pop_front()?;
        self.open.insert(offer.id, ticket);
        Some(offer)
    }

    /// A part is done; the ticket, where it was the last of its offer.
    pub(super) fn done(&mut self, id: u64) -> Option<u64> {
        let ticket = self.open.remove(&id)?;
        let left = self.left.get_mut(&ticket)?;
        *left = left.saturating_sub(1);
        if *left > 0 {
            return None;
        }
        self.left.remove(&ticket);
        Some(ticket)
    }

    /// The connection is gone: tickets that will not be done.
    pub(super) fn lost(&mut self) -> Vec<u64> {
        self.waiting.clear();
        self.open.clear();
        std::mem::take(&mut self.left).into_keys().collect()
    }
}
