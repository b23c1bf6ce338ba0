//! The newest frames, still in memory: whoever follows the writer closely, as shipping and applying do, reads no disk.

use crate::codec::EncodedFrame;
use crate::op::Lsn;
use std::collections::VecDeque;

/// Frames without a gap, the newest last, at most so many bytes of them.
#[derive(Debug)]
pub(super) struct Recent {
    frames: VecDeque<EncodedFrame>,
    bytes: usize,
    bytes_max: usize,
}

impl Recent {
    /// Keeps at most `bytes_max`.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            frames: VecDeque::new(),
            bytes: 0,
            bytes_max,
        }
    }

    /// Forgets all of it.
    pub(super) fn clear(&mut self) {
        self.frames.clear();
        self.bytes = 0;
    }

    /// Takes the next frame. One that does not follow the last begins anew.
    pub(super) fn push(&mut self, frame: EncodedFrame) {
        if self.frames.back().is_some_and(|last| last.lsn.next() != frame.lsn) {
            self.clear();
        }
        self.bytes = self.bytes.saturating_add(frame.bytes.len());
        self.frames.push_back(frame);
        while self.bytes > self.bytes_max {
            let Some(oldest) = self.frames.pop_front() else { break };
            self.bytes = self.bytes.saturating_sub(oldest.bytes.len());
        }
    }

    /// Takes out the frames up to `lsn`.
    pub(super) fn take_upto(&mut self, lsn: Lsn) -> Vec<EncodedFrame> {
        let many = self.frames.partition_point(|frame| frame.lsn <= lsn);
        let taken: Vec<_> = self.frames.drain(..many).collect();
        let bytes = taken.iter().map(|frame| frame.bytes.len()).sum();
        self.bytes = self.bytes.saturating_sub(bytes);
        taken
    }

    /// Frames from `from` on, at least one and no further ones beyond `bytes_max` bytes; none where `from` is not here.
    pub(super) fn read(&self, from: Lsn, bytes_max: usize) -> Vec<EncodedFrame> {
        let first = self.frames.partition_point(|frame| frame.lsn < from);
        let found = self.frames.range(first..);
        let mut bytes = 0usize;
        let fits = |(nth, frame): &(usize, &EncodedFrame)| {
            bytes = bytes.saturating_add(frame.bytes.len());
            *nth == 0 || bytes <= bytes_max
        };
        let known = self.frames.get(first).is_some_and(|frame| frame.lsn == from);
        match known {
            true => found
                .enumerate()
                .take_while(fits)
                .map(|(_, frame)| frame.clone())
                .collect(),
            false => Vec::new(),
        }
    }
}
