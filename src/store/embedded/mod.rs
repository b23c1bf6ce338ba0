//! The embedded store: SQLite for what a mailbox holds, packs for bodies.
//!
//! One directory holds one group's copy: `mail.sqlite` (with its `-wal` and `-shm`), `packs/NNNN.pack`, `lock`. What an
//! operation means is said by [`crate::op::model`]; the tests hold this store against it.
//!
//! | file | what it does |
//! |---|---|
//! | `open` | lock, settings, migrations (`schema/embedded/`) |
//! | `store` | what all parts share; the one way to write |
//! | `apply` | [`Target`]: the stream's order, one database transaction a call |
//! | `transaction`, `state`, `tree`, `attributes`, `digest`, `epoch` | one kind of payload each |
//! | `mailbox` | rows of mailboxes and messages |
//! | `quarantine` | held, diverted, deferred, inferred |
//! | `merged`, `unwind` | what of a lost tail was settled; giving way to a history that goes on elsewhere |
//! | `custody`, `release` | the operator's view of it, and his word |
//! | `renumbering` | a mailbox under another GUID |
//! | `packs` | body files; `bodies` is their index, `shelf` the [`BodyStore`] |
//! | `export`, `origin` | the store as a source: what it holds, and bodies |
//! | `write` | the store as a primary: changes that clients ask for |
//! | `mirror` | the store as the mirror of a running Dovecot: what that has been told |
//! | `pool`, `reader`, `view` | readers |
//! | `listing`, `listings` | a mailbox's messages in columns, shared between its readers |
//! | `changes` | telling those who wait for a mailbox's changes |
//! | `checked` | which bodies were compared with their hash |

mod apply;
mod attributes;
mod bodies;
mod changes;
mod checked;
mod columns;
mod custody;
mod digest;
mod epoch;
pub mod export;
mod listing;
mod listings;
mod mailbox;
mod merged;
pub mod mirror;
mod open;
mod origin;
mod packs;
mod pool;
mod quarantine;
mod reader;
mod release;
mod renumbering;
mod shelf;
mod state;
mod store;
mod transaction;
mod tree;
mod unwind;
pub mod view;
pub mod write;

use super::custody::Custody;
use super::source::Bodies;
use super::target::{BodyStore, Target, TargetError};
use crate::op::{MailboxId, NodeName};
use apply::Applier;
use custody::Keeper;
use export::Export;
use mirror::Mirror;
use origin::Origin;
use reader::Reader;
use rusqlite::params;
use shelf::Shelf;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use store::Store;
use view::View;
use write::{Random, Writer};

/// An open store, by who uses it. The parts share one writing connection and close with the last of them.
pub struct Embedded {
    /// Applies frames; for the one applying thread.
    pub target: Box<dyn Target>,
    /// Takes and serves bodies; for the receiving side.
    pub bodies: Arc<dyn BodyStore>,
    /// Reads; for the front end.
    pub view: Arc<dyn View>,
    /// Quarantine and what is retained; for the operator.
    pub custody: Arc<dyn Custody>,
    /// Keeps the store small; for a timer.
    pub upkeep: Upkeep,
    store: Arc<Store>,
}

impl Embedded {
    /// Opens or creates the store in `dir`. `node` is this node's own name: frames made for other peers change
    /// nothing. What was expunged stays undoable for `retain`.
    ///
    /// # Errors
    /// The directory can't be used, is open elsewhere, was written by a newer version, or is damaged.
    pub fn open(dir: &Path, node: &NodeName, retain: Duration) -> Result<Self, TargetError> {
        let store = Arc::new(Store::open(dir, node, retain)?);
        // What the packs hold beyond the index is indexed at once: a message may wait for it.
        store.write(|_| Ok(()))?;
        Self::over(store)
    }

    /// The same open store once more, for the next role: readers keep what they have. The parts of the role before must be
    /// at rest.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn again(&self) -> Result<Self, TargetError> {
        Self::over(Arc::clone(&self.store))
    }

    fn over(store: Arc<Store>) -> Result<Self, TargetError> {
        Ok(Self {
            target: Box::new(Applier::new(Arc::clone(&store))?),
            bodies: Arc::new(Shelf::new(Arc::clone(&store))),
            view: Arc::new(Reader(Arc::clone(&store))),
            custody: Arc::new(Keeper(Arc::clone(&store))),
            upkeep: Upkeep(Arc::clone(&store)),
            store,
        })
    }

    /// Gives way to a history that leaves this one's: these mailboxes (true: the tail made them) take the next list as it is, and
    /// the next base is joined at, wherever it is. May be done again. Blocks.
    ///
    /// # Errors
    /// The store can't be written.
    pub fn unwind(&self, touched: &[(MailboxId, bool)]) -> Result<(), TargetError> {
        unwind::unwind(&self.store, touched)
    }

    /// What this store holds, for peers.
    #[must_use]
    pub fn export(&self) -> Export {
        Export(Arc::clone(&self.store))
    }

    /// Answers peers' needs.
    #[must_use]
    pub fn origin(&self) -> Arc<dyn Bodies> {
        Arc::new(Origin(Arc::clone(&self.store)))
    }

    /// What the Dovecot that this store mirrors has been told.
    ///
    /// # Errors
    /// The store can't be written.
    pub fn mirror(&self) -> Result<Mirror, TargetError> {
        Mirror::over(Arc::clone(&self.store))
    }

    /// Makes changes, once this store is a primary's; [`Self::target`] then is nobody's. `now_ms`: UNIX milliseconds.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn writer(&self, random: Random, now_ms: u64) -> Result<Writer, TargetError> {
        Writer::new(Arc::clone(&self.store), random, now_ms)
    }
}

/// What is done from time to time: the write-ahead log is folded back, old retained messages are pruned.
pub struct Upkeep(Arc<Store>);

impl Upkeep {
    /// Call it about once a minute, on a blocking thread. `now_ms`: UNIX milliseconds. What was retained since the last
    /// call counts from now on.
    ///
    /// # Errors
    /// The store can't be written.
    pub fn run(&self, now_ms: u64) -> Result<(), TargetError> {
        let retain_ms = u64::try_from(self.0.retain.as_millis()).unwrap_or(u64::MAX);
        let oldest = now_ms.saturating_sub(retain_ms).cast_signed();
        self.0.write(|tx| {
            tx.execute(
                "UPDATE retained SET since_ms = ?1 WHERE since_ms IS NULL",
                params![now_ms.cast_signed()],
            )?;
            tx.execute("DELETE FROM retained WHERE since_ms < ?1", params![oldest])?;
            attributes::prune(tx, now_ms, oldest)?;
            Ok(())
        })?;
        self.0.checkpoint()
    }
}

#[cfg(test)]
mod tests;
