//! Whether a frame follows: checksum, stream, epoch, dense LSN, chain, the parts of a run in order.

use crate::codec::frame::{self, EncodedFrame};
use crate::codec::wire::{Hello, Place};
use crate::limits::RUN_PARTS_MAX;
use crate::op::{Epoch, FrameHeader, Lsn, NodeName, Payload, Run, StreamId};
use std::sync::Arc;

/// The stream as far as it was taken.
#[derive(Debug)]
pub(super) struct Follow {
    pub(super) stream: StreamId,
    pub(super) head: Place,
    /// Epoch of the frame at `head`; 0 while no frame was seen since the start.
    epoch: Epoch,
    /// Place of the frame at `head` in its run, where that run goes on.
    run: Option<Run>,
    /// The last whole transaction: place and epoch.
    whole: (Place, Epoch),
}

/// What a connection allows, as its hello said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) stream: StreamId,
    /// Epoch that the sender writes in: no frame is above it.
    pub(super) epoch: Epoch,
    /// True while the next frame must be a base for us, which follows on nothing.
    pub(super) joining: bool,
}

impl Terms {
    pub(super) fn of(hello: &Hello, joining: bool) -> Self {
        Self {
            stream: hello.stream,
            epoch: hello.epoch,
            joining,
        }
    }
}

/// A frame that was taken.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) frame: EncodedFrame,
    pub(super) header: FrameHeader,
    pub(super) payload: Payload,
}

/// Why a frame was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Broken or not the next one: asking again may help.
    Broken(String),
    /// Written like that, perhaps by a newer program: asking again does not help.
    Unknown(String),
}

/// Opens a frame and keeps its bytes as they came.
pub(super) fn open(bytes: &Arc<[u8]>) -> Result<Taken, Fault> {
    let (header, chain, payload) = frame::open(bytes).map_err(|error| match error.is_damage() {
        true => Fault::Broken(error.to_string()),
        false => Fault::Unknown(error.to_string()),
    })?;
    let frame = EncodedFrame {
        stream: header.stream,
        epoch: header.epoch,
        lsn: header.lsn,
        previous: header.previous,
        chain,
        run: header.run,
        bytes: Arc::clone(bytes),
    };
    Ok(Taken { frame, header, payload })
}

impl Follow {
    pub(super) fn after(stream: StreamId, head: Place) -> Self {
        Self {
            stream,
            head,
            epoch: Epoch(0),
            run: None,
            whole: (head, Epoch(0)),
        }
    }

    /// Takes the next frame of the stream.
    pub(super) fn take(&mut self, bytes: &Arc<[u8]>, terms: &Terms, us: &NodeName) -> Result<Taken, Fault> {
        let taken = open(bytes)?;
        let broken = match terms.joining {
            true => self.joins(&taken, terms, us),
            false => self.follows(&taken, terms),
        };
        broken.map_err(|why| Fault::Broken(format!("{} frame {}: {why}", taken.payload.kind(), taken.frame.lsn)))?;
        self.stream = taken.frame.stream;
        self.epoch = taken.frame.epoch;
        self.head = Place {
            lsn: taken.frame.lsn,
            chain: taken.frame.chain,
        };
        self.run = taken.frame.run.filter(|run| !run.is_last());
        if self.run.is_none() {
            self.whole = (self.head, self.epoch);
        }
        Ok(taken)
    }

    /// Forgets a run without its end: whoever connects next may not have it. False: there is none.
    pub(super) fn roll_back(&mut self) -> bool {
        if self.run.take().is_none() {
            return false;
        }
        (self.head, self.epoch) = self.whole;
        true
    }

    fn joins(&self, taken: &Taken, terms: &Terms, us: &NodeName) -> Result<(), String> {
        let ours = matches!(taken.payload, Payload::Base(_)) && taken.header.peer.as_ref() == Some(us);
        if !ours || taken.frame.run.is_some() || taken.frame.lsn == Lsn(0) {
            return Err("it is not the base that was asked for".to_owned());
        }
        in_stream(taken, terms.stream, terms)
    }

    fn follows(&self, taken: &Taken, terms: &Terms) -> Result<(), String> {
        let frame = &taken.frame;
        in_stream(taken, terms.stream, terms)?;
        if frame.lsn != self.head.lsn.next() {
            return Err(format!("frame {} is next", self.head.lsn.next()));
        }
        if frame.previous != self.head.chain {
            return Err(format!("it follows hash {}, not {}", frame.previous, self.head.chain));
        }
        self.epoch_follows(taken)?;
        run_follows(self.run, frame.run, frame.lsn)
    }

    /// The epoch never falls, and rises only by its own first frame. What stood before our first frame is not known
    /// here: the chain hash vouches for it.
    fn epoch_follows(&self, taken: &Taken) -> Result<(), String> {
        let epoch = taken.frame.epoch;
        let begins = matches!(&taken.payload, Payload::Epoch(start) if start.epoch == epoch);
        let follows = self.epoch == Epoch(0) || epoch == self.epoch || (epoch > self.epoch && begins);
        if follows {
            return Ok(());
        }
        Err(format!("it is of epoch {epoch} behind epoch {}", self.epoch))
    }
}

fn in_stream(taken: &Taken, stream: StreamId, terms: &Terms) -> Result<(), String> {
    if taken.frame.stream != stream {
        return Err(format!("it is of stream {}, not {stream}", taken.frame.stream));
    }
    if taken.frame.epoch > terms.epoch {
        return Err(format!("epoch {} is above the sender's own", taken.frame.epoch));
    }
    Ok(())
}

/// Parts of a run follow each other with nothing between them (guarantee 5).
fn run_follows(open: Option<Run>, run: Option<Run>, lsn: Lsn) -> Result<(), String> {
    let right = match (open, run) {
        (None, None) => true,
        (None, Some(run)) => run.first == lsn && run.part == 0 && (2..=RUN_PARTS_MAX).contains(&run.parts),
        (Some(_), None) => false,
        (Some(open), Some(run)) => {
            run.first == open.first && run.parts == open.parts && run.part == open.part.saturating_add(1)
        }
    };
    if right {
        Ok(())
    } else {
        Err(format!("run part {run:?} behind {open:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_with_a_frame_inside_is_refused() {
        let run = |part, parts| {
            Some(Run {
                first: Lsn(5),
                part,
                parts,
            })
        };
        assert!(run_follows(None, run(0, 3), Lsn(5)).is_ok());
        assert!(run_follows(run(0, 3), run(1, 3), Lsn(6)).is_ok());
        assert!(run_follows(run(0, 3), None, Lsn(6)).is_err());
        assert!(run_follows(run(0, 3), run(2, 3), Lsn(6)).is_err());
        assert!(run_follows(run(0, 3), run(1, 4), Lsn(6)).is_err());
        assert!(run_follows(None, run(1, 3), Lsn(6)).is_err());
        assert!(run_follows(None, run(0, 1), Lsn(5)).is_err());
    }
}
