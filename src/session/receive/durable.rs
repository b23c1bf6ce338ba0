//! Which frames are durable: journaled, and every body that they or the frames before them name is on disk or durably
//! missing. Moves over whole transactions only.

use crate::limits::WANTED_BODIES_MAX;
use crate::op::{Lsn, MailboxId, Payload, SourcePosition};
use std::collections::VecDeque;

/// What a frame settles of what was announced, once it is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::session) enum Settles {
    /// A mailbox is at this position.
    Position {
        mailbox: MailboxId,
        position: SourcePosition,
        is_state: bool,
    },
    /// These mailboxes are gone.
    Vanished(Vec<MailboxId>),
}

impl Settles {
    pub(in crate::session) fn of(payload: &Payload) -> Option<Self> {
        let at = |mailbox: &MailboxId, position: &SourcePosition, is_state| Self::Position {
            mailbox: mailbox.clone(),
            // The requests say nothing about the order of positions, and many frames wait here.
            position: SourcePosition {
                open_requests: Vec::new(),
                ..position.clone()
            },
            is_state,
        };
        match payload {
            Payload::Mailbox(txn) => Some(at(&txn.mailbox, &txn.position, false)),
            Payload::State(chunk) => Some(at(&chunk.mailbox, &chunk.position, true)),
            Payload::Tree(tree) => {
                let gone = tree.mailboxes.iter().filter(|mailbox| mailbox.name.is_err());
                let gone: Vec<_> = gone
                    .map(|mailbox| MailboxId {
                        user: tree.user.clone(),
                        guid: mailbox.guid,
                    })
                    .collect();
                (!gone.is_empty()).then_some(Self::Vanished(gone))
            }
            _ => None,
        }
    }
}

/// A frame whose bodies are looked for.
#[derive(Debug)]
struct Scanned {
    /// Tells waiting bodies where they belong: an LSN may be used again, a ticket never is.
    ticket: u64,
    lsn: Lsn,
    ends: bool,
    /// Bodies that are not on disk.
    open: usize,
    settles: Option<Settles>,
}

/// Frames between `durable` and `scanned`; those beyond wait in the journal.
#[derive(Debug)]
pub(super) struct Durable {
    queue: VecDeque<Scanned>,
    last_ticket: u64,
    scanned: Lsn,
    journaled: Lsn,
    durable: Lsn,
    reading: Option<u64>,
}

impl Durable {
    /// Everything up to `durable` is; the journal goes on to `journaled`.
    pub(super) fn new(durable: Lsn, journaled: Lsn) -> Self {
        Self {
            queue: VecDeque::new(),
            last_ticket: 0,
            scanned: durable,
            journaled,
            durable,
            reading: None,
        }
    }

    /// Begins at a base: what was scanned before counts no more.
    pub(super) fn restart(&mut self, before: Lsn) {
        *self = Self {
            last_ticket: self.last_ticket,
            ..Self::new(before, before)
        };
    }

    /// Frames beyond `head` are forgotten; none of them was durable.
    pub(super) fn roll_back(&mut self, head: Lsn) {
        while self.queue.back().is_some_and(|frame| frame.lsn > head) {
            self.queue.pop_back();
        }
        self.scanned = self.scanned.min(head);
    }

    pub(super) fn journaled(&self) -> Lsn {
        self.journaled
    }

    pub(super) fn durable(&self) -> Lsn {
        self.durable
    }

    pub(super) fn set_journaled(&mut self, lsn: Lsn) {
        self.journaled = self.journaled.max(lsn);
    }

    /// True where this frame is the next to be scanned and there is room for it.
    pub(super) fn takes(&self, lsn: Lsn) -> bool {
        lsn == self.scanned.next() && self.queue.len() < WANTED_BODIES_MAX
    }

    /// Scans the next frame; the ticket that its bodies carry.
    pub(super) fn scan(&mut self, lsn: Lsn, ends: bool, open: usize, settles: Option<Settles>) -> u64 {
        let ticket = self.last_ticket.saturating_add(1);
        self.last_ticket = ticket;
        self.queue.push_back(Scanned {
            ticket,
            lsn,
            ends,
            open,
            settles,
        });
        self.scanned = lsn;
        ticket
    }

    /// One body of the frame with this ticket is on disk.
    pub(super) fn body_done(&mut self, ticket: u64) {
        let index = self.queue.binary_search_by_key(&ticket, |frame| frame.ticket);
        if let Some(frame) = index.ok().and_then(|index| self.queue.get_mut(index)) {
            frame.open = frame.open.saturating_sub(1);
        }
    }

    /// Frame to be read back from the journal, where one waits there and there is room.
    pub(super) fn wants(&mut self, number: u64) -> Option<Lsn> {
        if self.reading.is_some() || self.scanned >= self.journaled || self.queue.len() >= WANTED_BODIES_MAX {
            return None;
        }
        self.reading = Some(number);
        Some(self.scanned.next())
    }

    /// True where `request` is the open read; it is closed.
    pub(super) fn is_answer(&mut self, request: u64) -> bool {
        let open = self.reading == Some(request);
        if open {
            self.reading = None;
        }
        open
    }

    /// Moves on; what the frames that became durable settle.
    pub(super) fn advance(&mut self) -> Vec<Settles> {
        let mut settled = Vec::new();
        while let Some(frame) = self.queue.front()
            && frame.open == 0
            && frame.lsn <= self.journaled
        {
            let Some(frame) = self.queue.pop_front() else { break };
            settled.extend(frame.settles);
            if frame.ends {
                self.durable = frame.lsn;
            }
        }
        settled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_without_its_body_holds_those_behind_it() {
        let mut durable = Durable::new(Lsn(0), Lsn(0));
        let first = durable.scan(Lsn(1), true, 1, None);
        durable.scan(Lsn(2), true, 0, None);
        durable.set_journaled(Lsn(2));
        durable.advance();
        assert_eq!(durable.durable(), Lsn(0));
        durable.body_done(first);
        durable.advance();
        assert_eq!(durable.durable(), Lsn(2));
    }

    #[test]
    fn a_run_is_durable_as_a_whole() {
        let mut durable = Durable::new(Lsn(0), Lsn(0));
        durable.scan(Lsn(1), false, 0, None);
        let last = durable.scan(Lsn(2), true, 1, None);
        durable.set_journaled(Lsn(2));
        durable.advance();
        assert_eq!(durable.durable(), Lsn(0));
        durable.body_done(last);
        durable.advance();
        assert_eq!(durable.durable(), Lsn(2));
    }

    #[test]
    fn a_frame_that_is_not_on_disk_is_not_durable() {
        let mut durable = Durable::new(Lsn(0), Lsn(0));
        durable.scan(Lsn(1), true, 0, None);
        durable.advance();
        assert_eq!(durable.durable(), Lsn(0));
    }
}
