//! Reading the packs' end when the store is opened.

use super::record::Header;
use super::{Content, Entry, HEADER_BYTES, Position, Record, Tail, cannot, create, path};
use crate::store::target::TargetError;
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

/// The packs after a start.
pub(super) struct Recovered {
    pub(super) file: File,
    pub(super) end: Position,
    pub(super) tail: Tail,
}

/// Reads every record from `indexed` to the end; cuts what is torn.
pub(super) fn recover(dir: &Path, indexed: Position) -> Result<Recovered, TargetError> {
    let mut tail = Tail::default();
    let mut end = indexed;
    loop {
        let file = create(dir, end.pack)?;
        end = read_pack(dir, &file, end, &mut tail)?;
        // A crash before the flush leaves records that are only in the page cache: what is taken now must stay.
        file.sync_all().map_err(|e| cannot("flush", &path(dir, end.pack), &e))?;
        let next = end.pack.saturating_add(1);
        if !path(dir, next).exists() {
            tail.all_durable();
            return Ok(Recovered { file, end, tail });
        }
        end = Position { pack: next, offset: 0 };
    }
}

/// Takes the whole records of one pack from `from` on, cuts the file behind them, and returns that place.
fn read_pack(dir: &Path, file: &File, from: Position, tail: &mut Tail) -> Result<Position, TargetError> {
    let path = path(dir, from.pack);
    let length = file.metadata().map_err(|e| cannot("read", &path, &e))?.len();
    if length < from.offset {
        let (path, indexed) = (path.display(), from.offset);
        return Err(TargetError::Halt(format!(
            "{path} has {length} bytes and the index knows {indexed}"
        )));
    }
    let mut reader = BufReader::new(file);
    reader
        .seek(SeekFrom::Start(from.offset))
        .map_err(|e| cannot("read", &path, &e))?;
    let mut end = from;
    while let Some((record, name_bytes)) = read_record(&mut reader).map_err(|e| cannot("read", &path, &e))? {
        let octets = Position {
            offset: end
                .offset
                .saturating_add(super::length(&[0; HEADER_BYTES]))
                .saturating_add(name_bytes),
            ..end
        };
        end.offset = octets.offset.saturating_add(record.octets());
        tail.push(Entry::new(record, octets, end));
    }
    if end.offset < length {
        let torn = length.saturating_sub(end.offset);
        tracing::warn!(path = %path.display(), offset = end.offset, torn, "the end of a pack is torn");
        // Only the newest pack can be torn by a crash. Elsewhere it is damage: left for people to look at; the bodies
        // in it are asked for again.
        if !super::path(dir, from.pack.saturating_add(1)).exists() {
            file.set_len(end.offset).map_err(|e| cannot("cut", &path, &e))?;
        }
    }
    Ok(end)
}

/// The next whole record with the length of its name; none where the file ends or the record is torn.
fn read_record(reader: &mut impl Read) -> std::io::Result<Option<(Record, u64)>> {
    let mut header = [0; HEADER_BYTES];
    if !fill(reader, &mut header)? {
        return Ok(None);
    }
    let Some(header) = Header::decode(&header) else {
        return Ok(None);
    };
    let mut name = vec![0; header.name_bytes];
    if !fill(reader, &mut name)? {
        return Ok(None);
    }
    let Some(record) = header.with_name(&name) else {
        return Ok(None);
    };
    if let Content::Octets { hash, length } = record.content {
        let mut hasher = blake3::Hasher::new();
        let read = std::io::copy(&mut reader.take(length), &mut hasher)?;
        if read != length || hasher.finalize().as_bytes() != &hash.0 {
            return Ok(None);
        }
    }
    Ok(Some((record, super::length(&name))))
}

/// False where the file ends before the buffer is full. A disk that fails is no torn end: nothing may be cut then.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<bool> {
    match reader.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
