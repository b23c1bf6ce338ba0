//! Reads a log commit by commit and keeps what the next commit needs: some hundred bytes, no messages.

use super::commit::{CommitFold, LogState};
use super::log::{FINGERPRINT_TAIL_BYTES, LogError, LogHeader, fingerprint};
use super::ranges::UidSet;
use super::record::commit_at;
use super::transaction::LogTransaction;
use crate::op::{Modseq, SourcePosition, Uid};

/// Reader of one mailbox's log, at the end of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogReader {
    header: LogHeader,
    offset: u64,
    /// The last octets before `offset`.
    consumed: Vec<u8>,
    state: LogState,
}

impl LogReader {
    /// At the beginning of a log that starts from an empty mailbox.
    #[must_use]
    pub fn at_start(header: LogHeader) -> Self {
        let state = LogState {
            modseq: header.initial_modseq,
            uidnext: Uid(1),
            ..LogState::default()
        };
        Self::at_first_record(header, state)
    }

    /// At the first record of a log, with what is known of the mailbox there.
    #[must_use]
    pub fn at_first_record(header: LogHeader, state: LogState) -> Self {
        Self {
            header,
            offset: u64::from(header.header_bytes),
            consumed: header.consumed().to_vec(),
            state,
        }
    }

    /// The same place with the numbers of a position that was kept: a walk that began without them found the place and
    /// the extensions.
    #[must_use]
    pub(crate) fn at_position(mut self, position: &SourcePosition) -> Self {
        self.state.modseq = position.modseq;
        self.state.uidvalidity = position.uidvalidity;
        self.state.uidnext = position.uidnext;
        self.state.open_requests = UidSet::of(&position.open_requests);
        self.state.storage_rebuilds = position.rebuild_count;
        self.state.repaired = position.repaired;
        self.state.unattested = position.unattested;
        self
    }

    /// Goes on in the log that follows this one, once this one was read to its end.
    #[must_use]
    pub fn rotated(self, header: LogHeader) -> Self {
        let mut state = self.state;
        state.modseq = state.modseq.max(header.initial_modseq);
        Self::at_first_record(header, state)
    }

    /// Reads the next commit. `bytes` are the file's octets from offset `base` on, as far as they are there; they must
    /// reach back to [`Self::offset`]. None: the next commit is not complete yet.
    ///
    /// # Errors
    /// [`LogError::Corrupt`]: the reader stays where it is.
    pub fn next(&mut self, bytes: &[u8], base: u64) -> Result<Option<LogTransaction>, LogError> {
        let Some(at) = self.offset.checked_sub(base).and_then(|at| usize::try_from(at).ok()) else {
            return Ok(None);
        };
        let Some((commit, end_at)) = commit_at(bytes, base, at)? else {
            return Ok(None);
        };
        let mut fold = CommitFold::new(self.state.clone(), self.header.minor_version);
        for record in &commit.records {
            fold.record(record)?;
        }
        let (state, mut txn) = fold.finish(&self.state);
        (txn.start, txn.end) = (commit.start, commit.end);
        self.state = state;
        self.offset = commit.end;
        self.consume(bytes.get(at..end_at).unwrap_or_default());
        Ok(Some(txn))
    }

    fn consume(&mut self, octets: &[u8]) {
        let fresh = octets
            .get(octets.len().saturating_sub(FINGERPRINT_TAIL_BYTES)..)
            .unwrap_or_default();
        self.consumed.extend_from_slice(fresh);
        let surplus = self.consumed.len().saturating_sub(FINGERPRINT_TAIL_BYTES);
        self.consumed.drain(..surplus);
    }

    /// File offset of the next commit.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Header of the file that is read.
    #[must_use]
    pub fn header(&self) -> &LogHeader {
        &self.header
    }

    /// What is known of the mailbox at [`Self::offset`].
    #[must_use]
    pub fn state(&self) -> &LogState {
        &self.state
    }

    /// Puts in what a main index says of this place.
    pub(crate) fn state_mut(&mut self) -> &mut LogState {
        &mut self.state
    }

    /// The place as it is kept.
    #[must_use]
    pub fn position(&self) -> SourcePosition {
        SourcePosition {
            index_id: self.header.index_id,
            file_seq: self.header.file_seq,
            create_stamp: self.header.create_stamp,
            offset: self.offset,
            modseq: self.state.modseq.max(Modseq(1)),
            uidvalidity: self.state.uidvalidity,
            uidnext: self.state.uidnext,
            fingerprint: fingerprint(&self.header, &self.consumed),
            rebuild_count: self.state.exts.rebuild_count().unwrap_or(self.state.storage_rebuilds),
            repaired: self.state.repaired,
            unattested: self.state.unattested,
            open_requests: self.state.open_requests.ranges().to_vec(),
        }
    }
}

/// Entry point for fuzzing: any octets as a whole log file.
pub fn fuzz_log(bytes: &[u8]) {
    let Ok(header) = LogHeader::parse(bytes) else {
        return;
    };
    let mut reader = LogReader::at_start(header);
    while let Ok(Some(_)) = reader.next(bytes, 0) {}
    let _ = reader.position();
}
