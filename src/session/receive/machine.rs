//! The receiving machine's transitions.

use super::assembly::Assembly;
use super::durable::Durable;
use super::follow::{Follow, Terms};
use super::gone::Gone;
use super::wanted::Wanted;
use super::{Phase, Receive, ReceiveInput, ReceiveRequest, ReceiveStart};
use crate::codec::wire::{Counts, Hello, Message, PROTOCOL, Position, Welcome};
use crate::limits::{
    PENDING_AGAIN_MAX, PENDING_AGAIN_MS, POSITION_BYTES, POSITION_FRAMES, POSITION_PAUSE_MS, READ_OWN_BYTES,
    RECEIVE_BYTES_MAX, VERDICTS_MAX, WANTED_BODIES_MAX,
};
use crate::op::Lsn;
use crate::session::announced::Announced;
use crate::session::link::{Link, clipped};
use crate::session::{Class, SessionError, resume};
use std::collections::{BTreeMap, VecDeque};

impl Receive {
    /// A machine that is not connected, with what its node has on disk.
    #[must_use]
    pub fn new(start: ReceiveStart) -> Self {
        // Frames below the journal's first one were covered by the base that it begins with.
        let before_oldest = Lsn(start.oldest.0.saturating_sub(1));
        let applied = start.applied.min(start.head.lsn);
        let durable = Durable::new(applied.max(before_oldest).min(start.head.lsn), start.head.lsn);
        Self {
            group: start.group,
            node: start.node,
            epoch: start.epoch,
            lost: start.lost,
            phase: Phase::Apart,
            link: Link::default(),
            requests: VecDeque::new(),
            follow: Follow::after(start.stream, start.head),
            broken_behind: None,
            journaling: VecDeque::new(),
            durable,
            wanted: Wanted::default(),
            arriving_ahead: Assembly::default(),
            arriving_asked: Assembly::default(),
            offers: BTreeMap::new(),
            gone: Gone::default(),
            announced: Announced::default(),
            verdicts: VecDeque::new(),
            applied: start.shown.min(applied),
            base: Lsn(0),
            counts: Counts::default(),
            told: None,
            taken_bytes: 0,
            next_pending_ms: 0,
            last_number: 0,
        }
    }

    /// Takes one input. `now_ms`: any clock that never goes back.
    ///
    /// # Errors
    /// The session is over: send what [`Self::message`] still has, close, act on the error's class. Answers to requests
    /// are taken without a connection too, so durable and applied go on.
    pub fn handle(&mut self, now_ms: u64, input: ReceiveInput) -> Result<(), SessionError> {
        self.link.set_clock(now_ms);
        let result = self.take(input);
        if let Err(error) = &result {
            self.part(Some(error));
        }
        self.pump();
        result
    }

    /// What the driver is to do. Requests of one kind are to be done in order.
    pub fn request(&mut self) -> Option<ReceiveRequest> {
        self.requests.pop_front()
    }

    /// The next message for the peer. Ask only when the writer has room for it.
    pub fn message(&mut self) -> Option<Message> {
        let message = self.next_message()?;
        self.link.said();
        Some(message)
    }

    /// True while the journal or the body store has so much to do that the socket must not be read.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let journaling = self
            .journaling
            .iter()
            .map(|(_, bytes)| *bytes)
            .fold(0, u64::saturating_add);
        journaling.saturating_add(self.wanted.storing_bytes()) > RECEIVE_BYTES_MAX
    }

    /// When to feed [`ReceiveInput::Tick`] at the latest, where that is sooner than in a second: a position may be said
    /// then.
    #[must_use]
    pub fn wake_ms(&self) -> Option<u64> {
        let Phase::Taking { terms, .. } = self.phase else {
            return None;
        };
        let (told, at_ms) = self.told?;
        let waits = !terms.joining && told != self.position();
        waits.then(|| at_ms.saturating_add(POSITION_PAUSE_MS))
    }

    /// Positions that follow each other closely are one: unless nothing is open any more, or the sender may soon have
    /// to wait for this one.
    fn is_news(&self, position: &Position) -> bool {
        let Some((told, at_ms)) = self.told else { return true };
        let settled = position.applied == position.taken;
        let window =
            position.taken.0.saturating_sub(told.taken.0) >= POSITION_FRAMES || self.taken_bytes >= POSITION_BYTES;
        let due = self.link.now_ms() >= at_ms.saturating_add(POSITION_PAUSE_MS);
        told != *position && (settled || window || due)
    }

    /// True where a connection's peer was accepted.
    #[must_use]
    pub fn is_up(&self) -> bool {
        matches!(self.phase, Phase::Taking { .. })
    }

    /// Goes on with what was announced before a restart.
    pub fn recall(&mut self, announced: Announced) {
        self.announced = announced;
    }

    /// What was announced and is not durable here.
    #[must_use]
    pub fn announced(&self) -> &Announced {
        &self.announced
    }

    /// How far this side is, as its peer is told.
    #[must_use]
    pub fn position(&self) -> Position {
        Position {
            taken: self.follow.head.lsn,
            journaled: self.durable.journaled(),
            durable: self.durable.durable(),
            applied: self.applied.min(self.durable.durable()),
            counts: self.counts,
        }
    }

    fn take(&mut self, input: ReceiveInput) -> Result<(), SessionError> {
        match input {
            ReceiveInput::Connected => {
                self.part(None);
                self.link.begin();
                self.phase = Phase::Listening;
            }
            ReceiveInput::Received(message) => return self.received(message),
            // After an error the session is over already, and its last words may not have been taken yet.
            ReceiveInput::Lost if matches!(self.phase, Phase::Apart) => {}
            ReceiveInput::Lost => self.part(None),
            ReceiveInput::Journaled {
                stream,
                appended,
                committed,
            } => self.journaled(stream, appended, committed),
            ReceiveInput::Own { request, frames } => return self.own(request, frames),
            ReceiveInput::Checked { request, lacking } => self.checked(request, lacking),
            ReceiveInput::Stored(names) => {
                let done = self.wanted.stored(names);
                self.bodies_done(done);
            }
            ReceiveInput::Pending(names) => {
                for (name, places) in names.into_iter().take(PENDING_AGAIN_MAX) {
                    self.wanted.want_pending(name, places);
                }
            }
            ReceiveInput::Applied { stream, lsn, counts } => {
                self.counts = counts;
                if stream == self.follow.stream {
                    self.applied = self.applied.max(lsn);
                }
            }
            ReceiveInput::AskGone { id, question } => {
                if !self.gone.ask(id, &question) {
                    self.requests
                        .push_back(ReceiveRequest::GoneAnswer { id, gone: Vec::new() });
                }
            }
            ReceiveInput::Verdict(mut verdict) => {
                if self.is_up() && self.verdicts.len() < VERDICTS_MAX {
                    verdict.mailbox = clipped(verdict.mailbox);
                    verdict.why = clipped(verdict.why);
                    self.verdicts.push_back(verdict);
                }
            }
            ReceiveInput::Ask { id, json } => {
                if !(self.is_up() && self.link.ask(id, json)) {
                    self.requests.push_back(ReceiveRequest::Unanswered { id });
                }
            }
            ReceiveInput::Answer { request, json } => self.link.answer(request, json),
            ReceiveInput::Tick => return self.tick(),
        }
        Ok(())
    }

    fn tick(&mut self) -> Result<(), SessionError> {
        if matches!(self.phase, Phase::Apart) {
            return Ok(());
        }
        if self.is_full() {
            // We don't listen, so the silence is ours.
            self.link.heard();
        }
        self.link.keep_alive()?;
        if self.is_up() && self.link.now_ms() >= self.next_pending_ms {
            self.next_pending_ms = self.link.now_ms().saturating_add(PENDING_AGAIN_MS);
            self.requests.push_back(ReceiveRequest::ListPending {
                most: PENDING_AGAIN_MAX,
            });
        }
        Ok(())
    }

    /// Forgets the connection. What an error has to tell the peer is still said.
    fn part(&mut self, error: Option<&SessionError>) {
        self.phase = Phase::Apart;
        self.roll_back();
        for id in self.link.end() {
            self.requests.push_back(ReceiveRequest::Unanswered { id });
        }
        (self.arriving_ahead, self.arriving_asked) = Default::default();
        self.wanted.lost();
        self.offers.clear();
        self.verdicts.clear();
        self.told = None;
        if let Some(last_words) = error.and_then(|error| self.last_words(error)) {
            self.link.say(last_words);
        }
    }

    /// A run without its end is not claimed towards the next peer, so it is forgotten.
    fn roll_back(&mut self) {
        if self.follow.roll_back() {
            let head = self.follow.head.lsn;
            self.durable.roll_back(head);
            self.journaling.retain(|(lsn, _)| *lsn <= head);
            self.requests.push_back(ReceiveRequest::RollBack);
        }
    }

    fn last_words(&self, error: &SessionError) -> Option<Message> {
        let why = clipped(error.to_string());
        match error.class() {
            Class::Diverged => Some(Message::Diverged { why }),
            Class::Halt => Some(Message::Refused { why }),
            // It learns from our welcome that its epoch is over.
            _ if matches!(error, SessionError::Epoch { .. }) => Some(Message::Welcome(self.welcome())),
            _ if matches!(error, SessionError::Refused(_)) => Some(Message::Refused { why }),
            _ => None,
        }
    }

    fn received(&mut self, message: Message) -> Result<(), SessionError> {
        if matches!(self.phase, Phase::Apart) {
            return Ok(());
        }
        self.link.heard();
        match (message, self.phase) {
            (Message::Refused { why }, _) => Err(SessionError::Refused(why)),
            (Message::Diverged { why }, _) => Err(SessionError::Diverged(format!("the primary says: {why}"))),
            (Message::Hello(hello), Phase::Listening) => self.greeted(hello),
            (message, Phase::Taking { terms, passing_over }) => self.received_up(message, terms, passing_over),
            (message, _) => Err(out_of_turn(&message)),
        }
    }

    fn received_up(&mut self, message: Message, terms: Terms, passing_over: bool) -> Result<(), SessionError> {
        match message {
            Message::Frames(_) if passing_over => {}
            Message::Frames(frames) => return self.frames(&frames, terms),
            Message::Again(place) if passing_over && place == self.follow.head => {
                self.phase = Phase::Taking {
                    terms,
                    passing_over: false,
                };
            }
            Message::BodyPart(part) => return self.body_part(part),
            Message::BodyMissing { id, missing } => {
                let name = self.wanted.asked(id).cloned().ok_or_else(|| unasked(id))?;
                let request = self.wanted.missing(Some(id), name, missing);
                self.requests.extend(request);
            }
            Message::Notice(notice) => self.announced.notice(notice),
            Message::Heartbeat(heartbeat) => {
                let now_ms = self.link.now_ms();
                self.announced.heartbeat(heartbeat, self.durable.durable(), now_ms);
            }
            Message::GoneAnswer { id, gone } => {
                if let Some((id, gone)) = self.gone.answered(id, &gone) {
                    self.requests.push_back(ReceiveRequest::GoneAnswer { id, gone });
                }
            }
            Message::Offer(offer) => return self.offered(offer),
            Message::Ask { id, json } => {
                let request = self.link.asked(id)?;
                self.requests.push_back(ReceiveRequest::Asked { request, json });
            }
            Message::Answer { id, json } => {
                if self.link.answered(id) {
                    self.requests.push_back(ReceiveRequest::Answered { id, json });
                }
            }
            Message::Ping => {}
            message => return Err(out_of_turn(&message)),
        }
        Ok(())
    }

    fn greeted(&mut self, hello: Hello) -> Result<(), SessionError> {
        if hello.group != self.group {
            return Err(SessionError::Refused(format!(
                "group {} is not {}",
                hello.group, self.group
            )));
        }
        let (head, stream, lost) = (self.follow.head, self.follow.stream, self.lost.is_some());
        resume::judge(head, stream, self.epoch, lost, &hello)?;
        let terms = Terms::of(&hello, resume::needs_base(head, stream, lost, &hello));
        self.link.say(Message::Welcome(self.welcome()));
        self.phase = Phase::Taking {
            terms,
            passing_over: false,
        };
        self.gone.ask_again();
        self.next_pending_ms = self.link.now_ms();
        self.requests.push_back(ReceiveRequest::Up(hello));
        Ok(())
    }

    fn welcome(&self) -> Welcome {
        Welcome {
            protocol: PROTOCOL,
            node: self.node.clone(),
            stream: self.follow.stream,
            epoch: self.epoch,
            head: self.follow.head,
            durable: self.durable.durable(),
            applied: self.position().applied,
            need_base: self.lost.clone().map(clipped),
        }
    }

    /// Moves on what can be, and asks for what there is room for.
    fn pump(&mut self) {
        let before = self.durable.durable();
        for settles in self.durable.advance() {
            self.announced.settle(&settles);
        }
        let durable = self.durable.durable();
        if durable != before {
            self.announced.durable(durable);
            self.requests.push_back(ReceiveRequest::Durable(durable));
        }
        self.look_further();
    }

    fn look_further(&mut self) {
        let request = self.number();
        if let Some(names) = self.wanted.next_check(request) {
            self.requests.push_back(ReceiveRequest::CheckBodies { request, names });
        }
        if self.wanted.len() >= WANTED_BODIES_MAX {
            return;
        }
        let request = self.number();
        if let Some(from) = self.durable.wants(request) {
            self.requests.push_back(ReceiveRequest::ReadOwn {
                request,
                from,
                bytes_max: READ_OWN_BYTES,
            });
        }
    }

    pub(super) fn number(&mut self) -> u64 {
        self.last_number = self.last_number.saturating_add(1);
        self.last_number
    }

    fn next_message(&mut self) -> Option<Message> {
        if let Some(small) = self.link.next() {
            return Some(small);
        }
        let Phase::Taking { terms, .. } = self.phase else {
            return None;
        };
        let position = self.position();
        // While joining, our LSNs mean nothing to the sender; and a base counts once it is on disk.
        if !terms.joining && position.journaled >= self.base && self.is_news(&position) {
            self.told = Some((position, self.link.now_ms()));
            self.taken_bytes = 0;
            return Some(Message::Position(position));
        }
        if let Some((id, question)) = self.gone.next() {
            return Some(Message::GoneAsk { id, question });
        }
        let last_number = &mut self.last_number;
        let needs = self.wanted.next_needs(|| {
            *last_number = last_number.saturating_add(1);
            *last_number
        });
        if !needs.is_empty() {
            return Some(Message::Needs(needs));
        }
        self.verdicts.pop_front().map(Message::Verdict)
    }
}

fn out_of_turn(message: &Message) -> SessionError {
    SessionError::Protocol(format!("a {} message out of turn", message.kind()))
}

pub(super) fn unasked(id: u64) -> SessionError {
    SessionError::Protocol(format!("an answer to need {id}, which is not open"))
}
