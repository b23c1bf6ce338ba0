//! Gives out LSNs: the one place where a stream grows. Only a primary has one.

use super::succession::Head;
use crate::codec::{CodecError, EncodedFrame, frame, split};
use crate::op::{ChainHash, Epoch, EpochStart, FrameHeader, Leap, Lsn, NodeName, Payload, Run, StreamId};

/// The end of a stream, and how it goes on.
#[derive(Clone, Debug)]
pub struct Sealer {
    head: Head,
}

impl Sealer {
    /// A new stream in this epoch. Its first frame has LSN 1.
    #[must_use]
    pub fn begin(stream: StreamId, epoch: Epoch) -> Self {
        Self::resume(Head {
            stream,
            epoch,
            lsn: Lsn(0),
            chain: ChainHash::default(),
        })
    }

    /// Goes on where the journal ends.
    #[must_use]
    pub fn resume(head: Head) -> Self {
        Self { head }
    }

    /// The last LSN given out, and its history.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head
    }

    /// Frames of what belongs together: one payload that fits is one frame, anything else is a run.
    /// `captured_ms`: when the change was read, UNIX milliseconds. `peer`: for whom alone it is.
    ///
    /// # Errors
    /// A payload can't be written; then no LSN was given out. Nothing to seal is an error, too.
    pub fn seal(
        &mut self,
        payloads: &[Payload],
        peer: Option<&NodeName>,
        captured_ms: u64,
    ) -> Result<Vec<EncodedFrame>, CodecError> {
        let encoded = split::encode_all(payloads)?;
        let parts = u32::try_from(encoded.len()).map_err(|e| CodecError::invalid("run", e.to_string()))?;
        let first = self.head.lsn.next();
        let (mut head, mut frames) = (self.head, Vec::with_capacity(encoded.len()));
        for (part, payload) in (0..parts).zip(&encoded) {
            let header = FrameHeader {
                stream: head.stream,
                epoch: head.epoch,
                lsn: head.lsn.next(),
                previous: head.chain,
                captured_ms,
                run: (parts > 1).then_some(Run { first, part, parts }),
                peer: peer.cloned(),
            };
            let frame = frame::seal_encoded(&header, payload)?;
            (head.lsn, head.chain) = (frame.lsn, frame.chain);
            frames.push(frame);
        }
        if frames.is_empty() {
            return Err(CodecError::invalid("transaction", "is empty"));
        }
        self.head = head;
        Ok(frames)
    }

    /// Begins an epoch, which must be higher than the one that goes on here. `leap`: see [`Leap`].
    ///
    /// # Errors
    /// The epoch is not higher.
    pub fn begin_epoch(
        &mut self,
        epoch: Epoch,
        node: &NodeName,
        leap: Option<Leap>,
        captured_ms: u64,
    ) -> Result<EncodedFrame, CodecError> {
        let start = EpochStart {
            epoch,
            node: node.clone(),
            // A stream that begins has no epoch before, whatever number its sealer was made with.
            previous: if self.head.lsn == Lsn(0) {
                Epoch(0)
            } else {
                self.head.epoch
            },
            fork_lsn: self.head.lsn,
            fork_hash: self.head.chain,
            leap,
        };
        let header = FrameHeader {
            stream: self.head.stream,
            epoch,
            lsn: self.head.lsn.next(),
            previous: self.head.chain,
            captured_ms,
            run: None,
            peer: None,
        };
        let frame = frame::seal(&header, &Payload::Epoch(start))?;
        self.head = Head {
            stream: frame.stream,
            epoch,
            lsn: frame.lsn,
            chain: frame.chain,
        };
        Ok(frame)
    }
}
