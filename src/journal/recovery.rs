//! Makes a journal of what a crash left, or finds that it is damaged.
//!
//! Everything is read and checked: headers, checksums, chain, runs, checkpoints. A torn end of the newest segment is cut
//! back to its last whole transaction; anything else that is wrong is an error, and changes nothing.

use super::reader::frame_of;
use super::recent::Recent;
use super::restart::finish_restart;
use super::scan::{Record, Scan, Step};
use super::shelf::{Shelf, State, Volume, mark};
use super::succession::{Head, Succession};
use super::writer::{Covered, Journal, JournalOptions, Tail};
use super::{Disk, JournalError, record, segment};
use crate::limits::JOURNAL_READ_BYTES;
use crate::op::Lsn;
use std::sync::Arc;

/// What an opened journal holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The end of the last whole transaction; none in an empty journal.
    pub head: Option<Head>,
    /// Oldest LSN that can be read; none in an empty journal.
    pub oldest: Option<Lsn>,
    /// The latest complete checkpoint.
    pub checkpoint: Option<Checkpoint>,
    /// What a crash left behind the head, and was cut.
    pub cut: Option<Cut>,
}

/// A checkpoint as it was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Everything up to and with this LSN is in it.
    pub covers: Lsn,
    /// The opaque parts, in order.
    pub parts: Vec<Vec<u8>>,
    /// Its age: bytes of records behind it.
    pub bytes_after: u64,
}

/// A torn end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// File name within the journal's directory.
    pub file: String,
    /// Where it was cut.
    pub offset: u64,
    /// Bytes cut off.
    pub bytes: u64,
    /// Why.
    pub why: String,
}

impl Journal {
    /// Opens the journal in this directory, or begins an empty one.
    ///
    /// # Errors
    /// Damage, bytes of a newer program, the disk. Nothing was changed then, other than that a new beginning which was
    /// durable already may have been finished.
    pub fn open(disk: Arc<dyn Disk>, options: JournalOptions) -> Result<(Self, Recovered), JournalError> {
        let names = tidy_up(&disk)?;
        let mut walk = Walk::new(Arc::clone(&disk));
        for (at, (name, size)) in names.iter().enumerate() {
            walk.segment(name, *size, at + 1 == names.len())?;
        }
        let cut = walk.settle()?;
        let Walk {
            volumes,
            checkpoint,
            covered,
            whole,
            ..
        } = walk;
        let head = whole.map(|(head, _)| head);
        let tail = head.and_then(|head| volumes.last().map(|volume| Tail::at(volume, head)));
        let state = State {
            recent: Recent::new(options.recent_bytes),
            head: head.filter(|head| head.lsn != Lsn(0)),
            segments: volumes.into(),
            generation: 0,
        };
        let recovered = Recovered {
            head: state.head,
            oldest: state.oldest(),
            checkpoint,
            cut,
        };
        let journal = Self {
            shelf: Arc::new(Shelf::new(disk, state)),
            options,
            tail,
            checkpoint: covered,
            poisoned: false,
        };
        Ok((journal, recovered))
    }
}

/// Finishes or forgets what was being made when the daemon stopped; returns the segments with their sizes, oldest first.
fn tidy_up(disk: &Arc<dyn Disk>) -> Result<Vec<(String, u64)>, JournalError> {
    let list = || disk.list().map_err(JournalError::io("list", "the journal's directory"));
    if let Some((_, size)) = list()?.into_iter().find(|(name, _)| name == segment::RESTART) {
        let before = read_header(disk.as_ref(), segment::RESTART, size)?;
        finish_restart(disk.as_ref(), &segment::name(before.lsn.next()))
            .map_err(JournalError::io("finish", segment::RESTART))?;
    }
    let mut segments = Vec::new();
    for (name, size) in list()? {
        if name == segment::NEW || name == segment::RESTART_NEW {
            disk.remove(&name).map_err(JournalError::io("remove", &name))?;
        } else if segment::first_of(&name).is_some() {
            segments.push((name, size));
        }
    }
    // 20 digits: the order of names is the order of LSNs.
    segments.sort();
    // A crash may have come between a segment's name and its flush; frames are appended to it from now on.
    disk.sync_directory()
        .map_err(JournalError::flush("flush", "the journal's directory"))?;
    Ok(segments)
}

fn read_header(disk: &dyn Disk, name: &str, size: u64) -> Result<Head, JournalError> {
    let mut bytes = [0; segment::HEADER_BYTES];
    let read = disk
        .read_at(name, 0, &mut bytes)
        .map_err(JournalError::io("read", name))?;
    if read < bytes.len() {
        // A header is durable before its file has this name.
        return Err(JournalError::corrupt(name, 0, format!("it has only {size} bytes")));
    }
    segment::decode(&bytes).map_err(JournalError::codec(name, 0))
}

/// A checkpoint whose end has not been seen.
struct Building {
    covers: Lsn,
    parts: Vec<Vec<u8>>,
}

/// What has been read so far.
struct Walk {
    disk: Arc<dyn Disk>,
    volumes: Vec<Volume>,
    succession: Option<Succession>,
    /// The end of the last whole transaction, and its place in the segment being read.
    whole: Option<(Head, u64)>,
    building: Option<Building>,
    checkpoint: Option<Checkpoint>,
    covered: Option<Covered>,
    /// Bytes of the newest segment, as far as its records prove that they were durable.
    proven: u64,
    /// Where, and why, nothing more of the newest segment can be believed.
    torn: Option<(u64, String)>,
    /// Size of the newest segment as it was found.
    found: u64,
}

impl Walk {
    fn new(disk: Arc<dyn Disk>) -> Self {
        Self {
            disk,
            volumes: Vec::new(),
            succession: None,
            whole: None,
            building: None,
            checkpoint: None,
            covered: None,
            proven: 0,
            torn: None,
            found: 0,
        }
    }

    /// Reads one segment, which must go on from the one before.
    fn segment(&mut self, name: &str, size: u64, newest: bool) -> Result<(), JournalError> {
        let before = read_header(self.disk.as_ref(), name, size)?;
        self.expect_header(name, before)?;
        let volume = Volume::empty(before);
        (self.proven, self.found) = (volume.size, size);
        let mut scan = Scan::new(Arc::clone(&self.disk), name.to_owned(), volume.size, size);
        self.whole = Some((before, volume.size));
        self.volumes.push(volume);
        loop {
            match scan.step()? {
                Step::Record(record) => self.record(name, record)?,
                Step::End => break,
                Step::Damage(offset, why) => {
                    self.damage(&mut scan, newest, offset, &why.to_string())?;
                    break;
                }
            }
        }
        self.expect_whole(name, size, newest)?;
        if let (Some(volume), Some((_, end))) = (self.volumes.last_mut(), self.whole) {
            volume.size = end;
            volume.marks.retain(|mark| mark.offset < end);
        }
        Ok(())
    }

    fn expect_header(&mut self, name: &str, before: Head) -> Result<(), JournalError> {
        let known = self.succession.get_or_insert(Succession::at(before)).head;
        if segment::first_of(name) != Some(before.lsn.next()) {
            return Err(JournalError::corrupt(
                name,
                0,
                format!("it begins with LSN {}", before.lsn.next()),
            ));
        }
        if known != before {
            let why = format!("it goes on from {before:?}, the segment before ends at {known:?}");
            return Err(JournalError::corrupt(name, 0, why));
        }
        Ok(())
    }

    fn record(&mut self, name: &str, record: Record) -> Result<(), JournalError> {
        let (offset, end) = (record.offset, record.end);
        if record.durable > offset {
            return Err(JournalError::corrupt(
                name,
                offset,
                "it says that itself had been durable",
            ));
        }
        self.proven = self.proven.max(record.durable);
        if let Some(checkpoint) = &mut self.checkpoint {
            checkpoint.bytes_after = checkpoint.bytes_after.saturating_add(end.saturating_sub(offset));
        }
        let taken = match record.kind {
            record::Kind::Frame => return self.frame(name, record),
            record::Kind::CheckpointPart => self.checkpoint_part(&record.body),
            record::Kind::CheckpointEnd => self.checkpoint_end(&record.body, end),
        };
        taken.map_err(|why| JournalError::corrupt(name, offset, why))
    }

    fn frame(&mut self, name: &str, record: Record) -> Result<(), JournalError> {
        let (offset, end) = (record.offset, record.end);
        let corrupt = |why: String| JournalError::corrupt(name, offset, why);
        if self.building.is_some() {
            return Err(corrupt("a frame stands inside a checkpoint".to_owned()));
        }
        let frame = frame_of(name, record)?;
        let Some(succession) = self.succession.as_mut() else {
            return Err(corrupt("it has no header".to_owned()));
        };
        succession.take(&frame).map_err(|error| corrupt(error.to_string()))?;
        if frame.ends_transaction() {
            self.whole = Some((succession.head, end));
        }
        if let Some(volume) = self.volumes.last_mut() {
            mark(&mut volume.marks, frame.lsn, offset);
        }
        Ok(())
    }

    fn checkpoint_part(&mut self, body: &[u8]) -> Result<(), String> {
        let (covers, index, part) = record::take_checkpoint_part(body).map_err(|error| error.to_string())?;
        if self.succession.is_some_and(|succession| succession.open_run.is_some()) {
            return Err("a checkpoint stands inside a run".to_owned());
        }
        let building = self.building.get_or_insert(Building {
            covers,
            parts: Vec::new(),
        });
        if building.covers != covers || usize::try_from(index) != Ok(building.parts.len()) {
            return Err(format!("part {index} of a checkpoint of {covers} does not go on"));
        }
        building.parts.push(part);
        Ok(())
    }

    fn checkpoint_end(&mut self, body: &[u8], end: u64) -> Result<(), String> {
        let (covers, count) = record::take_checkpoint_end(body).map_err(|error| error.to_string())?;
        let built = self.building.take().unwrap_or(Building {
            covers,
            parts: Vec::new(),
        });
        let head = self.succession.map(|succession| succession.head.lsn);
        if built.covers != covers || usize::try_from(count) != Ok(built.parts.len()) || head.is_none_or(|h| covers > h)
        {
            return Err(format!(
                "the end of a checkpoint of {covers} in {count} parts does not fit what is before it"
            ));
        }
        let before = self.volumes.last().map_or(Lsn(0), |volume| volume.before.lsn);
        self.covered = Some(Covered {
            covers,
            segment_before: before,
        });
        self.checkpoint = Some(Checkpoint {
            covers,
            parts: built.parts,
            bytes_after: 0,
        });
        if let Some(whole) = &mut self.whole {
            whole.1 = end;
        }
        Ok(())
    }

    /// Decides whether a place where no record can be read is a torn end.
    fn damage(&mut self, scan: &mut Scan, newest: bool, offset: u64, why: &str) -> Result<(), JournalError> {
        if !newest {
            return Err(JournalError::corrupt(&scan.file, offset, why));
        }
        if let Some(proof) = scan.proof_behind(offset)? {
            let why = format!("{why}; the record at byte {proof} was written when it had been durable");
            return Err(JournalError::corrupt(&scan.file, offset, why));
        }
        self.torn = Some((offset, why.to_owned()));
        Ok(())
    }

    fn expect_whole(&self, name: &str, size: u64, newest: bool) -> Result<(), JournalError> {
        let open_run = self.succession.is_some_and(|succession| succession.open_run.is_some());
        if !newest && (open_run || self.building.is_some()) {
            // A segment is sealed between transactions only.
            return Err(JournalError::corrupt(
                name,
                size,
                "it ends in the middle of a run or a checkpoint",
            ));
        }
        Ok(())
    }

    /// Makes the newest segment end with its last whole transaction, durably.
    fn settle(&mut self) -> Result<Option<Cut>, JournalError> {
        let (Some(volume), Some((head, end))) = (self.volumes.last().cloned(), self.whole) else {
            return Ok(None);
        };
        let cut = (self.found > end).then(|| Cut {
            file: volume.name.clone(),
            offset: end,
            bytes: self.found - end,
            why: self.torn.take().map_or_else(
                || "a run or a checkpoint lacks its end".to_owned(),
                |(offset, why)| format!("at byte {offset}: {why}"),
            ),
        });
        if head.lsn == Lsn(0) {
            // Made, and never committed to. The next stream may be another one.
            let removed = self.disk.remove(&volume.name).and_then(|()| self.disk.sync_directory());
            removed.map_err(JournalError::io("remove", &volume.name))?;
            self.volumes.clear();
            self.whole = None;
            return Ok(cut);
        }
        // also where it ends there: a cut whose flush failed may not be on the disk
        let truncated = self.disk.truncate(&volume.name, end);
        truncated.map_err(JournalError::io("cut", &volume.name))?;
        self.write_again(&volume.name, self.proven, end)?;
        self.disk
            .sync(&volume.name)
            .map_err(JournalError::flush("flush", &volume.name))?;
        Ok(cut)
    }

    /// Writes what no record proves to have been durable once more. After a failed flush the kernel may hold pages that
    /// it takes for written and never writes again; without this the flush that follows would prove nothing.
    fn write_again(&self, name: &str, from: u64, end: u64) -> Result<(), JournalError> {
        let mut at = from;
        let mut bytes = vec![0; JOURNAL_READ_BYTES];
        while at < end {
            let size = usize::try_from(end - at).unwrap_or(usize::MAX).min(bytes.len());
            let Some(piece) = bytes.get_mut(..size) else { break };
            let read = self
                .disk
                .read_at(name, at, piece)
                .map_err(JournalError::io("read", name))?;
            if read < size {
                return Err(JournalError::corrupt(name, at, "it became shorter while it was read"));
            }
            self.disk
                .write_at(name, at, piece)
                .map_err(JournalError::io("write", name))?;
            at += size as u64;
        }
        Ok(())
    }
}
