//! Walks over the records of one segment.

use super::record::{self, Kind, RecordHeader};
use super::{Disk, JournalError};
use crate::codec::CodecError;
use crate::limits::JOURNAL_READ_BYTES;
use std::sync::Arc;

/// A record whose checksum is right.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) offset: u64,
    /// Offset of the byte behind it.
    pub(super) end: u64,
    pub(super) kind: Kind,
    /// Bytes of the segment that were durable before it was written.
    pub(super) durable: u64,
    pub(super) body: Vec<u8>,
}

/// What stands at a place.
#[derive(Debug)]
pub(super) enum Step {
    Record(Record),
    End,
    /// No record that can be believed stands at this offset.
    Damage(u64, CodecError),
}

/// A place in a segment, and some of its bytes.
pub(super) struct Scan {
    disk: Arc<dyn Disk>,
    pub(super) file: String,
    at: u64,
    end: u64,
    /// Bytes of the file from `start`.
    buffer: Vec<u8>,
    start: u64,
}

impl Scan {
    /// From a record's offset to `end`.
    pub(super) fn new(disk: Arc<dyn Disk>, file: String, at: u64, end: u64) -> Self {
        Self {
            disk,
            file,
            at,
            end,
            buffer: Vec::new(),
            start: at,
        }
    }

    /// Lets the scan go on to a later end: the file has grown.
    pub(super) fn extend_to(&mut self, end: u64) {
        self.end = self.end.max(end);
    }

    pub(super) fn at_end(&self) -> bool {
        self.at >= self.end
    }

    /// The next record.
    pub(super) fn step(&mut self) -> Result<Step, JournalError> {
        if self.at_end() {
            return Ok(Step::End);
        }
        let step = self.record_at(self.at)?;
        if let Step::Record(record) = &step {
            self.at = record.end;
        }
        Ok(step)
    }

    /// The next frame record, stepping over checkpoints without reading them.
    pub(super) fn step_to_frame(&mut self) -> Result<Step, JournalError> {
        while !self.at_end() {
            let header = self.header_at(self.at)?;
            match header {
                Ok((header, _)) if header.is_checkpoint() => self.at = behind(self.at, header.size),
                _ => return self.step(),
            }
        }
        Ok(Step::End)
    }

    /// A record behind a damaged place that was written when that place had been durable already: the proof that it
    /// is no torn end.
    pub(super) fn proof_behind(&mut self, damaged: u64) -> Result<Option<u64>, JournalError> {
        let mut from = damaged.saturating_add(1);
        while from < self.end {
            let window = self.bytes(from, JOURNAL_READ_BYTES)?;
            let Some(found) = window
                .windows(record::MAGIC.len())
                .position(|bytes| bytes == record::MAGIC)
            else {
                // The next window begins where a magic number may have begun at the end of this one.
                let step = window.len().saturating_sub(record::MAGIC.len() - 1).max(1);
                from = from.saturating_add(step as u64);
                continue;
            };
            let at = from.saturating_add(found as u64);
            match self.record_at(at) {
                Ok(Step::Record(record)) if record.durable > damaged => return Ok(Some(at)),
                Ok(_) | Err(JournalError::Unreadable { .. }) => from = at.saturating_add(1),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    fn record_at(&mut self, offset: u64) -> Result<Step, JournalError> {
        let (header, raw) = match self.header_at(offset)? {
            Ok(found) => found,
            Err(error) => return Ok(Step::Damage(offset, error)),
        };
        let body = self.bytes(offset.saturating_add(record::HEADER_BYTES as u64), header.size)?;
        if body.len() < header.size {
            return Ok(Step::Damage(offset, CodecError::Short("record")));
        }
        let kind = match header.check(&raw, body) {
            Ok(kind) => kind,
            Err(error) if error.is_damage() => return Ok(Step::Damage(offset, error)),
            Err(error) => return Err(JournalError::codec(&self.file, offset)(error)),
        };
        Ok(Step::Record(Record {
            offset,
            end: behind(offset, header.size),
            kind,
            durable: header.durable,
            body: body.to_vec(),
        }))
    }

    fn header_at(
        &mut self,
        offset: u64,
    ) -> Result<Result<(RecordHeader, [u8; record::HEADER_BYTES]), CodecError>, JournalError> {
        let bytes = self.bytes(offset, record::HEADER_BYTES)?;
        let Some(raw) = bytes.first_chunk().copied() else {
            return Ok(Err(CodecError::Short("record")));
        };
        Ok(RecordHeader::decode(&raw).map(|header| (header, raw)))
    }

    /// `size` bytes at `offset`, fewer only at the end.
    fn bytes(&mut self, offset: u64, size: usize) -> Result<&[u8], JournalError> {
        let size = size.min(usize::try_from(self.end.saturating_sub(offset)).unwrap_or(usize::MAX));
        if !self.holds(offset, size) {
            self.fill(offset, size)?;
        }
        let from = usize::try_from(offset.saturating_sub(self.start)).unwrap_or(usize::MAX);
        let rest = self.buffer.get(from..).unwrap_or_default();
        Ok(rest.get(..size).unwrap_or(rest))
    }

    fn holds(&self, offset: u64, size: usize) -> bool {
        let buffered = self.start.saturating_add(self.buffer.len() as u64);
        self.start <= offset && offset.saturating_add(size as u64) <= buffered
    }

    fn fill(&mut self, offset: u64, size: usize) -> Result<(), JournalError> {
        // Never beyond the end: what stands behind it may still change.
        let most = usize::try_from(self.end.saturating_sub(offset)).unwrap_or(usize::MAX);
        self.buffer.resize(size.max(JOURNAL_READ_BYTES).min(most), 0);
        self.start = offset;
        let read = self.disk.read_at(&self.file, offset, &mut self.buffer);
        match read {
            Ok(filled) => self.buffer.truncate(filled),
            Err(source) => {
                self.buffer.clear();
                return Err(JournalError::io("read", &self.file)(source));
            }
        }
        Ok(())
    }
}

fn behind(offset: u64, size: usize) -> u64 {
    offset.saturating_add((record::HEADER_BYTES + size) as u64)
}
