//! What the receiving machine does with frames and bodies: checked, journaled, looked for, put together.

use super::assembly::{Assembly, Whole};
use super::durable::Settles;
use super::follow::{self, Fault, Taken, Terms};
use super::machine::unasked;
use super::wanted::Waiter;
use super::{Phase, Receive, ReceiveRequest};
use crate::codec::frame::EncodedFrame;
use crate::codec::wire::{BodyPart, Message, Offer};
use crate::limits::{OFFERS_OPEN_MAX, WANTED_BODIES_MAX};
use crate::op::{BodyName, BodyPlace, FrameHeader, Lsn, Payload, StreamId};
use crate::session::{SessionError, bodies};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

impl Receive {
    /// Takes frames up to the first that is at fault. A base that we join at starts the journal anew.
    pub(super) fn frames(&mut self, frames: &[Arc<[u8]>], mut terms: Terms) -> Result<(), SessionError> {
        let mut batch = Vec::new();
        for bytes in frames {
            let stream = self.follow.stream;
            match self.follow.take(bytes, &terms, &self.node) {
                Ok(taken) => {
                    self.broken_behind = None;
                    self.epoch = self.epoch.max(taken.frame.epoch);
                    self.account(&taken.frame);
                    if terms.joining {
                        terms.joining = false;
                        self.join(&taken, terms, stream);
                    } else {
                        batch.push(taken.frame.clone());
                    }
                    self.look_for_bodies(&taken.frame, &taken.header, &taken.payload);
                }
                Err(fault) => {
                    self.journal(batch);
                    return self.fault(fault, terms);
                }
            }
        }
        self.journal(batch);
        Ok(())
    }

    fn journal(&mut self, batch: Vec<EncodedFrame>) {
        if !batch.is_empty() {
            self.requests.push_back(ReceiveRequest::Journal(batch));
        }
    }

    fn account(&mut self, frame: &EncodedFrame) {
        let bytes = u64::try_from(frame.bytes.len()).unwrap_or(u64::MAX);
        self.journaling.push_back((frame.lsn, bytes));
        self.taken_bytes = self.taken_bytes.saturating_add(bytes);
    }

    /// `before`: the stream that was followed until now. What the target decided of another one, or of a history that was left,
    /// counts no more.
    fn join(&mut self, taken: &Taken, terms: Terms, before: StreamId) {
        if before != taken.frame.stream || self.applied >= taken.frame.lsn {
            self.applied = Lsn(0);
        }
        let before = Lsn(taken.frame.lsn.0.saturating_sub(1));
        self.journaling.clear();
        self.account(&taken.frame);
        self.durable.restart(before);
        self.base = taken.frame.lsn;
        self.lost = None;
        self.phase = Phase::Taking {
            terms,
            passing_over: false,
        };
        self.requests
            .push_back(ReceiveRequest::RestartJournal(taken.frame.clone()));
    }

    /// Once more behind the last good frame; the second time there, nothing more is taken.
    fn fault(&mut self, fault: Fault, terms: Terms) -> Result<(), SessionError> {
        let lsn = self.follow.head.lsn.next();
        let why = match fault {
            Fault::Unknown(why) => return Err(SessionError::Frame { lsn, why }),
            Fault::Broken(why) => why,
        };
        if self.broken_behind.replace(self.follow.head) == Some(self.follow.head) {
            return Err(SessionError::Frame { lsn, why });
        }
        if terms.joining {
            // Our head says nothing to this sender: only a new connection makes it look for the base again.
            return Err(SessionError::Protocol(why));
        }
        self.link.say(Message::Again(self.follow.head));
        self.phase = Phase::Taking {
            terms,
            passing_over: true,
        };
        Ok(())
    }

    /// Looks for the bodies of the next frame, while there is room; the frames beyond wait in the journal.
    fn look_for_bodies(&mut self, frame: &EncodedFrame, header: &FrameHeader, payload: &Payload) {
        if !self.durable.takes(frame.lsn) || self.wanted.len() >= WANTED_BODIES_MAX {
            return;
        }
        let names = bodies::named(header, payload, &self.node);
        let settles = Settles::of(payload);
        let ticket = self
            .durable
            .scan(frame.lsn, frame.ends_transaction(), names.len(), settles);
        for name in names {
            self.wanted.want(name, Waiter::Frame(ticket));
        }
    }

    pub(super) fn journaled(&mut self, stream: StreamId, appended: Lsn, committed: Lsn) {
        if stream != self.follow.stream {
            return;
        }
        while self.journaling.front().is_some_and(|(lsn, _)| *lsn <= appended) {
            self.journaling.pop_front();
        }
        self.durable.set_journaled(committed.min(self.follow.head.lsn));
    }

    pub(super) fn own(&mut self, request: u64, frames: Vec<EncodedFrame>) -> Result<(), SessionError> {
        if !self.durable.is_answer(request) {
            return Ok(());
        }
        for frame in frames {
            let opened = follow::open(&frame.bytes).map_err(|fault| match fault {
                Fault::Broken(why) | Fault::Unknown(why) => SessionError::Frame {
                    lsn: frame.lsn,
                    why: format!("our own journal: {why}"),
                },
            })?;
            self.look_for_bodies(&opened.frame, &opened.header, &opened.payload);
        }
        Ok(())
    }

    pub(super) fn checked(&mut self, request: u64, lacking: BTreeMap<BodyName, Vec<BodyPlace>>) {
        let done = self.wanted.checked(request, lacking);
        self.bodies_done(done);
    }

    pub(super) fn bodies_done(&mut self, done: Vec<Waiter>) {
        for waiter in done {
            match waiter {
                Waiter::Frame(ticket) => self.durable.body_done(ticket),
                Waiter::Offer(ticket) => self.offered_body_done(ticket),
                Waiter::Pending => {}
            }
        }
    }

    pub(super) fn offered(&mut self, offer: Offer) -> Result<(), SessionError> {
        if self.offers.len() >= OFFERS_OPEN_MAX {
            return Err(SessionError::Protocol("too many offers are open".to_owned()));
        }
        let names: BTreeSet<BodyName> = bodies::offered(&offer).collect();
        if names.is_empty() {
            self.link.say(Message::OfferDone { id: offer.id });
            return Ok(());
        }
        let ticket = self.number();
        self.offers.insert(ticket, (offer.id, names.len()));
        for name in names {
            self.wanted.want(name, Waiter::Offer(ticket));
        }
        Ok(())
    }

    fn offered_body_done(&mut self, ticket: u64) {
        let Some((id, left)) = self.offers.get_mut(&ticket) else {
            return;
        };
        *left = left.saturating_sub(1);
        if *left == 0 {
            self.link.say(Message::OfferDone { id: *id });
            self.offers.remove(&ticket);
        }
    }

    /// One body that comes ahead and one that was asked for may arrive at the same time.
    fn assembly(&mut self, ahead: bool) -> &mut Assembly {
        if ahead {
            &mut self.arriving_ahead
        } else {
            &mut self.arriving_asked
        }
    }

    pub(super) fn body_part(&mut self, part: BodyPart) -> Result<(), SessionError> {
        if self.assembly(part.ahead).is_empty() {
            let name = match &part.name {
                Some(name) => name.clone(),
                None => self.wanted.asked(part.id).cloned().ok_or_else(|| unasked(part.id))?,
            };
            if part.ahead {
                self.wanted.arrives_ahead(&name);
            }
            self.assembly(part.ahead)
                .begin(&part, name)
                .map_err(SessionError::Protocol)?;
        }
        let whole = self.assembly(part.ahead).take(&part).map_err(SessionError::Protocol)?;
        if let Some(Whole {
            id,
            ahead,
            name,
            octets,
        }) = whole
        {
            let need = (!ahead).then_some(id);
            let request = match octets {
                Some((octets, hash)) => self.wanted.arrived(need, name, octets, hash),
                None => self.wanted.broken(need, name),
            };
            self.requests.extend(request);
        }
        Ok(())
    }
}
