//! What writer and readers share: the segments that are there, and how far they are durable and whole.

use super::recent::Recent;
use super::succession::Head;
use super::{Disk, JournalError, segment};
use crate::codec::EncodedFrame;
use crate::limits::JOURNAL_MARK_BYTES;
use crate::op::Lsn;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A frame's place in its segment; a reader starts at the last one that is not beyond what it looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) lsn: Lsn,
    pub(super) offset: u64,
}

/// Marks of one segment, spaced so that memory stays small and a search short.
pub(super) fn mark(marks: &mut Vec<Mark>, lsn: Lsn, offset: u64) {
    let due = marks
        .last()
        .is_none_or(|last| offset.saturating_sub(last.offset) >= JOURNAL_MARK_BYTES);
    if due {
        marks.push(Mark { lsn, offset });
    }
}

/// One segment.
#[derive(Clone, Debug)]
pub(super) struct Volume {
    pub(super) name: String,
    /// The end of the history before its first frame.
    pub(super) before: Head,
    /// Bytes that are durable and whole.
    pub(super) size: u64,
    pub(super) marks: Vec<Mark>,
}

impl Volume {
    /// A segment that has its header only.
    pub(super) fn empty(before: Head) -> Self {
        Self {
            name: segment::name(before.lsn.next()),
            before,
            size: segment::HEADER_BYTES as u64,
            marks: Vec::new(),
        }
    }
}

#[derive(Debug)]
pub(super) struct State {
    /// The last committed whole transaction's end; none in an empty journal.
    pub(super) head: Option<Head>,
    /// Oldest first.
    pub(super) segments: VecDeque<Volume>,
    /// Committed frames that are still in memory.
    pub(super) recent: Recent,
    /// Counts new beginnings: what a reader knew of the places before is void.
    pub(super) generation: u64,
}

impl State {
    /// Oldest LSN that can be read, or the next one where there is none.
    pub(super) fn oldest(&self) -> Option<Lsn> {
        self.head
            .and(self.segments.front())
            .map(|volume| volume.before.lsn.next())
    }
}

/// The shared state and the disk.
pub(super) struct Shelf {
    pub(super) disk: Arc<dyn Disk>,
    state: Mutex<State>,
}

/// Where a reader finds a frame.
pub(super) struct Place {
    pub(super) file: String,
    /// Byte offset of a record at or before it.
    pub(super) offset: u64,
    /// Bytes of the file that may be read.
    pub(super) end: u64,
}

impl Shelf {
    pub(super) fn new(disk: Arc<dyn Disk>, state: State) -> Self {
        Self {
            disk,
            state: Mutex::new(state),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves the state as it was before a change: each change is one assignment or push.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Committed frames from `wanted` on that are in memory; none where that one is not, or may not be read.
    pub(super) fn remembered(&self, wanted: Lsn, generation: u64, bytes_max: usize) -> Vec<EncodedFrame> {
        let state = self.state();
        let readable = state.generation == generation && state.oldest().is_some_and(|oldest| oldest <= wanted);
        if readable {
            state.recent.read(wanted, bytes_max)
        } else {
            Vec::new()
        }
    }

    /// The place of a committed frame; none where it is not committed yet.
    pub(super) fn locate(&self, wanted: Lsn, generation: u64) -> Result<Option<Place>, JournalError> {
        let state = self.state();
        if state.generation != generation {
            return Err(JournalError::Restarted);
        }
        let Some(head) = state.head.filter(|head| wanted <= head.lsn) else {
            return Ok(None);
        };
        let after = state.segments.partition_point(|volume| volume.before.lsn < wanted);
        let Some(volume) = after.checked_sub(1).and_then(|at| state.segments.get(at)) else {
            let oldest = state.oldest().unwrap_or(head.lsn.next());
            return Err(JournalError::Trimmed { wanted, oldest });
        };
        let after = volume.marks.partition_point(|mark| mark.lsn <= wanted);
        let mark = after.checked_sub(1).and_then(|at| volume.marks.get(at));
        Ok(Some(Place {
            file: volume.name.clone(),
            offset: mark.map_or(segment::HEADER_BYTES as u64, |mark| mark.offset),
            end: volume.size,
        }))
    }
}
