//! Opening the database: lock, settings, migrations.

use super::super::target::TargetError;
use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

/// Each brings the schema from its index to the next version (`PRAGMA user_version`).
const MIGRATIONS: [&str; 4] = [
    include_str!("../../../schema/embedded/0001.sql"),
    include_str!("../../../schema/embedded/0002.sql"),
    include_str!("../../../schema/embedded/0003.sql"),
    include_str!("../../../schema/embedded/0004.sql"),
];

/// First SQLite without the bug that two connections could corrupt a write-ahead log that is reset.
const SQLITE_OLDEST: i32 = 3_051_003;

/// Pages of the write-ahead log (16 MiB) after which it is folded back: pages that change often are then written once.
const WAL_PAGES: u32 = 4096;

/// How long a connection waits for another one's lock.
pub(super) const BUSY_WAIT: Duration = Duration::from_secs(5);

impl From<rusqlite::Error> for TargetError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode::{CannotOpen, DatabaseBusy, DatabaseLocked, DiskFull};
        match error.sqlite_error_code() {
            Some(DatabaseBusy | DatabaseLocked | DiskFull | CannotOpen) => Self::Retry(format!("the store: {error}")),
            _ => Self::Halt(format!("the store: {error}")),
        }
    }
}

/// Holds the store for this process until it is dropped.
#[derive(Debug)]
pub(super) struct StoreLock(File);

impl Drop for StoreLock {
    fn drop(&mut self) {
        // closing it is not enough: a process that was forked a moment ago has it open, too
        if let Err(error) = self.0.unlock() {
            tracing::warn!(%error, "unlock the store");
        }
    }
}

/// Takes the store for this process.
pub(super) fn lock(dir: &Path) -> Result<StoreLock, TargetError> {
    let path = dir.join("lock");
    let broken = |e: &std::io::Error| TargetError::Halt(format!("{}: {e}", path.display()));
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|e| broken(&e))?;
    match file.try_lock() {
        Ok(()) => Ok(StoreLock(file)),
        Err(TryLockError::WouldBlock) => Err(TargetError::Halt(format!("{} is open elsewhere", dir.display()))),
        Err(TryLockError::Error(e)) => Err(broken(&e)),
    }
}

/// The one writing connection: write-ahead log, whole commits in order. They are not flushed one by one: the journal
/// holds every frame that was applied, so a power cut costs applying the last ones again (see [`super::store::Store::settle`]).
pub(super) fn writer(path: &Path) -> Result<Connection, TargetError> {
    if rusqlite::version_number() < SQLITE_OLDEST {
        let version = rusqlite::version();
        return Err(TargetError::Halt(format!(
            "SQLite {version} is too old: 3.51.3 or later is needed"
        )));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_WAIT)?;
    keep_plans(&connection)?;
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        return Err(TargetError::Halt(format!(
            "{}: journal_mode is {mode}, not wal",
            path.display()
        )));
    }
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "wal_autocheckpoint", WAL_PAGES)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    connection.pragma_update(None, "cache_size", -(64 << 10))?;
    connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    connection.set_prepared_statement_cache_capacity(128);
    migrate(&mut connection)?;
    Ok(connection)
}

/// A connection that can only read.
pub(super) fn reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_WAIT)?;
    keep_plans(&connection)?;
    connection.pragma_update(None, "query_only", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

/// A statement that was prepared is not prepared again because of what is bound to it: a bound LIMIT would cost that at
/// each execution, more than what it asks for.
fn keep_plans(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

fn migrate(connection: &mut Connection) -> Result<(), TargetError> {
    let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let version = usize::try_from(version).unwrap_or(usize::MAX);
    if version > MIGRATIONS.len() {
        let known = MIGRATIONS.len();
        return Err(TargetError::Halt(format!(
            "the store has schema {version} and this program knows {known}: upgrade it"
        )));
    }
    for (number, migration) in (1u32..).zip(MIGRATIONS).skip(version) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "user_version", number)?;
        transaction.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::StatementStatus;

    #[test]
    fn a_newer_schema_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mail.sqlite");
        writer(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
        assert!(matches!(writer(&path), Err(TargetError::Halt(why)) if why.contains("99")));
    }

    #[test]
    fn a_store_of_an_older_program_is_brought_up_to_date_with_its_mail() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mail.sqlite");
        let old = Connection::open(&path).unwrap();
        old.execute_batch(MIGRATIONS[0]).unwrap();
        old.pragma_update(None, "user_version", 1).unwrap();
        old.execute("INSERT INTO users (id, name) VALUES (7, 'ann')", [])
            .unwrap();
        old.execute("INSERT INTO subscriptions (user, name) VALUES (7, '[\"Work\"]')", [])
            .unwrap();
        drop(old);
        let now = writer(&path).unwrap();
        let version: u32 = now.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        assert_eq!(usize::try_from(version).unwrap(), MIGRATIONS.len());
        let kept: String = now
            .query_row(
                "SELECT u.name || s.name FROM users u JOIN subscriptions s ON s.user = u.id",
                [],
                |row| row.get(0),
            )
            .unwrap();
        assert_eq!(kept, "ann[\"Work\"]");
        drop(now);
        drop(writer(&path).unwrap());
    }

    #[test]
    fn a_bound_limit_is_not_prepared_anew_each_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mail.sqlite");
        let writer = writer(&path).unwrap();
        for connection in [writer, reader(&path).unwrap()] {
            let mut statement = connection
                .prepare("SELECT id FROM mailboxes ORDER BY id LIMIT ?1")
                .unwrap();
            for most in 1..5 {
                assert!(!statement.exists([most]).unwrap());
            }
            assert_eq!(statement.get_status(StatementStatus::RePrepare), 0);
        }
    }

    #[test]
    fn a_second_opener_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let held = lock(dir.path()).unwrap();
        assert!(matches!(lock(dir.path()), Err(TargetError::Halt(why)) if why.contains("elsewhere")));
        // as a process that was forked and has not run its program yet
        let forked = held.0.try_clone().unwrap();
        drop(held);
        assert!(lock(dir.path()).is_ok());
        drop(forked);
    }
}
