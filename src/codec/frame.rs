//! Frames ↔ bytes. The same bytes lie in both journals and travel between them, so a frame's checksum and chain hash
//! are computed once, where it is made. Every byte is described in `schema/frame.md`.

use super::cursor::Cursor;
use super::payload::{self, EncodedPayload};
use super::{CodecError, check};
use crate::limits::{FRAME_BYTES_MAX, NODE_BYTES_MAX};
use crate::op::{ChainHash, Epoch, FrameHeader, Lsn, NodeName, Payload, Run, StreamId};
use std::sync::Arc;

/// What a frame starts with.
pub const MAGIC: [u8; 4] = *b"MSfr";
/// Format version that is written, and the only one that is read.
pub const VERSION: u16 = 1;
/// Size of the header up to and with the length of the peer's name.
pub const FIXED_BYTES: usize = 98;
const CRC_BYTES: usize = 4;

/// A frame as it is stored and sent, with what a journal and a session must know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedFrame {
    /// Which stream.
    pub stream: StreamId,
    /// Whose history.
    pub epoch: Epoch,
    /// Place in the stream.
    pub lsn: Lsn,
    /// Chain hash of the frame before.
    pub previous: ChainHash,
    /// Chain hash of this frame.
    pub chain: ChainHash,
    /// Place in a run, where it is a part of one.
    pub run: Option<Run>,
    /// The whole frame, checksum included.
    pub bytes: Arc<[u8]>,
}

impl EncodedFrame {
    /// Checks the checksum and the header of a frame's bytes and computes its chain hash; the payload is not read.
    ///
    /// # Errors
    /// Bytes that are no frame of this version, or harmed.
    pub fn from_bytes(bytes: impl Into<Arc<[u8]>>) -> Result<Self, CodecError> {
        let bytes = bytes.into();
        let parts = Parts::of(&bytes)?;
        let (header, chain) = (parts.header, parts.chain);
        Ok(Self {
            stream: header.stream,
            epoch: header.epoch,
            lsn: header.lsn,
            previous: header.previous,
            chain,
            run: header.run,
            bytes,
        })
    }

    /// True where the frame ends a transaction: it is no part of a run, or the last one.
    #[must_use]
    pub fn ends_transaction(&self) -> bool {
        self.run.is_none_or(|run| run.is_last())
    }
}

/// Makes a frame of a payload that fits one.
///
/// # Errors
/// Header or payload break a rule of [`check`], or the payload is too large (see [`super::split`]).
pub fn seal(header: &FrameHeader, payload: &Payload) -> Result<EncodedFrame, CodecError> {
    check::header_fits(header, payload)?;
    seal_encoded(header, &payload::encode(payload)?)
}

/// [`seal`] for a payload that has its bytes already.
///
/// # Errors
/// As [`seal`].
pub fn seal_encoded(header: &FrameHeader, payload: &EncodedPayload) -> Result<EncodedFrame, CodecError> {
    check::header(header)?;
    let mut bytes = Vec::with_capacity(FIXED_BYTES + payload.bytes.len() + 2 * CRC_BYTES);
    put_header(header, payload.kind, &mut bytes)?;
    bytes.extend(length(payload.bytes.len())?.to_le_bytes());
    bytes.extend(&payload.bytes);
    let chain = ChainHash(*blake3::hash(&bytes).as_bytes());
    bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
    within_limit(bytes.len())?;
    Ok(EncodedFrame {
        stream: header.stream,
        epoch: header.epoch,
        lsn: header.lsn,
        previous: header.previous,
        chain,
        run: header.run,
        bytes: bytes.into(),
    })
}

/// Reads a whole frame: checks the checksum, the header and the payload, and computes the chain hash.
///
/// # Errors
/// Bytes that are no frame of this version, or harmed, or that can't be meant.
pub fn open(bytes: &[u8]) -> Result<(FrameHeader, ChainHash, Payload), CodecError> {
    let parts = Parts::of(bytes)?;
    let payload = payload::decode(parts.kind, parts.payload)?;
    check::header_fits(&parts.header, &payload)?;
    Ok((parts.header, parts.chain, payload))
}

/// Reads the header only, and the payload's kind; neither checksum nor payload are looked at. For bytes that were
/// checked before.
///
/// # Errors
/// Bytes that don't begin like a frame of this version.
pub fn peek(bytes: &[u8]) -> Result<(FrameHeader, u8), CodecError> {
    take_header(&mut Cursor::new("frame", bytes))
}

/// A frame's bytes, taken apart and checked up to the payload.
struct Parts<'a> {
    header: FrameHeader,
    kind: u8,
    payload: &'a [u8],
    chain: ChainHash,
}

impl<'a> Parts<'a> {
    fn of(bytes: &'a [u8]) -> Result<Self, CodecError> {
        within_limit(bytes.len())?;
        if !bytes.starts_with(&MAGIC) {
            return Err(CodecError::Magic("frame"));
        }
        // Before anything is believed, the version included: the checksum stands at the end in every version.
        let hashed = checked(bytes)?;
        let mut from = Cursor::new("frame", hashed);
        let (header, kind) = take_header(&mut from)?;
        let size = from.length()?;
        let payload = from.take(size)?;
        from.end()?;
        Ok(Self {
            header,
            kind,
            payload,
            chain: ChainHash(*blake3::hash(hashed).as_bytes()),
        })
    }
}

/// The bytes before the checksum, once it was found to match them.
fn checked(bytes: &[u8]) -> Result<&[u8], CodecError> {
    let (hashed, stored) = bytes
        .split_last_chunk::<CRC_BYTES>()
        .ok_or(CodecError::Short("frame"))?;
    let (stored, computed) = (u32::from_le_bytes(*stored), crc32c::crc32c(hashed));
    if stored != computed {
        return Err(CodecError::Checksum {
            what: "frame",
            stored,
            computed,
        });
    }
    Ok(hashed)
}

fn put_header(header: &FrameHeader, kind: u8, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let run = header.run.unwrap_or(NO_RUN);
    let peer = header.peer.as_ref().map_or("", NodeName::as_str);
    out.extend(MAGIC);
    out.extend(VERSION.to_le_bytes());
    out.push(kind);
    out.push(0);
    out.extend(header.stream.0);
    out.extend(header.epoch.0.to_le_bytes());
    out.extend(header.lsn.0.to_le_bytes());
    out.extend(header.previous.0);
    out.extend(header.captured_ms.to_le_bytes());
    out.extend(run.first.0.to_le_bytes());
    out.extend(run.part.to_le_bytes());
    out.extend(run.parts.to_le_bytes());
    let peer_bytes = u16::try_from(peer.len()).map_err(|e| CodecError::invalid("node name", e.to_string()))?;
    out.extend(peer_bytes.to_le_bytes());
    out.extend(peer.as_bytes());
    Ok(())
}

/// How the bytes say that a frame stands alone.
const NO_RUN: Run = Run {
    first: Lsn(0),
    part: 0,
    parts: 0,
};

fn take_header(from: &mut Cursor<'_>) -> Result<(FrameHeader, u8), CodecError> {
    if from.array()? != MAGIC {
        return Err(CodecError::Magic("frame"));
    }
    let found = from.u16()?;
    if found != VERSION {
        return Err(CodecError::Version {
            what: "frame",
            found,
            known: VERSION,
        });
    }
    let kind = from.u8()?;
    if from.u8()? != 0 {
        return Err(CodecError::invalid("frame", "its reserved byte is set"));
    }
    let header = FrameHeader {
        stream: StreamId(from.array()?),
        epoch: Epoch(from.u64()?),
        lsn: Lsn(from.u64()?),
        previous: ChainHash(from.array()?),
        captured_ms: from.u64()?,
        run: take_run(from)?,
        peer: take_peer(from)?,
    };
    check::header(&header)?;
    Ok((header, kind))
}

fn take_run(from: &mut Cursor<'_>) -> Result<Option<Run>, CodecError> {
    let run = Run {
        first: Lsn(from.u64()?),
        part: from.u32()?,
        parts: from.u32()?,
    };
    Ok((run != NO_RUN).then_some(run))
}

fn take_peer(from: &mut Cursor<'_>) -> Result<Option<NodeName>, CodecError> {
    let size = usize::from(from.u16()?);
    if size > NODE_BYTES_MAX {
        return Err(CodecError::TooLarge {
            what: "node name",
            size,
            most: NODE_BYTES_MAX,
        });
    }
    let name = std::str::from_utf8(from.take(size)?).map_err(|e| CodecError::invalid("node name", e.to_string()))?;
    Ok((size != 0).then(|| NodeName::from(name)))
}

fn length(size: usize) -> Result<u32, CodecError> {
    u32::try_from(size).map_err(|e| CodecError::invalid("payload length", e.to_string()))
}

fn within_limit(size: usize) -> Result<(), CodecError> {
    if size > FRAME_BYTES_MAX {
        return Err(CodecError::TooLarge {
            what: "frame",
            size,
            most: FRAME_BYTES_MAX,
        });
    }
    Ok(())
}
