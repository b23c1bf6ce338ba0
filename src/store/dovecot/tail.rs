//! Follows one mailbox's log over rotations: what was written after a position, commit by commit.
//!
//! The log is never locked (a lock held by an outsider stalls every writer). The file is kept open: after a rotation or
//! a deletion its last records can only be read through the open file, and an open file's inode can't be given to
//! another one, so that comparing inodes tells whether the path still names it.

use super::classify::{LogClass, LogOnDisk, classify, is_file_of};
use super::identity::Identities;
use super::log::{FINGERPRINT_TAIL_BYTES, LOG_HEADER_BYTES, LogError, LogHeader};
use super::mail_root::MailRoot;
use super::reader::LogReader;
use super::snapshot::{self, ReadError};
use super::stamp::Stamp;
use super::transaction::{Deletion, LogTransaction};
use crate::limits::LOG_BYTES_MAX;
use crate::op::{Guid, SourcePosition};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The current log's file name, and that of the one before it.
pub(crate) const LOG: &str = "dovecot.index.log";
pub(crate) const LOG_BEFORE: &str = "dovecot.index.log.2";

/// A mailbox that is rotated more often than so between two readings is read again soon.
const ROTATIONS_MAX: usize = 8;

/// How a reading ended. Whatever was found before it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// At the log's end.
    End,
    /// What happened can't be read from the log: only a `state` can tell.
    State {
        /// True where the log's chain is broken, not only its beginning gone.
        broken: bool,
        /// For people.
        why: &'static str,
    },
    /// The mailbox is not where it was said to be: listed too early or too late.
    Absent,
    /// Dovecot gave the log up and will replace it.
    GivenUp,
    /// The files don't belong together just now.
    Unsettled,
    /// Complete octets that can't be right.
    Damaged {
        /// In which file.
        file: PathBuf,
        /// At which byte.
        offset: u64,
        /// What is wrong.
        why: String,
    },
}

/// Follows one log.
#[derive(Debug)]
pub struct Tail {
    guid: Guid,
    root: Arc<MailRoot>,
    directory: PathBuf,
    place: Place,
    file: Option<File>,
    deleted: bool,
    /// Of the log when it was last read to its end, all of it; none where something was left.
    stamp: Option<Stamp>,
    /// True where another mailbox lies at the path.
    displaced: bool,
}

/// Where the next commit is read.
#[derive(Debug)]
enum Place {
    /// As it was kept over a restart: the table of extensions is not known yet.
    Kept(SourcePosition),
    /// With all that reading needs.
    Reading(Box<LogReader>),
}

impl Tail {
    /// From a position that was kept.
    #[must_use]
    pub fn resume(guid: Guid, root: Arc<MailRoot>, directory: PathBuf, position: SourcePosition) -> Self {
        Self {
            guid,
            root,
            directory,
            place: Place::Kept(position),
            file: None,
            deleted: false,
            stamp: None,
            displaced: false,
        }
    }

    /// From where a snapshot ended.
    #[must_use]
    pub fn after(guid: Guid, root: Arc<MailRoot>, directory: PathBuf, reader: LogReader) -> Self {
        Self {
            guid,
            root,
            directory,
            place: Place::Reading(Box::new(reader)),
            file: None,
            deleted: false,
            stamp: None,
            displaced: false,
        }
    }

    /// The mailbox lies here now.
    pub fn moved(&mut self, directory: &Path) {
        if self.directory != directory {
            directory.clone_into(&mut self.directory);
        }
    }

    /// Where the next commit is read.
    #[must_use]
    pub fn position(&self) -> SourcePosition {
        match &self.place {
            Place::Kept(position) => position.clone(),
            Place::Reading(reader) => reader.position(),
        }
    }

    /// True once the log said that the mailbox is deleted.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.deleted
    }

    /// The log said so before the place where reading began.
    pub(crate) fn take_for_deleted(&mut self) {
        self.deleted = true;
    }

    /// The directory that holds the open log now, whatever it was called when it was opened; none while no log is open,
    /// or once the log is deleted.
    #[must_use]
    pub fn directory_now(&self) -> Option<PathBuf> {
        let file = self.file.as_ref()?;
        let log = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()?;
        // A deleted file's link ends in " (deleted)".
        std::fs::symlink_metadata(&log).ok()?;
        log.parent().map(Path::to_owned)
    }

    /// True while a file is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.file.is_some()
    }

    /// Closes the file; the next reading opens it again and proves that it is the same.
    pub fn close(&mut self) {
        self.file = None;
    }

    /// True where nothing was written since the log was read to its end: the path leads to the file that was read, which
    /// is as it was then. A log that was renamed with its mailbox, replaced, deleted or appended to shows another stamp
    /// or none at its path, so that a false answer is always only "don't know".
    #[must_use]
    pub fn is_unchanged(&self) -> bool {
        self.stamp.is_some() && Stamp::at(&self.directory.join(LOG)) == self.stamp
    }

    /// Of the log when it was read to its end.
    pub(crate) fn stamp(&self) -> Option<Stamp> {
        self.stamp
    }

    /// True where the last reading found another mailbox at this one's path: the tree tells where this one is.
    #[must_use]
    pub fn is_displaced(&self) -> bool {
        self.displaced
    }

    /// Reads to the log's end. Each transaction is handed over with the position after it.
    ///
    /// # Errors
    /// A file can't be read.
    pub fn read(
        &mut self,
        identities: &Identities,
        found: &mut impl FnMut(LogTransaction, &LogReader),
    ) -> io::Result<Verdict> {
        (self.stamp, self.displaced) = (None, false);
        for _ in 0..ROTATIONS_MAX {
            if self.file.is_none()
                && let Some(verdict) = self.open(identities)?
            {
                return Ok(verdict);
            }
            let verdict = self.drain(found)?;
            let Some((next, header)) = self.successor(identities)? else {
                return Ok(verdict.unwrap_or(Verdict::End));
            };
            self.stamp = None;
            // Nothing is written to the old file once the new one is visible: this reading is the last. If the old one
            // ends in damage, the new one is how Dovecot healed it.
            self.drain(found)?;
            if let Some(verdict) = self.step_over(next, header)? {
                return Ok(verdict);
            }
        }
        Ok(Verdict::End)
    }

    /// Opens the file that the position is in. Some: it can't be read on.
    fn open(&mut self, identities: &Identities) -> io::Result<Option<Verdict>> {
        let Some((current, header)) = open_log(&self.directory.join(LOG))? else {
            // The files of a deleted mailbox are gone, and so is what was last written to them.
            return Ok(Some(Verdict::Absent));
        };
        if identities.of(&self.root, &self.directory)? != Some(self.guid) {
            self.displaced = true;
            return Ok(Some(Verdict::Absent));
        }
        if let Place::Kept(position) = &self.place {
            match snapshot::reader_at(&self.directory, position) {
                Ok(Some(reader)) => self.place = Place::Reading(Box::new(reader)),
                // Not there any more; what lies there instead tells what to do.
                Ok(None) => {
                    let disk = LogOnDisk {
                        header: &header,
                        size: current.metadata()?.len(),
                        consumed: None,
                    };
                    return Ok(Some(verdict_of(classify(position, disk))));
                }
                Err(ReadError::Absent) => return Ok(Some(Verdict::Absent)),
                Err(ReadError::Unsettled(_)) => return Ok(Some(Verdict::Unsettled)),
                Err(ReadError::Damaged { file, offset, why }) => {
                    return Ok(Some(Verdict::Damaged { file, offset, why }));
                }
                Err(ReadError::Io(e)) => return Err(e),
            }
        }
        self.attach(current, header)
    }

    /// Opens the reader's file again, which may be the current log or the one before it.
    fn attach(&mut self, current: File, header: LogHeader) -> io::Result<Option<Verdict>> {
        let position = self.position();
        let (file, header) = if is_file_of(&position, &header) {
            (current, header)
        } else {
            match open_log(&self.directory.join(LOG_BEFORE))? {
                Some((before, of_before)) if is_file_of(&position, &of_before) => (before, of_before),
                _ => (current, header),
            }
        };
        let consumed = consumed_before(&file, position.offset)?;
        let size = file.metadata()?.len();
        let disk = LogOnDisk {
            header: &header,
            size,
            consumed: consumed.as_deref(),
        };
        match classify(&position, disk) {
            LogClass::Continue => self.file = Some(file),
            LogClass::Rotated => self.rotate(header, file),
            other => return Ok(Some(verdict_of(other))),
        }
        Ok(None)
    }

    fn rotate(&mut self, header: LogHeader, file: File) {
        if let Place::Reading(reader) = &mut self.place {
            **reader = reader.as_ref().clone().rotated(header);
            self.file = Some(file);
        }
    }

    /// Reads the open file to its end. Some: it can't be read on.
    fn drain(&mut self, found: &mut impl FnMut(LogTransaction, &LogReader)) -> io::Result<Option<Verdict>> {
        let (Some(file), Place::Reading(reader)) = (&self.file, &mut self.place) else {
            return Ok(None);
        };
        let base = reader.offset();
        // Taken before the octets are read: what is written meanwhile shows at the next look.
        let stamp = Stamp::of(&file.metadata()?);
        let size = stamp.size();
        if header_of(file)?.is_ok_and(|header| header.is_marked_corrupt()) {
            return Ok(Some(Verdict::GivenUp));
        }
        if size < base {
            return Ok(Some(Verdict::State {
                broken: true,
                why: "the log is shorter than it was",
            }));
        }
        if size > LOG_BYTES_MAX {
            return Ok(Some(
                self.damaged(size, format!("a log of more than {LOG_BYTES_MAX} bytes")),
            ));
        }
        let bytes = read_range(file, base, size)?;
        loop {
            match reader.next(&bytes, base) {
                Ok(Some(txn)) => {
                    match txn.deletion {
                        Some(Deletion::Deleted) => self.deleted = true,
                        Some(Deletion::Undeleted) => self.deleted = false,
                        Some(Deletion::Requested) | None => {}
                    }
                    found(txn, reader);
                }
                Ok(None) | Err(LogError::Incomplete) => {
                    self.stamp = Some(stamp).filter(|stamp| reader.offset() == stamp.size());
                    return Ok(None);
                }
                Err(LogError::Corrupt { offset, why }) => return Ok(Some(self.damaged(offset, why))),
            }
        }
    }

    fn damaged(&self, offset: u64, why: String) -> Verdict {
        Verdict::Damaged {
            file: self.directory.join(LOG),
            offset,
            why,
        }
    }

    /// The file at the log's path, where it is another one than the open one.
    fn successor(&mut self, identities: &Identities) -> io::Result<Option<(File, LogHeader)>> {
        let Some(file) = &self.file else { return Ok(None) };
        let path = self.directory.join(LOG);
        let (held, now) = match std::fs::metadata(&path) {
            Ok(now) => (file.metadata()?, now),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        if (held.dev(), held.ino()) == (now.dev(), now.ino()) {
            return Ok(None);
        }
        // Another mailbox may have taken the path: the next listing says where ours is.
        if identities.of(&self.root, &self.directory)? != Some(self.guid) {
            self.displaced = true;
            return Ok(None);
        }
        open_log(&path)
    }

    /// From the end of the open file to the next one.
    fn step_over(&mut self, next: File, header: LogHeader) -> io::Result<Option<Verdict>> {
        let disk = LogOnDisk {
            header: &header,
            size: next.metadata()?.len(),
            consumed: None,
        };
        match classify(&self.position(), disk) {
            LogClass::Rotated => {
                self.rotate(header, next);
                Ok(None)
            }
            // The same numbers in another file, or the file that was open as `.log.2` is not this one's predecessor.
            LogClass::Continue => Ok(Some(Verdict::State {
                broken: true,
                why: "another log with the same numbers",
            })),
            other => Ok(Some(verdict_of(other))),
        }
    }
}

fn verdict_of(class: LogClass) -> Verdict {
    match class {
        LogClass::Rollback => Verdict::State {
            broken: true,
            why: "the log was taken back",
        },
        LogClass::Reset => Verdict::State {
            broken: true,
            why: "the index began anew",
        },
        LogClass::CorruptMark => Verdict::GivenUp,
        LogClass::Gap | LogClass::Continue | LogClass::Rotated => Verdict::State {
            broken: false,
            why: "a part of the log rotated away unread",
        },
    }
}

/// The stamp of the log in a directory, where it is the position's file and ends at the position: nothing was written since.
pub(crate) fn stamp_at_end(directory: &Path, position: &SourcePosition) -> Option<Stamp> {
    let (file, header) = open_log(&directory.join(LOG)).ok()??;
    let stamp = Stamp::of(&file.metadata().ok()?);
    let consumed = consumed_before(&file, position.offset).ok()?;
    let disk = LogOnDisk {
        header: &header,
        size: stamp.size(),
        consumed: consumed.as_deref(),
    };
    let same = is_file_of(position, &header) && classify(position, disk) == LogClass::Continue;
    (same && stamp.size() == position.offset).then_some(stamp)
}

/// Opens a log with its header. None: it is not there, or not whole yet.
pub(crate) fn open_log(path: &Path) -> io::Result<Option<(File, LogHeader)>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let header = header_of(&file)?;
    Ok(header.ok().map(|header| (file, header)))
}

fn header_of(file: &File) -> io::Result<Result<LogHeader, LogError>> {
    let bytes = read_range(file, 0, u64::try_from(LOG_HEADER_BYTES).unwrap_or(u64::MAX))?;
    Ok(LogHeader::parse(&bytes))
}

/// The octets before `offset` that a fingerprint covers; none where the file is shorter.
fn consumed_before(file: &File, offset: u64) -> io::Result<Option<Vec<u8>>> {
    let tail = u64::try_from(FINGERPRINT_TAIL_BYTES).unwrap_or(u64::MAX);
    let from = offset.saturating_sub(tail);
    let bytes = read_range(file, from, offset)?;
    let wanted = usize::try_from(offset.saturating_sub(from)).unwrap_or(usize::MAX);
    Ok((bytes.len() == wanted).then_some(bytes))
}

/// Octets `from..to` of a file, or as many of them as there are.
pub(crate) fn read_range(file: &File, from: u64, to: u64) -> io::Result<Vec<u8>> {
    let wanted = usize::try_from(to.saturating_sub(from)).map_err(io::Error::other)?;
    let mut bytes = vec![0; wanted];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        let at = from.saturating_add(u64::try_from(filled).unwrap_or(u64::MAX));
        match file.read_at(rest, at) {
            Ok(0) => break,
            Ok(read) => filled = filled.saturating_add(read),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

#[cfg(test)]
mod tests;
