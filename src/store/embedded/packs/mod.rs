//! Packs: append-only files that hold each octet string once, and say themselves what it is the body of.
//!
//! SQLite's index of them (`bodies`, `body_names`) is written later, with the next transaction of mail. Until then a
//! record stands in the [`Tail`], in memory, and is found again there after a crash by reading the packs' end.

mod record;
mod recover;
mod tail;

pub(crate) use record::{Content, Record};
pub(crate) use tail::{Entry, Location, Position, Tail};

use super::super::target::TargetError;
use crate::limits::{HEADER_BYTES_GUESS, PACK_BYTES, PACK_FILES_OPEN_MAX};
use crate::op::BodyHash;
use record::HEADER_BYTES;
use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The packs of one store.
pub(crate) struct Packs {
    dir: PathBuf,
    writing: Mutex<Writing>,
    open: Mutex<HashMap<u32, Arc<File>>>,
}

/// The pack that is written, and what of all packs is not indexed yet.
struct Writing {
    file: File,
    end: Position,
    /// Bytes were written since the last flush.
    dirty: bool,
    /// A flush failed: what the disk holds is unknown, and nothing more is written.
    poisoned: Option<String>,
    tail: Tail,
}

impl Packs {
    /// Opens the packs in `dir`, reads everything from `indexed` on and cuts a torn tail.
    pub(super) fn open(dir: &Path, indexed: Position) -> Result<Self, TargetError> {
        std::fs::create_dir_all(dir).map_err(|e| cannot("create", dir, &e))?;
        let recovered = recover::recover(dir, indexed)?;
        let writing = Writing {
            file: recovered.file,
            end: recovered.end,
            dirty: false,
            poisoned: None,
            tail: recovered.tail,
        };
        Ok(Self {
            dir: dir.to_owned(),
            writing: Mutex::new(writing),
            open: Mutex::new(HashMap::new()),
        })
    }

    fn writing(&self) -> MutexGuard<'_, Writing> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a record; `octets` are empty but for [`Content::Octets`]. Durable after the next [`Self::commit`].
    pub(super) fn append(&self, record: Record, octets: &[u8]) -> Result<(), TargetError> {
        let head = record
            .encode()
            .ok_or_else(|| TargetError::Broken("a body's name is too long".to_owned()))?;
        let mut writing = self.writing();
        writing.check()?;
        let bytes = length(&head).saturating_add(record.octets());
        if writing.end.offset > 0 && writing.end.offset.saturating_add(bytes) > PACK_BYTES {
            writing.roll(&self.dir)?;
        }
        writing.write(&head, octets)?;
        let octets_at = Position {
            offset: writing.end.offset.saturating_add(length(&head)),
            ..writing.end
        };
        writing.end.offset = writing.end.offset.saturating_add(bytes);
        writing.dirty = true;
        let after = writing.end;
        writing.tail.push(Entry::new(record, octets_at, after));
        Ok(())
    }

    /// Makes everything appended durable.
    pub(super) fn commit(&self) -> Result<(), TargetError> {
        self.writing().flush()
    }

    /// What is durable and not indexed yet, in order.
    pub(super) fn unindexed(&self) -> Vec<Arc<Entry>> {
        self.writing().tail.durable()
    }

    /// The first `count` unindexed records are indexed now.
    pub(super) fn indexed(&self, count: usize) {
        self.writing().tail.drop_first(count);
    }

    /// Looks into what is not indexed yet.
    pub(super) fn tail<T>(&self, look: impl FnOnce(&Tail) -> T) -> T {
        look(&self.writing().tail)
    }

    /// Reads octets and checks them against their hash.
    pub(super) fn read(&self, at: &Location, hash: &BodyHash) -> Result<Vec<u8>, String> {
        let path = path(&self.dir, at.position.pack);
        let wrong = |what: String| format!("{} at {}: {what}", path.display(), at.position.offset);
        let file = self.file(at.position.pack).map_err(|e| wrong(e.to_string()))?;
        let size = usize::try_from(at.length).map_err(|e| wrong(e.to_string()))?;
        let mut octets = vec![0; size];
        file.read_exact_at(&mut octets, at.position.offset)
            .map_err(|e| wrong(e.to_string()))?;
        if blake3::hash(&octets).as_bytes() != &hash.0 {
            return Err(wrong(format!("the octets are not those of {hash}")));
        }
        Ok(octets)
    }

    /// Reads the octets up to the end of their header at least. They are not checked: a part has no hash.
    pub(super) fn read_header(&self, at: &Location) -> Result<Vec<u8>, String> {
        let path = path(&self.dir, at.position.pack);
        let wrong = |what: String| format!("{} at {}: {what}", path.display(), at.position.offset);
        let file = self.file(at.position.pack).map_err(|e| wrong(e.to_string()))?;
        let whole = usize::try_from(at.length).map_err(|e| wrong(e.to_string()))?;
        let mut octets = Vec::new();
        let mut wanted = HEADER_BYTES_GUESS;
        loop {
            let known = octets.len();
            octets.resize(wanted.min(whole), 0);
            let offset = at
                .position
                .offset
                .saturating_add(u64::try_from(known).unwrap_or(u64::MAX));
            let fresh = octets.get_mut(known..).unwrap_or_default();
            file.read_exact_at(fresh, offset).map_err(|e| wrong(e.to_string()))?;
            let blank = octets.starts_with(b"\n") || octets.starts_with(b"\r\n");
            let fresh = octets.get(known.saturating_sub(3)..).unwrap_or_default();
            if blank || octets.len() >= whole || ends_header(fresh) {
                return Ok(octets);
            }
            wanted = wanted.saturating_mul(8);
        }
    }

    fn file(&self, pack: u32) -> std::io::Result<Arc<File>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = open.get(&pack) {
            return Ok(Arc::clone(file));
        }
        if open.len() >= PACK_FILES_OPEN_MAX {
            open.clear();
        }
        let file = Arc::new(File::open(path(&self.dir, pack))?);
        open.insert(pack, Arc::clone(&file));
        Ok(file)
    }
}

impl Writing {
    fn check(&self) -> Result<(), TargetError> {
        match &self.poisoned {
            Some(why) => Err(TargetError::Halt(format!("the packs took no more since {why}"))),
            None => Ok(()),
        }
    }

    fn write(&mut self, head: &[u8], octets: &[u8]) -> Result<(), TargetError> {
        let end = self.end.offset;
        let written = self.file.write_all_at(head, end);
        let written = written.and_then(|()| self.file.write_all_at(octets, end.saturating_add(length(head))));
        let Err(error) = written else { return Ok(()) };
        // Half a record must not stand before a whole one.
        if let Err(cut) = self.file.set_len(end) {
            self.poisoned = Some(format!("a failed write could not be cut off: {cut}"));
        }
        Err(TargetError::Retry(format!("write a pack: {error}")))
    }

    fn flush(&mut self) -> Result<(), TargetError> {
        self.check()?;
        if self.dirty
            && let Err(error) = self.file.sync_data()
        {
            self.poisoned = Some(format!("a flush failed: {error}"));
            return self.check();
        }
        self.dirty = false;
        self.tail.all_durable();
        Ok(())
    }

    /// Goes on in a new file.
    fn roll(&mut self, dir: &Path) -> Result<(), TargetError> {
        self.flush()?;
        let pack = self.end.pack.saturating_add(1);
        self.file = create(dir, pack)?;
        self.end = Position { pack, offset: 0 };
        Ok(())
    }
}

/// True where an empty line stands behind another line.
fn ends_header(octets: &[u8]) -> bool {
    octets.windows(2).any(|w| w == b"\n\n") || octets.windows(3).any(|w| w == b"\n\r\n")
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

fn path(dir: &Path, pack: u32) -> PathBuf {
    dir.join(format!("{pack:04}.pack"))
}

/// Opens a pack for writing, creating it durably where it isn't there.
fn create(dir: &Path, pack: u32) -> Result<File, TargetError> {
    let path = path(dir, pack);
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path);
    let file = file.map_err(|e| cannot("open", &path, &e))?;
    File::open(dir)
        .and_then(|d| d.sync_all())
        .map_err(|e| cannot("flush", dir, &e))?;
    Ok(file)
}

fn cannot(what: &str, path: &Path, error: &std::io::Error) -> TargetError {
    TargetError::Retry(format!("{what} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests;
