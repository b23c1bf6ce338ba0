//! Records of a segment ↔ bytes (`schema/journal.md`).

use crate::codec::CodecError;
use crate::codec::cursor::Cursor;
use crate::limits::{CHECKPOINT_PART_BYTES_MAX, CHECKPOINT_PARTS_MAX, RECORD_BYTES_MAX};
use crate::op::Lsn;

/// What a record starts with: found again behind a damaged record.
pub const MAGIC: [u8; 4] = *b"MSrc";
/// Size of what stands before a record's body.
pub const HEADER_BYTES: usize = 24;
/// Of these, what the checksum covers together with the body.
const SUMMED_BYTES: usize = 20;

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A frame.
    Frame,
    /// A part of a checkpoint.
    CheckpointPart,
    /// The end of a checkpoint: without it its parts count for nothing.
    CheckpointEnd,
}

impl Kind {
    fn tag(self) -> u8 {
        match self {
            Self::Frame => 1,
            Self::CheckpointPart => 2,
            Self::CheckpointEnd => 3,
        }
    }

    fn of(tag: u8) -> Result<Self, CodecError> {
        match tag {
            1 => Ok(Self::Frame),
            2 => Ok(Self::CheckpointPart),
            3 => Ok(Self::CheckpointEnd),
            found => Err(CodecError::Tag { what: "record", found }),
        }
    }
}

/// What stands before a record's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// Size of the body.
    pub size: usize,
    tag: u8,
    zeros: [u8; 3],
    /// Bytes of the segment that were durable before this record was written.
    pub durable: u64,
    stored: u32,
}

/// Puts a record behind what `out` holds. `durable`: bytes of the segment that are durable now.
///
/// # Errors
/// The body is larger than [`RECORD_BYTES_MAX`].
pub fn put(kind: Kind, durable: u64, body: &[&[u8]], out: &mut Vec<u8>) -> Result<(), CodecError> {
    let size = body.iter().map(|piece| piece.len()).sum();
    let too_large = CodecError::TooLarge {
        what: "record",
        size,
        most: RECORD_BYTES_MAX,
    };
    let written = u32::try_from(size).ok().filter(|_| size <= RECORD_BYTES_MAX);
    let mut header = Vec::with_capacity(SUMMED_BYTES);
    header.extend(MAGIC);
    header.extend(written.ok_or(too_large)?.to_le_bytes());
    header.extend([kind.tag(), 0, 0, 0]);
    header.extend(durable.to_le_bytes());
    let crc = body
        .iter()
        .fold(crc32c::crc32c(&header), |crc, piece| crc32c::crc32c_append(crc, piece));
    out.extend(header);
    out.extend(crc.to_le_bytes());
    body.iter().for_each(|piece| out.extend_from_slice(piece));
    Ok(())
}

impl RecordHeader {
    /// Reads a header as far as that goes without the body.
    ///
    /// # Errors
    /// No record starts here, or none that can be.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, CodecError> {
        let mut from = Cursor::new("record", bytes);
        if from.array()? != MAGIC {
            return Err(CodecError::Magic("record"));
        }
        let header = Self {
            size: from.length()?,
            tag: from.u8()?,
            zeros: from.array()?,
            durable: from.u64()?,
            stored: from.u32()?,
        };
        if header.size > RECORD_BYTES_MAX {
            // The checksum can't be looked at: taken as damage, as no writer makes this.
            return Err(CodecError::Short("record"));
        }
        Ok(header)
    }

    /// Checks a record's checksum, and says what its body is.
    ///
    /// # Errors
    /// Harmed bytes ([`CodecError::is_damage`]), or an intact record of an unknown kind.
    pub fn check(&self, header: &[u8; HEADER_BYTES], body: &[u8]) -> Result<Kind, CodecError> {
        let summed = header.split_at(SUMMED_BYTES).0;
        let computed = crc32c::crc32c_append(crc32c::crc32c(summed), body);
        if self.stored != computed {
            return Err(CodecError::Checksum {
                what: "record",
                stored: self.stored,
                computed,
            });
        }
        if self.zeros != [0; 3] {
            return Err(CodecError::invalid("record", "its reserved bytes are set"));
        }
        Kind::of(self.tag)
    }

    /// True where nobody needs the body to read frames.
    #[must_use]
    pub fn is_checkpoint(&self) -> bool {
        matches!(Kind::of(self.tag), Ok(Kind::CheckpointPart | Kind::CheckpointEnd))
    }
}

/// Puts a part of a checkpoint.
///
/// # Errors
/// The part is too large, or there are too many.
pub fn put_checkpoint_part(
    covers: Lsn,
    index: u32,
    part: &[u8],
    durable: u64,
    out: &mut Vec<u8>,
) -> Result<(), CodecError> {
    bounded("part of a checkpoint", part.len(), CHECKPOINT_PART_BYTES_MAX)?;
    bounded("checkpoint", index as usize, CHECKPOINT_PARTS_MAX as usize - 1)?;
    let body: [&[u8]; 3] = [&covers.0.to_le_bytes(), &index.to_le_bytes(), part];
    put(Kind::CheckpointPart, durable, &body, out)
}

/// Puts the end of a checkpoint.
///
/// # Errors
/// None in practice: it is small.
pub fn put_checkpoint_end(covers: Lsn, parts: u32, durable: u64, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let body: [&[u8]; 2] = [&covers.0.to_le_bytes(), &parts.to_le_bytes()];
    put(Kind::CheckpointEnd, durable, &body, out)
}

/// Reads the body of a part: which LSN it covers, its index, its bytes.
///
/// # Errors
/// The body is too short.
pub fn take_checkpoint_part(body: &[u8]) -> Result<(Lsn, u32, Vec<u8>), CodecError> {
    let mut from = Cursor::new("part of a checkpoint", body);
    let (covers, index) = (Lsn(from.u64()?), from.u32()?);
    let part = from.take(from.left())?.to_vec();
    Ok((covers, index, part))
}

/// Reads the body of an end: which LSN the checkpoint covers, and its number of parts.
///
/// # Errors
/// The body has another size.
pub fn take_checkpoint_end(body: &[u8]) -> Result<(Lsn, u32), CodecError> {
    let mut from = Cursor::new("end of a checkpoint", body);
    let end = (Lsn(from.u64()?), from.u32()?);
    from.end()?;
    Ok(end)
}

fn bounded(what: &'static str, size: usize, most: usize) -> Result<(), CodecError> {
    if size > most {
        return Err(CodecError::TooLarge { what, size, most });
    }
    Ok(())
}
