//! Reads a journal while the writer goes on: committed whole transactions only.

use super::scan::{Record, Scan, Step};
use super::shelf::{Shelf, Volume};
use super::succession::Head;
use super::{JournalError, record};
use crate::codec::EncodedFrame;
use crate::op::{ChainHash, Lsn};
use std::sync::Arc;

/// What of a journal any thread may see, at any time. Cheap to clone; it does not keep the journal open for writing.
#[derive(Clone)]
pub struct JournalView {
    pub(super) shelf: Arc<Shelf>,
}

impl JournalView {
    /// The end of the last committed whole transaction; none in an empty journal.
    #[must_use]
    pub fn head(&self) -> Option<Head> {
        self.shelf.state().head
    }

    /// The oldest LSN that can be read (the next one, where all was trimmed); none in an empty journal.
    #[must_use]
    pub fn oldest(&self) -> Option<Lsn> {
        self.shelf.state().oldest()
    }

    /// Bytes on disk that are committed.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.shelf.state().segments.iter().map(|volume| volume.size).sum()
    }

    /// Its files, oldest first, as far as they are committed.
    #[must_use]
    pub fn segments(&self) -> Vec<SegmentFacts> {
        let state = self.shelf.state();
        let ends = state.segments.iter().skip(1).map(|next| next.before.lsn);
        let last = state.head.map(|head| head.lsn);
        let facts = |(volume, end): (&Volume, Option<Lsn>)| {
            let first = volume.before.lsn.next();
            let filled = end.filter(|end| *end >= first);
            SegmentFacts {
                name: volume.name.clone(),
                first: filled.map(|_| first),
                last: filled,
                bytes: volume.size,
            }
        };
        state
            .segments
            .iter()
            .zip(ends.map(Some).chain([last]))
            .map(facts)
            .collect()
    }

    /// A reader whose next frame is `from`, which may not be here yet.
    #[must_use]
    pub fn reader(&self, from: Lsn) -> Reader {
        let generation = self.shelf.state().generation;
        Reader {
            shelf: Arc::clone(&self.shelf),
            generation,
            next: from.max(Lsn(1)),
            scan: None,
        }
    }

    /// Committed frames from `from` on that are still in memory, at least one and no further ones beyond `bytes_max`
    /// bytes; none where that one is only on disk. Never blocks.
    #[must_use]
    pub fn remembered(&self, from: Lsn, bytes_max: usize) -> Vec<EncodedFrame> {
        let generation = self.shelf.state().generation;
        self.shelf.remembered(from, generation, bytes_max)
    }

    /// The chain hash at a committed LSN; none where that is beyond the head or trimmed away (the hash before the
    /// oldest frame is still known). For comparing histories.
    ///
    /// # Errors
    /// The disk, or what stands on it.
    pub fn chain_at(&self, lsn: Lsn) -> Result<Option<ChainHash>, JournalError> {
        {
            let state = self.shelf.state();
            let Some(head) = state.head.filter(|head| lsn <= head.lsn) else {
                return Ok(None);
            };
            if head.lsn == lsn {
                return Ok(Some(head.chain));
            }
            if let Some(at_border) = state.segments.iter().find(|volume| volume.before.lsn == lsn) {
                return Ok(Some(at_border.before.chain));
            }
        }
        match self.reader(lsn).read_batch(1) {
            Ok(frames) => Ok(frames.first().map(|frame| frame.chain)),
            Err(JournalError::Trimmed { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// One file of a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentFacts {
    /// Its name.
    pub name: String,
    /// First LSN in it; none where it holds no frame.
    pub first: Option<Lsn>,
    /// Last LSN in it.
    pub last: Option<Lsn>,
    /// Its committed bytes.
    pub bytes: u64,
}

/// Reads frames by LSN. Stays where it is after an error, and may be asked again.
pub struct Reader {
    shelf: Arc<Shelf>,
    generation: u64,
    next: Lsn,
    scan: Option<Scan>,
}

impl Reader {
    /// LSN of the next frame.
    #[must_use]
    pub fn next_lsn(&self) -> Lsn {
        self.next
    }

    /// The next committed frames, in order: at least one where there is one, and no further ones that would make them
    /// more than `bytes_max` bytes. Empty: everything committed was read. A batch may end inside a run (what is
    /// committed of a run is all of it).
    ///
    /// # Errors
    /// [`JournalError::Trimmed`], [`JournalError::Restarted`], the disk, or what stands on it.
    pub fn read_batch(&mut self, bytes_max: usize) -> Result<Vec<EncodedFrame>, JournalError> {
        let remembered = self.shelf.remembered(self.next, self.generation, bytes_max);
        if let Some(last) = remembered.last() {
            self.next = last.lsn.next();
            self.scan = None;
            return Ok(remembered);
        }
        let (mut frames, mut bytes) = (Vec::new(), 0usize);
        let first = self.next;
        while bytes < bytes_max || frames.is_empty() {
            let Some(frame) = self.read_one()? else { break };
            bytes = bytes.saturating_add(frame.bytes.len());
            if bytes > bytes_max && !frames.is_empty() {
                // Read again with the next batch; its bytes are still in the scan's buffer or the page cache.
                self.scan = None;
                break;
            }
            self.next = frame.lsn.next();
            frames.push(frame);
        }
        debug_assert!(frames.first().is_none_or(|frame| frame.lsn == first));
        Ok(frames)
    }

    fn read_one(&mut self) -> Result<Option<EncodedFrame>, JournalError> {
        let Some(place) = self.shelf.locate(self.next, self.generation)? else {
            return Ok(None);
        };
        let fresh = || {
            Scan::new(
                Arc::clone(&self.shelf.disk),
                place.file.clone(),
                place.offset,
                place.end,
            )
        };
        let mut scan = self
            .scan
            .take()
            .filter(|scan| scan.file == place.file)
            .unwrap_or_else(fresh);
        scan.extend_to(place.end);
        let found = self.find(&mut scan);
        match found {
            // The segment may have been trimmed away meanwhile: then that is the error to report.
            Err(error) => self.shelf.locate(self.next, self.generation).and(Err(error)),
            Ok(frame) => {
                self.scan = Some(scan);
                Ok(Some(frame))
            }
        }
    }

    fn find(&self, scan: &mut Scan) -> Result<EncodedFrame, JournalError> {
        loop {
            let record = match scan.step_to_frame()? {
                Step::Record(record) => record,
                Step::Damage(offset, why) => return Err(JournalError::corrupt(&scan.file, offset, why.to_string())),
                Step::End => {
                    let why = format!("frame {} is not where it was written", self.next);
                    return Err(JournalError::corrupt(&scan.file, 0, why));
                }
            };
            let frame = frame_of(&scan.file, record)?;
            if frame.lsn >= self.next {
                return self.expected(scan, frame);
            }
        }
    }

    fn expected(&self, scan: &Scan, frame: EncodedFrame) -> Result<EncodedFrame, JournalError> {
        if frame.lsn != self.next {
            let why = format!("frame {} stands where {} was written", frame.lsn, self.next);
            return Err(JournalError::corrupt(&scan.file, 0, why));
        }
        Ok(frame)
    }
}

/// The frame that a record holds.
pub(super) fn frame_of(file: &str, record: Record) -> Result<EncodedFrame, JournalError> {
    debug_assert_eq!(record.kind, record::Kind::Frame);
    EncodedFrame::from_bytes(record.body).map_err(JournalError::codec(file, record.offset))
}
