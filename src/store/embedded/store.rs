//! What the parts of an open store share: the writing connection, the packs, readers, and who waits for changes.

use super::super::target::TargetError;
use super::bodies;
use super::changes::Changes;
use super::checked::Checked;
use super::listings::Listings;
use super::open;
use super::packs::{Packs, Position};
use super::pool::ReadPool;
use crate::op::NodeName;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The database in a store's folder.
pub(super) const DATABASE: &str = "mail.sqlite";

/// How many records of the packs' end an open transaction has indexed.
pub(super) struct Indexed<'a> {
    packs: &'a Packs,
    count: usize,
}

impl Indexed<'_> {
    /// Indexes what was put since, flushed or not.
    pub(super) fn rest(&mut self, tx: &Transaction<'_>) -> Result<(), TargetError> {
        let rest = self.packs.tail(|tail| tail.behind(self.count));
        self.count = self.count.saturating_add(bodies::index(tx, &rest)?);
        Ok(())
    }
}

/// One open store.
pub(super) struct Store {
    writer: Mutex<Connection>,
    pub(super) packs: Packs,
    pub(super) readers: ReadPool,
    pub(super) listings: Listings,
    pub(super) checked: Checked,
    pub(super) changes: Arc<Changes>,
    pub(super) node: NodeName,
    pub(super) retain: Duration,
    _lock: open::StoreLock,
}

impl Store {
    pub(super) fn open(dir: &Path, node: &NodeName, retain: Duration) -> Result<Self, TargetError> {
        std::fs::create_dir_all(dir).map_err(|e| TargetError::Halt(format!("create {}: {e}", dir.display())))?;
        let lock = open::lock(dir)?;
        let path = dir.join(DATABASE);
        let writer = open::writer(&path)?;
        let changes = Changes::observe(&writer)?;
        let indexed = writer.query_row("SELECT pack, pack_offset FROM stream", [], |row| {
            let offset: i64 = row.get(1)?;
            Ok(Position {
                pack: row.get(0)?,
                offset: offset.cast_unsigned(),
            })
        })?;
        Ok(Self {
            packs: Packs::open(&dir.join("packs"), indexed)?,
            readers: ReadPool::new(path),
            writer: Mutex::new(writer),
            listings: Listings::default(),
            checked: Checked::default(),
            changes,
            node: node.clone(),
            retain,
            _lock: lock,
        })
    }

    fn writer(&self) -> MutexGuard<'_, Connection> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One transaction: what the packs hold and SQLite doesn't know yet is indexed first, then `change` is made; all of
    /// it or nothing. Who waits for changes is told afterwards.
    pub(super) fn write<T>(
        &self,
        change: impl FnOnce(&Transaction<'_>) -> Result<T, TargetError>,
    ) -> Result<T, TargetError> {
        self.write_with_bodies(|tx, _| change(tx))
    }

    /// As [`Self::write`], for a change that puts bodies into the packs itself. It flushes them before it returns.
    pub(super) fn write_with_bodies<T>(
        &self,
        change: impl FnOnce(&Transaction<'_>, &mut Indexed<'_>) -> Result<T, TargetError>,
    ) -> Result<T, TargetError> {
        let mut writer = self.writer();
        self.changes.begin();
        let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut indexed = Indexed {
            packs: &self.packs,
            count: bodies::index(&transaction, &self.packs.unindexed())?,
        };
        let made = change(&transaction, &mut indexed)?;
        let count = indexed.count;
        transaction.commit()?;
        self.packs.indexed(count);
        self.changes.committed();
        drop(writer);
        Ok(made)
    }

    /// Makes all commits before outlast a power cut: a flushed commit flushes the write-ahead log up to itself.
    pub(super) fn settle(&self) -> Result<(), TargetError> {
        let writer = self.writer();
        writer.pragma_update(None, "synchronous", "FULL")?;
        let settled = writer.execute("UPDATE stream SET lsn = lsn", []);
        writer.pragma_update(None, "synchronous", "NORMAL")?;
        settled?;
        Ok(())
    }

    /// Folds the write-ahead log back into the database, as far as readers let it: mail doesn't wait for them.
    pub(super) fn checkpoint(&self) -> Result<(), TargetError> {
        let writer = self.writer();
        writer.busy_timeout(Duration::ZERO)?;
        let folded = writer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        writer.busy_timeout(open::BUSY_WAIT)?;
        Ok(folded?)
    }
}
