//! The sending machine's transitions.

use super::flow::Flow;
use super::outgoing::{NoBody, Outgoing, Wanted, too_large};
use super::{Offers, Phase, Ship, ShipInput, ShipRequest, ShipStart, Standing};
use crate::codec::frame::{self, EncodedFrame};
use crate::codec::wire::{Hello, Message, NumberedNeed, PROTOCOL, Place, Position, Welcome};
use crate::limits::{GONE_OPEN_MAX, NEEDS_TAKEN_MAX, SHIP_READ_BYTES, WIRE_MESSAGES_MAX};
use crate::op::{ChainHash, FrameHeader, GoneQuestion, Lsn, Payload, Uid};
use crate::session::bodies::{self, Sent};
use crate::session::link::{Link, clipped, clipped_missing};
use crate::session::resume::{self, Next};
use crate::session::{Class, SessionError};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

impl Ship {
    /// A machine that is not connected.
    #[must_use]
    pub fn new(start: ShipStart) -> Self {
        Self {
            bodies: Outgoing::new(start.bulk_bytes_per_second),
            start,
            phase: Phase::Apart,
            ours: Standing::default(),
            link: Link::default(),
            requests: VecDeque::new(),
            flow: Flow::default(),
            offers: Offers::default(),
            heartbeat: None,
            sent: Sent::default(),
            base_behind: None,
            unknown_upto: Lsn(0),
            gone_open: BTreeMap::new(),
            last_number: 0,
            frames_next: true,
        }
    }

    /// Takes one input. `now_ms`: any clock that never goes back.
    ///
    /// # Errors
    /// The session is over: send what [`Self::message`] still has, close, act on the error's class.
    pub fn handle(&mut self, now_ms: u64, input: ShipInput) -> Result<(), SessionError> {
        self.link.set_clock(now_ms);
        let result = self.take(input);
        match &result {
            Ok(()) => self.pump(),
            Err(error) => self.part(Some(error)),
        }
        result
    }

    /// What the driver is to do.
    pub fn request(&mut self) -> Option<ShipRequest> {
        self.requests.pop_front()
    }

    /// The next message for the peer. Ask only when the writer has room for it; then take what [`Self::request`] has,
    /// for what went makes room for more.
    pub fn message(&mut self) -> Option<Message> {
        let message = self.next_message()?;
        self.link.said();
        self.pump();
        Some(message)
    }

    /// When to feed [`ShipInput::Tick`] at the latest, where that is sooner than in a second: something may be said then.
    #[must_use]
    pub fn wake_ms(&self) -> Option<u64> {
        self.bodies.wake_ms(self.flow.bulk_waits())
    }

    /// True where a connection's peer was accepted: frames flow, are about to, or a base is awaited.
    #[must_use]
    pub fn is_up(&self) -> bool {
        matches!(self.phase, Phase::Comparing(_) | Phase::Flowing | Phase::Seeking)
    }

    fn take(&mut self, input: ShipInput) -> Result<(), SessionError> {
        match input {
            ShipInput::Connected(standing) => self.greet(standing),
            // After an error the session is over already, and its last words may not have been taken yet.
            ShipInput::Lost if self.phase == Phase::Apart => {}
            ShipInput::Lost => self.part(None),
            ShipInput::Committed(head) => self.ours.head = head,
            ShipInput::Tick if self.phase != Phase::Apart => self.link.keep_alive()?,
            ShipInput::Tick => {}
            ShipInput::Ask { id, json } => {
                if !(self.is_up() && self.link.ask(id, json)) {
                    self.requests.push_back(ShipRequest::Unanswered { id });
                }
            }
            ShipInput::Offer {
                ticket,
                mailbox,
                uidvalidity,
                messages,
            } => {
                let waits = self.is_up() && self.offers.push(ticket, &mailbox, uidvalidity, &messages);
                if !waits {
                    let done = self.is_up();
                    self.requests.push_back(ShipRequest::OfferDone { ticket, done });
                }
            }
            _ if self.phase == Phase::Apart => {}
            ShipInput::Received(message) => {
                self.link.heard();
                self.received(message)?;
            }
            ShipInput::ChainAt { lsn, chain } => self.compared(lsn, chain)?,
            ShipInput::Frames { request, frames } => self.frames_read(request, frames)?,
            ShipInput::FramesGone { request } => self.frames_gone(request)?,
            ShipInput::Body { request, answer } => {
                if let Some(nothing) = self.bodies.answered(request, answer) {
                    self.no_body(nothing);
                }
            }
            ShipInput::Gone { request, gone } => self.gone(request, gone),
            ShipInput::Notice(notice) => {
                // Left out where there is no room: the other side sees the gap in the numbers.
                self.link.say_if_room(Message::Notice(notice));
            }
            ShipInput::Heartbeat(heartbeat) => self.heartbeat = Some(heartbeat),
            ShipInput::Answer { request, json } => self.link.answer(request, json),
        }
        Ok(())
    }

    fn greet(&mut self, standing: Standing) {
        self.part(None);
        if standing.stream != self.ours.stream {
            self.base_behind = None;
            self.unknown_upto = Lsn(0);
        }
        self.ours = standing;
        if self.unknown_upto > Lsn(0) {
            self.ours.oldest = standing.oldest.max(self.unknown_upto.next().next());
        }
        self.phase = Phase::Greeting;
        self.link.begin();
        self.link.say(Message::Hello(Hello {
            protocol: PROTOCOL,
            group: self.start.group.clone(),
            node: self.start.node.clone(),
            stream: standing.stream,
            epoch: standing.epoch,
            head: standing.head,
            oldest: self.ours.oldest,
            rebuilt: standing.rebuilt,
        }));
    }

    /// Forgets the connection. What an error has to tell the peer is still said.
    fn part(&mut self, error: Option<&SessionError>) {
        self.phase = Phase::Apart;
        for id in self.link.end() {
            self.requests.push_back(ShipRequest::Unanswered { id });
        }
        for ticket in self.offers.lost() {
            self.requests.push_back(ShipRequest::OfferDone { ticket, done: false });
        }
        self.offers = Offers::default();
        self.flow = Flow::default();
        self.bodies.clear();
        self.sent = Sent::default();
        self.heartbeat = None;
        self.gone_open.clear();
        if let Some(last_words) = error.and_then(last_words) {
            self.link.say(last_words);
        }
    }

    fn received(&mut self, message: Message) -> Result<(), SessionError> {
        match message {
            Message::Welcome(welcome) if self.phase == Phase::Greeting => self.welcomed(welcome),
            Message::Refused { why } => Err(SessionError::Refused(why)),
            Message::Diverged { why } => Err(SessionError::Diverged(format!("the copy says: {why}"))),
            Message::Ping => Ok(()),
            message if self.is_up() => self.received_up(message),
            message => Err(out_of_turn(&message)),
        }
    }

    fn received_up(&mut self, message: Message) -> Result<(), SessionError> {
        match message {
            Message::Position(position) => self.positioned(position),
            Message::Needs(needs) => self.needed(needs),
            Message::Again(place) if self.phase == Phase::Flowing => self.again(place),
            Message::GoneAsk { id, question } => self.gone_asked(id, question),
            Message::OfferDone { id } => {
                if let Some(ticket) = self.offers.done(id) {
                    self.requests.push_back(ShipRequest::OfferDone { ticket, done: true });
                }
                Ok(())
            }
            Message::Verdict(verdict) => {
                self.requests.push_back(ShipRequest::Verdict(verdict));
                Ok(())
            }
            Message::Ask { id, json } => {
                let request = self.link.asked(id)?;
                self.requests.push_back(ShipRequest::Asked { request, json });
                Ok(())
            }
            Message::Answer { id, json } => {
                if self.link.answered(id) {
                    self.requests.push_back(ShipRequest::Answered { id, json });
                }
                Ok(())
            }
            message => Err(out_of_turn(&message)),
        }
    }

    fn welcomed(&mut self, welcome: Welcome) -> Result<(), SessionError> {
        let next = resume::decide(&self.ours, self.ours.rebuilt, &welcome)?;
        self.requests.push_back(ShipRequest::Up(welcome));
        self.go_on(next);
        Ok(())
    }

    fn go_on(&mut self, next: Next) {
        match next {
            Next::FromStart => {
                self.flow = Flow::after(Place::default());
                self.phase = Phase::Flowing;
            }
            Next::Compare(place) => {
                self.phase = Phase::Comparing(place);
                self.requests.push_back(ShipRequest::ChainAt { lsn: place.lsn });
            }
            Next::Base(reason) => self.seek(reason),
        }
    }

    /// Looks for the base that was asked for on an earlier connection, or asks for one.
    fn seek(&mut self, reason: String) {
        let behind = match self.base_behind.filter(|lsn| lsn.next() >= self.ours.oldest) {
            Some(behind) => behind,
            None => {
                self.requests.push_back(ShipRequest::Base { reason });
                self.ours.head.lsn
            }
        };
        self.base_behind = Some(behind);
        self.flow = Flow::behind(behind);
        self.phase = Phase::Seeking;
    }

    fn compared(&mut self, lsn: Lsn, chain: Option<ChainHash>) -> Result<(), SessionError> {
        let Phase::Comparing(theirs) = self.phase else {
            return Ok(());
        };
        if theirs.lsn != lsn {
            return Ok(());
        }
        let Some(ours) = chain else {
            // Trimmed since the hello. Both sides must know that a base follows, so: another hello.
            self.unknown_upto = lsn;
            return Err(SessionError::FellBehind(lsn));
        };
        resume::same_chain(theirs, ours)?;
        self.flow = Flow::after(theirs);
        self.phase = Phase::Flowing;
        Ok(())
    }

    /// The peer found a broken frame: everything behind `place` goes once more, behind an echo that tells the new
    /// frames from those that were on their way.
    fn again(&mut self, place: Place) -> Result<(), SessionError> {
        let next = resume::compare(&self.ours, place)?;
        self.flow = Flow::default();
        self.link.say(Message::Again(place));
        self.go_on(next);
        Ok(())
    }

    fn positioned(&mut self, position: Position) -> Result<(), SessionError> {
        let ordered = position.applied <= position.durable
            && position.durable <= position.journaled
            && position.journaled <= position.taken;
        if !ordered || position.taken > self.ours.head.lsn.max(self.flow.sent()) {
            return Err(SessionError::Protocol(format!(
                "a position that can't be: {position:?}"
            )));
        }
        self.flow.taken(position.taken);
        self.requests.push_back(ShipRequest::Position(position));
        Ok(())
    }

    fn needed(&mut self, needs: Vec<NumberedNeed>) -> Result<(), SessionError> {
        if self.bodies.asked().saturating_add(needs.len()) > NEEDS_TAKEN_MAX {
            return Err(SessionError::Protocol("too many needs are open".to_owned()));
        }
        for NumberedNeed { id, need } in needs {
            if let Some(missing) = too_large(need.name.size) {
                self.link.say(Message::BodyMissing { id, missing });
                continue;
            }
            self.sent.note(&need.name.place.mailbox.user, &need.name.guid);
            self.bodies.push(Wanted {
                id,
                ahead: false,
                name: need.name,
                other_places: need.other_places,
            });
        }
        Ok(())
    }

    fn gone_asked(&mut self, id: u64, question: GoneQuestion) -> Result<(), SessionError> {
        if self.gone_open.len() >= GONE_OPEN_MAX {
            return Err(SessionError::Protocol("too many gone questions are open".to_owned()));
        }
        let request = self.number();
        self.gone_open.insert(request, id);
        self.requests.push_back(ShipRequest::Gone { request, question });
        Ok(())
    }

    /// An answer to a question of an older connection is dropped: another process may have taken its number.
    fn gone(&mut self, request: u64, mut gone: Vec<Uid>) {
        if let Some(id) = self.gone_open.remove(&request) {
            gone.truncate(WIRE_MESSAGES_MAX);
            self.link.say(Message::GoneAnswer { id, gone });
        }
    }

    fn no_body(&mut self, nothing: NoBody) {
        let id = nothing.wanted.id;
        if nothing.wanted.ahead {
            // The frame goes without it; the peer will ask, and name more places.
            self.flow.release(id);
        } else {
            let missing = clipped_missing(nothing.missing);
            self.link.say(Message::BodyMissing { id, missing });
        }
    }

    fn frames_read(&mut self, request: u64, frames: Vec<EncodedFrame>) -> Result<(), SessionError> {
        if !self.flow.is_answer(request) {
            return Ok(());
        }
        for frame in frames {
            self.flow.follow(&frame, self.ours.stream)?;
            let (header, _, payload) = frame::open(&frame.bytes).map_err(|e| SessionError::Frame {
                lsn: frame.lsn,
                why: format!("our own journal: {e}"),
            })?;
            if self.phase == Phase::Seeking && self.is_our_base(&header, &payload) {
                self.phase = Phase::Flowing;
            }
            if self.phase == Phase::Flowing {
                let ahead = self.send_ahead(&header, &payload);
                let bulk = header.peer.is_some() || matches!(payload, Payload::State(_));
                self.flow.push(frame, bulk, ahead);
            }
        }
        Ok(())
    }

    fn is_our_base(&self, header: &FrameHeader, payload: &Payload) -> bool {
        matches!(payload, Payload::Base(_)) && header.peer.as_ref() == Some(&self.start.peer)
    }

    fn frames_gone(&mut self, request: u64) -> Result<(), SessionError> {
        if !self.flow.is_answer(request) {
            return Ok(());
        }
        self.base_behind = None;
        Err(SessionError::FellBehind(self.flow.sent().next()))
    }

    fn send_ahead(&mut self, header: &FrameHeader, payload: &Payload) -> BTreeSet<u64> {
        let mut ahead = BTreeSet::new();
        for name in bodies::fresh(header, payload) {
            let carried = too_large(name.size).is_none();
            if carried && self.sent.first_time(&name.place.mailbox.user, &name.guid) {
                let id = self.number();
                ahead.insert(id);
                self.bodies.push(Wanted {
                    id,
                    ahead: true,
                    name,
                    other_places: Vec::new(),
                });
            }
        }
        ahead
    }

    /// Asks for what there is room for.
    fn pump(&mut self) {
        if !self.is_up() {
            return;
        }
        self.read_frames();
        loop {
            let request = self.number();
            let Some(read) = self.bodies.next_read(request) else {
                break;
            };
            self.requests.push_back(read);
        }
        while self.link.has_room()
            && let Some(offer) = self.offers.next()
        {
            self.link.say(Message::Offer(offer));
        }
    }

    fn read_frames(&mut self) {
        if !matches!(self.phase, Phase::Seeking | Phase::Flowing) {
            return;
        }
        let request = self.number();
        if let Some(from) = self.flow.wants(self.ours.head.lsn, request) {
            self.requests.push_back(ShipRequest::ReadFrames {
                request,
                from,
                bytes_max: SHIP_READ_BYTES,
            });
        }
    }

    fn number(&mut self) -> u64 {
        self.last_number = self.last_number.saturating_add(1);
        self.last_number
    }

    fn next_message(&mut self) -> Option<Message> {
        if let Some(small) = self.link.next() {
            return Some(small);
        }
        if !self.is_up() {
            return None;
        }
        if let Some(heartbeat) = self.heartbeat.take() {
            return Some(Message::Heartbeat(heartbeat));
        }
        self.frames_next = !self.frames_next;
        if self.frames_next {
            self.next_frames().or_else(|| self.next_part())
        } else {
            self.next_part().or_else(|| self.next_frames())
        }
    }

    fn next_frames(&mut self) -> Option<Message> {
        let bulk_may = self.bodies.may_bulk(self.link.now_ms());
        let (frames, bulk) = self.flow.next(bulk_may)?;
        self.bodies.spend(bulk);
        Some(Message::Frames(frames))
    }

    fn next_part(&mut self) -> Option<Message> {
        let (part, gone_ahead) = self.bodies.next_part(self.link.now_ms())?;
        if let Some(id) = gone_ahead {
            self.flow.release(id);
        }
        Some(Message::BodyPart(part))
    }
}

fn out_of_turn(message: &Message) -> SessionError {
    SessionError::Protocol(format!("a {} message out of turn", message.kind()))
}

/// What the peer must be told.
fn last_words(error: &SessionError) -> Option<Message> {
    let why = clipped(error.to_string());
    match error.class() {
        Class::Diverged => Some(Message::Diverged { why }),
        Class::Fence | Class::Halt => Some(Message::Refused { why }),
        Class::Retry => None,
    }
}
