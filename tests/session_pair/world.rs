//! Two nodes, the wire between them, and one step of a schedule at a time.

use crate::primary::Primary;
use crate::random::Random;
use crate::standby::{Disk, Standby, names};
use mailshadow::codec::frame::peek;
use mailshadow::codec::wire::{self, Message};
use mailshadow::limits::WIRE_BYTES_MAX;
use mailshadow::session::{Class, ReceiveInput, SessionError, ShipInput};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// What a schedule may do beside cutting, delaying and reordering.
#[derive(Clone, Copy)]
pub(crate) struct Faults {
    pub(crate) crashes: bool,
    pub(crate) harm: bool,
    pub(crate) trim: bool,
}

/// Messages on their way in one direction: a slow peer's buffers are full soon.
const ON_THE_WAY: usize = 3;

pub(crate) struct World {
    pub(crate) random: Random,
    faults: Faults,
    now_ms: u64,
    pub(crate) primary: Primary,
    pub(crate) standby: Standby,
    down: VecDeque<Vec<u8>>,
    up: VecDeque<Vec<u8>>,
    /// What is said on a link that is cut is lost.
    linked: bool,
    /// Each side's own idea of being connected.
    primary_connected: bool,
    standby_connected: bool,
    ahead_now: BTreeSet<String>,
    next_number: u64,
    pub(crate) agains: u32,
    pub(crate) crashes: u32,
    pub(crate) ahead: u32,
    harmed: bool,
}

impl World {
    pub(crate) fn new(seed: u64, faults: Faults) -> Self {
        Self {
            random: Random(seed),
            faults,
            now_ms: 1_000,
            primary: Primary::new(),
            standby: Standby::on(Disk::default()),
            down: VecDeque::new(),
            up: VecDeque::new(),
            linked: false,
            primary_connected: false,
            standby_connected: false,
            ahead_now: BTreeSet::new(),
            next_number: 1,
            agains: 0,
            crashes: 0,
            ahead: 0,
            harmed: false,
        }
    }

    pub(crate) fn step(&mut self) {
        match self.random.below(100) {
            0..=11 => self.primary.capture(&mut self.random),
            12..=17 => self.commit(),
            18..=37 => self.carry(),
            38..=57 => self.primary_works(),
            58..=79 => self.standby_works(),
            80..=82 => self.cut(),
            83..=87 => self.connect(),
            88 => self.pass(),
            89 => {
                let lsn = self.standby.apply(&mut self.random);
                lsn.into_iter().for_each(|input| self.feed_standby(input));
            }
            90..=91 => self.say(),
            92..=93 => self.offer_or_ask(),
            94..=95 if self.faults.crashes => self.crash(),
            96 if self.faults.trim => self.trim(),
            94..=97 if self.faults.harm => self.harm(),
            _ => self.carry(),
        }
    }

    /// No more faults: everything must arrive, within a bounded number of steps.
    pub(crate) fn settle(&mut self) {
        self.harmed = true;
        for round in 0..30_000 {
            if !self.linked || !self.primary_connected || !self.standby_connected {
                self.cut();
                self.connect();
            }
            if self.primary.wants_base() {
                self.primary.capture(&mut self.random);
            }
            if self.primary.committed < self.primary.frames.len() {
                self.commit();
            }
            let idle = !self.carry_once() & !self.primary_works_once() & !self.standby_works_once();
            while let Some(input) = self.standby.apply(&mut self.random) {
                self.feed_standby(input);
            }
            if idle && self.is_settled() {
                return self.check_equal();
            }
            if idle && round % 10 == 9 {
                self.pass();
            }
        }
        panic!(
            "not settled: primary {:?}, standby {:?}",
            self.primary.place(self.primary.committed),
            self.standby.receive.position()
        );
    }

    fn is_settled(&self) -> bool {
        let head = self.primary.place(self.primary.committed).lsn;
        self.standby.disk.head().lsn == head
            && self.standby.durable == head
            && self.primary.position.durable == head
            && self.primary.position.applied == head
            && self.primary.offers_open.is_empty()
            && self.standby.gone_asked.is_empty()
    }

    fn check_equal(&self) {
        let disk = &self.standby.disk;
        let first = usize::try_from(disk.frames[0].lsn.0).unwrap() - 1;
        assert_eq!(disk.frames, self.primary.frames[first..], "both hold the same frames");
        for name in disk.frames.iter().flat_map(names) {
            if let Some(Some(octets)) = disk.bodies.get(&name) {
                let size = u64::try_from(octets.len()).unwrap();
                assert_eq!(
                    **octets,
                    crate::primary::octets_of(&name.guid, size),
                    "the octets of {name:?}"
                );
            } else if !Disk::serves(&disk.bodies, &name) {
                panic!("{name:?} is neither stored nor missing");
            } else if disk.bodies.get(&name) == Some(&None) {
                assert_eq!(
                    self.primary.bodies[&name.place], None,
                    "{name:?} is there and called missing"
                );
            }
        }
    }

    fn commit(&mut self) {
        let input = self.primary.commit();
        self.feed_primary(input);
    }

    fn pass(&mut self) {
        self.now_ms += u64::try_from(self.random.below(6_000)).unwrap();
        self.feed_primary(ShipInput::Tick);
        self.feed_standby(ReceiveInput::Tick);
    }

    fn say(&mut self) {
        let notice = self.primary.notice(&mut self.random);
        self.feed_primary(ShipInput::Notice(notice));
        let heartbeat = self.primary.heartbeat(self.now_ms);
        self.feed_primary(ShipInput::Heartbeat(heartbeat));
    }

    fn offer_or_ask(&mut self) {
        self.next_number += 1;
        if self.random.once_in(2) {
            let offer = self.primary.offer(&mut self.random, self.next_number);
            self.feed_primary(offer);
        } else {
            let ask = self.standby.ask_gone(self.next_number);
            self.feed_standby(ask);
        }
    }

    fn crash(&mut self) {
        self.crashes += 1;
        if self.random.once_in(2) {
            self.primary.crash();
            self.primary_connected = false;
        } else {
            self.standby.crash(&mut self.random);
            self.standby_connected = false;
        }
        self.cut();
    }

    /// The operator bounds the journal: a peer that is behind is left behind.
    fn trim(&mut self) {
        self.primary.oldest += self.random.below(self.primary.committed + 2 - self.primary.oldest);
    }

    /// The link is gone; each side hears of it, or is surprised by the next connection.
    fn cut(&mut self) {
        self.down.clear();
        self.up.clear();
        self.linked = false;
        if self.primary_connected && !self.random.once_in(3) {
            self.primary_connected = false;
            self.linked = false;
            self.feed_primary(ShipInput::Lost);
        }
        if self.standby_connected && !self.random.once_in(3) {
            self.standby_connected = false;
            self.feed_standby(ReceiveInput::Lost);
        }
    }

    fn connect(&mut self) {
        if self.linked && self.primary_connected && self.standby_connected && !self.random.once_in(10) {
            return;
        }
        self.down.clear();
        self.up.clear();
        self.ahead_now.clear();
        (self.primary_connected, self.standby_connected, self.linked) = (true, true, true);
        self.feed_standby(ReceiveInput::Connected);
        let standing = self.primary.standing();
        self.feed_primary(ShipInput::Connected(standing));
    }

    fn carry(&mut self) {
        self.carry_once();
    }

    /// Puts a message on the wire or takes one off it.
    fn carry_once(&mut self) -> bool {
        let first = self.random.below(4);
        (0..4).any(|n| match (first + n) % 4 {
            0 => self.send_down(),
            1 => self.send_up(),
            2 => self.deliver_down(),
            _ => self.deliver_up(),
        })
    }

    fn send_down(&mut self) -> bool {
        if !self.primary_connected || self.down.len() >= ON_THE_WAY {
            return false;
        }
        let Some(message) = self.primary.ship.message() else {
            return false;
        };
        self.primary.drain();
        self.check_sent(&message);
        if self.linked {
            self.down.push_back(message.encode().unwrap());
        }
        true
    }

    /// Guarantee 2: only what is durable here is shipped. And nothing goes ahead twice.
    fn check_sent(&mut self, message: &Message) {
        match message {
            Message::Frames(frames) => {
                for frame in frames {
                    let (header, _) = peek(frame).unwrap();
                    let index = usize::try_from(header.lsn.0).unwrap() - 1;
                    assert!(
                        index < self.primary.committed,
                        "a frame was shipped that is not durable"
                    );
                    assert_eq!(self.primary.frames[index].bytes, *frame);
                }
            }
            Message::BodyPart(part) => {
                if let Some(name) = &part.name {
                    self.ahead += 1;
                    assert!(self.ahead_now.insert(name.guid.0.clone()), "a body went ahead twice");
                }
            }
            _ => {}
        }
    }

    fn send_up(&mut self) -> bool {
        if !self.standby_connected || self.up.len() >= ON_THE_WAY {
            return false;
        }
        let Some(message) = self.standby.receive.message() else {
            return false;
        };
        match &message {
            Message::Position(position) => {
                self.standby.check_durable(position.durable);
                self.standby.disk.upto(position.journaled);
                assert!(
                    position.applied <= self.standby.disk.applied,
                    "applied is what the target says"
                );
            }
            Message::Again(_) => self.agains += 1,
            _ => {}
        }
        if self.linked {
            self.up.push_back(message.encode().unwrap());
        }
        true
    }

    fn deliver_down(&mut self) -> bool {
        if self.standby.receive.is_full() {
            return false;
        }
        let Some(bytes) = self.down.pop_front() else {
            return false;
        };
        self.feed_standby(ReceiveInput::Received(decoded(&bytes)));
        true
    }

    fn deliver_up(&mut self) -> bool {
        let Some(bytes) = self.up.pop_front() else {
            return false;
        };
        self.feed_primary(ShipInput::Received(decoded(&bytes)));
        true
    }

    /// One bit of a frame on its way changes; once, for the second time is the last.
    fn harm(&mut self) {
        if std::mem::replace(&mut self.harmed, true) {
            return;
        }
        let mut harmed = false;
        for bytes in &mut self.down {
            if let Message::Frames(mut frames) = decoded(bytes) {
                let chosen = self.random.below(frames.len());
                let mut frame = frames[chosen].to_vec();
                // The payload, so that it is the checksum that finds it.
                let at = frame.len() - 1 - self.random.below(frame.len() / 2);
                frame[at] ^= 1 << self.random.below(8);
                frames[chosen] = Arc::from(frame);
                *bytes = Message::Frames(frames).encode().unwrap();
                harmed = true;
                break;
            }
        }
        self.harmed = harmed;
    }

    fn primary_works(&mut self) {
        self.primary_works_once();
    }

    fn primary_works_once(&mut self) -> bool {
        let input = self.primary.work(&mut self.random);
        let worked = input.is_some();
        input.into_iter().for_each(|input| self.feed_primary(input));
        worked
    }

    fn standby_works(&mut self) {
        self.standby_works_once();
    }

    fn standby_works_once(&mut self) -> bool {
        let input = self.standby.work(&mut self.random);
        let worked = input.is_some();
        input.into_iter().for_each(|input| self.feed_standby(input));
        worked
    }

    pub(crate) fn feed_primary(&mut self, input: ShipInput) {
        let result = self.primary.ship.handle(self.now_ms, input);
        self.primary.drain();
        if let Err(error) = result {
            self.expected(&error);
            self.primary_connected = false;
            self.linked = false;
            self.feed_primary(ShipInput::Lost);
        }
    }

    pub(crate) fn feed_standby(&mut self, input: ReceiveInput) {
        let result = self.standby.receive.handle(self.now_ms, input);
        self.standby.drain();
        if let Err(error) = result {
            self.expected(&error);
            self.standby_connected = false;
            self.linked = false;
            self.feed_standby(ReceiveInput::Lost);
        }
    }

    /// Nothing that a schedule does may halt or diverge a pair, and no side may find the other breaking the protocol.
    fn expected(&self, error: &SessionError) {
        let broken_base = self.faults.harm && self.faults.trim;
        let protocol = matches!(error, SessionError::Protocol(_) | SessionError::Wire(_));
        assert!(error.class() == Class::Retry && (broken_base || !protocol), "{error}");
    }
}

fn decoded(bytes: &[u8]) -> Message {
    assert!(bytes.len() <= WIRE_BYTES_MAX + 4);
    let (message, used) = wire::take(bytes).unwrap().unwrap();
    assert_eq!(used, bytes.len());
    message
}
