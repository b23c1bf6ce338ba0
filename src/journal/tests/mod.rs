//! What the journal survives.

mod contract;
mod damage;
mod directory;
mod fake_disk;
mod golden;
mod model;
mod readers;

use super::{Disk, Head, Journal, JournalError, JournalOptions, Recovered, Sealer};
use crate::codec::EncodedFrame;
use crate::op::{BaseStart, Epoch, Lsn, NodeName, Payload, StreamId};
use fake_disk::FakeDisk;
use std::sync::Arc;

const SMALL: JournalOptions = JournalOptions {
    segment_bytes: 900,
    checkpointed: false,
    // Readers meet both: what is still in memory, and what is not.
    recent_bytes: 600,
};

fn open(disk: &Arc<FakeDisk>) -> Result<(Journal, Recovered), JournalError> {
    Journal::open(Arc::clone(disk) as Arc<dyn Disk>, SMALL)
}

fn sealer() -> Sealer {
    Sealer::begin(StreamId([5; 16]), Epoch(1))
}

/// A transaction of `parts` frames.
fn transaction(sealer: &mut Sealer, parts: u64) -> Vec<EncodedFrame> {
    let payloads: Vec<Payload> = (1..=parts).map(|part| Payload::BaseEnd(Lsn(part))).collect();
    sealer.seal(&payloads, None, 1_000).unwrap()
}

fn base(sealer: &mut Sealer) -> EncodedFrame {
    let base = Payload::Base(BaseStart {
        reason: "it lacks frames".to_owned(),
    });
    sealer
        .seal(&[base], Some(&NodeName::from("b")), 1_000)
        .unwrap()
        .remove(0)
}

fn head_of(frame: &EncodedFrame) -> Head {
    Head {
        stream: frame.stream,
        epoch: frame.epoch,
        lsn: frame.lsn,
        chain: frame.chain,
    }
}

/// Everything committed.
fn all(journal: &Journal) -> Vec<EncodedFrame> {
    let Some(oldest) = journal.oldest() else {
        return Vec::new();
    };
    let mut reader = journal.reader(oldest);
    let mut frames = Vec::new();
    loop {
        let batch = reader.read_batch(300).unwrap();
        if batch.is_empty() {
            return frames;
        }
        frames.extend(batch);
    }
}
