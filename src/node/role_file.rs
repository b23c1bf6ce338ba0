//! A group's role on disk: the record, the log of its changes, and a reserve of room for both. `schema/role.md`.

use super::{NodeError, small_file};
use crate::limits::{AUDIT_BYTES_MAX, ROLE_FILE_BYTES_MAX, ROLE_RESERVE_BYTES};
use crate::role::{Record, audit};
use serde_json::Value;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

const FILE: &str = "role";
const AUDIT: &str = "audit.jsonl";
const RESERVE: &str = "reserve";

/// See the module.
#[derive(Debug)]
pub(super) struct RoleFile {
    dir: PathBuf,
    /// Hash of the log's last line.
    last: String,
}

impl RoleFile {
    /// Reads what a group's folder holds; no record: it never ran.
    pub(super) fn open(dir: &Path) -> Result<(Self, Option<Record>), NodeError> {
        let at = |name: &str| dir.join(name);
        let record = match small_file::bounded(&at(FILE), ROLE_FILE_BYTES_MAX) {
            Ok(Some(bytes)) => Some(Record::decode(&bytes).map_err(|e| NodeError::folder(&at(FILE), e))?),
            Ok(None) => None,
            Err(error) => return Err(NodeError::folder(&at(FILE), error)),
        };
        let log = small_file::bounded(&at(AUDIT), AUDIT_BYTES_MAX).map_err(|e| NodeError::folder(&at(AUDIT), e))?;
        let log = String::from_utf8_lossy(&log.unwrap_or_default()).into_owned();
        let file = Self {
            dir: dir.to_owned(),
            last: last_hash(&log),
        };
        if let Err(error) = file.keep_reserve() {
            tracing::warn!(%error, "no room is kept for the role's file: a full disk may hold up a promotion");
        }
        Ok((file, record))
    }

    /// Durable when it returns.
    pub(super) fn save(&self, record: &Record) -> Result<(), NodeError> {
        let path = self.dir.join(FILE);
        let bytes = record.encode().map_err(|e| NodeError::folder(&path, e))?;
        self.with_reserve(|| small_file::replace(&self.dir, FILE, &bytes))
            .map_err(|e| NodeError::folder(&path, e))
    }

    /// Appends to the log; durable when it returns.
    pub(super) fn note(&mut self, unix_ms: u64, what: &str, facts: &Value) -> Result<(), NodeError> {
        let path = self.dir.join(AUDIT);
        let line = audit::line(&self.last, unix_ms, what, facts);
        let append = || {
            let mut file = File::options().create(true).append(true).open(&path)?;
            // a line that was cut off by a crash or a full disk stays one line
            let whole = ends_with_line_feed(&path)?;
            let text = format!("{}{line}\n", if whole { "" } else { "\n" });
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            File::open(&self.dir)?.sync_all()
        };
        self.with_reserve(append).map_err(|e| NodeError::folder(&path, e))?;
        self.last = audit::hash(&line);
        Ok(())
    }

    /// On a full disk the reserve is given up for it, and made again where there is room.
    fn with_reserve(&self, deed: impl Fn() -> io::Result<()>) -> io::Result<()> {
        let full =
            |error: &io::Error| matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        match deed() {
            Err(error) if full(&error) => {
                std::fs::remove_file(self.dir.join(RESERVE))?;
                let done = deed();
                if let Err(error) = self.keep_reserve() {
                    tracing::warn!(%error, "the room kept for the role's file is used up: the disk is full");
                }
                done
            }
            done => done,
        }
    }

    fn keep_reserve(&self) -> io::Result<()> {
        let path = self.dir.join(RESERVE);
        let kept = std::fs::metadata(&path).is_ok_and(|metadata| metadata.len() == ROLE_RESERVE_BYTES);
        if kept {
            return Ok(());
        }
        let zeros = vec![0; usize::try_from(ROLE_RESERVE_BYTES).unwrap_or(0)];
        let mut file = File::create(&path)?;
        file.write_all(&zeros).and_then(|()| file.sync_all()).inspect_err(|_| {
            // half a reserve would be taken for room that others lack
            drop(std::fs::remove_file(&path));
        })
    }
}

fn ends_with_line_feed(path: &Path) -> io::Result<bool> {
    use std::io::{Seek, SeekFrom};
    let mut file = File::open(path)?;
    if file.metadata()?.len() == 0 {
        return Ok(true);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

/// What the next line names: a log that was tampered with is said so, and goes on from its last line.
fn last_hash(log: &str) -> String {
    audit::verify(log).unwrap_or_else(|line| {
        tracing::error!(
            line,
            "the log of role changes does not follow at this line: somebody changed it, or it was cut"
        );
        log.lines()
            .last()
            .map_or_else(|| audit::BEGINNING.to_owned(), audit::hash)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::role::{Role, Standing};

    #[test]
    fn a_record_outlasts_a_restart_and_a_damaged_one_stops_the_daemon() {
        let dir = tempfile::tempdir().unwrap();
        let (file, none) = RoleFile::open(dir.path()).unwrap();
        assert_eq!(none, None);
        let standing = Standing::first("mail-a".into(), Role::Primary);
        file.save(standing.record()).unwrap();
        assert_eq!(RoleFile::open(dir.path()).unwrap().1.as_ref(), Some(standing.record()));
        std::fs::write(dir.path().join(FILE), "{}").unwrap();
        let refused = RoleFile::open(dir.path()).unwrap_err().to_string();
        assert!(refused.contains("damaged"), "{refused}");
    }

    #[test]
    fn a_log_goes_on_over_restarts_and_torn_lines() {
        let dir = tempfile::tempdir().unwrap();
        let facts = serde_json::json!({ "epoch": 2 });
        for _ in 0..2 {
            let (mut file, _) = RoleFile::open(dir.path()).unwrap();
            file.note(1, "promoted", &facts).unwrap();
            file.note(2, "fenced", &facts).unwrap();
        }
        let log = dir.path().join(AUDIT);
        let text = std::fs::read_to_string(&log).unwrap();
        assert_eq!(text.lines().count(), 4);
        assert!(audit::verify(&text).is_ok());
        std::fs::write(&log, text.get(..text.len() - 9).unwrap()).unwrap();
        RoleFile::open(dir.path())
            .unwrap()
            .0
            .note(3, "promoted", &facts)
            .unwrap();
        let after = std::fs::read_to_string(&log).unwrap();
        assert_eq!(after.lines().count(), 5);
        assert!(audit::verify(&after).is_err(), "the cut line is told");
    }

    #[test]
    fn room_for_a_role_is_kept_for_a_full_disk() {
        let dir = tempfile::tempdir().unwrap();
        let (file, _) = RoleFile::open(dir.path()).unwrap();
        let reserve = dir.path().join(RESERVE);
        assert_eq!(std::fs::metadata(&reserve).unwrap().len(), ROLE_RESERVE_BYTES);
        let attempts = std::cell::Cell::new(0);
        let full_once = || {
            attempts.set(attempts.get() + 1);
            if reserve.exists() {
                Err(io::ErrorKind::StorageFull.into())
            } else {
                Ok(())
            }
        };
        file.with_reserve(full_once).unwrap();
        assert_eq!(attempts.get(), 2);
        assert!(reserve.exists(), "there is room again");
    }
}
