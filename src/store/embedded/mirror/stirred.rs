//! Whose mail, tree or attributes changed since somebody asked. Noted by triggers that live on the writing connection only,
//! so that a store which is nobody's mirror pays nothing; after a restart everybody is looked at.

use crate::op::UserName;
use rusqlite::Connection;

/// Tables whose rows say what a Dovecot must be told; each change of a message writes its mailbox's row.
const TABLES: [&str; 4] = ["mailboxes", "subscriptions", "unselectable", "attributes"];

/// Begins to note; once more on the same connection changes nothing.
pub(super) fn observe(writer: &Connection) -> rusqlite::Result<()> {
    writer.execute_batch(
        "CREATE TEMP TABLE IF NOT EXISTS stirred (user INTEGER PRIMARY KEY);
         CREATE TEMP TRIGGER IF NOT EXISTS stirred_by_users AFTER UPDATE OF namespaces ON main.users
         BEGIN INSERT OR IGNORE INTO stirred VALUES (NEW.id); END;",
    )?;
    for table in TABLES {
        for (deed, row) in [("INSERT", "NEW"), ("UPDATE", "NEW"), ("DELETE", "OLD")] {
            writer.execute_batch(&format!(
                "CREATE TEMP TRIGGER IF NOT EXISTS stirred_by_{deed}_{table} AFTER {deed} ON main.{table}
                 BEGIN INSERT OR IGNORE INTO stirred VALUES ({row}.user); END;"
            ))?;
        }
    }
    Ok(())
}

/// Whose, by name; forgets them.
pub(super) fn take(writer: &Connection) -> rusqlite::Result<Vec<UserName>> {
    let mut statement = writer.prepare_cached("SELECT u.name FROM stirred s JOIN users u ON u.id = s.user")?;
    let names = statement.query_map([], |row| row.get(0).map(UserName))?;
    let names = names.collect::<rusqlite::Result<Vec<_>>>()?;
    if !names.is_empty() {
        writer.prepare_cached("DELETE FROM stirred")?.execute([])?;
    }
    Ok(names)
}
