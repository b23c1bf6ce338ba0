//! What was announced and is not durable, over a restart of the daemon: a file that is written anew about once a second,
//! without fsync. A power cut may take the newest of it; that is why the answer is "at least" afterwards.
//!
//! `schema/notices.md` has its bytes.

use super::NodeError;
use crate::codec::packed;
use crate::journal::JournalView;
use crate::limits::{NOTICES_FILE_BYTES_MAX, NOTICES_MAX};
use crate::op::{Lsn, Notice, StreamId};
use crate::session::announced::Announced;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const MAGIC: [u8; 4] = *b"MSno";
const VERSION: u16 = 1;
const CRC_BYTES: usize = 4;

/// The file, and what of it was written last.
pub(super) struct NoticeFile {
    path: PathBuf,
    written: u64,
    busy: Arc<AtomicBool>,
}

/// What stood in the file.
#[derive(Debug, PartialEq, Eq)]
struct Written {
    stream: StreamId,
    durable: Lsn,
    notices: Vec<Notice>,
}

impl NoticeFile {
    pub(super) fn new(dir: &Path) -> Self {
        Self {
            path: dir.join("notices"),
            written: 0,
            busy: Arc::default(),
        }
    }

    /// What was announced before a restart, less what has become durable since it was written. `applied`: how far the
    /// store has decided.
    pub(super) fn recall(&self, journal: &JournalView, applied: Lsn) -> Result<Option<Announced>, NodeError> {
        let bytes = match read(&self.path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(NodeError::folder(&self.path, e)),
        };
        let head = journal.head().unwrap_or(super::files::NOWHERE);
        let written = decode(&bytes).filter(|written| written.stream == head.stream);
        let Some(written) = written else {
            tracing::info!("the announcements before the restart are unknown");
            return Ok(Some(Announced::recalled([])));
        };
        let mut announced = Announced::recalled(written.notices);
        let from = written.durable.next().max(super::files::oldest(journal));
        super::files::each_frame(journal, from, applied.min(head.lsn), |frame| {
            announced.settled_by(&frame.payload);
        })?;
        Ok(Some(announced))
    }

    /// Writes in the background where something changed and the last writing is done.
    pub(super) fn write_where_due(&mut self, announced: &Announced, stream: StreamId, durable: Lsn) {
        if announced.revision() == self.written || self.busy.swap(true, Ordering::AcqRel) {
            return;
        }
        self.written = announced.revision();
        let bytes = encode(stream, durable, announced.unsettled());
        let (path, busy) = (self.path.clone(), Arc::clone(&self.busy));
        tokio::task::spawn_blocking(move || {
            let new = path.with_extension("new");
            if let Err(error) = std::fs::write(&new, bytes).and_then(|()| std::fs::rename(&new, &path)) {
                tracing::warn!(%error, "announcements can't be written down; a restart would forget them");
            }
            busy.store(false, Ordering::Release);
        });
    }
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path)?;
    file.take(NOTICES_FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn encode<'a>(stream: StreamId, durable: Lsn, notices: impl Iterator<Item = &'a Notice>) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend(stream.0);
    bytes.extend(durable.0.to_le_bytes());
    for notice in notices.take(NOTICES_MAX) {
        if let Err(error) = packed::encode_into(notice, &mut bytes) {
            tracing::debug!(%error, "an announcement is too large to be written down");
        }
    }
    let crc = crc32c::crc32c(&bytes);
    bytes.extend(crc.to_le_bytes());
    bytes
}

/// None: torn, of another version, or not ours.
fn decode(bytes: &[u8]) -> Option<Written> {
    let (whole, crc) = bytes.split_at_checked(bytes.len().checked_sub(CRC_BYTES)?)?;
    if crc32c::crc32c(whole).to_le_bytes() != crc {
        return None;
    }
    let rest = whole.strip_prefix(&MAGIC)?.strip_prefix(&VERSION.to_le_bytes())?;
    let (stream, rest) = rest.split_first_chunk()?;
    let (durable, mut rest) = rest.split_first_chunk()?;
    let mut notices = Vec::new();
    while !rest.is_empty() && notices.len() < NOTICES_MAX {
        let (notice, used) = packed::decode_prefix(rest).ok()?;
        notices.push(notice);
        rest = rest.get(used..)?;
    }
    Some(Written {
        stream: StreamId(*stream),
        durable: Lsn(u64::from_le_bytes(*durable)),
        notices,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{Guid, MailboxId, SourcePosition, Uid, UidRange, UidValidity};

    fn notice(number: u64) -> Notice {
        Notice {
            number,
            mailbox: MailboxId {
                user: "anna@example.org".into(),
                guid: Guid([1; 16]),
            },
            uidvalidity: UidValidity(1),
            appended: vec![UidRange::one(Uid(7))],
            changed: Vec::new(),
            expunged: Vec::new(),
            messages: vec![(Uid(7), "1.M2P3.host".into(), Some(400))],
            position: SourcePosition::default(),
        }
    }

    #[test]
    fn a_file_torn_at_any_byte_is_no_file() {
        let notices = vec![notice(1), notice(2)];
        let bytes = encode(StreamId([9; 16]), Lsn(41), notices.iter());
        let written = Written {
            stream: StreamId([9; 16]),
            durable: Lsn(41),
            notices,
        };
        assert_eq!(decode(&bytes), Some(written));
        for end in 0..bytes.len() {
            assert_eq!(decode(&bytes[..end]), None, "cut at {end}");
        }
    }
}
