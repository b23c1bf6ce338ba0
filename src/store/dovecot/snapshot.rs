//! Reads a mailbox's index files so that they belong together, for [`super::replay`].

use super::chain::{SnapshotError, SnapshotFiles};
use super::index::is_repaired;
use super::list_index::ListIndex;
use super::mail_root::Namespace;
use super::map::{BodyMap, MapEnd};
use super::reader::LogReader;
use super::replay::{self, MailboxState};
use super::tail::{open_log, read_range};
use crate::limits::{INDEX_BYTES_MAX, LOG_BYTES_MAX};
use crate::op::SourcePosition;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A mailbox's main index, and the one of an mdbox user's map of bodies. The logs' names begin with it.
const INDEX: &str = "dovecot.index";
const MAP_INDEX: &str = "dovecot.map.index";
/// Octets of a main index up to the end of its flags.
const INDEX_FLAGS_END: u64 = 24;
/// A rotation takes Dovecot some milliseconds, a rebuild some tens.
const ATTEMPTS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(5);

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The mailbox is not there, or has no log yet.
    #[error("there is no log")]
    Absent,
    /// The files would not fit together: try again later.
    #[error("{0}")]
    Unsettled(String),
    /// A file can't be right.
    #[error("{}, byte {offset}: {why}", file.display())]
    Damaged {
        /// Which.
        file: PathBuf,
        /// File offset.
        offset: u64,
        /// What is wrong.
        why: String,
    },
    /// A file can't be read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The octets of one moment.
struct Files {
    index: Option<Vec<u8>>,
    log: Vec<u8>,
    log2: Option<Vec<u8>>,
}

/// A mailbox's state at the end of its log.
///
/// # Errors
/// [`ReadError`]
pub fn read(directory: &Path) -> Result<MailboxState, ReadError> {
    with_files(directory, INDEX, replay::snapshot)
}

/// A reader at a position that was kept; none where its file is not there any more.
///
/// # Errors
/// [`ReadError`]
pub fn reader_at(directory: &Path, position: &SourcePosition) -> Result<Option<LogReader>, ReadError> {
    with_files(directory, INDEX, |files| replay::reader_at(files, position))
}

/// Whether a main index carries the mark of a repair, looked at again only where the file is another one.
#[derive(Clone, Debug, Default)]
pub struct RepairMark {
    /// Inode, size and modification time in ns of the file that was looked at.
    seen: Option<(u64, u64, i64)>,
}

impl RepairMark {
    /// True where the mark is there and `known` says that it was not before. An index that can't be read says nothing:
    /// whoever needs it will say so.
    pub fn is_new(&mut self, directory: &Path, known: bool) -> bool {
        let path = directory.join(INDEX);
        let Ok(meta) = std::fs::metadata(&path) else {
            return false;
        };
        let modified = meta
            .mtime()
            .saturating_mul(1_000_000_000)
            .saturating_add(meta.mtime_nsec());
        let file = (meta.ino(), meta.len(), modified);
        if known || self.seen.replace(file) == Some(file) {
            return false;
        }
        let Ok(file) = File::open(&path) else { return false };
        is_repaired(&read_range(&file, 0, INDEX_FLAGS_END).unwrap_or_default())
    }
}

/// An mdbox user's map of bodies.
///
/// # Errors
/// [`ReadError`]
pub fn map(storage: &Path) -> Result<BodyMap, ReadError> {
    with_files(storage, MAP_INDEX, BodyMap::snapshot)
}

/// The same, and how to read on in its log.
pub(crate) fn map_with_end(storage: &Path) -> Result<(BodyMap, MapEnd), ReadError> {
    with_files(storage, MAP_INDEX, BodyMap::with_end)
}

/// What Dovecot remembers of a namespace's tree.
///
/// # Errors
/// [`ReadError`]
pub fn list_index(namespace: &Namespace) -> Result<ListIndex, ReadError> {
    let (directory, name) = &namespace.list_index;
    with_files(directory, name, |files| ListIndex::snapshot(files, namespace.spelling))
}

fn with_files<T>(
    directory: &Path,
    index: &str,
    read: impl Fn(&SnapshotFiles<'_>) -> Result<T, SnapshotError>,
) -> Result<T, ReadError> {
    let mut why = String::new();
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            std::thread::sleep(PAUSE);
        }
        let Some(files) = files_of_one_moment(directory, index)? else {
            why.replace_range(.., "the log was rotated while it was read");
            continue;
        };
        let files = SnapshotFiles {
            index: files.index.as_deref(),
            log: &files.log,
            log2: files.log2.as_deref(),
        };
        match read(&files) {
            Ok(value) => return Ok(value),
            Err(SnapshotError::Retry(reason)) => why = reason,
            Err(SnapshotError::Corrupt { file, offset, why }) => {
                return Err(ReadError::Damaged {
                    file: directory.join(file.name().replacen(INDEX, index, 1)),
                    offset,
                    why,
                });
            }
        }
    }
    Err(ReadError::Unsettled(why))
}

/// None: something was replaced meanwhile.
fn files_of_one_moment(directory: &Path, index_name: &str) -> Result<Option<Files>, ReadError> {
    let path = directory.join(format!("{index_name}.log"));
    let (log_file, header) = open_log(&path)?.ok_or(ReadError::Absent)?;
    let index = whole(&directory.join(index_name), INDEX_BYTES_MAX)?;
    // A log that starts from nothing has no predecessor: a file of that name is a leftover.
    let log2 = if header.starts_empty() {
        None
    } else {
        whole(&directory.join(format!("{index_name}.log.2")), LOG_BYTES_MAX)?
    };
    let log = read_range(&log_file, 0, bounded(&log_file, &path, LOG_BYTES_MAX)?)?;
    let (held, now) = match std::fs::metadata(&path) {
        Ok(now) => (log_file.metadata()?, now),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e.into()),
    };
    let same = (held.dev(), held.ino()) == (now.dev(), now.ino());
    Ok(same.then_some(Files { index, log, log2 }))
}

fn whole(path: &Path, most: u64) -> Result<Option<Vec<u8>>, ReadError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e.into()),
    };
    let size = bounded(&file, path, most)?;
    Ok(Some(read_range(&file, 0, size)?))
}

fn bounded(file: &File, path: &Path, most: u64) -> Result<u64, ReadError> {
    let size = file.metadata()?.len();
    if size > most {
        let why = format!("more than {most} bytes");
        return Err(ReadError::Damaged {
            file: path.to_owned(),
            offset: most,
            why,
        });
    }
    Ok(size)
}
