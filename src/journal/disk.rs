//! Where a journal's bytes lie: files by name in one directory.

use super::JournalError;
use std::collections::HashMap;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// A directory of files, as much as a journal needs of it. Nothing is durable before [`Self::sync`] (contents) or
/// [`Self::sync_directory`] (names) have returned; before that a crash may keep any part of it.
pub trait Disk: Send + Sync {
    /// Names and sizes of all files.
    ///
    /// # Errors
    /// As the disk says.
    fn list(&self) -> io::Result<Vec<(String, u64)>>;

    /// Makes an empty file of that name, replacing one that is there.
    ///
    /// # Errors
    /// As the disk says.
    fn create(&self, name: &str) -> io::Result<()>;

    /// Fills `into` from `offset` as far as the file goes; returns the number of bytes.
    ///
    /// # Errors
    /// As the disk says.
    fn read_at(&self, name: &str, offset: u64, into: &mut [u8]) -> io::Result<usize>;

    /// Writes all of `bytes` at `offset`. After an error any part of them may have been written.
    ///
    /// # Errors
    /// As the disk says.
    fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts the file to `size` bytes.
    ///
    /// # Errors
    /// As the disk says.
    fn truncate(&self, name: &str, size: u64) -> io::Result<()>;

    /// Makes a file's contents and size durable (fdatasync).
    ///
    /// # Errors
    /// As the disk says; what was written since the last success may be lost even if a later call succeeds.
    fn sync(&self, name: &str) -> io::Result<()>;

    /// Gives a file another name, replacing what has it.
    ///
    /// # Errors
    /// As the disk says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// As the disk says.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes creations, renames and removals durable.
    ///
    /// # Errors
    /// As the disk says.
    fn sync_directory(&self) -> io::Result<()>;

    /// The journal's writer is gone: another one may open it, although readers of this one are left.
    fn release(&self) {}
}

const LOCK: &str = "journal.lock";

/// A directory of the file system, locked against a second daemon for as long as this lives.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    /// Held, never read. It is unlocked, not only closed: a process that was forked a moment ago has it open, too, until it
    /// runs its program.
    lock: Mutex<Option<File>>,
    /// Files stay open: a reader that holds one goes on when it is trimmed away.
    open: Mutex<HashMap<String, Arc<File>>>,
}

impl Directory {
    /// Opens the directory, and makes it (mode 0700) where it is missing.
    ///
    /// # Errors
    /// [`JournalError::Locked`] where another process has it, [`JournalError::Io`] otherwise.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let shown = path.display().to_string();
        make_durably(path).map_err(JournalError::io("make", &shown))?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join(LOCK))
            .map_err(JournalError::io("open", LOCK))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(JournalError::Locked(shown)),
            Err(TryLockError::Error(source)) => return Err(JournalError::io("lock", LOCK)(source)),
        }
        Ok(Self {
            path: path.to_owned(),
            lock: Mutex::new(Some(lock)),
            open: Mutex::default(),
        })
    }

    fn file(&self, name: &str) -> io::Result<Arc<File>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = open.get(name) {
            return Ok(Arc::clone(file));
        }
        let file = OpenOptions::new().read(true).write(true).open(self.path.join(name))?;
        let file = Arc::new(file);
        open.insert(name.to_owned(), Arc::clone(&file));
        Ok(file)
    }

    fn forget(&self, name: &str) -> Option<Arc<File>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.remove(name)
    }
}

/// A directory that is there after a power cut, too: the names of all levels that were made are flushed.
fn make_durably(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        make_durably(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made?,
    }
    match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => File::open(parent)?.sync_all(),
        None => File::open(".")?.sync_all(),
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        self.release();
    }
}

impl Disk for Directory {
    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let meta = entry.metadata()?;
            // A name that isn't UTF-8 is none of ours.
            if let (true, Ok(name)) = (meta.is_file(), entry.file_name().into_string()) {
                files.push((name, meta.len()));
            }
        }
        Ok(files)
    }

    fn create(&self, name: &str) -> io::Result<()> {
        self.forget(name);
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(self.path.join(name))
            .map(drop)
    }

    fn read_at(&self, name: &str, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let file = self.file(name)?;
        let mut filled = 0;
        while let Some(rest) = into.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match file.read_at(rest, offset.saturating_add(filled as u64)) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file(name)?.write_all_at(bytes, offset)
    }

    fn truncate(&self, name: &str, size: u64) -> io::Result<()> {
        self.file(name)?.set_len(size)
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        self.file(name)?.sync_data()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.remove(to);
        if let Some(file) = open.remove(from) {
            open.insert(to.to_owned(), file);
        }
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))?;
        self.forget(name);
        Ok(())
    }

    fn release(&self) {
        let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Err(error)) = lock.map(|lock| lock.unlock()) {
            tracing::warn!(%error, "unlock the journal");
        }
    }

    fn sync_directory(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}
