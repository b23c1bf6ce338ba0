//! Both machines over a link with a rate and a delay, in virtual time: a long link stays full during a copy, what is live is
//! not stuck behind what is stored, and a cut costs no more than what was on its way.

use crate::primary::{self, Primary};
use crate::random::Random;
use crate::standby::{Disk, Standby};
use mailshadow::codec::wire::{Message, take};
use mailshadow::limits::{DEAD_AFTER_MS, OFFERS_AHEAD_BYTES, OUTBOX_BYTES, PEER_UNSENT_BYTES};
use mailshadow::op::{MessageGuid, Uid};
use mailshadow::session::{ReceiveInput, SessionError, Ship, ShipInput, ShipStart};
use std::collections::{BTreeMap, VecDeque};

/// 20 Mbit/s.
const BYTES_PER_MS: usize = 2_500;
/// One way: 100 ms there and back.
const DELAY_MS: u64 = 50;
const OFFERED_AT_ONCE: usize = 200;

struct Link {
    now_ms: u64,
    random: Random,
    primary: Primary,
    standby: Standby,
    /// Encoded and not on the link yet: the outbox and what waits unsent in the kernel.
    unsent: VecDeque<Vec<u8>>,
    unsent_bytes: usize,
    /// Bytes that the link could have carried by now.
    allowance: usize,
    down: VecDeque<(u64, Vec<u8>)>,
    up: VecDeque<(u64, Vec<u8>)>,
    body_bytes_sent: usize,
    offers: BTreeMap<u64, u64>,
    offered: Vec<Vec<(Uid, MessageGuid, Option<u64>)>>,
    next_ticket: u64,
}

impl Link {
    fn new(bulk_bytes_per_second: Option<u64>) -> Self {
        let mut primary = Primary::new();
        primary.ship = Ship::new(ShipStart {
            bulk_bytes_per_second,
            ..primary::start()
        });
        let mut link = Self {
            now_ms: 1_000,
            random: Random(7),
            primary,
            standby: Standby::on(Disk::default()),
            unsent: VecDeque::new(),
            unsent_bytes: 0,
            allowance: 0,
            down: VecDeque::new(),
            up: VecDeque::new(),
            body_bytes_sent: 0,
            offers: BTreeMap::new(),
            offered: Vec::new(),
            next_ticket: 0,
        };
        link.connect();
        link
    }

    fn connect(&mut self) {
        self.standby_hears(ReceiveInput::Connected);
        let standing = self.primary.standing();
        self.primary_hears(ShipInput::Connected(standing));
    }

    fn cut(&mut self) {
        self.unsent.clear();
        self.unsent_bytes = 0;
        self.down.clear();
        self.up.clear();
        self.primary_hears(ShipInput::Lost);
        self.standby_hears(ReceiveInput::Lost);
    }

    fn primary_hears(&mut self, input: ShipInput) {
        self.primary.ship.handle(self.now_ms, input).unwrap();
        self.primary.drain();
        while let Some(input) = self.primary.work(&mut self.random) {
            self.primary.ship.handle(self.now_ms, input).unwrap();
            self.primary.drain();
        }
    }

    fn standby_hears(&mut self, input: ReceiveInput) {
        self.standby.receive.handle(self.now_ms, input).unwrap();
        self.standby.drain();
        while let Some(input) = self.standby.work(&mut self.random) {
            self.standby.receive.handle(self.now_ms, input).unwrap();
            self.standby.drain();
        }
        while let Some(input) = self.standby.apply(&mut self.random) {
            self.standby.receive.handle(self.now_ms, input).unwrap();
            self.standby.drain();
        }
    }

    /// One millisecond.
    fn pass(&mut self) {
        self.now_ms += 1;
        if self.now_ms.is_multiple_of(10) {
            // As often as a driver that wakes when it is told to.
            self.primary_hears(ShipInput::Tick);
            self.standby_hears(ReceiveInput::Tick);
        }
        self.carry_down();
        while let Some(message) = self.standby.receive.message() {
            self.up.push_back((self.now_ms + DELAY_MS, message.encode().unwrap()));
        }
        while self.down.front().is_some_and(|(at_ms, _)| *at_ms <= self.now_ms) {
            let (_, bytes) = self.down.pop_front().unwrap();
            self.standby_hears(ReceiveInput::Received(take(&bytes).unwrap().unwrap().0));
        }
        while self.up.front().is_some_and(|(at_ms, _)| *at_ms <= self.now_ms) {
            let (_, bytes) = self.up.pop_front().unwrap();
            self.primary_hears(ShipInput::Received(take(&bytes).unwrap().unwrap().0));
        }
    }

    fn carry_down(&mut self) {
        let room = OUTBOX_BYTES + usize::try_from(PEER_UNSENT_BYTES).unwrap();
        while self.unsent_bytes < room {
            let Some(message) = self.primary.ship.message() else {
                break;
            };
            if let Message::BodyPart(part) = &message {
                self.body_bytes_sent += part.octets.len();
            }
            self.primary.drain();
            while let Some(input) = self.primary.work(&mut self.random) {
                self.primary_hears(input);
            }
            let bytes = message.encode().unwrap();
            self.unsent_bytes += bytes.len();
            self.unsent.push_back(bytes);
        }
        self.allowance = if self.unsent.is_empty() {
            0
        } else {
            self.allowance + BYTES_PER_MS
        };
        while self.unsent.front().is_some_and(|bytes| bytes.len() <= self.allowance) {
            let bytes = self.unsent.pop_front().unwrap();
            self.allowance -= bytes.len();
            self.unsent_bytes -= bytes.len();
            self.down.push_back((self.now_ms + DELAY_MS, bytes));
        }
    }

    /// Offers stored mail as the node does: as much at a time as keeps the link full. False: enough is on its way.
    fn offer_where_there_is_room(&mut self, size: u64) -> bool {
        self.offers
            .retain(|ticket, _| self.primary.offers_open.contains(ticket));
        if self.offers.values().sum::<u64>() >= OFFERS_AHEAD_BYTES {
            return false;
        }
        self.next_ticket += 1;
        self.offers
            .insert(self.next_ticket, size * u64::try_from(OFFERED_AT_ONCE).unwrap());
        let messages = self.primary.stored_mail(OFFERED_AT_ONCE, size);
        self.offered.push(messages.clone());
        let offer = self.primary.offer_of(self.next_ticket, messages);
        self.primary_hears(offer);
        true
    }

    /// Offers everything once more, as the list that is made after a cut names it.
    fn offer_again(&mut self) {
        for messages in self.offered.clone() {
            self.next_ticket += 1;
            let offer = self.primary.offer_of(self.next_ticket, messages);
            self.primary_hears(offer);
        }
    }

    fn wait_until_up(&mut self) {
        while !self.primary.ship.is_up() {
            self.pass();
        }
    }

    fn stored(&self) -> usize {
        self.standby.disk.bodies.len()
    }

    /// Copies so many chunks of stored mail; the milliseconds that it took.
    fn copy(&mut self, chunks: usize, size: u64, mut meanwhile: impl FnMut(&mut Self)) -> u64 {
        let (began, before, mut offered) = (self.now_ms, self.stored(), 0);
        while offered < chunks || !self.primary.offers_open.is_empty() {
            if offered < chunks && self.primary.ship.is_up() && self.offer_where_there_is_room(size) {
                offered += 1;
            }
            self.pass();
            meanwhile(self);
            assert!(
                self.now_ms - began < 600_000,
                "{} of {chunks} chunks",
                self.stored() - before
            );
        }
        self.now_ms - began
    }

    /// Milliseconds until what is delivered now is decided on the standby.
    fn deliver(&mut self) -> u64 {
        let began = self.now_ms;
        let committed = self.primary.deliver(4_000);
        self.primary_hears(committed);
        let lsn = self.primary.place(self.primary.committed).lsn;
        while self.standby.disk.applied < lsn {
            self.pass();
        }
        self.now_ms - began
    }
}

#[test]
fn a_long_link_stays_full_while_stored_mail_is_copied() {
    for (chunks, size) in [(10, 8_000), (20, 4_000), (2, 100_000)] {
        let mut link = Link::new(None);
        let took_ms = link.copy(chunks, size, |_| {});
        let bytes = chunks * OFFERED_AT_ONCE * usize::try_from(size).unwrap();
        assert_eq!(link.stored(), chunks * OFFERED_AT_ONCE);
        let carried = bytes * 100 / (BYTES_PER_MS * usize::try_from(took_ms).unwrap());
        assert!(carried >= 85, "{carried} % of the link carried {size} bytes each");
    }
}

#[test]
fn new_mail_is_not_stuck_behind_stored_mail() {
    let mut link = Link::new(None);
    let mut latencies = Vec::new();
    link.copy(6, 8_000, |link| {
        if link.primary.ship.is_up() && link.now_ms.is_multiple_of(500) {
            latencies.push(link.deliver());
        }
    });
    assert!(latencies.len() >= 5, "{latencies:?}");
    assert!(latencies.iter().all(|ms| *ms <= 200), "{latencies:?}");
}

#[test]
fn new_mail_overtakes_a_huge_body_that_is_on_its_way() {
    let mut link = Link::new(None);
    link.wait_until_up();
    let huge = link.primary.stored_mail(1, 20_000_000);
    let offer = link.primary.offer_of(1, huge);
    link.primary_hears(offer);
    for _ in 0..1_000 {
        link.pass();
    }
    assert_eq!(link.stored(), 0, "it takes 8 s");
    assert!(link.deliver() <= 200);
}

#[test]
fn a_cut_costs_what_was_on_its_way_and_nothing_that_is_on_disk() {
    let mut link = Link::new(None);
    let (chunks, cuts) = (8, [400, 900, 1_300, 2_000, 2_050, 3_100]);
    for at_ms in cuts {
        while link.now_ms < 1_000 + at_ms {
            if link.primary.ship.is_up() && link.offered.len() < chunks {
                link.offer_where_there_is_room(8_000);
            }
            link.pass();
        }
        link.cut();
        link.connect();
    }
    link.wait_until_up();
    while link.offered.len() < chunks {
        link.offer_where_there_is_room(8_000);
        link.pass();
    }
    link.offer_again();
    while !link.primary.offers_open.is_empty() {
        link.pass();
        assert!(link.now_ms < 60_000, "{} stored", link.stored());
    }
    assert_eq!(link.stored(), chunks * OFFERED_AT_ONCE);
    let total = chunks * OFFERED_AT_ONCE * 8_000;
    let on_its_way = OUTBOX_BYTES + usize::try_from(PEER_UNSENT_BYTES).unwrap() + 3 * 50 * BYTES_PER_MS;
    let most = total + cuts.len() * on_its_way;
    assert!(link.body_bytes_sent <= most, "{} of {total}", link.body_bytes_sent);
}

#[test]
fn stored_mail_keeps_to_its_rate_and_new_mail_does_not_wait_for_it() {
    let mut link = Link::new(Some(400_000));
    let mut latencies = Vec::new();
    let took_ms = link.copy(2, 8_000, |link| {
        if link.primary.ship.is_up() && link.now_ms.is_multiple_of(700) {
            latencies.push(link.deliver());
        }
    });
    let bytes = 2 * 200 * 8_000;
    assert!(
        took_ms >= bytes * 1_000 / 400_000 * 95 / 100,
        "{took_ms} ms for {bytes} bytes"
    );
    assert!(
        took_ms <= bytes * 1_000 / 400_000 * 120 / 100,
        "{took_ms} ms for {bytes} bytes"
    );
    assert!(
        latencies.len() > 5 && latencies.iter().all(|ms| *ms <= 150),
        "{latencies:?}"
    );
}

#[test]
fn a_half_open_connection_is_found_on_both_sides() {
    let mut link = Link::new(None);
    link.wait_until_up();
    let silent_since = link.now_ms;
    let (mut primary, mut standby) = (None, None);
    while primary.is_none() || standby.is_none() {
        link.now_ms += 100;
        let (now_ms, since_ms) = (link.now_ms, link.now_ms - silent_since);
        primary = primary.or(link
            .primary
            .ship
            .handle(now_ms, ShipInput::Tick)
            .err()
            .map(|e| (since_ms, e)));
        standby = standby.or(link
            .standby
            .receive
            .handle(now_ms, ReceiveInput::Tick)
            .err()
            .map(|e| (since_ms, e)));
        assert!(since_ms <= DEAD_AFTER_MS + 1_000);
    }
    assert!(matches!(primary, Some((_, SessionError::Silent))) && matches!(standby, Some((_, SessionError::Silent))));
}
