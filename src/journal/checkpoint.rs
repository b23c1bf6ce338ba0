//! Checkpoints: what a primary remembers of its source, as of a place in the journal. Local, never shipped.

use super::error::JournalError;
use super::record;
use super::writer::{Covered, Journal, Tail, refused};
use crate::codec::CodecError;
use crate::op::Lsn;

impl Journal {
    /// Takes a checkpoint, a local record that is never shipped: opaque parts of at most
    /// [`crate::limits::CHECKPOINT_PART_BYTES_MAX`] bytes that together stand for everything up to and with `covers`.
    /// Durable with the next [`Self::commit`]; it replaces the one before.
    ///
    /// # Errors
    /// Nothing was appended yet, a run is open, `covers` goes back or beyond what was appended, a part is too large or
    /// could not be made; the disk, which may be tried again. Nothing of the checkpoint is left then.
    pub fn append_checkpoint(
        &mut self,
        covers: Lsn,
        parts: impl IntoIterator<Item = Result<Vec<u8>, CodecError>>,
    ) -> Result<(), JournalError> {
        self.usable()?;
        self.allow_checkpoint(covers)?;
        self.write_pending()?;
        let begin = self.tail.as_ref().map_or(0, Tail::end);
        let put = self.put_checkpoint(covers, parts);
        let Some(tail) = self.tail.as_mut() else { return put };
        if put.is_ok() {
            tail.checkpoint = Some(Covered {
                covers,
                segment_before: tail.before,
            });
            tail.whole.1 = tail.end();
            return Ok(());
        }
        tail.pending.clear();
        self.cut_back(begin)?;
        put
    }

    fn allow_checkpoint(&self, covers: Lsn) -> Result<(), JournalError> {
        let refuse = |why: &str| Err(JournalError::Refused(format!("checkpoint of {covers}: {why}")));
        let Some(tail) = &self.tail else {
            return refuse("the journal is empty");
        };
        let last = tail.checkpoint.or(self.checkpoint).map(|checkpoint| checkpoint.covers);
        if tail.succession.open_run.is_some() {
            return refuse("a run is open");
        }
        if covers > tail.succession.head.lsn {
            return refuse("it is beyond the last frame");
        }
        if last.is_some_and(|last| covers < last) {
            return refuse("the one before covers more");
        }
        Ok(())
    }

    fn put_checkpoint(
        &mut self,
        covers: Lsn,
        parts: impl IntoIterator<Item = Result<Vec<u8>, CodecError>>,
    ) -> Result<(), JournalError> {
        let mut count = 0;
        for part in parts {
            let part = part.map_err(refused)?;
            self.make_room()?;
            let Some(tail) = self.tail.as_mut() else { return Ok(()) };
            record::put_checkpoint_part(covers, count, &part, tail.durable, &mut tail.pending).map_err(refused)?;
            count += 1;
        }
        let Some(tail) = self.tail.as_mut() else { return Ok(()) };
        record::put_checkpoint_end(covers, count, tail.durable, &mut tail.pending).map_err(refused)
    }
}
