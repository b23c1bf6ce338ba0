//! Where the log that lies on disk stands against the position that was kept.

use super::log::{LogHeader, fingerprint};
use crate::op::SourcePosition;

/// What to do with the log at a mailbox's path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogClass {
    /// The same file: read on from the position.
    Continue,
    /// The next file, and the old one ends where the position is: read on from its first record. Where the old file is
    /// still there, it is drained first.
    Rotated,
    /// The next file, but it carries over less than was consumed, or counts MODSEQs from less: the truth went back. Read
    /// a `state`.
    Rollback,
    /// At least one file in between was never read. Read a `state`.
    Gap,
    /// An empty mailbox began anew (a repair, a recreation, another index). Read a `state`.
    Reset,
    /// Dovecot gave this file up: wait for its replacement, and emit nothing.
    CorruptMark,
}

/// What lies at a mailbox's log path now.
#[derive(Clone, Copy, Debug)]
pub struct LogOnDisk<'a> {
    /// Its header.
    pub header: &'a LogHeader,
    /// Its size in bytes.
    pub size: u64,
    /// Where it reaches up to the position's offset: the octets before that offset, as [`fingerprint`] wants them.
    pub consumed: Option<&'a [u8]>,
}

/// Compares. `position.offset` must be the end of its file as far as that file can still be read: a tailer that holds
/// the old file (or finds it as `.log.2`) drains it before it asks.
#[must_use]
pub fn classify(position: &SourcePosition, disk: LogOnDisk<'_>) -> LogClass {
    let header = disk.header;
    if header.is_marked_corrupt() {
        return LogClass::CorruptMark;
    }
    if is_file_of(position, header) {
        return same_file(position, disk);
    }
    if header.starts_empty() {
        return LogClass::Reset;
    }
    if header.index_id != position.index_id || header.file_seq <= position.file_seq {
        return LogClass::Gap;
    }
    if header.prev_file_seq != position.file_seq {
        return LogClass::Gap;
    }
    match u64::from(header.prev_file_offset).cmp(&position.offset) {
        // A log that Dovecot made anew out of an index counts from 1 again, wherever it says that it goes on.
        std::cmp::Ordering::Equal if header.initial_modseq < position.modseq => LogClass::Rollback,
        std::cmp::Ordering::Equal => LogClass::Rotated,
        std::cmp::Ordering::Less => LogClass::Rollback,
        // What lies between was written to the old file and is not readable any more.
        std::cmp::Ordering::Greater => LogClass::Gap,
    }
}

/// True where `header` names the file that `position` is in. The fingerprint still has to agree.
#[must_use]
pub fn is_file_of(position: &SourcePosition, header: &LogHeader) -> bool {
    (position.index_id, position.file_seq, position.create_stamp)
        == (header.index_id, header.file_seq, header.create_stamp)
}

fn same_file(position: &SourcePosition, disk: LogOnDisk<'_>) -> LogClass {
    let agrees = |consumed| fingerprint(disk.header, consumed) == position.fingerprint;
    if disk.size >= position.offset && disk.consumed.is_some_and(agrees) {
        return LogClass::Continue;
    }
    if disk.header.starts_empty() {
        LogClass::Reset
    } else {
        LogClass::Gap
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::Modseq;

    fn header(index_id: u32, file_seq: u32, prev: (u32, u32), create_stamp: u32) -> LogHeader {
        LogHeader {
            minor_version: 3,
            header_bytes: 40,
            index_id,
            file_seq,
            prev_file_seq: prev.0,
            prev_file_offset: prev.1,
            create_stamp,
            initial_modseq: Modseq(1),
            raw: [7; 40],
        }
    }

    fn class(of: LogHeader, consumed: Option<&[u8]>) -> LogClass {
        let here = header(9, 3, (2, 40), 100);
        let position = SourcePosition {
            index_id: 9,
            file_seq: 3,
            create_stamp: 100,
            offset: 400,
            modseq: Modseq(1),
            fingerprint: fingerprint(&here, b"tail"),
            ..SourcePosition::default()
        };
        classify(
            &position,
            LogOnDisk {
                header: &of,
                size: 400,
                consumed,
            },
        )
    }

    #[test]
    fn a_reset_that_reuses_every_number_is_told_by_the_fingerprint() {
        assert_eq!(class(header(9, 3, (2, 40), 100), Some(b"tail")), LogClass::Continue);
        assert_eq!(class(header(9, 3, (2, 40), 100), Some(b"liar")), LogClass::Gap);
        assert_eq!(class(header(9, 3, (0, 0), 101), Some(b"tail")), LogClass::Reset);
        assert_eq!(class(header(9, 3, (0, 0), 100), None), LogClass::Reset);
    }

    #[test]
    fn the_next_file_tells_whether_anything_was_lost() {
        assert_eq!(class(header(9, 4, (3, 400), 101), None), LogClass::Rotated);
        assert_eq!(class(header(9, 4, (3, 360), 101), None), LogClass::Rollback);
        let recounted = LogHeader {
            initial_modseq: Modseq(0),
            ..header(9, 4, (3, 400), 101)
        };
        assert_eq!(class(recounted, None), LogClass::Rollback);
        assert_eq!(class(header(9, 4, (3, 440), 101), None), LogClass::Gap);
        assert_eq!(class(header(9, 5, (4, 400), 101), None), LogClass::Gap);
        assert_eq!(class(header(8, 4, (3, 400), 101), None), LogClass::Gap);
        assert_eq!(class(header(0, 3, (2, 40), 100), None), LogClass::CorruptMark);
    }
}
