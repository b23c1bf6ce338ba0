//! One daemon a state directory.

use std::fs::{DirBuilder, File, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Held as long as the daemon runs; the kernel lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub struct StateLock {
    /// Open for the lock's sake.
    _file: File,
}

/// Why the state directory can't be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another daemon has it.
    #[error("another shadowd{pid} uses the state directory {}", dir.display())]
    Held {
        /// The directory.
        dir: PathBuf,
        /// ` (process N)`, where it says so.
        pid: String,
    },
    /// It can't be created or written.
    #[error("{verb} {}: {error}", path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// What came of it.
        error: std::io::Error,
    },
}

impl StateLock {
    /// Creates the directory where it is missing (0700) and locks `DIR/lock`.
    ///
    /// # Errors
    /// Another daemon holds it, or the directory can't be written.
    pub fn take(dir: &Path) -> Result<Self, LockError> {
        let at = |verb, path: &Path| {
            let path = path.to_owned();
            move |error| LockError::Io { verb, path, error }
        };
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(dir).map_err(at("create the state directory", dir))?;
        let path = dir.join("lock");
        let mut options = File::options();
        let opened = options.read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = opened.map_err(at("open the lock file", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(held(dir, file)),
            Err(TryLockError::Error(error)) => return Err(at("lock", &path)(error)),
        }
        let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        written.map_err(at("write the lock file", &path))?;
        Ok(Self { _file: file })
    }

    /// True where a running daemon holds the lock of `dir`. Takes and drops the lock itself where nobody does.
    #[must_use]
    pub fn is_held(dir: &Path) -> bool {
        let Ok(file) = File::open(dir.join("lock")) else {
            return false;
        };
        matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
    }

    /// The process that holds the lock of `dir`; 0 where somebody does who has not said who.
    #[must_use]
    pub fn holder(dir: &Path) -> Option<u32> {
        Self::is_held(dir).then(|| File::open(dir.join("lock")).ok().and_then(pid).unwrap_or(0))
    }
}

fn held(dir: &Path, file: File) -> LockError {
    let pid = pid(file);
    LockError::Held {
        dir: dir.to_owned(),
        pid: pid.map(|pid| format!(" (process {pid})")).unwrap_or_default(),
    }
}

/// The number that the holder wrote.
fn pid(mut file: File) -> Option<u32> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).ok()?;
    file.take(20).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_daemon_on_the_same_state_directory_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        assert!(!StateLock::is_held(&state));
        let first = StateLock::take(&state).unwrap();
        assert!(StateLock::is_held(&state));
        assert_eq!(StateLock::holder(&state), Some(std::process::id()));
        let refused = StateLock::take(&state).unwrap_err().to_string();
        assert!(refused.contains("another shadowd (process "), "{refused}");
        drop(first);
        assert!(!StateLock::is_held(&state));
        StateLock::take(&state).unwrap();
    }
}
