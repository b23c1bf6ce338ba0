//! Appends, commits, trims: the one writer of a journal.

use super::error::JournalError;
use super::reader::{JournalView, Reader};
use super::recent::Recent;
use super::shelf::{Mark, Shelf, Volume, mark};
use super::succession::{Head, Succession};
use super::{Disk, record, segment};
use crate::codec::{CodecError, EncodedFrame};
use crate::limits::{JOURNAL_PENDING_BYTES_MAX, JOURNAL_RECENT_BYTES, SEGMENT_BYTES};
use crate::op::{ChainHash, Lsn};
use std::sync::Arc;

/// Room for records that is kept between writes.
const PENDING_KEPT_BYTES: usize = 64 << 10;

/// How a journal behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalOptions {
    /// A segment that has reached this many bytes is sealed at the next commit.
    pub segment_bytes: u64,
    /// True on a primary: nothing is trimmed that no durable checkpoint covers.
    pub checkpointed: bool,
    /// The newest committed frames that stay in memory for readers that follow closely, bytes.
    pub recent_bytes: usize,
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self {
            segment_bytes: SEGMENT_BYTES,
            checkpointed: false,
            recent_bytes: JOURNAL_RECENT_BYTES,
        }
    }
}

/// The latest checkpoint: what it covers, and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Covered {
    pub(super) covers: Lsn,
    /// End of the history before the segment that holds it.
    pub(super) segment_before: Lsn,
}

/// The newest segment, with what was appended and is not committed yet.
pub(super) struct Tail {
    pub(super) name: String,
    pub(super) before: Lsn,
    /// Everything appended.
    pub(super) succession: Succession,
    /// The end of the last whole transaction appended, and its place.
    pub(super) whole: (Head, u64),
    /// Bytes of the segment that are in the file.
    pub(super) written: u64,
    /// How far anything was ever written, or may have been by a write that failed.
    pub(super) touched: u64,
    /// Bytes of the segment that are durable.
    pub(super) durable: u64,
    /// Records that stand behind `written`, not in the file yet.
    pub(super) pending: Vec<u8>,
    /// Places of frames that are not committed yet.
    pub(super) marks: Vec<Mark>,
    /// Frames that are not committed yet, as far as they are kept in memory.
    pub(super) fresh: Recent,
    /// A checkpoint that is not committed yet.
    pub(super) checkpoint: Option<Covered>,
}

impl Tail {
    /// Of a segment that is durable up to its last whole transaction.
    pub(super) fn at(volume: &Volume, head: Head) -> Self {
        Self {
            name: volume.name.clone(),
            before: volume.before.lsn,
            succession: Succession::at(head),
            whole: (head, volume.size),
            written: volume.size,
            touched: volume.size,
            durable: volume.size,
            pending: Vec::new(),
            marks: volume.marks.last().copied().into_iter().collect(),
            fresh: Recent::new(JOURNAL_RECENT_BYTES),
            checkpoint: None,
        }
    }

    pub(super) fn end(&self) -> u64 {
        self.written.saturating_add(self.pending.len() as u64)
    }
}

/// A journal that is open for writing. Every call may block on the disk.
pub struct Journal {
    pub(super) shelf: Arc<Shelf>,
    pub(super) options: JournalOptions,
    /// None in an empty journal.
    pub(super) tail: Option<Tail>,
    pub(super) checkpoint: Option<Covered>,
    pub(super) poisoned: bool,
}

impl Drop for Journal {
    /// A role that ends leaves readers behind for a moment; the next role opens the journal all the same.
    fn drop(&mut self) {
        self.shelf.disk.release();
    }
}

impl Journal {
    /// What other threads may see of it.
    #[must_use]
    pub fn view(&self) -> JournalView {
        JournalView {
            shelf: Arc::clone(&self.shelf),
        }
    }

    /// The end of the last committed whole transaction; none in an empty journal.
    #[must_use]
    pub fn head(&self) -> Option<Head> {
        self.view().head()
    }

    /// The end of everything appended, committed or not, and parts of an open run: what [`Self::append`] goes on from.
    #[must_use]
    pub fn appended(&self) -> Option<Head> {
        self.tail
            .as_ref()
            .map(|tail| tail.succession.head)
            .filter(|head| head.lsn != Lsn(0))
    }

    /// The oldest LSN that can be read; none in an empty journal.
    #[must_use]
    pub fn oldest(&self) -> Option<Lsn> {
        self.view().oldest()
    }

    /// Bytes on disk that are committed.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.view().bytes()
    }

    /// A reader of committed frames for any thread; its next frame is `from`.
    #[must_use]
    pub fn reader(&self, from: Lsn) -> Reader {
        self.view().reader(from)
    }

    /// See [`JournalView::chain_at`].
    ///
    /// # Errors
    /// The disk, or what stands on it.
    pub fn chain_at(&self, lsn: Lsn) -> Result<Option<ChainHash>, JournalError> {
        self.view().chain_at(lsn)
    }

    /// The LSN that the last committed checkpoint covers.
    #[must_use]
    pub fn covered(&self) -> Option<Lsn> {
        self.checkpoint.map(|checkpoint| checkpoint.covers)
    }

    /// Takes frames: all of them, or none. They are neither durable nor visible before [`Self::commit`]. The first
    /// frame of an empty journal has LSN 1; a standby that joins later uses [`Self::restart_at`].
    ///
    /// # Errors
    /// A frame does not follow; the disk, which may be tried again.
    pub fn append(&mut self, frames: &[EncodedFrame]) -> Result<(), JournalError> {
        self.usable()?;
        let Some(first) = frames.first() else { return Ok(()) };
        let begin = Head {
            stream: first.stream,
            epoch: first.epoch,
            lsn: Lsn(0),
            chain: ChainHash::default(),
        };
        let mut succession = self.tail.as_ref().map_or(Succession::at(begin), |tail| tail.succession);
        frames.iter().try_for_each(|frame| succession.take(frame))?;
        // Everything that can fail comes before anything is taken.
        self.make_room()?;
        if self.tail.is_none() {
            self.begin_segment(begin)?;
        }
        let Some(tail) = self.tail.as_mut() else {
            return Err(JournalError::Poisoned);
        };
        frames.iter().try_for_each(|frame| put_frame(tail, frame))
    }

    /// Makes everything appended durable with one flush, then visible as far as it is whole. Returns the new head;
    /// none while nothing whole was ever appended.
    ///
    /// # Errors
    /// The disk: a failed write may be tried again (nothing is lost meanwhile), a failed flush poisons the journal.
    pub fn commit(&mut self) -> Result<Option<Head>, JournalError> {
        self.usable()?;
        self.write_pending()?;
        let Some(tail) = self.tail.as_mut() else {
            return Ok(None);
        };
        if tail.durable < tail.written {
            if let Err(error) = self.shelf.disk.sync(&tail.name) {
                self.poisoned = true;
                return Err(JournalError::flush("flush", &tail.name)(error));
            }
            tail.durable = tail.written;
        }
        self.publish();
        self.seal_when_full();
        Ok(self.head())
    }

    /// Forgets everything behind the committed head: what was appended since, and the parts of an open run, durable or
    /// not. For a standby whose sender is gone in the middle of a run.
    ///
    /// # Errors
    /// The disk; the journal is then poisoned, since what stands behind the head must not come back.
    pub fn roll_back(&mut self) -> Result<(), JournalError> {
        self.usable()?;
        let (volume, head) = {
            let state = self.shelf.state();
            (state.segments.back().cloned(), state.head)
        };
        let Some(volume) = volume else { return Ok(()) };
        self.cut_back(volume.size)?;
        self.tail = Some(Tail::at(&volume, head.unwrap_or(volume.before)));
        Ok(())
    }

    /// Removes whole segments that hold no frame beyond `upto`, oldest first, never the newest. Returns the oldest LSN
    /// that is left.
    ///
    /// # Errors
    /// On a primary `upto` is beyond what the last committed checkpoint covers; the disk, which may be tried again.
    pub fn trim(&mut self, upto: Lsn) -> Result<Option<Lsn>, JournalError> {
        self.usable()?;
        self.allow_trim(upto)?;
        // The segment that holds the checkpoint stays, and so does everything behind it.
        let keep = self
            .checkpoint
            .map_or(Lsn(u64::MAX), |checkpoint| checkpoint.segment_before);
        while let Some(name) = self.trimmable(upto, keep) {
            // Readers first: none begins in a file that is about to go.
            let volume = self.shelf.state().segments.pop_front();
            if let Err(error) = self.shelf.disk.remove(&name) {
                volume
                    .into_iter()
                    .for_each(|volume| self.shelf.state().segments.push_front(volume));
                return Err(JournalError::io("remove", &name)(error));
            }
            // One by one: a later segment that is gone while an earlier one came back would be a gap.
            if let Err(error) = self.shelf.disk.sync_directory() {
                self.poisoned = true;
                return Err(JournalError::flush("flush the directory of", &name)(error));
            }
        }
        Ok(self.oldest())
    }

    fn trimmable(&self, upto: Lsn, keep: Lsn) -> Option<String> {
        let state = self.shelf.state();
        let (oldest, next) = (state.segments.front()?, state.segments.get(1)?);
        let may_go = next.before.lsn <= upto && oldest.before.lsn < keep;
        may_go.then(|| oldest.name.clone())
    }

    fn allow_trim(&self, upto: Lsn) -> Result<(), JournalError> {
        let covered = self.covered();
        if !self.options.checkpointed || covered.is_some_and(|covers| upto <= covers) || upto == Lsn(0) {
            return Ok(());
        }
        Err(JournalError::Refused(format!(
            "trim up to {upto}: the last durable checkpoint covers {}",
            covered.unwrap_or_default()
        )))
    }

    pub(super) fn usable(&self) -> Result<(), JournalError> {
        if self.poisoned {
            Err(JournalError::Poisoned)
        } else {
            Ok(())
        }
    }

    /// Bounds what is held in memory.
    pub(super) fn make_room(&mut self) -> Result<(), JournalError> {
        let pending = self.tail.as_ref().map_or(0, |tail| tail.pending.len());
        if pending > JOURNAL_PENDING_BYTES_MAX {
            self.write_pending()
        } else {
            Ok(())
        }
    }

    /// Writes what is held in memory, all of it or none.
    pub(super) fn write_pending(&mut self) -> Result<(), JournalError> {
        let Some(tail) = self.tail.as_mut().filter(|tail| !tail.pending.is_empty()) else {
            return Ok(());
        };
        let disk = &self.shelf.disk;
        tail.touched = tail.touched.max(tail.end());
        if let Err(error) = disk.write_at(&tail.name, tail.written, &tail.pending) {
            // A part may have been written: the beginning of what the next attempt writes in its place, or what
            // `cut_back` removes.
            return Err(JournalError::io("write", &tail.name)(error));
        }
        tail.written = tail.end();
        tail.pending.clear();
        // The room that a checkpoint took is not kept for the few bytes of a change.
        tail.pending.shrink_to(PENDING_KEPT_BYTES);
        Ok(())
    }

    /// Cuts the newest segment, durably: what stood behind `end` must not come back after a crash, since something else
    /// may be written there.
    pub(super) fn cut_back(&mut self, end: u64) -> Result<(), JournalError> {
        let Some(tail) = self.tail.as_mut().filter(|tail| tail.touched > end) else {
            return Ok(());
        };
        let disk = &self.shelf.disk;
        if let Err(error) = disk.truncate(&tail.name, end).and_then(|()| disk.sync(&tail.name)) {
            self.poisoned = true;
            return Err(JournalError::flush("cut", &tail.name)(error));
        }
        (tail.written, tail.touched, tail.durable) = (end, end, end);
        Ok(())
    }

    /// Shows readers what is durable and whole.
    fn publish(&mut self) {
        let Some(tail) = self.tail.as_mut() else { return };
        let (head, size) = tail.whole;
        let mut state = self.shelf.state();
        state.head = Some(head).filter(|head| head.lsn != Lsn(0));
        tail.fresh
            .take_upto(head.lsn)
            .into_iter()
            .for_each(|frame| state.recent.push(frame));
        if let Some(volume) = state.segments.back_mut() {
            let known = volume.marks.last().map_or(0, |mark| mark.offset);
            volume.size = size;
            volume.marks.extend(
                tail.marks
                    .iter()
                    .filter(|mark| known < mark.offset && mark.offset < size),
            );
        }
        let last_known = tail.marks.iter().rposition(|mark| mark.offset < size);
        tail.marks.drain(..last_known.unwrap_or(0));
        self.checkpoint = tail.checkpoint.take().or(self.checkpoint);
    }

    /// Begins another segment once this one is full. A disk that is too full for it only puts it off.
    fn seal_when_full(&mut self) {
        let full = self.tail.as_ref().filter(|tail| {
            tail.durable >= self.options.segment_bytes
                && tail.succession.open_run.is_none()
                && tail.whole.0.lsn > tail.before
        });
        let Some(head) = full.map(|tail| tail.whole.0) else {
            return;
        };
        if let Err(error) = self.begin_segment(head) {
            tracing::warn!(%error, "a full journal segment goes on growing");
        }
    }

    /// Makes a segment that goes on from `before`; it has its name only once its header is durable.
    fn begin_segment(&mut self, before: Head) -> Result<(), JournalError> {
        let volume = Volume::empty(before);
        let disk = &self.shelf.disk;
        let made = write_new(disk.as_ref(), segment::NEW, &segment::encode(&before))
            .and_then(|()| disk.rename(segment::NEW, &volume.name));
        made.map_err(JournalError::io("make", &volume.name))?;
        if let Err(error) = disk.sync_directory() {
            self.poisoned = true;
            return Err(JournalError::flush("flush the directory of", &volume.name)(error));
        }
        self.tail = Some(Tail::at(&volume, before));
        self.shelf.state().segments.push_back(volume);
        Ok(())
    }
}

/// A durable file under a name that counts for nothing yet; removed where it can't be made.
pub(super) fn write_new(disk: &dyn Disk, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let made = disk
        .create(name)
        .and_then(|()| disk.write_at(name, 0, bytes))
        .and_then(|()| disk.sync(name));
    made.inspect_err(|_| {
        // Where this fails, too, the next attempt replaces the file, and recovery removes it.
        drop(disk.remove(name));
    })
}

fn put_frame(tail: &mut Tail, frame: &EncodedFrame) -> Result<(), JournalError> {
    let offset = tail.end();
    record::put(record::Kind::Frame, tail.durable, &[&frame.bytes], &mut tail.pending).map_err(refused)?;
    mark(&mut tail.marks, frame.lsn, offset);
    tail.succession.take(frame)?;
    tail.fresh.push(frame.clone());
    if frame.ends_transaction() {
        tail.whole = (tail.succession.head, tail.end());
    }
    Ok(())
}

pub(super) fn refused(error: CodecError) -> JournalError {
    JournalError::Refused(error.to_string())
}
