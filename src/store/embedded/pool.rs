//! Read-only connections, a bounded number of them, lent out one at a time.

use super::open;
use crate::limits::READERS_MAX;
use rusqlite::{Connection, Transaction};
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Opens connections when they are first needed and keeps them.
pub(super) struct ReadPool {
    path: PathBuf,
    idle: Mutex<Idle>,
    returned: Condvar,
}

#[derive(Default)]
struct Idle {
    connections: Vec<Connection>,
    lent: usize,
}

impl ReadPool {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            idle: Mutex::default(),
            returned: Condvar::new(),
        }
    }

    /// Reads one moment's picture; waits while all connections are lent.
    pub(super) fn read<T, E: From<rusqlite::Error>>(
        &self,
        read: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut lent = self.borrow()?;
        // A connection that met an error isn't lent again.
        let connection = lent.connection.as_mut().ok_or(rusqlite::Error::InvalidQuery)?;
        let transaction = connection.transaction()?;
        let seen = read(&transaction)?;
        transaction.finish()?;
        lent.sound = true;
        Ok(seen)
    }

    /// Reads with statements that need not see the same moment: one alone always does, and the transaction around it
    /// would cost more than itself.
    pub(super) fn look<T, E: From<rusqlite::Error>>(
        &self,
        look: impl FnOnce(&Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut lent = self.borrow()?;
        let connection = lent.connection.as_ref().ok_or(rusqlite::Error::InvalidQuery)?;
        let seen = look(connection)?;
        lent.sound = true;
        Ok(seen)
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn borrow(&self) -> rusqlite::Result<Lent<'_>> {
        let full = |idle: &mut Idle| idle.lent >= READERS_MAX;
        let mut idle = self
            .returned
            .wait_while(self.idle(), full)
            .unwrap_or_else(PoisonError::into_inner);
        idle.lent = idle.lent.saturating_add(1);
        let known = idle.connections.pop();
        drop(idle);
        let mut lent = Lent {
            pool: self,
            connection: known,
            sound: false,
        };
        if lent.connection.is_none() {
            lent.connection = Some(open::reader(&self.path)?);
        }
        Ok(lent)
    }
}

/// Goes back to the pool when it is dropped.
struct Lent<'a> {
    pool: &'a ReadPool,
    connection: Option<Connection>,
    sound: bool,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut idle = self.pool.idle();
        idle.lent = idle.lent.saturating_sub(1);
        if self.sound {
            idle.connections.extend(self.connection.take());
        }
        self.pool.returned.notify_one();
    }
}
