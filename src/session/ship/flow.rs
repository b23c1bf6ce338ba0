//! Frames on their way from the journal to the peer: read, waiting for the bodies that go ahead of them, flying.

use crate::codec::frame::EncodedFrame;
use crate::codec::wire::Place;
use crate::limits::{FRAME_BYTES_MAX, SHIP_READ_BYTES, WINDOW_BYTES, WINDOW_FRAMES, WIRE_FRAMES_MAX};
use crate::op::{ChainHash, Lsn, StreamId};
use crate::session::SessionError;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// The window and what stands before it.
#[derive(Debug, Default)]
pub(super) struct Flow {
    /// Last frame that was read; the next one must follow it.
    read: Lsn,
    /// Its hash; not known where a base is looked for behind it.
    chain: Option<ChainHash>,
    /// Number of the open read.
    reading: Option<u64>,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    flying: VecDeque<(Lsn, u64)>,
    flying_bytes: u64,
    /// Last frame that was handed out.
    sent: Lsn,
}

#[derive(Debug)]
struct Waiting {
    frame: EncodedFrame,
    /// True where it is of stored mail: no faster than configured.
    bulk: bool,
    /// Bodies that go first.
    ahead: BTreeSet<u64>,
}

impl Flow {
    /// Goes on behind `place`.
    pub(super) fn after(place: Place) -> Self {
        Self {
            read: place.lsn,
            chain: Some(place.chain),
            sent: place.lsn,
            ..Self::default()
        }
    }

    /// Goes on behind `lsn`, whatever its hash is: the first frame to be sent will be a base.
    pub(super) fn behind(lsn: Lsn) -> Self {
        Self {
            read: lsn,
            sent: lsn,
            ..Self::default()
        }
    }

    pub(super) fn sent(&self) -> Lsn {
        self.sent
    }

    /// What to read next, where there is something and room for it.
    pub(super) fn wants(&mut self, head: Lsn, number: u64) -> Option<Lsn> {
        if self.reading.is_some() || self.read >= head || self.waiting_bytes >= SHIP_READ_BYTES {
            return None;
        }
        self.reading = Some(number);
        Some(self.read.next())
    }

    /// True where `request` is the open read; it is closed.
    pub(super) fn is_answer(&mut self, request: u64) -> bool {
        let open = self.reading == Some(request);
        if open {
            self.reading = None;
        }
        open
    }

    /// Checks that a frame from our journal follows the one before: a journal that was damaged must not travel.
    pub(super) fn follow(&mut self, frame: &EncodedFrame, stream: StreamId) -> Result<(), SessionError> {
        let follows = frame.stream == stream
            && frame.lsn == self.read.next()
            && self.chain.is_none_or(|chain| chain == frame.previous);
        if !follows {
            return Err(SessionError::Frame {
                lsn: self.read.next(),
                why: format!("our own journal holds frame {} there, which does not follow", frame.lsn),
            });
        }
        self.read = frame.lsn;
        self.chain = Some(frame.chain);
        Ok(())
    }

    /// Takes a frame that was read and may go once the bodies of `ahead` went.
    pub(super) fn push(&mut self, frame: EncodedFrame, bulk: bool, ahead: BTreeSet<u64>) {
        self.waiting_bytes = self.waiting_bytes.saturating_add(frame.bytes.len());
        self.waiting.push_back(Waiting { frame, bulk, ahead });
    }

    /// True where the next frame is of stored mail.
    pub(super) fn bulk_waits(&self) -> bool {
        self.waiting.front().is_some_and(|first| first.bulk)
    }

    /// A body went, or will not go ahead.
    pub(super) fn release(&mut self, body: u64) {
        for waiting in &mut self.waiting {
            if waiting.ahead.remove(&body) {
                return;
            }
        }
    }

    /// The peer has taken everything up to `lsn`.
    pub(super) fn taken(&mut self, lsn: Lsn) {
        while let Some((first, bytes)) = self.flying.front().copied()
            && first <= lsn
        {
            self.flying.pop_front();
            self.flying_bytes = self.flying_bytes.saturating_sub(bytes);
        }
    }

    /// The next frames for one message, as far as the window and their bodies allow, and how many of their bytes are of
    /// stored mail. Those go only where `bulk_may`.
    pub(super) fn next(&mut self, bulk_may: bool) -> Option<(Vec<Arc<[u8]>>, usize)> {
        let mut frames = Vec::new();
        let (mut bytes, mut bulk) = (0usize, 0usize);
        while let Some(first) = self.waiting.front() {
            let length = first.frame.bytes.len();
            let fits = bytes.saturating_add(length) <= FRAME_BYTES_MAX && frames.len() < WIRE_FRAMES_MAX;
            let held = first.bulk && !bulk_may;
            if !fits || held || !first.ahead.is_empty() || !self.window_takes(length) {
                break;
            }
            let Some(first) = self.waiting.pop_front() else { break };
            bytes = bytes.saturating_add(length);
            bulk = bulk.saturating_add(if first.bulk { length } else { 0 });
            self.fly(first.frame.lsn, length);
            frames.push(first.frame.bytes);
        }
        (!frames.is_empty()).then_some((frames, bulk))
    }

    fn window_takes(&self, length: usize) -> bool {
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        self.flying.is_empty()
            || (self.flying.len() < WINDOW_FRAMES && self.flying_bytes.saturating_add(length) <= WINDOW_BYTES)
    }

    fn fly(&mut self, lsn: Lsn, length: usize) {
        self.waiting_bytes = self.waiting_bytes.saturating_sub(length);
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        self.flying.push_back((lsn, length));
        self.flying_bytes = self.flying_bytes.saturating_add(length);
        self.sent = lsn;
    }
}
