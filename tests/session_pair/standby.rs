//! The standby's node as the receiving machine sees it: a journal and a body store that lose what was not fsynced.

use crate::primary::STREAM;
use crate::random::Random;
use mailshadow::codec::frame::{EncodedFrame, open};
use mailshadow::op::{
    BodyName, Epoch, GoneQuestion, Guid, Lsn, MailboxId, MessageGuid, Op, Payload, StreamId, Uid, UidValidity,
};
use mailshadow::session::{Counts, Place, Receive, ReceiveInput, ReceiveRequest, ReceiveStart};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// What is in memory, and what is on disk.
#[derive(Clone, Default)]
pub(crate) struct Disk {
    pub(crate) frames: Vec<EncodedFrame>,
    /// Frames on disk, whole transactions.
    pub(crate) committed: usize,
    /// None: durably missing.
    pub(crate) bodies: BTreeMap<BodyName, Option<Arc<[u8]>>>,
    pub(crate) applied: Lsn,
}

impl Disk {
    pub(crate) fn place(&self, count: usize) -> Place {
        match count.checked_sub(1).map(|last| &self.frames[last]) {
            Some(frame) => Place {
                lsn: frame.lsn,
                chain: frame.chain,
            },
            None => Place::default(),
        }
    }

    pub(crate) fn head(&self) -> Place {
        self.place(self.committed)
    }

    fn oldest(&self) -> Lsn {
        self.frames.first().map_or(Lsn(1), |frame| frame.lsn)
    }

    /// Frames up to `lsn`, all of them on disk.
    pub(crate) fn upto(&self, lsn: Lsn) -> &[EncodedFrame] {
        let many = self.frames.iter().take_while(|frame| frame.lsn <= lsn).count();
        assert!(many <= self.committed, "LSN {lsn} is not on disk");
        &self.frames[..many]
    }

    /// A body serves another append of the same user where GUID and size are known and equal.
    pub(crate) fn serves(bodies: &BTreeMap<BodyName, Option<Arc<[u8]>>>, name: &BodyName) -> bool {
        let alike = |other: &BodyName| name.size.is_some() && other.guid == name.guid && other.size == name.size;
        bodies.contains_key(name) || bodies.iter().any(|(other, octets)| octets.is_some() && alike(other))
    }
}

pub(crate) struct Standby {
    pub(crate) receive: Receive,
    pub(crate) disk: Disk,
    pub(crate) requests: VecDeque<ReceiveRequest>,
    pub(crate) durable: Lsn,
    /// Frames up to here were found durable by the checker.
    checked: Lsn,
    pub(crate) joined: u32,
    pub(crate) gone_asked: BTreeSet<u64>,
    pub(crate) gone_answers: u32,
}

fn start(disk: &Disk) -> ReceiveStart {
    ReceiveStart {
        group: "main".to_owned(),
        node: "b".into(),
        stream: if disk.committed == 0 {
            StreamId::default()
        } else {
            STREAM
        },
        epoch: Epoch(u64::from(disk.committed != 0)),
        head: disk.head(),
        oldest: disk.oldest(),
        applied: disk.applied,
        shown: disk.applied,
        lost: None,
    }
}

/// The bodies that a frame names for this standby; written apart from the code under test.
pub(crate) fn names(frame: &EncodedFrame) -> Vec<BodyName> {
    let (header, _, payload) = open(&frame.bytes).unwrap();
    if header.peer.is_some_and(|peer| peer.as_str() != "b") {
        return Vec::new();
    }
    let (mailbox, appends) = match payload {
        Payload::Mailbox(txn) => {
            let appends = txn.ops.into_iter().filter_map(|op| match op {
                Op::Append(append) => Some(append),
                _ => None,
            });
            (txn.mailbox, appends.collect())
        }
        Payload::State(chunk) => (chunk.mailbox, chunk.messages),
        _ => return Vec::new(),
    };
    let name = |append: mailshadow::op::Append| BodyName {
        place: mailshadow::op::BodyPlace {
            mailbox: mailbox.clone(),
            uidvalidity: UidValidity(1),
            uid: append.uid,
        },
        guid: append.guid,
        size: append.size,
    };
    appends.into_iter().map(name).collect()
}

impl Standby {
    pub(crate) fn on(disk: Disk) -> Self {
        Self {
            receive: Receive::new(start(&disk)),
            requests: VecDeque::new(),
            durable: disk.applied,
            checked: disk.applied,
            joined: 0,
            gone_asked: BTreeSet::new(),
            gone_answers: 0,
            disk,
        }
    }

    /// Forgets what was not fsynced; some of it may have reached the disk all the same, and torn runs are cut.
    pub(crate) fn crash(&mut self, random: &mut Random) {
        let lucky = self.disk.committed + random.below(self.disk.frames.len() - self.disk.committed + 1);
        self.disk.frames.truncate(lucky);
        while self.disk.frames.len() > self.disk.committed && !self.disk.frames.last().unwrap().ends_transaction() {
            self.disk.frames.pop();
        }
        self.disk.committed = self.disk.frames.len();
        for request in std::mem::take(&mut self.requests) {
            if random.once_in(2) {
                self.store(request);
            }
        }
        let (joined, gone_answers) = (self.joined, self.gone_answers);
        *self = Self::on(self.disk.clone());
        (self.joined, self.gone_answers) = (joined, gone_answers);
    }

    pub(crate) fn drain(&mut self) {
        while let Some(request) = self.receive.request() {
            match request {
                ReceiveRequest::Durable(lsn) => {
                    self.check_durable(lsn);
                    self.durable = lsn;
                }
                ReceiveRequest::GoneAnswer { id, gone } => {
                    assert!(self.gone_asked.remove(&id));
                    assert!(
                        gone.iter().all(|uid| uid.0 != 999),
                        "what was not asked is not attested"
                    );
                    self.gone_answers += 1;
                }
                ReceiveRequest::Up(_)
                | ReceiveRequest::Asked { .. }
                | ReceiveRequest::Answered { .. }
                | ReceiveRequest::Unanswered { .. } => {}
                work => self.requests.push_back(work),
            }
        }
    }

    /// Guarantee 3 and 5: on disk, with every body, and the end of a transaction.
    pub(crate) fn check_durable(&mut self, lsn: Lsn) {
        let frames = self.disk.upto(lsn);
        if let Some(last) = frames.last() {
            assert!(last.ends_transaction(), "durable within a run at {lsn}");
        }
        for frame in frames.iter().filter(|frame| frame.lsn > self.checked) {
            for name in names(frame) {
                assert!(
                    Disk::serves(&self.disk.bodies, &name),
                    "frame {} is called durable without {name:?}",
                    frame.lsn
                );
            }
        }
        self.checked = self.checked.max(lsn);
    }

    /// Does one of the requests: those for the journal in order, others whichever.
    pub(crate) fn work(&mut self, random: &mut Random) -> Option<ReceiveInput> {
        if self.requests.is_empty() {
            return None;
        }
        let mut chosen = random.below(self.requests.len());
        if is_for_journal(&self.requests[chosen]) {
            chosen = self.requests.iter().position(is_for_journal)?;
        }
        let request = self.requests.remove(chosen)?;
        Some(self.done(request, random))
    }

    fn done(&mut self, request: ReceiveRequest, random: &mut Random) -> ReceiveInput {
        match request {
            ReceiveRequest::Journal(frames) => {
                self.append(frames);
                self.fsync(random)
            }
            ReceiveRequest::RollBack => {
                let ends = self.disk.frames.iter().rposition(EncodedFrame::ends_transaction);
                self.disk.frames.truncate(ends.map_or(0, |last| last + 1));
                self.fsync(random)
            }
            ReceiveRequest::RestartJournal(frame) => {
                self.joined += 1;
                self.disk.frames = vec![frame];
                self.disk.committed = 1;
                self.fsync(random)
            }
            ReceiveRequest::ReadOwn { request, from, .. } => {
                let first = self.disk.frames.iter().position(|frame| frame.lsn == from).unwrap();
                assert!(first < self.disk.committed, "only what is on disk is read back");
                let many = 1 + random.below(self.disk.committed - first);
                let frames = self.disk.frames[first..first + many].to_vec();
                ReceiveInput::Own { request, frames }
            }
            ReceiveRequest::CheckBodies { request, names } => {
                let lacking = names.into_iter().filter(|name| !Disk::serves(&self.disk.bodies, name));
                let lacking = lacking.map(|name| (name, Vec::new())).collect();
                ReceiveInput::Checked { request, lacking }
            }
            request @ (ReceiveRequest::StoreBody { .. } | ReceiveRequest::StoreMissing { .. }) => {
                ReceiveInput::Stored(self.store(request).into_iter().collect())
            }
            ReceiveRequest::ListPending { most } => {
                let pending = self.disk.bodies.iter().filter(|(_, octets)| octets.is_none());
                ReceiveInput::Pending(pending.map(|(name, _)| (name.clone(), Vec::new())).take(most).collect())
            }
            other => panic!("no work: {other:?}"),
        }
    }

    fn store(&mut self, request: ReceiveRequest) -> Option<BodyName> {
        let (name, octets) = match request {
            ReceiveRequest::StoreBody { name, octets, hash } => {
                assert_eq!(hash.0, *blake3::hash(&octets).as_bytes());
                (name, Some(octets.into()))
            }
            ReceiveRequest::StoreMissing { name, .. } => (name, None),
            _ => return None,
        };
        self.disk.bodies.insert(name.clone(), octets);
        Some(name)
    }

    /// Guarantee 1: dense, one chain.
    fn append(&mut self, frames: Vec<EncodedFrame>) {
        for frame in frames {
            let head = self.disk.place(self.disk.frames.len());
            assert_eq!(frame.lsn, head.lsn.next(), "a hole in the journal");
            assert_eq!(frame.previous, head.chain, "a break in the chain");
            self.disk.frames.push(frame);
        }
    }

    /// Sometimes the append is answered and the fsync comes with a later one.
    fn fsync(&mut self, random: &mut Random) -> ReceiveInput {
        if !random.once_in(3) || !self.requests.iter().any(is_for_journal) {
            let ends = self.disk.frames.iter().rposition(EncodedFrame::ends_transaction);
            self.disk.committed = ends.map_or(0, |last| last + 1);
        }
        ReceiveInput::Journaled {
            stream: STREAM,
            appended: self.disk.place(self.disk.frames.len()).lsn,
            committed: self.disk.head().lsn,
        }
    }

    /// The target decides what is durable; it may be behind.
    pub(crate) fn apply(&mut self, random: &mut Random) -> Option<ReceiveInput> {
        let between = |frame: &&EncodedFrame| frame.lsn > self.disk.applied && frame.lsn <= self.durable;
        let ends: Vec<Lsn> = self
            .disk
            .frames
            .iter()
            .filter(between)
            .filter(|f| f.ends_transaction())
            .map(|f| f.lsn)
            .collect();
        if ends.is_empty() {
            return None;
        }
        self.disk.applied = ends[random.below(ends.len())];
        Some(ReceiveInput::Applied {
            stream: STREAM,
            lsn: self.disk.applied,
            counts: Counts::default(),
        })
    }

    pub(crate) fn ask_gone(&mut self, id: u64) -> ReceiveInput {
        self.gone_asked.insert(id);
        ReceiveInput::AskGone {
            id,
            question: GoneQuestion {
                mailbox: MailboxId {
                    user: "u".into(),
                    guid: Guid([1; 16]),
                },
                uidvalidity: UidValidity(1),
                messages: vec![(Uid(7), MessageGuid::default())],
            },
        }
    }
}

fn is_for_journal(request: &ReceiveRequest) -> bool {
    matches!(
        request,
        ReceiveRequest::Journal(_) | ReceiveRequest::RollBack | ReceiveRequest::RestartJournal(_)
    )
}
