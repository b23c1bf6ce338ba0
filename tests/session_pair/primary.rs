//! The primary's node as the sending machine sees it: a journal with a committed head, a source with bodies.

use crate::random::Random;
use mailshadow::codec::frame::{EncodedFrame, seal};
use mailshadow::op::{
    Append, BaseStart, BodyName, BodyPlace, Epoch, EpochStart, Flags, FrameHeader, Guid, Heartbeat, Lineage, Lsn,
    MailboxId, MailboxTxn, MessageGuid, Missing, Modseq, NodeName, Notice, Op, Payload, Run, SourcePosition,
    StateChunk, StreamId, Uid, UidRange, UidValidity,
};
use mailshadow::session::{Place, Position, Ship, ShipInput, ShipRequest, ShipStart, Standing};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub(crate) const STREAM: StreamId = StreamId([5; 16]);
const CAPTURED_MS: u64 = 1_764_000_000_000;

pub(crate) struct Primary {
    pub(crate) ship: Ship,
    /// Everything in the journal from LSN 1 on; below `oldest` it is trimmed, above `committed` not on disk.
    pub(crate) frames: Vec<EncodedFrame>,
    pub(crate) payloads: Vec<(FrameHeader, Payload)>,
    pub(crate) committed: usize,
    pub(crate) oldest: usize,
    /// Place → octets, none where the source lost it.
    pub(crate) bodies: BTreeMap<BodyPlace, Option<Vec<u8>>>,
    guids: Vec<(MessageGuid, u64)>,
    next_uid: u32,
    notices: u64,
    pub(crate) requests: VecDeque<ShipRequest>,
    pub(crate) position: Position,
    base_wanted: bool,
    pub(crate) runs: u32,
    pub(crate) offers_open: BTreeSet<u64>,
    pub(crate) offers_done: u32,
}

pub(crate) fn start() -> ShipStart {
    ShipStart {
        group: "main".to_owned(),
        node: "a".into(),
        peer: "b".into(),
        bulk_bytes_per_second: None,
    }
}

pub(crate) fn octets_of(guid: &MessageGuid, size: u64) -> Vec<u8> {
    let seed = blake3::hash(guid.0.as_bytes());
    let size = usize::try_from(size).unwrap();
    let mut octets = seed.as_bytes().repeat(size / 32 + 1);
    octets.truncate(size);
    octets
}

fn first_mailbox() -> MailboxId {
    MailboxId {
        user: "u".into(),
        guid: Guid([0; 16]),
    }
}

impl Primary {
    pub(crate) fn new() -> Self {
        let mut primary = Self {
            ship: Ship::new(start()),
            frames: Vec::new(),
            payloads: Vec::new(),
            committed: 0,
            oldest: 1,
            bodies: BTreeMap::new(),
            guids: Vec::new(),
            next_uid: 1,
            notices: 0,
            requests: VecDeque::new(),
            position: Position::default(),
            base_wanted: false,
            runs: 0,
            offers_open: BTreeSet::new(),
            offers_done: 0,
        };
        let epoch = EpochStart {
            epoch: Epoch(1),
            node: "a".into(),
            previous: Epoch(0),
            fork_lsn: Lsn(0),
            fork_hash: Default::default(),
            leap: None,
        };
        primary.seal(vec![Payload::Epoch(epoch)], None);
        primary.committed = 1;
        primary
    }

    pub(crate) fn place(&self, count: usize) -> Place {
        match count.checked_sub(1) {
            Some(last) => Place {
                lsn: self.frames[last].lsn,
                chain: self.frames[last].chain,
            },
            None => Place::default(),
        }
    }

    pub(crate) fn standing(&self) -> Standing {
        Standing {
            stream: STREAM,
            epoch: Epoch(1),
            head: self.place(self.committed),
            oldest: Lsn(u64::try_from(self.oldest).unwrap()),
            rebuilt: false,
        }
    }

    /// Seals payloads as one frame or one run.
    pub(crate) fn seal(&mut self, payloads: Vec<Payload>, peer: Option<NodeName>) {
        let parts = u32::try_from(payloads.len()).unwrap();
        let first = self.place(self.frames.len()).lsn.next();
        self.runs += u32::from(parts > 1);
        for (part, payload) in (0..).zip(payloads) {
            let before = self.place(self.frames.len());
            let header = FrameHeader {
                stream: STREAM,
                epoch: Epoch(1),
                lsn: before.lsn.next(),
                previous: before.chain,
                captured_ms: CAPTURED_MS,
                run: (parts > 1).then_some(Run { first, part, parts }),
                peer: peer.clone(),
            };
            self.frames.push(seal(&header, &payload).unwrap());
            self.payloads.push((header, payload));
        }
    }

    pub(crate) fn mailbox(random: &mut Random) -> MailboxId {
        MailboxId {
            user: "u".into(),
            guid: Guid([u8::try_from(random.below(3)).unwrap(); 16]),
        }
    }

    /// A new message, a copy of an old one, or one whose GUID is not known.
    fn append(&mut self, random: &mut Random, mailbox: &MailboxId) -> Append {
        let uid = Uid(self.next_uid);
        self.next_uid += 1;
        let (guid, size) = if random.once_in(4) && !self.guids.is_empty() {
            self.guids[random.below(self.guids.len())].clone()
        } else {
            let made = if random.once_in(3) {
                1_700_000_000
            } else {
                CAPTURED_MS / 1000
            };
            let size = if random.once_in(40) {
                300_000
            } else {
                u64::try_from(random.below(50)).unwrap()
            };
            (MessageGuid(format!("{made}.{}", uid.0)), size)
        };
        self.guids.push((guid.clone(), size));
        let place = BodyPlace {
            mailbox: mailbox.clone(),
            uidvalidity: UidValidity(1),
            uid,
        };
        let octets = (!random.once_in(15)).then(|| octets_of(&guid, size));
        self.bodies.insert(place, octets);
        Append {
            uid,
            guid,
            size: (!random.once_in(3)).then_some(size),
            internal_date: 0,
            save_date: None,
            flags: Flags::NONE,
            keywords: Vec::new(),
            modseq: Modseq(1),
        }
    }

    fn txn(&mut self, random: &mut Random) -> Payload {
        let mailbox = Self::mailbox(random);
        let ops = (0..random.below(4))
            .map(|_| Op::Append(self.append(random, &mailbox)))
            .collect();
        Payload::Mailbox(MailboxTxn {
            mailbox,
            uidvalidity: UidValidity(1),
            ops,
            uidnext: Uid(self.next_uid),
            highest_modseq: Modseq(1),
            position: self.source_position(),
        })
    }

    fn source_position(&self) -> SourcePosition {
        SourcePosition {
            index_id: 1,
            file_seq: 1,
            offset: u64::from(self.next_uid) * 1000 + u64::try_from(self.frames.len()).unwrap(),
            ..SourcePosition::default()
        }
    }

    fn state(&mut self, random: &mut Random, parts: usize) -> Vec<Payload> {
        let mailbox = Self::mailbox(random);
        let mut chunks = Vec::new();
        for _ in 0..parts {
            let messages = (0..random.below(4)).map(|_| self.append(random, &mailbox)).collect();
            chunks.push(Payload::State(StateChunk {
                mailbox: mailbox.clone(),
                uidvalidity: UidValidity(1),
                lineage: Lineage::Initial,
                messages,
                uidnext: Uid(self.next_uid),
                highest_modseq: Modseq(1),
                position: self.source_position(),
            }));
        }
        chunks
    }

    /// Capture read something. It goes into the journal, and is on disk only after [`Self::commit`].
    pub(crate) fn capture(&mut self, random: &mut Random) {
        if std::mem::take(&mut self.base_wanted) {
            return self.base(random);
        }
        match random.below(6) {
            0 => {
                let parts = 2 + random.below(3);
                let state = self.state(random, parts);
                self.seal(state, None);
            }
            1 => {
                let run = vec![self.txn(random), self.txn(random)];
                self.seal(run, None);
            }
            2 => {
                let state = self.state(random, 1);
                self.seal(state, Some("somebody-else".into()));
            }
            _ => {
                let txn = self.txn(random);
                self.seal(vec![txn], None);
            }
        }
    }

    fn base(&mut self, random: &mut Random) {
        let lsn = self.place(self.frames.len()).lsn.next();
        let peer = Some(NodeName::from("b"));
        let start = BaseStart {
            reason: "asked".to_owned(),
        };
        self.seal(vec![Payload::Base(start)], peer.clone());
        let state = self.state(random, 2);
        self.seal(state, peer.clone());
        self.seal(vec![Payload::BaseEnd(lsn)], peer);
    }

    pub(crate) fn notice(&mut self, random: &mut Random) -> Notice {
        self.notices += 1;
        Notice {
            number: self.notices,
            mailbox: Self::mailbox(random),
            uidvalidity: UidValidity(1),
            appended: vec![UidRange::one(Uid(self.next_uid))],
            changed: Vec::new(),
            expunged: Vec::new(),
            messages: Vec::new(),
            position: self.source_position(),
        }
    }

    pub(crate) fn heartbeat(&self, now_ms: u64) -> Heartbeat {
        Heartbeat {
            source_ms: now_ms,
            captured: self.place(self.committed).lsn,
        }
    }

    pub(crate) fn offer(&mut self, random: &mut Random, ticket: u64) -> ShipInput {
        let mailbox = Self::mailbox(random);
        let messages = (0..random.below(4)).map(|_| self.append(random, &mailbox));
        let messages = messages.map(|append| (append.uid, append.guid, append.size)).collect();
        self.offers_open.insert(ticket);
        ShipInput::Offer {
            ticket,
            mailbox,
            uidvalidity: UidValidity(1),
            messages,
        }
    }

    /// A message in the first mailbox, made at this time (UNIX seconds).
    fn message(&mut self, made: u64, size: u64) -> (Uid, MessageGuid, u64) {
        let uid = Uid(self.next_uid);
        self.next_uid += 1;
        let guid = MessageGuid(format!("{made}.{}", uid.0));
        let place = BodyPlace {
            mailbox: first_mailbox(),
            uidvalidity: UidValidity(1),
            uid,
        };
        self.bodies.insert(place, Some(octets_of(&guid, size)));
        (uid, guid, size)
    }

    /// Messages that have been here for long.
    pub(crate) fn stored_mail(&mut self, count: usize, size: u64) -> Vec<(Uid, MessageGuid, Option<u64>)> {
        let messages = (0..count).map(|_| self.message(1_700_000_000, size));
        messages.map(|(uid, guid, size)| (uid, guid, Some(size))).collect()
    }

    pub(crate) fn offer_of(&mut self, ticket: u64, messages: Vec<(Uid, MessageGuid, Option<u64>)>) -> ShipInput {
        self.offers_open.insert(ticket);
        ShipInput::Offer {
            ticket,
            mailbox: first_mailbox(),
            uidvalidity: UidValidity(1),
            messages,
        }
    }

    /// A new message arrives, is captured and durable here.
    pub(crate) fn deliver(&mut self, size: u64) -> ShipInput {
        let (uid, guid, size) = self.message(CAPTURED_MS / 1000, size);
        let append = Append {
            uid,
            guid,
            size: Some(size),
            internal_date: 0,
            save_date: None,
            flags: Flags::NONE,
            keywords: Vec::new(),
            modseq: Modseq(1),
        };
        let txn = MailboxTxn {
            mailbox: first_mailbox(),
            uidvalidity: UidValidity(1),
            ops: vec![Op::Append(append)],
            uidnext: Uid(self.next_uid),
            highest_modseq: Modseq(1),
            position: self.source_position(),
        };
        self.seal(vec![Payload::Mailbox(txn)], None);
        self.commit()
    }

    /// Everything captured is on disk.
    pub(crate) fn commit(&mut self) -> ShipInput {
        self.committed = self.frames.len();
        ShipInput::Committed(self.place(self.committed))
    }

    /// Forgets what was not fsynced. Capture reads it again, and makes other frames of it.
    pub(crate) fn crash(&mut self) {
        self.frames.truncate(self.committed);
        self.payloads.truncate(self.committed);
        self.requests.clear();
        self.offers_open.clear();
        self.base_wanted = false;
        self.ship = Ship::new(start());
    }

    /// Takes news, keeps what is to be done.
    pub(crate) fn drain(&mut self) {
        while let Some(request) = self.ship.request() {
            match request {
                ShipRequest::Position(position) => self.position = position,
                ShipRequest::OfferDone { ticket, done } => {
                    assert!(self.offers_open.remove(&ticket), "an offer is answered once");
                    self.offers_done += u32::from(done);
                }
                ShipRequest::Base { .. } => self.base_wanted = true,
                ShipRequest::Up(_)
                | ShipRequest::Asked { .. }
                | ShipRequest::Answered { .. }
                | ShipRequest::Unanswered { .. }
                | ShipRequest::Verdict(_) => {}
                work => self.requests.push_back(work),
            }
        }
    }

    pub(crate) fn wants_base(&self) -> bool {
        self.base_wanted
    }

    /// Does one of the requests, whichever.
    pub(crate) fn work(&mut self, random: &mut Random) -> Option<ShipInput> {
        if self.requests.is_empty() {
            return None;
        }
        let request = self.requests.remove(random.below(self.requests.len()))?;
        Some(match request {
            ShipRequest::ChainAt { lsn } => {
                let index = usize::try_from(lsn.0).unwrap();
                assert!(index <= self.committed);
                let chain = (index + 1 >= self.oldest).then(|| self.place(index).chain);
                ShipInput::ChainAt { lsn, chain }
            }
            ShipRequest::ReadFrames { request, from, .. } => {
                let from = usize::try_from(from.0).unwrap();
                assert!(from <= self.committed, "only what is durable is read");
                if from < self.oldest {
                    return Some(ShipInput::FramesGone { request });
                }
                let many = 1 + random.below((self.committed - from + 1).min(7));
                let frames = self.frames[from - 1..from - 1 + many].to_vec();
                ShipInput::Frames { request, frames }
            }
            ShipRequest::ReadBody {
                request,
                name,
                other_places,
            } => {
                let answer = self.read(&name, &other_places);
                ShipInput::Body { request, answer }
            }
            ShipRequest::Gone { request, question } => {
                let gone = question.messages.iter().map(|(uid, _)| *uid).collect();
                ShipInput::Gone { request, gone }
            }
            other => panic!("no work: {other:?}"),
        })
    }

    fn read(&self, name: &BodyName, other_places: &[BodyPlace]) -> Result<Vec<u8>, Missing> {
        let mut places = std::iter::once(&name.place).chain(other_places);
        let found = places.find_map(|place| self.bodies.get(place).cloned().flatten());
        found.ok_or_else(|| Missing {
            gone: true,
            file: String::new(),
            offset: 0,
            why: "expunged".to_owned(),
        })
    }
}
