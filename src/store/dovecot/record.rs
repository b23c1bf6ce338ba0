//! Records of a transaction log, and which of them belong together.
//!
//! A record is `{u32 size, u32 type}` and a payload; its size is stored in four 7-bit groups with bit 7 set in each, so
//! that a size that was never written can't be taken for one. A commit of two or more records stands behind a
//! *boundary* that tells its length; a commit of one record stands alone. Both are a transaction here.

use super::le::{array_at, bytes_at, index, u32_at};
use super::log::LogError;

const RECORD_HEADER_BYTES: usize = 8;
const KIND_MASK: u32 = 0x0fff_ffff;
const EXTERNAL: u32 = 0x1000_0000;
const REPLICATED: u32 = 0x2000_0000;

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Mails are gone, or shall go (old form: ranges).
    ExpungeRanges,
    /// Mails are gone, or shall go (UIDs with GUIDs).
    ExpungeGuids,
    /// Mails arrive.
    Append,
    /// System flags change.
    FlagUpdate,
    /// Fields of the index header change.
    HeaderUpdate,
    /// The extension that the next records are about.
    ExtIntro,
    /// An extension's data is void.
    ExtReset,
    /// An extension's header changes (offsets of 16 bit).
    ExtHeaderUpdate,
    /// An extension's header changes (offsets of 32 bit).
    ExtHeaderUpdate32,
    /// An extension's record of some mails changes.
    ExtRecordUpdate,
    /// A number in an extension's record goes up or down.
    ExtAtomicIncrement,
    /// One keyword changes.
    KeywordUpdate,
    /// All keywords are cleared.
    KeywordReset,
    /// A MODSEQ is raised.
    ModseqUpdate,
    /// The mailbox is being deleted.
    IndexDeleted,
    /// No, it is not.
    IndexUndeleted,
    /// A transaction of several records begins.
    Boundary,
    /// Mailbox attributes change (METADATA, ACL); the values are elsewhere.
    AttributeUpdate,
}

impl Kind {
    /// The kind by its 28 bits on disk. The two expunge kinds carry a fixed pattern that protects from stray bits.
    #[must_use]
    pub fn from_bits(bits: u32) -> Option<Self> {
        Some(match bits {
            0x0000_cd91 => Self::ExpungeRanges,
            0x0000_ed90 => Self::ExpungeGuids,
            0x0000_0002 => Self::Append,
            0x0000_0004 => Self::FlagUpdate,
            0x0000_0020 => Self::HeaderUpdate,
            0x0000_0040 => Self::ExtIntro,
            0x0000_0080 => Self::ExtReset,
            0x0000_0100 => Self::ExtHeaderUpdate,
            0x0000_0200 => Self::ExtRecordUpdate,
            0x0000_0400 => Self::KeywordUpdate,
            0x0000_0800 => Self::KeywordReset,
            0x0000_1000 => Self::ExtAtomicIncrement,
            0x0000_8000 => Self::ModseqUpdate,
            0x0001_0000 => Self::ExtHeaderUpdate32,
            0x0002_0000 => Self::IndexDeleted,
            0x0004_0000 => Self::IndexUndeleted,
            0x0008_0000 => Self::Boundary,
            0x0010_0000 => Self::AttributeUpdate,
            _ => return None,
        })
    }
}

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// File offset of its header.
    pub offset: u64,
    /// What it is about.
    pub kind: Kind,
    /// True: this has already happened. False: a client's change, and for an expunge only the request.
    pub external: bool,
    /// True: it was replicated here by dsync.
    pub replicated: bool,
    /// The payload.
    pub payload: &'a [u8],
}

/// The records of one commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit<'a> {
    /// File offset of the first octet.
    pub start: u64,
    /// File offset after the last octet.
    pub end: u64,
    /// The records, without the boundary.
    pub records: Vec<Record<'a>>,
}

/// Reads the size field; none where one of the four marks is missing.
fn decode_size(field: [u8; 4]) -> Option<usize> {
    let mut words: u32 = 0;
    for byte in field {
        if byte & 0x80 == 0 {
            return None;
        }
        words = (words << 7) | u32::from(byte & 0x7f);
    }
    Some(index(words.checked_mul(4)?))
}

/// Reads the record at `at` of `bytes`, which begin at file offset `base`. None: it is not there yet.
fn record_at(bytes: &[u8], base: u64, at: usize) -> Result<Option<(Record<'_>, usize)>, LogError> {
    let offset = file_offset(base, at);
    let rest = bytes.get(at..).unwrap_or_default();
    let (Some(size_field), Some(type_field)) = (array_at(rest, 0), u32_at(rest, 4)) else {
        return Ok(None);
    };
    let Some(size) = decode_size(size_field) else {
        // Zeros up to the end are space that was never written; anything else in a size's place is damage.
        let unwritten = rest.iter().all(|byte| *byte == 0);
        return if unwritten {
            Ok(None)
        } else {
            Err(LogError::corrupt(offset, "no valid record size"))
        };
    };
    if size < RECORD_HEADER_BYTES {
        return Err(LogError::corrupt(offset, format!("record of {size} bytes")));
    }
    let Some(payload) = bytes_at(rest, RECORD_HEADER_BYTES, size.saturating_sub(RECORD_HEADER_BYTES)) else {
        return Ok(None);
    };
    let bits = type_field & KIND_MASK;
    let kind = Kind::from_bits(bits)
        .ok_or_else(|| LogError::corrupt(offset, format!("unknown kind of record {bits:#010x}")))?;
    let record = Record {
        offset,
        kind,
        external: type_field & EXTERNAL != 0,
        replicated: type_field & REPLICATED != 0,
        payload,
    };
    Ok(Some((record, at.saturating_add(size))))
}

/// Reads the commit at `at` of `bytes`, which begin at file offset `base`. None: it is not complete yet.
///
/// # Errors
/// [`LogError::Corrupt`] where complete octets can't be right.
pub fn commit_at(bytes: &[u8], base: u64, at: usize) -> Result<Option<(Commit<'_>, usize)>, LogError> {
    let Some((first, after_first)) = record_at(bytes, base, at)? else {
        return Ok(None);
    };
    let start = file_offset(base, at);
    if first.kind != Kind::Boundary {
        let end = file_offset(base, after_first);
        let records = vec![first];
        return Ok(Some((Commit { start, end, records }, after_first)));
    }
    let stated = u32_at(first.payload, 0).ok_or_else(|| LogError::corrupt(start, "boundary without a size"))?;
    let end_at = at.saturating_add(index(stated));
    if bytes.len() < end_at {
        return Ok(None);
    }
    let records = members(bytes, base, after_first, end_at)?;
    let end = file_offset(base, end_at);
    Ok(Some((Commit { start, end, records }, end_at)))
}

/// The records that fill `at..end_at` exactly.
fn members(bytes: &[u8], base: u64, mut at: usize, end_at: usize) -> Result<Vec<Record<'_>>, LogError> {
    let inside = bytes.get(..end_at).unwrap_or_default();
    let mut records = Vec::new();
    while at < end_at {
        // Inside a boundary that is complete nothing can be missing any more.
        let Some((record, next)) = record_at(inside, base, at)? else {
            return Err(LogError::corrupt(
                file_offset(base, at),
                "the transaction's last record is cut",
            ));
        };
        if record.kind == Kind::Boundary {
            return Err(LogError::corrupt(record.offset, "a boundary inside a transaction"));
        }
        records.push(record);
        at = next;
    }
    if at != end_at {
        return Err(LogError::corrupt(
            file_offset(base, at),
            "the boundary ends inside its own record",
        ));
    }
    Ok(records)
}

fn file_offset(base: u64, at: usize) -> u64 {
    base.saturating_add(u64::try_from(at).unwrap_or(u64::MAX))
}

/// Entry point for fuzzing: any octets as the records of a log.
pub fn fuzz_records(bytes: &[u8]) {
    let mut at = 0;
    while let Ok(Some((_, next))) = commit_at(bytes, 0, at) {
        at = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_dovecot_writes_them() {
        assert_eq!(decode_size([0x80, 0x80, 0x80, 0x83]), Some(12));
        assert_eq!(decode_size([0x80, 0x80, 0x82, 0xad]), Some(1204));
        assert_eq!(decode_size([0x80, 0x80, 0x02, 0xad]), None);
    }

    #[test]
    fn unwritten_space_waits_and_garbage_does_not() {
        assert_eq!(commit_at(&[0; 32], 0, 0), Ok(None));
        let mut garbage = [0; 32];
        garbage[20] = 1;
        assert!(matches!(
            commit_at(&garbage, 0, 0),
            Err(LogError::Corrupt { offset: 0, .. })
        ));
        assert_eq!(commit_at(&[0x80, 0x80, 0x80, 0x84, 2, 0, 0, 0x10], 0, 0), Ok(None));
    }
}
