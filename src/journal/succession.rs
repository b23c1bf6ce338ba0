//! What may follow what: the rule that appending, recovering and reading all hold frames against.

use super::JournalError;
use crate::codec::EncodedFrame;
use crate::op::{ChainHash, Epoch, Lsn, Run, StreamId};

/// The end of a history: whose it is, how far it goes, and its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Which stream.
    pub stream: StreamId,
    /// Epoch of the last frame.
    pub epoch: Epoch,
    /// Its LSN. 0: none yet.
    pub lsn: Lsn,
    /// Its chain hash (zeros before LSN 1).
    pub chain: ChainHash,
}

/// A history as it grows: its end, and the run that is open there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Succession {
    /// The last frame.
    pub head: Head,
    /// Set while a run lacks its end: the place of its last part.
    pub open_run: Option<Run>,
}

impl Succession {
    /// A history that ends here, with no run open.
    #[must_use]
    pub fn at(head: Head) -> Self {
        Self { head, open_run: None }
    }

    /// Takes the next frame.
    ///
    /// # Errors
    /// [`JournalError::DoesNotFollow`]: another stream, a gap, a broken chain, a lower epoch, or no part of the run
    /// that is open.
    pub fn take(&mut self, frame: &EncodedFrame) -> Result<(), JournalError> {
        if let Some(why) = self.objection(frame) {
            return Err(JournalError::DoesNotFollow { lsn: frame.lsn, why });
        }
        self.head = Head {
            stream: frame.stream,
            epoch: frame.epoch,
            lsn: frame.lsn,
            chain: frame.chain,
        };
        self.open_run = frame.run.filter(|run| !run.is_last());
        Ok(())
    }

    fn objection(&self, frame: &EncodedFrame) -> Option<String> {
        let head = &self.head;
        if frame.stream != head.stream {
            return Some(format!("it belongs to stream {}, not {}", frame.stream, head.stream));
        }
        if head.lsn.0.checked_add(1) != Some(frame.lsn.0) {
            return Some(format!("the last LSN is {}", head.lsn));
        }
        if frame.previous != head.chain {
            return Some(format!("it is chained to {}, not to {}", frame.previous, head.chain));
        }
        if frame.epoch < head.epoch {
            return Some(format!("its epoch {} is below {}", frame.epoch, head.epoch));
        }
        self.objection_to_run(frame.run)
    }

    fn objection_to_run(&self, run: Option<Run>) -> Option<String> {
        let fits = match (self.open_run, run) {
            (None, None) => true,
            (None, Some(run)) => run.part == 0,
            (Some(_), None) => false,
            (Some(open), Some(run)) => {
                run.first == open.first && run.parts == open.parts && Some(run.part) == open.part.checked_add(1)
            }
        };
        (!fits).then(|| format!("its run {run:?} does not go on from {:?}", self.open_run))
    }
}
