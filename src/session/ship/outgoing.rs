//! Bodies on their way from the source to the peer: asked for or sent ahead, one after the other, never mixed.

use crate::codec::wire::BodyPart;
use crate::limits::{BODY_BYTES_GUESS, BODY_IN_MEMORY_MAX, BODY_PART_BYTES, READ_AHEAD_BODIES, READ_AHEAD_BYTES};
use crate::op::{BodyHash, BodyName, BodyPlace, Missing};
use crate::session::ship::ShipRequest;
use std::collections::{BTreeMap, VecDeque};

/// A body to be read and sent.
#[derive(Debug)]
pub(super) struct Wanted {
    /// Number on the wire.
    pub(super) id: u64,
    /// True where nobody asked.
    pub(super) ahead: bool,
    pub(super) name: BodyName,
    pub(super) other_places: Vec<BodyPlace>,
}

/// What became of a read that brought nothing.
#[derive(Debug)]
pub(super) struct NoBody {
    pub(super) wanted: Wanted,
    pub(super) missing: Missing,
}

/// Bodies of one kind. `bytes` are those read and not sent, with a guess for those being read.
#[derive(Debug, Default)]
struct Lane {
    queue: VecDeque<Wanted>,
    reading: BTreeMap<u64, Wanted>,
    ready: VecDeque<(Wanted, Vec<u8>)>,
    bytes: u64,
}

/// Both kinds, and the body that is being sent.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    ahead: Lane,
    asked: Lane,
    sending: Option<Sending>,
}

#[derive(Debug)]
struct Sending {
    wanted: Wanted,
    octets: Vec<u8>,
    offset: usize,
    hasher: blake3::Hasher,
}

fn length(octets: &[u8]) -> u64 {
    u64::try_from(octets.len()).unwrap_or(u64::MAX)
}

fn guess(name: &BodyName) -> u64 {
    name.size.unwrap_or(BODY_BYTES_GUESS)
}

impl Lane {
    fn has_room(&self, bytes: u64) -> bool {
        let bodies = self.reading.len().saturating_add(self.ready.len());
        self.bytes == 0 || (bodies < READ_AHEAD_BODIES && self.bytes.saturating_add(bytes) <= READ_AHEAD_BYTES)
    }

    fn next_read(&mut self, request: u64) -> Option<ShipRequest> {
        let bytes = guess(&self.queue.front()?.name);
        if !self.has_room(bytes) {
            return None;
        }
        let wanted = self.queue.pop_front()?;
        self.bytes = self.bytes.saturating_add(bytes);
        let read = ShipRequest::ReadBody {
            request,
            name: wanted.name.clone(),
            other_places: wanted.other_places.clone(),
        };
        self.reading.insert(request, wanted);
        Some(read)
    }

    fn len(&self) -> usize {
        self.queue
            .len()
            .saturating_add(self.reading.len())
            .saturating_add(self.ready.len())
    }
}

impl Outgoing {
    /// Bodies that the peer asked for and has not got.
    pub(super) fn asked(&self) -> usize {
        self.asked.len()
    }

    pub(super) fn push(&mut self, wanted: Wanted) {
        self.lane(wanted.ahead).queue.push_back(wanted);
    }

    fn lane(&mut self, ahead: bool) -> &mut Lane {
        if ahead { &mut self.ahead } else { &mut self.asked }
    }

    /// The next body to read, where there is room for it.
    pub(super) fn next_read(&mut self, request: u64) -> Option<ShipRequest> {
        self.ahead.next_read(request).or_else(|| self.asked.next_read(request))
    }

    /// Takes the answer to a read; what comes back has no body. A read of an older connection is ignored.
    pub(super) fn answered(&mut self, request: u64, answer: Result<Vec<u8>, Missing>) -> Option<NoBody> {
        for lane in [&mut self.ahead, &mut self.asked] {
            let Some(wanted) = lane.reading.remove(&request) else {
                continue;
            };
            lane.bytes = lane.bytes.saturating_sub(guess(&wanted.name));
            match within_memory(answer) {
                Ok(octets) => {
                    lane.bytes = lane.bytes.saturating_add(length(&octets));
                    lane.ready.push_back((wanted, octets));
                    return None;
                }
                Err(missing) => return Some(NoBody { wanted, missing }),
            }
        }
        None
    }

    /// The next piece. With the last piece of a body sent ahead comes its number.
    pub(super) fn next_part(&mut self) -> Option<(BodyPart, Option<u64>)> {
        let mut sending = match self.sending.take() {
            Some(sending) => sending,
            None => self.begin()?,
        };
        let (part, last) = sending.cut();
        if !last {
            self.sending = Some(sending);
            return Some((part, None));
        }
        let lane = self.lane(sending.wanted.ahead);
        lane.bytes = lane.bytes.saturating_sub(length(&sending.octets));
        Some((part, sending.wanted.ahead.then_some(sending.wanted.id)))
    }

    fn begin(&mut self) -> Option<Sending> {
        let ready = self.ahead.ready.pop_front().or_else(|| self.asked.ready.pop_front());
        ready.map(|(wanted, octets)| Sending {
            wanted,
            octets,
            offset: 0,
            hasher: blake3::Hasher::new(),
        })
    }
}

impl Sending {
    fn cut(&mut self) -> (BodyPart, bool) {
        let end = self.offset.saturating_add(BODY_PART_BYTES).min(self.octets.len());
        let octets = self.octets.get(self.offset..end).unwrap_or_default().to_vec();
        self.hasher.update(&octets);
        let last = end == self.octets.len();
        let named = self.wanted.ahead && self.offset == 0;
        let part = BodyPart {
            id: self.wanted.id,
            ahead: self.wanted.ahead,
            name: named.then(|| self.wanted.name.clone()),
            offset: u64::try_from(self.offset).unwrap_or(u64::MAX),
            total: length(&self.octets),
            octets,
            hash: last.then(|| BodyHash(*self.hasher.finalize().as_bytes())),
        };
        self.offset = end;
        (part, last)
    }
}

fn within_memory(answer: Result<Vec<u8>, Missing>) -> Result<Vec<u8>, Missing> {
    let octets = answer?;
    too_large(Some(length(&octets))).map_or(Ok(octets), Err)
}

/// Why a body of this size is not carried.
pub(super) fn too_large(size: Option<u64>) -> Option<Missing> {
    let size = size.filter(|size| *size > BODY_IN_MEMORY_MAX)?;
    Some(Missing {
        gone: false,
        file: String::new(),
        offset: 0,
        why: format!("{size} bytes; bodies above {BODY_IN_MEMORY_MAX} bytes are not carried"),
    })
}
