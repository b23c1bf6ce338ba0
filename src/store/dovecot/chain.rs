//! The files of one index, and which log files follow on each other.

use super::index::{Index, IndexError};
use super::log::{LogError, LogHeader};
use super::record::{Record, commit_at};

/// The octets of one mailbox's index files, read at one moment.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotFiles<'a> {
    /// `dovecot.index`, where there is one.
    pub index: Option<&'a [u8]>,
    /// `dovecot.index.log`
    pub log: &'a [u8],
    /// `dovecot.index.log.2`, where there is one.
    pub log2: Option<&'a [u8]>,
}

/// Which of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexFile {
    /// `dovecot.index`
    Index,
    /// `dovecot.index.log`
    Log,
    /// `dovecot.index.log.2`
    Log2,
}

impl IndexFile {
    /// The file's name in the mailbox's directory.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Index => "dovecot.index",
            Self::Log => "dovecot.index.log",
            Self::Log2 => "dovecot.index.log.2",
        }
    }
}

/// Why there is no snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// The files don't belong together just now (a rotation, a repair): read them again. Where that doesn't help for
    /// long, only an access through Dovecot will.
    #[error("the files don't belong together just now: {0}")]
    Retry(String),
    /// A file can't be right.
    #[error("{}, byte {offset}: {why}", file.name())]
    Corrupt {
        /// Which.
        file: IndexFile,
        /// File offset.
        offset: u64,
        /// What is wrong, for people.
        why: String,
    },
}

pub(crate) fn retry(why: impl Into<String>) -> SnapshotError {
    SnapshotError::Retry(why.into())
}

/// One log file of an unbroken chain.
pub(crate) struct ChainFile<'a> {
    pub(crate) file: IndexFile,
    pub(crate) header: LogHeader,
    pub(crate) bytes: &'a [u8],
}

/// The log files that are there and follow on each other, oldest first.
pub(crate) struct Chain<'a>(pub(crate) Vec<ChainFile<'a>>);

impl<'a> Chain<'a> {
    pub(crate) fn of(files: &SnapshotFiles<'a>) -> Result<Self, SnapshotError> {
        let header = LogHeader::parse(files.log).map_err(|error| in_file(IndexFile::Log, error))?;
        if header.is_marked_corrupt() {
            return Err(retry("Dovecot marked the log as corrupted and will replace it"));
        }
        let log = ChainFile {
            file: IndexFile::Log,
            header,
            bytes: files.log,
        };
        let mut chain = vec![log];
        if let Some(before) = files.log2.and_then(|bytes| Self::predecessor(&header, bytes)) {
            chain.insert(0, before);
        }
        Ok(Self(chain))
    }

    /// `.log.2` where it is what `successor` continues. A stale one, or the same file during a rotation, is nothing.
    fn predecessor(successor: &LogHeader, bytes: &'a [u8]) -> Option<ChainFile<'a>> {
        let header = LogHeader::parse(bytes).ok()?;
        let follows = header.index_id == successor.index_id && header.file_seq == successor.prev_file_seq;
        let carried_over = usize::try_from(successor.prev_file_offset).ok()?;
        Some(ChainFile {
            file: IndexFile::Log2,
            header,
            bytes: bytes.get(..carried_over).filter(|_| follows)?,
        })
    }

    pub(crate) fn oldest(&self) -> Result<&ChainFile<'a>, SnapshotError> {
        self.0.first().ok_or_else(|| retry("no log"))
    }

    /// Hands on every record from a place on ([`Self::place_of`]; `(0, 0)`: all of them). Returns the offset in the last
    /// file behind the last commit.
    pub(crate) fn each_record(
        &self,
        (first, mut from): (usize, u64),
        mut step: impl FnMut(&Record<'_>) -> Result<(), String>,
    ) -> Result<u64, SnapshotError> {
        let mut end = from;
        for file in self.0.iter().skip(first) {
            let start = from.max(u64::from(file.header.header_bytes));
            let mut at = usize::try_from(start).unwrap_or(usize::MAX);
            while let Some((commit, next)) = commit_at(file.bytes, 0, at).map_err(|error| in_file(file.file, error))? {
                for record in &commit.records {
                    step(record).map_err(|why| in_file(file.file, LogError::corrupt(record.offset, why)))?;
                }
                at = next;
            }
            end = u64::try_from(at).unwrap_or(u64::MAX);
            from = 0;
        }
        Ok(end)
    }

    /// Where the commits after an index begin: number of the file in the chain, and offset.
    pub(crate) fn place_of(&self, index: &Index) -> Option<(usize, u64)> {
        let head = u64::from(index.log_head_offset);
        let same = |file: &ChainFile<'_>| file.header.file_seq == index.log_file_seq;
        if let Some(number) = self.0.iter().position(same) {
            return Some((number, head));
        }
        let oldest = &self.0.first()?.header;
        let all_before = oldest.prev_file_seq == index.log_file_seq && oldest.prev_file_offset == index.log_head_offset;
        (all_before && oldest.prev_file_seq != 0).then(|| (0, u64::from(oldest.header_bytes)))
    }
}

pub(crate) fn in_file(file: IndexFile, error: LogError) -> SnapshotError {
    match error {
        LogError::Incomplete => retry(error.to_string()),
        LogError::Corrupt { offset, why } => SnapshotError::Corrupt { file, offset, why },
    }
}

/// The main index, where there is one. Its log must be of the same index.
pub(crate) fn parse_index(files: &SnapshotFiles<'_>, chain: &Chain<'_>) -> Result<Option<Index>, SnapshotError> {
    index_of(files, chain, Index::parse)
}

/// The same without its messages.
pub(crate) fn parse_index_header(files: &SnapshotFiles<'_>, chain: &Chain<'_>) -> Result<Option<Index>, SnapshotError> {
    index_of(files, chain, Index::parse_header)
}

fn index_of(
    files: &SnapshotFiles<'_>,
    chain: &Chain<'_>,
    parse: impl Fn(&[u8]) -> Result<Index, IndexError>,
) -> Result<Option<Index>, SnapshotError> {
    let Some(bytes) = files.index else {
        return Ok(None);
    };
    let index = parse(bytes).map_err(|error| SnapshotError::Corrupt {
        file: IndexFile::Index,
        offset: error.offset,
        why: error.why,
    })?;
    let log = &chain.oldest()?.header;
    if index.index_id != log.index_id {
        let why = format!("the index is {}, the log belongs to {}", index.index_id, log.index_id);
        return Err(retry(why));
    }
    Ok(Some(index))
}
