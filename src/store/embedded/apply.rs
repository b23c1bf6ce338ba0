//! The store as a target: frames in order, whole transactions, all of a call in one database transaction.

use super::super::target::{Applied, Frame, GoneAnswers, Target, TargetCounts, TargetError};
use super::store::Store;
use super::{attributes, digest, epoch, merged, quarantine, state, transaction, tree};
use crate::op::{ChainHash, DigestVerdict, Epoch, GoneQuestion, Lsn, NodeName, Payload, StreamId, whole};
use rusqlite::{Connection, params};
use std::borrow::Cow;
use std::sync::Arc;

/// Applies frames. One caller, one thread.
pub(super) struct Applier {
    pub(super) store: Arc<Store>,
    pub(super) place: Place,
}

/// How far the stream is decided, and whether a base is being applied.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) applied: Applied,
    /// LSN of the base (1: of the stream's beginning) that is being built; 0: none.
    pub(super) building: Lsn,
}

impl Applier {
    pub(super) fn new(store: Arc<Store>) -> Result<Self, TargetError> {
        let place = store.readers.read(|tx| Place::load(tx))?;
        Ok(Self { store, place })
    }
}

impl Target for Applier {
    fn applied(&self) -> Applied {
        self.place.applied
    }

    fn questions(&self, frames: &[Frame]) -> Result<Vec<GoneQuestion>, TargetError> {
        if frames.iter().any(|frame| !is_for(frame, &self.store.node)) {
            return Ok(Vec::new());
        }
        self.store.readers.read(|tx| {
            let mut questions = Vec::new();
            for payload in payloads(frames).iter() {
                if let Payload::State(list) = payload {
                    questions.extend(state::questions(tx, list)?);
                }
            }
            Ok(questions)
        })
    }

    fn apply(&mut self, transactions: &[Vec<Frame>], answers: &GoneAnswers) -> Result<Vec<DigestVerdict>, TargetError> {
        let mut place = self.place;
        let verdicts = self.store.write(|tx| {
            let mut verdicts = Vec::new();
            for frames in transactions {
                for frame in frames {
                    place.follow(frame, &self.store.node)?;
                }
                if frames.iter().all(|frame| is_for(frame, &self.store.node)) {
                    verdicts.extend(decide(tx, &self.store, &mut place, frames, answers)?);
                }
            }
            place.save(tx)?;
            Ok(verdicts)
        })?;
        self.place = place;
        Ok(verdicts)
    }

    fn settle(&mut self) -> Result<(), TargetError> {
        self.store.settle()
    }

    fn counts(&self) -> Result<TargetCounts, TargetError> {
        self.store.readers.read(|tx| counts(tx))
    }
}

/// Asked for after every batch: what it costs must not grow with the mailboxes that are well.
pub(super) fn counts(tx: &Connection) -> Result<TargetCounts, TargetError> {
    let count = |select: &str| -> rusqlite::Result<u64> {
        tx.prepare_cached(select)?
            .query_row([], |row| row.get::<_, i64>(0).map(i64::cast_unsigned))
    };
    Ok(TargetCounts {
        mailboxes: count("SELECT mailboxes FROM stream")?,
        messages: count("SELECT messages FROM stream")?,
        held_mailboxes: count("SELECT count(*) FROM mailboxes WHERE held IS NOT NULL")?,
        bodies_pending: count("SELECT count(*) FROM messages WHERE body IS NULL")?
            .saturating_add(count(attributes::PENDING)?),
        quarantined: count(quarantine::OPEN)?,
        building: Place::load(tx)?.building != Lsn(0),
    })
}

/// A frame made for another peer changes nothing here.
fn is_for(frame: &Frame, node: &NodeName) -> bool {
    frame.header.peer.as_ref().is_none_or(|peer| peer == node)
}

/// What the frames of one transaction say, long things put together.
fn payloads(frames: &[Frame]) -> Cow<'_, [Payload]> {
    match frames {
        [one] => Cow::Borrowed(std::slice::from_ref(&one.payload)),
        several => Cow::Owned(whole(several.iter().map(|frame| frame.payload.clone()))),
    }
}

/// Decides one transaction.
pub(super) fn decide(
    tx: &Connection,
    store: &Store,
    place: &mut Place,
    frames: &[Frame],
    answers: &GoneAnswers,
) -> Result<Vec<DigestVerdict>, TargetError> {
    let mut verdicts = Vec::new();
    let lsn = place.applied.lsn;
    for payload in payloads(frames).iter() {
        match payload {
            Payload::Mailbox(txn) => transaction::apply(tx, txn, frames)?,
            Payload::State(list) => state::apply(tx, list, frames, answers)?,
            Payload::Tree(change) => tree::apply(tx, change)?,
            Payload::Attributes(change) => attributes::apply(tx, change)?,
            Payload::Digest(source) => verdicts.push(digest::mailbox(tx, &store.packs, lsn, source)?),
            Payload::TreeDigest(source) => verdicts.push(digest::tree(tx, lsn, source)?),
            Payload::Base(_) => place.building = lsn,
            Payload::BaseEnd(of) if *of == place.building => place.building = Lsn(0),
            Payload::BaseEnd(_) => {}
            Payload::Merged(settled) => merged::note(tx, settled)?,
            Payload::Epoch(start) => {
                if start.previous == Epoch(0) {
                    place.building = lsn;
                }
                epoch::begin(tx, start.leap)?;
            }
        }
    }
    quarantine::settle(tx)?;
    Ok(verdicts)
}

impl Place {
    pub(super) fn load(tx: &Connection) -> Result<Self, TargetError> {
        let number = |n: i64| n.cast_unsigned();
        let place = tx.query_row("SELECT stream, epoch, lsn, chain, building FROM stream", [], |row| {
            let applied = Applied {
                stream: StreamId(row.get(0)?),
                epoch: Epoch(number(row.get(1)?)),
                lsn: Lsn(number(row.get(2)?)),
                chain: ChainHash(row.get(3)?),
            };
            Ok(Self {
                applied,
                building: Lsn(number(row.get(4)?)),
            })
        })?;
        Ok(place)
    }

    pub(super) fn save(&self, tx: &Connection) -> rusqlite::Result<()> {
        let Applied {
            stream,
            epoch,
            lsn,
            chain,
        } = self.applied;
        tx.prepare_cached("UPDATE stream SET stream = ?1, epoch = ?2, lsn = ?3, chain = ?4, building = ?5")?
            .execute(params![
                stream.0,
                epoch.0.cast_signed(),
                lsn.0.cast_signed(),
                chain.0,
                self.building.0.cast_signed()
            ])?;
        Ok(())
    }

    /// Takes the next frame's place; refuses one that doesn't follow. Only a `base` may be joined in the middle.
    pub(super) fn follow(&mut self, frame: &Frame, node: &NodeName) -> Result<(), TargetError> {
        let (header, at) = (&frame.header, &self.applied);
        let fresh = at.stream == StreamId::default();
        let same = fresh || header.stream == at.stream;
        let dense = same && header.lsn == at.lsn.next() && header.previous == at.chain && header.epoch >= at.epoch;
        let base = matches!(frame.payload, Payload::Base(_)) && is_for(frame, node);
        let joins = base && (!same || (header.lsn > at.lsn && header.epoch >= at.epoch));
        if !dense && !joins {
            let (lsn, stream, epoch) = (header.lsn, header.stream, header.epoch);
            return Err(TargetError::Broken(format!(
                "frame {lsn} (stream {stream}, epoch {epoch}) does not follow {} (stream {}, epoch {})",
                at.lsn, at.stream, at.epoch
            )));
        }
        self.applied = Applied {
            stream: header.stream,
            epoch: header.epoch,
            lsn: header.lsn,
            chain: frame.chain,
        };
        Ok(())
    }
}
