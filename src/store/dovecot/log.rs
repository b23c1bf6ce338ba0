//! The header of a transaction log, and what can be wrong with a log.
//!
//! A log is a 40-byte header and then records ([`super::record`]). The header is written once; only its index id is
//! ever overwritten, by 0, where Dovecot gave the file up.

use super::le::{bytes_at, u8_at, u16_at, u32_at, u64_at};
use crate::op::Modseq;

/// Octets of a log header as current versions write it.
pub const LOG_HEADER_BYTES: usize = 40;
/// A fingerprint covers at most so many of the octets consumed last.
pub const FINGERPRINT_TAIL_BYTES: usize = 64;
/// The shortest header that an older version may have left.
const LOG_HEADER_BYTES_MIN: u16 = 24;
/// The longest header that is known: fields behind it would mean something that nobody here understands.
const LOG_HEADER_BYTES_MAX: u16 = 40;
const MAJOR_VERSION: u8 = 1;
const LITTLE_ENDIAN: u8 = 1;

/// Header of a transaction log file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogHeader {
    /// Minor version of the format; 3 in all current versions.
    pub minor_version: u8,
    /// File offset of the first record.
    pub header_bytes: u16,
    /// The index that this log belongs to (its creation, UNIX seconds). 0: Dovecot marked the file as corrupted.
    pub index_id: u32,
    /// Grows by one with each rotation.
    pub file_seq: u32,
    /// The log that this one continues; 0: it starts from an empty mailbox.
    pub prev_file_seq: u32,
    /// End of that log.
    pub prev_file_offset: u32,
    /// Creation of this file, UNIX seconds.
    pub create_stamp: u32,
    /// MODSEQ counter before the first record. 0 only in files of versions that did not count yet.
    pub initial_modseq: Modseq,
    /// The header's octets as they are, zero-padded: what fingerprints are made of.
    pub raw: [u8; LOG_HEADER_BYTES],
}

/// Why a log can't be read on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The file ends inside its header: being written, or torn. Wait.
    #[error("the log ends inside its header")]
    Incomplete,
    /// What stands there can't be right. Nothing of the transaction was applied; the reader stays before it.
    #[error("transaction log, byte {offset}: {why}")]
    Corrupt {
        /// File offset.
        offset: u64,
        /// What is wrong, for people.
        why: String,
    },
}

impl LogError {
    pub(crate) fn corrupt(offset: u64, why: impl Into<String>) -> Self {
        Self::Corrupt {
            offset,
            why: why.into(),
        }
    }
}

impl LogHeader {
    /// The octets of the file before its first record, as far as a fingerprint needs them.
    #[must_use]
    pub fn consumed(&self) -> &[u8] {
        self.raw.get(..usize::from(self.header_bytes)).unwrap_or(&self.raw)
    }

    /// Reads a header from the first octets of a log file.
    ///
    /// # Errors
    /// [`LogError::Incomplete`] where the file is shorter than its header, [`LogError::Corrupt`] where the version or
    /// the byte order is none that is known.
    pub fn parse(bytes: &[u8]) -> Result<Self, LogError> {
        let major = u8_at(bytes, 0).ok_or(LogError::Incomplete)?;
        let header_bytes = u16_at(bytes, 2).ok_or(LogError::Incomplete)?;
        if major != MAJOR_VERSION {
            return Err(LogError::corrupt(
                0,
                format!("major version {major}, not {MAJOR_VERSION}"),
            ));
        }
        let known = LOG_HEADER_BYTES_MIN..=LOG_HEADER_BYTES_MAX;
        if !known.contains(&header_bytes) {
            return Err(LogError::corrupt(2, format!("header of {header_bytes} bytes")));
        }
        let written = bytes_at(bytes, 0, usize::from(header_bytes)).ok_or(LogError::Incomplete)?;
        let header = Self::fields(written).ok_or(LogError::Incomplete)?;
        if written.len() > 32 && u8_at(written, 32) != Some(LITTLE_ENDIAN) {
            return Err(LogError::corrupt(32, "written by a machine of another byte order"));
        }
        Ok(header)
    }

    /// `written` is the header alone; fields that an older, shorter header lacks are 0.
    fn fields(written: &[u8]) -> Option<Self> {
        let mut raw = [0; LOG_HEADER_BYTES];
        for (to, from) in raw.iter_mut().zip(written) {
            *to = *from;
        }
        Some(Self {
            minor_version: u8_at(&raw, 1)?,
            header_bytes: u16_at(&raw, 2)?,
            index_id: u32_at(&raw, 4)?,
            file_seq: u32_at(&raw, 8)?,
            prev_file_seq: u32_at(&raw, 12)?,
            prev_file_offset: u32_at(&raw, 16)?,
            create_stamp: u32_at(&raw, 20)?,
            initial_modseq: Modseq(u64_at(&raw, 24)?),
            raw,
        })
    }

    /// True where Dovecot gave this file up and will replace it.
    #[must_use]
    pub fn is_marked_corrupt(&self) -> bool {
        self.index_id == 0
    }

    /// True where this log starts from an empty mailbox: the index's creation, or a reset.
    #[must_use]
    pub fn starts_empty(&self) -> bool {
        self.prev_file_seq == 0
    }

    /// True where both are headers of the same file.
    #[must_use]
    pub fn is_same_file(&self, other: &Self) -> bool {
        (self.index_id, self.file_seq, self.create_stamp) == (other.index_id, other.file_seq, other.create_stamp)
    }
}

/// First 8 octets of BLAKE3 over a log's header (padded to [`LOG_HEADER_BYTES`]) and the octets before a position:
/// `consumed` ends there and begins at most [`FINGERPRINT_TAIL_BYTES`] before, but not before the file (so it may reach
/// back into the header). Of a longer `consumed` only the end counts.
#[must_use]
pub fn fingerprint(header: &LogHeader, consumed: &[u8]) -> [u8; 8] {
    let tail_start = consumed.len().saturating_sub(FINGERPRINT_TAIL_BYTES);
    let mut hasher = blake3::Hasher::new();
    hasher.update(&header.raw);
    hasher.update(consumed.get(tail_start..).unwrap_or_default());
    let mut first = [0; 8];
    hasher.finalize_xof().fill(&mut first);
    first
}

/// Entry point for fuzzing: any octets.
pub fn fuzz_log_header(bytes: &[u8]) {
    let _ = LogHeader::parse(bytes).map(|header| fingerprint(&header, bytes));
}
