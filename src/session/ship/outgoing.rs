//! Bodies on their way from the source to the peer, in two lanes: those of new mail go ahead, those that the peer asked
//! for (stored mail, mostly) behind and no faster than configured. In each lane one goes after the other.

use super::bucket::Bucket;
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
    sending: Option<Sending>,
    bytes: u64,
}

/// Both lanes.
#[derive(Debug)]
pub(super) struct Outgoing {
    ahead: Lane,
    asked: Lane,
    bucket: Bucket,
    /// Parts that went ahead since one was sent that was asked for.
    ahead_in_a_row: u32,
}

/// So that a flood of new mail doesn't stop what frames may be waiting for.
const AHEAD_IN_A_ROW_MAX: u32 = 8;

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

    fn has_part(&self) -> bool {
        self.sending.is_some() || !self.ready.is_empty()
    }

    /// The next piece. With the last piece of a body comes its number.
    fn next_part(&mut self) -> Option<(BodyPart, Option<u64>)> {
        let mut sending = match self.sending.take() {
            Some(sending) => sending,
            None => Sending::of(self.ready.pop_front()?),
        };
        let (part, last) = sending.cut();
        if !last {
            self.sending = Some(sending);
            return Some((part, None));
        }
        self.bytes = self.bytes.saturating_sub(length(&sending.octets));
        Some((part, Some(sending.wanted.id)))
    }
}

impl Outgoing {
    /// `rate`: bytes a second of what was asked for, at the most.
    pub(super) fn new(rate: Option<u64>) -> Self {
        Self {
            ahead: Lane::default(),
            asked: Lane::default(),
            bucket: Bucket::new(rate),
            ahead_in_a_row: 0,
        }
    }

    /// The connection is gone, and with it all that was wanted. What was spent stays spent.
    pub(super) fn clear(&mut self) {
        (self.ahead, self.asked) = (Lane::default(), Lane::default());
    }

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
    pub(super) fn next_part(&mut self, now_ms: u64) -> Option<(BodyPart, Option<u64>)> {
        let asked_may = self.asked.has_part() && self.bucket.allows(now_ms);
        if self.ahead.has_part() && !(asked_may && self.ahead_in_a_row >= AHEAD_IN_A_ROW_MAX) {
            self.ahead_in_a_row = self.ahead_in_a_row.saturating_add(1);
            return self.ahead.next_part();
        }
        self.ahead_in_a_row = 0;
        let (part, _) = asked_may.then(|| self.asked.next_part())??;
        self.bucket.spend(part.octets.len());
        Some((part, None))
    }

    /// True where something of stored mail may go now.
    pub(super) fn may_bulk(&mut self, now_ms: u64) -> bool {
        self.bucket.allows(now_ms)
    }

    /// So many bytes of stored mail's frames went.
    pub(super) fn spend(&mut self, bytes: usize) {
        self.bucket.spend(bytes);
    }

    /// When a piece (or a frame, where one waits) may go that may not go yet.
    pub(super) fn wake_ms(&self, frame_waits: bool) -> Option<u64> {
        (frame_waits || self.asked.has_part()).then(|| self.bucket.wake_ms())?
    }
}

impl Sending {
    fn of((wanted, octets): (Wanted, Vec<u8>)) -> Self {
        Self {
            wanted,
            octets,
            offset: 0,
            hasher: blake3::Hasher::new(),
        }
    }

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
