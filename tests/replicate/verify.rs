//! `verify` says equal where it is, and finds what was changed behind the copy's back.

use crate::{AT_ONCE, pair};
use anyhow::{Context, ensure};
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use testbed::Result;
use testbed::dovecot::{Format, Version};
use testbed::load::Mix;

#[test]
fn copy_with_one_changed_row_is_reported_by_verify() -> Result<()> {
    let mut pair = pair(Version::of_this_system()?, Format::Sdbox, 1)?;
    pair.load("all", 120, Mix::Normal, AT_ONCE).run()?;
    pair.start_nodes()?;
    pair.wait()?;
    let green = pair.primary.ask(&["verify"])?;
    let mailboxes = green.get("mailboxes").and_then(serde_json::Value::as_u64);
    assert!(mailboxes > Some(2), "{green}");
    assert_eq!(
        green.get("equal").and_then(serde_json::Value::as_u64),
        mailboxes,
        "{green}"
    );

    pair.standby()?.node.stop()?;
    let state = pair.standby()?.node.state();
    ensure!(tamper(&state)? == 1, "no row of the copy was changed");
    pair.standby()?.node.start()?;
    pair.wait()?;
    let red = pair.primary.ctl(&["verify"])?;
    assert_eq!(
        red.status.code(),
        Some(1),
        "{}\n{}",
        String::from_utf8_lossy(&red.stdout),
        pair.primary.log()
    );
    let answer: serde_json::Value = serde_json::from_slice(&red.stdout)?;
    let different = answer
        .get("different")
        .and_then(serde_json::Value::as_array)
        .context("no list of differences")?;
    assert_eq!(different.len(), 1, "{answer}");
    Ok(())
}

/// Makes one message of the copy seem sent a second later; gives the number of rows changed.
fn tamper(state: &Path) -> Result<usize> {
    let mut changed = 0;
    for file in databases(state)? {
        let database = Connection::open(&file)?;
        let sql = "UPDATE messages SET internal_date = internal_date + 1 \
                   WHERE (mailbox, uid) = (SELECT mailbox, uid FROM messages LIMIT 1)";
        changed += database
            .execute(sql, ())
            .with_context(|| format!("change {}", file.display()))?;
    }
    Ok(changed)
}

/// The SQLite files below a folder.
fn databases(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(databases(&path)?);
        } else if std::fs::read(&path)?.starts_with(b"SQLite format 3\0") {
            found.push(path);
        }
    }
    Ok(found)
}
