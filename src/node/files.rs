//! A group's folder: `STATE/groups/NAME/` holds `journal/` and, on a standby, `store/` and `notices`.

use super::NodeError;
use crate::codec::frame;
use crate::journal::{Directory, Head, Journal, JournalOptions, JournalView, Recovered};
use crate::op::{ChainHash, Epoch, Lsn, StreamId};
use crate::store::target::Frame;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes of frames read at once when a journal is walked.
const WALK_BYTES: usize = 4 << 20;

/// The group's folder.
pub(super) fn group_dir(state: &Path, group: &str) -> PathBuf {
    state.join("groups").join(group)
}

/// Opens the journal in a group's folder, creating what isn't there.
pub(super) fn open_journal(dir: &Path, options: JournalOptions) -> Result<(Journal, Recovered), NodeError> {
    let path = dir.join("journal");
    std::fs::create_dir_all(&path).map_err(|e| NodeError::folder(&path, e))?;
    let disk = Directory::open(&path).map_err(NodeError::journal)?;
    let (journal, recovered) = Journal::open(Arc::new(disk), options).map_err(NodeError::journal)?;
    if let Some(cut) = &recovered.cut {
        tracing::info!(
            file = cut.file,
            offset = cut.offset,
            bytes = cut.bytes,
            why = cut.why,
            "the journal's torn end was cut"
        );
    }
    Ok((journal, recovered))
}

/// Before the first frame of any stream.
pub(super) const NOWHERE: Head = Head {
    stream: StreamId([0; 16]),
    epoch: Epoch(0),
    lsn: Lsn(0),
    chain: ChainHash([0; 32]),
};

/// Lowest LSN that a journal holds; the one behind its head where it is empty.
pub(super) fn oldest(view: &JournalView) -> Lsn {
    view.oldest()
        .unwrap_or_else(|| view.head().unwrap_or(NOWHERE).lsn.next())
}

/// Random bytes of the operating system.
pub(super) fn new_stream_id() -> Result<StreamId, NodeError> {
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|e| NodeError::folder(Path::new("/dev/urandom"), e))?;
    Ok(StreamId(bytes))
}

/// Decodes a journal's frame.
pub(super) fn decode(encoded: &crate::codec::EncodedFrame) -> Result<Frame, NodeError> {
    let opened = frame::open(&encoded.bytes).map_err(|e| NodeError::Journal(format!("frame {}: {e}", encoded.lsn)))?;
    let (header, chain, payload) = opened;
    Ok(Frame { header, chain, payload })
}

/// Walks the frames `from..=to` in order.
pub(super) fn each_frame(view: &JournalView, from: Lsn, to: Lsn, mut see: impl FnMut(&Frame)) -> Result<(), NodeError> {
    let mut reader = view.reader(from);
    let mut next = from;
    while next <= to {
        let batch = reader.read_batch(WALK_BYTES).map_err(NodeError::journal)?;
        let Some(last) = batch.last() else {
            return Err(NodeError::Journal(format!("frame {next} is missing")));
        };
        next = last.lsn.next();
        for encoded in &batch {
            see(&decode(encoded)?);
        }
    }
    Ok(())
}
