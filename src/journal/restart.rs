//! A new beginning: a standby that lacks the frames before joins at a base.

use super::error::JournalError;
use super::shelf::{Volume, mark};
use super::succession::{Head, Succession};
use super::writer::{Journal, Tail, refused, write_new};
use super::{Disk, record, segment};
use crate::codec::{EncodedFrame, frame, payload};
use crate::op::Lsn;

impl Journal {
    /// Begins anew at a base frame, of whatever stream: for a standby that lacks the frames before. Durable when it
    /// returns; everything that the journal held is gone then, and not before.
    ///
    /// # Errors
    /// The frame is no base; the disk: before the new beginning is durable the journal is as it was, and it may be tried
    /// again. A failure behind that point poisons the journal; recovery then finishes it.
    pub fn restart_at(&mut self, base: &EncodedFrame) -> Result<Head, JournalError> {
        self.usable()?;
        let before = before_base(base)?;
        let mut volume = Volume::empty(before);
        let mut bytes = segment::encode(&before);
        mark(&mut volume.marks, base.lsn, bytes.len() as u64);
        record::put(record::Kind::Frame, bytes.len() as u64, &[&base.bytes], &mut bytes).map_err(refused)?;
        volume.size = bytes.len() as u64;
        let disk = &self.shelf.disk;
        write_new(disk.as_ref(), segment::RESTART_NEW, &bytes)
            .and_then(|()| disk.rename(segment::RESTART_NEW, segment::RESTART))
            .map_err(JournalError::io("make", segment::RESTART))?;
        if let Err(error) = finish_restart(disk.as_ref(), &volume.name) {
            self.abandon();
            return Err(JournalError::flush("finish", segment::RESTART)(error));
        }
        let mut succession = Succession::at(before);
        succession.take(base)?;
        self.tail = Some(Tail::at(&volume, succession.head));
        self.checkpoint = None;
        let mut state = self.shelf.state();
        state.generation += 1;
        state.head = Some(succession.head);
        state.recent.clear();
        state.segments = [volume].into();
        Ok(succession.head)
    }

    /// Some of the old segments may be gone, and the new one may not be durable: nothing can be read any more either.
    fn abandon(&mut self) {
        self.poisoned = true;
        (self.tail, self.checkpoint) = (None, None);
        let mut state = self.shelf.state();
        state.generation += 1;
        state.head = None;
        state.recent.clear();
        state.segments.clear();
    }
}

/// From a durable `restart.seg` to a journal of that one segment. May be done again from any point.
pub(super) fn finish_restart(disk: &dyn Disk, name: &str) -> std::io::Result<()> {
    disk.sync_directory()?;
    for (old, _) in disk.list()? {
        if segment::first_of(&old).is_some() {
            disk.remove(&old)?;
        }
    }
    disk.sync_directory()?;
    disk.rename(segment::RESTART, name)?;
    disk.sync_directory()
}

fn before_base(base: &EncodedFrame) -> Result<Head, JournalError> {
    let (header, kind) = frame::peek(&base.bytes).map_err(refused)?;
    let lsn = header.lsn.0.checked_sub(1).map(Lsn);
    match lsn {
        Some(lsn) if payload::is_base(kind) && header.run.is_none() => Ok(Head {
            stream: base.stream,
            epoch: base.epoch,
            lsn,
            chain: base.previous,
        }),
        _ => Err(JournalError::Refused(format!(
            "frame {} is no base to begin at",
            base.lsn
        ))),
    }
}
