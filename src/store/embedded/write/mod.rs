//! The store as a primary: what a client asks becomes operations of the stream, and they are applied by the very code
//! that applies a standby's.
//!
//! | file | what it does |
//! |---|---|
//! | `built` | what a change becomes: payloads, bodies, the answer |
//! | `fresh` | GUIDs and UIDVALIDITYs that were never there before |
//! | `lookup` | mailboxes by name or GUID, messages by UID |
//! | `txn` | the transaction of one mailbox while it is made |
//! | `append`, `flags`, `expunge`, `copy` | changes of messages |
//! | `names`, `hierarchy`, `create`, `rename` | changes of the tree |
//! | `attributes` | METADATA, ACL |
//! | `merge` | pieces of a lost tail |
//! | `decide` | an operator's word on what is in quarantine or retained |
//!
//! A batch is one database transaction: each change is built against what those before it left, sealed, applied. Then
//! the bodies are flushed, then the journal, and only then the database commits ([`Ledger`]).

mod append;
mod attributes;
mod built;
mod copy;
mod create;
mod decide;
mod expunge;
mod flags;
mod fresh;
mod hierarchy;
mod lookup;
mod merge;
mod names;
mod rename;
mod txn;

pub(super) use txn::position;

#[cfg(test)]
mod tests;

use super::super::change::{Change, Changed, Reason, Refused};
use super::super::target::{Applied, Frame, GoneAnswers, Target, TargetCounts, TargetError};
use super::apply::{Applier, Place, decide};
use super::bodies;
use super::packs::{Content, Record};
use super::store::{Indexed, Store};
use crate::codec::CodecError;
use crate::op::{BodyHash, Payload};
use built::{Built, NewBody, Octets, Stop};
use fresh::Fresh;
use rusqlite::Transaction;
use std::sync::Arc;

/// Fills its argument with random octets of the operating system, or says why it can't.
pub type Random = Box<dyn FnMut(&mut [u8; 16]) -> Result<(), String> + Send>;

/// Where the frames of a batch are sealed and made durable.
pub trait Ledger {
    /// Frames of one transaction, in the stream's next places.
    ///
    /// # Errors
    /// It can't be written; then no place was given out.
    fn seal(&mut self, payloads: &[Payload]) -> Result<Vec<Frame>, CodecError>;

    /// Makes everything sealed durable.
    ///
    /// # Errors
    /// [`TargetError::Retry`]: nothing of it will ever be there. Anything else: that is not known.
    fn commit(&mut self) -> Result<(), TargetError>;
}

/// What came of one change.
pub type Outcome = Result<Changed, Refused>;

/// What came of a batch.
#[derive(Debug)]
pub enum Batch {
    /// All is durable, and every reader sees it.
    Made(Vec<Outcome>),
    /// All is durable, but the database took nothing: the frames must be applied again ([`Writer::replay`]).
    Unapplied(Vec<Outcome>, TargetError),
    /// Nothing was made, but for what the ledger's error says.
    Undone(TargetError),
}

/// Makes changes. One caller, one thread; nobody else applies frames meanwhile.
pub struct Writer {
    applier: Applier,
    fresh: Fresh,
}

impl Writer {
    /// Goes on where the store is.
    pub(super) fn new(store: Arc<Store>, random: Random, now_ms: u64) -> Result<Self, TargetError> {
        let fresh = store.readers.read(|tx| Fresh::new(tx, random, now_ms))?;
        Ok(Self {
            applier: Applier::new(store)?,
            fresh,
        })
    }

    /// How far the stream is applied.
    #[must_use]
    pub fn applied(&self) -> Applied {
        self.applier.applied()
    }

    /// Counts for `status`.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn counts(&self) -> Result<TargetCounts, TargetError> {
        self.applier.counts()
    }

    /// Makes everything applied outlast a power cut.
    ///
    /// # Errors
    /// Disk full or failed.
    pub fn settle(&mut self) -> Result<(), TargetError> {
        self.applier.settle()
    }

    /// Applies transactions that are durable in the journal and that the database lacks.
    ///
    /// # Errors
    /// Nothing of them was applied.
    pub fn replay(&mut self, transactions: &[Vec<Frame>]) -> Result<(), TargetError> {
        self.applier.apply(transactions, &GoneAnswers::new()).map(drop)
    }

    /// Takes the places of frames that only say what the store holds.
    ///
    /// # Errors
    /// They don't follow, or the database can't be written.
    pub fn follow(&mut self, frames: &[Frame]) -> Result<(), TargetError> {
        let mut place = self.place();
        let node = &self.applier.store.node;
        frames.iter().try_for_each(|frame| place.follow(frame, node))?;
        self.applier.store.write(|tx| Ok(place.save(tx)?))?;
        self.applier.place = place;
        Ok(())
    }

    /// Whatever built this copy is over once it is a primary.
    fn place(&self) -> Place {
        Place {
            building: crate::op::Lsn(0),
            ..self.applier.place
        }
    }

    /// Makes changes in their order, each whole or not at all. `now_ms`: UNIX milliseconds.
    pub fn write(&mut self, changes: &[Change], now_ms: u64, ledger: &mut dyn Ledger) -> Batch {
        let (mut place, mut durable) = (self.place(), false);
        let mut outcomes = Vec::with_capacity(changes.len());
        let (store, fresh) = (Arc::clone(&self.applier.store), &mut self.fresh);
        fresh.set_clock(now_ms);
        let written = store.write_with_bodies(|tx, indexed| {
            let mut open = Open {
                tx,
                store: &store,
                place: &mut place,
                indexed,
                ledger: &mut *ledger,
                sealed: false,
            };
            for change in changes {
                outcomes.push(open.make(change, fresh)?);
            }
            if open.sealed {
                store.packs.commit()?;
                ledger.commit()?;
                durable = true;
                place.save(tx)?;
            }
            Ok(())
        });
        match written {
            Ok(()) => {
                self.applier.place = place;
                Batch::Made(outcomes)
            }
            Err(error) if durable => Batch::Unapplied(outcomes, error),
            Err(error) => Batch::Undone(error),
        }
    }
}

/// A batch that is being made.
struct Open<'a, 'i> {
    tx: &'a Transaction<'a>,
    store: &'a Store,
    place: &'a mut Place,
    indexed: &'a mut Indexed<'i>,
    ledger: &'a mut dyn Ledger,
    /// True once frames must be committed.
    sealed: bool,
}

impl Open<'_, '_> {
    /// Makes one change; an error is one of the store and undoes the batch.
    fn make(&mut self, change: &Change, fresh: &mut Fresh) -> Result<Outcome, TargetError> {
        let built = match built::build(self.tx, change, fresh) {
            Ok(built) => built,
            Err(Stop::Refused(refused)) => return Ok(Err(refused)),
            Err(Stop::Store(error)) => return Err(error),
        };
        if built.payloads.is_empty() {
            return Ok(Ok(built.changed));
        }
        let frames = match self.ledger.seal(&built.payloads) {
            Ok(frames) => frames,
            Err(error) => return Ok(Err(Refused::new(Reason::Limit, error.to_string()))),
        };
        self.sealed = true;
        self.apply(&frames, &built)?;
        Ok(Ok(built.changed))
    }

    fn apply(&mut self, frames: &[Frame], built: &Built) -> Result<(), TargetError> {
        if !built.bodies.is_empty() {
            for body in &built.bodies {
                self.put(body)?;
            }
            self.indexed.rest(self.tx)?;
        }
        for frame in frames {
            self.place.follow(frame, &self.store.node)?;
        }
        decide(self.tx, self.store, self.place, frames, &GoneAnswers::new()).map(drop)
    }

    fn put(&self, body: &NewBody) -> Result<(), TargetError> {
        let (content, octets): (_, &[u8]) = match &body.octets {
            Octets::Stored { hash, length } => (
                Content::Known {
                    hash: *hash,
                    length: *length,
                },
                &[],
            ),
            Octets::New(octets) => {
                let hash = BodyHash(*blake3::hash(octets).as_bytes());
                let length = u64::try_from(octets.len()).unwrap_or(u64::MAX);
                match bodies::by_hash(self.tx, &hash)? {
                    Some(_) => (Content::Known { hash, length }, &[]),
                    None => (Content::Octets { hash, length }, octets),
                }
            }
        };
        let name = body.name.clone();
        self.store.packs.append(Record { name, content }, octets)
    }
}
