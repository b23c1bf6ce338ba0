//! A segment's name and header: which piece of which history it holds (`schema/journal.md`).

use super::succession::Head;
use crate::codec::CodecError;
use crate::codec::cursor::Cursor;
use crate::op::{ChainHash, Epoch, Lsn, StreamId};

/// What a segment starts with.
pub const MAGIC: [u8; 4] = *b"MSsg";
/// Format version of segments and their records.
pub const VERSION: u16 = 1;
/// Size of the header.
pub const HEADER_BYTES: usize = 76;
/// A segment that is being made.
pub const NEW: &str = "segment.new";
/// A new beginning that is being made.
pub const RESTART_NEW: &str = "restart.new";
/// A durable new beginning that has not got its name yet.
pub const RESTART: &str = "restart.seg";

/// The name of the segment that begins with this LSN.
#[must_use]
pub fn name(first: Lsn) -> String {
    format!("journal-{:020}.seg", first.0)
}

/// The first LSN of the segment of this name; none where it is no segment's name.
#[must_use]
pub fn first_of(name_given: &str) -> Option<Lsn> {
    let digits = name_given.strip_prefix("journal-")?.strip_suffix(".seg")?;
    let first = Lsn(digits.parse().ok()?);
    (name(first) == name_given).then_some(first)
}

/// The header of a segment that goes on from `before`, the end of the history before it.
#[must_use]
pub fn encode(before: &Head) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES);
    bytes.extend(MAGIC);
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend([0, 0]);
    bytes.extend(before.stream.0);
    bytes.extend(before.epoch.0.to_le_bytes());
    bytes.extend(before.lsn.next().0.to_le_bytes());
    bytes.extend(before.chain.0);
    bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
    bytes
}

/// Reads a header: the end of the history before the segment's first frame.
///
/// # Errors
/// Bytes that are no header of this version, or harmed.
pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Head, CodecError> {
    let mut from = Cursor::new("segment", bytes);
    if from.array()? != MAGIC {
        return Err(CodecError::Magic("segment"));
    }
    let (found, zeros) = (from.u16()?, from.u16()?);
    let (stream, epoch) = (StreamId(from.array()?), Epoch(from.u64()?));
    let (first, chain) = (from.u64()?, ChainHash(from.array()?));
    let (stored, computed) = (
        from.u32()?,
        crc32c::crc32c(bytes.split_last_chunk::<4>().map_or(&[], |(head, _)| head)),
    );
    if stored != computed {
        return Err(CodecError::Checksum {
            what: "segment header",
            stored,
            computed,
        });
    }
    if found != VERSION || zeros != 0 {
        return Err(CodecError::Version {
            what: "segment",
            found,
            known: VERSION,
        });
    }
    let lsn = first.checked_sub(1).map(Lsn);
    let lsn = lsn.ok_or_else(|| CodecError::invalid("segment", "begins with LSN 0"))?;
    Ok(Head {
        stream,
        epoch,
        lsn,
        chain,
    })
}
